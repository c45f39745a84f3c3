// Runs the named steps against a meshwork node: `node main.js SETTINGS.json STEP...`. Exit code 0: all went well.
//
// The settings, as scripts/interop.sh writes them: `binary`, `node` (address with /p2p/<id>), `peer_id`, `admin_url`,
// `mcp_url`, `secret`, `listen` (where this node listens), `namespace`.

import { readFile } from 'node:fs/promises'
import { steps } from './steps.js'

const [file, ...names] = process.argv.slice(2)
const settings = JSON.parse(await readFile(file, 'utf8'))
for (const name of names) {
  try {
    console.log(`ok   js-libp2p ${name}: ${await steps[name](settings)}`)
  } catch (error) {
    console.log(`FAIL js-libp2p ${name}: ${error.stack}`)
    process.exit(1)
  }
}
process.exit(0)
