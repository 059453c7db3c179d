//! Options of an environment: its parameters, and the switches that it declares, by name and value (`time_max=500`).
//!
//! Parameters are the scalars of [`Env::default_params`](super::Env::default_params), which are inputs of the programs; a switch is another
//! make of the environment, such as one with a mask of its actions.

use crate::array::{DType, HostArray};
use crate::lang::{Bool, Float, Handle, Int, Key, Leaves, leaves};

use super::{AnyEnv, EnvSpec, Observation, Player, Step, default_params};

/// Another make of an environment.
#[derive(Clone, Copy)]
pub struct Switch {
    pub name: &'static str,
    pub make: fn() -> Box<dyn AnyEnv>,
}

/// What makes an environment.
type Make = fn() -> Box<dyn AnyEnv>;

/// What is chosen of an environment.
#[derive(Clone, Copy)]
pub struct Options {
    switch: Option<Switch>,
    params: &'static [(String, HostArray)],
}

impl Options {
    /// Everything as it is by default.
    pub const NONE: Options = Options { switch: None, params: &[] };

    /// The environment that `make` makes, with what is chosen of it.
    pub fn build(&self, make: Make) -> Box<dyn AnyEnv> {
        let env = self.switch.map_or(make, |switch| switch.make)();
        if self.params.is_empty() { env } else { Box::new(Adjusted { env, params: self.params }) }
    }

    /// What is chosen of the environment `env`, each as `NAME=VALUE`.
    ///
    /// # Errors
    /// One line: there is no such option, or the value is none for it.
    pub fn parse(env: &str, make: Make, switches: &[Switch], options: &[String]) -> Result<Options, String> {
        let known = default_params(&*make());
        let mut switch = None;
        let mut params: Vec<(String, HostArray)> = Vec::new();
        for option in options.iter().map(|option| option.trim()).filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, "true"));
            let wrong = |what: &str| format!("the option {name} of {env} takes {what}, not {value}");
            if let Some(found) = switches.iter().find(|switch| switch.name == name) {
                match value {
                    "true" => switch = Some(*found),
                    "false" => {}
                    _ => return Err(wrong("true or false")),
                }
                continue;
            }
            let scalar = known.iter().find(|(other, array)| other == name && array.shape().is_empty());
            let Some((_, array)) = scalar else { return Err(unknown(env, name, switches, &known)) };
            let number =
                || value.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(|| wrong("a number"));
            let array = match array.dtype() {
                DType::Bool => match value {
                    "true" => HostArray::scalar(true),
                    "false" => HostArray::scalar(false),
                    _ => return Err(wrong("true or false")),
                },
                DType::F32 => HostArray::scalar(number()? as f32),
                DType::I32 => HostArray::scalar(value.parse::<i32>().map_err(|_| wrong("a whole number"))?),
                _ => return Err(unknown(env, name, switches, &known)),
            };
            params.retain(|(other, _)| other != name);
            params.push((name.to_owned(), array));
        }
        // It is copied all over a program that ends with it.
        Ok(Options { switch, params: params.leak() })
    }
}

fn unknown(env: &str, name: &str, switches: &[Switch], known: &[(String, HostArray)]) -> String {
    let scalars = known.iter().filter(|(_, array)| array.shape().is_empty()).map(|(name, _)| name.as_str());
    let names: Vec<&str> = switches.iter().map(|switch| switch.name).chain(scalars).collect();
    match names.is_empty() {
        true => format!("{env} has no option {name}; it has none"),
        false => format!("{env} has no option {name}; it has {}", names.join(", ")),
    }
}

/// An environment with other default parameters.
struct Adjusted {
    env: Box<dyn AnyEnv>,
    params: &'static [(String, HostArray)],
}

impl Adjusted {
    #[track_caller]
    fn adjusted(&self, mut params: Leaves) -> Leaves {
        for (name, leaf) in &mut params.0 {
            if let Some((_, value)) = self.params.iter().find(|(other, _)| other == name) {
                *leaf = constant(value.clone());
            }
        }
        params
    }
}

#[track_caller]
fn constant(value: HostArray) -> Handle {
    match value.dtype() {
        DType::Bool => leaves(&Bool::constant(value))[0],
        DType::I32 => leaves(&Int::constant(value))[0],
        _ => leaves(&Float::constant(value))[0],
    }
}

impl AnyEnv for Adjusted {
    fn spec(&self) -> EnvSpec {
        self.env.spec()
    }

    fn default_params(&self) -> Leaves {
        self.adjusted(self.env.default_params())
    }

    fn phases(&self) -> Vec<Leaves> {
        self.env.phases().into_iter().map(|params| self.adjusted(params)).collect()
    }

    fn reset(&self, params: &Leaves, key: Key) -> Leaves {
        self.env.reset(params, key)
    }

    fn restart(&self, params: &Leaves, key: Key, ended: Leaves) -> Leaves {
        self.env.restart(params, key, ended)
    }

    fn step(&self, params: &Leaves, key: Key, state: Leaves, action: Int) -> Step<Leaves> {
        self.env.step(params, key, state, action)
    }

    fn observe(&self, params: &Leaves, state: &Leaves) -> Observation {
        self.env.observe(params, state)
    }

    fn to_move(&self, params: &Leaves, state: &Leaves) -> Int {
        self.env.to_move(params, state)
    }

    fn action_mask(&self, params: &Leaves, state: &Leaves) -> Option<Bool> {
        self.env.action_mask(params, state)
    }

    fn players(&self) -> Vec<Player> {
        self.env.players()
    }
}
