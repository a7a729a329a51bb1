"""Every shape there is behind one orchestrator: the demo's services and those of all examples, on one journal."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.bank.accounts import OPENING_CENTS
from services.bank.v1 import bank_pb2 as bank
from services.bank.v1 import bank_pb2_grpc as bank_grpc
from tests.e2e.errands import HURRIED
from tests.kit.examples import EXAMPLES, Served
from tests.kit.mesh import DEFINITION, SERVICES, Mesh, Program, channel

_KEPT = {"idempotent": True, "barrier": True}


def program_of(served: Served) -> str:
    """The name of a program: that of its first target."""
    return served.targets[0]


async def open_gates(mesh: Mesh) -> None:
    """Start all services, then the orchestrator on them."""
    mesh.configure(**await settle(mesh))
    await mesh.orchestrator.start()


async def settle(mesh: Mesh) -> dict[str, Any]:
    """Start all services; return the configuration of an orchestrator on them."""
    _move_in(mesh)
    async with asyncio.TaskGroup() as starting:
        for program in mesh.services.values():
            starting.create_task(program.start())
    return _settings(mesh)


def _move_in(mesh: Mesh) -> None:
    """Add the examples' programs to the demo's, each with a folder of its own: three of them are the same one."""
    for example in EXAMPLES:
        for served in example.programs:
            name = program_of(served)
            arguments = ("--data", str(mesh.folder / name), "--grace", "1")
            mesh.services[name] = Program(
                name=name, module=f"services.{served.module}", arguments=arguments, folder=mesh.folder
            )


def _settings(mesh: Mesh) -> dict[str, Any]:
    """All definitions and targets; the approval's days are moments."""
    targets: dict[str, Any] = {name: {"address": mesh.services[name].address, **_KEPT} for name in SERVICES}
    definitions = [DEFINITION]
    for example in EXAMPLES:
        definitions += example.paths
        for served in example.programs:
            address = mesh.services[program_of(served)].address
            for target in served.targets:
                targets[target] = {"address": address, **_KEPT, **example.settings.get(target, {})}
    return {"targets": targets, "definitions": [str(_hurried(path, mesh.folder)) for path in definitions]}


def _hurried(path: Path, folder: Path) -> Path:
    text = path.read_text(encoding="utf-8")
    for unhurried, hurried in HURRIED.items():
        text = text.replace(unhurried, hurried)
    copy = folder / path.name
    copy.write_text(text, encoding="utf-8")
    return copy


@asynccontextmanager
async def kept_up(*services: Program) -> AsyncIterator[Counter[str]]:
    """Start every service again that ends, as a machine's init would; count the restarts."""
    restarts: Counter[str] = Counter()

    async def keep(service: Program) -> None:
        while True:
            assert service.process is not None
            await service.process.wait()
            await service.start()
            restarts[service.name] += 1

    async with asyncio.TaskGroup() as keepers:
        tasks = [keepers.create_task(keep(service)) for service in services]
        yield restarts
        for task in tasks:
            task.cancel()


async def misbehave_in_the_demo(mesh: Mesh) -> None:
    """What services do on bad days: slow, busy, answers lost after the commit, deaths before and after it."""
    await mesh.set_fault("scoring", method="Score", delay={"min": "0s", "max": "0.02s"})
    await mesh.set_fault("archive", method="Store", probability=0.05, dropReply={})
    await mesh.set_fault("archive", method="Withdraw", probability=0.2, status={"code": 14, "message": "busy"})
    await mesh.set_fault("safety", method="OpenAdverseEvent", probability=0.1, dropReply={})
    await mesh.set_fault("safety", method="VoidAdverseEvent", probability=0.2, dropReply={})
    await mesh.set_fault("validator", method="Validate", probability=0.03, status={"code": 14, "message": "busy"})
    await mesh.set_fault("notifier", method="SendAlert", restart={"afterCalls": 30, "afterCommit": True})
    await mesh.set_fault("safety", method="OpenAdverseEvent", restart={"afterCalls": 60})


async def misbehave(mesh: Mesh) -> None:
    """The examples' bad days: lost answers at what cannot be undone, too; refused undos; deaths after the commit."""
    busy = {"code": 14, "message": "busy"}
    await mesh.set_fault("stock", method="Capture", probability=0.1, dropReply={})
    await mesh.set_fault("stock", method="Release", probability=0.2, status=busy)
    await mesh.set_fault("stock", method="Ship", probability=0.1, dropReply={})
    await mesh.set_fault("flights", method="Confirm", probability=0.1, dropReply={})
    await mesh.set_fault("hotels", method="Cancel", probability=0.2, status=busy)
    await mesh.set_fault("cars", method="Hold", delay={"min": "0s", "max": "0.05s"})
    await mesh.set_fault("accounts", method="Credit", probability=0.1, dropReply={})
    await mesh.set_fault("accounts", method="CloseCase", probability=0.1, status=busy)
    await mesh.set_fault("claims", method="Submit", probability=0.1, dropReply={})
    await mesh.set_fault("claims", method="Pay", probability=0.1, status=busy)
    await mesh.set_fault("catalogue", method="Insert", probability=0.02, dropReply={})
    await mesh.set_fault("catalogue", method="Remove", probability=0.1, status=busy)
    # last of each service: it may die of it while it is told of others
    await mesh.set_fault("accounts", method="Reverse", restart={"afterCalls": 5, "afterCommit": True})
    await mesh.set_fault("stock", method="Authorise", restart={"afterCalls": 20})


async def money_cents(mesh: Mesh) -> int:
    """What is on all accounts together: nobody has earned or lost anything."""
    async with channel(mesh.services["accounts"].address) as connection:
        stub = bank_grpc.AccountsStub(connection)
        replies = [
            await stub.GetBalance(bank.GetBalanceRequest(account=name), timeout=20, wait_for_ready=True)
            for name in OPENING_CENTS
        ]
    return sum(reply.balance_cents for reply in replies)


def gather_ledgers(mesh: Mesh) -> None:
    """Put every ledger where one command finds it."""
    for name in mesh.services:
        for path in (mesh.folder / name).glob("*.ledger.jsonl"):
            (mesh.data / f"{name}-{path.name}").symlink_to(path)
