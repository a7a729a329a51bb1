"""The bank of the worked example `transfer`: accounts and a desk that looks for fraud, two services in one program.

`python -m services.bank --data DIR`

    Accounts    keeps entries         Debit, undone by Reverse; Credit, which nothing undoes; FindCredit to ask
    Screening   keeps cases, reviews  OpenCase, undone by CloseCase; Review, undone by WithdrawReview; Assess

They share the process and nothing else: each has a database and a ledger of its own, and none reads another's.
"""
