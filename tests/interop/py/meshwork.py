"""The meshwork node under test, as its operator sees it: its status page and its command line."""

import json
import os
import subprocess
import tempfile
import urllib.request
from contextlib import asynccontextmanager

import trio


class Meshwork:
    def __init__(self, settings):
        self._settings = settings

    async def connection(self, peer):
        """The open connection to a peer on the status page; None when there is none."""

        def read():
            with urllib.request.urlopen(self._settings["admin_url"] + "/status", timeout=30) as page:
                return json.load(page)

        status = await trio.to_thread.run_sync(read)
        connections = status["parts"]["network"]["connections"]
        return next((one for one in connections if one["peer"] == peer), None)

    async def peer(self, peer):
        """The peer in `meshwork peers list`; None when it is not listed."""
        listed = await self._command("peers", "list")
        return next((one for one in listed["peers"] if one["peer_id"] == peer), None)

    async def discover(self, source):
        """Asks a source for peers now."""
        return await self._command("peers", "discover", "--source", source)

    @asynccontextmanager
    async def neighbour(self):
        """One more node of the same mesh, started now, that knows multicast DNS and no address."""
        with tempfile.TemporaryDirectory() as directory:
            command = [self._settings["binary"], "run", "--json", "--http", "127.0.0.1:0", "--data-dir", directory]
            command += ["--listen", self._settings["listen"], "--set", "p2p.discovery.mdns=on", "--log", "error"]
            environment = os.environ | {"MESHWORK_MESH_SECRET": self._settings["secret"]}
            async with trio.open_nursery() as nursery:
                process = await nursery.start(_run, command, environment)
                ready = b""
                while not ready.endswith(b"\n"):
                    piece = await process.stdout.receive_some()
                    if not piece:
                        raise RuntimeError("the neighbour did not start")
                    ready += piece
                yield Meshwork(self._settings | json.loads(ready))
                nursery.cancel_scope.cancel()

    async def _command(self, *arguments):
        command = [self._settings["binary"], *arguments, "--json"]
        environment = os.environ | {"MESHWORK_URL": self._settings["mcp_url"]}
        done = await trio.run_process(
            command, env=environment, capture_stdout=True, capture_stderr=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()}")
        return json.loads(done.stdout)


async def _run(command, environment, task_status):
    await trio.run_process(
        command, env=environment, stdout=subprocess.PIPE, task_status=task_status, check=False
    )
