from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from orchestrator import limits
from orchestrator.config import Flag, Settings, load, to_yaml
from orchestrator.errors import ConfigError
from orchestrator.invoker.targets import DescriptorSetFile, ProtoFiles, Reflection, TargetConfig, Tls
from orchestrator.ports.methods import MethodFacts
from orchestrator.saga.plan import OutcomeProfile

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "saga.yaml"
        path.write_text(text)
        return path

    return write_file


def refused(file: Path | None = None, environ: Mapping[str, str] | None = None, flags: Sequence[Flag] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {}, flags)
    return caught.value.message


def test_nothing_set_gives_the_defaults() -> None:
    loaded = load(None, {})
    assert loaded.settings == Settings()
    assert (loaded.settings.api.host, loaded.settings.api.port, loaded.settings.http.port) == ("127.0.0.1", 7400, 7401)
    assert loaded.settings.sqlite_path == Path("saga.sqlite")
    assert loaded.origins == {}


def test_a_later_layer_wins_and_says_where_a_value_came_from(write: Write) -> None:
    file = write("api: {port: 1}\nhttp: {port: 2}\ngrace_s: 3\n")
    environ = {"ORCHESTRATOR_HTTP__PORT": "20", "ORCHESTRATOR_GRACE_S": "30"}
    loaded = load(file, environ, [Flag(name="--grace", key="grace_s", value=300.0)])
    assert (loaded.settings.api.port, loaded.settings.http.port, loaded.settings.grace_s) == (1, 20, 300)
    assert loaded.origins["api.port"] == f"{file}:1:7"
    assert loaded.origins["http.port"] == "ORCHESTRATOR_HTTP__PORT"
    assert loaded.origins["grace_s"] == "--grace"


def test_each_definition_may_be_kept_for_another_time(write: Write) -> None:
    assert load(None, {}).settings.retention.is_on is False
    assert load(None, {}).settings.retention.keep_s("epro") is None
    text = "retention: {default_s: 86400, definitions: {epro: 3600, visit: null}}"
    retention = load(write(text), {}).settings.retention
    assert [retention.keep_s(name) for name in ("epro", "visit", "other")] == [3600, None, 86400]
    assert retention.is_on is True
    assert load(write("retention: {definitions: {epro: 60}}"), {}).settings.retention.is_on is True


def test_a_section_keeps_the_defaults_of_what_it_does_not_set(write: Write) -> None:
    settings = load(write("api: {host: 0.0.0.0}\nhttp: {host: 0.0.0.0}"), {}).settings
    assert (settings.api.port, settings.http.port) == (7400, 7401)


def test_layers_merge_key_by_key(write: Write) -> None:
    file = write("targets: {scoring: {address: '127.0.0.1:1', idempotent: true}}")
    loaded = load(file, {"ORCHESTRATOR_TARGETS__SCORING__ADDRESS": "127.0.0.1:2"})
    scoring = loaded.settings.targets["scoring"]
    assert (scoring.address, scoring.idempotent) == ("127.0.0.1:2", True)


def test_bytes_that_are_no_text_are_told_wherever_they_come_from() -> None:
    assert "ORCHESTRATOR_STORE: it is not UTF-8 text" in refused(None, {"ORCHESTRATOR_STORE": "\udcff"})
    flag = Flag(name="--store", key="store", value="sqlite:\udcff")
    assert "--store: it is not UTF-8 text" in refused(None, {}, [flag])


def test_half_of_a_surrogate_pair_is_told_with_its_place(write: Write) -> None:
    assert "1:8: half of a surrogate pair" in refused(write('store: "\\ude00"'))
    assert "unknown key" in refused(write('"\\ude00": 1'))


def test_a_path_that_cannot_be_looked_up_is_told(write: Write) -> None:
    assert "cannot be looked up: File name too long" in refused(write(f"definitions: {'x' * 5_000}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api: {prot: 1}", "1:7: api.prot: unknown key; did you mean `port`?"),
        ("lgo: {}", "1:1: lgo: unknown key; did you mean `log`?"),
        ("zzz: 1", "zzz: unknown key; known: api, cluster, definitions, diagnostics, grace_s, http, log, retention, "),
        ("targets: {a: {address: 'localhost:1', idempotnt: true}}", "targets.a.idempotnt: unknown key; did you mean"),
        ("targets: {a: {address: 'localhost:1', methods: {x.Y/Z: {idemptent: true}}}}", "did you mean `idempotent`?"),
        ("targets: {a: {address: 'localhost:1', breaker: {}}}", "targets.a.breaker: not supported yet; remove it"),
        ("targets: {a: {address: 'localhost:1', limits: {}}}", "targets.a.limits: not supported yet; remove it"),
        ("targets: {a: {}}", "1:11: targets.a.address: missing; it has no default"),
        ("targets: {A: {address: 'localhost:1'}}", "target name 'A' is not one of a-z"),
        (
            "targets: {a: {address: 'scoring:1'}}",
            "1:11: targets.a: scoring:1 is not on this machine and",
        ),
        ("targets: {a: {address: 'x:1', tls: {}, insecure: true}}", "contradict each other"),
        (
            "targets: {a: {address: 'x:1', tls: {cert: saga.yaml}, idempotent: true}}",
            "targets.a: tls.cert and tls.key come together",
        ),
        ("targets: {a: {address: 'localhost:1', methods: {Store: {idempotent: true}}}}", "'Store' is not a method"),
        ("targets: {a: {address: nowhere}}", "targets.a: 'nowhere' needs a host and a port"),
        ("targets: {a: {address: 'localhost:1', descriptors: {}}}", "targets.a.descriptors: give exactly one of"),
        ("targets: {a: {address: 'localhost:1', descriptors: {set: x.binpb}}}", "x.binpb does not exist"),
        ("definitions: [nowhere.yaml]", "nowhere.yaml does not exist"),
        ("store: mysql://x", "store: a store is `sqlite:PATH`"),
        ("api: {port: 65536}", "1:7: api.port: input should be less than or equal to 65535"),
        ("retention: {default_s: 59}", "1:13: retention.default_s: input should be greater than or equal to 60"),
        ("grace_s: -1", "1:1: grace_s: input should be greater than or equal to 0"),
        ("grace_s: 1\ngrace_s: 2", "2:1: grace_s: the key is there twice; keep one"),
        ("api: &a {port: 1}\nhttp: *a", "anchors and aliases have no place here"),
        ("api: [", "saga.yaml:1:7: not YAML: "),
        ("- 1", "saga.yaml:1:1: a configuration is a mapping of keys to values"),
        ("api: 3", "1:1: api: input should be a valid dictionary or instance of ApiSettings"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_position(write: Write, text: str, expected: str) -> None:
    assert expected in refused(write(text))


def test_all_mistakes_are_reported_at_once(write: Write) -> None:
    message = refused(
        write("api: {prot: 1}\ngrace_s: x\n"),
        {"ORCHESTRATOR_HTPP__PORT": "1"},
        [Flag(name="--log-level", key="log.level", value="loud")],
    )
    assert message.splitlines()[0] == "4 settings are wrong:"
    for expected in ("saga.yaml:1:7: api.prot", "saga.yaml:2:1: grace_s", "ORCHESTRATOR_HTPP__PORT: htpp: unknown key"):
        assert expected in message
    assert "--log-level: log.level: input should be 'debug', 'info', 'warning' or 'error'" in message


def test_an_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    assert "cannot read the configuration file" in refused(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8 text" in refused(tmp_path / "binary.yaml")


def test_an_oversized_file_is_refused_before_it_is_parsed(write: Write) -> None:
    assert "at most" in refused(write("#" * (limits.CONFIG_CHARS_MAX + 1)))


def test_a_deeply_nested_file_is_refused(write: Write) -> None:
    assert "not YAML" in refused(write("[" * 5_000))


def test_an_empty_file_changes_nothing(write: Write) -> None:
    assert load(write("# nothing\n"), {}).settings == Settings()


def test_paths_of_a_file_start_at_its_folder(tmp_path: Path, write: Write) -> None:
    for name in ("epro.yaml", "ca.pem", "image.binpb"):
        (tmp_path / name).touch()
    file = write(
        "store: sqlite:data/saga.sqlite\ndefinitions: [epro.yaml]\n"
        "targets: {a: {address: 'x:1', tls: {ca: ca.pem}, descriptors: {set: image.binpb}}}\n"
    )
    settings = load(file, {}).settings
    assert settings.sqlite_path == tmp_path / "data/saga.sqlite"
    assert settings.definitions == (tmp_path / "epro.yaml",)
    assert settings.targets["a"].tls is not None
    assert settings.targets["a"].tls.ca == tmp_path / "ca.pem"
    assert settings.targets["a"].descriptors.set == tmp_path / "image.binpb"


def test_an_environment_value_may_be_a_list_or_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    environ = {
        "ORCHESTRATOR_TARGETS__A": "{address: 'dns:///a:1', insecure: true}",
        "ORCHESTRATOR_DEFINITIONS": f"[{tmp_path / 'a.yaml'}]",
    }
    settings = load(None, environ).settings
    assert settings.targets["a"].insecure
    assert settings.definitions == (tmp_path / "a.yaml",)


def test_one_definition_needs_no_list(tmp_path: Path) -> None:
    settings = load(None, {"ORCHESTRATOR_DEFINITIONS": str(tmp_path)}).settings
    assert settings.definitions == (tmp_path,)


def test_a_value_may_be_mounted_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("memory:\n")
    assert load(None, {"ORCHESTRATOR_STORE_FILE": str(tmp_path / "store")}).settings.store == "memory:"
    assert "ORCHESTRATOR_STORE_FILE: cannot read" in refused(environ={"ORCHESTRATOR_STORE_FILE": str(tmp_path / "no")})


def test_variables_of_others_are_left_alone() -> None:
    environ = {
        "ORCHESTRATOR_SERVER": "127.0.0.1:1",
        "ORCHESTRATOR_CONFIG": "x.yaml",
        "ORCHESTRATOR_PORT": "tcp://10.0.0.1:7400",
        "ORCHESTRATOR_PORT_7400_TCP_ADDR": "10.0.0.1",
        "ORCHESTRATOR_SERVICE_HOST": "10.0.0.1",
        "ORCHESTRATOR_SERVICE_PORT_GRPC": "7400",
        "PATH": "/bin",
    }
    assert load(None, environ).settings == Settings()


def test_a_key_below_a_plain_value_is_refused() -> None:
    environ = {"ORCHESTRATOR_STORE": "memory:", "ORCHESTRATOR_STORE__PATH": "x"}
    assert "ORCHESTRATOR_STORE__PATH: store.path: store was given a plain value elsewhere" in refused(environ=environ)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().api.port = 1


def test_targets_become_what_the_invoker_takes(tmp_path: Path, write: Write) -> None:
    for name in ("ca.pem", "image.binpb", "x.proto"):
        (tmp_path / name).touch()
    file = write(
        """
        targets:
          plain: {address: "127.0.0.1:1"}
          set: {address: "x:1", tls: {ca: ca.pem}, descriptors: {set: image.binpb},
                idempotent: true, barrier: true, outcomes: dtm}
          files: {address: "x:1", insecure: true, descriptors: {files: x.proto, include: [.]}}
          methods: {address: "127.0.0.1:1", idempotent: true,
                    methods: {a.B/C: {idempotent: false}, a.B/D: {barrier: true, outcomes: default}}}
        """
    )
    plain, set_, files, methods = load(file, {}).settings.target_configs()
    assert plain == TargetConfig(name="plain", address="127.0.0.1:1", descriptors=Reflection())
    assert set_.tls == Tls(ca=tmp_path / "ca.pem")
    assert set_.descriptors == DescriptorSetFile(path=tmp_path / "image.binpb")
    assert set_.every == MethodFacts(idempotent=True, barrier=True, profile=OutcomeProfile.DTM)
    assert not set_.insecure
    assert files.descriptors == ProtoFiles(files=(tmp_path / "x.proto",), include=(tmp_path,))
    assert files.insecure
    assert methods.every == MethodFacts(idempotent=True)
    assert methods.methods == {
        "a.B/C": MethodFacts(idempotent=False),
        "a.B/D": MethodFacts(barrier=True, profile=OutcomeProfile.DEFAULT),
    }


def test_settings_survive_being_written_as_yaml(write: Write) -> None:
    settings = load(None, {"ORCHESTRATOR_TARGETS__A__ADDRESS": "localhost:1", "ORCHESTRATOR_GRACE_S": "1.5"}).settings
    text = to_yaml(settings.model_dump(mode="json", exclude_defaults=True))
    assert load(write(text), {}).settings == settings


def test_yaml_keeps_the_order_of_keys() -> None:
    assert to_yaml({"b": 1, "a": "yes", "c": ["ü", None]}) == "b: 1\na: yes\nc:\n- ü\n- null\n"
