"""A py-libp2p node as its users build one: TCP, Noise, Yamux, identify, ping, and on request Kademlia and mDNS."""

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from libp2p import create_new_ed25519_key_pair, new_host
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from admission import ADMISSION, initiate, respond
from questions import REQUESTS, decline


@dataclass
class Node:
    """It knows a secret and answers what meshwork nodes ask of it."""

    host: object
    secret: str
    dht: KadDHT | None = None
    admissions: list = field(default_factory=list)
    requests: set = field(default_factory=set)

    @property
    def id(self):
        return self.host.get_id().to_base58()

    async def dial(self, address):
        info = info_from_p2p_addr(Multiaddr(address))
        await self.host.connect(info)
        return info.peer_id

    async def identify(self, peer):
        stream = await self.host.new_stream(peer, [IDENTIFY])
        answer = b""
        while piece := await _read(stream):
            answer += piece
        await stream.close()
        return parse_identify_response(answer)

    async def ping(self, peer):
        return await PingService(self.host).ping(peer)

    async def admit(self, peer, secret):
        """The handshake as the initiator, with this secret or with none."""
        stream = await self.host.new_stream(peer, [ADMISSION])
        return await initiate(stream, secret, self.id, peer.to_base58())

    async def _answer_admission(self, stream):
        remote = stream.muxed_conn.peer_id.to_base58()
        self.admissions.append(await respond(stream, self.secret, self.id, remote))

    async def _answer_requests(self, stream):
        try:
            await decline(stream, self.requests)
        except Exception:  # noqa: BLE001 - the stream ends with the connection, in one of many ways
            return


async def _read(stream):
    try:
        return await stream.read(4096)
    except Exception as error:
        if "EOF" in type(error).__name__:
            return b""
        raise


@asynccontextmanager
async def start(settings, dht=False, mdns=False):
    """Starts it; `dht` and `mdns` switch those on."""
    listen = Multiaddr(settings["listen"])
    host = new_host(key_pair=create_new_ed25519_key_pair(), enable_mDNS=mdns)
    node = Node(host, settings["secret"])
    host.set_stream_handler(ADMISSION, node._answer_admission)
    host.set_stream_handler(REQUESTS, node._answer_requests)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(host.run([listen]))
        if dht:
            node.dht = KadDHT(host, DHTMode.SERVER)
            await stack.enter_async_context(background_trio_service(node.dht))
        yield node
