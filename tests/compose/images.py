"""What the Dockerfile keeps to: what is installed is what is locked, and no image is told a secret."""

import json
import re
from collections.abc import Iterator

from tests.compose.needs import CHECKS
from tests.compose.rules import SECRET, URL_WITH_PASSWORD

KNOWN = frozenset(
    {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
)
"""What is used here. ADD is not, because it fetches."""
INTERVALS = {"orchestrator": "5s", "services": "15s"}
"""As in the compose files: an orchestrator's check is cheap."""
_LOCKED = re.compile(r"--require-hashes --requirement \.ci/lock/\w+\.txt")
_OURS = re.compile(r"--no-deps .*(?<=\s)(\.|wheels/\*\.whl)")
_FETCHES = re.compile(r"\b(curl|wget|git|apt|apt-get|apk|npm|go|easy_install|uv|pipx)\s")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return what a Dockerfile says: each instruction and the rest of its line, continued lines as one."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(word, rest) for line in joined if line.strip() for word, _, rest in [line.partition(" ")]]


def dockerfile_findings(text: str) -> list[str]:
    """Return everything that is wrong with a Dockerfile."""
    found: list[str] = []
    stage = ""
    for word, rest in instructions(text):
        match word:
            case "FROM":
                stage = rest.rpartition(" ")[2]
            case "RUN":
                found += _run(rest)
            case "ENV" | "ARG":
                found += _told(rest)
            case "USER" if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", rest):
                found.append(f"user {rest} is not a number other than 0, and a group's")
            case "HEALTHCHECK":
                found += _checked(stage, rest)
            case _ if word not in KNOWN:
                found.append(f"{word} is not an instruction that is used here")
            case _:
                pass
    return found


def _run(line: str) -> Iterator[str]:
    if line.startswith("--"):
        yield f"RUN {line.split(maxsplit=1)[0]} is given more than a file system"
    for command in re.split(r"&&|\|\||[;|]", line):
        if re.search(r"\bpip\b.* (install|wheel|download)\b", command) and not (
            _LOCKED.search(command) or _OURS.search(command)
        ):
            yield f"{command.strip()!r} takes what no lock file names by hash"
        if _FETCHES.search(command):
            yield f"{command.strip()!r} fetches something"


def _told(line: str) -> Iterator[str]:
    for name in re.findall(r"([A-Za-z_]\w*)(?:=|\s|$)", line):
        if SECRET.search(name):
            yield f"{name} is a secret that an image is told"
    if URL_WITH_PASSWORD.search(line):
        yield f"{line} has a password in it"


def _checked(stage: str, line: str) -> Iterator[str]:
    flags, _, command = line.partition("CMD ")
    if not command.startswith("[") or ["CMD", *json.loads(command)] != CHECKS.get(f"saga-{stage}"):
        yield f"the check of {stage} is not the one of the compose files"
    if flags.split() != [f"--interval={INTERVALS.get(stage)}", "--timeout=5s", "--start-period=30s"]:
        yield f"the check of {stage} is not asked as in the compose files"
