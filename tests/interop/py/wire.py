"""The wire of meshwork, written from its description.

Frames with a length of four bytes, and in them values as bincode writes them (little-endian, integers of variable
length). Nothing here is shared with the Rust code: that both understand each other is the point.
"""

import struct

MAX_FRAME = 4 * 1024 * 1024
"""Longest frame that a foreign program accepts, in bytes."""


def number(value):
    """An integer, a length, or the number of a variant."""
    if value < 251:
        return bytes([value])
    for mark, form in ((251, "<H"), (252, "<I"), (253, "<Q")):
        if value < 1 << 8 * struct.calcsize(form):
            return bytes([mark]) + struct.pack(form, value)
    raise ValueError(f"{value} does not fit 64 bits")


def text(value):
    """A text, with its length before it."""
    encoded = value.encode()
    return number(len(encoded)) + encoded


class Reader:
    """Takes a value apart; raises when the bytes end too early."""

    def __init__(self, payload):
        self._payload = payload
        self._at = 0

    def fixed(self, length):
        """Bytes whose number both sides know."""
        end = self._at + length
        if end > len(self._payload):
            raise ValueError(f"the value ends {end - len(self._payload)} bytes too early")
        taken = self._payload[self._at : end]
        self._at = end
        return taken

    def byte(self):
        return self.fixed(1)[0]

    def number(self):
        first = self.byte()
        if first < 251:
            return first
        form = {251: "<H", 252: "<I", 253: "<Q"}[first]
        return struct.unpack(form, self.fixed(struct.calcsize(form)))[0]

    def text(self):
        return self.fixed(self.number()).decode()

    def end(self):
        """Everything must have been read."""
        if self._at != len(self._payload):
            raise ValueError(f"{len(self._payload) - self._at} bytes are left over")


class Frames:
    """A libp2p stream that carries frames."""

    def __init__(self, stream):
        self._stream = stream

    async def send(self, payload):
        await self._stream.write(struct.pack(">I", len(payload)) + payload)

    async def receive(self):
        """The next frame; raises when the stream ends before it."""
        (length,) = struct.unpack(">I", await self._exactly(4))
        if not 0 < length <= MAX_FRAME:
            raise ValueError(f"a frame of {length} bytes")
        return Reader(await self._exactly(length))

    async def _exactly(self, length):
        taken = b""
        while len(taken) < length:
            # A read gives what is there, which may be less than was asked for.
            piece = await self._stream.read(length - len(taken))
            if not piece:
                raise EOFError(f"the stream ended after {len(taken)} of {length} bytes")
            taken += piece
        return taken

    async def close(self):
        await self._stream.close()
