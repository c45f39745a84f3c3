#!/bin/bash
# Announces what this machine lacks for building meshwork and installs it (Debian, Ubuntu); asks before sudo.
set -euo pipefail

missing=() reasons=()
need() { missing+=("$1"); reasons+=("  $1: $2"); }

have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  # libclang-cpp is another library: bindgen cannot use it.
  ldconfig -p 2>/dev/null | grep -qE 'libclang(-[0-9.]+)?\.so' && return 0
  compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null
}

command -v c++ >/dev/null && command -v make >/dev/null || need build-essential "C++ compiler for RocksDB"
have_libclang || need libclang-dev "RocksDB's bindings are generated with it"
command -v git >/dev/null || need git "the demo works on a git repository"
if command -v python3 >/dev/null; then
  python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv "the demo installs an MCP server of others for itself"
else
  need python3-venv "the demo installs an MCP server of others for itself"
fi
command -v python3 >/dev/null || need python3 "used by the demo and by the checks with other MCP clients"

if ! command -v cargo >/dev/null && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
  echo "meshwork needs a Rust toolchain (rustup): see https://rustup.rs, then run this again." >&2
  exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

echo "This machine lacks:" >&2
printf '%s\n' "${reasons[@]}" >&2
if ! command -v apt-get >/dev/null; then
  echo "Install the packages of these names with your system's package manager, then run this again." >&2
  exit 1
fi

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "Run as root: apt-get install -y ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
  if ! sudo -n true 2>/dev/null; then
    if [ ! -t 0 ]; then
      echo "A password is needed and nobody is there to ask. Run: sudo apt-get install -y ${missing[*]}" >&2
      exit 1
    fi
    read -r -p "Install with 'sudo apt-get install ${missing[*]}' (asks for your password)? [Y/n] " answer
    case "$answer" in [nN]*) echo "Nothing was installed." >&2; exit 1 ;; esac
  fi
fi
echo "Installing ${missing[*]} ..." >&2
"${sudo[@]}" apt-get install -y -q "${missing[@]}" >/dev/null 2>&1 || {
  "${sudo[@]}" apt-get update -q >/dev/null
  "${sudo[@]}" apt-get install -y -q "${missing[@]}" >/dev/null
}
echo "Done." >&2
