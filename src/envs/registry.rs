//! The table of environments: a new one is a module and one line here.

use super::cartpole::CartPole;
use super::hackmatrix::HackMatrix;
use super::{AnyEnv, Erased};

/// An environment by name.
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    pub make: fn() -> Box<dyn AnyEnv>,
    /// Settings of training that differ from the general defaults, as lines of a configuration file.
    pub defaults: &'static str,
}

pub const ENVS: &[Entry] = &[
    Entry {
        name: "hackmatrix",
        summary: "a turn-based hacking game on a 6x6 board",
        make: || Box::new(Erased::new(HackMatrix)),
        defaults: include_str!("../../jax_env_spec/hackmatrix/defaults.toml"),
    },
    Entry {
        name: "cartpole",
        summary: "balance a pole on a cart (Gymnasium CartPole-v1)",
        make: || Box::new(Erased::new(CartPole)),
        defaults: include_str!("../../jax_env_spec/cartpole/defaults.toml"),
    },
];

/// The entry of that name, or the nearest known name.
pub fn find(name: &str) -> Result<&'static Entry, UnknownEnv> {
    ENVS.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let distance = |entry: &&Entry| strsim::damerau_levenshtein(entry.name, name);
        let nearest = ENVS.iter().min_by_key(distance).expect("the table is not empty").name;
        UnknownEnv { name: name.to_owned(), nearest }
    })
}

#[derive(Debug, thiserror::Error)]
#[error("unknown environment `{name}`; did you mean `{nearest}`? (`lockstep envs` lists all)")]
pub struct UnknownEnv {
    pub name: String,
    pub nearest: &'static str,
}
