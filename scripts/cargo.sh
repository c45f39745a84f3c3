#!/bin/bash
# cargo with what this project's builds need: where libclang lives, and our directory whatever the caller's is.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/libclang.sh
. scripts/libclang.sh

# rustup's own directory is not in the PATH of a shell that was started before rustup was installed.
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
named=$(libclang_to_name)
if [ -n "$named" ]; then export LIBCLANG_PATH="$named"; fi
exec cargo "$@"
