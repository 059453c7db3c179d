/*
 * CartPole as a native environment: a pole on a cart that is pushed left or right (the rules of Gymnasium's CartPole-v1).
 *
 *   cc -O3 -march=native -shared -fPIC -I include -o libcartpole.so docs/native/cartpole.c -lm
 *   lockstep train --env native:./libcartpole.so
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lockstep_env.h"

/* The whole state: plain data. */
typedef struct {
  float x, x_dot, theta, theta_dot;
  int32_t time;
} CartPole;

enum { GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, PUSH, TAU, MAX_X, MAX_THETA, MAX_STEPS, NUM_PARAMS };

static const lockstep_param params[NUM_PARAMS] = {
    [GRAVITY] = {"gravity", "acceleration of gravity, m/s2", 9.8f, 0, 100},
    [CART_MASS] = {"cart_mass", "kg", 1.0f, 0.01f, 100},
    [POLE_MASS] = {"pole_mass", "kg", 0.1f, 0.001f, 10},
    [HALF_LENGTH] = {"half_length", "half of the pole's length, m", 0.5f, 0.01f, 10},
    [PUSH] = {"push", "force of a push, N", 10.0f, 0, 1000},
    [TAU] = {"tau", "seconds per step", 0.02f, 0.001f, 1},
    [MAX_X] = {"max_x", "where the track ends, m", 2.4f, 0.1f, 100},
    [MAX_THETA] = {"max_theta", "where the pole has fallen, rad", 0.20943951f, 0.01f, 1.5f},
    [MAX_STEPS] = {"max_steps", "steps of the longest episode", 500, 1, 100000},
};

/* The next 32 random bits of a seed (SplitMix64, Steele, Lea and Flood 2014). */
static uint32_t random_bits(uint64_t *seed) {
  uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)(z >> 32);
}

static float uniform(uint64_t *seed, float low, float high) {
  return low + (high - low) * ((float)(random_bits(seed) >> 8) * 0x1p-24f);
}

static int32_t reset(int64_t count, const float *p, const uint64_t *seeds, void *states) {
  (void)p;
  CartPole *all = states;
  for (int64_t i = 0; i < count; i++) {
    uint64_t seed = seeds[i];
    all[i].x = uniform(&seed, -0.05f, 0.05f);
    all[i].x_dot = uniform(&seed, -0.05f, 0.05f);
    all[i].theta = uniform(&seed, -0.05f, 0.05f);
    all[i].theta_dot = uniform(&seed, -0.05f, 0.05f);
    all[i].time = 0;
  }
  return 0;
}

static int32_t step(int64_t count, const float *p, const uint64_t *seeds, const int32_t *actions, void *states,
                    float *rewards, uint8_t *terminated, uint8_t *truncated, float *metrics) {
  (void)seeds, (void)metrics; /* not random, no metrics */
  const float total_mass = p[CART_MASS] + p[POLE_MASS], pole_moment = p[POLE_MASS] * p[HALF_LENGTH];
  const int32_t max_steps = (int32_t)p[MAX_STEPS];
  CartPole *all = states;
  for (int64_t i = 0; i < count; i++) {
    CartPole s = all[i];
    const float force = actions[i] == 1 ? p[PUSH] : -p[PUSH];
    const float c = cosf(s.theta), sn = sinf(s.theta);
    const float push = (force + pole_moment * s.theta_dot * s.theta_dot * sn) / total_mass;
    const float theta_acc =
        (p[GRAVITY] * sn - c * push) / (p[HALF_LENGTH] * (4.0f / 3.0f - p[POLE_MASS] * c * c / total_mass));
    const float x_acc = push - pole_moment * theta_acc * c / total_mass;
    s.x += p[TAU] * s.x_dot;
    s.x_dot += p[TAU] * x_acc;
    s.theta += p[TAU] * s.theta_dot;
    s.theta_dot += p[TAU] * theta_acc;
    s.time += 1;
    all[i] = s;
    rewards[i] = 1.0f;
    terminated[i] = fabsf(s.x) > p[MAX_X] || fabsf(s.theta) > p[MAX_THETA];
    truncated[i] = s.time >= max_steps;
  }
  return 0;
}

static int32_t observe(int64_t count, const float *p, const void *states, float *obs) {
  (void)p;
  const CartPole *all = states;
  for (int64_t i = 0; i < count; i++) {
    obs[4 * i] = all[i].x;
    obs[4 * i + 1] = all[i].x_dot;
    obs[4 * i + 2] = all[i].theta;
    obs[4 * i + 3] = all[i].theta_dot;
  }
  return 0;
}

static int32_t picture(const float *p, const void *state, char *text, int64_t capacity) {
  enum { WIDTH = 49 };
  const CartPole *s = state;
  char pole[WIDTH + 1], track[WIDTH + 1];
  memset(pole, ' ', WIDTH);
  memset(track, '_', WIDTH);
  pole[WIDTH] = track[WIDTH] = 0;
  int at = (int)lroundf((s->x / p[MAX_X] + 1) / 2 * (WIDTH - 1));
  at = at < 0 ? 0 : at >= WIDTH ? WIDTH - 1 : at;
  const float lean = s->theta / p[MAX_THETA];
  pole[at] = lean < -0.2f ? '\\' : lean > 0.2f ? '/' : '|';
  track[at] = '#';
  int written = snprintf(text, (size_t)capacity, "%s\n%s\nangle %+.3f rad, step %d\n", pole, track, s->theta, s->time);
  return written < 0;
}

LOCKSTEP_EXPORT const lockstep_env *lockstep_env_make(void) {
  static const int64_t shape[] = {4};
  static const char *const names[] = {"position", "velocity", "angle", "angular velocity"};
  static const char *const actions[] = {"left", "right"};
  static const lockstep_env env = {
      .abi = LOCKSTEP_ENV_ABI,
      .flags = LOCKSTEP_TRUNCATES,
      .name = "cartpole",
      .summary = "balance a pole on a cart, in C",
      .state_size = sizeof(CartPole),
      .num_actions = 2,
      .obs_rank = 1,
      .obs_shape = shape,
      .obs_names = names,
      .action_names = actions,
      .num_params = NUM_PARAMS,
      .params = params,
      .defaults = "num_envs = 64\nlr = 1e-3\nent_coef = 0.01\nhidden_dim = 64\nnum_minibatches = 8\n",
      .reset = reset,
      .step = step,
      .observe = observe,
      .picture = picture,
  };
  return &env;
}
