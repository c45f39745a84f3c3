"""Runs the named steps against a meshwork node: `python main.py SETTINGS.json STEP...`. Exit code 0: all went well.

The settings, as scripts/interop.sh writes them: `binary`, `node` (address with /p2p/<id>), `peer_id`, `admin_url`,
`mcp_url`, `secret`, `listen` (where this node listens), `namespace`.
"""

import json
import logging
import sys
import traceback

import trio

from steps import STEPS


def causes(error):
    """What really happened: nurseries wrap it in groups, one in the other."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [cause for inner in error.exceptions for cause in causes(inner)]


# It calls every stream that ends an error.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)
with open(sys.argv[1], encoding="utf-8") as file:
    settings = json.load(file)
for name in sys.argv[2:]:
    try:
        print(f"ok   py-libp2p {name}: {trio.run(STEPS[name], settings)}", flush=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the step failed
        told = "".join("".join(traceback.format_exception(cause, chain=False)) for cause in causes(error))
        print(f"FAIL py-libp2p {name}: {told}", flush=True)
        sys.exit(1)
