//! CartPole: balance a pole on a cart by pushing it left or right.
//!
//! The rules are those of Gymnasium's `CartPole-v1` (after Barto, Sutton and Anderson, 1983, "Neuronlike
//! adaptive elements that can solve difficult learning control problems"): Euler integration, reward 1 per step, the
//! episode ends when the cart leaves the track or the pole falls, and is cut off after 500 steps.

mod painter;

use std::sync::LazyLock;

use crate::lang::{Float, Int, Key, float, int, select, stack};

use super::Description;
use super::layout::Layout;
use super::painter::Painter;
use super::{Env, EnvSpec, Health, Observation, Step};

pub struct CartPole;

/// Position (m), velocity (m/s), angle (rad), angular velocity (rad/s) and steps taken.
#[derive(Clone, Copy)]
pub struct State {
    x: Float,
    x_dot: Float,
    theta: Float,
    theta_dot: Float,
    time: Int,
}
crate::tree!(State { x, x_dot, theta, theta_dot, time });

/// The physics, in SI units, and the limits of an episode.
#[derive(Clone, Copy)]
pub struct Params {
    gravity: Float,
    cart_mass: Float,
    pole_mass: Float,
    /// Half of the pole's length.
    half_length: Float,
    push: Float,
    /// Seconds per step.
    tau: Float,
    max_x: Float,
    max_theta: Float,
    max_steps: Int,
}
crate::tree!(Params { gravity, cart_mass, pole_mass, half_length, push, tau, max_x, max_theta, max_steps });

/// Names and numbers.
static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/cartpole/layout.json")));

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    Box::new(painter::CartPolePainter { description: description() })
}

/// The observation, the actions, the reward and the parameters in names.
pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// Gymnasium calls CartPole-v1 solved from a mean return of 475 on.
pub(super) const HEALTH: Health = Health { solved_return: Some(475.0), ranges: &[] };

impl Env for CartPole {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        EnvSpec::new("cartpole", [4], 2)
    }

    fn default_params(&self) -> Params {
        Params {
            gravity: LAYOUT.float("gravity"),
            cart_mass: LAYOUT.float("cart_mass"),
            pole_mass: LAYOUT.float("pole_mass"),
            half_length: LAYOUT.float("half_length"),
            push: LAYOUT.float("push"),
            tau: LAYOUT.float("tau"),
            max_x: LAYOUT.float("max_x"),
            max_theta: LAYOUT.float("max_theta"),
            max_steps: LAYOUT.int("max_steps"),
        }
    }

    fn reset(&self, _params: &Params, key: Key) -> State {
        let [x, x_dot, theta, theta_dot] = key.uniform([4], -0.05..0.05).unstack();
        State { x, x_dot, theta, theta_dot, time: int(0) }
    }

    fn step(&self, p: &Params, _key: Key, s: State, action: Int) -> Step<State> {
        let force = select(action.eq(1), p.push, -p.push);
        let (sin, cos) = (s.theta.sin(), s.theta.cos());
        let total_mass = p.cart_mass + p.pole_mass;
        let pole_moment = p.pole_mass * p.half_length;
        let push = (force + pole_moment * s.theta_dot.square() * sin) / total_mass;
        let theta_acc = (p.gravity * sin - cos * push)
            / (p.half_length * (4.0 / 3.0 - p.pole_mass * cos.square() / total_mass));
        let x_acc = push - pole_moment * theta_acc * cos / total_mass;
        let next = State {
            x: s.x + p.tau * s.x_dot,
            x_dot: s.x_dot + p.tau * x_acc,
            theta: s.theta + p.tau * s.theta_dot,
            theta_dot: s.theta_dot + p.tau * theta_acc,
            time: s.time + 1,
        };
        Step {
            reward: float(LAYOUT.pays("step")),
            terminated: next.x.abs().gt(p.max_x) | next.theta.abs().gt(p.max_theta),
            truncated: Some(next.time.ge(p.max_steps)),
            metrics: vec![],
            state: next,
        }
    }

    fn observe(&self, _params: &Params, s: &State) -> Observation {
        stack([s.x, s.x_dot, s.theta, s.theta_dot]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::HostArray;
    use crate::lang::{trace, vmap_last};
    use crate::runtime::{Arg, Client, CompileOptions, DeviceKind, Target, plugin};

    #[test]
    fn the_device_and_the_oracle_agree_on_a_rollout() {
        let env = CartPole;
        let traced = trace(&(), |()| {
            let params = env.default_params();
            let [reset_key, key] = Key::new(7).split();
            let state = vmap_last(reset_key.split_last(8), |key| env.reset(&params, key));
            let keys = key.split_many(50);
            let ((_, _), (obs, dones)) = crate::lang::scan((state, int(0)), keys, |(state, t), key| {
                let [a, b] = key.split();
                let action = a.integers([8], 0..2);
                let (state, obs, done) =
                    vmap_last((state, action, b.split_last(8)), |(state, action, key)| {
                        let [step_key, reset_key] = key.split();
                        let step = env.step(&params, step_key, state, action);
                        let done = step.terminated | step.truncated.unwrap();
                        let state = crate::lang::rare(done, (step.state, reset_key), |(_, key)| {
                            let [now, later] = key.split();
                            (env.reset(&params, now), later)
                        })
                        .0;
                        (state, env.observe(&params, &state).actor, done)
                    });
                ((state, t + 1), (obs, done.as_i32()))
            });
            (obs, dones)
        });
        crate::ir::check(&traced.graph).unwrap();
        let module = crate::lower::lower(&traced.graph, &Default::default(), Target::plain(DeviceKind::Cpu));
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let program = client.compile(&module, &CompileOptions::default()).unwrap();
        let on_device: Vec<HostArray> =
            program.run(Vec::<Arg>::new()).unwrap().iter().map(|b| b.to_host().unwrap()).collect();
        let on_host = crate::interpret::interpret(&traced.graph, &[]);
        assert_eq!(on_device[1], on_host[1]);
        assert!(on_host[1].to_f64().iter().sum::<f64>() > 5.0);
        for (a, b) in on_device[0].to_f64().iter().zip(on_host[0].to_f64()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
