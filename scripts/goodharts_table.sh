#!/bin/bash
# The published table of the Goodhart grid world, from nothing: trains the four modes, evaluates them by lives, and prints what comes out beside
# what was published, for observations that are stored exactly and as the reference stores them.
#
#   scripts/goodharts_table.sh [--updates N] [--seeds "42 43 44"] [--envs N] [--steps N] [--runs N] [--out DIR] [--train "FLAGS"]
#
# --updates   PPO updates of each mode (2048, as published: 50 million steps)
# --seeds     seeds of the trainings; intervals are over them (42 43 44)
# --envs, --steps, --runs   of the evaluations (8192, 16384, 3, as published)
# --out       where runs, models and results go (generated/table); what is there already is not made again
# --train     more flags for train, such as "-e 64"
#
# The program is target/release/lockstep, or $LOCKSTEP_BIN.
set -euo pipefail

updates=2048 seeds="42 43 44" envs=8192 steps=16384 runs=3 out=generated/table train=""
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || { echo "goodharts_table.sh: $1 needs a value" >&2; exit 2; }
    case $1 in
        --updates) updates=$2 ;; --seeds) seeds=$2 ;; --envs) envs=$2 ;; --steps) steps=$2 ;;
        --runs) runs=$2 ;; --out) out=$2 ;; --train) train=$2 ;;
        *) echo "goodharts_table.sh: there is no option $1" >&2; exit 2 ;;
    esac
    shift 2
done
bin=$(realpath "${LOCKSTEP_BIN:-target/release/lockstep}") || { echo "goodharts_table.sh: build it with cargo build --release" >&2; exit 1; }

# What the published numbers were made with: a dead agent goes on where it died, in the same world.
world=relocate=false,regenerate_grid_on_done=false
for storage in exact uint8_compat; do
    for seed in $seeds; do
        directory=$out/$storage/$seed
        mkdir -p "$directory"
        (
            cd "$directory"
            # shellcheck disable=SC2086 # flags are words
            [ -e models/ppo_proxy.safetensors ] || "$bin" train --env goodharts -m all -u "$updates" --seed "$seed" --env-set $world \
                --obs-storage $storage --aux-shift 1 --trunc-bootstrap respawn --no-wandb $train
            [ -e results.json ] || "$bin" eval --env goodharts -m all -t "$steps" -e "$envs" --runs "$runs" --base-seed 42 -o results.json >/dev/null
        )
    done
done

python3 - "$out" "$updates" $seeds <<'P'
import json, math, sys

out, updates, seeds = sys.argv[1], sys.argv[2], sys.argv[3:]
published = {
    "ground_truth": (144.6, 99.9, 16364.0, 0.00, 154.7, 0.1),
    "ground_truth_blinded": (-12.8, 29.9, 95.1, 10.46, 55.8, 29.3),
    "proxy_mortal": (-41.5, 24.7, 41.5, 24.03, 59.0, 45.3),
    "proxy": (-58.7, 23.8, 29.0, 34.43, 79.2, 64.0),
}
keys = ["energy_per_1k_steps", "per_agent_efficiency", "survival_mean", "deaths_per_1k_steps", "food_per_1k_steps", "poison_per_1k_steps"]
titles = ["Energy/1k", "Efficiency %", "Survival", "Deaths/1k", "Food/1k", "Poison/1k"]
# Quantiles 0.975 of the t distribution by degrees of freedom; beyond, 1.96 is off by less than a tenth.
t = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

def cell(values):
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return f"{mean:.2f} +- {t.get(len(values) - 1, 1.96) * std / math.sqrt(len(values)):.2f}"

def line(cells):
    print(f"{cells[0]:<22}{cells[1]:<14}" + "".join(f"{c:>19}" for c in cells[2:]))

print(f"{updates} updates per mode (published: 2048); means over the training seeds {', '.join(seeds)} with 95 % intervals")
line(["mode", "observations", *titles])
for mode, numbers in published.items():
    line([mode, "published", *(f"{n:.2f}" for n in numbers)])
    for storage in ("exact", "uint8_compat"):
        runs = [json.load(open(f"{out}/{storage}/{seed}/results.json"))["results"][mode]["aggregates"] for seed in seeds]
        scale = [100 if key == "per_agent_efficiency" else 1 for key in keys]
        line(["", storage, *(cell([s * run[key] for run in runs]) for key, s in zip(keys, scale))])
P
