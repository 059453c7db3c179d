//! What a file of results says, for the table and the report.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cli::App;
use crate::cli::table::table;
use crate::envs::survival::{Kind, Survival};
use crate::files;
use crate::statistics::Moments;

/// The kinds of agents that were evaluated, in the order of reports.
pub struct Summary {
    pub survival: Survival,
    pub kinds: Vec<Group>,
}

/// What the runs of a kind came to.
pub struct Group {
    /// Its name and colours.
    pub kind: Kind,
    pub energy: f64,
    /// The mean over all lives, and the share of the good in all that was eaten.
    pub efficiency: f64,
    pub overall_efficiency: f64,
    pub survival: f64,
    pub deaths: f64,
    pub good: f64,
    pub bad: f64,
    pub runs: usize,
    pub total_deaths: u64,
    pub total_steps: u64,
    /// Of all lives of all runs, finished or not.
    pub lives: Lives,
}

/// Lives, all runs together.
pub struct Lives {
    pub survival: Moments,
    pub efficiency: Moments,
    pub bad: Moments,
    pub survival_bins: Vec<Bin>,
    pub efficiency_bins: Vec<Bin>,
}

/// A number that each life has.
pub struct Measure {
    pub title: String,
    pub of: fn(&Lives) -> Moments,
}

/// Lives whose number is from `low` on and below `high`; or equal to both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    pub low: f64,
    pub high: f64,
    pub count: u64,
}

impl Summary {
    /// Of a file.
    ///
    /// # Errors
    /// One line that names it.
    pub fn load(app: &App, path: &Path) -> Result<(Value, Summary)> {
        let text = files::read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = || format!("{} is no file of results of an evaluation by lives", path.display());
        let document: Value = serde_json::from_str(&text).with_context(wrong)?;
        let summary = Summary::read(app, &document).with_context(wrong)?;
        Ok((document, summary))
    }

    /// # Errors
    /// One line: what is missing.
    pub fn read(app: &App, document: &Value) -> Result<Summary> {
        let env = document["env"].as_str().context("it does not say its environment")?;
        let entry = app.catalog().env(env)?;
        let Some(survival) = entry.survival else { bail!("{env} is not evaluated by lives") };
        let results = document["results"].as_object().context("it has no results")?;
        let group = |(name, result): (&String, &Value)| {
            Group::read(&survival, name, result).with_context(|| format!("results.{name}"))
        };
        let mut kinds = results.iter().map(group).collect::<Result<Vec<_>>>()?;
        kinds.sort_by_key(|group| survival.place(group.kind.name));
        Ok(Summary { survival, kinds })
    }

    pub fn kind(&self, name: &str) -> Option<&Group> {
        self.kinds.iter().find(|group| group.kind.name == name)
    }

    /// How much longer agents of the first kind of the most important pair live than those of the second, if both are there.
    pub fn collapse_ratio(&self) -> Option<f64> {
        let (first, second) = self.survival.pairs.first()?;
        Some(self.kind(first)?.survival / self.kind(second)?.survival)
    }

    /// By how much more energy agents of the first kind have per 1000 steps.
    pub fn energy_gap(&self) -> Option<f64> {
        let (first, second) = self.survival.pairs.first()?;
        Some(self.kind(first)?.energy - self.kind(second)?.energy)
    }

    /// What tests compare.
    pub fn measures(&self) -> [Measure; 3] {
        [
            Measure { title: "Efficiency (%)".into(), of: |lives| lives.efficiency.scaled(100.0) },
            Measure { title: "Survival (steps)".into(), of: |lives| lives.survival },
            Measure { title: format!("{} per life", capital(self.survival.bad.name)), of: |lives| lives.bad },
        ]
    }

    /// The pairs of kinds of which both are there, the most important one first.
    pub fn pairs(&self) -> impl Iterator<Item = [&Group; 2]> {
        self.survival.pairs.iter().filter_map(|(a, b)| Some([self.kind(a)?, self.kind(b)?]))
    }

    /// The names of the columns, and a row for each kind.
    pub fn cells(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let per_1k = |name: &str| format!("{}/1k", capital(name));
        let head = ["Mode", "Energy/1k", "Efficiency", "Survival", "Deaths/1k"].map(String::from).to_vec();
        let head = [head, vec![per_1k(self.survival.good.name), per_1k(self.survival.bad.name)]].concat();
        let row = |group: &Group| {
            let Group { kind, energy, efficiency, survival, deaths, good, bad, .. } = group;
            vec![
                kind.name.to_owned(),
                format!("{energy:+.1}"),
                format!("{:.1}%", 100.0 * efficiency),
                format!("{survival:.1}"),
                format!("{deaths:.2}"),
                format!("{good:.1}"),
                format!("{bad:.1}"),
            ]
        };
        (head, self.kinds.iter().map(row).collect())
    }

    /// The table of the console.
    pub fn table(&self) -> String {
        let (head, rows) = self.cells();
        let head: Vec<String> = head
            .iter()
            .enumerate()
            .map(|(i, title)| if i == 0 { title.clone() } else { format!(">{title}") })
            .collect();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let mut text = table(&head, &rows);
        if let (Some(ratio), Some(gap)) = (self.collapse_ratio(), self.energy_gap()) {
            let (first, second) = self.survival.pairs[0];
            text += &format!(
                "\n{first} against {second}: {ratio:.1} times the survival, an energy gap of {gap:.1} per 1k steps\n"
            );
        }
        text
    }
}

pub fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

impl Group {
    fn read(survival: &Survival, name: &str, result: &Value) -> Result<Group> {
        let kind = survival.kinds.iter().find(|kind| kind.name == name).context("there is no such kind")?;
        let aggregates = &result["aggregates"];
        let number = |key: &str| number(aggregates, key);
        let per_1k = |name: &str| number(&format!("{name}_per_1k_steps"));
        let deaths = number("total_deaths").or_else(|_| number("n_deaths"))?;
        let lives = ["deaths", "survivors"].map(|key| Lives::read(survival, &result[key]));
        let [ended, unfinished] = lives;
        Ok(Group {
            kind: *kind,
            energy: number("energy_per_1k_steps")?,
            efficiency: number("per_agent_efficiency")?,
            overall_efficiency: number("overall_efficiency")?,
            survival: number("survival_mean")?,
            deaths: number("deaths_per_1k_steps")?,
            good: per_1k(survival.good.name)?,
            bad: per_1k(survival.bad.name)?,
            runs: aggregates["n_runs"].as_u64().unwrap_or(1) as usize,
            total_deaths: deaths as u64,
            total_steps: number("total_timesteps")? as u64,
            lives: ended.context("deaths")?.merge(unfinished.context("survivors")?),
        })
    }
}

impl Lives {
    fn read(survival: &Survival, lives: &Value) -> Result<Lives> {
        let count = number(lives, "count")? as u64;
        let moments = |key: &str| -> Result<Moments> {
            let of = &lives[key];
            let both = number(of, "mean").and_then(|mean| Ok((mean, number(of, "std")?)));
            let (mean, std) = both.with_context(|| key.to_owned())?;
            Ok(Moments::from_std(count, mean, std))
        };
        let bins = |key: &str| -> Result<Vec<Bin>> {
            let list: Vec<(f64, f64, u64)> = serde_json::from_value(lives[key]["histogram"].clone())
                .with_context(|| format!("the histogram of {key}"))?;
            Ok(list.into_iter().map(|(low, high, count)| Bin { low, high, count }).collect())
        };
        Ok(Lives {
            survival: moments("survival")?,
            efficiency: moments("efficiency")?,
            bad: moments(survival.bad.name)?,
            survival_bins: bins("survival")?,
            efficiency_bins: bins("efficiency")?,
        })
    }

    fn merge(self, other: Lives) -> Lives {
        Lives {
            survival: self.survival.merge(other.survival),
            efficiency: self.efficiency.merge(other.efficiency),
            bad: self.bad.merge(other.bad),
            survival_bins: merge_bins(self.survival_bins, &other.survival_bins),
            efficiency_bins: merge_bins(self.efficiency_bins, &other.efficiency_bins),
        }
    }
}

/// The bins of both, in order.
fn merge_bins(mut bins: Vec<Bin>, others: &[Bin]) -> Vec<Bin> {
    for other in others {
        match bins.iter_mut().find(|bin| bin.low == other.low && bin.high == other.high) {
            Some(bin) => bin.count += other.count,
            None => bins.push(*other),
        }
    }
    bins.sort_by(|a, b| a.low.total_cmp(&b.low));
    bins
}

fn number(value: &Value, key: &str) -> Result<f64> {
    value[key].as_f64().with_context(|| format!("{key} is missing"))
}
