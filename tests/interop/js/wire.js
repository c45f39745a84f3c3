// The wire of meshwork, written from its description: frames with a length of four bytes, and in them values as bincode
// writes them (little-endian, integers of variable length). Nothing here is shared with the Rust code: that both
// understand each other is the point.

import { byteStream } from '@libp2p/utils'

/** Longest frame that a foreign program accepts, in bytes. */
const MAX_FRAME = 4 * 1024 * 1024

/** Builds the bytes of a value. */
export class Writer {
  #parts = []

  byte (value) {
    this.#parts.push(Uint8Array.of(value))
    return this
  }

  /** Bytes whose number both sides know. */
  fixed (bytes) {
    this.#parts.push(bytes)
    return this
  }

  /** An integer, a length, or the number of a variant. */
  number (value) {
    const big = BigInt(value)
    if (big < 251n) return this.byte(Number(big))
    const [mark, width] = big < 1n << 16n ? [251, 2] : big < 1n << 32n ? [252, 4] : [253, 8]
    this.byte(mark)
    for (let at = 0; at < width; at++) this.byte(Number((big >> BigInt(8 * at)) & 255n))
    return this
  }

  /** Bytes with their length before them. */
  bytes (bytes) {
    return this.number(bytes.length).fixed(bytes)
  }

  text (text) {
    return this.bytes(new TextEncoder().encode(text))
  }

  finish () {
    return Buffer.concat(this.#parts)
  }
}

/** Takes a value apart; throws when the bytes end too early. */
export class Reader {
  #bytes
  #at = 0

  constructor (bytes) {
    this.#bytes = bytes
  }

  fixed (length) {
    if (this.#at + length > this.#bytes.length) throw new Error(`the value ends ${this.#at + length - this.#bytes.length} bytes too early`)
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }

  byte () {
    return this.fixed(1)[0]
  }

  number () {
    const first = this.byte()
    if (first < 251) return first
    const width = { 251: 2, 252: 4, 253: 8 }[first]
    if (width === undefined) throw new Error(`${first} begins no integer`)
    let value = 0n
    this.fixed(width).forEach((byte, at) => { value |= BigInt(byte) << BigInt(8 * at) })
    return Number(value)
  }

  bytes () {
    return this.fixed(this.number())
  }

  text () {
    return new TextDecoder('utf-8', { fatal: true }).decode(this.bytes())
  }

  /** Everything must have been read. */
  end () {
    if (this.#at !== this.#bytes.length) throw new Error(`${this.#bytes.length - this.#at} bytes are left over`)
  }
}

/** A libp2p stream that carries frames. */
export class Frames {
  #stream
  #bytes

  constructor (stream) {
    this.#stream = stream
    this.#bytes = byteStream(stream)
  }

  async send (payload, signal) {
    const frame = Buffer.alloc(4 + payload.length)
    frame.writeUInt32BE(payload.length)
    frame.set(payload, 4)
    await this.#bytes.write(frame, { signal })
  }

  /** The next frame; throws when the stream ends before it. */
  async receive (signal) {
    const header = (await this.#bytes.read({ bytes: 4, signal })).subarray()
    const length = new DataView(header.buffer, header.byteOffset).getUint32(0)
    if (length === 0 || length > MAX_FRAME) throw new Error(`a frame of ${length} bytes`)
    return (await this.#bytes.read({ bytes: length, signal })).subarray()
  }

  async close (signal) {
    await this.#stream.close({ signal })
  }
}
