/*
 * Steps a native environment in a plain loop, with nothing of lockstep: the yardstick of `lockstep bench` (scripts/bench_native.sh).
 *
 *   cc -O3 -march=native -I include -o plain_loop docs/native/plain_loop.c -ldl
 *   ./plain_loop ./libcartpole.so 1024 100000
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lockstep_env.h"

static uint64_t bits(uint64_t *state) { /* xorshift64 (Marsaglia 2003) */
  *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
  return *state;
}

static double now(void) {
  struct timespec t;
  timespec_get(&t, TIME_UTC);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int larger(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static void *room(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size ? size : 1);
  if (!memory) exit(1);
  return memory;
}

int main(int argc, char **argv) {
  if (argc != 4) return fprintf(stderr, "plain_loop LIBRARY ENVIRONMENTS STEPS\n"), 2;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
  const lockstep_env *(*make)(void);
  *(void **)&make = dlsym(library, "lockstep_env_make");
  if (!make) return fprintf(stderr, "%s\n", dlerror()), 1;
  const lockstep_env *env = make();
  const int64_t n = atoll(argv[2]), steps = atoll(argv[3]);
  size_t numbers = 1, count = (size_t)n, size = (size_t)env->state_size;
  for (int64_t i = 0; i < env->obs_rank; i++) numbers *= (size_t)env->obs_shape[i];
  float *params = room((size_t)env->num_params, sizeof(float));
  for (int64_t i = 0; i < env->num_params; i++) params[i] = env->params[i].value;
  char *states = room(count, size);
  uint64_t *seeds = room(count, sizeof(uint64_t)), random = 88172645463325252u;
  int32_t *actions = room(count, sizeof(int32_t));
  float *rewards = room(count, sizeof(float)), *obs = room(count * numbers, sizeof(float));
  float *metrics = room(count * (size_t)env->num_metrics, sizeof(float));
  uint8_t *terminated = room(count, 1), *truncated = room(count, 1);
  for (int64_t i = 0; i < n; i++) seeds[i] = bits(&random);
  int failed = env->reset(n, params, seeds, states);
  enum { PARTS = 5 };
  double sum = 0, seconds[PARTS];
  for (int part = 0; part < PARTS && !failed; part++) {
    const double begin = now();
    for (int64_t s = 0; s < steps && !failed; s++) {
      for (int64_t i = 0; i < n; i++) actions[i] = (int32_t)((bits(&random) >> 32) * (uint64_t)env->num_actions >> 32);
      memset(terminated, 0, count);
      memset(truncated, 0, count);
      failed = env->step(n, params, env->flags & LOCKSTEP_RANDOM_STEPS ? seeds : NULL, actions, states, rewards, terminated,
                         env->flags & LOCKSTEP_TRUNCATES ? truncated : NULL, metrics);
      for (int64_t i = 0; i < n; i++) {
        sum += rewards[i];
        if (!terminated[i] && !truncated[i]) continue;
        uint64_t seed = bits(&random);
        memset(states + (size_t)i * size, 0, size);
        failed |= env->reset(1, params, &seed, states + (size_t)i * size);
      }
      failed |= env->observe(n, params, states, obs);
    }
    seconds[part] = now() - begin;
  }
  if (failed) return fprintf(stderr, "the library fails\n"), 1;
  qsort(seconds, PARTS, sizeof(double), larger);
  printf("%s: %lld environments, %.0f steps/s (median) in a plain loop (the rewards sum to %.0f)\n", env->name, (long long)n,
         (double)n * (double)steps / seconds[PARTS / 2], sum);
  return 0;
}
