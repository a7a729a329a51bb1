"""How the processes of a cluster trust each other: who can show a certificate of their authority is one of them.

A peer says who the caller of a request is, and is believed. So the port is on this machine alone, or asks for a
certificate, or the operator has said that the network itself is to be trusted.
"""

import ipaddress
from pathlib import Path

import grpc

from orchestrator.errors import ConfigError
from orchestrator.frozen import frozen


@frozen
class Tls:
    """PEM files. Whoever has a certificate of `ca` is a peer."""

    ca: Path
    cert: Path
    """This process's chain; peers check its names against the address at which they call it."""
    key: Path


def client_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Return what a caller shows and trusts."""
    ca, cert, key = _read(tls)
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """Return what the listener shows, and asks of everybody."""
    ca, cert, key = _read(tls)
    return grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine; a name other than `localhost` counts as another's."""
    host = host.removeprefix("[").removesuffix("]")
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def exposure(host: str, *, has_tls: bool, insecure: bool) -> str | None:
    """Return what is wrong with listening at a host, or None."""
    if has_tls and insecure:
        return "tls and insecure: true contradict each other; remove one"
    if has_tls or insecure or is_loopback(host):
        return None
    return (
        f"{host} is more than this machine, and whoever reaches the port is believed; give tls: {{ca: …, cert: …,"
        " key: …}, or say insecure: true where the network itself is trusted"
    )


def _read(tls: Tls) -> tuple[bytes, bytes, bytes]:
    try:
        return tls.ca.read_bytes(), tls.cert.read_bytes(), tls.key.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cluster.tls: its files cannot be read: {exc}; mend the path or the rights") from exc
