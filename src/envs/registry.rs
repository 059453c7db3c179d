//! The table of environments: a new one is a module and one line here.

use super::cartpole::{self, CartPole};
use super::hackmatrix::{self, HackMatrix};
use super::{AnyEnv, Description, Erased};

/// An environment by name.
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    pub make: fn() -> Box<dyn AnyEnv>,
    /// The meaning of its numbers.
    pub describe: fn() -> Description,
    /// Settings of training that differ from the general defaults, as lines of a configuration file.
    pub defaults: &'static str,
}

pub const ENVS: &[Entry] = &[
    Entry {
        name: "hackmatrix",
        summary: "a turn-based hacking game on a 6x6 board",
        make: || Box::new(Erased::new(HackMatrix)),
        describe: hackmatrix::host::describe::description,
        defaults: include_str!("../../jax_env_spec/hackmatrix/defaults.toml"),
    },
    Entry {
        name: "cartpole",
        summary: "balance a pole on a cart (Gymnasium CartPole-v1)",
        make: || Box::new(Erased::new(CartPole)),
        describe: cartpole::description,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_environment_is_described_in_full() {
        for entry in ENVS {
            let (spec, description) = ((entry.make)().spec(), (entry.describe)());
            assert_eq!(spec.name, entry.name);
            assert_eq!(description.observation_names().len(), spec.obs_size(), "{}", entry.name);
            assert_eq!(description.actions.len(), spec.num_actions, "{}", entry.name);
            let names = description.rewards.iter().map(|reward| format!("reward/{}", reward.name));
            let logged: Vec<String> = spec
                .metrics
                .iter()
                .map(|m| m.name.clone())
                .filter(|name| name.starts_with("reward/"))
                .collect();
            assert!(logged.is_empty() || logged == names.collect::<Vec<_>>(), "{}", entry.name);
        }
    }

    #[test]
    fn a_misspelt_name_gives_the_nearest() {
        let message = find("cart-pole").err().unwrap().to_string();
        assert!(
            message.starts_with("unknown environment `cart-pole`; did you mean `cartpole`?"),
            "{message}"
        );
    }
}
