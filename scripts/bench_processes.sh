#!/usr/bin/env bash
# What sharing a run over processes costs on this machine: steps per second of CartPole and HackMatrix in processes x devices, each run for about as
# many steps, as `train --json` tells them. Arguments: [repetitions].
set -euo pipefail
cd "$(dirname "$0")/.."
repetitions=${1:-3}
cargo build --release --quiet
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

measure() {
  local heading=$1 steps=$2
  shift 2
  printf '%s\n' "$heading"
  for shape in "1 1" "1 2" "2 1" "1 4" "2 2" "4 1"; do
    read -r processes devices <<< "$shape"
    local rates=()
    for repetition in $(seq "$repetitions"); do
      told=$(target/release/lockstep train "$@" --device cpu --no-wandb --logger none --total-timesteps "$steps" --json --checkpoint-dir "$runs" \
        --run-name "$processes-$devices-$repetition-$RANDOM" --nproc-per-node "$processes" --devices "$devices" 2> /dev/null)
      rates+=("$(python3 -c 'import json, sys; print(round(json.loads(sys.argv[1])["steps_per_second"]))' "$told")")
    done
    printf '  %s processes x %s devices: %s steps/s\n' "$processes" "$devices" "${rates[*]}"
  done
}

measure "cartpole, 64 environments x 128 steps" 2M --env cartpole --num-envs 64 --num-steps 128
measure "hackmatrix, 256 environments x 128 steps" 600k --env hackmatrix --num-envs 256 --num-steps 128
