#!/bin/bash
# Everything that must hold before a change lands. Quick checks first.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }
# cargo looks into its own directory too, which need not be in the PATH.
have_cargo() { command -v "cargo-$1" >/dev/null || [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo-$1" ]; }

if [ -z "${MESHWORK_VECTORS:-}" ] && [ -d ../shared/vectors ]; then
  MESHWORK_VECTORS=$(cd ../shared/vectors && pwd); export MESHWORK_VECTORS
fi

step "format"
scripts/cargo.sh fmt --all --check

step "scripts"
python3 -B -m unittest discover --start-directory tests/scripts --pattern '*.py'

step "lints"
scripts/cargo.sh clippy --workspace --all-targets --quiet -- -D warnings

step "tests"
# With --all-targets cargo builds examples only as test harnesses; some tests start them as programs.
scripts/cargo.sh build --workspace --examples --quiet
if have_cargo nextest; then
  scripts/cargo.sh nextest run --workspace --all-targets
else
  echo "cargo-nextest is not installed (cargo install --locked cargo-nextest): using cargo test" >&2
  scripts/cargo.sh test --workspace --all-targets --quiet
fi

step "documentation tests"
scripts/cargo.sh test --workspace --doc --quiet

step "licences, bans, sources"
if have_cargo deny; then
  scripts/cargo.sh deny --offline check bans licenses sources
else
  echo "SKIPPED: cargo-deny is not installed (cargo install --locked cargo-deny); tests/it/boundaries.rs checks the crates' boundaries" >&2
fi
step "done"
