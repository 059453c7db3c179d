//! Playback: one episode step by step, with all that there is to see of it.
//!
//! What `eval` computes in one program is cut into three here (begin, look, step), so that the host holds the state
//! between them. Keys are derived in the same way: episode `n` of a seed is the same in both.

use anyhow::Result;

use crate::array::{ArrayType, DType, HostArray};
use crate::envs::painter::Frame;
use crate::envs::vector::View;
use crate::envs::{AnyEnv, vector};
use crate::lang::{Bool, Float, Int, Jit, Key, Leaves, Lowered, OnDevice, Tree, vmap_last};
use crate::lower;
use crate::runtime::{Client, Target};

use super::NamedArrays;
use super::evaluation::{episode_keys, params_of, step_keys};
use super::policy::{Choice, Decision, Policy};

/// An environment and a policy on a device, and an episode that is being played.
pub struct Playback {
    begin: Jit<(Leaves, Int, Int), Begun>,
    look: Jit<(Leaves, Leaves, Now, Int), (Leaves, Look)>,
    step: Jit<(Leaves, Leaves, Key, Int, Int), Stepped>,
    /// Parameters of the policy, and of the environment.
    policy_params: OnDevice<Leaves>,
    env_params: OnDevice<Leaves>,
    /// The environment's state.
    state: Option<OnDevice<Leaves>>,
    /// What the policy remembers.
    carry: Option<OnDevice<Leaves>>,
    keys: Option<OnDevice<Key>>,
    steps: usize,
    action: usize,
    /// The player that the policy is, if it is not all of them.
    seat: Option<usize>,
    choice: Choice,
}

/// What there is to see before a step.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The environment's state, one environment on the last axis.
    pub state: NamedArrays,
    pub obs: Vec<f32>,
    /// Which actions are valid; `None` if all always are.
    pub mask: Option<Vec<bool>>,
    /// Probabilities of the actions.
    pub probs: Vec<f32>,
    /// What the policy expects of the rest of the episode, if it has a value function.
    pub value: Option<f32>,
    /// What each action is worth, if the policy tells it.
    pub action_values: Option<Vec<f32>>,
    /// The action that the policy takes.
    pub action: usize,
    /// The number of the player to move.
    pub to_move: usize,
    /// What else there is to see in a [`Playback::in_depth`].
    pub depth: Option<Depth>,
}

/// What goes on in a policy.
#[derive(Clone, Debug)]
pub struct Depth {
    /// What each layer makes of what is seen, by name; what actions are weighed by is last. None for a
    /// policy without layers.
    pub layers: NamedArrays,
    /// The action that the policy would take if it chose in the other way.
    pub other_action: usize,
}

impl Moment {
    /// Puts the action that would be chosen in the other way in the place of the one that is.
    pub fn swap_actions(&mut self) {
        if let Some(depth) = &mut self.depth {
            std::mem::swap(&mut self.action, &mut depth.other_action);
        }
    }

    /// What a painter sees of it.
    pub fn frame(&self) -> Frame<'_> {
        Frame { state: &self.state, obs: &self.obs }
    }
}

/// What came of a step.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// With several players, that of player 0.
    pub reward: f32,
    /// With several players, those of players 1, 2 and so on.
    pub other_rewards: Vec<f32>,
    pub terminated: bool,
    pub truncated: bool,
    /// In the order of the spec.
    pub metrics: Vec<f32>,
}

/// The first state of the world of a number.
type World<'a> = &'a dyn Fn(&Leaves, Int) -> Leaves;

/// The episode before a step: the environment's state, what the policy remembers, and the keys of the episode.
pub(super) type Now = (Leaves, Leaves, Key);

/// What the program `begin` gives: the environment's state, what the policy remembers, and the keys of the episode.
pub(super) type Begun = (Leaves, (Leaves, Key));

/// What the program `look` gives, beside what the policy remembers.
struct Look {
    /// f32`[O, 1]`: as the environment shows it, whatever the network reads.
    obs: Float,
    mask: Option<Bool>,
    to_move: Option<Int>,
    decision: Decision,
    depth: Option<Inside>,
}
crate::tree!(Look { obs, mask, to_move, decision, depth });

struct Inside {
    layers: Leaves,
    other_action: Int,
}
crate::tree!(Inside { layers, other_action });

/// What the program `step` gives, one environment on the last axis: its state, and what came of the step.
pub(super) type Stepped = (Leaves, Came);

pub(super) struct Came {
    /// For each player.
    pub rewards: Vec<Float>,
    pub terminated: Bool,
    pub truncated: Bool,
    pub metrics: Vec<Float>,
}
crate::tree!(Came { rewards, terminated, truncated, metrics });

impl Playback {
    /// Compiles the programs.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn new(client: &Client, env: &dyn AnyEnv, policy: &Policy) -> Result<Playback> {
        Playback::with(client, env, policy, false, None)
    }

    /// As [`Playback::new`], in the worlds of an environment that knows its worlds by numbers: a seed is the number of one, and all
    /// episodes of it begin there.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    ///
    /// # Panics
    /// The environment has no such worlds.
    pub fn in_worlds(client: &Client, env: &dyn AnyEnv, policy: &Policy) -> Result<Playback> {
        let world = |params: &Leaves, number: Int| {
            env.world(params, number).expect("the environment knows its worlds by numbers")
        };
        Playback::with(client, env, policy, false, Some(&world))
    }

    /// As [`Playback::new`], with all that goes on in the policy: [`Moment::depth`].
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn in_depth(client: &Client, env: &dyn AnyEnv, policy: &Policy) -> Result<Playback> {
        Playback::with(client, env, policy, true, None)
    }

    fn with(
        client: &Client,
        env: &dyn AnyEnv,
        policy: &Policy,
        in_depth: bool,
        world: Option<World>,
    ) -> Result<Playback> {
        let options = lower::Options::default();
        let (structure, values) = params_of(env);
        let number = Int::placeholder(DType::I32, []);
        let begin = begin(client.target(), env, policy, world).compile(client, "begin")?;
        let (state, (carry, keys)) = begin.output().duplicate();
        let input = (policy.structure(), structure.clone(), (state.clone(), carry, keys.duplicate()), number);
        let look = Jit::new(client, "look", &options, &input, |(weights, params, now, step)| {
            let (state, carry, keys) = now;
            let view = vector::view(env, &params, &state);
            let [action_keys, _] = step_keys(keys.into_words(), step);
            let obs = vmap_last(state, |state| env.observe(&params, &state).actor.flatten());
            let depth =
                in_depth.then(|| inside(policy, &weights, carry.clone(), &view, action_keys.duplicate()));
            let (carry, decision) = policy.act(&weights, carry, &view, action_keys);
            (carry, Look { obs, mask: view.mask, to_move: view.to_move, decision, depth })
        })?;
        let input = (structure.clone(), state, keys, number, Int::placeholder(DType::I32, [1]));
        let step = Jit::new(client, "step", &options, &input, |(params, state, keys, number, action)| {
            let [_, keys] = step_keys(keys.into_words(), number);
            vmap_last((keys, state, action), |(key, state, action)| {
                one_step(env, &params, key, state, action)
            })
        })?;
        Ok(Playback {
            begin,
            look,
            step,
            policy_params: OnDevice::new(client, &policy.structure(), &[policy.params().to_vec()])?,
            env_params: OnDevice::new(client, &structure, &[values])?,
            state: None,
            carry: None,
            keys: None,
            steps: 0,
            action: 0,
            seat: None,
            choice: policy.choice(),
        })
    }

    /// How the policy chooses.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// The policy is this one of several players from the next episode on: what the others see, it does not remember.
    pub fn take_seat(&mut self, player: usize) {
        self.seat = Some(player);
    }

    /// Begins episode `number` of a seed.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn begin(&mut self, seed: u64, number: usize) -> Result<Moment> {
        let words = HostArray::new(&[2], vec![(seed >> 32) as u32, seed as u32]);
        let given = self.begin.upload([&words, &HostArray::scalar(number as i32)])?;
        let (state, rest) = self.begin.call([self.env_params.lend(), given])?.unzip();
        let (carry, keys) = rest.unzip();
        (self.state, self.carry, self.keys) = (Some(state), Some(carry), Some(keys));
        self.steps = 0;
        self.moment()
    }

    /// Takes the policy's action of the last moment.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn step(&mut self) -> Result<(Outcome, Moment)> {
        self.take(self.action)
    }

    /// Takes this action.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn take(&mut self, action: usize) -> Result<(Outcome, Moment)> {
        let (state, keys) = (self.state.take().expect(BEGUN), self.keys.as_ref().expect(BEGUN));
        let number = HostArray::scalar(self.steps as i32);
        let rest = self.step.upload([&number, &HostArray::new(&[1], vec![action as i32])])?;
        let stepped = self.step.call([self.env_params.lend(), state.lend(), keys.lend(), rest])?;
        let (state, came) = stepped.unzip();
        self.state = Some(state);
        self.steps += 1;
        let mut came = came.fetch_all()?;
        let mut numbers = |name: &str| -> Vec<f32> {
            came.take_below(name).iter().map(|(_, value)| number_in(value) as f32).collect()
        };
        let (mut rewards, metrics) = (numbers("rewards"), numbers("metrics"));
        let outcome = Outcome {
            reward: rewards.remove(0),
            other_rewards: rewards,
            terminated: number_in(&came.take("terminated")) != 0.0,
            truncated: number_in(&came.take("truncated")) != 0.0,
            metrics,
        };
        Ok((outcome, self.moment()?))
    }

    fn moment(&mut self) -> Result<Moment> {
        let (state, keys) = (self.state.as_ref().expect(BEGUN), self.keys.as_ref().expect(BEGUN));
        let before = self.carry.take().expect(BEGUN);
        let step = self.look.upload([&HostArray::scalar(self.steps as i32)])?;
        let params = [self.policy_params.lend(), self.env_params.lend()];
        let inputs = params.into_iter().chain([state.lend(), before.lend(), keys.lend(), step]);
        let (carry, look) = self.look.call(inputs)?.unzip();
        let mut look = look.fetch_all()?;
        let floats = |array: HostArray| array.as_slice::<f32>().to_vec();
        self.action = number_in(&look.take("decision.action")) as usize;
        let layers = look.take_below("depth.layers");
        let depth = look.take_if_any("depth.other_action").map(|action| {
            let shaped = |(name, array): (String, HostArray)| (name, without_rows(&array));
            let layers = layers.into_iter().map(shaped).collect();
            Depth { layers, other_action: number_in(&action) as usize }
        });
        let moment = Moment {
            state: state.fetch_all()?.into_named(),
            obs: floats(look.take("obs")),
            mask: look.take_if_any("mask").map(|mask| mask.as_slice::<bool>().to_vec()),
            probs: floats(look.take("decision.probs")),
            value: look.take_if_any("decision.value").map(|value| number_in(&value) as f32),
            action_values: look.take_if_any("decision.action_values").map(floats),
            action: self.action,
            to_move: look.take_if_any("to_move").map_or(0, |player| number_in(&player) as usize),
            depth,
        };
        let is_own = self.seat.is_none_or(|seat| seat == moment.to_move);
        self.carry = Some(if is_own { carry } else { before });
        Ok(moment)
    }
}

/// What goes on in a policy beside its decision.
#[track_caller]
fn inside(policy: &Policy, weights: &Leaves, carry: Leaves, view: &View, keys: Key) -> Inside {
    let layers = policy.layer_outputs(weights, carry.clone(), view);
    let layers = Leaves(layers.into_iter().map(|(name, output)| (name, output.handle())).collect());
    let other = policy.clone().with_choice(policy.choice().other());
    let (_, decision) = other.act(weights, carry, view, keys);
    Inside { layers, other_action: decision.action }
}

/// The u64 that two words u32`[2]` are, the high one first.
#[track_caller]
fn number_of(words: Int) -> Int {
    let [high, low] = [0, 1].map(|place| words.index(0, place).as_u64());
    (high << 32) | low
}

/// The only row of an array.
fn without_rows(array: &HostArray) -> HostArray {
    let array_type = ArrayType::new(array.dtype(), &array.shape()[1..]);
    HostArray::from_bytes(&array_type, &array.to_bytes()).expect("there is one row")
}

const BEGUN: &str = "an episode was begun";

/// The start of an episode.
#[track_caller]
pub(super) fn begin(
    target: Target,
    env: &dyn AnyEnv,
    policy: &Policy,
    world: Option<World>,
) -> Lowered<(Leaves, Int, Int), Begun> {
    let (words, number) = (Int::placeholder(DType::U32, [2]), Int::placeholder(DType::I32, []));
    let input = (params_of(env).0, words, number);
    Lowered::new(target, &lower::Options::default(), &input, |(params, seed, number)| {
        let [reset, keys] = episode_keys(Key::from_words(seed), number, 1);
        let state = match world {
            None => vector::reset(env, &params, reset),
            Some(world) => vmap_last(number_of(seed).reshape([1]), |number| world(&params, number)),
        };
        (state, (policy.begin(1), keys))
    })
}

pub(super) fn one_step(env: &dyn AnyEnv, params: &Leaves, key: Key, state: Leaves, action: Int) -> Stepped {
    let step = env.step(params, key, state, action);
    let truncated = step.truncated.unwrap_or_else(|| step.terminated.full_like(false));
    let came = Came {
        rewards: (0..env.spec().players).map(|player| step.reward_of(player)).collect(),
        terminated: step.terminated,
        truncated: truncated & !step.terminated,
        metrics: step.metrics,
    };
    (step.state, came)
}

/// The only number in an array.
fn number_in(array: &HostArray) -> f64 {
    array.to_f64()[0]
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::algorithms::evaluation::{Evaluator, Plan};
    use crate::algorithms::policy::NetworkActor;
    use crate::envs::{CartPole, Erased};
    use crate::interpret::interpret;
    use crate::lang::trace;
    use crate::nn::{Activation, ActorCritic, Channels, Init, Network, Settings, ValueHead};
    use crate::runtime::plugin;

    #[test]
    fn in_depth_the_last_layer_weighs_the_actions() {
        let env = Erased::new(CartPole);
        let settings = Settings {
            hidden_dim: 8,
            num_layers: 2,
            activation: Activation::Relu,
            separate_trunks: false,
            init: Init::Lecun,
            conv: vec![],
            conv_channels: Channels::Last,
            rnn: None,
            rnn_dim: 1,
            privileged_critic: false,
            value_head: ValueHead::Simple,
        };
        let network = ActorCritic::new(settings, &env.spec()).unwrap();
        let weights = interpret(&trace(&(), |()| network.init(Key::new(2))).graph, &[]);
        let policy = Policy::new(Rc::new(NetworkActor::of(network)), weights, Choice::Greedy);
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let mut playback = Playback::in_depth(&client, &env, &policy).unwrap();
        let mut moment = playback.begin(1, 0).unwrap();
        for _ in 0..3 {
            let depth = moment.depth.clone().unwrap();
            let shapes: Vec<(&str, usize)> =
                depth.layers.iter().map(|(name, values)| (name.as_str(), values.shape()[0])).collect();
            assert_eq!(shapes, [("trunk.0", 8), ("trunk.1", 8), ("logits", 2)]);
            let weighed: Vec<f64> = depth.layers[2].1.to_f64().into_iter().map(f64::exp).collect();
            let share = weighed[0] / weighed.iter().sum::<f64>();
            assert!((share - f64::from(moment.probs[0])).abs() < 1e-5, "{share} {:?}", moment.probs);
            let (greedy, drawn) = (moment.action, depth.other_action);
            assert!(moment.probs[greedy] >= moment.probs[1 - greedy] && drawn < 2);
            moment.swap_actions();
            assert_eq!((moment.action, moment.depth.unwrap().other_action), (drawn, greedy));
            moment = playback.step().unwrap().1;
        }
    }

    #[test]
    fn an_episode_is_the_one_that_is_evaluated() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let env = Erased::new(CartPole);
        let policy = Policy::random(&env.spec());
        let plan = Plan { episodes: 3, max_steps: 1000, seed: 7 };
        let episodes = Evaluator::new(&client, &env, &policy, 3).unwrap().run(&plan).unwrap();
        let mut playback = Playback::new(&client, &env, &policy).unwrap();
        for (number, expected) in episodes.iter().enumerate() {
            let mut moment = playback.begin(7, number).unwrap();
            let mut length = 0;
            loop {
                assert_eq!((moment.obs.len(), moment.probs.as_slice()), (4, &[0.5, 0.5][..]));
                assert_eq!((moment.value, &moment.mask, moment.depth.is_none()), (None, &None, true));
                let x = &moment.state.iter().find(|(name, _)| name == "x").unwrap().1;
                assert_eq!((x.shape(), x.to_f64()[0] as f32), (&[1][..], moment.obs[0]));
                let (outcome, next) = playback.step().unwrap();
                moment = next;
                length += 1;
                if outcome.terminated || outcome.truncated {
                    break;
                }
            }
            assert_eq!(length, expected.episode_length, "episode {number}");
        }
    }
}
