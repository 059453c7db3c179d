#!/usr/bin/env bash
# Runs `lockstep bench` and the same CartPole PPO in JAX in turn and prints the ratio of steps per second, pair by
# pair. JAX is installed from PyPI into a virtual environment. Arguments: [pairs] [extra flags of lockstep bench].
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${1:-5}
shift || true

venv=${BENCH_VENV:-target/bench-venv}
if ! "$venv/bin/python" -c 'import jax' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet jax
fi
cargo build --release --quiet

field() { python3 -c 'import json,sys; print(json.loads(sys.stdin.read())[sys.argv[1]])' "$1"; }

for envs in 64 512; do
  printf 'cartpole, %s environments x 128 steps\n' "$envs"
  for pair in $(seq "$pairs"); do
    ours=$(target/release/lockstep bench --env cartpole --num-envs "$envs" --num-steps 128 --updates 9 --json "$@")
    jax=$("$venv/bin/python" scripts/bench_jax.py --num-envs "$envs")
    python3 - "$pair" "$ours" "$jax" <<'PY'
import json, sys
pair, ours, jax = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
a, b = ours["steps_per_second"], jax["steps_per_second"]
start = ours["trace_seconds"] + ours["compile_seconds"]
print(f"  pair {pair}: lockstep {a:>9,.0f} steps/s, jax {b:>9,.0f}, ratio {a / b:.2f}; "
      f"trace and compile {start:.2f} s ({ours['cache']}), jax {jax['trace_seconds'] + jax['compile_seconds']:.2f} s")
PY
  done
done
