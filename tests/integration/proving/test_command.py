"""`saga verify-participant` as it is typed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from orchestrator.participant import SQLITE
from tests.integration.invoker.peers import dead_address
from tests.kit import houses, theatre

METHODS = ("--forward", f"{theatre.SERVICE}/Reserve", "--compensate", f"{theatre.SERVICE}/Release")
REQUEST = ("--request", '{"client": "c-{unique}", "seats": 2}')
PROBE = (
    *("--probe", f"{theatre.SERVICE}/List", "--probe-request", '{"client": "{request.client}"}'),
    *("--effects", "size(reply.reservations)"),
)


def saga(*arguments: str) -> tuple[int, str, str]:
    """Run the program as a process, since gRPC knows one event loop per process: exit code, and what it printed."""
    command = [sys.executable, "-m", "orchestrator", "verify-participant", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


class Forgetful(houses.BlockingHouse):
    """Undoes by hand, without the barrier: a call may come after its undo."""

    def release(self, request: Any, context: Any) -> Any:
        with self._transaction() as db:
            key = dict(context.invocation_metadata())["saga-forward-key"]
            self._run(db, "DELETE FROM reservations WHERE call_key = ?", key)
        return theatre.ReleaseReply()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    connect = partial(houses.sqlite_connection, tmp_path_factory.mktemp("good") / "house.sqlite")
    with theatre.in_threads(houses.BlockingHouse(connect, SQLITE)) as address:
        yield address


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    connect = partial(houses.sqlite_connection, tmp_path_factory.mktemp("bad") / "house.sqlite")
    with theatre.in_threads(Forgetful(connect, SQLITE)) as address:
        yield address


def test_a_good_participant_is_told_rule_by_rule_with_evidence(good: str) -> None:
    code, out, err = saga(good, *METHODS, *REQUEST, *PROBE)
    assert code == 0, out + err
    assert "12 rules hold, 0 do not, 0 were not judged" in err
    assert out.count("HOLDS") == 12
    assert "A forward again  -> OK" in out
    assert "-> FAILED_PRECONDITION SAGA_STEP_ALREADY_COMPENSATED" in out
    assert "-> 1 effect " in out


def test_a_bad_one_exits_1_and_json_has_all_that_was_said(bad: str) -> None:
    code, out, _ = saga(bad, *METHODS, *REQUEST, *PROBE, "-o", "json")
    assert code == 1
    told = json.loads(out)
    assert told["holds"] is False
    assert [one["rule"] for one in told["rules"] if one["verdict"] == "BROKEN"] == ["overtaken"]
    [overtaken] = [one for one in told["rules"] if one["rule"] == "overtaken"]
    assert "nobody will ever undo it" in overtaken["why"]
    undo, late = (call for call in overtaken["evidence"] if call["sent"] in {"undo", "forward"})
    assert undo["metadata"]["saga-forward-key"] == late["metadata"]["idempotency-key"]
    assert (undo["code"], late["code"]) == ("OK", "OK")


def test_names_alone_where_that_is_all_that_is_wanted(bad: str) -> None:
    code, out, err = saga(bad, *METHODS, *REQUEST, *PROBE, "-q")
    assert (code, err) == (1, "")
    assert "BROKEN overtaken\n" in out


def test_a_target_may_be_named_by_the_configuration(good: str, tmp_path: Path) -> None:
    config = tmp_path / "saga.yaml"
    config.write_text(f"targets: {{box: {{address: '{good}'}}}}\n", encoding="utf-8")
    code, _, err = saga("box", "--config", str(config), *METHODS, *REQUEST, "-q")
    assert code == 0, err
    code, _, err = saga("till", "--config", str(config), *METHODS, *REQUEST)
    assert code == 2
    assert "neither HOST:PORT nor a target of the configuration; configured are: box" in err


def test_descriptors_may_come_from_a_file(good: str, tmp_path: Path) -> None:
    path = tmp_path / "theatre.binpb"
    path.write_bytes(theatre.DESCRIPTORS.SerializeToString())
    code, _, err = saga(good, *METHODS, *REQUEST, "--descriptors", str(path), "-q")
    assert code == 0, err


def test_tls_is_spoken_where_it_is_asked_for(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    paper = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    chain = b"".join(pem.bytes() for pem in paper.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(paper.private_key_pem.bytes(), chain)])
    house = houses.BlockingHouse(partial(houses.sqlite_connection, tmp_path / "house.sqlite"), SQLITE)
    with theatre.in_threads(house, credentials=credentials) as address:
        code, _, err = saga(address, *METHODS, *REQUEST, "-q", "--tls-ca", str(tmp_path / "ca.pem"))
        assert code == 0, err
        code, _, err = saga(address, *METHODS, *REQUEST, "-q", "--tls-ca", str(tmp_path / "stranger.pem"))
        assert code == 1
        assert "did not describe its methods" in err


UNDO = ("--undo-request", '{"client": "{reply.nobody}"}')


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["{good}", *METHODS], 2, "Missing option '--request'"),
        (["{good}", *METHODS, "--request", "{"], 2, "not JSON"),
        (["{good}", *METHODS, "--request", '{"guest": "x"}'], 2, "--request is not a theatre.v1.ReserveRequest"),
        (["{good}", *METHODS, "--request", '{"client": "{reply.client}"}'], 2, "can use {unique} alone"),
        (["{good}", *METHODS, *REQUEST, *UNDO], 2, "has no field 'nobody' there; it has: reservation_id, client"),
        (["{good}", *METHODS[:2], "--compensate", "a.B/C", *REQUEST], 2, "has no method 'a.B/C'; it has: theatre.v1"),
        (["{good}", *METHODS, *REQUEST, "--effects", "1"], 2, "--probe and --effects come together"),
        (["{good}", *METHODS, *REQUEST, *PROBE[:-1], "reply.seats"], 2, "has no field `seats`"),
        (["{good}", *METHODS, *REQUEST, *PROBE[:-1], "'many'"], 2, "must be a number of effects"),
        (["{good}", *METHODS, *REQUEST, "--timeout", "0"], 2, "--timeout must be more than nothing"),
        (["{good}", *METHODS, *REQUEST, "--parallel", "1"], 2, "--parallel"),
        (["theatre.example:443", *METHODS, *REQUEST], 2, "would be called in plaintext; give --tls"),
        (["box", "--tls", *METHODS, *REQUEST], 2, "are as the configuration has them"),
        (["{dead}", *METHODS, *REQUEST], 1, "did not describe its methods: UNAVAILABLE"),
        (["127.0.0.1:0", *METHODS, *REQUEST], 78, "needs a host and a port"),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
def test_a_users_mistake_is_one_line_and_never_a_traceback(
    arguments: list[str], code: int, told: str, good: str
) -> None:
    places = {"{good}": good, "{dead}": dead_address()}
    found, out, err = saga(*(places.get(each, each) for each in arguments))
    assert told in err
    assert (found, out) == (code, "")
    assert "Traceback" not in err


def test_a_probe_that_fails_is_said_to_fail_and_nothing_is_left(tmp_path: Path) -> None:
    house = houses.BlockingHouse(partial(houses.sqlite_connection, tmp_path / "house.sqlite"), SQLITE)
    probe = ("--probe", f"{theatre.SERVICE}/List", "--probe-request", '{"client": "c"}')
    count = "size(reply.reservations) == 0 ? 0 : int(reply.reservations[0].client)"
    with theatre.in_threads(house) as address:
        request = ("--request", '{"client": "c", "seats": 2}')
        code, _, err = saga(address, *METHODS, *request, *probe, "--effects", count)
    assert code == 2
    assert 'has no value for {"reservations"' in err
    assert list(house.list_(theatre.ListRequest(client="c"), None).reservations) == []


def test_a_refused_request_is_told_as_what_it_is(good: str) -> None:
    crowd = ("--request", '{"client": "c", "seats": 99}')
    code, out, _ = saga(good, *METHODS, *crowd)
    assert code == 1
    assert "FAILED_PRECONDITION TOO_MANY_SEATS (8 seats are sold at once); give a --request that" in out
    assert "it would prove nothing while `acts` is broken" in out


def test_nobody_is_said_to_have_acted_where_nobody_was_reached(tmp_path: Path) -> None:
    described = tmp_path / "theatre.binpb"
    described.write_bytes(theatre.DESCRIPTORS.SerializeToString())
    code, _, err = saga(dead_address(), *METHODS, *REQUEST, "--descriptors", str(described))
    assert code == 1
    assert "1 calls may have acted, and no undo of them has succeeded" in err
