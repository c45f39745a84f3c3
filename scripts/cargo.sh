#!/bin/bash
# cargo with what this project's builds need: where libclang lives, and our directory whatever the caller's is.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo >/dev/null || { [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"; }
if [ -z "${LIBCLANG_PATH:-}" ] && ! ldconfig -p 2>/dev/null | grep -qE 'libclang(-[0-9.]+)?\.so'; then
  for dir in /usr/lib/llvm-*/lib; do
    if compgen -G "$dir/libclang.so*" >/dev/null || compgen -G "$dir/libclang-[0-9]*.so*" >/dev/null; then export LIBCLANG_PATH="$dir"; fi
  done
fi
exec cargo "$@"
