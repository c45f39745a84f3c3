// What has to happen between a js-libp2p node and a meshwork node, step by step. Each step throws when it does not.

import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { ADMISSION, initiate, respond } from './admission.js'
import { Meshwork } from './meshwork.js'
import { startNode } from './node.js'
import { Asker, REQUESTS, decline } from './requests.js'

/** How long anything may take, in milliseconds. */
const PATIENCE = 30_000

function must (condition, what) {
  if (!condition) throw new Error(what)
}

/** Asks again and again until there is an answer. */
async function eventually (what, ask) {
  const until = Date.now() + PATIENCE
  while (true) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > until) throw new Error(`never happened: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

/** A js-libp2p node that knows a secret and answers what meshwork nodes ask of it. */
async function start (settings, options) {
  const node = await startNode(settings, options)
  const seen = { admissions: [], requests: new Set() }
  const side = connection => ({
    secret: settings.secret,
    local: node.peerId.toString(),
    remote: connection.remotePeer.toString(),
    signal: AbortSignal.timeout(PATIENCE)
  })
  await node.handle(ADMISSION, async (stream, connection) => {
    seen.admissions.push(await respond(stream, side(connection)))
  })
  await node.handle(REQUESTS, async stream => {
    // It ends with the connection.
    await decline(stream, kind => seen.requests.add(kind)).catch(() => {})
  })
  return { node, seen, id: node.peerId.toString() }
}

async function admit (node, connection, secret) {
  const signal = AbortSignal.timeout(PATIENCE)
  const stream = await connection.newStream(ADMISSION, { signal })
  const [local, remote] = [node.peerId.toString(), connection.remotePeer.toString()]
  return initiate(stream, { secret, local, remote, signal })
}

export const steps = {
  /** Who is who: both see the other's software and what it speaks. */
  async identified (settings) {
    const { node, id } = await start(settings)
    try {
      // It identifies by itself whomever it connects to.
      let about
      node.addEventListener('peer:identify', ({ detail }) => { about = detail })
      await node.dial(multiaddr(settings.node))
      await eventually('js-libp2p identifies the node', () => about)
      must(about.agentVersion?.startsWith('meshwork/'), `the node calls itself ${about.agentVersion}`)
      for (const protocol of [ADMISSION, REQUESTS, '/ipfs/ping/1.0.0', '/ipfs/id/1.0.0']) {
        must(about.protocols.includes(protocol), `${protocol} is missing in ${about.protocols}`)
      }
      const seen = await eventually('the node identifies js-libp2p', async () => {
        const found = await new Meshwork(settings).connection(id)
        return found?.agent ? found : undefined
      })
      must(seen.agent.includes('js-libp2p'), `the node takes this for ${seen.agent}`)
      must(seen.role === null, `an unproven peer has the role ${seen.role}`)
      return `${about.agentVersion}, seen as ${seen.agent}`
    } finally {
      await node.stop()
    }
  },

  /** Pings both ways: ours is answered, and the node has measured the way to us. */
  async pinged (settings) {
    const { node, id } = await start(settings)
    try {
      const rtt = await node.services.ping.ping(multiaddr(settings.node))
      const seen = await eventually('the node pings js-libp2p', async () => {
        const found = await new Meshwork(settings).connection(id)
        return found?.rtt_us ? found : undefined
      })
      return `${rtt} ms from here, ${seen.rtt_us / 1000} ms from there`
    } finally {
      await node.stop()
    }
  },

  /** With the mesh secret it becomes a member, and may call tools. */
  async admitted (settings) {
    const { node, seen, id } = await start(settings)
    try {
      const connection = await node.dial(multiaddr(settings.node))
      const verdicts = await admit(node, connection, settings.secret)
      must(verdicts.ours.admitted, `the node's own proof is refused: ${verdicts.ours.reason}`)
      must(verdicts.theirs.admitted && verdicts.theirs.role === 'member', JSON.stringify(verdicts.theirs))
      await eventually('it is listed as connected', async () => {
        const peer = await new Meshwork(settings).peer(id)
        return peer?.state === 'connected' && peer.trust === 'member'
      })
      const signal = AbortSignal.timeout(PATIENCE)
      const asker = new Asker(await connection.newStream(REQUESTS, { signal }))
      const tools = await asker.listTools(signal)
      const said = { text: 'from js-libp2p: \u00fc \u{1f980}' }
      const back = await asker.callTool('echo', said, signal)
      must(back.text === said.text, `echo gave ${JSON.stringify(back)}`)
      const unknown = await asker.callTool('no_such_tool', {}, signal).catch(error => error)
      must(unknown.code === 'unknown_tool', `an unknown tool gave ${unknown}`)
      await asker.close(signal)
      must([...seen.requests].every(kind => kind <= 17), `asked in version 1 for ${[...seen.requests]}`)
      return `${tools.count} tools, echo answered`
    } finally {
      await node.stop()
    }
  },

  /** With another secret, or none, it is a stranger: told so without reasons, shown nothing, served nothing. */
  async refused (settings) {
    for (const secret of ['another secret than that of the mesh', null]) {
      const { node, id } = await start(settings)
      try {
        const connection = await node.dial(multiaddr(settings.node))
        const verdicts = await admit(node, connection, secret)
        must(!verdicts.theirs.admitted, 'admitted without the secret')
        must(!verdicts.showedProof, 'the node proved itself to a stranger')
        must(!verdicts.theirs.reason.includes(id), `the refusal says too much: ${verdicts.theirs.reason}`)
        const signal = AbortSignal.timeout(PATIENCE)
        const asked = await connection.newStream(REQUESTS, { signal })
          .then(stream => new Asker(stream).listTools(signal))
          .then(() => 'answered', error => error.code ?? 'cut off')
        must(asked !== 'answered', 'a stranger was served')
        const peer = await new Meshwork(settings).peer(id)
        must(peer?.state !== 'connected', `a stranger is listed: ${JSON.stringify(peer)}`)
      } finally {
        await node.stop()
      }
    }
    return 'with another secret, and with none'
  },

  /** js-libp2p enters itself in the table, and the node finds it there, dials it and admits it. */
  async found (settings) {
    const { node, seen, id } = await start(settings, { dht: true })
    try {
      await node.dial(multiaddr(settings.node))
      await tableKnows(node, settings)
      for await (const event of node.services.dht.provide(key(settings))) {
        must(event.name !== 'QUERY_ERROR', `${event.error}`)
      }
      // From now on only the table knows it. (js-libp2p keeps up connections with all that are in its own table.)
      await node.services.dht.stop()
      await node.peerStore.delete(peerIdFromString(settings.peer_id))
      await node.hangUp(peerIdFromString(settings.peer_id))
      await new Meshwork(settings).discover('public_dht')
      await eventually('the node lists what it found', async () => {
        const peer = await new Meshwork(settings).peer(id)
        return peer?.found_by.includes('public_dht') && peer.state === 'connected'
      })
      must(seen.admissions.some(({ ours, theirs }) => ours.admitted && theirs.admitted), 'the node never proved itself')
      return 'entered, found, dialled and admitted'
    } finally {
      await node.stop()
    }
  },

  /** The node has entered itself in the table, and js-libp2p finds it there. */
  async finds (settings) {
    const { node } = await start(settings, { dht: true })
    try {
      await node.dial(multiaddr(settings.node))
      await tableKnows(node, settings)
      return await eventually('js-libp2p finds the node in the table', async () => {
        for await (const event of node.services.dht.findProviders(key(settings))) {
          const provider = event.name === 'PROVIDER' && event.providers.find(({ id }) => id.toString() === settings.peer_id)
          if (provider) return provider.multiaddrs.join(' ')
        }
      })
    } finally {
      await node.stop()
    }
  },

  /**
   * Nobody knows an address: js-libp2p discovers a node that is started on the same network, and joins it there. (Not the
   * other way round: js-libp2p answers with its addresses in another section than the specification says, where
   * rust-libp2p does not look.)
   */
  async mdns (settings) {
    const met = new Map()
    const { node, id } = await start(settings, { mdns: true })
    node.addEventListener('peer:discovery', ({ detail }) => met.set(detail.id.toString(), detail.multiaddrs))
    const neighbour = await new Meshwork(settings).neighbour()
    try {
      const at = await eventually('js-libp2p discovers the neighbour', () => met.get(neighbour.id))
      const connection = await node.dial(at[0].encapsulate(`/p2p/${neighbour.id}`))
      const verdicts = await admit(node, connection, settings.secret)
      must(verdicts.ours.admitted && verdicts.theirs.admitted, JSON.stringify(verdicts))
      await eventually('the neighbour lists it', async () => (await neighbour.meshwork.peer(id))?.state === 'connected')
      return `met at ${at.join(' ')}`
    } finally {
      await neighbour.stop()
      await node.stop()
    }
  }
}

/** The Python nodes use their namespace itself as the key of the table, not a hash of it. */
function key (settings) {
  return { multihash: { bytes: new TextEncoder().encode(settings.namespace) } }
}

async function tableKnows (node, settings) {
  await eventually('the node is in the routing table', () => {
    return [...node.services.dht.routingTable.kb.toIterable()].some(({ peerId }) => peerId.toString() === settings.peer_id)
  })
}
