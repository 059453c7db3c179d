#!/usr/bin/env python3
"""The training step of the grid world's network, in turn with the same step in PyTorch on the same processor.

The network is that of `train --env goodharts`: convolutions of 32, 64 and 64 filters (3 x 3, zeros around, ReLU) over a view of
2 x 11 x 11, a layer of 512, the policy's 8 logits, and a critic that reads the 512 features and 244 privileged numbers through a
layer of 512. A step goes forwards, takes PPO's loss, goes backwards, and makes a step of Adam. What PyTorch needs is timed
directly, on batches of a size that suits it. Of ours it is the difference between updates of several epochs and of one, so that
the rollout of an update does not count.

    scripts/bench_torch.py [--pairs N] [--precision f32|bf16] [--batch N] [--bin PATH]

PyTorch is installed from PyPI into a virtual environment, `$BENCH_TORCH_VENV` or target/torch-venv.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ENVS, STEPS, VIEW, ACTIONS, PRIVILEGED, HIDDEN = 192, 128, 11, 8, 244, 512
FILTERS = [32, 64, 64]
CLIP, VALUE, ENTROPY, MAX_NORM, LR = 0.2, 0.5, 0.01, 0.5, 3e-4


def torch_samples_per_second(precision, batch, steps=3):
    """Samples per second of the step in PyTorch: the median of a few steps after a first one."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    conv = []
    for before, filters in zip([2, *FILTERS], FILTERS):
        conv += [nn.Conv2d(before, filters, 3, padding=1), nn.ReLU()]
    trunk = nn.Sequential(*conv, nn.Flatten(), nn.Linear(FILTERS[-1] * VIEW * VIEW, HIDDEN), nn.ReLU())
    actor = nn.Linear(HIDDEN, ACTIONS)
    critic = nn.Sequential(nn.Linear(HIDDEN + PRIVILEGED, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    params = [p for part in (trunk, actor, critic) for p in part.parameters()]
    optimizer = torch.optim.Adam(params, lr=LR)
    # About as many cells hold something as in a world of the game.
    view = (torch.rand(batch, 2, VIEW, VIEW) < 0.05).float()
    privileged = torch.rand(batch, PRIVILEGED)
    action = torch.randint(ACTIONS, (batch,))
    old_log_prob, advantage, target = torch.full((batch,), -2.08), torch.randn(batch), torch.randn(batch)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            features = trunk(view)
            logits, value = actor(features), critic(torch.cat([features, privileged], 1))[:, 0]
        log_probs = torch.log_softmax(logits.float(), -1)
        ratio = (log_probs.gather(1, action[:, None])[:, 0] - old_log_prob).exp()
        policy = -torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
        entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
        loss = policy + VALUE * (value.float() - target).square().mean() - ENTROPY * entropy
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, MAX_NORM)
        optimizer.step()

    step()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds)


def our_samples_per_second(binary, precision, more=4):
    """Samples per second of the step in ours, from updates of `1 + more` epochs and of one."""

    def seconds(epochs):
        command = [binary, "bench", "--env", "goodharts", "--updates", "1", "--json", "--set", f"update_epochs={epochs}"]
        command += ["--num-envs", str(ENVS), "--num-steps", str(STEPS), "--precision", precision]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return ENVS * STEPS / found["steps_per_second"]

    return more * ENVS * STEPS / (seconds(1 + more) - seconds(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--batch", type=int, default=1024, help="samples of a step in PyTorch")
    parser.add_argument("--bin", default="target/release/lockstep")
    parser.add_argument("--torch-alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_alone:
        return print(torch_samples_per_second(args.precision, args.batch))
    venv = os.environ.get("BENCH_TORCH_VENV", "target/torch-venv")
    python = os.path.join(venv, "bin/python")
    has_torch = os.path.exists(python) and subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
    if not has_torch:
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch", "numpy"], check=True)
    pairs = []
    for pair in range(1, args.pairs + 1):
        command = [python, __file__, "--torch-alone", "--precision", args.precision, "--batch", str(args.batch)]
        theirs = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ours = our_samples_per_second(args.bin, args.precision)
        pairs.append((ours, theirs))
        print(f"  pair {pair}: lockstep {ours:>8,.0f} samples/s, PyTorch {theirs:>8,.0f}, ratio {ours / theirs:.2f}", flush=True)
    ours, theirs = (statistics.median(side) for side in zip(*pairs))
    print(f"{args.precision}: lockstep {ours:,.0f}, PyTorch {theirs:,.0f} samples/s, ratio {ours / theirs:.2f}")


main()
