//! Reels: an episode in long stretches of steps, with what there is to see of each step.
//!
//! A [`Playback`](super::playback::Playback) asks the device for every step, because somebody may look at it and choose another action. A
//! replay only keeps what the policy does. So one program plays many steps in a row here and keeps them in tables, which the host fetches
//! once; a step then costs what its arithmetic costs. It does not look where the episode ends: the steps after that one are left out. Keys
//! are derived in the same way, so that episode `n` of a seed is the same in both.

use anyhow::Result;

use crate::array::{DType, HostArray};
use crate::envs::painter::Frame;
use crate::envs::{AnyEnv, vector};
use crate::lang::{
    Float, Int, Leaves, Lowered, Outputs, Routine, Tree, leaf_paths, leaf_types, scan_range, stack, vmap_last,
};
use crate::lower::Options;
use crate::runtime::{Arg, Buffer, Client};

use super::NamedArrays;
use super::evaluation::{params_of, step_keys};
use super::playback::{Begun, Now, Outcome, begin, one_step};
use super::policy::Policy;

/// The most bytes and steps of the tables of a stretch.
const MOST_BYTES: usize = 8 << 20;
const MOST_STEPS: usize = 128;

/// An environment and a policy on a device, which play whole episodes. Any thread may have it.
pub struct Reel {
    begin: Routine,
    roll: Routine,
    /// Parameters of the policy, and of the environment.
    policy_params: Vec<Buffer>,
    env_params: Vec<Buffer>,
    /// The leaves of the environment's state that are kept: their places, and their names.
    kept: Vec<(usize, String)>,
    players: usize,
    /// Steps of a stretch.
    size: usize,
}

/// Parameters of the policy and of the environment, the episode so far, and the number of its next step.
type Inputs = (Leaves, Leaves, Now, Int);

/// What the program `roll` gives: the environment's state after the last step and what the policy remembers, and what there is to tell.
type Rolled = ((Leaves, Leaves), Told);

struct Told {
    /// What is seen after the last step: f32`[O, 1]`.
    obs: Float,
    rows: Rows,
}
crate::tree!(Told { obs, rows });

/// Steps, each in a row: the moments before them, and what came of them.
struct Rows {
    state: Leaves,
    obs: Float,
    /// f32`[T, C, 1]`: action, terminated, truncated, the reward of each player, the metrics.
    numbers: Float,
}
crate::tree!(Rows { state, obs, numbers });

/// The columns of [`Rows::numbers`] before the rewards.
const ACTION: usize = 0;
const TERMINATED: usize = 1;
const TRUNCATED: usize = 2;
const REWARDS: usize = 3;

/// An episode: its steps, and at least one moment more than it has steps.
pub struct Footage {
    names: Vec<String>,
    stretches: Vec<Stretch>,
    pub steps: Vec<Taken>,
}

/// A step: what was done, and what came of it.
pub struct Taken {
    pub action: usize,
    pub outcome: Outcome,
}

/// Moments in rows.
struct Stretch {
    /// The number of the first one.
    first: usize,
    /// Leaves of the environment's state, and observations: `[T, ...]` each.
    state: Vec<HostArray>,
    obs: HostArray,
}

/// A moment of a [`Footage`].
pub struct Still {
    state: NamedArrays,
    pub obs: Vec<f32>,
}

impl Still {
    /// What a painter sees of it.
    pub fn frame(&self) -> Frame<'_> {
        Frame { state: &self.state, obs: &self.obs }
    }
}

/// What a [`Reel`] is compiled from. Any thread may do that.
pub struct Plan {
    client: Client,
    begin: Lowered<(Leaves, Int, Int), Begun>,
    roll: Lowered<Inputs, Rolled>,
    policy_params: Vec<HostArray>,
    env_params: Vec<HostArray>,
    kept: Vec<(usize, String)>,
    players: usize,
    size: usize,
}

impl Plan {
    /// Leaves of the environment's state whose names begin with one of `unseen` are not kept.
    #[track_caller]
    pub fn new(client: &Client, env: &dyn AnyEnv, policy: &Policy, unseen: &[&str]) -> Plan {
        Plan::of_stretches(client, env, policy, unseen, MOST_STEPS)
    }

    /// With so many steps in a stretch, if there is room for them.
    #[track_caller]
    fn of_stretches(
        client: &Client,
        env: &dyn AnyEnv,
        policy: &Policy,
        unseen: &[&str],
        most: usize,
    ) -> Plan {
        let spec = env.spec();
        let begin = begin(client.target(), env, policy, None);
        let (structure, env_params) = params_of(env);
        let (state, (carry, keys)) = begin.output.duplicate();
        let is_seen = |name: &str| !unseen.iter().any(|unseen| name.starts_with(unseen));
        let kept = leaf_paths(&state).into_iter().enumerate().filter(|(_, name)| is_seen(name));
        let kept: Vec<(usize, String)> = kept.collect();
        let types = leaf_types(&state);
        let bytes: usize = kept.iter().map(|(place, _)| types[*place].byte_size()).sum();
        let size = (MOST_BYTES / (bytes + 4 * spec.obs_size()).max(1)).clamp(1, most);
        let number = Int::placeholder(DType::I32, []);
        let input: Inputs = (policy.structure(), structure, (state, carry, keys), number);
        let roll = Lowered::new(client.target(), &Options::default(), &input, |input| {
            let (weights, params, now, first) = input;
            Projector { env, policy, weights, params, first, kept: &kept, size }.roll(now)
        });
        Plan {
            client: client.clone(),
            begin,
            roll,
            policy_params: policy.params().to_vec(),
            env_params,
            kept,
            players: spec.players,
            size,
        }
    }

    /// Compiles the programs.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn compile(self) -> Result<Reel> {
        let Plan { client, begin, roll, policy_params, env_params, kept, players, size } = self;
        let begin = begin.compile_routine(&client, "start of an episode")?;
        let roll = roll.compile_routine(&client, "steps of an episode")?;
        Ok(Reel {
            policy_params: roll.upload(&policy_params)?,
            env_params: roll.upload(&env_params)?,
            begin,
            roll,
            kept,
            players,
            size,
        })
    }
}

impl Reel {
    /// Plays with other parameters of the same network from now on, in the order of the leaves.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn set_params(&mut self, params: &[HostArray]) -> Result<()> {
        self.policy_params = self.roll.upload(params)?;
        Ok(())
    }

    /// Plays episode `number` of a seed, at most `max_steps` steps of it. Asks before each stretch whether to `go_on`; nothing if not.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn play(
        &self,
        seed: u64,
        number: usize,
        max_steps: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Footage>> {
        let words = HostArray::new(&[2], vec![(seed >> 32) as u32, seed as u32]);
        let given = self.begin.upload([&words, &HostArray::scalar(number as i32)])?;
        let lent = self.env_params.iter().map(Arg::Borrow);
        let mut now = self.begin.call(lent.chain(given.into_iter().map(Arg::Donate)).collect())?;
        let keys = now.pop().expect("the keys are last");
        let (mut stretches, mut steps) = (Vec::new(), Vec::new());
        while go_on() {
            let first = steps.len();
            let lent = self.policy_params.iter().chain(&self.env_params).map(Arg::Borrow);
            let given = now.into_iter().map(Arg::Donate).chain([Arg::Borrow(&keys)]);
            let number = self.roll.upload(&[HostArray::scalar(first as i32)])?.into_iter().map(Arg::Donate);
            let rolled = self.roll.call(lent.chain(given).chain(number).collect())?;
            let mut rolled = Outputs::new(self.roll.outputs(), rolled);
            let mut told = |path: &str| rolled.take(path).to_host();
            let (numbers, obs, last) = (told("1.rows.numbers")?, told("1.rows.obs")?, told("1.obs")?);
            let rows = numbers.as_slice::<f32>().chunks_exact(numbers.shape()[1]).take(max_steps - first);
            let mut is_over = false;
            for step in rows.map(|row| self.taken(row)) {
                is_over = step.is_last();
                steps.push(step);
                if is_over {
                    break;
                }
            }
            let state = rolled.take_below("1.rows.state");
            let state = state.iter().map(|(_, leaf)| leaf.to_host()).collect::<Result<_, _>>()?;
            stretches.push(Stretch { first, state, obs });
            now = rolled.into_named().into_iter().map(|(_, leaf)| leaf).collect();
            if is_over || steps.len() == max_steps {
                if steps.len() == first + self.size {
                    let state = self.kept.iter().map(|(place, _)| now[*place].to_host());
                    let state = state.collect::<Result<_, _>>()?;
                    stretches.push(Stretch { first: steps.len(), state, obs: last });
                }
                let names = self.kept.iter().map(|(_, name)| name.clone()).collect();
                return Ok(Some(Footage { names, stretches, steps }));
            }
        }
        Ok(None)
    }

    fn taken(&self, row: &[f32]) -> Taken {
        let (rewards, metrics) = row[REWARDS..].split_at(self.players);
        Taken {
            action: row[ACTION] as usize,
            outcome: Outcome {
                reward: rewards[0],
                other_rewards: rewards[1..].to_vec(),
                terminated: row[TERMINATED] != 0.0,
                truncated: row[TRUNCATED] != 0.0,
                metrics: metrics.to_vec(),
            },
        }
    }
}

impl Taken {
    fn is_last(&self) -> bool {
        self.outcome.terminated || self.outcome.truncated
    }
}

impl Footage {
    /// The moment before the first step.
    pub fn first(&self) -> Still {
        let Stretch { state, obs, .. } = &self.stretches[0];
        let of = |table: &HostArray| table.row(0);
        let state = self.names.iter().cloned().zip(state.iter().map(of)).collect();
        Still { state, obs: of(obs).as_slice().to_vec() }
    }

    /// Shows the moment before the step of that number, or after the last step, in the place of another moment.
    pub fn show(&self, number: usize, still: &mut Still) {
        let place = self.stretches.partition_point(|stretch| stretch.first <= number) - 1;
        let Stretch { first, state, obs } = &self.stretches[place];
        let row = number - first;
        for ((_, leaf), table) in still.state.iter_mut().zip(state) {
            leaf.copy_row(table, row);
        }
        let width = still.obs.len();
        still.obs.copy_from_slice(&obs.as_slice()[row * width..][..width]);
    }
}

/// What the program `roll` is traced from.
struct Projector<'a> {
    env: &'a dyn AnyEnv,
    policy: &'a Policy,
    weights: Leaves,
    params: Leaves,
    /// The number of the first step, i32.
    first: Int,
    kept: &'a [(usize, String)],
    size: usize,
}

impl Projector<'_> {
    /// What is kept of a state.
    fn kept(&self, state: &Leaves) -> Leaves {
        Leaves(self.kept.iter().map(|(place, _)| state.0[*place].clone()).collect())
    }

    /// Plays on for a stretch.
    #[track_caller]
    fn roll(&self, (state, carry, keys): Now) -> Rolled {
        let keys = keys.into_words();
        let (now, rows) = scan_range(self.size, (state, carry), |now, step| self.step(now, keys, step));
        let told = Told { obs: self.observe(&now.0), rows };
        (now, told)
    }

    /// What is seen, as the environment shows it, whatever the network reads: f32`[O, 1]`.
    #[track_caller]
    fn observe(&self, state: &Leaves) -> Float {
        vmap_last(state.duplicate(), |state| self.env.observe(&self.params, &state).actor.flatten())
    }

    #[track_caller]
    fn step(&self, (state, carry): (Leaves, Leaves), keys: Int, step: Int) -> ((Leaves, Leaves), Rows) {
        let [action_keys, step_keys] = step_keys(keys, self.first + step);
        let view = vector::view(self.env, &self.params, &state);
        let (carry, decision) = self.policy.act(&self.weights, carry, &view, action_keys);
        let action = decision.action;
        let stepped = vmap_last((step_keys, state.duplicate(), action), |(key, state, action)| {
            one_step(self.env, &self.params, key, state, action)
        });
        let (after, came) = stepped;
        let own = [action.as_f32(), came.terminated.as_f32(), came.truncated.as_f32()];
        let numbers = stack(own.into_iter().chain(came.rewards).chain(came.metrics).collect::<Vec<_>>());
        ((after, carry), Rows { obs: self.observe(&state), state: self.kept(&state), numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::playback::Playback;
    use crate::envs::{CartPole, Erased};
    use crate::runtime::plugin;

    /// Also over several stretches, in another thread, and where an episode is cut off.
    #[test]
    fn an_episode_is_the_one_that_is_played_back() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let env = Erased::new(CartPole);
        let policy = Policy::random(&env.spec());
        let plan = Plan::of_stretches(&client, &env, &policy, &["theta"], 7);
        let (played, cut) = std::thread::spawn(move || {
            let reel = plan.compile().unwrap();
            let play = |most| reel.play(7, 1, most, &mut || true).unwrap().unwrap();
            assert!(reel.play(7, 1, 1000, &mut || false).unwrap().is_none());
            (play(1000), play(3))
        })
        .join()
        .unwrap();
        let mut playback = Playback::new(&client, &env, &policy).unwrap();
        let mut moment = playback.begin(7, 1).unwrap();
        let mut still = played.first();
        for (number, step) in played.steps.iter().enumerate() {
            played.show(number, &mut still);
            moment.state.retain(|(name, _)| !name.starts_with("theta"));
            assert!(!still.state.is_empty());
            assert_eq!((&still.state, &still.obs), (&moment.state, &moment.obs), "step {number}");
            assert_eq!(step.action, moment.action);
            let (outcome, next) = playback.step().unwrap();
            assert_eq!((step.outcome.reward, step.outcome.terminated), (outcome.reward, outcome.terminated));
            assert_eq!(step.outcome.metrics, outcome.metrics);
            moment = next;
        }
        assert!(played.steps.len() > 7 && played.steps.last().unwrap().is_last());
        played.show(played.steps.len(), &mut still);
        assert_eq!(still.obs, moment.obs);
        let mut other = cut.first();
        played.show(3, &mut still);
        cut.show(3, &mut other);
        assert_eq!((cut.steps.len(), other.obs), (3, still.obs));
    }
}
