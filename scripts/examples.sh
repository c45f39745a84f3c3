#!/bin/bash
# Runs the example workflow repository-report with MCP servers that others wrote: mcp-server-git from PyPI and
# @modelcontextprotocol/server-filesystem from npm, installed into a cache of its own. The other examples need nothing and are
# run by the tests (tests/it/examples.rs).
set -euo pipefail
cd "$(dirname "$0")/.."
meshwork="${CARGO_TARGET_DIR:-target}/release/meshwork"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/meshwork-examples"
for needed in python3 npm git curl; do
  command -v "$needed" >/dev/null || { echo "examples need $needed, which is not installed" >&2; exit 1; }
done
if [ ! -x "$cache/venv/bin/mcp-server-git" ]; then
  echo "Installing mcp-server-git from PyPI into $cache (once) ..." >&2
  python3 -m venv "$cache/venv"
  "$cache/venv/bin/pip" install --quiet mcp-server-git
fi
server="$cache/node_modules/.bin/mcp-server-filesystem"
if [ ! -x "$server" ]; then
  echo "Installing @modelcontextprotocol/server-filesystem from npm into $cache (once) ..." >&2
  npm install --silent --no-fund --no-audit --prefix "$cache" @modelcontextprotocol/server-filesystem
fi

dir=$(mktemp -d)
node=
end() {
  if [ -n "$node" ]; then kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; fi
  rm -rf "$dir"
}
trap end EXIT
mkdir "$dir/playground"
git clone --quiet --bare . "$dir/playground/origin.git"
python3 -B docs/examples/configure.py "$dir/playground" \
  --git-server "$cache/venv/bin/mcp-server-git" --files-server "$server" >"$dir/node.yaml"
export MESHWORK_P2P__DISCOVERY__MDNS=off
"$meshwork" run --json --config "$dir/node.yaml" --data-dir "$dir/data" --http 127.0.0.1:0 \
  --listen /ip4/127.0.0.1/tcp/0 >"$dir/ready" 2>"$dir/log" &
node=$!
for _ in $(seq 300); do [ -s "$dir/ready" ] && break; sleep 0.1; done
[ -s "$dir/ready" ] || { echo "the node did not start:" >&2; cat "$dir/log" >&2; exit 1; }
MESHWORK_URL=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["mcp_url"])' "$dir/ready")
export MESHWORK_URL
# The servers behind the node need a moment until their tools are known.
run=("$meshwork" workflow run docs/examples/repository-report.yaml --input "url=$dir/playground/origin.git" \
  --input "into=$dir/playground/copy")
for _ in $(seq 60); do
  "$meshwork" workflow validate docs/examples/repository-report.yaml --input url=x --input into=y >/dev/null 2>&1 && break
  sleep 1
done
"${run[@]}" --json >"$dir/report"
python3 - "$dir/report" <<'CHECK'
import json, sys
run = json.load(open(sys.argv[1]))
output = run["output"]
assert run["state"] == "completed", run
assert len(output["head"]) == 40 and output["files"] > 100, output
assert output["head"] in json.dumps(output["log"]), "git_log does not know the head"
assert "README.md" in json.dumps(output["found"]), output["found"]
print(f"repository-report: {output['files']} files, head {output['head'][:12]}, seen by both servers")
CHECK
