#!/usr/bin/env bash
# Everything that CI runs: formatting, lints, documentation, all tests. Needs Rust and Python's pip, nothing else:
# the CPU plugin installs itself on first use.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --check
step "lints"
cargo clippy --all-targets --locked -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib --locked
step "tests"
cargo test --locked
