/* A walk on a line: everything that cartpole.c does not have (a mask, metrics, steps that are random), no parameters, and, by
 * -D, what a library can do wrong. */
#include <math.h>
#include <stddef.h>

#include "lockstep_env.h"

typedef struct {
  int32_t at, moves;
} Walk;

enum { LEFT, STAY, RIGHT };
enum { END = 3 };

#ifndef ABI
#define ABI LOCKSTEP_ENV_ABI
#endif
#ifndef STATE_SIZE
#define STATE_SIZE sizeof(Walk)
#endif
#ifndef ACTIONS
#define ACTIONS 3
#endif
#ifndef RANK
#define RANK 2
#endif
#ifndef ROWS
#define ROWS 2
#endif
#ifndef NAME
#define NAME "walk"
#endif
#ifndef FAILS_AFTER
#define FAILS_AFTER 1000000
#endif

static int32_t reset(int64_t count, const float *params, const uint64_t *seeds, void *states) {
  (void)params;
  Walk *all = states;
  for (int64_t i = 0; i < count; i++) {
    all[i].at = (int32_t)(seeds[i] >> 32) % 2;
#ifdef IMPURE
    static int32_t calls;
    all[i].moves = ++calls;
#endif
  }
  return 0;
}

static int32_t step(int64_t count, const float *params, const uint64_t *seeds, const int32_t *actions, void *states,
                    float *rewards, uint8_t *terminated, uint8_t *truncated, float *metrics) {
  (void)params, (void)truncated;
  Walk *all = states;
  for (int64_t i = 0; i < count; i++) {
#ifdef FAILS_SOMEWHERE
    if ((seeds[i] & 0xff) == 0) return 7;
#endif
    if (++all[i].moves > FAILS_AFTER) return 7;
#ifdef SLOW
    for (volatile int spin = 0; spin < 5000; spin++) {}
#endif
    int slips = (seeds[i] & 3) == 0;
    all[i].at += slips ? 0 : actions[i] - STAY;
    if (all[i].at < -END) all[i].at = -END;
    rewards[i] = all[i].at == END ? 1.0f : 0.0f;
    if (all[i].at == END || all[i].moves >= 20) terminated[i] = 255;
    metrics[2 * i] = (float)slips;
    metrics[2 * i + 1] = (float)all[i].at;
  }
  return 0;
}

static int32_t observe(int64_t count, const float *params, const void *states, float *obs) {
  (void)params;
  const Walk *all = states;
  for (int64_t i = 0; i < count; i++) {
    obs[2 * i] = (float)all[i].at / END;
#ifdef NAN_OBS
    obs[2 * i + 1] = all[i].moves > 3 ? NAN : 0.0f;
#elif !defined(UNWRITTEN)
    obs[2 * i + 1] = (float)all[i].moves / 20.0f;
#endif
  }
  return 0;
}

static int32_t mask(int64_t count, const float *params, const void *states, uint8_t *allowed) {
  (void)params;
  const Walk *all = states;
  for (int64_t i = 0; i < count; i++) {
#ifndef NOTHING_ALLOWED
    allowed[3 * i + LEFT] = all[i].at > -END;
    allowed[3 * i + STAY] = 1;
    allowed[3 * i + RIGHT] = 2;
#else
    (void)all, (void)allowed;
#endif
  }
  return 0;
}

static const char *message(int32_t error) { return error == 7 ? "the walker is tired" : NULL; }

#ifdef NO_MAKE
const lockstep_env *another_name(void);
const lockstep_env *another_name(void) {
#else
LOCKSTEP_EXPORT const lockstep_env *lockstep_env_make(void) {
#endif
  static const int64_t shape[] = {ROWS, 1};
  static const lockstep_metric metrics[] = {
      {"slips", "share of the steps that do nothing", NULL, LOCKSTEP_MEAN},
      {"end", "where an episode ends", "places", LOCKSTEP_EPISODE},
  };
  static const lockstep_env env = {
      .abi = ABI,
      .flags = LOCKSTEP_RANDOM_STEPS,
      .name = NAME,
      .state_size = STATE_SIZE,
      .num_actions = ACTIONS,
      .obs_rank = RANK,
      .obs_shape = shape,
      .num_metrics = 2,
      .metrics = metrics,
      .reset = reset,
#ifndef NO_STEP
      .step = step,
#endif
      .observe = observe,
      .mask = mask,
      .message = message,
  };
#ifdef GIVES_NULL
  (void)env;
  return NULL;
#else
  return &env;
#endif
}
