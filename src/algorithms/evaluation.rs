//! Evaluation: what a policy achieves, by whole episodes.
//!
//! One program runs many episodes side by side. Each is a function of the seed and its own number alone, so the
//! result does not depend on how many run at once; each counts exactly once, so short ones have no advantage. An
//! episode that is over stands still until the last one is. The steps are played in slices of about a second, so that
//! whoever waits can be heard in between; how they are divided changes nothing.

use std::time::Instant;

use anyhow::Result;

use crate::array::{DType, HostArray};
use crate::envs::vector;
use crate::envs::{Aggregate, AnyEnv, EnvSpec, default_params};
use crate::lang::{
    Bool, Float, Input, Int, Jit, Key, Leaves, Lowered, OnDevice, Outputs, Tree, arange, compile_both, int,
    select, select_tree, vmap_last, while_loop,
};
use crate::lower;
use crate::runtime::{Client, Target};

use super::policy::Policy;

/// The most episodes that run side by side: a bound on the memory.
const MAX_LANES: usize = 1024;
/// Bounds that keep a slip of the finger from running for days.
pub const MAX_EPISODES: usize = 1 << 20;
pub const MAX_STEPS: usize = 1 << 24;

/// What to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub episodes: usize,
    /// Steps after which an episode is cut off.
    pub max_steps: usize,
    pub seed: u64,
}

/// One episode of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// With several players, that of player 0; the policy plays for all of them.
    pub episode_return: f64,
    /// With several players, the returns of players 1, 2 and so on.
    pub other_returns: Vec<f64>,
    /// Steps.
    pub episode_length: u64,
    /// Whether it ended by itself, not by the bound on its steps.
    pub finished: bool,
    /// In the order of [`EnvSpec::metrics`]: sums over the steps, maxima, or values of the last step.
    pub metrics: Vec<f64>,
    /// How many actions were of each of the [`EnvSpec::action_groups`].
    pub actions: Vec<f64>,
}

/// How long a slice of steps should take, in seconds.
const SLICE_SECONDS: f64 = 1.0;
/// The steps of the first slice, which shows how long one takes.
const FIRST_SLICE: usize = 16;

/// A compiled evaluation of one policy's network in one environment.
pub struct Evaluator {
    begin: Jit<Start, Progress>,
    play: Jit<Inputs, Progress>,
    params: OnDevice<Leaves>,
    env_params: OnDevice<Leaves>,
    lanes: usize,
}

/// Parameters of the environment, the words of a seed, and bounds.
type Start = (Leaves, Int, Bounds);
/// Parameters of the policy and of the environment, the words of a seed, bounds, and how far the episodes have come.
type Inputs = (Leaves, Leaves, Int, Bounds, Progress);

/// What the episodes have come to, `[N]` each.
#[derive(Clone)]
struct Tally {
    /// Of each player.
    returns: Vec<Float>,
    lengths: Int,
    finished: Bool,
    metrics: Vec<Float>,
    actions: Vec<Float>,
}
crate::tree!(Tally { returns, lengths, finished, metrics, actions });

/// Scalars i32 that bound a run of the program.
#[derive(Clone, Copy)]
struct Bounds {
    /// Number of the first episode.
    first: Int,
    /// Episodes of the whole evaluation: those from here on do not run.
    episodes: Int,
    /// Steps of an episode before this call ends.
    until: Int,
}
crate::tree!(Bounds { first, episodes, until });

impl Evaluator {
    /// Compiles the program for `episodes` episodes.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn new(client: &Client, env: &dyn AnyEnv, policy: &Policy, episodes: usize) -> Result<Self> {
        Self::with_lanes(client, env, policy, episodes.clamp(1, MAX_LANES))
    }

    fn with_lanes(client: &Client, env: &dyn AnyEnv, policy: &Policy, lanes: usize) -> Result<Self> {
        let (begin, play) = lowered(env, policy, lanes, client.target());
        let (begin, play) = compile_both(client, (begin, "start of episodes"), (play, "evaluation"))?;
        Ok(Evaluator {
            begin,
            play,
            params: OnDevice::new(client, &policy.structure(), &[policy.params().to_vec()])?,
            env_params: params_on(client, env)?,
            lanes,
        })
    }

    /// Plays in this environment from now on: the one that the programs were compiled for, with other parameters.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn set_env(&mut self, client: &Client, env: &dyn AnyEnv) -> Result<()> {
        self.env_params = params_on(client, env)?;
        Ok(())
    }

    /// Plays the episodes with the policy's own parameters.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn run(&self, plan: &Plan) -> Result<Vec<Episode>> {
        let episodes = self.run_with(&|| self.params.lend(), plan, &mut || true)?;
        Ok(episodes.expect("nothing stops it"))
    }

    /// Plays the episodes with other parameters of the same network, which lie on the first device already. Asks now and
    /// then whether to `go_on`; gives nothing if not.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn run_with<'a>(
        &self,
        params: &dyn Fn() -> Input<'a>,
        plan: &Plan,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Episode>>> {
        let mut all = Vec::with_capacity(plan.episodes);
        while all.len() < plan.episodes {
            let Some(found) = self.run_from(all.len(), params, plan, go_on)? else { return Ok(None) };
            all.extend(found.into_iter().take(plan.episodes - all.len()));
        }
        Ok(Some(all))
    }

    fn run_from<'a>(
        &self,
        first: usize,
        params: &dyn Fn() -> Input<'a>,
        plan: &Plan,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Episode>>> {
        let seed = HostArray::new(&[2], vec![(plan.seed >> 32) as u32, plan.seed as u32]);
        let bounds =
            |until: usize| [first, plan.episodes, until].map(|bound| HostArray::scalar(bound as i32));
        let given = self.begin.upload(std::iter::once(&seed).chain(&bounds(0)))?;
        let mut now = self.begin.call([self.env_params.lend(), given])?;
        let (mut done, mut steps) = (0, FIRST_SLICE);
        loop {
            if !go_on() {
                return Ok(None);
            }
            let begin = Instant::now();
            done = (done + steps).min(plan.max_steps);
            let given = self.play.upload(std::iter::once(&seed).chain(&bounds(done)))?;
            now = self.play.call([params(), self.env_params.lend(), given, now.give()])?;
            let active = now.fetch(|now| &now.active)?;
            if done == plan.max_steps || active[0].to_f64().iter().all(|active| *active == 0.0) {
                return Ok(Some(episodes(now.fetch_all()?, self.lanes)));
            }
            let share = SLICE_SECONDS / begin.elapsed().as_secs_f64().max(1e-9);
            steps = (steps as f64 * share.min(4.0)).max(1.0) as usize;
        }
    }
}

fn params_on(client: &Client, env: &dyn AnyEnv) -> Result<OnDevice<Leaves>> {
    let (structure, values) = params_of(env);
    OnDevice::new(client, &structure, &[values])
}

/// The default parameters of an environment: their structure and values.
pub(super) fn params_of(env: &dyn AnyEnv) -> (Leaves, Vec<HostArray>) {
    let params = default_params(env);
    (Leaves::placeholders(&params), params.into_iter().map(|(_, value)| value).collect())
}

/// The programs for that target: the start of the episodes, and a slice of their steps.
fn lowered(
    env: &dyn AnyEnv,
    policy: &Policy,
    lanes: usize,
    target: Target,
) -> (Lowered<Start, Progress>, Lowered<Inputs, Progress>) {
    let scalar = || Int::placeholder(DType::I32, []);
    let bounds = Bounds { first: scalar(), episodes: scalar(), until: scalar() };
    let seed = Int::placeholder(DType::U32, [2]);
    let evaluation =
        |params, env_params| Evaluation { env, spec: env.spec(), env_params, policy, params, lanes };
    let options = lower::Options::default();
    let input = (params_of(env).0, seed, bounds);
    let begin = Lowered::new(target, &options, &input, |(env_params, seed, bounds)| {
        evaluation(Leaves::default(), env_params).begin(Key::from_words(seed), bounds)
    });
    let input = (policy.structure(), params_of(env).0, seed, bounds, begin.output.duplicate());
    let play = Lowered::new(target, &options, &input, |(params, env_params, seed, bounds, now)| {
        evaluation(params, env_params).play(Key::from_words(seed), bounds, now)
    });
    (begin, play)
}

/// Keys `[2, count]` of the episodes from number `first` on: for their first states, and for all their steps.
pub(super) fn episode_keys(seed: Key, first: Int, count: usize) -> [Key; 2] {
    vmap_last(seed.split_last_from(first, count), Key::split)
}

/// Keys `[2, count]` of one step of the episodes: for the choice of the actions, and for the environments. `keys` are
/// the words of the second of the [`episode_keys`].
pub(super) fn step_keys(keys: Int, step: Int) -> [Key; 2] {
    vmap_last(keys, |words| Key::from_words(words).fold_in(step).split())
}

/// The episodes of the lanes, from the leaves of a [`Progress`].
fn episodes(mut progress: Outputs<HostArray>, lanes: usize) -> Vec<Episode> {
    let [lengths, finished] =
        ["lengths", "finished"].map(|name| progress.take(&format!("tally.{name}")).to_f64());
    let [returns, metrics, actions] = ["tally.returns", "tally.metrics", "tally.actions"].map(|name| {
        progress.take_below(name).iter().map(|(_, column)| column.to_f64()).collect::<Vec<Vec<f64>>>()
    });
    let of_lane = |columns: &[Vec<f64>], lane: usize| columns.iter().map(|column| column[lane]).collect();
    let episode = |lane: usize| Episode {
        episode_return: returns[0][lane],
        other_returns: of_lane(&returns[1..], lane),
        episode_length: lengths[lane] as u64,
        finished: finished[lane] != 0.0,
        metrics: of_lane(&metrics, lane),
        actions: of_lane(&actions, lane),
    };
    (0..lanes).map(episode).collect()
}

/// What the program is traced from.
struct Evaluation<'a> {
    env: &'a dyn AnyEnv,
    spec: EnvSpec,
    env_params: Leaves,
    policy: &'a Policy,
    params: Leaves,
    lanes: usize,
}

/// The episodes between two steps.
struct Progress {
    step: Int,
    state: Leaves,
    /// What the policy remembers.
    carry: Leaves,
    /// bool`[N]`: still playing.
    active: Bool,
    tally: Tally,
}
crate::tree!(Progress { step, state, carry, active, tally });

/// One step of one environment that stands still unless it is active.
struct Stepped {
    state: Leaves,
    /// For each player.
    rewards: Vec<Float>,
    done: Bool,
    metrics: Vec<Float>,
}
crate::tree!(Stepped { state, rewards, done, metrics });

impl Evaluation<'_> {
    /// All episodes in their first states.
    #[track_caller]
    fn begin(&self, seed: Key, bounds: Bounds) -> Progress {
        let [reset_keys, _] = episode_keys(seed, bounds.first, self.lanes);
        Progress {
            step: int(0),
            state: vector::reset(self.env, &self.env_params, reset_keys),
            carry: self.policy.begin(self.lanes),
            active: (arange(self.lanes) + bounds.first).lt(bounds.episodes),
            tally: self.no_tally(),
        }
    }

    /// The episodes some steps later, or when the last one is over.
    #[track_caller]
    fn play(&self, seed: Key, bounds: Bounds, now: Progress) -> Progress {
        let [_, keys] = episode_keys(seed, bounds.first, self.lanes);
        let keys = keys.into_words();
        while_loop(now, |now| now.step.lt(bounds.until) & now.active.any_all(), |now| self.step(now, keys))
    }

    #[track_caller]
    fn step(&self, now: Progress, keys: Int) -> Progress {
        let Progress { step, state, carry, active, tally } = now;
        let [action_keys, step_keys] = step_keys(keys, step);
        let view = vector::view(self.env, &self.env_params, &state);
        let (carry, decision) = self.policy.act(&self.params, carry, &view, action_keys);
        let action = decision.action;
        let stepped = vmap_last((step_keys, state, action, active), |(key, state, action, active)| {
            let step = self.env.step(&self.env_params, key, state.clone(), action);
            let done = step.truncated.map_or(step.terminated, |truncated| truncated | step.terminated);
            let rewards = (0..self.spec.players).map(|player| step.reward_of(player)).collect();
            let state = select_tree(active, step.state, state);
            Stepped { state, rewards, done, metrics: step.metrics }
        });
        Progress {
            step: step + 1,
            active: active & !stepped.done,
            tally: self.count(tally, active, action, &stepped),
            state: stepped.state,
            carry,
        }
    }

    /// The tally with one more step of the active episodes.
    #[track_caller]
    fn count(&self, tally: Tally, active: Bool, action: Int, stepped: &Stepped) -> Tally {
        let add = |sum: Float, value: Float| sum + select(active, value, 0.0);
        Tally {
            returns: tally
                .returns
                .into_iter()
                .zip(&stepped.rewards)
                .map(|(sum, &paid)| add(sum, paid))
                .collect(),
            lengths: tally.lengths + active.as_i32(),
            finished: tally.finished | (active & stepped.done),
            metrics: (self.spec.metrics.iter().zip(tally.metrics).zip(&stepped.metrics))
                .map(|((metric, total), &value)| match metric.aggregate {
                    Aggregate::Mean => add(total, value),
                    Aggregate::Max => select(active, total.maximum(value), total),
                    Aggregate::Episode | Aggregate::Running => select(active, value, total),
                })
                .collect(),
            actions: (self.spec.action_groups.iter().zip(tally.actions))
                .map(|((_, range), count)| {
                    add(count, (action.ge(range.start) & action.lt(range.end)).as_f32())
                })
                .collect(),
        }
    }

    #[track_caller]
    fn no_tally(&self) -> Tally {
        let all = |value: f64| Float::full([self.lanes], value);
        Tally {
            returns: (0..self.spec.players).map(|_| all(0.0)).collect(),
            lengths: Int::full([self.lanes], 0),
            finished: Bool::full([self.lanes], false),
            metrics: (self.spec.metrics.iter())
                .map(|metric| match metric.aggregate {
                    Aggregate::Mean | Aggregate::Episode | Aggregate::Running => all(0.0),
                    Aggregate::Max => all(f64::from(f32::MIN)),
                })
                .collect(),
            actions: self.spec.action_groups.iter().map(|_| all(0.0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::policy::Choice;
    use crate::envs::hackmatrix::HackMatrix;
    use crate::envs::{CartPole, Erased};
    use crate::runtime::{DeviceKind, plugin};

    /// Pushes towards the side to which the pole falls: much better than chance.
    fn reflex(choice: Choice, env: &dyn AnyEnv) -> Policy {
        let kernel = vec![0.0f32, 0.0, 0.0, 0.0, -30.0, 30.0, -30.0, 30.0];
        let params = [
            ("actor.0.kernel", HostArray::new(&[4, 2], kernel)),
            ("actor.0.bias", HostArray::new(&[2], vec![0.0f32; 2])),
            ("critic.0.kernel", HostArray::new(&[4, 1], vec![0.0f32; 4])),
            ("critic.0.bias", HostArray::new(&[1], vec![0.0f32])),
        ];
        let params = params.map(|(name, array)| (format!("params.{name}"), array)).to_vec();
        let metadata = [("activation", "tanh"), ("hidden_dim", "1"), ("num_layers", "0")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Policy::of_network(params, &metadata, choice, &env.spec()).unwrap()
    }

    fn plan(episodes: usize, max_steps: usize, seed: u64) -> Plan {
        Plan { episodes, max_steps, seed }
    }

    fn mean_return(episodes: &[Episode]) -> f64 {
        episodes.iter().map(|episode| episode.episode_return).sum::<f64>() / episodes.len() as f64
    }

    /// Only on cuda a rare branch has no loop over groups of the rows that take it.
    #[test]
    fn the_program_has_the_form_for_its_kind_of_device() {
        let loops = |kind| {
            let env = Erased::new(HackMatrix::default());
            let lowered = lowered(&env, &Policy::random(&env.spec()), 8, Target::plain(kind));
            lowered.1.module.matches("stablehlo.while").count()
        };
        assert!(loops(DeviceKind::Cuda) < loops(DeviceKind::Cpu));
    }

    #[test]
    fn episodes_count_once_and_do_not_depend_on_how_many_run_at_once() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let env = Erased::new(CartPole);
        let random = Policy::random(&env.spec());
        let wide = Evaluator::with_lanes(&client, &env, &random, 100).unwrap();
        let narrow = Evaluator::with_lanes(&client, &env, &random, 16).unwrap();
        let episodes = wide.run(&plan(100, 1000, 3)).unwrap();
        assert_eq!(narrow.run(&plan(100, 1000, 3)).unwrap(), episodes);
        assert_ne!(wide.run(&plan(100, 1000, 4)).unwrap(), episodes);
        assert!(episodes.iter().all(|e| e.finished && e.episode_return == e.episode_length as f64));
        // The known mean of random play is 22, its standard deviation 12.
        assert!((mean_return(&episodes) - 22.0).abs() < 4.8, "{}", mean_return(&episodes));
        let mut asked = 0;
        let mut once = || {
            asked += 1;
            asked == 1
        };
        let stopped = wide.run_with(&|| wide.params.lend(), &plan(100, 1000, 3), &mut once).unwrap();
        assert!(stopped.is_none() && asked == 2, "{asked}");
        let cut = wide.run(&plan(100, 8, 3)).unwrap();
        for (cut, whole) in cut.iter().zip(&episodes) {
            assert_eq!(cut.episode_length, whole.episode_length.min(8));
            assert_eq!(cut.finished, whole.episode_length <= 8);
        }
    }

    #[test]
    fn a_policy_is_greedy_or_sampled() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let env = Erased::new(CartPole);
        let play = |choice| {
            let evaluator = Evaluator::new(&client, &env, &reflex(choice, &env), 40).unwrap();
            evaluator.run(&plan(40, 300, 0)).unwrap()
        };
        let (greedy, sampled) = (play(Choice::Greedy), play(Choice::Sample));
        assert!(mean_return(&greedy) > 150.0, "{}", mean_return(&greedy));
        assert!(mean_return(&sampled) > 100.0 && sampled != greedy, "{}", mean_return(&sampled));
    }
}
