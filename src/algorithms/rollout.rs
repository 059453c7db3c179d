//! Collecting experience: all environments step together under the current policy.

use crate::algorithms::metrics::{self, Recorder};
use crate::envs::vector::{self, View};
use crate::envs::{Aggregate, AnyEnv, EnvSpec};
use crate::lang::{Bool, Float, Int, Key, Leaves, rare, scan, select};
use crate::nn::{Categorical, Network};

use super::learner::{Inputs, Shared};
use super::opening::Opening;
use super::recording::{EpisodeTable, Record, StepColumn, StepTable, step_columns};
use super::self_play::{Met, Opponent, Seats, Table};

/// The environments between two updates. `B` is their number on this device.
pub struct Envs {
    pub state: Leaves,
    /// What the next action is chosen from.
    pub view: View,
    /// Sum of rewards f32`[B]` of the running episodes.
    pub returns: Float,
    /// Steps i32`[B]` of the running episodes.
    pub lengths: Int,
    /// Where the policy remembers something.
    pub memory: Option<Memory>,
    /// Where there is an opponent.
    pub seats: Option<Seats>,
}
crate::tree!(Envs { state, view, returns, lengths, memory, seats });

/// What a policy remembers of each environment.
#[derive(Clone)]
pub struct Memory {
    /// `[B, ...]` each.
    pub carry: Leaves,
    /// Where an episode begins with the next step, bool`[B]`: there nothing of it counts.
    pub starts: Bool,
}
crate::tree!(Memory { carry, starts });

impl Envs {
    /// The parts of environments: all of them.
    pub fn share(&self, shared: &mut Shared) {
        shared.last(&self.state);
        shared.first(&self.view);
        shared.first(&self.returns);
        shared.first(&self.lengths);
        shared.first(&self.memory);
        shared.first(&self.seats);
    }
}

/// One decision and what came of it; `[T, B, ...]` after a rollout.
#[derive(Clone, Copy)]
pub struct Transition {
    pub view: View,
    pub action: Int,
    pub log_prob: Float,
    pub value: Float,
    /// Contains the discounted value of the cut-off rest where an episode was truncated.
    pub reward: Float,
    /// Nothing that follows belongs to it.
    pub done: Bool,
    /// Whether an episode began with it, where the policy remembers something.
    pub starts: Option<Bool>,
}
crate::tree!(Transition { view, action, log_prob, value, reward, done, starts });

/// What came of an action in each environment.
pub struct Outcome {
    /// f32`[B]`
    pub reward: Float,
    /// bool`[B]`: the episode ended, for good or because it was cut off.
    pub done: Bool,
    /// For environments that can be cut off: bool`[B]`, and what was seen last of those that were.
    pub truncated: Option<(Bool, View)>,
}

/// Sums over the steps of a rollout, `[B]` each.
pub struct Totals {
    pub reward: Float,
    /// Episodes that ended, and the sums of their returns and of their lengths.
    pub episodes: Float,
    pub episode_returns: Float,
    pub episode_lengths: Float,
    /// The smallest and the largest return; beyond all returns where no episode ended.
    pub least_return: Float,
    pub most_return: Float,
    /// The environment's own metrics: sums or maxima.
    pub metrics: Vec<Float>,
    /// How often each group of actions was chosen.
    pub action_groups: Vec<Float>,
    /// What came of the games against each opponent, where there are any.
    pub met: Option<Met>,
    /// The sums of each single step, where they are recorded.
    pub steps: Option<StepTable>,
    /// The single episodes that ended, where they are recorded.
    pub ended: Option<EpisodeTable>,
}
crate::tree!(Totals {
    reward,
    episodes,
    episode_returns,
    episode_lengths,
    least_return,
    most_return,
    metrics,
    action_groups,
    met,
    steps,
    ended
});

/// What collects experience: a policy with its value function. Where it remembers something, `carry` is what it remembers of each
/// environment, and `starts` says where an episode begins.
pub trait Behavior {
    /// What it remembers before the first step of `rows` episodes; nothing by default.
    fn begin(&self, rows: usize) -> Leaves {
        let _ = rows;
        Leaves::default()
    }
    /// The distribution over actions and the values `[B]` for a view, and what is remembered of it.
    fn decide(&self, carry: Leaves, view: &View, starts: Option<Bool>) -> (Leaves, Categorical, Float);
    /// Values `[N]` of what is seen of `N` environments; the view needs no masks.
    fn value(&self, carry: Leaves, view: &View, starts: Option<Bool>) -> Float;
}

/// A network with parameters.
pub struct Acting<'a, N: Network> {
    pub network: &'a N,
    pub params: &'a N::Params,
}

impl<N: Network> Behavior for Acting<'_, N> {
    #[track_caller]
    fn begin(&self, rows: usize) -> Leaves {
        self.network.begin(rows)
    }

    #[track_caller]
    fn decide(&self, carry: Leaves, view: &View, starts: Option<Bool>) -> (Leaves, Categorical, Float) {
        let (carry, outputs) = self.network.apply(self.params, carry, view, starts);
        let value = self.denormalized(outputs.value);
        (carry, Categorical::new(outputs.logits, view.mask), value)
    }

    #[track_caller]
    fn value(&self, carry: Leaves, view: &View, starts: Option<Bool>) -> Float {
        self.denormalized(self.network.value(self.params, carry, view, starts))
    }
}

impl<N: Network> Acting<'_, N> {
    /// Values in the unit of rewards.
    fn denormalized(&self, values: Float) -> Float {
        self.network.popart(self.params).map_or(values, |popart| popart.denormalize(values))
    }
}

/// The world of a rollout: an environment, its parameters, the discount.
pub struct World<'a> {
    pub env: &'a dyn AnyEnv,
    pub params: &'a Leaves,
    /// Environments on this device.
    pub num_envs: usize,
    /// The number of this device among those that share the environments, i32.
    pub device: Int,
    pub gamma: Float,
    /// If set, episodes begin with one of so many states, which are drawn at the start of each rollout.
    pub reset_pool: Option<usize>,
    /// Whether an episode that was cut off ends there, and what would have followed is in its last reward; else the next one goes on
    /// from it.
    pub cut_off_ends: bool,
    /// If set, the largest distance of a reward from 0 in the transitions.
    pub reward_clamp: Option<f64>,
    /// In a game for two, what plays against the agent.
    pub opponent: Option<&'a dyn Opponent>,
    pub record: Record,
    /// If set, how games begin.
    pub opening: Option<Opening>,
}

impl<'a> World<'a> {
    /// This device's share of `num_envs` environments for one player, in which each episode begins with a state of its own.
    #[track_caller]
    pub fn of<H>(inputs: &'a Inputs<H>, env: &'a dyn AnyEnv, num_envs: usize, gamma: Float) -> World<'a> {
        let num_envs = num_envs / inputs.num_devices;
        let device = inputs.device();
        World {
            env,
            params: &inputs.env,
            num_envs,
            device,
            gamma,
            reset_pool: None,
            cut_off_ends: true,
            reward_clamp: None,
            opponent: None,
            record: inputs.record,
            opening: None,
        }
    }

    /// Environments at the start of their first episodes, of which a policy remembers `carry`.
    #[track_caller]
    pub fn reset(&self, key: Key, carry: Leaves) -> Envs {
        let first = |key| vector::reset(self.env, self.params, self.env_keys(key));
        let (state, seats) = match self.table(None) {
            None => (first(key), None),
            Some(table) => {
                let [key, begin] = key.split();
                let first = match self.opening {
                    None => first(key),
                    Some(opening) => {
                        let keys = self.env_keys(key.fold_in(1));
                        opening.of_games(self.env, self.params, keys, first(key))
                    }
                };
                let (state, seats) = table.begin(self.env_keys(begin), first);
                (state, Some(seats))
            }
        };
        let view = vector::view(self.env, self.params, &state);
        let (returns, lengths) = (Float::full([self.num_envs], 0.0), Int::full([self.num_envs], 0));
        let starts = || Bool::full([self.num_envs], true);
        let memory = (!carry.0.is_empty()).then(|| Memory { carry, starts: starts() });
        Envs { state, view, returns, lengths, memory, seats }
    }

    fn table<'t>(&'t self, pool: Option<&'t Leaves>) -> Option<Table<'t>> {
        self.opponent.map(|opponent| Table { env: self.env, params: self.params, opponent, pool })
    }

    /// `num_steps` steps under `policy`.
    #[track_caller]
    pub fn rollout(
        &self,
        policy: &dyn Behavior,
        envs: Envs,
        key: Key,
        num_steps: usize,
    ) -> (Envs, Transition, Totals) {
        let pool = self.first_states(key.fold_in(num_steps as i32));
        let start = (envs, self.no_totals(num_steps));
        let ((envs, totals), transitions) = scan(start, key.split_many(num_steps), |(envs, totals), key| {
            let (envs, transition, totals) = self.step(policy, envs, key, totals, pool.as_ref());
            ((envs, totals), transition)
        });
        (envs, transitions, totals)
    }

    /// The states with which the episodes of some steps begin, if they are shared: on each device others.
    #[track_caller]
    pub fn first_states(&self, key: Key) -> Option<Leaves> {
        let own = |key: Key| key.fold_in(self.device);
        match (self.opening, self.reset_pool) {
            (Some(opening), size) => Some(opening.states(self.env, self.params, own(key), size)),
            (None, Some(size)) => Some(vector::pool(self.env, self.params, own(key), size)),
            (None, None) => None,
        }
    }

    #[track_caller]
    fn step(
        &self,
        policy: &dyn Behavior,
        envs: Envs,
        key: Key,
        totals: Totals,
        pool: Option<&Leaves>,
    ) -> (Envs, Transition, Totals) {
        let [action_key, env_key] = key.split();
        let view = envs.view;
        let (carry, starts) = match envs.memory.clone() {
            Some(Memory { carry, starts }) => (carry, Some(starts)),
            None => (Leaves::default(), None),
        };
        let (carry, distribution, value) = policy.decide(carry, &view, starts);
        let keys = Key::from_words(self.env_keys(action_key).into_words().transpose([1, 0]));
        let action = distribution.sample(keys);
        let log_prob = distribution.log_prob(action);

        let envs = Envs { memory: None, ..envs };
        let (mut envs, outcome, totals) = self.advance(envs, action, env_key, totals, pool);
        let Outcome { reward, done, truncated } = outcome;
        let reward = self.reward_clamp.map_or(reward, |most| reward.clamp(-most, most));
        let (reward, ended) = match truncated {
            Some((truncated, view)) if self.cut_off_ends => {
                (reward + self.gamma * cut_off_value(policy, &carry, truncated, &view), done)
            }
            Some((truncated, _)) => (reward, done & !truncated),
            None => (reward, done),
        };
        envs.memory = starts.map(|_| Memory { carry, starts: done });
        (envs, Transition { view, action, log_prob, value, reward, done: ended, starts }, totals)
    }

    /// One step of environments of which nothing is remembered, with actions i32`[B]`.
    #[track_caller]
    pub fn advance(
        &self,
        envs: Envs,
        action: Int,
        key: Key,
        totals: Totals,
        pool: Option<&Leaves>,
    ) -> (Envs, Outcome, Totals) {
        let keys = self.env_keys(key);
        let (step, seats, met) = match (self.table(pool), envs.seats) {
            (Some(table), Some(seats)) => {
                let opponent = seats.opponent;
                let (step, seats, margin) = table.step(keys, envs.state, seats, action);
                let met = totals.met.map(|met| met.with(opponent, step.done, margin));
                (step, Some(seats), met)
            }
            _ => (vector::step(self.env, self.params, keys, envs.state, action, pool), None, None),
        };
        let (returns, lengths) = (envs.returns + step.reward, envs.lengths + 1);
        let spec = self.env.spec();
        let steps = totals.steps.map(|steps| steps.with(&spec, &step, returns));
        let metrics = self.record.episodes.unwrap_or_default();
        let ended = totals.ended.map(|ended| ended.with((&spec, metrics), &step, returns, lengths));
        let totals = Totals {
            steps,
            ended,
            reward: totals.reward + step.reward,
            episodes: totals.episodes + step.done.as_f32(),
            episode_returns: totals.episode_returns + select(step.done, returns, 0.0),
            episode_lengths: totals.episode_lengths + select(step.done, lengths, 0).as_f32(),
            least_return: totals.least_return.minimum(select(step.done, returns, f64::from(f32::MAX))),
            most_return: totals.most_return.maximum(select(step.done, returns, f64::from(f32::MIN))),
            metrics: (spec.metrics.iter().zip(totals.metrics).zip(&step.metrics))
                .map(|((metric, total), &value)| match metric.aggregate {
                    Aggregate::Mean | Aggregate::Running => total + value,
                    Aggregate::Max => total.maximum(value),
                    Aggregate::Episode => total + select(step.done, value, 0.0),
                })
                .collect(),
            action_groups: (spec.action_groups.iter().zip(totals.action_groups))
                .map(|((_, range), total)| total + (action.ge(range.start) & action.lt(range.end)).as_f32())
                .collect(),
            met,
        };
        let envs = Envs {
            view: vector::view(self.env, self.params, &step.state),
            state: step.state,
            returns: select(step.done, 0.0, returns),
            lengths: select(step.done, 0, lengths),
            memory: None,
            seats,
        };
        (envs, Outcome { reward: step.reward, done: step.done, truncated: step.truncated }, totals)
    }

    /// The sums over no steps, of which there will be `num_steps`.
    #[track_caller]
    pub fn no_totals(&self, num_steps: usize) -> Totals {
        let spec = self.env.spec();
        let steps = self.record.steps.then(|| StepTable::new(&spec, num_steps));
        let ended = self.record.episodes;
        let ended = ended.map(|metrics| EpisodeTable::new(metrics, num_steps, self.num_envs));
        let opponents = self.opponent.map(|opponent| opponent.count());
        Totals { steps, ended, ..Totals::none(&spec, self.num_envs, opponents) }
    }

    /// One key per environment, by its number among the environments of all devices: `[2, B]`.
    #[track_caller]
    pub fn env_keys(&self, key: Key) -> Key {
        key.split_last_from(self.device * self.num_envs, self.num_envs)
    }
}

impl Totals {
    /// Those of no steps of `num_envs` environments, with so many opponents.
    #[track_caller]
    fn none(spec: &EnvSpec, num_envs: usize, opponents: Option<usize>) -> Totals {
        let zeros = || Float::full([num_envs], 0.0);
        Totals {
            reward: zeros(),
            episodes: zeros(),
            episode_returns: zeros(),
            episode_lengths: zeros(),
            least_return: Float::full([num_envs], f64::from(f32::MAX)),
            most_return: Float::full([num_envs], f64::from(f32::MIN)),
            metrics: (spec.metrics.iter())
                .map(|metric| match metric.aggregate {
                    Aggregate::Mean | Aggregate::Episode | Aggregate::Running => zeros(),
                    Aggregate::Max => Float::full([num_envs], f64::from(f32::MIN)),
                })
                .collect(),
            action_groups: spec.action_groups.iter().map(|_| zeros()).collect(),
            met: opponents.map(Met::nobody),
            steps: None,
            ended: None,
        }
    }

    /// Records what every rollout tells: rewards, episodes, the environment's own metrics, the shares of the groups of
    /// actions. The rollout had `steps` steps over all environments of all devices.
    pub fn record(&self, m: &mut Recorder, spec: &EnvSpec, steps: usize) {
        if let Some(StepTable { table, .. }) = self.steps {
            let is_largest = |column| matches!(column, StepColumn::Metric(_, Aggregate::Max));
            m.steps(table, step_columns(spec).into_iter().map(is_largest).collect());
        }
        if let Some(EpisodeTable { table, .. }) = self.ended {
            m.episodes(table);
        }
        m.mean("train/mean_reward", self.reward, steps).describe("reward", "mean reward of a step");
        m.sum(metrics::EPISODES, self.episodes).describe("episodes", "episodes that ended");
        m.episode_mean(metrics::EPISODE_LENGTH, self.episode_lengths)
            .describe("steps", "mean length of the episodes that ended");
        m.episode_mean(metrics::EPISODE_RETURN, self.episode_returns)
            .describe("reward", "mean return, which is the sum of rewards, of the episodes that ended");
        m.episode_min(metrics::MIN_EPISODE_RETURN, self.least_return)
            .describe("reward", "lowest return of the episodes that ended");
        m.episode_max(metrics::MAX_EPISODE_RETURN, self.most_return)
            .describe("reward", "highest return of the episodes that ended");
        for (metric, &total) in spec.metrics.iter().zip(&self.metrics) {
            let (name, about) = (metric.name.clone(), metric.description.clone());
            let metric_of_env = match metric.aggregate {
                Aggregate::Mean | Aggregate::Running => m.mean(name, total, steps),
                Aggregate::Max => m.max(name, total),
                Aggregate::Episode => m.episode_mean(name, total),
            };
            metric_of_env.describe(metric.unit, about);
        }
        for ((name, _), &count) in spec.action_groups.iter().zip(&self.action_groups) {
            m.mean(format!("actions/{name}_frac"), count, steps)
                .describe("share", format!("actions of the group {name} among all that were taken"));
        }
    }
}

/// The values of what was seen last of environments where an episode was cut off, else 0. Cut-offs are rare, so the
/// network runs only if there is one.
#[track_caller]
fn cut_off_value(policy: &dyn Behavior, carry: &Leaves, truncated: Bool, view: &View) -> Float {
    let nothing = Float::full(truncated.shape(), 0.0);
    rare(truncated.any_all(), nothing, |_| select(truncated, policy.value(carry.clone(), view, None), 0.0))
}
