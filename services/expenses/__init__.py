"""The expense claims of the worked example `approval`: claims' desk and pay office, two services in one program.

`python -m services.expenses --data DIR`

    Claims    keeps claims    Submit, undone by Withdraw; Escalate, Notify, which nothing undoes; CheckApproval
    Payouts   pays            Pay, which nothing undoes; FindPayment to ask

They share the process and nothing else: each has a database and a ledger of its own, and none reads another's.
"""
