//! Reward shaping: an agent learns from another reward than the game's, which leads it there sooner.
//!
//! [`RewardShaping`] wraps an environment. Its steps pay what a function makes of each step of the game, and it tells both returns of an
//! episode apart: `stats/raw_return` is the game's, by which agents are compared, `stats/shaped_return` is what the agent learned from,
//! as the return of every other metric. Any function may change which policies are best. [`RewardShaping::by_potential`] does not (Ng,
//! Harada and Russell 1999): it pays gamma phi(s') - phi(s) more for a step from s to s', so whatever a detour pays, the way back takes.

use crate::lang::{Bool, Float, Int, Key, Tree, float, select};

use super::env::Aggregate;
use super::{Env, EnvSpec, Metric, Observation, Step};

/// The part of the reward that the shaping adds, where an environment tells its parts.
const PART: &str = "reward/shaping";

/// An environment for one player that pays something else.
pub struct RewardShaping<E, F> {
    env: E,
    pays: F,
}

/// A state, and what its episode has paid so far, f32 scalars.
#[derive(Clone)]
pub struct Shaped<S> {
    state: S,
    raw: Float,
    shaped: Float,
}
crate::tree!(Shaped<S> { state, raw, shaped });

/// What says the reward of a step, an f32 scalar: of the parameters, the state before, the action, and the step as the game has it, with
/// its reward and the state after it.
pub trait Pays<E: Env>: Fn(&E::Params, &E::State, Int, &Step<E::State>) -> Float {}

impl<E: Env, F: Fn(&E::Params, &E::State, Int, &Step<E::State>) -> Float> Pays<E> for F {}

impl<E, F> RewardShaping<E, F>
where
    E: Env,
    F: Fn(&E::Params, &E::State, Int, &Step<E::State>) -> Float,
{
    /// The environment with other rewards, which are those that `pays` says ([`Pays`]).
    pub fn new(env: E, pays: F) -> RewardShaping<E, F> {
        RewardShaping { env, pays }
    }
}

impl<E: Env> RewardShaping<E, ()> {
    /// The game's reward and `gamma` phi(s') - phi(s), where the `potential` phi (an f32 scalar) says how good a state looks. In a state
    /// that ends the episode it is 0, whatever the function says, and so it is paid back; in one where the episode is cut off it is not.
    /// The best policies stay the same ones if `gamma` is the discount of the algorithm.
    pub fn by_potential<P: Fn(&E::Params, &E::State) -> Float>(
        env: E,
        gamma: f64,
        potential: P,
    ) -> RewardShaping<E, impl Pays<E>> {
        RewardShaping::new(
            env,
            move |params: &E::Params, before: &E::State, _: Int, step: &Step<E::State>| {
                let after = select(step.terminated, 0.0, potential(params, &step.state));
                step.reward + gamma * after - potential(params, before)
            },
        )
    }
}

impl<E: Env, F: Pays<E>> Env for RewardShaping<E, F> {
    type State = Shaped<E::State>;
    type Params = E::Params;

    fn spec(&self) -> EnvSpec {
        let mut spec = self.env.spec();
        assert!(spec.players == 1, "{}: reward shaping is for games for one player", spec.name);
        if has_parts(&spec) {
            spec.metrics.push(Metric {
                name: PART.into(),
                aggregate: Aggregate::Mean,
                unit: "reward",
                description: "part of the mean reward of a step: what its shaping adds".into(),
            });
        }
        let outcome = |name: &str, description: &str| Metric::outcome(name, "reward", description);
        spec.metrics.extend([
            outcome("raw_return", "mean return of the episodes that ended, by the game's own rewards"),
            outcome("shaped_return", "the same by the rewards that the agent learns from"),
        ]);
        spec
    }

    fn default_params(&self) -> E::Params {
        self.env.default_params()
    }

    fn phases(&self) -> Vec<E::Params> {
        self.env.phases()
    }

    fn reset(&self, params: &E::Params, key: Key) -> Self::State {
        begin(self.env.reset(params, key))
    }

    fn restart(&self, params: &E::Params, key: Key, ended: Self::State) -> Self::State {
        begin(self.env.restart(params, key, ended.state))
    }

    fn step(&self, params: &E::Params, key: Key, before: Self::State, action: Int) -> Step<Self::State> {
        let Shaped { state, raw, shaped } = before;
        let step = self.env.step(params, key, state.duplicate(), action);
        let reward = (self.pays)(params, &state, action, &step);
        let Step { state, reward: own, terminated, truncated, mut metrics } = step;
        let (raw, shaped) = (raw + own, shaped + reward);
        metrics.extend(has_parts(&self.env.spec()).then(|| reward - own));
        metrics.extend([raw, shaped]);
        Step { state: Shaped { state, raw, shaped }, reward, terminated, truncated, metrics }
    }

    fn observe(&self, params: &E::Params, state: &Self::State) -> Observation {
        self.env.observe(params, &state.state)
    }

    fn action_mask(&self, params: &E::Params, state: &Self::State) -> Option<Bool> {
        self.env.action_mask(params, &state.state)
    }

    fn players(&self) -> Vec<super::Player> {
        self.env.players()
    }
}

fn begin<S>(state: S) -> Shaped<S> {
    Shaped { state, raw: float(0.0), shaped: float(0.0) }
}

/// Whether an environment tells the parts of its rewards, which must sum to it then.
fn has_parts(spec: &EnvSpec) -> bool {
    spec.metrics.iter().any(|metric| metric.name.starts_with("reward/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::{CartPole, Erased, conformance, hackmatrix::HackMatrix};
    use crate::interpret::interpret;
    use crate::lang::{boolean, int, trace};

    /// Counts to 3, where it ends or is cut off, and pays 10 for it.
    struct Count {
        cut_off: bool,
    }

    impl Env for Count {
        type State = Float;
        type Params = ();

        fn spec(&self) -> EnvSpec {
            EnvSpec::new("count", [1], 2)
        }
        fn default_params(&self) {}
        fn reset(&self, _: &(), _: Key) -> Float {
            float(0.0)
        }
        fn step(&self, _: &(), _: Key, state: Float, _: Int) -> Step<Float> {
            let state = state + 1.0;
            let over = state.ge(3.0);
            let (terminated, truncated) =
                if self.cut_off { (boolean(false), Some(over)) } else { (over, None) };
            Step { state, reward: select(over, 10.0, float(0.0)), terminated, truncated, metrics: vec![] }
        }
        fn observe(&self, _: &(), state: &Float) -> Observation {
            state.expand_dims(0).into()
        }
    }

    /// The rewards of an episode, and then both returns.
    fn played<E: Env<State = Float, Params = ()>>(env: &RewardShaping<E, impl Pays<E>>) -> Vec<f64> {
        let traced = trace(&(), |()| {
            let mut state = env.reset(&(), Key::new(0));
            let (mut rewards, mut returns) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                let step = env.step(&(), Key::new(1), state, int(0));
                rewards.push(step.reward);
                returns = step.metrics;
                state = step.state;
            }
            [rewards, returns].concat()
        });
        interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()[0]).collect()
    }

    #[test]
    fn a_potential_is_paid_back_at_the_end() {
        let phi = |_: &(), state: &Float| *state * 2.0 + 1.0; // 1, 3, 5, 7
        let ended = RewardShaping::by_potential(Count { cut_off: false }, 0.5, phi);
        assert_eq!(played(&ended), [0.5, -0.5, 5.0, 10.0, 5.0]);
        let cut_off = RewardShaping::by_potential(Count { cut_off: true }, 0.5, phi);
        assert_eq!(played(&cut_off), [0.5, -0.5, 8.5, 10.0, 8.5]);
        // Without a discount all that is left of it is the potential of the first state.
        let whole = RewardShaping::by_potential(Count { cut_off: false }, 1.0, phi);
        assert_eq!(played(&whole)[3..], [10.0, 9.0]);
    }

    #[test]
    fn any_reward_can_take_the_place_of_the_games() {
        let env =
            RewardShaping::new(Count { cut_off: false }, |_: &(), before: &Float, _, step: &Step<Float>| {
                step.reward * 0.1 + step.state - *before
            });
        assert_eq!(played(&env), [1.0, 1.0, 2.0, 10.0, 4.0]);
    }

    #[test]
    fn what_is_shaped_is_an_environment() {
        let cartpole = RewardShaping::new(CartPole, |_: &_, _: &_, _, step: &Step<_>| step.reward * 2.0);
        conformance(&Erased::new(cartpole)).unwrap();
        // It tells the parts of its reward, which must still sum to it.
        let hackmatrix =
            RewardShaping::new(HackMatrix::default(), |_: &_, _: &_, _, step: &Step<_>| step.reward + 0.5);
        conformance(&Erased::new(hackmatrix)).unwrap();
    }
}
