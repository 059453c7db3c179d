//! What every environment must do, whatever its rules: one call in a test of the crate that defines it.
//!
//! Many episodes of random valid play are compared with what was promised, and with the same play in other circumstances: again,
//! after other episodes, with and without native kernels, in the form of the program for GPUs.

use anyhow::{Result, ensure};

use crate::array::{ArrayType, DType, HostArray};
use crate::lang::{
    Bool, Float, Handle, Int, Key, Leaves, Outputs, Tree, boolean, leaf_types, scan_range, trace, traced_for,
    vmap_last,
};
use crate::lower::{Options, lower};
use crate::runtime::{Arg, Client, CompileOptions, DeviceKind, plugin};

use super::{AnyEnv, EnvSpec, default_params, phases, random_action, vector};

/// Environments side by side.
const ENVS: usize = 16;
/// Steps of each; the second number if no episode ended in the first.
const STEPS: [usize; 2] = [60, 2000];

/// Checks an environment: what its functions return is what its spec says; observations and rewards are finite; flags are 0 or 1;
/// a mask always allows something; metrics named `reward/` sum to the reward; episodes end; and an episode is a function of
/// its parameters and keys alone, however the program is compiled. Takes some seconds, on the CPU.
///
/// ```no_run
/// # use lockstep::envs::{CartPole, Erased};
/// lockstep::envs::conformance(&Erased::new(CartPole)).unwrap();
/// ```
///
/// # Errors
/// One line with the environment's name: the first promise that it breaks, or what the device reports. A result that contradicts
/// the spec panics, as it does in every other program.
pub fn conformance(env: &dyn AnyEnv) -> Result<()> {
    let client = Client::open(&plugin::find(Some(DeviceKind::Cpu), None)?, 1)?;
    let name = env.spec().name;
    check_params(env)?;
    let mut plain =
        Circumstances { client: client.clone().with_kernels(false), steps: STEPS[0], used: false };
    let mut found = plain.play(env, 1)?;
    if !found.ended() {
        plain.steps = STEPS[1];
        found = plain.play(env, 1)?;
    }
    found.check(&env.spec(), plain.steps)?;
    ensure!(found == plain.play(env, 1)?, "{name}: the same key gives another episode");
    ensure!(found != plain.play(env, 2)?, "{name}: another key gives the same episode");
    let used = Circumstances { used: true, ..plain.clone() };
    ensure!(found == used.play(env, 1)?, "{name}: an episode depends on the one before");
    if client.target().kernels {
        let native = Circumstances { client, ..plain.clone() };
        ensure!(found == native.play(env, 1)?, "{name}: with native kernels another episode is played");
    }
    let as_on_a_gpu = traced_for(DeviceKind::Cuda, || plain.play(env, 1))?;
    ensure!(found.agrees(&as_on_a_gpu), "{name}: the form of the program for GPUs plays another episode");
    Ok(())
}

/// Parameters are finite, and those of all phases are of one form.
fn check_params(env: &dyn AnyEnv) -> Result<()> {
    let name = env.spec().name;
    let form = |params: &[(String, HostArray)]| -> Vec<(String, ArrayType)> {
        params.iter().map(|(name, value)| (name.clone(), value.array_type())).collect()
    };
    let default = default_params(env);
    for (leaf, value) in &default {
        let finite = value.to_f64().iter().all(|number| number.is_finite());
        ensure!(finite, "{name}: default_params() has a `{leaf}` that is not finite");
    }
    for (number, phase) in phases(env).iter().enumerate() {
        let same = form(phase) == form(&default);
        ensure!(same, "{name}: phases()[{number}] has other arrays than default_params()");
    }
    Ok(())
}

/// How episodes are played.
#[derive(Clone)]
struct Circumstances {
    client: Client,
    steps: usize,
    /// Whether the first states follow on episodes of other play.
    used: bool,
}

/// What is told of each step, with the environments on the last axis.
struct Told {
    reward: Float,
    /// The sum of the metrics that are parts of the reward.
    parts: Float,
    /// The sums of the observations and of the privileged ones.
    sums: [Float; 2],
    /// Whether all numbers are finite.
    finite: Bool,
    /// Whether flags are 0 or 1.
    flags: Bool,
    /// Whether the mask allows something.
    playable: Bool,
    to_move: Int,
    done: Bool,
}
crate::tree!(Told { reward, parts, sums, finite, flags, playable, to_move, done });

/// [`Told`] on the host, `[steps, ...]`.
#[derive(PartialEq)]
struct Play {
    all: Vec<(String, HostArray)>,
}

impl Circumstances {
    fn play(&self, env: &dyn AnyEnv, seed: u32) -> Result<Play> {
        let words = Int::from_handle(Handle::placeholder(&ArrayType::new(DType::U32, [2])));
        let traced = trace(&words, |words| {
            let params = env.default_params();
            let [reset, key] = Key::from_words(words).split();
            let reset = reset.split_last(ENVS);
            let state = match self.used {
                false => vector::reset(env, &params, reset),
                true => {
                    let [first, key] = Key::new(1000).split();
                    let state = vector::reset(env, &params, first.split_last(ENVS));
                    let (ended, _) = self.episodes(env, &params, state, key);
                    vmap_last((reset, ended), |(key, ended)| env.restart(&params, key, ended))
                }
            };
            self.episodes(env, &params, state, key).1
        });
        let program = self.client.compile(
            &lower(&traced.graph, &Options::default(), self.client.target()),
            &CompileOptions::default(),
        )?;
        let words = self.client.to_device(&HostArray::new(&[2], vec![0u32, seed]), 0)?;
        let outputs = program.run(vec![Arg::Donate(words)])?;
        let arrays = outputs.iter().map(|buffer| buffer.to_host()).collect::<Result<Vec<_>, _>>()?;
        Ok(Play { all: traced.output_names.into_iter().zip(arrays).collect() })
    }

    /// The state after all steps, and what is told of each.
    #[track_caller]
    fn episodes(&self, env: &dyn AnyEnv, params: &Leaves, state: Leaves, key: Key) -> (Leaves, Told) {
        let first = leaf_types(&state);
        let ((state, _), told) = scan_range(self.steps, (state, key), |(state, key), _| {
            let [choice, step, key] = key.split();
            let choices = (state.clone(), choice.split_last(ENVS));
            let (actions, playable, to_move) = vmap_last(choices, |(state, key)| {
                let mask = env.action_mask(params, &state);
                let playable = mask.map_or(boolean(true), Bool::any_all);
                (random_action(key, mask, env.spec().num_actions), playable, env.to_move(params, &state))
            });
            let after = vector::step(env, params, step.split_last(ENVS), state, actions, None);
            let told = told(env, params, &after, playable, to_move);
            ((after.state, key), told)
        });
        assert_eq!(leaf_types(&state), first, "a step changes the types of the state");
        (state, told)
    }
}

#[track_caller]
fn told(env: &dyn AnyEnv, params: &Leaves, after: &vector::VectorStep, playable: Bool, to_move: Int) -> Told {
    let spec = env.spec();
    let zero = after.reward_of(0) * 0.0;
    let parts = spec.metrics.iter().zip(&after.metrics).filter(|(metric, _)| is_part(&metric.name));
    let rewards = (0..spec.players).map(|player| after.reward_of(player).is_finite());
    let (sums, finite, flags) = vmap_last(after.state.duplicate(), |state| {
        let seen = env.observe(params, &state);
        let obs = seen.actor.flatten();
        let privileged = seen.privileged.map_or(Float::full([1], 0.0), Float::flatten);
        let finite = obs.is_finite().all([0]) & privileged.is_finite().all([0]);
        let flags = spec.flags.iter().cloned().map(|flags| {
            let x = obs.slice(0, flags);
            (x.eq(0.0) | x.eq(1.0)).all([0])
        });
        ([obs.sum([0]), privileged.sum([0])], finite, flags.fold(finite | true, |all, right| all & right))
    });
    Told {
        reward: after.reward,
        parts: parts.fold(zero, |sum, (_, &part)| sum + part),
        sums,
        finite: rewards.fold(finite, |all, reward| all & reward),
        flags,
        playable,
        to_move,
        done: after.done,
    }
}

fn is_part(metric: &str) -> bool {
    metric.starts_with("reward/")
}

impl Play {
    fn outputs(&self) -> Outputs<Vec<f64>> {
        let (names, values): (Vec<String>, Vec<Vec<f64>>) =
            self.all.iter().map(|(name, value)| (name.clone(), value.to_f64())).unzip();
        Outputs::new(&names, values)
    }

    /// Whether two programs have played the same episode. All is equal but the sums of observations, which are as close as rounding
    /// leaves them: a compiler may add in another order in another program.
    fn agrees(&self, other: &Play) -> bool {
        const ROUNDING: f64 = 1e-6;
        let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= ROUNDING * (1.0 + a.abs());
        self.all.iter().zip(&other.all).all(|((name, a), (_, b))| match name.starts_with("sums") {
            true => a.to_f64().iter().zip(&b.to_f64()).all(close),
            false => a == b,
        })
    }

    fn ended(&self) -> bool {
        self.outputs().take("done").contains(&1.0)
    }

    fn check(&self, spec: &EnvSpec, steps: usize) -> Result<()> {
        let EnvSpec { name, players, metrics, .. } = spec;
        let mut told = self.outputs();
        let always = |flags: Vec<f64>| flags.iter().all(|&flag| flag == 1.0);
        ensure!(always(told.take("finite")), "{name}: an observation or a reward is not finite");
        ensure!(always(told.take("flags")), "{name}: a feature of spec().flags is neither 0 nor 1");
        ensure!(always(told.take("playable")), "{name}: action_mask() allows nothing");
        for player in told.take("to_move") {
            let exists = (0.0..*players as f64).contains(&player);
            ensure!(exists, "{name}: to_move() gives player {player} of {players}");
        }
        ensure!(
            self.ended(),
            "{name}: no episode ended in {steps} steps of random play; give it a limit of time"
        );
        if *players == 1 && metrics.iter().any(|metric| is_part(&metric.name)) {
            for (reward, sum) in told.take("reward").iter().zip(told.take("parts")) {
                let same = (reward - sum).abs() <= 1e-4 * reward.abs().max(1.0);
                ensure!(same, "{name}: the metrics named reward/ sum to {sum}, the reward is {reward}");
            }
        }
        Ok(())
    }
}
