//! The results of an evaluation by lives as JSON: a file for each kind of agent, and one of all.
//!
//! The files have the keys of the reference, whose lists of lives, one entry for each, are replaced by what the lists add up to: counts,
//! means, standard deviations and histograms.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::algorithms::lives::{Lives, Living, bins};
use crate::array::HostArray;
use crate::envs::survival::{Protocol, Seeds, Survival};
use crate::statistics::{Interval, Moments};

use super::Request;
use crate::cli::player::Player;

/// The energy of what happens to an agent.
#[derive(Clone, Copy, Debug)]
pub struct Energy {
    good: f64,
    bad: f64,
    step: f64,
}

impl Energy {
    /// What the parameters of an environment say, in the precision in which they are written.
    pub fn of(survival: &Survival, params: &[(String, HostArray)]) -> Energy {
        let value = |name: &str| {
            let found = params.iter().find(|(other, _)| other == name);
            let value = found.expect("an environment has the parameters that it names").1.to_f64()[0];
            (value as f32).to_string().parse::<f64>().expect("a number is read as it is written")
        };
        Energy {
            good: value(survival.good.energy),
            bad: value(survival.bad.energy),
            step: -value(survival.step_cost),
        }
    }
}

/// What one run came to.
pub struct Outcome {
    pub kind: &'static str,
    pub seed: u64,
    pub living: Living,
    pub energy: Energy,
    pub seconds: f64,
}

/// What is told of runs in a row of a table.
#[derive(Clone, Copy, Debug)]
struct Rates {
    energy: f64,
    good: f64,
    bad: f64,
    deaths: f64,
    survival: f64,
    /// Of all that was eaten.
    efficiency: f64,
}

impl Outcome {
    /// The steps of all environments: each belongs to one life.
    fn steps(&self) -> u64 {
        let Living { ended, unfinished, .. } = &self.living;
        (ended.steps.sum + unfinished.steps.sum) as u64
    }

    fn rates(&self) -> Rates {
        let Living { ended, unfinished, good, bad } = &self.living;
        let (steps, good, bad) = (self.steps() as f64, *good as f64, *bad as f64);
        let Energy { good: of_good, bad: of_bad, step } = self.energy;
        Rates {
            energy: 1000.0 * (of_good * good + of_bad * bad + step * steps) / steps,
            good: 1000.0 * good / steps,
            bad: 1000.0 * bad / steps,
            deaths: 1000.0 * ended.count as f64 / steps,
            survival: steps / (ended.count + unfinished.count) as f64,
            efficiency: if good + bad > 0.0 { good / (good + bad) } else { 1.0 },
        }
    }
}

/// All runs so far, and where they are written.
pub struct Results<'a> {
    request: &'a Request<'a>,
    /// Each with what its file says.
    runs: Vec<(Outcome, Value)>,
}

impl<'a> Results<'a> {
    pub fn new(request: &'a Request<'a>) -> Results<'a> {
        Results { request, runs: Vec::new() }
    }

    /// One more run, which is written into the file of its kind.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, outcome: Outcome, player: &Player) -> Result<()> {
        let written = self.of_run(&outcome, player);
        write(&self.path_of(outcome.kind), &written)?;
        self.runs.push((outcome, written));
        Ok(())
    }

    /// `DIRECTORY/STEM_KIND.json`
    fn path_of(&self, kind: &str) -> PathBuf {
        let output = &self.request.protocol.output;
        let stem = output.file_stem().unwrap_or_default().to_string_lossy();
        output.with_file_name(format!("{stem}_{kind}.json"))
    }

    fn of_run(&self, outcome: &Outcome, player: &Player) -> Value {
        let Protocol { envs, steps, deterministic, temperature, ref facts, .. } = self.request.protocol;
        let Survival { good, bad, .. } = self.request.survival;
        let Living { ended, unfinished, good: all_good, bad: all_bad } = &outcome.living;
        let mut config = object(json!({
            "mode": outcome.kind,
            "model_path": player.name(),
            "total_timesteps": outcome.steps(),
            "n_envs": envs,
            "steps_per_env": steps,
            "deterministic": deterministic,
            "seed": outcome.seed,
            "temperature": temperature,
            "env_set": self.request.place.env_set.join(","),
        }));
        config.extend(facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))));
        let said = |key: &str| player.metadata.get(key).map(String::as_str);
        let trained = said("training_steps").or(said("timesteps")).and_then(|text| text.parse::<u64>().ok());
        let metadata = json!({
            "total_deaths": ended.count,
            "n_survivors": unfinished.count,
            "actual_timesteps": outcome.steps(),
            format!("total_{}_consumed", good.name): all_good,
            format!("total_{}_consumed", bad.name): all_bad,
            "testing_time_seconds": outcome.seconds,
            "model_training_steps": trained,
            "model_mode": (self.request.survival.kind_of)(&player.metadata),
        });
        json!({
            "config": config,
            "metadata": metadata,
            "aggregates": self.aggregates(outcome),
            "deaths": self.lives(ended),
            "survivors": self.lives(unfinished),
        })
    }

    /// Of one run. Means per death are over the lives that ended, those of survival over all.
    fn aggregates(&self, outcome: &Outcome) -> Map<String, Value> {
        let Living { ended, unfinished, .. } = &outcome.living;
        let all = ended.clone().merge(unfinished);
        let [good, bad] = [self.request.survival.good.name, self.request.survival.bad.name];
        let (survival, [of_good, of_bad]) = (all.survival(), ended.happened());
        let (balance, efficiency) = (ended.balance(), ended.efficiency());
        let mut aggregates = object(json!({
            "mode": outcome.kind,
            "n_deaths": ended.count,
            "total_timesteps": outcome.steps(),
            "survival_std": survival.population_std(),
            "survival_min": all.shortest,
            "survival_max": all.longest,
            format!("{good}_per_death_mean"): of_good.mean,
            format!("{good}_per_death_std"): of_good.population_std(),
            format!("{bad}_per_death_mean"): of_bad.mean,
            format!("{bad}_per_death_std"): of_bad.population_std(),
            "reward_mean": balance.mean,
            "reward_std": balance.population_std(),
            "efficiency_mean": efficiency.mean,
            "efficiency_std": efficiency.population_std(),
            "per_agent_efficiency": all.efficiency().mean,
        }));
        aggregates.extend(self.rates(&outcome.rates()));
        aggregates
    }

    fn rates(&self, rates: &Rates) -> Map<String, Value> {
        let [good, bad] = [self.request.survival.good.name, self.request.survival.bad.name];
        object(json!({
            "overall_efficiency": rates.efficiency,
            "survival_mean": rates.survival,
            "deaths_per_1k_steps": rates.deaths,
            format!("{good}_per_1k_steps"): rates.good,
            format!("{bad}_per_1k_steps"): rates.bad,
            "energy_per_1k_steps": rates.energy,
        }))
    }

    /// What many lives add up to.
    fn lives(&self, lives: &Lives) -> Value {
        let [good, bad] = lives.happened();
        let steps = |bin: usize| [bins::steps_in(bin).start as f64, bins::steps_in(bin).end as f64];
        let survival = Map::from_iter([
            ("min".to_owned(), json!(lives.shortest)),
            ("max".to_owned(), json!(lives.longest)),
            ("histogram".to_owned(), histogram(&lives.steps_histogram, steps)),
        ]);
        let efficiency = Map::from_iter([(
            "histogram".to_owned(),
            histogram(&lives.efficiency_histogram, bins::shares_in),
        )]);
        json!({
            "count": lives.count,
            "survival": with(moments(lives.survival()), survival),
            "efficiency": with(moments(lives.efficiency()), efficiency),
            self.request.survival.good.name: moments(good),
            self.request.survival.bad.name: moments(bad),
            "reward": moments(lives.balance()),
        })
    }

    /// The file of all runs.
    ///
    /// # Errors
    /// None but of serialisation.
    pub fn document(&self) -> Result<Value> {
        let Protocol { seeds, subjects, .. } = &self.request.protocol;
        let kinds: Vec<&str> = subjects.iter().map(|subject| subject.kind).collect();
        let mut document = object(json!({
            "timestamp": jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            "env": self.request.entry.name,
            "modes": kinds,
        }));
        let of_kind = |kind: &'static str| self.runs.iter().filter(move |(outcome, _)| outcome.kind == kind);
        let kinds = || kinds.iter().copied();
        let results: Map<String, Value> = match seeds {
            Seeds::One(_) => {
                let compared = |kind| {
                    let (outcome, _) = of_kind(kind).next()?;
                    Some((kind.to_owned(), self.compared(&outcome.rates())))
                };
                let comparison: Map<String, Value> = kinds().filter_map(compared).collect();
                document.insert("comparison".into(), comparison.into());
                kinds().filter_map(|kind| Some((kind.to_owned(), of_kind(kind).next()?.1.clone()))).collect()
            }
            Seeds::Drawn { base, seeds } => {
                document.insert("n_runs".into(), seeds.len().into());
                document.insert("base_seed".into(), (*base).into());
                let of =
                    |kind: &'static str| (kind.to_owned(), self.of_runs(&of_kind(kind).collect::<Vec<_>>()));
                kinds().map(of).collect()
            }
        };
        document.insert("results".into(), results.into());
        Ok(document.into())
    }

    /// A kind in a single run, in short.
    fn compared(&self, rates: &Rates) -> Value {
        let short = |(key, value): (String, Value)| match key.as_str() {
            "overall_efficiency" => ("efficiency".to_owned(), value),
            "survival_mean" => ("survival".to_owned(), value),
            key => (key.trim_end_matches("_steps").to_owned(), value),
        };
        self.rates(rates).into_iter().map(short).collect::<Map<_, _>>().into()
    }

    /// Several runs of a kind: the means of what each came to, and all their lives together.
    fn of_runs(&self, runs: &[&(Outcome, Value)]) -> Value {
        let outcomes = || runs.iter().map(|(outcome, _)| outcome);
        let over_runs = |number: fn(&Rates) -> f64| Moments::of(outcomes().map(|run| number(&run.rates())));
        let mean = |number| over_runs(number).mean;
        let means = Rates {
            energy: mean(|rates| rates.energy),
            good: mean(|rates| rates.good),
            bad: mean(|rates| rates.bad),
            deaths: mean(|rates| rates.deaths),
            survival: mean(|rates| rates.survival),
            efficiency: mean(|rates| rates.efficiency),
        };
        let pooled = |of: fn(&Living) -> &Lives| {
            outcomes().fold(Lives::default(), |all, run| all.merge(of(&run.living)))
        };
        let (ended, unfinished) = (pooled(|living| &living.ended), pooled(|living| &living.unfinished));
        let (deaths, survivors) = (self.lives(&ended), self.lives(&unfinished));
        let per_agent = ended.clone().merge(&unfinished).efficiency();
        let mut aggregates = object(json!({
            "n_runs": runs.len(),
            "seeds": outcomes().map(|run| run.seed).collect::<Vec<_>>(),
            "efficiency_ci": interval(over_runs(|rates| rates.efficiency).interval()),
            "survival_ci": interval(over_runs(|rates| rates.survival).interval()),
            "per_agent_efficiency": per_agent.mean,
            "per_agent_efficiency_ci": interval(per_agent.interval()),
            "total_deaths": ended.count,
            "total_timesteps": outcomes().map(Outcome::steps).sum::<u64>(),
        }));
        aggregates.extend(self.rates(&means));
        let each: Vec<&Value> = runs.iter().map(|(_, written)| &written["aggregates"]).collect();
        json!({"aggregates": aggregates, "deaths": deaths, "survivors": survivors, "runs": each})
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

fn with(mut map: Map<String, Value>, more: Map<String, Value>) -> Value {
    map.extend(more);
    map.into()
}

fn interval(Interval { low, high }: Interval) -> Value {
    json!([low, high])
}

/// As [`Moments::from_std`] takes it.
fn moments(moments: Moments) -> Map<String, Value> {
    object(json!({"mean": moments.mean, "std": moments.population_std()}))
}

/// `[low, high, count]` of each bin in which anything is.
fn histogram(counts: &[u64], edges: impl Fn(usize) -> [f64; 2]) -> Value {
    let bins = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let bins = bins.map(|(bin, count)| {
        let [low, high] = edges(bin);
        json!([low, high, count])
    });
    bins.collect::<Vec<_>>().into()
}

/// Writes a file, and the directory for it.
///
/// # Errors
/// One line that names it.
pub fn write(path: &Path, document: &Value) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).with_context(cannot)?;
    }
    let text = serde_json::to_string_pretty(document).with_context(cannot)?;
    fs::write(path, text + "\n").with_context(cannot)
}
