// The meshwork node under test, as its operator sees it: its status page and its command line.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)

export class Meshwork {
  #settings

  constructor (settings) {
    this.#settings = settings
  }

  /** The open connection to a peer on the status page; undefined when there is none. */
  async connection (id) {
    const response = await fetch(`${this.#settings.admin_url}/status`)
    const status = await response.json()
    return status.parts.network.connections.find(({ peer }) => peer === id)
  }

  /** The peer in `meshwork peers list`; undefined when it is not listed. */
  async peer (id) {
    const { peers } = await this.#command('peers', 'list')
    return peers.find(({ peer_id: peer }) => peer === id)
  }

  /** Asks a source for peers now. */
  async discover (source) {
    return this.#command('peers', 'discover', '--source', source)
  }

  /** One more node of the same mesh, started now, that knows multicast DNS and no address: itself and its end. */
  async neighbour () {
    const directory = await mkdtemp(join(tmpdir(), 'meshwork-'))
    const { binary, listen, secret } = this.#settings
    const words = ['run', '--json', '--http', '127.0.0.1:0', '--data-dir', directory, '--listen', listen]
    words.push('--set', 'p2p.discovery.mdns=on', '--log', 'error')
    const env = { ...process.env, MESHWORK_MESH_SECRET: secret }
    const child = spawn(binary, words, { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(child, 'exit')
    const stop = async () => {
      child.kill()
      await ended
      await rm(directory, { recursive: true })
    }
    const first = once(createInterface(child.stdout), 'line').then(([line]) => JSON.parse(line))
    const ready = await Promise.race([first, ended.then(() => { throw new Error('the neighbour did not start') })])
    return { meshwork: new Meshwork({ ...this.#settings, ...ready }), id: ready.peer_id, stop }
  }

  async #command (...parameters) {
    const env = { ...process.env, MESHWORK_URL: this.#settings.mcp_url }
    const { stdout } = await run(this.#settings.binary, [...parameters, '--json'], { env, timeout: 60_000 })
    return JSON.parse(stdout)
  }
}
