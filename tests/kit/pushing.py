"""A client that sends as much of its requests as the server lets it, read or not, and counts it."""

import asyncio
import os
from collections import Counter

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import PingAckReceived

_PINGS = 2
"""By which it is seen that the server has taken in all that was sent; more would be called abuse."""


async def pushed(port: int, path: str, calls: int, size: int) -> Counter[int]:
    """Begin so many calls with messages of so many bytes; return how many bytes went out on each, by stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    http.initiate_connection()
    http.increment_flow_control_window(2**30)
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
    headers += [("content-type", "application/grpc"), ("te", "trailers")]
    streams = [http.get_next_available_stream_id() + 2 * number for number in range(calls)]
    for stream in streams:
        http.send_headers(stream, headers)
    sent: Counter[int] = Counter()
    for _ in range(_PINGS):
        for stream in streams:
            while room := min(
                http.local_flow_control_window(stream), http.max_outbound_frame_size, size - sent[stream]
            ):
                message = bytes(room) if sent[stream] else b"\0" + size.to_bytes(4, "big") + bytes(room - 5)
                http.send_data(stream, message)
                sent[stream] += room
        ping = os.urandom(8)
        http.ping(ping)
        is_back = False
        while not is_back:
            writer.write(http.data_to_send())
            received = await reader.read(2**16)
            assert received, "the server has hung up"
            events = http.receive_data(received)
            is_back = any(isinstance(event, PingAckReceived) and event.ping_data == ping for event in events)
    writer.close()
    return sent
