//! Who is met: the settings, shared by all algorithms that learn games for two.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::algorithms::recipe::defaults;
use crate::envs::AnyEnv;

/// The agent as its own opponent.
pub const SELF: &str = "self";
/// A different opponent in each game.
pub const POOL: &str = "pool";

/// What frozen agents are called.
pub const FROZEN: &str = "frozen";

/// The shares of scripted players in the pool where nothing is said of them.
const SHARES: [(&str, f64); 3] = [("random", 0.2), ("heuristic", 0.5), ("smart_heuristic", 0.3)];

/// Who makes the first move of a game.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum StartPolicy {
    /// A fair coin decides
    #[default]
    Random,
    /// The agent
    AgentFirst,
    /// The opponent
    OpponentFirst,
}

impl fmt::Display for StartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            StartPolicy::Random => "random",
            StartPolicy::AgentFirst => "agent_first",
            StartPolicy::OpponentFirst => "opponent_first",
        })
    }
}

/// Who has the other seat in a game for two.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Opponents in games for two players")]
#[group(skip)]
pub struct Settings {
    /// Who has the other seat, while a coin decides in each game which seat the agent has: a scripted player of the environment, such
    /// as random or heuristic; self, the agent as it is; or pool, which draws one for each game among scripted players, the agent as
    /// it is, and frozen agents as they were before, these more often the more they win
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opponent: Option<String>,
    /// Who makes the first move of a game: a coin decides, always the agent, or always the opponent
    #[arg(long, value_name = "WHO", default_value_t = StartPolicy::Random)]
    pub start_policy: StartPolicy,
    /// The share of games that begin with moves drawn at random, whoever is to move
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub opening_share: f64,
    /// The least number of such moves
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub opening_min: usize,
    /// The largest number of such moves; those after one that ends the game are left out, and that one too
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub opening_max: usize,
    /// Episodes before the pool has more than scripted players
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub start_episode: usize,
    /// The share of the agent as it is in the pool; until there are frozen agents it takes every game
    #[arg(long, value_name = "X", default_value_t = 0.3)]
    pub current_self_fraction: f64,
    /// The share of frozen agents in the pool
    #[arg(long, value_name = "X", default_value_t = 0.3)]
    pub past_self_fraction: f64,
    /// The shares of scripted players in what is left of the pool
    /// [default: random=0.2,heuristic=0.5,smart_heuristic=0.3, or all of them equally]
    #[arg(long, value_name = "NAME=X,..", value_delimiter = ',')]
    pub heuristic_distribution: Vec<Share>,
    /// Steps after which the agent as it is joins the pool
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub freeze_every: usize,
    /// Most frozen agents that can be met at a time; whenever another one joins the pool, they are drawn anew from all of it
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub max_frozen_agents: usize,
}

impl Default for Settings {
    fn default() -> Self {
        defaults()
    }
}

impl Settings {
    /// What cannot change when a run is resumed.
    pub const FIXED: [&'static str; 2] = ["opponent", "max_frozen_agents"];

    /// One opponent, of that name.
    pub fn of(opponent: &str) -> Settings {
        Settings { opponent: Some(opponent.to_owned()), ..Settings::default() }
    }

    /// Those that make an algorithm report all that it can on an environment.
    pub fn with_all_metrics(env: &dyn AnyEnv) -> Settings {
        if env.spec().players == 2 { Settings::of(POOL) } else { Settings::default() }
    }

    /// Checks each setting by itself.
    ///
    /// # Errors
    /// One line that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        let (current, past) = (self.current_self_fraction, self.past_self_fraction);
        let opening = self.opening_share;
        for (name, value) in
            [("current_self_fraction", current), ("past_self_fraction", past), ("opening_share", opening)]
        {
            ensure!((0.0..=1.0).contains(&value), "{name} is {value}; it must be from 0 to 1");
        }
        ensure!(
            current + past <= 1.0,
            "current_self_fraction and past_self_fraction are {current} and {past}; together they must be at most 1"
        );
        for (name, value, most) in [
            ("max_frozen_agents", self.max_frozen_agents, 1024),
            ("freeze_every", self.freeze_every, usize::MAX >> 1),
            ("opening_max", self.opening_max, 1000),
        ] {
            ensure!((1..=most).contains(&value), "{name} is {value}; it must be from 1 to {most}");
        }
        let (least, most) = (self.opening_min, self.opening_max);
        ensure!(least <= most, "opening_min is {least}; it must be at most opening_max = {most}");
        Ok(())
    }

    /// The share of each of these scripted players in the pool; they sum up to 1.
    ///
    /// # Errors
    /// One line: there is no such player.
    pub(super) fn shares(&self, env: &str, players: &[&str]) -> Result<Vec<f64>> {
        let mut shares = vec![0.0; players.len()];
        for Share { name, share } in &self.heuristic_distribution {
            let place = players.iter().position(|player| player == name);
            ensure!(
                place.is_some(),
                "heuristic_distribution names {name}, which {env} does not have; it has {}",
                list(players)
            );
            shares[place.unwrap_or_default()] += share;
        }
        if shares.iter().sum::<f64>() == 0.0 {
            let of =
                |player: &&str| SHARES.iter().find(|(name, _)| name == player).map_or(0.0, |known| known.1);
            shares = players.iter().map(of).collect();
        }
        let total: f64 = shares.iter().sum();
        let equal = 1.0 / players.len() as f64;
        Ok(shares.into_iter().map(|share| if total > 0.0 { share / total } else { equal }).collect())
    }
}

/// Names in a sentence.
pub(super) fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A player and how often it is met, in text `heuristic` or `heuristic=0.5`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Share {
    pub name: String,
    /// In proportion to the other shares.
    pub share: f64,
}

impl FromStr for Share {
    type Err = NoShare;
    fn from_str(text: &str) -> Result<Share, NoShare> {
        let (name, share) = text.split_once('=').unwrap_or((text, "1"));
        let share = share.parse().ok().filter(|share: &f64| *share >= 0.0 && share.is_finite());
        match (name.is_empty(), share) {
            (false, Some(share)) => Ok(Share { name: name.to_owned(), share }),
            _ => Err(NoShare(text.to_owned())),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}={}", self.name, self.share)
    }
}

impl From<Share> for String {
    fn from(share: Share) -> String {
        share.to_string()
    }
}

impl TryFrom<String> for Share {
    type Error = NoShare;
    fn try_from(text: String) -> Result<Share, NoShare> {
        text.parse()
    }
}

/// A text that is no [`Share`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no share of a player; write its name and a number of 0 or above: heuristic=0.7")]
pub struct NoShare(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_up_to_one() {
        let players = ["random", "heuristic", "smart_heuristic"];
        let shares = |text: &str, players: &[&str]| {
            let said = text.split_terminator(',').map(|share| share.parse().unwrap()).collect();
            let settings = Settings { heuristic_distribution: said, ..Settings::default() };
            settings.shares("game", players).map_err(|error| error.to_string())
        };
        assert_eq!(shares("", &players), Ok(vec![0.2, 0.5, 0.3]));
        assert_eq!(shares("random=0", &players), Ok(vec![0.2, 0.5, 0.3]));
        assert_eq!(shares("heuristic=3,random", &players), Ok(vec![0.25, 0.75, 0.0]));
        assert_eq!(shares("", &["a", "b"]), Ok(vec![0.5, 0.5]));
        assert_eq!(shares("", &[]), Ok(vec![]));
        let error = shares("smart=1", &players).unwrap_err();
        let has = "random, heuristic, smart_heuristic";
        assert_eq!(
            error,
            format!("heuristic_distribution names smart, which game does not have; it has {has}")
        );
        for text in ["", "=1", "heuristic=x", "heuristic=-1", "heuristic=inf"] {
            assert!(text.parse::<Share>().unwrap_err().to_string().contains("is no share"), "{text}");
        }
    }

    #[test]
    fn fractions_leave_something_of_one() {
        let complaint = |current: f64, past: f64| {
            let settings =
                Settings { current_self_fraction: current, past_self_fraction: past, ..Settings::default() };
            settings.check().map_err(|error| error.to_string())
        };
        complaint(0.5, 0.5).unwrap();
        assert_eq!(
            complaint(-0.1, 0.5).unwrap_err(),
            "current_self_fraction is -0.1; it must be from 0 to 1"
        );
        assert!(complaint(0.6, 0.5).unwrap_err().ends_with("together they must be at most 1"));
    }
}
