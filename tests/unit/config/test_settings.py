"""What the store and the cluster's section may say, and what of it is shown."""

import json
from pathlib import Path

import pytest

from orchestrator import limits
from orchestrator.config import Flag, Settings, load
from orchestrator.config.settings import without_password
from orchestrator.errors import ConfigError

SECRET = "s3cret"


def refused(**flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, {}, [Flag(name="--set", key=key.replace("__", "."), value=value) for key, value in flags.items()])
    return caught.value.message


@pytest.mark.parametrize(
    ("store", "shown"),
    [
        ("postgres://ann:s3cret@db:5432/saga", "postgres://ann:***@db:5432/saga"),
        ("postgresql://ann@db/saga", "postgresql://ann@db/saga"),
        ("postgres://db/saga?user=ann&password=s3cret&sslmode=require", "postgres://db/saga?user=ann&password=***&sslmode=require"),
        ("postgres://db/saga?sslpassword=s3cret", "postgres://db/saga?sslpassword=***"),
        ("postgres://ann:s3cret@s3cret@a,b:1/saga", "postgres://ann:***@a,b:1/saga"),
        ("postgres://ann:x?s3cret/@db/saga", "postgres://ann:***@db/saga"),
        ("postgres://:s3cret@db/saga", "postgres://:***@db/saga"),
        ("sqlite:/var/a:b@c", "sqlite:/var/a:b@c"),
    ],
)  # fmt: skip
def test_a_password_is_shown_nowhere(store: str, shown: str) -> None:
    assert without_password(store) == shown
    settings = Settings(store=store)
    for text in (
        json.dumps(settings.model_dump(mode="json")),
        settings.model_dump_json(),
        repr(settings),
        str(settings),
    ):
        assert SECRET not in text
    assert settings.store == store


def test_the_driver_gets_the_password() -> None:
    dsn = "postgres://ann:s3cret@db/saga"
    settings = Settings(store=dsn)
    assert (settings.postgres_dsn, settings.sqlite_path) == (dsn, None)
    assert Settings(store="memory:").postgres_dsn is None
    assert Settings(store="sqlite:x").sqlite_path == Path("x")


@pytest.mark.parametrize("store", ["postgres://", "postgresql:", "mysql://db/saga", "sqlite:"])
def test_a_store_that_is_none_is_refused_without_repeating_it(store: str) -> None:
    said = refused(store=store)
    assert "a store is `sqlite:PATH`, `postgres://USER@HOST:PORT/DATABASE`" in said
    assert store not in said.replace("postgres://USER@HOST:PORT/DATABASE", "").replace("sqlite:PATH", "")


def test_peers_may_not_be_anybody() -> None:
    assert "10.0.0.7 is more than this machine" in refused(cluster__host="10.0.0.7")
    assert Settings.model_validate({"cluster": {"host": "10.0.0.7", "insecure": True}}).cluster.insecure
    for host in ("127.0.0.1", "::1", "localhost"):
        assert Settings.model_validate({"cluster": {"host": host}}).cluster.host == host


def test_tls_and_insecure_contradict_each_other(tmp_path: Path) -> None:
    pem = tmp_path / "one.pem"
    pem.touch()
    tls = {"ca": str(pem), "cert": str(pem), "key": str(pem)}
    section = Settings.model_validate({"cluster": {"host": "10.0.0.7", "tls": tls}}).cluster
    assert section.tls is not None
    assert section.tls.files().key == pem
    assert "contradict each other" in refused(cluster__tls=tls, cluster__insecure="true")
    assert "key: missing" in refused(cluster__tls={"ca": str(pem), "cert": str(pem)})


def test_the_files_of_a_file_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "one.pem").touch()
    file = tmp_path / "saga.yaml"
    file.write_text("cluster: {tls: {ca: one.pem, cert: one.pem, key: one.pem}}")
    tls = load(file, {}).settings.cluster.tls
    assert tls is not None
    assert tls.ca == tmp_path / "one.pem"


@pytest.mark.parametrize(
    ("section", "port", "address"),
    [
        ({}, 7402, "127.0.0.1:7402"),
        ({"host": "::1"}, 9, "[::1]:9"),
        ({"advertise": "saga-1:7402"}, 9, "saga-1:7402"),
    ],
)
def test_peers_are_told_where_it_listens_unless_told_otherwise(
    section: dict[str, object], port: int, address: str
) -> None:
    assert Settings.model_validate({"cluster": section}).cluster.address(port) == address


def test_who_listens_everywhere_is_reached_by_the_machines_name() -> None:
    section = Settings.model_validate({"cluster": {"host": "0.0.0.0", "insecure": True}}).cluster
    assert section.address(7) == f"{section.shown_name()}:7"


def test_an_address_without_a_port_is_refused() -> None:
    assert "is not an address; write host:port" in refused(cluster__advertise="saga-1")


@pytest.mark.parametrize("lease_s", [limits.LEASE_S_MIN - 0.1, limits.LEASE_S_MAX + 0.1])
def test_a_lease_has_bounds(lease_s: float) -> None:
    assert "cluster.lease_s" in refused(cluster__lease_s=str(lease_s))


def test_a_cluster_that_does_not_count_is_noticed() -> None:
    assert load(None, {"ORCHESTRATOR_CLUSTER__LEASE_S": "3"}).settings.has_idle_cluster
    assert not load(None, {}).settings.has_idle_cluster
    assert not load(None, {"ORCHESTRATOR_CLUSTER__NAME": "one"}).settings.has_idle_cluster  # its log has it
    assert not Settings.model_validate({"store": "postgres://db/saga", "cluster": {"name": "one"}}).has_idle_cluster


@pytest.mark.parametrize(("said", "names"), [(["tenant", "plan-id"], ("tenant", "plan-id")), ("tenant", ("tenant",))])
def test_baggage_is_kept_by_name(said: object, names: tuple[str, ...]) -> None:
    settings = load(None, {}, [Flag(name="--set", key="tracing.baggage", value=said)]).settings
    assert settings.tracing.baggage == names
    assert Settings().tracing.baggage == ()


@pytest.mark.parametrize("name", ["", "two words", "a,b", "a=b", "ä"])
def test_what_can_be_no_name_in_baggage_is_refused(name: str) -> None:
    assert "is no name of W3C baggage" in refused(tracing__baggage=[name])


def test_no_more_names_of_baggage_than_a_header_can_have() -> None:
    names = [f"n{number}" for number in range(limits.BAGGAGE_NAMES_MAX)]
    assert Settings.model_validate({"tracing": {"baggage": names}}).tracing.baggage == tuple(names)
    assert "tracing.baggage" in refused(tracing__baggage=[*names, "one-more"])
