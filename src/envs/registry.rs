//! Environments by name.
//!
//! A program is an [`App`](crate::App) with a [`Registry`] of its own: the entries of [`builtin`], those of the crate that
//! makes the program, or both. A new environment is a module and one entry.

use super::asteroid::{self, Asteroid};
use super::bandit::{self, Bandit};
use super::cartpole::{self, CartPole};
use super::chain_mdp::{self, ChainMdp};
use super::connect4::{self, Connect4};
use super::entry::{Entry, boxed};
use super::g2048::{self, G2048};
use super::goodharts::{self, Goodharts};
use super::hackmatrix::{self, HackMatrix};
use super::memory::{self, Memory};
use super::native::Native;
use super::options::Switch;
use super::password::{self, Password};
use super::squared::{self, Squared};
use super::stochastic::{self, Stochastic};
use crate::names::nearest;

/// The environments that come with lockstep.
pub const fn builtin() -> [Entry; 12] {
    [
        Entry::new("hackmatrix", "a turn-based hacking game on a 6x6 board", || boxed(HackMatrix::default()))
            .switches(&[Switch { name: "egocentric", make: || boxed(HackMatrix { egocentric: true }) }])
            .described(hackmatrix::host::describe::description)
            .painted(hackmatrix::painter)
            .defaults(include_str!("../../jax_env_spec/hackmatrix/defaults.toml"))
            .health(hackmatrix::HEALTH)
            .algorithm("ppo")
            .golden(hackmatrix::GOLDEN)
            .protocol(hackmatrix::PROTOCOL)
            .wandb("charles-team", "hackmatrix"),
        Entry::new("cartpole", "balance a pole on a cart (Gymnasium CartPole-v1)", || boxed(CartPole))
            .described(cartpole::description)
            .painted(cartpole::painter)
            .defaults(include_str!("../../jax_env_spec/cartpole/defaults.toml"))
            .health(cartpole::HEALTH)
            .algorithm("ppo"),
        Entry::new(
            "connect4",
            "four in a row on a 6x7 board, for two players",
            || boxed(Connect4::default()),
        )
        .sizes(connect4::SIZES)
        .described(connect4::description)
        .painted(connect4::painter)
        .defaults(include_str!("../../jax_env_spec/connect4/defaults.toml"))
        .health(connect4::HEALTH)
        .algorithm("dqn")
        .golden(connect4::GOLDEN)
        .positions(connect4::golden::positions),
        Entry::new(
            "goodharts",
            "a torus with food and poison, where what is paid may not be what feeds (Goodhart's law)",
            || boxed(Goodharts::default()),
        )
        .described(goodharts::description)
        .painted(goodharts::painter)
        .defaults(include_str!("../../jax_env_spec/goodharts/defaults.toml"))
        .health(goodharts::HEALTH)
        .algorithm("ppo")
        .golden(goodharts::GOLDEN)
        .switches(goodharts::SWITCHES)
        .checked(goodharts::check)
        .survival(goodharts::SURVIVAL)
        .front(goodharts::FRONT),
        Entry::new(
            "asteroid",
            "a ship that mines asteroids, sells the ore, and is robbed by pirates",
            || boxed(Asteroid::default()),
        )
        .described(asteroid::description)
        .painted(asteroid::painter)
        .defaults(include_str!("../../jax_env_spec/asteroid/defaults.toml"))
        .health(asteroid::HEALTH)
        .algorithm("ppo")
        .golden(asteroid::GOLDEN)
        .telemetry(asteroid::TELEMETRY)
        .switches(&[Switch { name: "mask_invalid", make: || boxed(Asteroid { mask_invalid: true }) }])
        .front(asteroid::FRONT),
        Entry::new("bandit", "one of four arms pays, and an episode is one pull", || boxed(Bandit))
            .described(bandit::description)
            .painted(bandit::painter)
            .defaults(include_str!("../../jax_env_spec/bandit/defaults.toml"))
            .health(bandit::HEALTH)
            .algorithm("ppo"),
        Entry::new(
            "password",
            "five binary digits, and a reward only if all of them are guessed right",
            || boxed(Password),
        )
        .described(password::description)
        .painted(password::painter)
        .defaults(include_str!("../../jax_env_spec/password/defaults.toml"))
        .health(password::HEALTH)
        .algorithm("ppo"),
        Entry::new(
            "memory",
            "digits that are shown and must be said after a delay, which needs a memory",
            || boxed(Memory),
        )
        .described(memory::description)
        .painted(memory::painter)
        .defaults(include_str!("../../jax_env_spec/memory/defaults.toml"))
        .health(memory::HEALTH)
        .algorithm("ppo"),
        Entry::new(
            "stochastic",
            "two actions to be drawn with given shares, which needs a policy that draws",
            || boxed(Stochastic),
        )
        .described(stochastic::description)
        .painted(stochastic::painter)
        .defaults(include_str!("../../jax_env_spec/stochastic/defaults.toml"))
        .health(stochastic::HEALTH)
        .algorithm("ppo"),
        Entry::new("squared", "from the middle of a grid to a target on it", || boxed(Squared))
            .described(squared::description)
            .painted(squared::painter)
            .defaults(include_str!("../../jax_env_spec/squared/defaults.toml"))
            .health(squared::HEALTH)
            .algorithm("ppo"),
        Entry::new("chain_mdp", "a row of states with a small reward near and a large one far", || {
            boxed(ChainMdp)
        })
        .described(chain_mdp::description)
        .painted(chain_mdp::painter)
        .defaults(include_str!("../../jax_env_spec/chain_mdp/defaults.toml"))
        .health(chain_mdp::HEALTH)
        .algorithm("ppo"),
        Entry::new("g2048", "the game 2048: tiles that slide and merge on a 4x4 board", || boxed(G2048))
            .described(g2048::description)
            .painted(g2048::painter)
            .defaults(include_str!("../../jax_env_spec/g2048/defaults.toml"))
            .health(g2048::HEALTH)
            .algorithm("ppo"),
    ]
}

/// The environments of a program. The first one is the default.
#[derive(Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Adds an environment.
    ///
    /// # Panics
    /// There is one of that name already, or the name is not what its spec says.
    #[track_caller]
    pub fn add(&mut self, entry: Entry) {
        let name = entry.name;
        assert!(self.entries.iter().all(|other| other.name != name), "two environments are called `{name}`");
        let said = entry.spec().name;
        assert!(said == name, "the environment `{name}` is called `{said}` in its spec");
        self.entries.push(entry);
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that name, or the nearest known name. `native:PATH` is the environment of a library, which is loaded.
    ///
    /// # Errors
    /// There is none; the library cannot be loaded, or what it says cannot be.
    pub fn find(&self, name: &str) -> Result<Entry, UnknownEnv> {
        if let Some(native) = Native::named(name) {
            return native.map(Entry::native).map_err(UnknownEnv::Library);
        }
        self.entries.iter().find(|entry| entry.name == name).copied().ok_or_else(|| {
            let nearest = nearest(name, self.entries.iter().map(|entry| entry.name));
            UnknownEnv::Name { name: name.to_owned(), nearest }
        })
    }
}

impl FromIterator<Entry> for Registry {
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Registry {
        let mut registry = Registry::default();
        entries.into_iter().for_each(|entry| registry.add(entry));
        registry
    }
}

/// The entry of that name among those that come with lockstep.
pub fn find(name: &str) -> Result<Entry, UnknownEnv> {
    Registry::from_iter(builtin()).find(name)
}

#[derive(Debug, thiserror::Error)]
pub enum UnknownEnv {
    #[error("unknown environment `{name}`; {}`envs` lists all", hint(*nearest))]
    Name { name: String, nearest: Option<&'static str> },
    /// What is wrong with a native library.
    #[error("{0}")]
    Library(String),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!("did you mean `{name}`? "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::default_params;
    use crate::envs::description::Param;

    #[test]
    fn every_environment_is_described_in_full() {
        for entry in builtin() {
            let (spec, description) = (entry.spec(), entry.description());
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
            let values = default_params(&*entry.build());
            for Param { name, default, range: [low, high], .. } in &description.params {
                let value =
                    values.iter().find(|(other, _)| other == name).map(|(_, value)| value.to_f64()[0]);
                assert_eq!(value, Some(f64::from(*default as f32)), "{} {name}", entry.name);
                assert!(low < high && (low..=high).contains(&default), "{} {name}", entry.name);
            }
            let known = description.params.len();
            assert!(known == 0 || known == values.len(), "{}: some parameters have no range", entry.name);
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

    #[test]
    fn numbers_without_names_are_numbered() {
        let entry = Entry::new("cartpole", "", || boxed(CartPole));
        let description = entry.description();
        assert_eq!(description.observation_names(), ["obs 0", "obs 1", "obs 2", "obs 3"]);
        assert_eq!(description.action(1), "action 1");
    }

    #[test]
    #[should_panic(expected = "two environments are called `cartpole`")]
    fn names_are_unique() {
        let mut registry = Registry::default();
        registry.add(find("cartpole").unwrap());
        registry.add(find("cartpole").unwrap());
    }

    #[test]
    #[should_panic(expected = "the environment `pole` is called `cartpole` in its spec")]
    fn an_entry_has_the_name_of_its_spec() {
        Registry::default().add(Entry::new("pole", "", || boxed(CartPole)));
    }

    fn with(name: &str, options: &[&str]) -> Result<Entry, String> {
        find(name).unwrap().with(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn parameters_and_switches_are_those_that_are_said() {
        let entry = with("asteroid", &["time_max=500", "mask_invalid=true", "pays.time=-0.5"]).unwrap();
        let params = default_params(&*entry.build());
        let value = |name: &str| params.iter().find(|(other, _)| other == name).unwrap().1.to_f64()[0];
        assert_eq!((value("time_max"), value("pays.time")), (500.0, -0.5));
        assert_eq!(value("pays.trade"), 1.0, "what nobody says is as it was");
        assert_eq!(default_params(&*find("asteroid").unwrap().build()).len(), params.len());
    }

    #[test]
    fn what_is_no_option_is_named() {
        let complaint = |name: &str, option: &str| with(name, &[option]).err().unwrap();
        let unknown = complaint("asteroid", "time=3");
        assert!(
            unknown.starts_with("asteroid has no option time; it has mask_invalid, time_max,"),
            "{unknown}"
        );
        assert_eq!(
            complaint("asteroid", "time_max=soon"),
            "the option time_max of asteroid takes a number, not soon"
        );
        assert_eq!(
            complaint("asteroid", "time_max=inf"),
            "the option time_max of asteroid takes a number, not inf"
        );
        assert_eq!(
            complaint("chain_mdp", "size=1000"),
            "the option size of chain_mdp is 1000; it must be from 2 to 255"
        );
        assert_eq!(
            complaint("asteroid", "mask_invalid=1"),
            "the option mask_invalid of asteroid takes true or false, not 1"
        );
    }
}
