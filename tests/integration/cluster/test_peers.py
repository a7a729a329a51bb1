"""The way between two processes: who is let in, what is known when no answer comes, and how many ways are kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from orchestrator.cluster.listener import PeerListener
from orchestrator.cluster.peers import GrpcPeers
from orchestrator.cluster.wire import Tls
from orchestrator.errors import ConfigError
from orchestrator.ports.peers import Errand, Missed
from orchestrator.ports.posts import Answer
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.cluster.rig import town, until

ERRAND = Errand(method="/x.v1.X/Do", request=b"\x00\xff", facts=(("x-operator", "ann"), (":peer", "ipv4:10.0.0.7:1")))


class Echo:
    """A desk that gives back what it is given."""

    def __init__(self) -> None:
        self.errands: list[Errand] = []
        self.timeouts_s: list[float] = []
        self.hangs = False

    async def execute(self, errand: Errand, timeout_s: float) -> Answer:
        self.errands.append(errand)
        self.timeouts_s.append(timeout_s)
        if self.hangs:
            await asyncio.Event().wait()
        return Answer(status=b"refused") if errand.request == b"refuse" else Answer(response=errand.request)


@asynccontextmanager
async def listening(
    desk: Echo | None = None, *, port: int = 0, tls: Tls | None = None, nudged: asyncio.Event | None = None
) -> AsyncIterator[str]:
    listener = PeerListener(host="127.0.0.1", port=port, on_nudge=(nudged or asyncio.Event()).set, tls=tls)
    try:
        address = f"127.0.0.1:{await listener.start()}"
        if desk is not None:
            listener.open(desk)
        yield address
    finally:
        await listener.stop(0.0)


@asynccontextmanager
async def calling(tls: Tls | None = None, *, channels_max: int = 0) -> AsyncIterator[GrpcPeers]:
    peers = GrpcPeers(tls, channels_max=channels_max)
    try:
        yield peers
    finally:
        await peers.close()


async def test_an_errand_arrives_as_it_left_and_so_does_its_answer() -> None:
    desk = Echo()
    async with listening(desk) as address, calling() as peers:
        assert await peers.ask(address, ERRAND, 5.0) == Answer(response=b"\x00\xff")
        assert await peers.ask(address, Errand(method="/x", request=b"refuse"), 5.0) == Answer(status=b"refused")
        assert await peers.ask(address, Errand(method="/x", request=b""), 5.0) == Answer()
        assert desk.errands[0] == ERRAND
        # gRPC rounds a deadline up a little on its way.
        assert all(0 < each < 5.2 for each in desk.timeouts_s), "the caller's patience goes with it"


async def test_what_was_never_sent_is_known_not_to_have_been_done() -> None:
    async with calling() as peers:
        async with listening(Echo()) as address:
            pass
        missed = await peers.ask(address, ERRAND, 5.0)
        assert isinstance(missed, Missed)
        assert not missed.is_sent
        assert address in missed.why
        port = int(address.rpartition(":")[2])
        async with listening(Echo(), port=port):
            while isinstance(await peers.ask(address, ERRAND, 5.0), Missed):  # noqa: ASYNC110  # gRPC does not tell
                await asyncio.sleep(0.02)  # poll: gRPC connects anew in its own time


async def test_what_was_sent_and_not_answered_may_have_been_done() -> None:
    desk = Echo()
    desk.hangs = True
    async with listening(desk) as address, calling() as peers:
        missed = await peers.ask(address, ERRAND, 0.2)
        assert isinstance(missed, Missed)
        assert missed.is_sent
        assert len(desk.errands) == 1


async def test_an_errand_waits_for_a_process_that_has_no_desk_yet() -> None:
    listener = PeerListener(host="127.0.0.1", port=0, on_nudge=lambda: None)
    address = f"127.0.0.1:{await listener.start()}"
    async with calling() as peers:
        asking = asyncio.ensure_future(peers.ask(address, ERRAND, 5.0))  # noqa: TID251  # awaited below
        await until(lambda: asking.done() or address in peers._lines)
        listener.open(Echo())
        assert await asking == Answer(response=b"\x00\xff")
    await listener.stop(0.0)


async def test_a_nudge_arrives_and_one_that_does_not_harms_nobody() -> None:
    nudged = asyncio.Event()
    async with listening(nudged=nudged) as address, calling() as peers:
        peers.nudge(["127.0.0.1:1", address])
        await nudged.wait()


async def test_too_many_ways_are_closed_from_the_one_unused_longest() -> None:
    desk = Echo()
    async with (
        listening(desk) as one,
        listening(desk) as two,
        listening(desk) as three,
        calling(channels_max=2) as peers,
    ):
        for address in (one, two, one, three):
            assert isinstance(await peers.ask(address, ERRAND, 5.0), Answer)
        assert list(peers._lines) == [one, three]
        assert isinstance(await peers.ask(two, ERRAND, 5.0), Answer)


async def test_a_way_in_use_is_not_closed() -> None:
    desk = Echo()
    desk.hangs = True
    async with listening(desk) as one, listening(Echo()) as two, calling(channels_max=1) as peers:
        asking = asyncio.ensure_future(peers.ask(one, ERRAND, 0.5))  # noqa: TID251  # awaited below
        await until(lambda: desk.errands)
        assert isinstance(await peers.ask(two, ERRAND, 5.0), Answer)
        assert set(peers._lines) == {one, two}
        assert isinstance(await asking, Missed)


async def test_a_taken_port_is_named_with_the_way_out() -> None:
    async with listening() as address:
        with pytest.raises(ConfigError, match=r"choose another cluster\.port"):
            async with listening(port=int(address.rpartition(":")[2])):
                pass


# --- who is let in ---------------------------------------------------------------------------------------------------


class Papers:
    """Two authorities, and what each gives to a process at 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.own, self.other = (self._tls(folder, name) for name in ("own", "other"))

    def _tls(self, folder: Path, name: str) -> Tls:
        authority = trustme.CA()
        given = authority.issue_cert("127.0.0.1", "localhost")
        paths = [folder / f"{name}.{kind}" for kind in ("ca", "cert", "key")]
        for path, pem in zip(paths, (authority.cert_pem, given.cert_chain_pems[0], given.private_key_pem), strict=True):
            pem.write_to_path(str(path))
        return Tls(ca=paths[0], cert=paths[1], key=paths[2])


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


async def test_peers_of_one_authority_reach_each_other(papers: Papers) -> None:
    async with town(2, tls=(papers.own, papers.own)) as here:
        wrong, _ = here.nodes
        assert (await wrong.sagas.StartSaga(rpc.StartSagaRequest(saga_id="s-1", definition="job"))).created
        assert wrong.tally.forwarded_count == {("peer", "done"): 1}


async def test_nobody_else_is_let_in(papers: Papers) -> None:
    desk = Echo()
    forged = Tls(ca=papers.own.ca, cert=papers.other.cert, key=papers.other.key)
    async with listening(desk, tls=papers.own) as address:
        for tls in (papers.other, forged, None):
            async with calling(tls) as peers:
                assert isinstance(await peers.ask(address, ERRAND, 2.0), Missed)
        assert desk.errands == []


async def test_a_process_with_papers_tells_nothing_to_one_without(papers: Papers) -> None:
    desk = Echo()
    async with listening(desk) as address, calling(papers.own) as peers:
        missed = await peers.ask(address, ERRAND, 2.0)
        assert isinstance(missed, Missed)
        assert not missed.is_sent
        assert desk.errands == []


async def test_the_reason_for_being_refused_is_told(papers: Papers) -> None:
    async with listening(Echo(), tls=papers.own) as address, calling(papers.other) as peers:
        missed = await peers.ask(address, ERRAND, 2.0)
        assert isinstance(missed, Missed)
        assert "CERTIFICATE_VERIFY_FAILED" in missed.why


@pytest.mark.parametrize("address", ["10.0.0.7:7402", "saga-2:7402", "[2001:db8::1]:7402"])
async def test_plaintext_to_another_machine_is_not_sent(address: str) -> None:
    async with calling() as peers:
        missed = await peers.ask(address, ERRAND, 0.2)
        assert isinstance(missed, Missed)
        assert "plaintext is not allowed" in missed.why
        peers.nudge([address])


def test_a_listener_for_everybody_is_refused() -> None:
    with pytest.raises(ConfigError, match="whoever reaches the port is believed"):
        PeerListener(host="0.0.0.0", port=0, on_nudge=lambda: None)


def test_papers_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    nothing = tmp_path / "none.pem"
    with pytest.raises(ConfigError, match=r"cluster\.tls: its files cannot be read"):
        GrpcPeers(Tls(ca=nothing, cert=nothing, key=nothing))
