"""What an operator can get wrong about a target is said before anything is called."""

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.invoker.channels import Channels
from orchestrator.invoker.targets import DescriptorSetFile, ProtoFiles, TargetConfig, Tls, is_loopback, validate
from orchestrator.ports.methods import MethodFacts


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:7501", "localhost:7501", "LOCALHOST.:7501", "127.8.9.1:1", "[::1]:7501", "unix:/run/a.sock"),
        *("unix:///run/a.sock", "dns:///localhost:7501", "dns:localhost:7501", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        *("ipv6:[::1]:7501", "unix-abstract:name", "dns://8.8.8.8/localhost:7501"),
    ],
)
def test_this_machine_may_be_called_in_plaintext(address: str) -> None:
    assert is_loopback(address)
    validate(TargetConfig(name="scoring", address=address))


@pytest.mark.parametrize(
    "address",
    [
        *("scoring:50051", "dns:///scoring:50051", "10.0.0.1:50051", "localhost.evil.example:1", "[2001:db8::1]:1"),
        *("ipv4:127.0.0.1:1,10.0.0.1:2", "127.0.0.1.example:1", "dns://127.0.0.1/scoring:50051", "0.0.0.0:1"),
    ],
)
def test_plaintext_to_another_machine_is_refused_unless_said_so(address: str) -> None:
    with pytest.raises(ConfigError, match=r"plaintext.*insecure: true"):
        validate(TargetConfig(name="scoring", address=address))
    validate(TargetConfig(name="scoring", address=address, insecure=True))
    validate(TargetConfig(name="scoring", address=address, tls=Tls()))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "is not an address"),
        ("dns:///", "is not an address"),
        ("localhost", "needs a host and a port"),
        ("localhost:0", "port from 1 to 65535"),
        ("localhost:65536", "port from 1 to 65535"),
        ("localhost:http", "needs a host and a port"),
        (":7501", "needs a host"),
        ("xds:///scoring:1", "unknown scheme 'xds'"),
        ("http://localhost:1", "unknown scheme 'http'"),
        ("ipv4:zzz:1", "is not an ipv4 address"),
    ],
)
def test_an_address_that_cannot_be_called_is_refused(address: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        validate(TargetConfig(name="scoring", address=address, insecure=True))


@pytest.mark.parametrize("name", ["", "Scoring", "1st", "a/b", "a b", "a" * 64])
def test_a_name_that_a_definition_could_not_write_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="its name is not"):
        validate(TargetConfig(name=name, address="127.0.0.1:1"))


def test_tls_files_must_exist_and_come_in_pairs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="come together"):
        validate(TargetConfig(name="a", address="far:1", tls=Tls(cert=tmp_path)))
    with pytest.raises(ConfigError, match=r"tls.ca: .*gone.pem is not a file"):
        validate(TargetConfig(name="a", address="far:1", tls=Tls(ca=tmp_path / "gone.pem")))
    with pytest.raises(ConfigError, match="contradict"):
        validate(TargetConfig(name="a", address="far:1", tls=Tls(), insecure=True))


def test_descriptor_files_must_exist(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for source, why in (
        (ProtoFiles(files=()), "is empty"),
        (ProtoFiles(files=(gone,)), r"descriptors.files: .*gone"),
        (ProtoFiles(files=(Path(__file__),), include=(gone,)), r"descriptors.include: .*gone is not a folder"),
        (DescriptorSetFile(path=gone), r"descriptors.set: .*gone is not a file"),
    ):
        with pytest.raises(ConfigError, match=why):
            validate(TargetConfig(name="a", address="127.0.0.1:1", descriptors=source))


def test_a_method_is_named_with_its_service() -> None:
    validate(TargetConfig(name="a", address="127.0.0.1:1", methods={"epro.v1.Archive/Store": MethodFacts()}))
    with pytest.raises(ConfigError, match=r"write package.Service/Method"):
        validate(TargetConfig(name="a", address="127.0.0.1:1", methods={"Store": MethodFacts()}))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"its name.*port.*not a method"):
        validate(TargetConfig(name="A", address="127.0.0.1:x1", methods={"x": MethodFacts()}))


def test_a_target_is_configured_under_its_own_name() -> None:
    with pytest.raises(ConfigError, match="make them the same"):
        Channels({"b": TargetConfig(name="a", address="127.0.0.1:1")})
