/*
 * lockstep_env.h: an environment for lockstep, written in C or in any language that exports C functions.
 *
 * A shared library exports one function, lockstep_env_make(), which gives a description of one environment: sizes, names and
 * functions. `lockstep train --env native:./libmygame.so` loads it; the compiled program then calls its functions for many
 * environments at once, on the processor. docs/native.md explains how to write one, docs/native/cartpole.c is an example.
 *
 * A STATE IS PLAIN DATA. An environment at one moment is `state_size` bytes, usually one struct. lockstep owns the memory, and the
 * bytes are all there is: they are copied, written to checkpoints, moved to another process and read again. So
 *   - a state holds no pointers, handles or descriptors;
 *   - state_size is sizeof the struct, so that each of many states in a row is aligned (up to 16 bytes);
 *   - what a function gives depends on its arguments alone: no global variables that change, no rand(), no clock.
 * Then a run that is resumed goes on bit for bit, and evaluation, replays and several devices need nothing of the library.
 *
 * MANY ENVIRONMENTS. Each function is given `count` environments, count >= 1. Of an array with n entries for each, the entries
 * i*n .. i*n+n-1 are those of environment i. All memory is lockstep's, is valid during the call only, and does not overlap.
 *
 * THREADS. Functions are called from several threads at the same time, on different environments. A call may have any part of
 * the environments, so no environment may depend on its neighbours.
 *
 * SEEDS. All randomness comes from `seeds`: one number of 64 random bits for each environment, another one in each call.
 *
 * ERRORS. A function returns 0, or a number that is not 0, which ends the run; message() may say in words what it means.
 * Observations, rewards and metrics must be finite.
 */
#ifndef LOCKSTEP_ENV_H
#define LOCKSTEP_ENV_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface. A library built with another one is refused. */
#define LOCKSTEP_ENV_ABI 1

/* Puts a function among those that a shared library exports. */
#if defined(_WIN32)
#define LOCKSTEP_EXPORT __declspec(dllexport)
#else
#define LOCKSTEP_EXPORT __attribute__((visibility("default")))
#endif

/* A number that may differ between runs (--env-set gravity=5, sweeps, stages) without compiling anything again. */
typedef struct lockstep_param {
  const char *name;      /* letters, digits and _ */
  const char *meaning;   /* with its unit, in one phrase; NULL: none */
  float value;           /* where nobody says another one */
  float least, most;     /* what it may be */
} lockstep_param;

/* How a metric is put together over steps and environments. */
enum {
  LOCKSTEP_MEAN = 0,    /* the mean over all steps */
  LOCKSTEP_MAX = 1,     /* the largest of all steps */
  LOCKSTEP_EPISODE = 2, /* the mean over the episodes that ended, of what their last step reports */
  LOCKSTEP_RUNNING = 3  /* as LOCKSTEP_MEAN in training; an evaluation takes what the last step reports */
};

/* A number that every step reports; logs call it stats/NAME. Returns and lengths of episodes are counted anyway. */
typedef struct lockstep_metric {
  const char *name;     /* letters, digits and _ */
  const char *meaning;  /* in one phrase; NULL: none */
  const char *unit;     /* NULL: none */
  int32_t aggregate;    /* LOCKSTEP_MEAN, ... */
} lockstep_metric;

/* Flags. */
enum {
  LOCKSTEP_TRUNCATES = 1,   /* step() cuts episodes off: it writes `truncated`, which is NULL without this flag */
  LOCKSTEP_RANDOM_STEPS = 2 /* step() needs random numbers: it reads `seeds`, which is NULL without this flag */
};

/* An environment. Everything it points to stays as it is until the process ends. Start with `static lockstep_env env = { .abi =
 * LOCKSTEP_ENV_ABI, ... }`, so that what is not named is 0 or NULL. */
typedef struct lockstep_env {
  int32_t abi;              /* LOCKSTEP_ENV_ABI */
  int32_t flags;            /* flags, added up */
  const char *name;         /* letters, digits, _ and - */
  const char *summary;      /* in one phrase; NULL: none */
  int64_t state_size;       /* bytes of a state */
  int64_t num_actions;      /* actions are 0 .. num_actions-1 */
  int64_t obs_rank;         /* axes of an observation, 1 to 4 */
  const int64_t *obs_shape; /* their sizes; below, O is the product */
  const char *const *obs_names;     /* O names; NULL: they are numbered */
  const char *const *action_names;  /* num_actions names; NULL: they are numbered */
  int64_t num_params;       /* P */
  const lockstep_param *params;
  int64_t num_metrics;      /* M */
  const lockstep_metric *metrics;
  const char *defaults;     /* settings of training for this environment, as lines of a configuration file: "num_envs = 1024\n"; NULL: none */

  /* The first states of episodes. `states` is count x state_size bytes, all 0 at first; `params` P numbers, for all of them. */
  int32_t (*reset)(int64_t count, const float *params, const uint64_t *seeds, void *states);

  /* One step of each environment, in place: no reset here, lockstep calls reset() where an episode has ended. The results
   * are all 0 at first: `rewards` count numbers; `terminated` count flags (0 or 1), set where the episode is over;
   * `truncated` count flags, set where it is cut off although it might have gone on; `metrics` count x M numbers. */
  int32_t (*step)(int64_t count, const float *params, const uint64_t *seeds, const int32_t *actions, void *states,
                  float *rewards, uint8_t *terminated, uint8_t *truncated, float *metrics);

  /* What is seen of each state: count x O numbers. All of them must be written. */
  int32_t (*observe)(int64_t count, const float *params, const void *states, float *obs);

  /* Which actions are allowed in each state: count x num_actions flags (0 or 1), all 0 at first; at least one of each state
   * must be set. NULL: all actions always are. */
  int32_t (*mask)(int64_t count, const float *params, const void *states, uint8_t *allowed);

  /* Draws one state for `watch`: UTF-8 text of lines that end in \n, with a 0 at the end, at most `capacity` bytes in all.
   * `params` are the default ones. NULL: the numbers of the observation are shown. */
  int32_t (*picture)(const float *params, const void *state, char *text, int64_t capacity);

  /* What an error number means; it may give NULL. NULL: errors are told as numbers. */
  const char *(*message)(int32_t error);
} lockstep_env;

/* The environment of this library, which exports this function; NULL if it cannot be had. It is called once, before all
 * others: tables that all environments read are made here. */
LOCKSTEP_EXPORT const lockstep_env *lockstep_env_make(void);

#ifdef __cplusplus
}
#endif
#endif
