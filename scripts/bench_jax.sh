#!/usr/bin/env bash
# Runs `lockstep bench` and the same training of CartPole in JAX in turn, and prints the steps per second of each pair, then a table with the
# medians and their ratios: PPO with 4, 64 and 512 environments, recurrent PPO with 4 and 64, and DQN. JAX is installed from PyPI into a
# virtual environment. Arguments: [ppo|rnn|dqn|all] [pairs] [extra flags of lockstep bench].
set -euo pipefail
cd "$(dirname "$0")/.."
algo=all
case "${1:-}" in ppo | dqn | rnn | all) algo=$1; shift ;; esac
pairs=${1:-5}
shift || true
flags=("$@")

venv=${BENCH_VENV:-target/bench-venv}
if ! "$venv/bin/python" -c 'import jax' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet jax
fi
cargo build --release --quiet
results=$(mktemp)
trap 'rm -f "$results"' EXIT

# Measures the pairs of a size. Arguments: heading, script of the JAX side, sizes, which both sides take.
compare() {
  local heading=$1 script=$2
  shift 2
  printf '%s\n' "$heading"
  for pair in $(seq "$pairs"); do
    ours=$(target/release/lockstep bench --env cartpole "${settings[@]}" "$@" --updates 9 --json "${flags[@]}")
    jax=$("$venv/bin/python" "scripts/$script" "$@")
    python3 - "$heading" "$results" "$pair" "$ours" "$jax" <<'PY'
import json, sys
heading, results, pair, ours, jax = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), json.loads(sys.argv[5])
a, b = ours["steps_per_second"], jax["steps_per_second"]
start = ours["trace_seconds"] + ours["compile_seconds"]
print(f"  pair {pair}: lockstep {a:>9,.0f} steps/s, jax {b:>9,.0f}, ratio {a / b:.2f}; "
      f"trace and compile {start:.2f} s ({ours['cache']}), jax {jax['trace_seconds'] + jax['compile_seconds']:.2f} s")
with open(results, "a") as lines:
    print(json.dumps([heading, a, b]), file=lines)
PY
  done
}

wants() { [ "$algo" = all ] || [ "$algo" = "$1" ]; }

if wants ppo; then
  settings=(--algo ppo)
  for envs in 4 64 512; do
    compare "PPO, $envs environments x 128 steps" bench_jax.py --num-envs "$envs" --num-steps 128
  done
fi
if wants rnn; then
  settings=(--algo ppo --set rnn=gru --set rnn_dim=128 --set hidden_dim=128 --set num_layers=1)
  for envs in 4 64; do
    compare "recurrent PPO (GRU of 128), $envs environments x 128 steps" bench_jax_rnn.py --num-envs "$envs" --num-steps 128
  done
fi
if wants dqn; then
  settings=(--algo dqn)
  compare "DQN, 10 environments, a gradient step on 128 transitions after each of their steps" \
    bench_jax_dqn.py --num-envs 10 --num-steps 500
fi

python3 - "$results" <<'PY'
import json, statistics, sys
sizes = {}
for line in open(sys.argv[1]):
    heading, ours, jax = json.loads(line)
    sizes.setdefault(heading, []).append((ours, jax))
print("\n| cartpole, medians of steps per second | lockstep | JAX | ratio (least, most) |\n|---|---|---|---|")
for heading, pairs in sizes.items():
    ours, jax = (statistics.median(side) for side in zip(*pairs))
    ratios = [a / b for a, b in pairs]
    print(f"| {heading} | {ours:,.0f} | {jax:,.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) |")
PY
