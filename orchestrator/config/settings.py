"""The tree of settings: names, types, defaults, and the rules between them.

The docstring below a field is its documentation: it becomes the JSON Schema (`saga config schema`) and
`docs/configuration.md`.
"""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    model_validator,
)
from pydantic_core import CoreSchema

from orchestrator import fielddocs, limits
from orchestrator.cluster import wire
from orchestrator.errors import ConfigError
from orchestrator.invoker import targets as invoker
from orchestrator.ports.methods import MethodFacts
from orchestrator.saga.plan import OutcomeProfile
from orchestrator.tracecontext import BAGGAGE_NAME


def _exists(path: Path) -> Path:
    try:
        found = path.exists()
    except OSError as failed:  # too long a name, a folder that may not be entered
        raise ValueError(f"{str(path)[:100]} cannot be looked up: {failed.strerror}") from failed
    if not found:
        raise ValueError(f"{path} does not exist")
    return path


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


ExistingPath = Annotated[Path, AfterValidator(_exists)]
Paths = Annotated[tuple[ExistingPath, ...], BeforeValidator(_one_or_many)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        names = {name: name for name in cls.model_fields}
        fielddocs.describe(cls, handler.resolve_ref_schema(schema)["properties"], names)
        return schema


class ApiSettings(_Section):
    """Where the gRPC API listens."""

    host: str = "127.0.0.1"
    """Address to bind. Loopback by default: who can reach the port may start and cancel sagas."""
    port: Port = 7400
    """Port to bind; 0 takes a free one, which is printed at start."""


class HttpSettings(_Section):
    """Where `/healthz`, `/readyz` and `/metrics` are served."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: Port = 7401
    """Port to bind; 0 takes a free one, which is printed at start."""


class TlsSettings(_Section):
    """Encryption towards a target; files are PEM and are read at start."""

    ca: ExistingPath | None = None
    """Certificates to trust instead of the system's."""
    cert: ExistingPath | None = None
    """This client's certificate chain, for mutual TLS; needs `key`."""
    key: ExistingPath | None = None
    """The private key of `cert`."""


class DescriptorSettings(_Section):
    """How a target's methods and message types are learnt; exactly one way."""

    reflection: bool = False
    """Ask the target itself (gRPC server reflection, v1 or v1alpha)."""
    files: Paths = ()
    """`.proto` files; compiling them needs grpcio-tools where the orchestrator runs."""
    include: Paths = ()
    """Folders where the imports of `files` are looked up, before the folders of the files themselves."""
    set: ExistingPath | None = None
    """A serialised `FileDescriptorSet` with imports included (`buf build -o`, `protoc --descriptor_set_out`)."""

    @model_validator(mode="after")
    def _one_way(self) -> "DescriptorSettings":
        if sum((self.reflection, bool(self.files), self.set is not None)) != 1:
            raise ValueError("give exactly one of `reflection: true`, `files: […]`, `set: …`")
        return self

    def source(self) -> invoker.DescriptorSource:
        """Return the same as the invoker takes it."""
        if self.set is not None:
            return invoker.DescriptorSetFile(path=self.set)
        return invoker.ProtoFiles(files=self.files, include=self.include) if self.files else invoker.Reflection()


class MethodSettings(_Section):
    """Where one method differs from its target."""

    idempotent: bool | None = None
    """The method honours the idempotency key, or does not, whatever its target or its annotation says."""
    barrier: bool | None = None
    """The method keeps the barrier contract, or does not, whatever its target or its annotation says."""
    outcomes: OutcomeProfile | None = None
    """How the method means its status codes, whatever its target or its annotation says."""

    @model_validator(mode="after")
    def _says_something(self) -> "MethodSettings":
        if self.facts() == MethodFacts():
            raise ValueError("give at least one of `idempotent`, `barrier`, `outcomes`, or remove the method")
        return self

    def facts(self) -> MethodFacts:
        """Return the same as a definition's calls take it."""
        return MethodFacts(idempotent=self.idempotent, barrier=self.barrier, profile=self.outcomes)


class TargetSettings(_Section):
    """A called service."""

    address: str = Field(min_length=1)
    """Where it is, as gRPC writes it: `127.0.0.1:50051`, `dns:///scoring:50051`, `unix:/run/scoring.sock`."""
    descriptors: DescriptorSettings = DescriptorSettings(reflection=True)
    """How its methods are learnt."""
    tls: TlsSettings | None = None
    """Encrypt; `tls: {}` trusts the system's certificates. Absent: plaintext, on loopback only."""
    insecure: bool = False
    """Allow plaintext beyond loopback."""
    idempotent: bool | None = None
    """Its methods honour `idempotency-key`: asked again, they replay their first reply (rule R8a). Absent: as they
    are annotated, otherwise they do not."""
    barrier: bool | None = None
    """Its methods keep the barrier contract, so an unknown call may be undone at once (rules R12a, R13). Absent: as
    they are annotated, otherwise they do not."""
    outcomes: OutcomeProfile | None = None
    """How its methods mean their status codes: `default` is gRPC's way, in `dtm` ABORTED is a refusal and
    FAILED_PRECONDITION asks for a repetition (rule R6). Absent: as they are annotated, otherwise `default`."""
    methods: dict[str, MethodSettings] = {}
    """Full method name, `epro.v1.Archive/Store` -> where it differs."""

    @model_validator(mode="after")
    def _can_be_right(self) -> "TargetSettings":
        try:
            invoker.validate(self.target("name"))
        except ConfigError as wrong:
            raise ValueError(wrong.message.partition(": ")[2]) from wrong
        return self

    def target(self, name: str) -> invoker.TargetConfig:
        """Return the same as the invoker takes it."""
        tls = None if self.tls is None else invoker.Tls(ca=self.tls.ca, cert=self.tls.cert, key=self.tls.key)
        return invoker.TargetConfig(
            name=name,
            address=self.address,
            descriptors=self.descriptors.source(),
            tls=tls,
            insecure=self.insecure,
            every=MethodFacts(idempotent=self.idempotent, barrier=self.barrier, profile=self.outcomes),
            methods={method: differs.facts() for method, differs in self.methods.items()},
        )


class PeerTlsSettings(_Section):
    """Mutual TLS between the processes of a cluster; files are PEM and are read at start."""

    ca: ExistingPath
    """The authority: whoever shows a certificate of it is a peer. One of the cluster's own, not a public one."""
    cert: ExistingPath
    """This process's certificate chain; its names have to fit the address at which peers call it."""
    key: ExistingPath
    """The private key of `cert`."""

    def files(self) -> wire.Tls:
        """Return the same as the cluster takes it."""
        return wire.Tls(ca=self.ca, cert=self.cert, key=self.key)


class ClusterSettings(_Section):
    """This process among the others on the same PostgreSQL; on another store it is alone, and none of this counts."""

    name: str = Field(default="", max_length=limits.API_NAME_CHARS_MAX)
    """How people call this process; the machine's name where empty."""
    host: str = "127.0.0.1"
    """Address to bind for the other processes. Beyond loopback only with `tls` or `insecure`."""
    port: Port = 7402
    """Port to bind for the other processes; 0 takes a free one."""
    advertise: str = ""
    """`host:port` at which the others reach this process; where it listens, where empty."""
    lease_s: float = Field(default=limits.LEASE_S_DEFAULT, ge=limits.LEASE_S_MIN, le=limits.LEASE_S_MAX)
    """Seconds that the others wait for a process that is silent, before they take over its sagas."""
    shards: int = Field(default=limits.SHARDS_DEFAULT, ge=1, le=limits.SHARDS_MAX)
    """How many parts a new store's sagas are dealt out in; a store keeps what it was created with."""
    tls: PeerTlsSettings | None = None
    """Encrypt, and let only peers in. Absent: plaintext, on loopback only."""
    insecure: bool = False
    """Allow plaintext beyond loopback: whoever reaches the port is believed to be a peer."""

    @model_validator(mode="after")
    def _is_closed_to_strangers(self) -> "ClusterSettings":
        problem = wire.exposure(self.host, has_tls=self.tls is not None, insecure=self.insecure)
        if problem is not None:
            raise ValueError(problem)
        if self.advertise and not re.fullmatch(r"\S+:[1-9]\d{0,4}", self.advertise):
            raise ValueError(f"advertise: {self.advertise!r} is not an address; write host:port")
        return self

    def shown_name(self) -> str:
        """Return how people call this process."""
        return self.name or socket.gethostname()

    def address(self, port: int) -> str:
        """Return where the others reach this process, which listens at a port."""
        if self.advertise:
            return self.advertise
        is_anywhere = self.host in {"", "0.0.0.0", "::"}  # noqa: S104  # compared, not bound
        host = socket.gethostname() if is_anywhere else self.host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _baggage_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [name for name in names if not BAGGAGE_NAME.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is no name of W3C baggage: letters, digits and !#$%&'*+.^_`|~- without a space")
    return names


class TracingSettings(_Section):
    """What traces say beside the records. Where spans go is said by the standard `OTEL_*` variables."""

    baggage: Annotated[
        tuple[str, ...],
        BeforeValidator(_one_or_many),
        AfterValidator(_baggage_names),
        Field(max_length=limits.BAGGAGE_NAMES_MAX),
    ] = ()
    """Members of a caller's W3C `baggage` that are kept with the saga it starts: they are sent on to every called
    service, they go to child sagas, and they are attributes `baggage.<name>` of the saga's span. Nothing else is kept.
    Never name what is secret: it is recorded, and shown in traces."""


class LogSettings(_Section):
    """The server's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe line that is written."""
    format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object a line."""


class DiagnosticsSettings(_Section):
    """What the process tells of itself."""

    stall_s: float = Field(default=limits.STALL_S_DEFAULT, ge=0)
    """Seconds that one piece of work may hold up the event loop before the log names it; 0 watches for none."""


Keeping = Annotated[float, Field(ge=limits.RETENTION_S_MIN)] | None


class RetentionSettings(_Section):
    """How long sagas are kept after their end. Forgetting removes a saga with all its records, for ever."""

    default_s: Keeping = None
    """Seconds that ended sagas are kept; absent: for ever. At least a minute. After it, ids may be used again."""
    definitions: dict[str, Keeping] = {}
    """Name of a definition -> seconds for its sagas instead; `null`: for ever."""

    def keep_s(self, definition: str) -> float | None:
        """Return how long the definition's ended sagas are kept; None: for ever."""
        return self.definitions.get(definition, self.default_s)

    @property
    def is_on(self) -> bool:
        """Return whether anything is ever forgotten."""
        return any(kept is not None for kept in (self.default_s, *self.definitions.values()))


_POSTGRES = re.compile(r"postgres(ql)?://.+")


def _store(value: str) -> str:
    if value != "memory:" and not re.fullmatch(r"sqlite:.+", value) and not _POSTGRES.fullmatch(value):
        raise ValueError(
            "a store is `sqlite:PATH`, `postgres://USER@HOST:PORT/DATABASE`, or `memory:` for trials (nothing survives"
            " the process)"
        )
    return value


def is_postgres(store: str) -> bool:
    """Return whether a store's name is a PostgreSQL's."""
    return _POSTGRES.fullmatch(store) is not None


def without_password(store: str) -> str:
    """Return a store's name with `***` for the password that it may hold, in front of the host or behind the `?`."""
    if not _POSTGRES.fullmatch(store):
        return store
    scheme, _, rest = store.partition("://")
    # The last `@` ends the user: a password may hold one, or a `?`, that nobody escaped. Rather too much is hidden.
    user, at, place = rest.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:***"
    place = re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", place)
    return f"{scheme}://{user}{at}{place}"


def _target_names(targets: dict[str, TargetSettings]) -> dict[str, TargetSettings]:
    if wrong := [name for name in targets if not invoker.TARGET_NAME.fullmatch(name)]:
        raise ValueError(f"target name {wrong[0]!r} is not one of a-z, then up to 62 of a-z 0-9 _ -")
    return targets


Store = Annotated[str, AfterValidator(_store), PlainSerializer(without_password)]


class Settings(_Section):
    """Everything an operator may set."""

    api: ApiSettings = ApiSettings()
    """The gRPC API."""
    http: HttpSettings = HttpSettings()
    """`/healthz`, `/readyz` and `/metrics`."""
    store: Store = Field(default="sqlite:./saga.sqlite", repr=False)
    """Where the journal lives: `sqlite:PATH`, which one process owns; `postgres://USER@HOST:PORT/DATABASE`, which any
    number of processes share; or `memory:` for trials. A password is better given as `PGPASSWORD` or in the file that
    `PGPASSFILE` names; one that stands here is shown nowhere."""
    cluster: ClusterSettings = ClusterSettings()
    """This process among the others on the same PostgreSQL."""
    targets: Annotated[dict[str, TargetSettings], AfterValidator(_target_names)] = {}
    """Name in definitions -> the service that is meant."""
    retention: RetentionSettings = RetentionSettings()
    """How long ended sagas are kept."""
    definitions: Paths = ()
    """YAML definitions, or folders of them, that are loaded and activated at start."""
    grace_s: float = Field(default=limits.DRAIN_GRACE_S_DEFAULT, ge=0)
    """Seconds that calls in flight get to end after SIGTERM; what is still open then is recovered at the next start."""
    tracing: TracingSettings = TracingSettings()
    """What traces say."""
    log: LogSettings = LogSettings()
    """The server's own log."""
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    """What the process watches itself for."""

    @property
    def sqlite_path(self) -> Path | None:
        """Return the path of the store's file; None for the memory store."""
        return Path(self.store.removeprefix("sqlite:")) if self.store.startswith("sqlite:") else None

    @property
    def postgres_dsn(self) -> str | None:
        """Return what a PostgreSQL driver connects to, password and all; None for another store."""
        return self.store if _POSTGRES.fullmatch(self.store) else None

    @property
    def has_idle_cluster(self) -> bool:
        """Return whether somebody set what counts on PostgreSQL alone, and the store is another."""
        return self.postgres_dsn is None and bool(self.cluster.model_fields_set - {"name"})  # lines name the process

    def target_configs(self) -> tuple[invoker.TargetConfig, ...]:
        """Return the targets as the invoker takes them."""
        return tuple(section.target(name) for name, section in self.targets.items())
