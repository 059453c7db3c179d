"""Records what jax.random gives, as known answers for lockstep's own random numbers.

    pip install jax
    python scripts/record_jax_random.py > tests/data/jax_random.json

JAX's default configuration (threefry2x32, partitionable); 64-bit types are enabled only where the
recorded values have 64 bits. Keys are pairs of 32-bit words. Floats are written as their bit patterns,
because a JSON reader may round.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np

SEEDS = [0, 1, 42, 2**31 - 1, 2**32 - 1]
WIDE_SEEDS = [2**32, 2**40 + 5, 2**63 - 1]
SHAPES = [[], [1], [5], [2, 3]]
RANGES = [(0.0, 1.0), (-0.05, 0.05), (-3.0, 7.0)]


def words(key):
    return jax.random.key_data(key).tolist()


def array(values):
    unsigned = np.dtype(f"uint{8 * values.dtype.itemsize}")
    return {"shape": list(values.shape), "bits": np.asarray(values).reshape(-1).view(unsigned).tolist()}


def bits(key, width):
    dtype = jnp.dtype(f"uint{width}")
    return [array(jax.random.bits(key, tuple(shape), dtype)) for shape in SHAPES]


def uniform(key, dtype):
    return [
        {"low": low, "high": high, **array(jax.random.uniform(key, tuple(shape), dtype, low, high))}
        for shape in SHAPES
        for low, high in RANGES
    ]


def record(seed):
    key = jax.random.key(seed)
    result = {
        "seed": seed,
        "key": words(key),
        "split": [words(jax.random.split(key, count)) for count in (2, 3, 8)],
        "fold_in": [{"data": data, "key": words(jax.random.fold_in(key, data))} for data in (0, 1, 7, 2**32 - 1)],
        "bits": {str(width): bits(key, width) for width in (8, 16, 32)},
        "uniform": {"f32": uniform(key, jnp.float32), "bf16": uniform(key, jnp.bfloat16)},
    }
    with jax.enable_x64(True):
        result["bits"]["64"] = bits(key, 64)
        result["uniform"]["f64"] = uniform(key, jnp.float64)
    return result


def main():
    assert jax.config.jax_threefry_partitionable and not jax.config.jax_enable_x64
    with jax.enable_x64(True):
        wide = [{"seed": seed, "key": words(jax.random.key(seed))} for seed in WIDE_SEEDS]
    seeds = [record(seed) for seed in SEEDS]
    print(json.dumps({"jax": jax.__version__, "seeds": seeds, "wide_seeds": wide}, separators=(",", ":")))


main()
