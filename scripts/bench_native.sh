#!/usr/bin/env bash
# Steps docs/native/cartpole.c with random actions in a plain loop of C and in lockstep's compiled program, in turn, on one core,
# and prints both and the ratio. Arguments: [environments] [pairs]. BENCH_CORE chooses the core.
set -euo pipefail
cd "$(dirname "$0")/.."
envs=${1:-1024}
pairs=${2:-5}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cc -std=c11 -O3 -march=native -shared -fPIC -I include -o "$folder/libcartpole.so" docs/native/cartpole.c -lm
cc -std=c11 -D_GNU_SOURCE -O3 -march=native -I include -o "$folder/plain_loop" docs/native/plain_loop.c -ldl
cargo build --release --quiet
steps=$((20000000 / envs))
pinned=(taskset -c "${BENCH_CORE:-0}")
for pair in $(seq "$pairs"); do
  plain=$("${pinned[@]}" "$folder/plain_loop" "$folder/libcartpole.so" "$envs" "$steps")
  ours=$("${pinned[@]}" target/release/lockstep bench --env "native:$folder/libcartpole.so" --env-only --num-envs "$envs" \
    --num-steps "$steps" --devices 1 --device cpu --json 2>/dev/null)
  python3 - "$pair" "$plain" "$ours" <<'PY'
import json, sys
plain = float(sys.argv[2].split("environments, ")[1].split()[0])
ours = json.loads(sys.argv[3])["env_obs_steps_per_second"]
print(f"pair {sys.argv[1]}: plain loop {plain:,.0f} steps/s, lockstep {ours:,.0f}, ratio {ours / plain:.2f}")
PY
done
