"""DQN on CartPole in JAX, in the structure of PureJaxRL: the other side of `lockstep bench --env cartpole --algo dqn`.

A vmapped environment with automatic reset steps once, the transitions go into a ring in the training state, and a gradient step on
a uniform draw follows, with the targets of a copy that is renewed now and then (double Q: the network itself chooses the action); a scan makes many such steps one jitted function
of the training state. Environment, layers and Adam are those of `bench_jax.py`. Prints one JSON object.
"""

import jax
import jax.numpy as jnp

from bench_jax import adam, arguments, dense, env_reset, env_step, measure, take

GAMMA, LR, REPLAY, BATCH, TARGET_EVERY, LEARNING_STARTS = 0.99, 5e-4, 50_000, 128, 500, 1_000
EPSILON, EPSILON_MIN, EPSILON_DECAY = 1.0, 0.02, 0.99997


def network_init(key, hidden):
    keys = jax.random.split(key, 3)
    return [dense(k, *size) for k, size in zip(keys, [(4, hidden, 2**0.5), (hidden, hidden, 2**0.5), (hidden, 2, 1.0)])]


def q_values(layers, x):
    for layer in layers[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def loss_fn(params, target, batch):
    choice = q_values(params, batch["next_obs"]).argmax(-1)
    next_value = take(q_values(target, batch["next_obs"]), choice)
    goal = batch["reward"] + GAMMA * (1 - batch["done"]) * next_value
    return ((take(q_values(params, batch["obs"]), batch["action"]) - goal) ** 2).mean()


def make_update(num_envs, num_steps):
    def step(state, key):
        act_key, random_key, env_key, draw_key = jax.random.split(key, 4)
        params, target, optimizer, replay, env, steps = (state[k] for k in ("params", "target", "optimizer", "replay", "env", "steps"))
        obs = env["x"]
        epsilon = jnp.maximum(EPSILON * EPSILON_DECAY**steps, EPSILON_MIN)
        random = jax.random.randint(random_key, (num_envs,), 0, 2)
        explore = jax.random.uniform(act_key, (num_envs,)) < epsilon
        action = jnp.where(explore, random, q_values(params, obs).argmax(-1))
        env, reward, done = jax.vmap(env_step)(jax.random.split(env_key, num_envs), env, action)
        rows = {"obs": obs, "action": action, "reward": reward, "done": done.astype(jnp.float32), "next_obs": env["x"]}
        at = steps % REPLAY
        replay = jax.tree.map(lambda all, new: jax.lax.dynamic_update_slice_in_dim(all, new, at, 0), replay, rows)
        steps = steps + num_envs

        def learn(learned):
            params, (m, v, count) = learned
            batch = jax.tree.map(lambda all: all[jax.random.randint(draw_key, (BATCH,), 0, jnp.minimum(steps, REPLAY))], replay)
            loss, grads = jax.value_and_grad(loss_fn)(params, target, batch)
            params, m, v, count = adam(params, m, v, count, grads, LR)
            return (params, (m, v, count)), loss

        enough = steps >= LEARNING_STARTS
        (params, optimizer), loss = jax.lax.cond(enough, learn, lambda learned: (learned, 0.0), (params, optimizer))
        due = steps % TARGET_EVERY < num_envs
        target = jax.tree.map(lambda new, old: jnp.where(due, new, old), params, target)
        state = {"params": params, "target": target, "optimizer": optimizer, "replay": replay, "env": env, "steps": steps}
        return state, loss

    def update(carry):
        state, key = carry
        key, steps_key = jax.random.split(key)
        state, losses = jax.lax.scan(step, state, jax.random.split(steps_key, num_steps))
        return (state, key), losses.mean()

    return update


def main():
    args = arguments(10, 500, hidden_dim=64)
    key, net_key, env_key = jax.random.split(jax.random.key(0), 3)
    params = network_init(net_key, args.hidden_dim)
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    env = jax.vmap(env_reset)(jax.random.split(env_key, args.num_envs))
    replay = {
        "obs": jnp.zeros((REPLAY, 4)), "action": jnp.zeros(REPLAY, jnp.int32), "reward": jnp.zeros(REPLAY),
        "done": jnp.zeros(REPLAY), "next_obs": jnp.zeros((REPLAY, 4)),
    }
    state = {
        "params": params, "target": params, "optimizer": (zeros(), zeros(), jnp.zeros(())), "replay": replay, "env": env,
        "steps": jnp.int32(0),
    }
    until_all_learn = 1 + LEARNING_STARTS // (args.num_envs * args.num_steps)
    measure(make_update(args.num_envs, args.num_steps), (state, key), args, warm=until_all_learn, algo="dqn")


if __name__ == "__main__":
    main()
