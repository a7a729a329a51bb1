"""Accounts: entries, and nothing but entries. A balance is what an account began with and the sum of what is live.

A debit can be reversed, since the money is still the bank's to give back. A credit cannot: from then on it is somebody
else's money. So the credit is a transfer's *pivot*, and `FindCredit` tells from the books whether it happened.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import grpc

from services.bank.v1 import bank_pb2 as pb
from services.bank.v1 import bank_pb2_grpc as pb_grpc
from services.caller import Context
from services.participant import Make, Participant, Undo
from services.refusal import Refusal, bad_field, require
from services.tally import Tally

OPENING_CENTS = {"alice": 5_000_000, "bob": 100_000, "carol": 0, "casino": 0, "dave": 1_000}
"""The accounts there are, and what was on them when the demo began."""

CLOSED = frozenset({"dave"})
"""Accounts whose owner has left the bank."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  id            TEXT PRIMARY KEY,  -- the thing's
  transfer_id   TEXT NOT NULL,
  account       TEXT NOT NULL,
  amount_cents  INTEGER NOT NULL   -- below 0 for a debit
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_account ON entries (account);
"""


class Accounts(pb_grpc.AccountsServicer):
    """bank.v1.Accounts."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Debit(self, request: pb.DebitRequest, context: Context) -> pb.DebitResponse:
        check(request)
        call = Make(
            method="Debit",
            request=request,
            report_id=request.transfer_id,
            reply_type=pb.DebitResponse,
            act=lambda db, entry_id: debit(db, entry_id, request),
        )
        return await self._participant.make(call, context)

    async def Reverse(self, request: pb.ReverseRequest, context: Context) -> pb.ReverseResponse:
        call = Undo(
            method="Reverse",
            undoes="Debit",
            request=request,
            report_id=request.transfer_id,
            reply_with=lambda count: pb.ReverseResponse(reversed=count),
        )
        return await self._participant.undo(call, context)

    async def Credit(self, request: pb.CreditRequest, context: Context) -> pb.CreditResponse:
        check(request)
        call = Make(
            method="Credit",
            request=request,
            report_id=request.transfer_id,
            reply_type=pb.CreditResponse,
            act=lambda db, entry_id: credit(db, entry_id, request),
        )
        return await self._participant.make(call, context)

    async def FindCredit(self, request: pb.FindCreditRequest, context: Context) -> pb.FindCreditResponse:
        require(request, "transfer_id")
        found = await self._participant.ask(lambda db: credit_of(db, request.transfer_id))
        return pb.FindCreditResponse(found=found is not None, credit=found)

    async def SendStatement(self, request: pb.SendStatementRequest, context: Context) -> pb.SendStatementResponse:
        require(request, "transfer_id", "entry_id")
        call = Make(
            method="SendStatement",
            request=request,
            report_id=request.transfer_id,
            reply_type=pb.SendStatementResponse,
            act=lambda _db, statement_id: pb.SendStatementResponse(statement_id=statement_id),
        )
        return await self._participant.make(call, context)

    async def GetBalance(self, request: pb.GetBalanceRequest, context: Context) -> pb.GetBalanceResponse:
        cents = await self._participant.ask(lambda db: balance_cents(db, request.account))
        return pb.GetBalanceResponse(balance_cents=cents)


def check(request: pb.DebitRequest | pb.CreditRequest) -> None:
    """Raises Refusal for what no bank would look at."""
    require(request, "transfer_id", "account")
    if request.amount_cents < 1:
        raise bad_field("amount_cents", f"is {request.amount_cents}: nothing would be transferred")


def debit(db: sqlite3.Connection, entry_id: str, request: pb.DebitRequest) -> pb.DebitResponse:
    """Take money from an account, or raise Refusal when there is too little."""
    refuse_if_closed(request.account)
    left_cents = balance_cents(db, request.account)
    if request.amount_cents > left_cents:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="NOT_ENOUGH_MONEY",
            message=f"{request.account} has {left_cents} cents, {request.amount_cents} are wanted; nothing was taken",
        )
    enter(db, entry_id, request, -request.amount_cents)
    return pb.DebitResponse(entry_id=entry_id)


def credit(db: sqlite3.Connection, entry_id: str, request: pb.CreditRequest) -> pb.CreditResponse:
    """Give money to an account. Raises Refusal when it takes none, or when this transfer was credited before."""
    refuse_if_closed(request.account)
    balance_cents(db, request.account)
    before = credit_of(db, request.transfer_id)
    if before is not None:
        raise Refusal(
            code=grpc.StatusCode.ALREADY_EXISTS,
            reason="ALREADY_CREDITED",
            message=f"transfer {request.transfer_id} was credited by {before.entry_id}; nothing was changed",
        )
    enter(db, entry_id, request, request.amount_cents)
    return pb.CreditResponse(entry_id=entry_id)


def credit_of(db: sqlite3.Connection, transfer_id: str) -> pb.CreditResponse | None:
    """What Credit answered for a transfer; None when it was not credited."""
    query = "SELECT id FROM entries WHERE transfer_id = ? AND amount_cents > 0"
    row = db.execute(query, (transfer_id,)).fetchone()
    return pb.CreditResponse(entry_id=row[0]) if row else None


def refuse_if_closed(account: str) -> None:
    """Raises Refusal for an account that neither gives nor takes."""
    if account in CLOSED:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="ACCOUNT_CLOSED",
            message=f"the account {account} is closed; nothing was changed",
        )


def balance_cents(db: sqlite3.Connection, account: str) -> int:
    """What is on an account now; raises Refusal for one that does not exist."""
    if account not in OPENING_CENTS:
        raise Refusal(
            code=grpc.StatusCode.NOT_FOUND,
            reason="ACCOUNT_UNKNOWN",
            message=f"there is no account {account}; there are {', '.join(OPENING_CENTS)}",
        )
    (moved,) = db.execute(
        "SELECT COALESCE(SUM(amount_cents), 0) FROM entries JOIN things USING (id)"
        " WHERE account = ? AND undone_at IS NULL",
        (account,),
    ).fetchone()
    return OPENING_CENTS[account] + int(moved)


def enter(
    db: sqlite3.Connection, entry_id: str, request: pb.DebitRequest | pb.CreditRequest, amount_cents: int
) -> None:
    """Write one line of the books."""
    row = (entry_id, request.transfer_id, request.account, amount_cents)
    db.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the books and serve them."""
    participant = Participant(folder=data, service="accounts", prefix="en", tallies=tallies, schema=SCHEMA)
    pb_grpc.add_AccountsServicer_to_server(Accounts(participant), server)
    return participant
