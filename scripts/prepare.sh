#!/bin/bash
# Announces what this machine lacks for building meshwork and installs it (Debian, Ubuntu); asks before sudo.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/libclang.sh
. scripts/libclang.sh

missing=() reasons=()
need() { missing+=("$1"); reasons+=("  $1: $2"); }
have() { command -v "$1" >/dev/null; }

if ! have c++ || ! have make; then need build-essential "C++ compiler for RocksDB"; fi
have_libclang || need libclang-dev "RocksDB's bindings are generated with it"
have git || need git "the demo works on a git repository"
have python3 || need python3 "used by the tests, by the demo and by the checks with other MCP clients"
if ! have python3 || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  need python3-venv "the demo installs an MCP server of others for itself"
fi

if ! have cargo && [ ! -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
  echo "meshwork needs a Rust toolchain (rustup): see https://rustup.rs, then run this again." >&2
  exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

echo "This machine lacks:" >&2
printf '%s\n' "${reasons[@]}" >&2
if ! have apt-get; then
  echo "Install the packages of these names with your system's package manager, then run this again." >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  have sudo || { echo "Run as root: apt-get install -y ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
  if ! sudo -n true 2>/dev/null; then
    # A question that is written into a file is seen by nobody.
    if [ ! -t 0 ] || [ ! -t 2 ]; then
      echo "A password is needed and nobody is there to ask. Run: sudo apt-get install -y ${missing[*]}" >&2
      exit 1
    fi
    read -r -p "Install with 'sudo apt-get install ${missing[*]}' (asks for your password)? [Y/n] " answer || answer=no
    case "$answer" in
      "" | [yY]*) ;;
      *) echo "Nothing was installed." >&2; exit 1 ;;
    esac
    # Asked once and here: apt-get's own output is hidden below.
    sudo -v || { echo "Nothing was installed: sudo did not let us." >&2; exit 1; }
  fi
fi

# Packages that have questions of their own (tzdata comes with python3) must not wait for an answer to what nobody sees;
# and a fresh machine's first automatic upgrade may hold the lock for minutes.
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}
echo "Installing ${missing[*]} ..." >&2
if ! apt install -y "${missing[@]}" 2>/dev/null; then
  # A machine that never fetched the lists of packages knows none. One source that fails need not be ours.
  apt update || echo "apt-get update failed: trying to install all the same" >&2
  apt install -y "${missing[@]}" || { echo "apt-get could not install ${missing[*]}." >&2; exit 1; }
fi
echo "Done." >&2
