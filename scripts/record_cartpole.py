"""Records transitions of Gymnasium's CartPole-v1, as known answers for lockstep's own.

    pip install gymnasium
    python scripts/record_cartpole.py jax_env_spec/cartpole/golden.jsonl.gz

One JSON object a line: the state before (x, x_dot, theta, theta_dot) and the steps taken so far, the action, the state
after, reward, terminated, truncated. Whole episodes of a random and of a good policy, and single steps from extreme
states. A state so near to a limit that 32-bit floats may fall on the other side is left out.
"""

import gzip
import json
import math
import random
import sys

import gymnasium

SOURCE = random.Random(0)
LIMITS = [2.4, math.inf, 12 * 2 * math.pi / 360, math.inf]
EXTREMES = [2.4, 4.0, 0.21, 5.0]
MARGIN = 1e-5


def near_a_limit(state):
    return any(abs(abs(value) - limit) < MARGIN for value, limit in zip(state, LIMITS))


def transition(env, steps, action):
    before = [float(value) for value in env.unwrapped.state]
    _, reward, terminated, truncated, _ = env.step(action)
    after = [float(value) for value in env.unwrapped.state]
    return {
        "state": before,
        "steps": steps,
        "action": action,
        "next": after,
        "reward": reward,
        "terminated": bool(terminated),
        "truncated": bool(truncated),
    }


def episode(env, seed, choose):
    env.reset(seed=seed)
    records, over = [], False
    while not over:
        record = transition(env, len(records), choose(env.unwrapped.state))
        records.append(record)
        over = record["terminated"] or record["truncated"]
    return records


def at_random(_state):
    return SOURCE.randrange(2)


def balance(state):
    x, x_dot, theta, theta_dot = state
    return int(theta + 0.5 * theta_dot + 0.02 * x + 0.1 * x_dot > 0)


def extreme(env, count):
    for _ in range(count):
        env.reset(seed=0)
        env.unwrapped.state = tuple(SOURCE.uniform(-size, size) for size in EXTREMES)
        yield transition(env, 0, SOURCE.randrange(2))


def main(path):
    env = gymnasium.make("CartPole-v1")
    records = [record for seed in range(20) for record in episode(env, seed, at_random)]
    records += [record for seed in range(20, 22) for record in episode(env, seed, balance)]
    records += extreme(env, 400)
    records = [record for record in records if not near_a_limit(record["next"])]
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    with open(path, "wb") as file:
        file.write(gzip.compress(lines.encode(), mtime=0))
    ends = {key: sum(record[key] for record in records) for key in ("terminated", "truncated")}
    print(f"gymnasium {gymnasium.__version__}: {len(records)} transitions, {ends}")


main(sys.argv[1])
