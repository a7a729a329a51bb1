"""What an operator may set, and where each setting came from.

Settings are read in four layers, later ones win, and every key of every layer must be known::

    defaults  <  YAML file (--config)  <  environment (ORCHESTRATOR_API__PORT=7400)  <  flags (--port 7400)
                                    |
                                  load()  ->  Loaded(settings, origins)   or one ConfigError with every mistake

In the environment `__` goes one level down, a value that begins with `[` or `{` is read as YAML, and `..._FILE` names
a file that holds the value, which is how secrets are mounted. A relative path in a file starts at that file's folder;
one in the environment or in a flag starts at the working directory.

Invariants:

* A key nobody knows is a mistake, never a silent default: `portt: 7400` would otherwise be found in production.
* All mistakes are reported at once, each with its origin: `saga.yaml:4:9`, `ORCHESTRATOR_API__PROT` or `--port`.
* What a definition means never depends on settings, except for the addresses and promises of its targets.
* Tracing has no keys here: the standard `OTEL_*` variables are its settings.

Modules: `settings` is the tree with its rules, `sources` reads the layers. May import: the adapters' own
configuration values, `errors`, `limits`; never a running part. The only other home of YAML is `definition.yaml`.
Read next: `settings.py`, whose fields are `docs/configuration.md`.
"""

from orchestrator.config.settings import (
    ApiSettings,
    DescriptorSettings,
    DiagnosticsSettings,
    HttpSettings,
    LogSettings,
    MethodSettings,
    Settings,
    TargetSettings,
    TlsSettings,
    is_postgres,
    without_password,
)
from orchestrator.config.sources import PREFIX, Flag, Loaded, load, to_yaml

__all__ = [
    "PREFIX",
    "ApiSettings",
    "DescriptorSettings",
    "DiagnosticsSettings",
    "Flag",
    "HttpSettings",
    "Loaded",
    "LogSettings",
    "MethodSettings",
    "Settings",
    "TargetSettings",
    "TlsSettings",
    "is_postgres",
    "load",
    "to_yaml",
    "without_password",
]
