"""The handshake /meshwork/admit/1, both ends of it: two peers prove to each other that they know the mesh secret."""

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from wire import Frames, number, text

ADMISSION = "/meshwork/admit/1"
VERSION = 1
HELLO, CHALLENGE, PROOF, ANSWER, VERDICT = range(5)
INITIATOR, RESPONDER = 1, 2


@dataclass
class Verdict:
    """What one side decided on the other."""

    admitted: bool
    role: str | None = None
    reason: str | None = None

    def encoded(self):
        return number(0) + number(0) if self.admitted else number(1) + text(self.reason)


@dataclass
class Outcome:
    """What both sides decided, and whether the other side proved anything."""

    ours: Verdict
    theirs: Verdict
    showed_proof: bool


def _verdict(reader):
    if reader.number() == 0:
        return Verdict(True, role=("member", "admin")[reader.number()])
    return Verdict(False, reason=reader.text())


def _proof(reader):
    return reader.fixed(32) if reader.byte() == 1 else None


def _encoded(proof):
    return b"\0" if proof is None else b"\1" + proof


def _prove(secret, side, peers, nonces):
    """HMAC-SHA256 with the mesh secret over the label, the version, the side that proves, both peers, both nonces."""

    def with_length(field):
        return struct.pack(">Q", len(field)) + field.encode()

    message = with_length("meshwork admission") + bytes([VERSION, side])
    message += with_length(peers[0]) + with_length(peers[1]) + nonces[0] + nonces[1]
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()


def _judge(proof, expected):
    if proof is not None and hmac.compare_digest(proof, expected):
        return Verdict(True)
    return Verdict(False, reason="the proof is wrong")


async def _expect(frames, kind):
    reader = await frames.receive()
    got = reader.number()
    if got != kind:
        raise ValueError(f"frame {got} came where {kind} belongs")
    return reader


def _nonce(reader):
    version = reader.byte()
    if version != VERSION:
        raise ValueError(f"version {version} of the handshake")
    nonce = reader.fixed(32)
    reader.end()
    return nonce


async def initiate(stream, secret, local, remote):
    """Runs it as the side that opened the stream. Without a secret it proves nothing."""
    frames, peers, own = Frames(stream), (local, remote), os.urandom(32)
    await frames.send(number(HELLO) + bytes([VERSION]) + own)
    nonces = own, _nonce(await _expect(frames, CHALLENGE))
    proof = None if secret is None else _prove(secret, INITIATOR, peers, nonces)
    await frames.send(number(PROOF) + _encoded(proof))
    answer = await _expect(frames, ANSWER)
    theirs, shown = _verdict(answer), _proof(answer)
    answer.end()
    ours = _judge(shown, _prove(secret or "", RESPONDER, peers, nonces))
    await frames.send(number(VERDICT) + ours.encoded())
    await frames.close()
    return Outcome(ours, theirs, shown is not None)


async def respond(stream, secret, local, remote):
    """Runs it as the side that accepted the stream."""
    frames, peers, own = Frames(stream), (remote, local), os.urandom(32)
    nonces = _nonce(await _expect(frames, HELLO)), own
    await frames.send(number(CHALLENGE) + bytes([VERSION]) + own)
    reader = await _expect(frames, PROOF)
    ours = _judge(_proof(reader), _prove(secret, INITIATOR, peers, nonces))
    reader.end()
    proof = _prove(secret, RESPONDER, peers, nonces) if ours.admitted else None
    await frames.send(number(ANSWER) + ours.encoded() + _encoded(proof))
    last = await _expect(frames, VERDICT)
    theirs = _verdict(last)
    last.end()
    return Outcome(ours, theirs, True)
