"""A gRPC call as a servicer sees it."""

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2


class Context:
    """A call's metadata, and how it was ended."""

    def __init__(self, **metadata: str) -> None:
        self._metadata = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        self.trailing: tuple[tuple[str, Any], ...] = ()
        self.ended: tuple[grpc.StatusCode, str] | None = None

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return self._metadata

    def set_trailing_metadata(self, trailing: tuple[tuple[str, Any], ...]) -> None:
        self.trailing = trailing

    def abort(self, code: grpc.StatusCode, message: str) -> None:
        self.ended = (code, message)
        raise RuntimeError("gRPC ends a call by raising")

    @property
    def info(self) -> error_details_pb2.ErrorInfo:
        info = error_details_pb2.ErrorInfo()
        [detail] = status_pb2.Status.FromString(dict(self.trailing)["grpc-status-details-bin"]).details
        assert detail.Unpack(info)
        return info
