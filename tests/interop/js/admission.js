// The handshake /meshwork/admit/1, both ends of it: two peers prove to each other that they know the mesh secret.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { Frames, Reader, Writer } from './wire.js'

export const ADMISSION = '/meshwork/admit/1'
const VERSION = 1
const [HELLO, CHALLENGE, PROOF, ANSWER, VERDICT] = [0, 1, 2, 3, 4]
const [INITIATOR, RESPONDER] = [1, 2]

/** What one side decided: `{admitted: true, role}` or `{admitted: false, reason}`. */
function readVerdict (reader) {
  switch (reader.number()) {
    case 0: return { admitted: true, role: ['member', 'admin'][reader.number()] }
    case 1: return { admitted: false, reason: reader.text() }
    default: throw new Error('a verdict that is neither admitted nor refused')
  }
}

function writeVerdict (writer, verdict) {
  return verdict.admitted ? writer.number(0).number(0) : writer.number(1).text(verdict.reason)
}

function readProof (reader) {
  return reader.byte() === 1 ? reader.fixed(32) : null
}

function writeProof (writer, proof) {
  return proof === null ? writer.byte(0) : writer.byte(1).fixed(proof)
}

/** HMAC-SHA256 with the mesh secret over the label, the version, the side that proves, both peers and both nonces. */
function prove (secret, side, peers, nonces) {
  const withLength = text => {
    const field = Buffer.alloc(8 + Buffer.byteLength(text))
    field.writeBigUInt64BE(BigInt(Buffer.byteLength(text)))
    field.write(text, 8)
    return field
  }
  return createHmac('sha256', secret)
    .update(withLength('meshwork admission'))
    .update(Uint8Array.of(VERSION, side))
    .update(withLength(peers.initiator))
    .update(withLength(peers.responder))
    .update(nonces.initiator)
    .update(nonces.responder)
    .digest()
}

function judge (proof, expected) {
  const right = proof !== null && timingSafeEqual(proof, expected)
  return right ? { admitted: true } : { admitted: false, reason: 'the proof is wrong' }
}

async function expect (frames, kind, signal) {
  const reader = new Reader(await frames.receive(signal))
  const got = reader.number()
  if (got !== kind) throw new Error(`frame ${got} came where ${kind} belongs`)
  return reader
}

function nonceIn (reader) {
  const version = reader.byte()
  if (version !== VERSION) throw new Error(`version ${version} of the handshake`)
  const nonce = reader.fixed(32)
  reader.end()
  return nonce
}

/** Runs it as the side that opened the stream. `secret` null proves nothing. Gives both verdicts. */
export async function initiate (stream, { secret, local, remote, signal }) {
  const frames = new Frames(stream)
  const peers = { initiator: local, responder: remote }
  const own = randomBytes(32)
  await frames.send(new Writer().number(HELLO).byte(VERSION).fixed(own).finish(), signal)
  const nonces = { initiator: own, responder: nonceIn(await expect(frames, CHALLENGE, signal)) }
  const proof = secret === null ? null : prove(secret, INITIATOR, peers, nonces)
  await frames.send(writeProof(new Writer().number(PROOF), proof).finish(), signal)
  const answer = await expect(frames, ANSWER, signal)
  const theirs = readVerdict(answer)
  const shown = readProof(answer)
  answer.end()
  const ours = judge(shown, prove(secret ?? '', RESPONDER, peers, nonces))
  await frames.send(writeVerdict(new Writer().number(VERDICT), ours).finish(), signal)
  await frames.close(signal)
  return { ours, theirs, showedProof: shown !== null }
}

/** Runs it as the side that accepted the stream. */
export async function respond (stream, { secret, local, remote, signal }) {
  const frames = new Frames(stream)
  const peers = { initiator: remote, responder: local }
  const own = randomBytes(32)
  const nonces = { initiator: nonceIn(await expect(frames, HELLO, signal)), responder: own }
  await frames.send(new Writer().number(CHALLENGE).byte(VERSION).fixed(own).finish(), signal)
  const reader = await expect(frames, PROOF, signal)
  const ours = judge(readProof(reader), prove(secret, INITIATOR, peers, nonces))
  reader.end()
  const proof = ours.admitted ? prove(secret, RESPONDER, peers, nonces) : null
  await frames.send(writeProof(writeVerdict(new Writer().number(ANSWER), ours), proof).finish(), signal)
  const last = await expect(frames, VERDICT, signal)
  const theirs = readVerdict(last)
  last.end()
  return { ours, theirs, showedProof: true }
}
