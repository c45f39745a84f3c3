// The request streams /meshwork/1: asking a meshwork node for its tools and calling one, and answering its questions.

import { Frames, Reader, Writer } from './wire.js'

/** Every meshwork node still understands the first version, which has all that is needed here. */
export const REQUESTS = '/meshwork/1'
const [REQUEST, REPLY] = [0, 1]
const [CALL_TOOL, LIST_TOOLS] = [10, 11]
const [TOOL_OUTPUT, TOOLS] = [7, 8]
const DEADLINE_MS = 10_000

/** A stream on which one question at a time is asked. */
export class Asker {
  #frames
  #id = 0

  constructor (stream) {
    this.#frames = new Frames(stream)
  }

  /** Asks; gives a reader behind the number of the reply's variant. Throws what the node answers as an error. */
  async #ask (kind, body, expected, signal) {
    const id = ++this.#id
    const frame = new Writer().number(REQUEST).number(id).number(DEADLINE_MS).number(kind).fixed(body).finish()
    await this.#frames.send(frame, signal)
    const reader = new Reader(await this.#frames.receive(signal))
    if (reader.number() !== REPLY || reader.number() !== id) throw new Error('something else than the reply came')
    if (reader.number() !== 0) {
      const code = reader.text()
      throw Object.assign(new Error(`${reader.text()} (${code})`), { code })
    }
    const got = reader.number()
    if (got !== expected) throw new Error(`reply ${got} came where ${expected} belongs`)
    return reader
  }

  /** The names of the node's tools: how many there are, and the first. */
  async listTools (signal) {
    const reader = await this.#ask(LIST_TOOLS, new Uint8Array(0), TOOLS, signal)
    return { count: reader.number(), first: reader.text() }
  }

  /** Calls a tool and gives its result. */
  async callTool (name, parameters, signal) {
    const body = new Writer().text(name).text(JSON.stringify(parameters)).number(DEADLINE_MS).finish()
    const reader = await this.#ask(CALL_TOOL, body, TOOL_OUTPUT, signal)
    const result = JSON.parse(reader.text())
    if (reader.byte() !== 0) throw new Error('the result of a built-in tool came from elsewhere')
    reader.end()
    return result
  }

  async close (signal) {
    await this.#frames.close(signal)
  }
}

/** Reads a node's questions until it ends the stream, and says to each that it is not answered here. */
export async function decline (stream, seen) {
  const frames = new Frames(stream)
  while (true) {
    const reader = new Reader(await frames.receive())
    if (reader.number() !== REQUEST) continue
    const id = reader.number()
    reader.number()
    seen(reader.number())
    const refusal = new Writer().number(REPLY).number(id).number(1)
    await frames.send(refusal.text('forbidden').text('this peer only asks').finish())
  }
}
