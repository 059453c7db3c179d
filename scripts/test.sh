#!/usr/bin/env bash
# Everything that CI runs: formatting, lints, documentation, all tests. Needs Rust and Python's pip, nothing else:
# the CPU plugin installs itself on first use. With --long, the fuzzers go on for 100,000 inputs (LOCKSTEP_FUZZ) at the end,
# and 300 random environments are compared with the oracle.
set -euo pipefail
cd "$(dirname "$0")/.."

long=false
for argument in "$@"; do
  case "$argument" in
    --long) long=true ;;
    *) echo "usage: scripts/test.sh [--long]" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --check
step "lints"
cargo clippy --all-targets --locked -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib --locked
# Tests that lack something on this machine say so here, a line each.
LOCKSTEP_SKIPPED=$(mktemp)
export LOCKSTEP_SKIPPED
trap 'rm -f "$LOCKSTEP_SKIPPED"' EXIT

step "tests"
cargo test --locked
if $long; then
  step "fuzzers"
  cargo test --locked --test all -- --ignored --nocapture fuzz::long random_envs::long
fi

step "skipped"
sort "$LOCKSTEP_SKIPPED"
printf 'all that ran has passed; %d tests were skipped\n' "$(wc -l < "$LOCKSTEP_SKIPPED")"
