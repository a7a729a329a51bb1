import gc
import json
from pathlib import Path

import pytest

from orchestrator import bootstrap
from orchestrator.cli.exits import Exit
from orchestrator.config import Settings
from orchestrator.errors import ConfigError, DefinitionInvalid
from tests.unit.cli.conftest import Saga


def test_config_show_says_where_each_value_came_from(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "saga.yaml"
    file.write_text("targets: {a: {address: 'localhost:1'}}\n")
    monkeypatch.setenv("ORCHESTRATOR_GRACE_S", "3")
    ended = saga("config", "show", "--config", str(file), "--port", "0", "--set", "log.level=debug")
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines()[1:]}
    assert rows["api.host"] == ["127.0.0.1", "default"]
    assert rows["api.port"] == ["0", "--port"]
    assert rows["grace_s"] == ["3.0", "ORCHESTRATOR_GRACE_S"]
    assert rows["log.level"] == ["debug", "--set", "log.level"]
    assert rows["targets.a.address"][0] == "localhost:1"
    assert rows["targets.a.insecure"] == ["False", f"{file}:1:11"]


def test_config_show_for_programs_is_the_settings(saga: Saga) -> None:
    values = json.loads(saga("config", "show", "-o", "json").out)
    assert Settings.model_validate(values) == Settings()


def test_config_schema_is_a_json_schema_with_every_key_described(saga: Saga) -> None:
    schema = json.loads(saga("config", "schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    for section in (schema, *schema["$defs"].values()):
        for name, described in section.get("properties", {}).items():  # an enum has none
            assert described.get("description"), name


def test_the_config_file_may_be_named_by_the_environment(
    saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "saga.yaml").write_text("prot: 1\n")
    monkeypatch.setenv("ORCHESTRATOR_CONFIG", str(tmp_path / "saga.yaml"))
    ended = saga("serve")
    assert ended.code == Exit.CONFIG
    assert ended.err == (
        f"saga: {tmp_path}/saga.yaml:1:1: prot: unknown key; "
        "known: api, cluster, definitions, diagnostics, grace_s, http, log, retention, store, targets, tracing\n"
    )


def test_a_setting_without_a_value_is_a_usage_error(saga: Saga) -> None:
    ended = saga("serve", "--set", "grace_s")
    assert ended.code == Exit.USAGE
    assert gc.isenabled()
    assert "write KEY=VALUE" in ended.err


def test_serve_runs_with_the_settings_and_prints_where_it_listens(saga: Saga, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Settings] = []

    def run(settings: Settings, on_ready: bootstrap.Ready) -> int:
        given.append(settings)
        on_ready("127.0.0.1:7", "127.0.0.1:8")
        return 0

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr("orchestrator.telemetry.logs.configure_logging", lambda *_: None)
    ended = saga("serve", "--store", "memory:", "--host", "0.0.0.0", "--definition", ".")
    assert (ended.code, ended.out) == (0, "listening 127.0.0.1:7\n")
    assert "health and metrics at http://127.0.0.1:8" in ended.err
    assert (given[0].store, given[0].api.host, given[0].definitions) == ("memory:", "0.0.0.0", (Path(),))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("port 7400 is taken"), "saga: port 7400 is taken\n"),
        (
            DefinitionInvalid("1 finding", ["a.yaml:1:1: error[E101]: x"]),
            "saga: 1 finding\na.yaml:1:1: error[E101]: x\n",
        ),
    ],
)
def test_what_keeps_the_server_from_starting_ends_with_78(
    saga: Saga, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def run(*_: object) -> int:
        raise error

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr("orchestrator.telemetry.logs.configure_logging", lambda *_: None)
    ended = saga("serve")
    assert (ended.code, ended.out, ended.err) == (Exit.CONFIG, "", line)
