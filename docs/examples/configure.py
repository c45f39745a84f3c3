"""Writes the configuration of a node that serves the tools of the example workflows.

    python3 docs/examples/configure.py FOLDER > node.yaml
    meshwork run --config node.yaml

The tools may read and write FOLDER and nothing else. With --git-server and --files-server, the programs of the MCP servers
mcp-server-git (PyPI) and @modelcontextprotocol/server-filesystem (npm) are started behind the node, as the example
repository-report needs them.
"""

import argparse
import inspect
import json
import os
import sys

import tools

TYPES = {"path": "string", "files": "array", "parts": "array", "top": "integer", "keep": "integer", "required": "array", "same_size": "boolean"}


def described(tool, folder):
    """A tool as the configuration names it, with a schema made from its signature."""
    parameters = inspect.signature(tool).parameters.values()
    here = os.path.dirname(os.path.abspath(__file__))
    return {
        "name": tool.__name__,
        "description": tool.__doc__.strip(),
        "command": [sys.executable, os.path.join(here, "tools.py"), tool.__name__],
        "input_schema": {
            "type": "object",
            "properties": {one.name: {"type": TYPES.get(one.name, "string")} for one in parameters},
            "required": [one.name for one in parameters if one.default is one.empty],
            "additionalProperties": False,
        },
        "timeout_s": 120,
        "read_paths": [here, sys.base_prefix],
        "write_paths": [folder],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="the only folder that the tools may read and write")
    parser.add_argument("--git-server", metavar="PROGRAM", help="mcp-server-git")
    parser.add_argument("--files-server", metavar="PROGRAM", nargs="+", help="mcp-server-filesystem")
    given = parser.parse_args()
    folder = os.path.abspath(given.folder)
    os.makedirs(folder, exist_ok=True)
    upstreams = []
    if given.git_server:
        upstreams.append({"name": "git", "command": [given.git_server]})
    if given.files_server:
        upstreams.append({"name": "files", "command": [*given.files_server, folder]})
    executor = {"tools": [described(tool, folder) for tool in tools.TOOLS], "cid_paths": [folder]}
    # JSON is YAML.
    print(json.dumps({"executor": executor, "upstreams": upstreams}, indent=2))


main()
