"""Turns the tree of settings into the reference page docs/configuration.md."""

import json
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from orchestrator import fielddocs
from orchestrator.cli.serve import FLAGS
from orchestrator.config import Settings

HEAD = """\
# Configuration

<!-- Written by docs/settings_page.py from orchestrator/config: change that, then run `make docs`. -->

Settings come from four layers; later ones win, key by key:

1. the defaults below;
2. a YAML file, named by `--config FILE` or `ORCHESTRATOR_CONFIG`;
3. the environment: `ORCHESTRATOR_API__PORT=7400` is `api.port`; two underscores go one level down. A value that begins
   with `[` or `{` is read as YAML. `ORCHESTRATOR_STORE_FILE=/run/secrets/store` takes the value from a file;
4. flags of `saga serve`: the ones in the table, and `--set KEY=VALUE` for every key.

A relative path in a file starts at that file's folder; one in the environment or in a flag starts at the working
directory. An unknown key is an error in every layer. All mistakes are told at once, each with its origin, and the exit
code is 78:

    saga: 2 settings are wrong:
      saga.yaml:4:9: api.prot: unknown key; did you mean `port`?
      ORCHESTRATOR_GRACE_S: grace_s: input should be greater than or equal to 0

`saga config show` prints what is in force and where each value came from, `saga config schema` the JSON Schema for
editors. Tracing is configured by the standard `OTEL_*` variables; without an endpoint nothing is exported.
`ORCHESTRATOR_LOOP=asyncio` turns uvloop off.

## Example

```yaml
store: sqlite:/var/lib/saga/saga.sqlite
definitions: [definitions]
targets:
  scoring:
    address: dns:///scoring:50051
    tls: {ca: ca.pem}
    idempotent: true
  archive:
    address: 127.0.0.1:50053
    descriptors: {set: image.binpb}
    methods:
      epro.v1.Archive/Store: {idempotent: true, barrier: true}
```

## Keys

| key | default | flag | |
|---|---|---|---|
"""

FLAG_OF = {key: flag for flag, (key, _, _) in FLAGS.items()} | {"definitions": "--definition"}


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_rows(Settings, ""))


def _rows(section: type[BaseModel], prefix: str) -> Iterator[str]:
    texts = fielddocs.below(section)
    for name, info in section.model_fields.items():
        key = f"{prefix}{name}"
        below = _section(info.annotation)
        if below is None:
            yield _row(key, info, texts[name])
        elif "dict" in str(info.annotation):
            yield _row(f"{key}.<name>", info, texts[name], shown="")
            yield from _rows(below, f"{key}.<name>.")
        else:
            if "None" in str(info.annotation):
                yield _row(key, info, texts[name])
            yield from _rows(below, f"{key}.")


def _row(key: str, info: FieldInfo, text: str, shown: str | None = None) -> str:
    flag = f"`{FLAG_OF[key]}`" if key in FLAG_OF else ""
    return f"| `{key}` | {_default(info) if shown is None else shown} | {flag} | {_line(text)} |\n"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.default
    if value is None or value is PydanticUndefined:
        return "absent"
    return f"`{json.dumps(value)}`"


def _section(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _section(argument))), None)
