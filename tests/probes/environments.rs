//! Probe environments for what an observation and a game can be: a picture, something that only the value function may see, a
//! second player.

use std::rc::Rc;

use lockstep::algorithms::evaluation::{Evaluator, Plan};
use lockstep::algorithms::policy::Policy;
use lockstep::algorithms::ppo::{Ppo, Settings};
use lockstep::envs::{AnyEnv, Env, EnvSpec, Erased, Observation, Step, conformance, vector};
use lockstep::interpret::interpret;
use lockstep::lang::{Float, Int, Key, boolean, constant, float, int, iota, select, stack, trace};

use crate::common::client;

/// A noisy picture of 10x10 with one bright quadrant: to say which one pays 1. It takes a network that reads pictures.
pub struct BrightQuadrant;

#[derive(Clone, Copy)]
pub struct Picture {
    /// f32`[10, 10]`
    pixels: Float,
    /// 0..4, row by row.
    bright: Int,
}
lockstep::tree!(Picture { pixels, bright });

impl Env for BrightQuadrant {
    type State = Picture;
    type Params = ();

    fn spec(&self) -> EnvSpec {
        EnvSpec::new("bright_quadrant", [10, 10], 4)
    }
    fn default_params(&self) {}
    fn reset(&self, _: &(), key: Key) -> Picture {
        let [noise, choice] = key.split();
        let bright = choice.integers([], 0..4);
        let [row, col] = [0, 1].map(|axis| iota(lockstep::array::DType::I32, [10, 10], axis) / 5);
        let shines = (row * 2 + col).eq(bright);
        let noise = noise.uniform([10, 10], 0.0..0.5);
        Picture { pixels: select(shines, noise + 0.5, noise), bright }
    }
    fn step(&self, _: &(), _key: Key, state: Picture, action: Int) -> Step<Picture> {
        Step {
            reward: action.eq(state.bright).as_f32(),
            terminated: boolean(true),
            truncated: None,
            metrics: vec![],
            state,
        }
    }
    fn observe(&self, _: &(), state: &Picture) -> Observation {
        state.pixels.into()
    }
}

/// A coin that only the value function sees is paid, whatever the agent does: the value is 1 or -1 with the privileged
/// observation, 0 without.
pub struct HiddenCoin;

#[derive(Clone, Copy)]
pub struct Coin {
    side: Float,
}
lockstep::tree!(Coin { side });

impl Env for HiddenCoin {
    type State = Coin;
    type Params = ();

    fn spec(&self) -> EnvSpec {
        EnvSpec { privileged_shape: Some(vec![1]), ..EnvSpec::new("hidden_coin", [1], 2) }
    }
    fn default_params(&self) {}
    fn reset(&self, _: &(), key: Key) -> Coin {
        Coin { side: super::coin(key) }
    }
    fn step(&self, _: &(), _key: Key, state: Coin, _action: Int) -> Step<Coin> {
        Step {
            reward: state.side,
            terminated: boolean(false),
            truncated: Some(boolean(true)),
            metrics: vec![],
            state,
        }
    }
    fn observe(&self, _: &(), state: &Coin) -> Observation {
        Observation { actor: stack([float(1.0)]), privileged: Some(stack([state.side])) }
    }
}

/// An environment without its privileged observations.
pub struct Blind<E>(pub E);

impl<E: Env> Env for Blind<E> {
    type State = E::State;
    type Params = E::Params;

    fn spec(&self) -> EnvSpec {
        EnvSpec { privileged_shape: None, ..self.0.spec() }
    }
    fn default_params(&self) -> E::Params {
        self.0.default_params()
    }
    fn reset(&self, params: &E::Params, key: Key) -> E::State {
        self.0.reset(params, key)
    }
    fn step(&self, params: &E::Params, key: Key, state: E::State, action: Int) -> Step<E::State> {
        self.0.step(params, key, state, action)
    }
    fn observe(&self, params: &E::Params, state: &E::State) -> Observation {
        self.0.observe(params, state).actor.into()
    }
}

/// Matching pennies: player 0 lays a penny, then player 1, who has not seen it. Two heads pay `heads` to player 0, two tails 1, and
/// player 1 pays it; else player 0 pays 1 to player 1. In equilibrium both lay heads with probability 2 / (`heads` + 3).
pub struct MatchingPennies {
    pub heads: f64,
}

/// What two heads pay.
#[derive(Clone, Copy)]
pub struct Prize {
    heads: Float,
}
lockstep::tree!(Prize { heads });

#[derive(Clone, Copy)]
pub struct Pennies {
    /// Pennies that lie.
    laid: Int,
    /// The side of the first.
    first: Int,
}
lockstep::tree!(Pennies { laid, first });

impl Env for MatchingPennies {
    type State = Pennies;
    type Params = Prize;

    fn spec(&self) -> EnvSpec {
        EnvSpec { players: 2, ..EnvSpec::new("matching_pennies", [2], 2) }
    }
    fn default_params(&self) -> Prize {
        Prize { heads: float(self.heads) }
    }
    fn reset(&self, _: &Prize, _key: Key) -> Pennies {
        Pennies { laid: int(0), first: int(0) }
    }
    fn step(&self, prize: &Prize, _key: Key, state: Pennies, action: Int) -> Step<Pennies> {
        let over = state.laid.eq(1);
        let won = select(action.eq(state.first), select(action.eq(0), prize.heads, 1.0), -1.0);
        Step {
            reward: select(over, stack([won, -won]), constant([0.0, 0.0])),
            terminated: over,
            truncated: None,
            metrics: vec![],
            state: Pennies { laid: state.laid + 1, first: select(over, state.first, action) },
        }
    }
    fn observe(&self, prize: &Prize, state: &Pennies) -> Observation {
        self.to_move(prize, state).one_hot(2).as_f32().into()
    }
    fn to_move(&self, _: &Prize, state: &Pennies) -> Int {
        state.laid.minimum(1)
    }
}

#[test]
fn the_probes_keep_the_contract() {
    let probes: [Box<dyn AnyEnv>; 3] = [
        Box::new(Erased::new(BrightQuadrant)),
        Box::new(Erased::new(HiddenCoin)),
        Box::new(Erased::new(MatchingPennies { heads: 1.0 })),
    ];
    for probe in &probes {
        conformance(&**probe).unwrap();
    }
}

/// The view of `B` = 5 first states, and what a step with these actions gives: outputs by name.
fn seen_and_stepped(
    env: &dyn AnyEnv,
    actions: [i32; 5],
    steps: usize,
) -> Vec<(String, Vec<usize>, Vec<f64>)> {
    let traced = trace(&(), |()| {
        let params = env.default_params();
        let mut state = vector::reset(env, &params, Key::new(3).split_last(5));
        let mut last = None;
        let view = vector::view(env, &params, &state);
        for i in 0..steps {
            let keys = Key::new(4).fold_in(i as i32).split_last(5);
            let step = vector::step(env, &params, keys, state, constant(actions), None);
            state = step.state.clone();
            last = Some((step.reward, step.done, step.truncated));
        }
        (view, last)
    });
    let values = interpret(&traced.graph, &[]);
    let named = traced.output_names.into_iter().zip(values);
    named.map(|(name, value)| (name, value.shape().to_vec(), value.to_f64())).collect()
}

fn find<'a>(all: &'a [(String, Vec<usize>, Vec<f64>)], name: &str) -> (&'a [usize], &'a [f64]) {
    let (_, shape, values) = all.iter().find(|(found, ..)| found == name).unwrap();
    (shape, values)
}

#[test]
fn observations_of_any_shape_are_stored_flat() {
    let all = seen_and_stepped(&Erased::new(BrightQuadrant), [0; 5], 1);
    let (shape, pixels) = find(&all, "0.obs");
    assert_eq!(shape, [5, 100]);
    for picture in pixels.chunks(100) {
        let bright: Vec<usize> = (0..100).filter(|&i| picture[i] >= 0.5).collect();
        assert_eq!(bright.len(), 25);
        assert!(
            bright.iter().all(|i| (i / 50, i % 10 / 5) == (bright[0] / 50, bright[0] % 10 / 5)),
            "{bright:?}"
        );
    }
    assert!(all.iter().all(|(name, ..)| !name.contains("privileged") && !name.contains("to_move")));
}

#[test]
fn what_only_the_value_function_sees_comes_with_the_view_and_with_a_cut_off() {
    let all = seen_and_stepped(&Erased::new(HiddenCoin), [0; 5], 1);
    let (shape, sides) = find(&all, "0.privileged");
    assert_eq!(shape, [5, 1]);
    assert!(sides.contains(&1.0) && sides.contains(&-1.0), "{sides:?}");
    // The last state is seen before the reset: it still has the coin that was paid.
    assert_eq!(find(&all, "1.2.1.privileged"), (&[5, 1][..], sides));
    assert_eq!(find(&all, "1.0").1, sides);
}

#[test]
fn players_move_in_turn_and_each_is_paid() {
    let all = seen_and_stepped(&Erased::new(MatchingPennies { heads: 1.0 }), [0, 1, 0, 1, 0], 2);
    assert_eq!(find(&all, "0.to_move"), (&[5][..], &[0.0; 5][..]));
    assert_eq!(find(&all, "1.0"), (&[2, 5][..], &[[1.0; 5], [-1.0; 5]].concat()[..]));
    let env = Erased::new(MatchingPennies { heads: 1.0 });
    let plan = Plan { episodes: 100, max_steps: 10, seed: 2 };
    let evaluator = Evaluator::new(client(), &env, &Policy::random(&env.spec()), plan.episodes).unwrap();
    let episodes = evaluator.run(&plan).unwrap();
    assert!(episodes.iter().all(|e| e.episode_length == 2 && e.episode_return.abs() == 1.0));
    let won = episodes.iter().filter(|episode| episode.episode_return > 0.0).count();
    assert!((20..80).contains(&won), "{won} of 100 fair games");
    let settings = Settings { num_envs: 4, num_steps: 4, ..Settings::default() };
    let error = Ppo::new(settings, Rc::new(env)).err().unwrap().to_string();
    assert_eq!(error, "matching_pennies is a game for 2 players; add --opponent NAME, one of self, pool");
}
