//! Environments in native libraries: what lockstep sees of one is an [`Env`] like any other, whose state is an array of bytes.
//!
//! Why it is so, and what a library consists of: [`runtime::native`](crate::runtime::native) and docs/native.md.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::lang::{Bool, Float, Int, Key, Leaves, NativeEnv, Tree, boolean, float};
use crate::runtime::native::{self, Facts, Library};

use super::description::{Action, Description, Feature, Group, Param, Reward};
use super::painter::{Frame, Line, ObservationPainter, Painter, Picture};
use super::{Aggregate, Env, EnvSpec, Metric, Observation, Step};

/// What names of such environments begin with: `native:PATH`.
pub const PREFIX: &str = "native:";

/// An environment of a library.
#[derive(Clone, Copy)]
pub struct Native {
    pub library: &'static Library,
    /// `native:` and the absolute path.
    pub name: &'static str,
}

/// The bytes of the library's own state, u8`[S]`.
#[derive(Clone, Copy)]
pub struct State {
    bytes: Int,
}
crate::tree!(State { bytes });

impl Native {
    /// Loads the library that a name `native:PATH` means; nothing for other names.
    ///
    /// # Errors
    /// One line: it cannot be loaded, or what it says cannot be.
    pub fn named(name: &str) -> Option<Result<Native, String>> {
        let path = name.strip_prefix(PREFIX)?;
        let load = || match path {
            "" => Err("native: names no library; write native:PATH, such as native:./libgame.so".to_owned()),
            path => Library::load(Path::new(path)).map(|library| Native { library, name: name_of(library) }),
        };
        Some(load())
    }

    fn with<'a>(&self, params: &'a [Float]) -> NativeEnv<'a> {
        NativeEnv { library: self.library, params }
    }

    fn facts(&self) -> &'static Facts {
        &self.library.facts
    }

    /// The summary, as text that lasts as long as the library.
    pub fn summary(&self) -> &'static str {
        &self.facts().summary
    }

    /// Settings of training, as lines of a configuration file.
    pub fn defaults(&self) -> &'static str {
        &self.facts().defaults
    }

    /// What its numbers mean.
    pub fn description(&self) -> Description {
        let facts = self.facts();
        let numbered = Description::numbered(&self.spec());
        let feature = |name: &String| Feature { name: name.clone(), is: name.clone() };
        let observation = match &facts.obs_names {
            Some(names) => {
                let features = names.iter().map(feature).collect();
                vec![Group { name: "observation".into(), count: 1, features }]
            }
            None => numbered.observation,
        };
        let action = |name: &String| Action { name: name.clone(), does: String::new() };
        let actions = facts.action_names.as_ref().map(|names| names.iter().map(action).collect());
        let param = |param: &native::Param| Param {
            name: param.name.clone(),
            is: param.meaning.clone(),
            default: as_written(param.value),
            range: param.range.map(as_written),
        };
        Description {
            observation,
            actions: actions.unwrap_or(numbered.actions),
            rewards: vec![Reward {
                name: "reward".into(),
                pays: "what step() says".into(),
                per: "step".into(),
            }],
            params: facts.params.iter().map(param).collect(),
        }
    }

    /// What draws its states: the library, or the numbers of the observation are listed.
    pub fn painter(&self) -> Box<dyn Painter> {
        let listed = ObservationPainter { description: self.description() };
        match self.facts().has_picture {
            true => Box::new(NativePainter { library: self.library, listed }),
            false => Box::new(listed),
        }
    }
}

/// The name of the environment of a library, made once for each.
fn name_of(library: &'static Library) -> &'static str {
    static NAMES: LazyLock<Mutex<HashMap<i32, &'static str>>> = LazyLock::new(Default::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.entry(library.id).or_insert_with(|| format!("{PREFIX}{}", library.path.display()).leak())
}

/// A short form of the name of an environment, for names of runs and projects: of `native:/games/libpole.so` this is `pole`.
pub fn short_name(name: &str) -> String {
    let Some(path) = name.strip_prefix(PREFIX) else { return name.to_owned() };
    let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_prefix("lib").filter(|rest| !rest.is_empty()).unwrap_or(&stem);
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    stem.chars().map(letter).collect()
}

impl Env for Native {
    type State = State;
    /// By the names that the library gives them.
    type Params = Leaves;

    fn spec(&self) -> EnvSpec {
        let facts = self.facts();
        let metric = |metric: &'static native::Metric| Metric {
            name: format!("stats/{}", metric.name),
            aggregate: match metric.aggregate {
                native::Aggregate::Mean => Aggregate::Mean,
                native::Aggregate::Max => Aggregate::Max,
                native::Aggregate::Episode => Aggregate::Episode,
                native::Aggregate::Running => Aggregate::Running,
            },
            unit: &metric.unit,
            description: metric.meaning.clone(),
        };
        EnvSpec {
            metrics: facts.metrics.iter().map(metric).collect(),
            ..EnvSpec::new(self.name, facts.obs_shape.clone(), facts.num_actions)
        }
    }

    fn default_params(&self) -> Leaves {
        let leaf = |param: &native::Param| (param.name.clone(), float(param.value.into()).handle());
        Leaves(self.facts().params.iter().map(leaf).collect())
    }

    fn reset(&self, params: &Leaves, key: Key) -> State {
        let params = numbers(params);
        let env = self.with(&params);
        State { bytes: env.reset(env.no_state(), boolean(true), key) }
    }

    fn restart_where(&self, done: Bool, params: &Leaves, key: Key, state: State) -> State {
        State { bytes: self.with(&numbers(params)).reset(state.bytes, done, key) }
    }

    fn step_keys(&self, key: Key) -> [Key; 2] {
        match self.facts().random_steps {
            true => key.split(),
            false => [key.duplicate(), key],
        }
    }

    fn step(&self, params: &Leaves, key: Key, state: State, action: Int) -> Step<State> {
        let step = self.with(&numbers(params)).step(state.bytes, key, action);
        Step {
            state: State { bytes: step.state },
            reward: step.reward,
            terminated: step.terminated,
            truncated: step.truncated,
            metrics: step
                .metrics
                .map_or_else(Vec::new, |all| (0..all.size()).map(|i| all.index(0, i)).collect()),
        }
    }

    fn observe(&self, params: &Leaves, state: &State) -> Observation {
        let obs = self.with(&numbers(params)).observe(state.bytes);
        obs.reshape(&self.facts().obs_shape).into()
    }

    fn action_mask(&self, params: &Leaves, state: &State) -> Option<Bool> {
        self.facts().has_mask.then(|| self.with(&numbers(params)).mask(state.bytes))
    }
}

/// The number that is written as this f32 is: 0.1, not 0.10000000149.
fn as_written(number: f32) -> f64 {
    number.to_string().parse().expect("a number")
}

/// The parameters as arrays.
fn numbers(params: &Leaves) -> Vec<Float> {
    params.0.iter().map(|(_, leaf)| Float::from_handle(*leaf)).collect()
}

/// Shows what the library draws.
struct NativePainter {
    library: &'static Library,
    listed: ObservationPainter,
}

impl Painter for NativePainter {
    fn paint(&self, frame: &Frame) -> Picture {
        let state: Vec<u8> = frame.numbers("bytes").into_iter().map(|byte| byte as u8).collect();
        let params: Vec<f32> = self.library.facts.params.iter().map(|param| param.value).collect();
        let text = match self.library.picture(&state, &params) {
            Ok(text) => text.unwrap_or_default(),
            Err(problem) => problem,
        };
        let board = text.lines().map(|line| Line::from(line.to_owned())).collect();
        Picture { board, ..self.listed.paint(frame) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_can_be_that_of_a_run() {
        assert_eq!(short_name("native:/games/libpole.so"), "pole");
        assert_eq!(short_name("native:/games/my game.v2.so"), "my_game_v2");
        assert_eq!(short_name("native:lib.so"), "lib");
        assert_eq!(short_name("cartpole"), "cartpole");
    }
}
