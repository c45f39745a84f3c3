// A js-libp2p node as its users build one: TCP, Noise, Yamux, identify, ping, and on request Kademlia and mDNS.

import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'

/** Starts it; `dht` and `mdns` switch those on. */
export async function startNode (settings, options = {}) {
  const services = { identify: identify(), ping: ping() }
  if (options.dht) {
    services.dht = kadDHT({
      protocol: '/ipfs/kad/1.0.0',
      clientMode: false,
      // By default private addresses are dropped, and here there are no others.
      peerInfoMapper: passthroughMapper,
      // By default the first query waits for one that the node makes on its own.
      allowQueryWithZeroPeers: true
    })
  }
  return createLibp2p({
    addresses: { listen: [settings.listen] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    peerDiscovery: options.mdns ? [mdns({ interval: 1000 })] : [],
    services
  })
}
