//! The pool of a run: every agent that was ever frozen, of which the device holds a few.
//!
//! Each is a file of parameters, `pool/agent_STEPS.safetensors`, and what came of the games against it stands in `pool.jsonl`. When the
//! agent is frozen once more and there are more than the device has places for, those that are met next are drawn anew from all, in
//! proportion to the square of the share of games that they win, and put into the places of those that were not drawn. The draw depends on
//! the seed and the steps alone, and a run that goes on reads the last line of the log, which a checkpoint cuts back to its moment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::make_own_directory;
use super::log_file::last_line;
use super::params::{Metadata, load_params, save_params};
use super::run_dir::POOL;
use crate::algorithms::NamedArrays;
use crate::algorithms::opponents::{Newcomer, check, params_in, put, weight};
use crate::algorithms::self_play::Faced;
use crate::array::HostArray;

/// The log of a pool.
pub const LOG: &str = "pool.jsonl";

/// An agent that was frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// After how many steps.
    since: u64,
    /// Results of the agent that is trained.
    wins: u64,
    draws: u64,
    losses: u64,
    /// Its place on the device, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    slot: Option<usize>,
}

/// What is read of a line of the log.
#[derive(Deserialize)]
struct Line {
    elsewhere: Vec<Kept>,
}

/// All frozen agents of a run.
pub struct Pool {
    run: PathBuf,
    seed: u64,
    /// In the order in which they were frozen.
    agents: Vec<Kept>,
    logged_update: Option<u64>,
}

impl Pool {
    /// The pool of a run whose log ends at the moment at which the device has these opponents.
    ///
    /// # Errors
    /// One line: the log cannot be read; a file of an agent is gone, or belongs to another network.
    pub fn open(
        run: &Path,
        seed: u64,
        faced: &[Faced],
        state: impl Fn() -> Result<NamedArrays>,
    ) -> Result<Pool> {
        let log = run.join(LOG);
        let cannot =
            || format!("cannot read {}; remove it to go on without the agents in {POOL}/", log.display());
        let last = last_line(&log).with_context(cannot)?;
        let last = last.map(|line| serde_json::from_str::<Line>(&line)).transpose().with_context(cannot)?;
        let agents = last.map_or_else(Vec::new, |line| line.elsewhere);
        let mut pool = Pool { run: run.to_path_buf(), seed, agents, logged_update: None };
        if !pool.agents.is_empty() {
            let state = state()?;
            for agent in &pool.agents {
                pool.load(agent.since, &state)?;
            }
        }
        pool.note(faced);
        Ok(pool)
    }

    /// Takes in how things stand. Says whether an agent is new.
    fn note(&mut self, faced: &[Faced]) -> bool {
        let before = self.agents.len();
        self.agents.iter_mut().for_each(|agent| agent.slot = None);
        for &Faced { since, slot, wins, draws, losses, .. } in faced {
            let Some(since) = since else { continue };
            let now = Kept { since, wins, draws, losses, slot };
            match self.agents.iter_mut().find(|agent| agent.since == since) {
                Some(agent) => *agent = now,
                None => self.agents.push(now),
            }
        }
        self.agents.sort_by_key(|agent| agent.since);
        self.agents.len() > before
    }

    /// Follows the device, where the opponents are these now. If an agent was frozen it is kept, and who is met next is drawn. Gives the
    /// state of the learner if that is to be another one.
    ///
    /// # Errors
    /// One line that names a file, or what the device reports.
    pub fn follow(
        &mut self,
        faced: &[Faced],
        metadata: &Metadata,
        state: impl Fn() -> Result<NamedArrays>,
    ) -> Result<Followed> {
        if !self.note(faced) {
            return Ok(Followed::Nothing);
        }
        let mut state = state()?;
        self.keep_new(&state, metadata)?;
        let places = self.agents.iter().filter(|agent| agent.slot.is_some()).count();
        let drawn = self.draw(places);
        let mut free: Vec<usize> = self
            .agents
            .iter()
            .filter(|agent| !drawn.contains(&agent.since))
            .filter_map(|agent| agent.slot)
            .collect();
        let coming: Vec<u64> = self
            .agents
            .iter()
            .filter(|agent| agent.slot.is_none() && drawn.contains(&agent.since))
            .map(|agent| agent.since)
            .collect();
        if coming.is_empty() {
            return Ok(Followed::Frozen);
        }
        for since in coming {
            let params = self.load(since, &state)?;
            let place = free.pop().context("as many leave as come")?;
            for agent in &mut self.agents {
                if agent.since == since {
                    let results = [agent.wins, agent.draws, agent.losses];
                    put(&mut state, place, &Newcomer { params: &params, since, results })?;
                    agent.slot = Some(place);
                } else if agent.slot == Some(place) {
                    agent.slot = None;
                }
            }
        }
        Ok(Followed::Exchanged(state))
    }

    /// Saves the agents on the device that have no file yet, as those of a run that goes on do not.
    fn keep_new(&self, state: &[(String, HostArray)], metadata: &Metadata) -> Result<()> {
        make_own_directory(&self.run.join(POOL))?;
        let newest = self.agents.last().map(|agent| agent.since);
        for agent in &self.agents {
            let Some(slot) = agent.slot else { continue };
            let path = self.path(agent.since);
            if Some(agent.since) == newest || !path.exists() {
                let mut metadata = metadata.clone();
                metadata.insert("timesteps".into(), agent.since.to_string());
                save_params(&path, &params_in(state, slot), &metadata)?;
            }
        }
        Ok(())
    }

    /// So many of all agents, drawn without putting them back.
    fn draw(&self, places: usize) -> Vec<u64> {
        let now = self.agents.last().map_or(0, |agent| agent.since);
        let mut drawn: Vec<(f64, u64)> = self
            .agents
            .iter()
            .map(|agent| {
                let weight = weight([agent.wins, agent.draws, agent.losses]);
                (chance(self.seed, now, agent.since).ln() / weight, agent.since)
            })
            .collect();
        drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
        drawn.into_iter().take(places).map(|(_, since)| since).collect()
    }

    fn path(&self, since: u64) -> PathBuf {
        self.run.join(POOL).join(format!("agent_{since}.safetensors"))
    }

    /// The parameters of an agent, which are those of this learner.
    fn load(&self, since: u64, state: &[(String, HostArray)]) -> Result<NamedArrays> {
        let path = self.path(since);
        let problem = |error: anyhow::Error| {
            anyhow::anyhow!(
                "{} cannot be met as an opponent: {error:#}; put the file back, or remove {} to go on without the agents in {POOL}/",
                path.display(),
                self.run.join(LOG).display()
            )
        };
        let (params, _) = load_params(&path).map_err(problem)?;
        check(state, &params).map_err(problem)?;
        Ok(params)
    }

    /// The line of the log after an update, unless it is there: the opponents as they are, and the agents that have no place on the
    /// device.
    pub fn line(&mut self, update: u64, timesteps: u64, episodes: u64, faced: &[Faced]) -> Option<String> {
        if self.logged_update.replace(update) == Some(update) {
            return None;
        }
        let elsewhere: Vec<_> = self.agents.iter().filter(|agent| agent.slot.is_none()).collect();
        let here: Vec<_> =
            faced.iter().filter(|faced| faced.since.is_none() || faced.slot.is_some()).collect();
        let line = serde_json::json!({
            "update": update, "timesteps": timesteps, "episodes": episodes, "opponents": here, "elsewhere": elsewhere,
        });
        Some(format!("{line}\n"))
    }
}

/// What became of a pool.
pub enum Followed {
    Nothing,
    /// An agent joined.
    Frozen,
    /// An agent joined, and others are met next: the state of the learner.
    Exchanged(NamedArrays),
}

/// A number between 0 and 1, the same for the same arguments.
fn chance(seed: u64, now: u64, since: u64) -> f64 {
    let hash = Sha256::digest([seed, now, since].map(u64::to_le_bytes).concat());
    let bits = u64::from_le_bytes(hash[..8].try_into().expect("eight bytes"));
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The log of a long run is longer than what is read of a file as one text.
    #[test]
    fn the_last_line_of_a_log_of_any_length_counts() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Pool::open(dir.path(), 0, &[], || Ok(Vec::new())).map(|pool| pool.agents.len());
        assert_eq!(open().unwrap(), 0);
        let line = |since: &str| format!("{{\"elsewhere\":[{since}]}}\n");
        let agent = line(r#"{"since":5,"wins":1,"draws":0,"losses":2}"#);
        let old = line("").repeat((crate::files::TEXT_LIMIT as usize) / line("").len() + 1);
        fs::write(dir.path().join(LOG), old + &agent).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("agent_5.safetensors cannot be met"), "{error}");
        fs::write(dir.path().join(LOG), "{}\n").unwrap();
        assert!(open().unwrap_err().to_string().starts_with("cannot read "));
    }
}
