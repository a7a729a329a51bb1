"""What must be true of a mesh that took reports in, by witnesses that the orchestrator is none of."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from google.protobuf import json_format

from orchestrator.v1.saga_service_pb2 import GetSagaRequest, ListSagasRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from services import ledger, phq9, reports
from services.epro.v1 import report_pb2
from services.sites import CLOSED_SITES
from tests.compose.engine import Broken, Mesh, docker, say
from tests.kit import mesh as kit
from tests.kit.jaeger import Jaeger
from tests.kit.trees import assert_sound, has_ended

_KEPT_BY = {"archive": "archive", "adverse_event": "safety", "notify": "notifier"}
"""Step of the demo's definition -> the service in whose ledger its effects are."""
STORED_S_MAX = 60.0
"""Spans that were on their way when their process died are sent again by whoever has its sagas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What `saga load` said of one round."""

    prefix: str
    figures: Mapping[str, Any]


def fate(report: Mapping[str, object]) -> str:
    """Return how a report has to end, from what is in it: refused, compensated, alerted or completed."""
    parsed = json_format.ParseDict(dict(report), report_pb2.Report())
    if reports.problems(parsed):
        return "refused"
    if not phq9.score(reports.answers(parsed)).needs_alert:
        return "completed"
    return "compensated" if parsed.site in CLOSED_SITES else "alerted"


def fates(count: int) -> Counter[str]:
    """Return how many of the first so many reports have to end in which way."""
    return Counter(fate(report) for report in kit.reports()[:count])


def check_round(told: Round, count: int) -> None:
    """Hold a round against the reports themselves, and against the verdict by the ledgers."""
    expected = fates(count)
    wanted = {
        "reports": count,
        "completed": expected["completed"] + expected["alerted"],
        "alerted": expected["alerted"],
        "refused": expected["refused"],
        "compensated": expected["compensated"],
        **dict.fromkeys(("needs_attention", "lost", "duplicated_effects", "left_undone"), 0),
    }
    found = {name: told.figures[name] for name in wanted}
    if found != wanted:
        raise Broken(f"the client was told {found}, and the reports say {wanted}")
    say(f"as many ended in each way as the reports say: {', '.join(f'{n} {word}' for word, n in wanted.items() if n)}")


def check_ledgers(mesh: Mesh, told: Round, count: int) -> None:
    """Read the services' own ledgers out of the volume: once each where it has to stand, and nowhere else."""
    with TemporaryDirectory(prefix="saga-ledgers-") as folder:
        docker("cp", f"{mesh.container('archive')}:/var/lib/saga/services/.", folder)
        entries = [each for each in ledger.read_directory(Path(folder)) if each.saga_id.startswith(told.prefix)]
    if wrong := list(wrong_effects(entries, told.prefix, count)):
        raise Broken(f"{len(wrong)} sagas' effects are not what they should be: {wrong[:5]}")
    replayed = sum(each.outcome == "replayed" for each in entries)
    say(
        f"the services' ledgers, {len(entries)} lines of these sagas: each effect stands once where it should and"
        f" nowhere else; {replayed} calls were asked again and changed nothing"
    )


def wrong_effects(entries: Iterable[ledger.Entry], prefix: str, count: int) -> Iterator[str]:
    """Give the sagas of the first so many reports whose effects are not those that follow from the report."""
    stands = ledger.net_effects(entries)
    for report in kit.reports()[:count]:
        saga_id, end = f"{prefix}{report['reportId']}", fate(report)
        found = {step: stands[saga_id, step, name] for step, name in _KEPT_BY.items()}
        wanted = {
            "archive": int(end in {"completed", "alerted"}),
            "adverse_event": int(end == "alerted"),
            "notify": int(end == "alerted"),
        }
        if found != wanted:
            yield f"{saga_id} {end}: {found}"


async def check_traces(mesh: Mesh, server: str, told: Round) -> None:
    """Read every saga's trace back from Jaeger: one sound tree each, although an orchestrator died meanwhile."""
    jaeger = Jaeger(endpoint="", pages=f"http://{mesh.address('jaeger', 16686)}")
    trace_ids = await asyncio.to_thread(lambda: dict(_trace_ids(server, told.prefix)))
    if len(trace_ids) != told.figures["reports"]:
        raise Broken(f"{len(trace_ids)} sagas are listed")
    spans: Counter[str] = Counter()
    for saga_id, trace_id in trace_ids.items():
        trace = await jaeger.trace(trace_id, has_ended, within_s=STORED_S_MAX)
        try:
            assert_sound(trace, is_retold=True)
        except AssertionError as wrong:
            raise Broken(f"the trace {trace_id} of {saga_id} in Jaeger is not sound: {wrong}") from wrong
        spans.update(span.service for span in trace)
    services = ", ".join(f"{n} of {name}" for name, n in spans.most_common())
    say(f"Jaeger has {len(trace_ids)} traces, one sound tree for each saga; spans: {services}")


def _trace_ids(server: str, prefix: str) -> Iterator[tuple[str, str]]:
    with grpc.insecure_channel(server) as channel:
        stub: Any = SagaServiceStub(channel)
        token = ""
        while True:
            page = stub.ListSagas(ListSagasRequest(page_size=1_000, page_token=token), timeout=20)
            for saga in page.sagas:
                if saga.saga_id.startswith(prefix):
                    yield saga.saga_id, stub.GetSaga(GetSagaRequest(saga_id=saga.saga_id), timeout=20).saga.trace_id
            token = page.next_page_token
            if not token:
                return


def check_containers(mesh: Mesh) -> None:
    """Ask the engine whether every container is as closed as the file says."""
    for service in mesh.services:
        facts = mesh.facts(service)
        host = facts["HostConfig"]
        wanted = {
            "a user that is not root": facts["Config"]["User"].split(":")[0] not in {"", "0", "root"},
            "a read-only root file system": host["ReadonlyRootfs"],
            "no capabilities": host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Privileged"],
            "no new privileges": "no-new-privileges:true" in host["SecurityOpt"],
            "bounds of memory and processes": host["Memory"] > 0 and host["PidsLimit"] > 0,
            "ports on loopback only": all(
                each["HostIp"] == "127.0.0.1" for ports in (host["PortBindings"] or {}).values() for each in ports
            ),
        }
        if missing := [what for what, holds in wanted.items() if not holds]:
            raise Broken(f"{service} has not {missing}")
    say(f"{len(mesh.services)} containers without root, capabilities and a file system to write to; ports on loopback")


def check_images(mesh: Mesh, secrets: Sequence[Path]) -> None:
    """Look into our own images: nothing that installs or compiles, and no secret."""
    for service in ("validator", next(name for name in mesh.services if name.startswith("orchestrator"))):
        image = mesh.facts(service)["Config"]["Image"]
        tools = docker("run", "--rm", "--entrypoint", "sh", image, "-c", "command -v pip pip3 gcc cc; true")
        if tools.strip():
            raise Broken(f"{image} has {tools.split()}")
        said = docker("history", "--no-trunc", image) + docker("image", "inspect", image)
        for path in secrets:
            secret = path.read_text(encoding="utf-8").strip()
            search = ("grep", "-rIl", "-F", secret, "/opt", "/etc", "/var/lib/saga")
            found = docker("run", "--rm", "--entrypoint", "sh", image, "-c", f"{' '.join(search)}; true")
            if found.strip() or secret in said:
                raise Broken(f"{image} holds the secret {path.name}: {found}")


def check_prometheus(mesh: Mesh, up: Mapping[str, str]) -> None:
    """Ask Prometheus who is up, and whether it has the rules."""
    prometheus = Jaeger(endpoint="", pages=f"http://{mesh.address('prometheus', 9090)}")  # asks JSON over HTTP, no more
    found = prometheus.asked('/api/v1/query?query=up{job="saga"}')["data"]["result"]
    told = {each["metric"]["instance"]: each["value"][1] for each in found}
    if told != up:
        raise Broken(f"Prometheus finds {told}, and not {up}")
    groups = prometheus.asked("/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    if not rules or (bad := [rule["name"] for rule in rules if rule["health"] == "err"]):
        raise Broken(f"rules of Prometheus fail: {bad if rules else 'there are none'}")
    firing = sorted({rule["name"] for rule in rules if rule.get("state") in {"pending", "firing"}})
    say(f"Prometheus asks {json.dumps(told)}; {len(rules)} rules; alerts on their way: {', '.join(firing) or 'none'}")
