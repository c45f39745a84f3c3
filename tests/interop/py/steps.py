"""What has to happen between a py-libp2p node and a meshwork node, step by step. Each step raises when it does not."""

import trio

from admission import ADMISSION
from meshwork import Meshwork
from node import start
from questions import LAST_OF_VERSION_1, REQUESTS, Asker, Refused

PATIENCE = 30
"""How long anything may take, in seconds."""


async def eventually(what, ask):
    """Asks again and again until there is an answer."""
    with trio.move_on_after(PATIENCE):
        while True:
            if answer := await ask():
                return answer
            await trio.sleep(0.1)
    raise AssertionError(f"never happened: {what}")


async def identified(settings):
    """Who is who: both see the other's software and what it speaks."""
    async with start(settings) as node:
        peer = await node.dial(settings["node"])
        about = await node.identify(peer)
        assert about.agent_version.startswith("meshwork/"), about.agent_version
        for protocol in (ADMISSION, REQUESTS, "/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"):
            assert protocol in about.protocols, f"{protocol} is missing in {about.protocols}"

        async def seen():
            found = await Meshwork(settings).connection(node.id)
            return found if found and found["agent"] else None

        found = await eventually("the node identifies py-libp2p", seen)
        assert "py-libp2p" in found["agent"], found
        assert found["role"] is None, f"an unproven peer has a role: {found}"
        return f"{about.agent_version}, seen as {found['agent']}"


async def pinged(settings):
    """Pings both ways: ours is answered, and the node has measured the way to us."""
    async with start(settings) as node:
        peer = await node.dial(settings["node"])
        (rtt,) = await node.ping(peer)

        async def seen():
            found = await Meshwork(settings).connection(node.id)
            return found if found and found["rtt_us"] else None

        found = await eventually("the node pings py-libp2p", seen)
        return f"{rtt} ms from here, {found['rtt_us'] / 1000} ms from there"


async def admitted(settings):
    """With the mesh secret it becomes a member, and may call tools."""
    async with start(settings) as node:
        peer = await node.dial(settings["node"])
        outcome = await node.admit(peer, settings["secret"])
        assert outcome.ours.admitted, f"the node's own proof is refused: {outcome.ours}"
        assert outcome.theirs.admitted and outcome.theirs.role == "member", outcome.theirs
        await eventually("it is listed as connected", lambda: _connected_member(settings, node))
        asker = Asker(await node.host.new_stream(peer, [REQUESTS]))
        tools = await asker.list_tools()
        said = {"text": "from py-libp2p: \u00fc \U0001f980"}
        back = await asker.call_tool("echo", said)
        assert back["text"] == said["text"], back
        try:
            raise AssertionError(f"an unknown tool gave {await asker.call_tool('no_such_tool', {})}")
        except Refused as refused:
            assert refused.code == "unknown_tool", refused
        await asker.close()
        assert all(kind <= LAST_OF_VERSION_1 for kind in node.requests), node.requests
        return f"{tools} tools, echo answered"


async def refused(settings):
    """With another secret, or none, it is a stranger: told so without reasons, shown nothing, served nothing."""
    for secret in ("another secret than that of the mesh", None):
        async with start(settings) as node:
            peer = await node.dial(settings["node"])
            outcome = await node.admit(peer, secret)
            assert not outcome.theirs.admitted, "admitted without the secret"
            assert not outcome.showed_proof, "the node proved itself to a stranger"
            assert node.id not in outcome.theirs.reason, f"the refusal says too much: {outcome.theirs}"
            try:
                asker = Asker(await node.host.new_stream(peer, [REQUESTS]))
                raise AssertionError(f"a stranger was served {await asker.list_tools()} tools")
            except AssertionError:
                raise
            except Exception:  # noqa: BLE001 - however it is cut off, and an error of the node, are both refusals
                pass
            listed = await Meshwork(settings).peer(node.id)
            assert listed is None or listed["state"] != "connected", f"a stranger is listed: {listed}"
    return "with another secret, and with none"


async def found(settings):
    """py-libp2p enters itself in the table, and the node finds it there, dials it and admits it."""
    async with start(settings, dht=True) as node:
        peer = await _join_table(settings, node)
        assert await node.dht.provide(settings["namespace"]), "the node took no provider record"
        # From now on only the table knows it.
        await node.host.disconnect(peer)
        await Meshwork(settings).discover("public_dht")
        await eventually("the node lists what it found", lambda: _connected_from(Meshwork(settings), node, "public_dht"))
        assert any(one.ours.admitted and one.theirs.admitted for one in node.admissions), node.admissions
        return "entered, found, dialled and admitted"


async def finds(settings):
    """The node has entered itself in the table, and py-libp2p finds it there."""
    async with start(settings, dht=True) as node:
        await _join_table(settings, node)

        async def look():
            for provider in await node.dht.find_providers(settings["namespace"]):
                if provider.peer_id.to_base58() == settings["peer_id"]:
                    return " ".join(map(str, provider.addrs))
            return None

        return await eventually("py-libp2p finds the node in the table", look)


async def mdns(settings):
    """Nobody knows an address: a node that is started on the same network finds it, dials it and admits it.

    Not the other way round: py-libp2p only takes answers with a record (SRV) that no other libp2p sends.
    """
    async with start(settings, mdns=True) as node, Meshwork(settings).neighbour() as neighbour:
        await eventually("the neighbour discovers py-libp2p", lambda: _connected_from(neighbour, node, "mdns"))
        assert any(one.ours.admitted and one.theirs.admitted for one in node.admissions), node.admissions
        return "found, dialled and admitted"


async def _join_table(settings, node):
    peer = await node.dial(settings["node"])

    async def known():
        return await node.dht.add_peer(peer)

    await eventually("the node is in the routing table", known)
    return peer


async def _connected_member(settings, node):
    peer = await Meshwork(settings).peer(node.id)
    return peer is not None and (peer["state"], peer["trust"]) == ("connected", "member")


async def _connected_from(meshwork, node, source):
    peer = await meshwork.peer(node.id)
    return peer is not None and peer["state"] == "connected" and source in peer["found_by"]


STEPS = {step.__name__: step for step in (identified, pinged, admitted, refused, found, finds, mdns)}
