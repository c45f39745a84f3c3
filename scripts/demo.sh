#!/bin/bash
# The demo needs one thing that is not ours: an unmodified MCP server from PyPI, installed once into the user's cache.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/meshwork-demo
server=$cache/venv/bin/mcp-server-git
if [ ! -x "$server" ]; then
  echo "Installing mcp-server-git from PyPI into $cache (once) ..." >&2
  python3 -m venv "$cache/venv" 2>/dev/null || {
    echo "Python's venv module is missing: apt-get install python3-venv, then run this again." >&2; exit 1; }
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check mcp-server-git ||
    { echo "PyPI cannot be reached: the demo needs mcp-server-git." >&2; exit 1; }
fi
command -v git >/dev/null || { echo "The demo's MCP server needs git: apt-get install git" >&2; exit 1; }
exec "${CARGO_TARGET_DIR:-target}/release/meshwork" demo --git-server "$server" "$@"
