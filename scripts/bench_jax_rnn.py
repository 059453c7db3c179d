"""Recurrent PPO on CartPole in JAX, in the structure of PureJaxRL's `ppo_rnn.py`: the other side of `lockstep bench --rnn gru`.

As `bench_jax.py`, but the observation goes through a GRU whose state is zeroed where an episode begins, minibatches are whole
sequences of some environments, and the GRU runs again over each of them from the state at the start of the rollout. Both sides have the same layers:
a GRU of 128 units over the observation, then an actor and a critic with a hidden layer of 128 each. Prints one JSON object.
"""

import jax
import jax.numpy as jnp

from bench_jax import (
    CLIP, ENT, EPOCHS, GAMMA, LAMBDA, LR, MINIBATCHES, VF, adam, arguments, dense, env_reset, env_step, measure, mlp, take,
)

UNITS = 128


def network_init(key):
    keys = jax.random.split(key, 6)
    root2 = 2**0.5
    return {
        "input": dense(keys[0], 4, 3 * UNITS, 1.0),
        "hidden": dense(keys[1], UNITS, 3 * UNITS, 1.0),
        "actor": [dense(keys[2], UNITS, UNITS, root2), dense(keys[3], UNITS, 2, 0.01)],
        "critic": [dense(keys[4], UNITS, UNITS, root2), dense(keys[5], UNITS, 1, 1.0)],
    }


def gru(cell, carry, read, starts):
    """One step from what the input product gives; `carry` is zeroed where an episode begins."""
    carry = jnp.where(starts[:, None], 0.0, carry)
    mixed = carry @ cell["w"] + cell["b"]
    r, z, n = jnp.split(read, 3, axis=-1)
    hr, hz, hn = jnp.split(mixed, 3, axis=-1)
    r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
    n = jnp.tanh(n + r * hn)
    carry = (1 - z) * n + z * carry
    return carry, carry


def heads(params, x):
    return jax.nn.log_softmax(mlp(params["actor"], x)), mlp(params["critic"], x)[..., 0]


def apply(params, carry, obs, starts):
    """One step of all environments."""
    read = obs @ params["input"]["w"] + params["input"]["b"]
    carry, x = gru(params["hidden"], carry, read, starts)
    return carry, *heads(params, x)


def apply_sequence(params, carry, obs, starts):
    """All steps `[T, N, ...]`: one product for the inputs, a scan for the state, one pass for the heads."""
    read = obs @ params["input"]["w"] + params["input"]["b"]
    _, x = jax.lax.scan(lambda carry, t: gru(params["hidden"], carry, *t), carry, (read, starts))
    return heads(params, x)


def loss_fn(params, batch):
    carry, obs, starts, action, old_log_prob, old_value, advantage, target = batch
    log_probs, value = apply_sequence(params, carry, obs, starts)
    log_prob = take(log_probs, action)
    clipped = old_value + jnp.clip(value - old_value, -CLIP, CLIP)
    vf = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
    ratio = jnp.exp(log_prob - old_log_prob)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    pg = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
    return pg + VF * vf - ENT * entropy


def make_update(num_envs, num_steps, total_updates):
    def update(state):
        params, optimizer, env, obs, starts, carry, key, done_updates = state
        first = carry

        def step(running, _):
            env, obs, starts, carry, key = running
            key, action_key, env_key = jax.random.split(key, 3)
            carry, log_probs, value = apply(params, carry, obs, starts)
            action = jax.random.categorical(action_key, log_probs)
            env, reward, done = jax.vmap(env_step)(jax.random.split(env_key, num_envs), env, action)
            told = (obs, starts, action, take(log_probs, action), value, reward, done)
            return (env, env["x"], done, carry, key), told

        running = (env, obs, starts, carry, key)
        (env, obs, starts, carry, key), traj = jax.lax.scan(step, running, None, num_steps)
        t_obs, t_starts, action, log_prob, value, reward, done = traj
        _, _, last_value = apply(params, carry, obs, starts)

        def back(running, t):
            gae, next_value = running
            value, reward, done = t
            delta = reward + GAMMA * next_value * (1 - done) - value
            gae = delta + GAMMA * LAMBDA * (1 - done) * gae
            return (gae, value), gae

        _, advantage = jax.lax.scan(
            back, (jnp.zeros_like(last_value), last_value), (value, reward, done), reverse=True
        )
        batch = (t_obs, t_starts, action, log_prob, value, advantage, advantage + value)
        lr = LR * (1 - done_updates / total_updates)

        def epoch(running, _):
            params, optimizer, key = running
            key, shuffle_key = jax.random.split(key)
            order = jax.random.permutation(shuffle_key, num_envs)
            part = num_envs // MINIBATCHES
            # [T, N, ...] as [minibatches, T, part, ...]
            shuffled = jax.tree.map(
                lambda x: jnp.moveaxis(x[:, order].reshape((num_steps, MINIBATCHES, part) + x.shape[2:]), 1, 0), batch
            )
            firsts = first[order].reshape(MINIBATCHES, part, UNITS)

            def minibatch(running, rows):
                params, (m, v, count) = running
                loss, grads = jax.value_and_grad(loss_fn)(params, (rows[0], *rows[1]))
                params, m, v, count = adam(params, m, v, count, grads, lr)
                return (params, (m, v, count)), loss

            (params, optimizer), losses = jax.lax.scan(minibatch, (params, optimizer), (firsts, shuffled))
            return (params, optimizer, key), losses.mean()

        (params, optimizer, key), losses = jax.lax.scan(epoch, (params, optimizer, key), None, EPOCHS)
        state = (params, optimizer, env, obs, starts, carry, key, done_updates + 1)
        return state, {"loss": losses.mean(), "episodes": done.sum()}

    return update


def main():
    args = arguments(64, 128)
    key, net_key, env_key = jax.random.split(jax.random.key(0), 3)
    params = network_init(net_key)
    env = jax.vmap(env_reset)(jax.random.split(env_key, args.num_envs))
    optimizer = (jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))
    starts, carry = jnp.ones(args.num_envs, bool), jnp.zeros((args.num_envs, UNITS))
    state = (params, optimizer, env, env["x"], starts, carry, key, jnp.zeros(()))
    measure(make_update(args.num_envs, args.num_steps, args.updates + 1), state, args)


if __name__ == "__main__":
    main()
