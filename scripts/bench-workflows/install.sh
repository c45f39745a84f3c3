#!/bin/bash
# Installs the workflow engines beside which `meshwork bench workflow --compare` measures, once, into a cache directory of the
# user: Restate's server and SDK (npm; with them the Node.js that the SDK needs) and DBOS (PyPI), in the versions that are
# pinned here. The last line that it prints is that directory. Exit code 77: a registry or a tool is missing.
set -euo pipefail
cd "$(dirname "$0")"
skip() { echo "cannot compare: $1" >&2; exit 77; }

cache=${XDG_CACHE_HOME:-$HOME/.cache}/meshwork-bench-workflows
command -v npm >/dev/null || skip "npm is not installed"
command -v python3 >/dev/null || skip "python3 is not installed"
mkdir -p "$cache/js" "$cache/py"
if ! cmp -s package-lock.json "$cache/js/installed"; then
  echo "installing Restate (npm) ..." >&2
  rm -f "$cache/js/installed"
  cp package.json package-lock.json "$cache/js/"
  (cd "$cache/js" && npm ci --ignore-scripts --silent --no-fund --no-audit) >&2 || skip "the npm registry cannot be reached"
  cp package-lock.json "$cache/js/installed"
fi
if ! cmp -s requirements.txt "$cache/py/installed"; then
  echo "installing DBOS (PyPI) ..." >&2
  rm -rf "$cache/py/installed" "$cache/py/venv"
  python3 -m venv "$cache/py/venv" >&2 || skip "Python's venv module is missing (apt-get install python3-venv)"
  "$cache/py/venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt >&2 || skip "PyPI cannot be reached"
  cp requirements.txt "$cache/py/installed"
fi
cp restate.mjs "$cache/js/"
cp dbos_bench.py "$cache/py/"
echo "$cache"
