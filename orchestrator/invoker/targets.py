"""What the operator declares about a called service, and whether it can be right."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.ports.methods import MethodFacts

TARGET_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
METHOD_NAME = re.compile(r"[A-Za-z_][\w.]*/[A-Za-z_]\w*", re.ASCII)
_SCHEME = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|[a-z][a-z0-9+.-]*(?=://)):(?!\d+$)")
"""A resolver's scheme, known or written as one; `dns:53` has none, because only digits follow its colon."""


@dataclass(frozen=True, slots=True)
class Reflection:
    """Ask the running service (grpc.reflection.v1, then v1alpha)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtoFiles:
    """Compile `.proto` files; needs grpcio-tools. Imports are looked up in `include`, then beside the files."""

    files: tuple[Path, ...]
    include: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorSetFile:
    """Read a serialised `FileDescriptorSet` that holds its imports too (`buf build -o`, `protoc --include_imports`)."""

    path: Path


DescriptorSource = Reflection | ProtoFiles | DescriptorSetFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files. No `ca`: the authorities that gRPC ships; `cert` and `key` together: mutual TLS."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """One called service, as configuration has it."""

    name: str
    address: str
    """What gRPC resolves: `dns:///scoring:50051`, `127.0.0.1:7501`, `unix:/run/scoring.sock`."""
    descriptors: DescriptorSource = field(default_factory=Reflection)
    tls: Tls | None = None
    """None: plaintext, which outside loopback is refused unless `insecure`."""
    insecure: bool = False
    """The operator accepts that everybody on the way can read and change what is sent."""
    every: MethodFacts = field(default_factory=MethodFacts)
    """What the operator says of all its methods."""
    methods: Mapping[str, MethodFacts] = field(default_factory=dict[str, MethodFacts])
    """Full method name -> where it differs from the others."""


def validate(target: TargetConfig) -> None:
    """Raise `ConfigError` with everything that is wrong with a target."""
    problems = tuple(_problems(target))
    if problems:
        raise ConfigError(f"target {target.name!r}: {'; '.join(problems)}", target=target.name)


def is_loopback(address: str) -> bool:
    """Return whether every host of an address is this machine; a name other than `localhost` counts as another's."""
    scheme, rest = _split_scheme(address)
    if scheme in {"unix", "unix-abstract"}:
        return True
    if scheme not in {"", "dns", "ipv4", "ipv6"}:
        return False
    return all(_is_loopback_host(_split_port(one)[0]) for one in rest.split(","))


def _problems(target: TargetConfig) -> Iterator[str]:
    if TARGET_NAME.fullmatch(target.name) is None:
        yield "its name is not one of a-z, then up to 62 of a-z 0-9 _ -"
    yield from _address_problems(target.address)
    if target.tls is None:
        if not target.insecure and not is_loopback(target.address):
            yield (
                f"{target.address} is not on this machine and would be called in plaintext; give tls: {{ca: ...}}, or"
                " say insecure: true where the network itself is trusted"
            )
    else:
        yield from _tls_problems(target.tls)
        if target.insecure:
            yield "tls and insecure: true contradict each other; remove one"
    yield from _source_problems(target.descriptors)
    for method in target.methods:
        if METHOD_NAME.fullmatch(method) is None:
            yield f"{method!r} is not a method; write package.Service/Method"


def _address_problems(address: str) -> Iterator[str]:
    scheme, rest = _split_scheme(address)
    if scheme not in {"", "dns", "ipv4", "ipv6", "unix", "unix-abstract"}:
        yield f"{address!r} has the unknown scheme {scheme!r}; known are dns, ipv4, ipv6 and unix"
        return
    if not rest:
        yield f"{address!r} is not an address; write host:port, dns:///host:port or unix:/path"
        return
    if scheme in {"unix", "unix-abstract"}:
        return
    for one in rest.split(","):
        host, port = _split_port(one)
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            yield f"{address!r} needs a host and a port from 1 to 65535, e.g. dns:///scoring:50051"
        elif scheme in {"ipv4", "ipv6"} and not _is_ip(host):
            yield f"{address!r}: {host!r} is not an {scheme} address"


def _tls_problems(tls: Tls) -> Iterator[str]:
    if (tls.cert is None) != (tls.key is None):
        yield "tls.cert and tls.key come together; one of them is missing"
    for key, path in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
        if path is not None and not path.is_file():
            yield f"tls.{key}: {path} is not a file"


def _source_problems(source: DescriptorSource) -> Iterator[str]:
    if isinstance(source, ProtoFiles):
        if not source.files:
            yield "descriptors.files is empty; name at least one .proto file"
        for path in source.files:
            if not path.is_file():
                yield f"descriptors.files: {path} is not a file"
        for path in source.include:
            if not path.is_dir():
                yield f"descriptors.include: {path} is not a folder"
    elif isinstance(source, DescriptorSetFile) and not source.path.is_file():
        yield f"descriptors.set: {source.path} is not a file"


def _split_scheme(address: str) -> tuple[str, str]:
    """Return the resolver's scheme ("" where there is none) and what it resolves, without an authority."""
    found = _SCHEME.match(address)
    if found is None:
        return "", address
    rest = address[found.end() :]
    if found[1] in {"unix", "unix-abstract"}:
        return found[1], rest
    if rest.startswith("//"):
        _authority, _slash, rest = rest[2:].partition("/")
    return found[1], rest.lstrip("/")


def _split_port(address: str) -> tuple[str, str]:
    host, _colon, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def _is_loopback_host(host: str) -> bool:
    if host.lower().removesuffix(".") == "localhost":
        return True
    return _is_ip(host) and ipaddress.ip_address(host).is_loopback


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
