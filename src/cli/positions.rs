//! `lockstep eval --positions`: how good the moves of a player are in positions whose results are known.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::algorithms::policy::Choice;
use crate::algorithms::positions::{Examiner, Marks, marks};
use crate::config::UsageError;
use crate::envs::Position;

use super::device::Device;
use super::player::{Origin, Player};
use super::table::table;
use super::{print, print_line};

/// Draws of a player that leaves something to chance, in each position.
const DRAWS: usize = 64;

/// How a player is asked.
pub struct Exam<'a> {
    pub player: &'a Player,
    pub choice: Choice,
    pub file: &'a Path,
    pub seed: u64,
    pub device: &'a Device,
    pub json: bool,
}

impl Exam<'_> {
    /// Asks and prints.
    ///
    /// # Errors
    /// One line: an environment without such files, a malformed file, a player that cannot be asked.
    pub fn run(&self) -> Result<()> {
        let env = self.player.env;
        let Some(read) = env.positions else {
            bail!(UsageError(format!(
                "{} has no positions whose results are known; leave out --positions",
                env.name
            )))
        };
        let file = self.file.display();
        let all = read(self.file)?;
        let known: Vec<&Position> = all.iter().filter(|position| position.values.is_some()).collect();
        if known.is_empty() {
            bail!("{file} does not tell of the moves of any position");
        }
        let longest = known.iter().map(|position| position.moves.len()).max().unwrap_or(0);
        let (client, stage) = self.device.open(&format!("tracing positions of {}", env.name))?;
        let started = Instant::now();
        let is_certain = matches!(self.player.origin, Origin::Params(_)) && self.choice == Choice::Greedy;
        let draws = if is_certain { 1 } else { DRAWS };
        let examiner = Examiner::new(&client, &*env.build(), &self.player.policy, longest, draws)
            .with_context(|| format!("cannot ask {}", self.player.name()))?;
        let actions = examiner.actions(&known, self.seed).with_context(|| format!("cannot use {file}"))?;
        drop(stage);
        let mut sets: BTreeMap<&str, Vec<(&Position, &[usize])>> = BTreeMap::new();
        for (position, actions) in known.iter().zip(&actions) {
            sets.entry(&position.set).or_default().push((position, actions));
        }
        let all_known = marks(known.iter().copied().zip(actions.iter().map(Vec::as_slice)));
        let sets: Vec<(&str, Marks)> =
            sets.into_iter().map(|(set, answers)| (set, marks(answers.into_iter()))).collect();
        let unknown = all.len() - known.len();
        match self.json {
            true => print_line(self.to_json(&sets, all_known, unknown, started.elapsed().as_secs_f64())),
            false => print(&self.to_text(&sets, all_known, unknown)),
        }
    }

    fn to_json(&self, sets: &[(&str, Marks)], all: Marks, unknown: usize, seconds: f64) -> Value {
        let row = |Marks { positions, keeps_class, best }: Marks| json!({ "positions": positions, "keeps_class": keeps_class, "best": best });
        let mut object = row(all);
        object["env"] = json!(self.player.env.name);
        object["params"] = json!(self.player.name());
        object["choice"] = json!(self.player.chooses(self.choice));
        object["seed"] = json!(self.seed);
        object["unknown"] = json!(unknown);
        object["sets"] = sets.iter().map(|(set, marks)| ((*set).to_owned(), row(*marks))).collect();
        object["seconds"] = json!(seconds);
        object
    }

    fn to_text(&self, sets: &[(&str, Marks)], all: Marks, unknown: usize) -> String {
        let row = |(set, Marks { positions, keeps_class, best }): (&str, Marks)| {
            let shares = [keeps_class, best].map(|share| format!("{:.1}%", 100.0 * share));
            [vec![set.to_owned(), positions.to_string()], shares.to_vec()].concat()
        };
        let rows: Vec<_> = sets.iter().copied().chain([("all", all)]).map(row).collect();
        let choice = self.player.chooses(self.choice);
        let mut text = format!("{}, {choice} policy, {} positions\n", self.player.env.name, all.positions);
        if unknown > 0 {
            text += &format!("{unknown} more do not tell the values of their moves\n");
        }
        text + "\n" + &table(&["set", ">positions", ">keep win, draw, loss", ">best move"], &rows)
    }
}
