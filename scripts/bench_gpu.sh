#!/usr/bin/env bash
# Everything worth knowing of lockstep on a machine with an NVIDIA GPU, in one command and at most so many minutes: whether games
# are played as on the CPU, whether training learns and repeats bit for bit, and how fast it is beside JAX. A part that fails
# does not stop the others; the table at the end has a line for each, and every log is kept.
#
#   scripts/bench_gpu.sh [--minutes 9] [--sizes "2048 8192 32768"] [--out target/bench-gpu]
#                        [--device cuda|cpu] [--plugin FILE] [--cpu-plugin FILE] [--lockstep FILE] [--python FILE]
#
# --plugin, --cpu-plugin and --lockstep name PJRT plugins and a built program; else the plugins are found or installed, and the
# program is built. --python names a Python that has JAX; else python3 if it has, else a virtual environment is made. Files are
# named in full or from the root of the repository. --device cpu is for trying this script where there is no GPU.
set -uo pipefail
cd "$(dirname "$0")/.."
export device plugin cpu_plugin lockstep python out small

# A command of lockstep's on the device, and one on the CPU to compare with.
run() { "$lockstep" "$@" --device "$device" ${plugin:+--plugin "$plugin"}; }
run_on_cpu() { "$lockstep" "$@" --device cpu --no-kernels ${cpu_plugin:+--plugin "$cpu_plugin"}; }
field() { python3 -c 'import json,sys; print(sys.argv[1].format(**json.load(sys.stdin)))' "$1"; }

machine() { nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; }

build() { cargo build --release --locked && echo "built"; }

# A plugin for cuda that is there, or that is installed now.
find_plugin() {
  list() { "$lockstep" plugin list | grep '^cuda' | grep -o '/.*\.so' | head -n 1; }
  found=$(list) || { "$lockstep" plugin install cuda12 && found=$(list); } || return 1
  echo "$found" | tee "$out/plugin"
}

find_jax() {
  usable() { "$1" -c "import jax; assert jax.default_backend() == '$([ "$device" = cpu ] && echo cpu || echo gpu)'"; }
  venv=${BENCH_VENV:-target/bench-venv-$device}
  for candidate in $python python3 "$venv/bin/python"; do
    if usable "$candidate"; then echo "$candidate" >"$out/python"; break; fi
  done
  if [ ! -s "$out/python" ]; then
    python3 -m venv "$venv" || return 1
    "$venv/bin/pip" install --quiet "jax$([ "$device" = cpu ] || echo '[cuda12]')" || return 1
    usable "$venv/bin/python" && echo "$venv/bin/python" >"$out/python" || return 1
  fi
  "$(cat "$out/python")" -c "import jax; print('jax', jax.__version__, jax.devices()[0].device_kind)"
}

# The recorded transitions, each played on the device.
golden() { run verify hackmatrix jax_env_spec/hackmatrix/golden.jsonl.gz --seeds 5 | tail -n 1; }

# The same random games on both: what is an integer is equal, rewards nearly.
same_games() {
  local name=$1
  run eval random --env "$name" --episodes 512 --json >"$out/$name-device.json" || return 1
  run_on_cpu eval random --env "$name" --episodes 512 --json >"$out/$name-cpu.json" || return 1
  python3 - "$out/$name-cpu.json" "$out/$name-device.json" <<'PY'
import json, sys
cpu, device = (json.load(open(path)) for path in sys.argv[1:])
exact = ["steps", "finished", "episode_length"] + [key for key in cpu if key.startswith("stats/")]
wrong = [key for key in exact if cpu[key] != device[key]]
largest = 0.0
for group in ["episode_return", "per_step"]:
    for key, value in cpu[group].items():
        largest = max(largest, abs(value - device[group][key]) / max(1.0, abs(value)))
print(f"{cpu['steps']} steps: {'differ in ' + ', '.join(wrong) if wrong else 'the same'}; rewards within {largest:.1e}")
sys.exit(bool(wrong) or largest > 1e-4)
PY
}

# bench ENV SIZE [flags]
bench() {
  run bench --env "$1" --num-envs "$2" --json "${@:3}" | field \
    '{steps_per_second:,.0f} steps/s training, {env_steps_per_second:,.0f} environment; compiled in {compile_seconds:.1f} s ({cache})'
}

bench_jax() {
  "$(cat "$out/python")" scripts/bench_jax.py --num-envs "$1" | field \
    '{steps_per_second:,} steps/s training; compiled in {compile_seconds:.1f} s'
}

# learn ENV STEPS [flags]: trains and plays with what was learned.
learn() {
  local dir="$out/runs" name="learn-$1"
  run train --env "$1" --num-envs "$small" --total-timesteps "$2" --checkpoint-dir "$dir" --run-name "$name" --no-wandb \
    "${@:3}" || return 1
  for params in random "$dir/$name/final_params.safetensors"; do
    run eval "$params" --env "$1" --episodes 256 --json >"$dir/$name-eval.json" || return 1
    python3 -c 'import json,sys; print("%.2f" % json.load(sys.stdin)["episode_return"]["mean"])' <"$dir/$name-eval.json"
  done | paste -sd' ' | sed 's/\(.*\) \(.*\)/mean return \2, random play \1/'
}

# The same run twice: the parameters are the same bytes.
twice() {
  local dir="$out/runs" sums=()
  for name in "$1-first" "$1-second"; do
    run train --env "$1" --num-envs "$small" --total-timesteps $((small * 128 * 4)) --deterministic \
      --checkpoint-dir "$dir" --run-name "$name" --no-wandb || return 1
    sums+=("$(sha256sum <"$dir/$name/final_params.safetensors" | cut -c1-16)")
  done
  echo "sha256 ${sums[*]}"
  [ "${sums[0]}" = "${sums[1]}" ]
}

# On two devices: as many steps/s as `train --json` tells on one, on two of one process, and on one of each of two processes. The last two
# have the same parameters.
two_devices() {
  local dir="$out/runs" shape name rates=() sums=()
  mkdir -p "$dir"
  for shape in "1 1" "1 2" "2 1"; do
    read -r processes devices <<<"$shape"
    name="two-$1-${processes}x$devices"
    run train --env "$1" --num-envs "$small" --total-timesteps $((small * 128 * $2)) --deterministic --json --checkpoint-dir "$dir" \
      --run-name "$name" --no-wandb --nproc-per-node "$processes" --devices "$devices" >"$dir/$name.json" || return 1
    rates+=("${processes}x$devices $(field '{steps_per_second:,.0f}' <"$dir/$name.json")")
    sums+=("$(sha256sum <"$dir/$name/final_params.safetensors" | cut -c1-16)")
  done
  printf 'steps/s in processes x devices: %s, %s, %s; ' "${rates[@]}"
  [ "${sums[1]}" = "${sums[2]}" ] && echo "1x2 and 2x1 are the same" || { echo "1x2 and 2x1 DIFFER"; return 1; }
}
devices() { [ "$device" = cpu ] && echo 2 || nvidia-smi --query-gpu=name --format=csv,noheader | wc -l; }

# Loops whose end is known on the device only, as parts of CUDA graphs: off by default in XLA.
with_graphs() { XLA_FLAGS="--xla_gpu_enable_command_buffer=+WHILE ${XLA_FLAGS:-}" "$@"; }
without_graphs() { XLA_FLAGS="--xla_gpu_enable_command_buffer= ${XLA_FLAGS:-}" "$@"; }

# Each part is this script again, so that it can be cut off as a whole.
if [ "${1:-}" = --part ]; then
  "${@:2}"
  exit
fi

device=cuda minutes=9 out=target/bench-gpu sizes="" plugin="" cpu_plugin="" lockstep="" python=""
while [ $# -gt 1 ]; do
  case $1 in
    --device) device=$2 ;; --minutes) minutes=$2 ;; --out) out=$2 ;; --sizes) sizes=$2 ;;
    --plugin) plugin=$2 ;; --cpu-plugin) cpu_plugin=$2 ;; --lockstep) lockstep=$2 ;; --python) python=$2 ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
  shift 2
done
[ $# = 0 ] || { echo "$1 needs a value" >&2; exit 2; }
[ "$device" = cpu ] && sizes=${sizes:-16 32 64}
read -r small middle large <<<"${sizes:-2048 8192 32768}"
middle=${middle:-$small} large=${large:-$middle}
steps() { [ "$device" = cpu ] && echo "$1" || echo "$2"; } # training steps: few on cpu
deadline=$((SECONDS + minutes * 60))
rm -rf "$out" && mkdir -p "$out"
table=$out/table.tsv

# part NAME SECONDS COMMAND...: runs a function of this script for at most so long. Its last line on stdout is the result.
part() {
  local name=$1 limit=$2 log="$out/${1//[^a-zA-Z0-9]/_}" left=$((deadline - SECONDS)) began=$SECONDS status word said
  shift 2
  [ "$limit" -gt "$left" ] && limit=$left
  if [ "$limit" -lt 5 ]; then
    printf '%s\tno time left\n' "$name" >>"$table"
    return 1
  fi
  printf '== %s\n' "$name" >&2
  timeout --kill-after=5 "$limit" scripts/bench_gpu.sh --part "$@" >"$log.out" 2>"$log.log"
  status=$?
  case $status in 0) word=ok ;; 124 | 137) word="cut off" ;; *) word=FAILED ;; esac
  said=$(tail -n 1 "$log.out")
  [ $status = 0 ] || said="$said $(grep -E '^error' "$log.log" | tail -n 1 | cut -c1-160)"
  printf '%s\t%s\t%s\t%s s\n' "$name" "$word" "$said" $((SECONDS - began)) | tee -a "$table" >&2
  return $status
}

[ "$device" = cuda ] && part "machine" 20 machine
if [ -z "$lockstep" ]; then
  lockstep=target/release/lockstep
  part "build" 400 build || exit 1
fi
if [ "$device" = cuda ] && [ -z "$plugin" ]; then
  part "plugin" 240 find_plugin && plugin=$(cat "$out/plugin")
fi

part "golden transitions of hackmatrix" 120 golden
part "cartpole: games as on the CPU" 90 same_games cartpole
for size in $small $middle $large; do part "cartpole $size" 90 bench cartpole "$size"; done
part "hackmatrix $small" 150 bench hackmatrix "$small"
part "hackmatrix: games as on the CPU" 120 same_games hackmatrix
if [ "$device" = cuda ]; then
  part "cartpole $small, loops in CUDA graphs" 90 with_graphs bench cartpole "$small"
  part "hackmatrix $small, loops in CUDA graphs" 150 with_graphs bench hackmatrix "$small"
fi
part "cartpole, deterministic twice" 120 twice cartpole
part "cartpole learns" 120 learn cartpole "$(steps 100000 8000000)"
part "jax" 200 find_jax && for size in $small $middle $large; do part "jax, cartpole $size" 90 bench_jax "$size"; done
part "hackmatrix $large" 150 bench hackmatrix "$large"
if [ "$(devices)" -ge 2 ]; then
  part "cartpole on two devices" 120 two_devices cartpole "$(steps 4 64)"
  part "hackmatrix on two devices" 200 two_devices hackmatrix "$(steps 2 16)"
else
  printf 'two devices\tskipped\tthis machine has one GPU\n' | tee -a "$table" >&2
fi
for precision in tf32 bf16; do
  part "cartpole $middle, $precision" 90 bench cartpole "$middle" --precision "$precision"
  part "hackmatrix $small, $precision" 150 bench hackmatrix "$small" --precision "$precision"
done
part "cartpole $middle, deterministic" 90 bench cartpole "$middle" --deterministic
part "hackmatrix learns" 200 learn hackmatrix "$(steps 20000 6000000)"
part "hackmatrix $middle" 150 bench hackmatrix "$middle"
part "hackmatrix, deterministic twice" 200 twice hackmatrix
if [ "$device" = cuda ]; then
  part "cartpole $small, no CUDA graphs" 90 without_graphs bench cartpole "$small"
fi

printf '\n'
column -ts $'\t' "$table"
! grep -q FAILED "$table"
