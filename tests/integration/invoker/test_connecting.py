"""Connect first, send second: whatever fails before there is a connection was certainly not sent (R9)."""

import asyncio
import contextlib
import time
from pathlib import Path

import grpc
import pytest
import trustme

from orchestrator.errors import ConfigError
from orchestrator.invoker import TargetConfig, Tls
from orchestrator.saga.events import Phase
from tests.integration.invoker import peers
from tests.integration.invoker.calling import Caller, calling
from tests.integration.invoker.peers import Context, dead_address, raw_peer, serving
from tests.kit.effort import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process


async def sell(request: bytes, _context: Context) -> bytes:
    return request


async def test_nobody_listening_is_not_sent_and_says_where() -> None:
    address = dead_address()
    async with calling(address) as caller:
        report = await caller.call()
        assert (report.code, report.phase, report.sent_at) == ("UNAVAILABLE", Phase.NOT_SENT, None)
        assert address in report.message
        assert "Connection refused" in report.message
        assert not report.parked
        again = await caller.call()
        assert (again.code, again.phase) == ("UNAVAILABLE", Phase.NOT_SENT)


@pytest.mark.parametrize(
    ("script", "why"),
    [(peers.speaking_http1, "http1"), (peers.hanging_up, "")],
    ids=["a web server", "a port that hangs up"],
)
async def test_a_peer_that_is_no_grpc_server_is_not_sent_to(script: peers.Script, why: str) -> None:
    async with raw_peer(script) as address, calling(address) as caller:
        report = await caller.call()
    assert (report.code, report.phase) == ("UNAVAILABLE", Phase.NOT_SENT)
    assert why in report.message


async def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    target = TargetConfig(name="shop", address="dns:///no-such-host.invalid:50051", insecure=True)
    async with calling(target) as caller:
        report = await caller.call()
    assert (report.code, report.phase) == ("UNAVAILABLE", Phase.NOT_SENT)
    assert "no-such-host.invalid" in report.message


async def test_a_peer_that_accepts_and_keeps_silent_is_not_sent_by_the_deadline() -> None:
    async with raw_peer(peers.silent) as address, calling(address) as caller:
        report = await caller.call(timeout_s=0.2)
    assert (report.code, report.phase, report.sent_at) == ("DEADLINE_EXCEEDED", Phase.NOT_SENT, None)


async def test_a_call_aborted_before_there_is_a_connection_is_not_sent() -> None:
    async with raw_peer(peers.silent) as address, calling(address) as caller:
        opened, reported = caller.begin(caller.request())
        assert caller.invoker.in_flight() == {"shop": 1}
        assert caller.invoker.waiting() == {"shop": 1}
        opened.abort()
        opened.abort()
        report = await reported
        assert caller.invoker.waiting() == {}
        assert (report.code, report.phase) == ("CANCELLED", Phase.NOT_SENT)
        assert caller.invoker.in_flight() == {}


async def test_a_call_that_was_sent_waits_for_no_connection() -> None:
    came, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, _context: Context) -> bytes:
        came.set()
        await go_on.wait()
        return request

    async with serving({"Buy": slow}) as address, calling(address) as caller:
        _, reported = caller.begin(caller.request())
        await came.wait()
        assert (caller.invoker.in_flight(), caller.invoker.waiting()) == ({"shop": 1}, {})
        go_on.set()
        assert (await reported).code == "OK"


async def test_calls_begun_together_wait_for_one_connection_and_are_all_sent() -> None:
    async with serving({"Buy": sell}) as address, calling(address) as caller:
        begun = [caller.begin(caller.request(data=b"%d" % number))[1] for number in range(200)]
        assert caller.invoker.waiting() == caller.invoker.in_flight() == {"shop": 200}
        replies = {report.reply.data for report in await asyncio.gather(*begun) if report.reply}
    assert replies == {b"%d" % number for number in range(200)}


@pytest.mark.alone  # its time is measured
async def test_a_service_that_comes_back_is_seen_within_a_second_or_so() -> None:
    async with contextlib.AsyncExitStack() as first:
        address = await first.enter_async_context(serving({"Buy": sell}))
        async with calling(address) as caller:
            assert (await caller.call()).code == "OK"
            await first.aclose()
            report = await caller.call()
            assert report.code == "UNAVAILABLE"
            while (report := await caller.call()).phase is not Phase.NOT_SENT:
                assert report.code == "UNAVAILABLE"
            away_until = time.monotonic() + 4.5  # noqa: TID251  # long enough for the back-off to reach its bound
            while time.monotonic() < away_until:  # noqa: TID251
                assert (await caller.call()).phase is Phase.NOT_SENT
                await asyncio.sleep(0.02)  # poll: an outage has no fact to wait for
            async with serving({"Buy": sell}, address=address):
                watch = Watch()
                while (await caller.call()).code != "OK":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)  # poll: as a saga's retries do
                assert watch.took_s() < 1.6  # the bound, its jitter, some work


# --- TLS -----------------------------------------------------------------------------------------------------------


class Papers:
    """An authority, a server's and a client's certificate, as files."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.server = self.authority.issue_cert("localhost", "127.0.0.1")
        self.ca = self._write(folder / "ca.pem", self.authority.cert_pem)
        client = self.authority.issue_cert("saga@example.org")
        self.cert = self._write(folder / "client.pem", client.cert_chain_pems[0])
        self.key = self._write(folder / "client.key", client.private_key_pem)
        self.stranger_ca = self._write(folder / "stranger.pem", trustme.CA().cert_pem)

    def server_credentials(self, *, mutual: bool = False) -> grpc.ServerCredentials:
        chain = b"".join(pem.bytes() for pem in self.server.cert_chain_pems)
        return grpc.ssl_server_credentials(
            [(self.server.private_key_pem.bytes(), chain)], self.authority.cert_pem.bytes() if mutual else None, mutual
        )

    def _write(self, path: Path, pem: trustme.Blob) -> Path:
        pem.write_to_path(str(path))
        return path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def over_tls(address: str, tls: Tls) -> TargetConfig:
    return TargetConfig(name="shop", address=address, tls=tls)


async def test_a_call_goes_over_tls(papers: Papers) -> None:
    async with (
        serving({"Buy": sell}, credentials=papers.server_credentials()) as address,
        calling(over_tls(address, Tls(ca=papers.ca))) as caller,
    ):
        assert (await caller.call(data=b"1")).code == "OK"


async def test_a_certificate_of_another_authority_is_not_sent_to(papers: Papers) -> None:
    async with (
        serving({"Buy": sell}, credentials=papers.server_credentials()) as address,
        calling(over_tls(address, Tls(ca=papers.stranger_ca))) as caller,
    ):
        report = await caller.call()
    assert (report.code, report.phase) == ("UNAVAILABLE", Phase.NOT_SENT)
    assert "CERTIFICATE_VERIFY_FAILED" in report.message


async def test_a_server_that_wants_to_know_us_is_shown_our_certificate(papers: Papers) -> None:
    async with serving({"Buy": sell}, credentials=papers.server_credentials(mutual=True)) as address:
        mutual = Tls(ca=papers.ca, cert=papers.cert, key=papers.key)
        async with calling(over_tls(address, mutual)) as caller:
            assert (await caller.call()).code == "OK"
        async with calling(over_tls(address, Tls(ca=papers.ca))) as caller:
            assert (await caller.call()).code == "UNAVAILABLE"


async def test_plaintext_and_tls_do_not_meet(papers: Papers) -> None:
    async with serving({"Buy": sell}, credentials=papers.server_credentials()) as address, calling(address) as caller:
        assert (await caller.call()).phase is Phase.NOT_SENT
    async with serving({"Buy": sell}) as address, calling(over_tls(address, Tls(ca=papers.ca))) as caller:
        assert (await caller.call()).phase is Phase.NOT_SENT


async def test_plaintext_to_another_machine_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match="plaintext"):
        Caller(TargetConfig(name="shop", address="dns:///shop.example:50051"))
