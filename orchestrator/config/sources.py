"""Reading settings from their four layers, and saying for every mistake which layer made it."""

import difflib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from orchestrator import limits
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError

PREFIX = "ORCHESTRATOR_"
# Read by the command line and the event loop, not settings of the server.
_NOT_SETTINGS = frozenset({"ORCHESTRATOR_CONFIG", "ORCHESTRATOR_SERVER", "ORCHESTRATOR_LOOP"})
# Kubernetes puts these into every pod beside a Service that is called `orchestrator`; nobody set them on purpose.
_SERVICE_LINKS = re.compile(r"ORCHESTRATOR_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
_NOT_SUPPORTED_YET = frozenset({"limits", "breaker"})

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One setting given on the command line."""

    name: str
    """As the user wrote it, `--port`; named in errors."""
    key: str
    """Dotted path, `api.port`."""
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings, and for every key that was set the place that set it."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted path -> `saga.yaml:4:9`, `ORCHESTRATOR_API__PORT` or `--port`."""


def load(file: Path | None, environ: Mapping[str, str], flags: Sequence[Flag] = ()) -> Loaded:
    """Read all layers; raise `ConfigError` with every mistake and its origin."""
    layers = [_file_layer(file)] if file else []
    layers += [_environ_layer(environ), _flag_layer(flags)]
    layer = _Layer()
    for upper in layers:
        _merge(layer.values, upper.values)
        layer.origins.update(upper.origins)
        layer.mistakes.extend(upper.mistakes)
    try:
        settings = Settings.model_validate(layer.values)
    except ValidationError as invalid:
        found = [_sentence(detail, layer) for detail in invalid.errors(include_url=False)]
        raise _config_error([*layer.mistakes, *found]) from invalid
    if layer.mistakes:
        raise _config_error(layer.mistakes)
    return Loaded(settings=settings, origins={_dotted(at): origin for at, origin in layer.origins.items()})


def to_yaml(values: object) -> str:
    """Return plain values (dicts, lists, scalars) as YAML text, keys in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # an instance attribute, typed by its None
    yaml.allow_unicode = True
    yaml.width = 4_096
    out = io.StringIO()
    yaml.dump(values, out)
    return out.getvalue().removesuffix("...\n")


# --- layers ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Layer:
    values: dict[str, object] = field(default_factory=dict[str, object])
    origins: dict[Location, str] = field(default_factory=dict[Location, str])
    mistakes: list[str] = field(default_factory=list[str])

    def put(self, at: Location, value: object, origin: str) -> None:
        here = self.values
        for key in at[:-1]:
            below = here.setdefault(str(key), {})
            if not isinstance(below, dict):
                self.mistakes.append(f"{origin}: {_dotted(at)}: {key} was given a plain value elsewhere")
                return
            here = below
        here[str(at[-1])] = value
        self.origins[at] = origin


def _file_layer(path: Path) -> _Layer:
    layer = _Layer()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        why = failed.strerror if isinstance(failed, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the configuration file {path}: {why}", path=str(path)) from failed
    if len(text) > limits.CONFIG_CHARS_MAX:
        raise ConfigError(f"{path} has {len(text)} characters; a configuration has {limits.CONFIG_CHARS_MAX} at most")
    values = _yaml_values(text, str(path), layer)
    if isinstance(values, dict):
        layer.values = _resolve_paths(values, path.parent)
    elif values is not None:
        layer.mistakes.append(f"{path}:1:1: a configuration is a mapping of keys to values")
    return layer


def _yaml_values(text: str, name: str, layer: _Layer) -> object:
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        return None if root is None else _plain(yaml, root, name, (), layer)
    except MarkedYAMLError as broken:
        mark = broken.problem_mark or broken.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise _config_error([f"{where}: not YAML: {broken.problem or broken.context}"]) from broken
    except (YAMLError, ValueError, RecursionError) as broken:
        raise _config_error([f"{name}: not YAML: {broken}"]) from broken


def _plain(yaml: YAML, node: Node, name: str, at: Location, layer: _Layer) -> object:
    """Turn a node into plain values, note where each came from, and refuse what hides a mistake."""
    where = f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
    if node.anchor is not None:
        layer.mistakes.append(f"{where}: anchors and aliases have no place here; write the value out")
        return None
    layer.origins.setdefault(at, where)
    if isinstance(node, MappingNode):
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value).encode("utf-8", "replace").decode()  # half of a pair is no key of ours
            here = f"{name}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
            if key in values:
                layer.mistakes.append(f"{here}: {_dotted((*at, key))}: the key is there twice; keep one")
            layer.origins[(*at, key)] = here
            values[key] = _plain(yaml, value_node, name, (*at, key), layer)
        return values
    if isinstance(node, SequenceNode):
        return [_plain(yaml, item, name, (*at, index), layer) for index, item in enumerate(node.value)]
    value: object = yaml.constructor.construct_object(node, deep=True)
    if isinstance(value, str) and not _is_text(value):
        layer.mistakes.append(f"{where}: half of a surrogate pair is not a character; remove it")
        return None
    return value


def _environ_layer(environ: Mapping[str, str]) -> _Layer:
    layer = _Layer()
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _NOT_SETTINGS or _SERVICE_LINKS.fullmatch(name):
            continue
        key, text = name.removeprefix(PREFIX).lower(), environ[name]
        if key.endswith("_file"):
            key = key.removesuffix("_file")
            try:
                text = Path(text).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as failed:
                layer.mistakes.append(f"{name}: cannot read {text}: {failed}")
                continue
        if not _is_text(text):
            layer.mistakes.append(f"{name}: it is not UTF-8 text")
            continue
        layer.put(tuple(key.split("__")), _flow(text, name), name)
    return layer


def _flag_layer(flags: Sequence[Flag]) -> _Layer:
    layer = _Layer()
    for flag in flags:
        if isinstance(flag.value, str) and not _is_text(flag.value):
            layer.mistakes.append(f"{flag.name}: it is not UTF-8 text")
            continue
        value = _flow(flag.value, flag.name) if isinstance(flag.value, str) else flag.value
        layer.put(tuple(flag.key.split(".")), value, flag.name)
    return layer


def _is_text(text: str) -> bool:
    """Return whether the shell gave text: other bytes come as halves of surrogate pairs."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _flow(text: str, origin: str) -> object:
    """Read a list or a mapping written in one line; anything else stays the text it is."""
    return _yaml_values(text, origin, _Layer()) if text.lstrip().startswith(("[", "{")) else text


def _merge(lower: dict[str, object], upper: Mapping[str, object]) -> None:
    for key, value in upper.items():
        below = lower.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            _merge(below, value)
        else:
            lower[key] = value


def _resolve_paths(values: dict[str, object], folder: Path) -> dict[str, object]:
    """Make the paths of a file start at the file's folder."""
    store = values.get("store")
    if isinstance(store, str) and store.startswith("sqlite:"):
        values["store"] = f"sqlite:{folder / store.removeprefix('sqlite:')}"
    _resolve(values, ("definitions",), folder)
    cluster = values.get("cluster")
    if isinstance(cluster, dict):
        _resolve(cluster.get("tls"), ("ca", "cert", "key"), folder)
    targets = values.get("targets")
    for target in targets.values() if isinstance(targets, dict) else ():
        if isinstance(target, dict):
            _resolve(target.get("descriptors"), ("files", "include", "set"), folder)
            _resolve(target.get("tls"), ("ca", "cert", "key"), folder)
    return values


def _resolve(section: object, keys: Sequence[str], folder: Path) -> None:
    if not isinstance(section, dict):
        return
    for key in keys:
        value = section.get(key)
        if isinstance(value, str):
            section[key] = str(folder / value)
        elif isinstance(value, list):
            section[key] = [str(folder / item) if isinstance(item, str) else item for item in value]


# --- mistakes --------------------------------------------------------------------------------------------------------


def _config_error(mistakes: Sequence[str]) -> ConfigError:
    if len(mistakes) == 1:
        return ConfigError(mistakes[0])
    return ConfigError(f"{len(mistakes)} settings are wrong:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))


def _sentence(detail: ErrorDetails, layer: _Layer) -> str:
    at: Location = detail["loc"]
    origin = _origin(at, layer)
    prefix = f"{origin}: {_dotted(at)}" if origin else _dotted(at)
    key = str(at[-1]) if at else ""
    if detail["type"] == "extra_forbidden":
        if at[0] == "targets" and key in _NOT_SUPPORTED_YET:
            return f"{prefix}: not supported yet; remove it"
        known = sorted(_fields_at(at[:-1]))
        close = difflib.get_close_matches(key, known, n=1)
        return f"{prefix}: unknown key; " + (f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}")
    if detail["type"] == "missing":
        return f"{prefix}: missing; it has no default"
    text = detail["msg"].removeprefix("Value error, ")
    return f"{prefix}: {text[0].lower()}{text[1:]}"


def _origin(at: Location, layer: _Layer) -> str:
    """Return what set a key, or set something below it, or set what it is missing from."""
    if at in layer.origins:
        return layer.origins[at]
    if below := [origin for key, origin in layer.origins.items() if key[: len(at)] == at]:
        return below[-1]
    return _origin(at[:-1], layer) if at else ""


def _fields_at(at: Location) -> set[str]:
    """Return the keys that the section at a location knows."""
    section: type[BaseModel] = Settings
    rest = iter(at)
    for key in rest:
        info = section.model_fields.get(str(key))
        found = [] if info is None else list(_sections(info.annotation))
        if info is None or not found:
            return set()
        section = found[0]
        if "dict" in str(info.annotation):
            next(rest, None)  # the entry's own name
    return set(section.model_fields)


def _sections(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)


def _dotted(at: Location) -> str:
    return ".".join(map(str, at))
