#!/usr/bin/env bash
# Runs `lockstep bench` and the same training of CartPole in JAX in turn and prints the ratio of steps per second, pair by
# pair. JAX is installed from PyPI into a virtual environment. Arguments: [ppo|dqn|rnn] [pairs] [extra flags of lockstep bench].
set -euo pipefail
cd "$(dirname "$0")/.."
algo=ppo
case "${1:-}" in ppo | dqn | rnn) algo=$1; shift ;; esac
pairs=${1:-5}
shift || true

venv=${BENCH_VENV:-target/bench-venv}
if ! "$venv/bin/python" -c 'import jax' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet jax
fi
cargo build --release --quiet

# Prints the heading of a size and its pairs. Arguments: heading, script of the JAX side, sizes, which both sides take.
compare() {
  local heading=$1 script=$2
  shift 2
  printf '%s\n' "$heading"
  for pair in $(seq "$pairs"); do
    ours=$(target/release/lockstep bench --env cartpole "${settings[@]}" "$@" --updates 9 --json "${flags[@]}")
    jax=$("$venv/bin/python" "scripts/$script" "$@")
    python3 - "$pair" "$ours" "$jax" <<'PY'
import json, sys
pair, ours, jax = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
a, b = ours["steps_per_second"], jax["steps_per_second"]
start = ours["trace_seconds"] + ours["compile_seconds"]
print(f"  pair {pair}: lockstep {a:>9,.0f} steps/s, jax {b:>9,.0f}, ratio {a / b:.2f}; "
      f"trace and compile {start:.2f} s ({ours['cache']}), jax {jax['trace_seconds'] + jax['compile_seconds']:.2f} s")
PY
  done
}

flags=("$@")
settings=(--algo ppo)
case $algo in
  rnn)
    settings+=(--set rnn=gru --set rnn_dim=128 --set hidden_dim=128 --set num_layers=1)
    for envs in 4 64; do
      compare "cartpole by recurrent PPO (GRU of 128), $envs environments x 128 steps" \
        bench_jax_rnn.py --num-envs "$envs" --num-steps 128
    done ;;
  ppo)
    for envs in 64 512; do
      compare "cartpole, $envs environments x 128 steps" bench_jax.py --num-envs "$envs" --num-steps 128
    done ;;
  dqn)
    settings=(--algo dqn)
    compare "cartpole by DQN, 10 environments, a gradient step on 128 transitions after each of their steps" \
      bench_jax_dqn.py --num-envs 10 --num-steps 500 ;;
esac
