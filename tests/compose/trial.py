"""The trial: the whole mesh in containers, an orchestrator killed while it works; then the small mesh on its file."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.compose.engine import Broken, Mesh, docker, free_port, megabytes, say
from tests.compose.facts import (
    Round,
    check_containers,
    check_images,
    check_ledgers,
    check_prometheus,
    check_round,
    check_traces,
)
from tests.compose.reading import FULL, SMALL, project, tree_of
from tests.compose.standing_in import found_images, override

REPORTS = 200
KILL_AT = 60
"""Reports that have ended when an orchestrator is killed: others are under way."""
SHARDS = 256
"""As many as a new store has."""
LOAD_S_MAX = 180.0
FAILOVER_S_MAX = 60.0
"""A lease of 6 s and a renewal; far more says that nobody takes over."""
TAG = "compose-test"
LEDGERS = "/var/lib/saga/services"
_PORTS = ("ONE_API_PORT", "ONE_HTTP_PORT", "TWO_API_PORT", "TWO_HTTP_PORT", "JAEGER_PORT", "PROMETHEUS_PORT")


def full(folder: Path, *, keeps: bool) -> None:
    """PostgreSQL, two orchestrators: one is killed, the other goes on, the first comes back."""
    mesh = prepared(FULL, "saga-compose-test", folder)
    try:
        mesh.build()
        for image in ("saga-orchestrator", "saga-services"):
            say(f"image {image}: {megabytes(f'{image}:{TAG}')} MB")
        mesh.up()
        say(f"healthy: {', '.join(mesh.services)}")
        check_containers(mesh)
        check_images(mesh, list(project(tree_of(FULL)).secrets.values()))
        told = _kill_one(mesh)
        check_round(told, REPORTS)
        check_ledgers(mesh, told, REPORTS)
        two = mesh.address("orchestrator-two", 7400)
        asyncio.run(check_traces(mesh, two, told))
        verify = 'saga verify --journal "$(cat /run/secrets/store)"'
        _verify(mesh.compose("exec", "--no-TTY", "orchestrator-two", "sh", "-c", verify, is_all=True))
        if "prometheus" in mesh.services:
            check_prometheus(mesh, {"orchestrator-one:7401": "0", "orchestrator-two:7401": "1"})
        _bring_back(mesh)
        _stop(mesh, ("orchestrator-one", "orchestrator-two"))
    finally:
        _end(mesh, keeps=keeps)


def small(folder: Path, *, keeps: bool) -> None:
    """One orchestrator on a file: killed, started again on the same volume."""
    mesh = prepared(SMALL, "saga-compose-test-small", folder)
    try:
        mesh.build()
        mesh.up()
        say(f"healthy: {', '.join(mesh.services)}")
        check_containers(mesh)

        def restart() -> None:
            docker("kill", mesh.container("orchestrator"))
            say("docker kill orchestrator; and docker start, on the same volume")
            docker("start", mesh.container("orchestrator"))

        told = _load(mesh, "orchestrator", restart)
        check_round(told, REPORTS)
        check_ledgers(mesh, told, REPORTS)
        asyncio.run(check_traces(mesh, mesh.address("orchestrator", 7400), told))
        _stop(mesh, ("orchestrator",))
        words = ("verify", "--journal", "/var/lib/saga/saga.sqlite", "--ledger", LEDGERS)
        _verify(mesh.compose("run", "--rm", "--no-TTY", "--no-deps", "orchestrator", *words, is_all=True))
    finally:
        _end(mesh, keeps=keeps)


def prepared(file: Path, name: str, folder: Path) -> Mesh:
    """Look for images; return a project that has them, on free ports, and beside nobody's own."""
    images = found_images(file)
    services = [
        each.name
        for each in project(tree_of(file)).services.values()
        if (each.is_ours or each.name in images) and not each.tree.get("profiles")
    ]
    others = folder / f"{name}.json"
    override(images, file, others)
    environ = {port: free_port() for port in _PORTS} | {"GRAFANA_PORT": free_port(), "SAGA_TAG": TAG}
    mesh = Mesh(project=name, file=file, services=services, overrides=[others], environ=environ)
    mesh.down()  # what a trial that was killed has left
    return mesh


def _kill_one(mesh: Mesh) -> Round:
    """Send reports, and kill an orchestrator among them; the other has everything before long."""

    def kill() -> None:
        docker("kill", mesh.container("orchestrator-one"))
        began = time.monotonic()  # noqa: TID251  (how long a fail-over takes)
        say("docker kill orchestrator-one")
        while (members := _members(mesh, "orchestrator-two")) != {"two": SHARDS}:
            if time.monotonic() - began > FAILOVER_S_MAX:  # noqa: TID251  (the same)
                raise Broken(f"nobody has taken over: {members}")
        took_s = time.monotonic() - began  # noqa: TID251  (the same)
        say(f"orchestrator-two has all {SHARDS} shards, {took_s:.1f} s after the kill")

    told = _load(mesh, "orchestrator", kill)
    if not told.figures["retries"]:
        raise Broken("no call of the client met the kill: it proves nothing")
    return told


def _bring_back(mesh: Mesh) -> None:
    """Start the one that was killed; it gets its share, and a second round goes through both."""
    docker("start", mesh.container("orchestrator-one"))
    mesh.compose("up", "--detach", "--no-build", "--wait", "orchestrator-one")
    began = time.monotonic()  # noqa: TID251  (how long it takes to share)
    while len(members := _members(mesh, "orchestrator-two")) != 2 or min(members.values()) == 0:
        if time.monotonic() - began > FAILOVER_S_MAX:  # noqa: TID251  (the same)
            raise Broken(f"the one that came back has nothing: {members}")
    say(f"orchestrator-one is back; shards: {members}")
    told = _load(mesh, "orchestrator", None)
    check_round(told, REPORTS)
    check_ledgers(mesh, told, REPORTS)


def _load(mesh: Mesh, server: str, strike: Callable[[], None] | None) -> Round:
    """Send reports from a container of its own; strike when enough of them have ended, and not too many."""
    prefix = f"{mesh.project}-{time.monotonic_ns()}-"  # noqa: TID251  (a name that no other round has)
    words = [f"--server=dns:///{server}:7400", "--rounds=1", f"--reports={REPORTS}", f"--prefix={prefix}", "--json"]
    with subprocess.Popen(
        _client(mesh, ["load", *words, f"--ledgers={LEDGERS}"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stderr is not None
        assert client.stdout is not None
        said: list[str] = []
        for line in client.stderr:
            said.append(line)
            done = line.partition(" of ")[0]
            if strike is not None and done.isdecimal() and int(done) >= KILL_AT:
                strike()
                strike = None
        told = client.stdout.read()
        code = client.wait(LOAD_S_MAX)
    if code or strike is not None:
        raise Broken(f"the client ended with {code}:\n{''.join(said)}{told}")
    figures = json.loads(told)
    say(
        f"{figures['reports']} reports from a client container in {figures['seconds']} s, p50 {figures['p50_s']} s,"
        f" p99 {figures['p99_s']} s, {figures['retries']} calls asked again"
    )
    return Round(prefix=prefix, figures=figures)


def _client(mesh: Mesh, words: list[str]) -> list[str]:
    """A container beside the mesh, as closed as the others: it sees the network and, to read, the volume."""
    return [
        *("docker", "run", "--rm", "--network", f"{mesh.project}_default", "--read-only", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--tmpfs", "/tmp", "--memory", "256m"),
        *("--volume", f"{mesh.project}_state:/var/lib/saga:ro", f"saga-orchestrator:{TAG}", *words),
    ]


def _members(mesh: Mesh, service: str) -> dict[str, int]:
    """Return who is in the cluster, and how many shards each has."""
    found = json.loads(mesh.inside(service, "saga", "cluster", "--output", "json"))
    return {each["name"]: each["shard_count"] for each in found["members"]}


def _verify(printed: str) -> None:
    summary = [line for line in printed.splitlines() if line.endswith(" violations")]
    if not summary or ", " not in summary[0]:
        raise Broken(f"saga verify says nothing of what it checked:\n{printed}")
    say(f"saga verify: {summary[0]}")


def _stop(mesh: Mesh, orchestrators: tuple[str, ...]) -> None:
    """Stop as an operator does: everybody leaves by itself, before the engine would kill."""
    mesh.compose("stop", *orchestrators)
    mesh.compose("stop")
    ours = [name for name in mesh.services if name in {*orchestrators, "validator", "archive", "scoring", "safety"}]
    codes = {name: mesh.facts(name)["State"]["ExitCode"] for name in ours}
    if any(codes.values()):
        raise Broken(f"not everybody left by itself: {codes}")
    say("docker compose stop: everybody left by itself, exit code 0")


def _end(mesh: Mesh, *, keeps: bool) -> None:
    if keeps:
        say(f"{mesh.project} is left as it is; remove it with: {' '.join(mesh.command('down', '--volumes'))}")
        return
    mesh.down()
    say("docker compose down: no container, network or volume is left")
