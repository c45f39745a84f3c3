// The meshwork node under test, as its operator sees it: its status page and its command line.

import { execFile } from 'node:child_process'
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

  async #command (...parameters) {
    const env = { ...process.env, MESHWORK_URL: this.#settings.mcp_url }
    const { stdout } = await run(this.#settings.binary, [...parameters, '--json'], { env, timeout: 60_000 })
    return JSON.parse(stdout)
  }
}
