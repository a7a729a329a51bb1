"""Files that describe a target's methods: from where the operator said, complete, in one order, as bytes.

The bytes are stored with every revision and hashed into its name, so equal descriptors must give equal bytes whatever
order they came in: files are sorted by name with imports first, and comments (`source_code_info`) are left out.
"""

import asyncio
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import assert_never

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc import aio

from orchestrator.errors import ConfigError, TargetUnreachable
from orchestrator.invoker.reflection import reflect
from orchestrator.invoker.targets import DescriptorSetFile, ProtoFiles, Reflection, TargetConfig
from orchestrator.limits import DESCRIPTORS_BYTES_MAX, DESCRIPTORS_FILES_MAX, PROTOC_S_MAX


async def load(channel: aio.Channel, target: TargetConfig) -> bytes:
    """Return a target's `FileDescriptorSet`, serialised; raise `TargetUnreachable` with what to do."""
    match target.descriptors:
        case Reflection():
            files = await reflect(channel, target)
        case DescriptorSetFile(path=path):
            files = _by_name(_read(path, target))
        case ProtoFiles() as source:
            files = _by_name(await asyncio.to_thread(_compile, source, target))
        case _:
            assert_never(target.descriptors)
    return _assemble(files, target)


def check_compiler(target: TargetConfig) -> None:
    """Raise `ConfigError` where a target gives `.proto` files and nothing here can compile them."""
    if isinstance(target.descriptors, ProtoFiles) and importlib.util.find_spec("grpc_tools") is None:
        raise ConfigError(
            f"target {target.name!r}: descriptors.files needs the package grpcio-tools, which is not installed; install"
            " it, or compile once (protoc --include_imports --descriptor_set_out=FILE) and give descriptors:"
            " {set: FILE}",
            target=target.name,
        )


def pool_of(descriptors: bytes) -> DescriptorPool:
    """Build a pool of its own (D-10) from a set whose files come imports first; `TypeError` names a bad file."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    return pool


def _assemble(files: Mapping[str, FileDescriptorProto], target: TargetConfig) -> bytes:
    """Return the set, complete and in order, having built it once."""
    if len(files) > DESCRIPTORS_FILES_MAX:
        raise _undescribed(target, f"{len(files)} files are more than the limit of {DESCRIPTORS_FILES_MAX}")
    missing = {name for file in files.values() for name in file.dependency} - files.keys()
    if missing:
        raise _undescribed(
            target,
            f"imports are missing: {', '.join(sorted(missing)[:5])}; make the set with --include_imports (protoc) or"
            " buf build",
        )
    ordered = FileDescriptorSet(file=(files[name] for name in _imports_first(files)))
    for file in ordered.file:
        file.ClearField("source_code_info")
    data = ordered.SerializeToString(deterministic=True)
    if len(data) > DESCRIPTORS_BYTES_MAX:
        raise _undescribed(target, f"{len(data)} bytes are more than the limit of {DESCRIPTORS_BYTES_MAX}")
    try:
        pool_of(data)
    except TypeError as exc:
        raise _undescribed(target, f"the files contradict each other: {exc}") from exc
    return data


def _imports_first(files: Mapping[str, FileDescriptorProto]) -> Iterable[str]:
    """Yield names depth first, without recursion: the depth of imports is the peer's choice."""
    seen: set[str] = set()
    for root in sorted(files):
        todo = [(root, False)]
        while todo:
            name, imports_done = todo.pop()
            if imports_done:
                yield name
            elif name not in seen:
                seen.add(name)
                todo.append((name, True))
                todo.extend((other, False) for other in sorted(files[name].dependency, reverse=True))


def _by_name(files: FileDescriptorSet) -> dict[str, FileDescriptorProto]:
    return {file.name: file for file in files.file}


def _read(path: Path, target: TargetConfig) -> FileDescriptorSet:
    try:
        if path.stat().st_size > DESCRIPTORS_BYTES_MAX:
            raise _undescribed(target, f"{path} is larger than the limit of {DESCRIPTORS_BYTES_MAX} bytes")
        return FileDescriptorSet.FromString(path.read_bytes())
    except OSError as exc:
        raise _undescribed(target, f"{path} cannot be read: {exc.strerror}") from exc
    except DecodeError as exc:
        raise _undescribed(target, f"{path} is not a serialised FileDescriptorSet") from exc


def _compile(source: ProtoFiles, target: TargetConfig) -> FileDescriptorSet:
    """Run protoc as its own process: it reports on standard error, and must not stop the event loop."""
    check_compiler(target)
    roots = dict.fromkeys([*source.include, *(path.parent for path in source.files)])
    with tempfile.TemporaryDirectory(prefix="saga-protoc-") as folder:
        out = Path(folder, "set.binpb")
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc", "--include_imports", f"--descriptor_set_out={out}"),
            *(f"-I{root}" for root in roots),
            *map(str, source.files),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PROTOC_S_MAX, check=False)
        except subprocess.TimeoutExpired as exc:
            raise _undescribed(target, f"protoc took longer than {PROTOC_S_MAX:g} s") from exc
        if done.returncode != 0:
            hint = "name the folder that imports start from in descriptors: {files: [...], include: [FOLDER]}"
            raise _undescribed(target, f"protoc failed: {done.stderr.strip()}; {hint}")
        return _read(out, target)


def _undescribed(target: TargetConfig, why: str) -> TargetUnreachable:
    return TargetUnreachable(
        f"target {target.name!r} at {target.address} is not described: {why}",
        target=target.name,
        address=target.address,
    )
