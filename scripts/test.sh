#!/bin/bash
# Everything that must hold before a change lands. Quick checks first.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

if [ -z "${MESHWORK_VECTORS:-}" ] && [ -d ../shared/vectors ]; then
  MESHWORK_VECTORS=$(cd ../shared/vectors && pwd); export MESHWORK_VECTORS
fi

step "format"
scripts/cargo.sh fmt --all --check

step "lints"
scripts/cargo.sh clippy --workspace --all-targets --quiet -- -D warnings

step "tests"
if ! command -v cargo-nextest >/dev/null && [ ! -x "$HOME/.cargo/bin/cargo-nextest" ]; then
  echo "cargo-nextest is not installed (cargo install --locked cargo-nextest): using cargo test" >&2
  scripts/cargo.sh test --workspace --all-targets --quiet
else
  scripts/cargo.sh nextest run --workspace --all-targets
fi

step "documentation tests"
scripts/cargo.sh test --workspace --doc --quiet

step "licences, bans, sources"
if command -v cargo-deny >/dev/null; then
  scripts/cargo.sh deny --offline check bans licenses sources
else
  echo "SKIPPED: cargo-deny is not installed (cargo install --locked cargo-deny); tests/it/boundaries.rs checks the crates' boundaries" >&2
fi
step "done"
