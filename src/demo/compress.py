"""A process tool of the demo: how well does a file compress? JSON on standard input, JSON on standard output."""

import hashlib
import json
import lzma
import sys

arguments = json.load(sys.stdin)
with open(arguments["path"], "rb") as file:
    data = file.read()
packed = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
json.dump(
    {
        "path": arguments["path"],
        "bytes": len(data),
        "lines": data.count(b"\n"),
        "sha256": hashlib.sha256(data).hexdigest(),
        "compressed": len(packed),
    },
    sys.stdout,
)
