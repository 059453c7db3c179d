//! What a sweep is to do: the table `[sweep]` of its file, which is PufferLib's, too.

use anyhow::{Result, bail, ensure};
use toml::{Table, Value};

use super::evidence::Evidence;
use super::protein::Protein;
use super::section::Section;
use super::space::{Parameter, Space};
use super::stopping::Stopping;
use super::{Suggestion, design};
use crate::names::nearest;

/// The most trials of a sweep: so many points Sobol's sequence has.
const MOST_RUNS: u64 = 1 << 16;
/// The most settings that vary.
const MOST_SETTINGS: usize = 64;
/// Keys of PufferLib that mean nothing here.
const WITHOUT_EFFECT: [&str; 5] =
    ["gpus", "use_gpu", "prune_pareto", "optimizer", "num_random_samples_per_gpu"];

/// Whether the metric is to be large or small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    Maximize,
    Minimize,
}

/// How the next trials are chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    Protein(Protein),
    Random,
    Sobol,
    Grid,
}

/// What a sweep is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub method: Method,
    /// What is scored.
    pub metric: String,
    pub goal: Goal,
    /// Whether scores are shares from 0 to 1, of which the logit is modelled.
    logit: bool,
    /// Trials in all.
    pub max_runs: usize,
    pub seed: u64,
    /// Runs of a trial, which differ in their seeds; its score is their mean.
    pub seeds: usize,
    /// Trials that are suggested at once, and trained as one group where they can be.
    pub parallel: usize,
    pub stopping: Stopping,
    /// Into how many observations the curve of a trial is summed up, where the steps vary.
    pub downsample: usize,
    pub space: Space,
    /// Lines to tell the user: what has no effect.
    pub notes: Vec<String>,
}

impl Plan {
    /// Reads the table `[sweep]`. Sections in it that have a distribution or values are settings that vary; others hold more of them, whose
    /// names they begin.
    ///
    /// # Errors
    /// One line: a key is unknown, a value is none for it, or a range is impossible.
    pub fn read(table: Table) -> Result<Plan> {
        let mut section = Section::new("sweep", table);
        let mut parameters = Vec::new();
        for (name, table) in section.tables() {
            collect(&name, table, &mut parameters)?;
        }
        let only = only(&mut section)?;
        if let Some(name) = only.iter().flatten().find(|name| !parameters.iter().any(|p| p.name == **name)) {
            let hint = nearest(name, parameters.iter().map(|p| p.name.as_str()));
            let hint = hint.map_or(String::new(), |name| format!("; did you mean {name}?"));
            bail!("sweep.sweep_only names {name}, which does not vary{hint}");
        }
        if let Some(only) = only {
            parameters.retain(|parameter| only.contains(&parameter.name));
        }
        ensure!(
            !parameters.is_empty(),
            "nothing varies: there is no section [sweep.SETTING] with a distribution, such as [sweep.lr]"
        );
        ensure!(
            parameters.len() <= MOST_SETTINGS,
            "{} settings vary; at most {MOST_SETTINGS} may",
            parameters.len()
        );
        let space = Space { parameters };

        let methods = ["protein", "random", "sobol", "grid", "successive_halving"];
        let method = section.word("method", &methods)?.map_or("protein", |place| methods[place]);
        let goals = [("maximize", Goal::Maximize), ("minimize", Goal::Minimize)];
        let goal = section
            .word("goal", &goals.map(|(word, _)| word))?
            .map_or(Goal::Maximize, |place| goals[place].1);
        let metric = section.text("metric")?;
        let logit = section.word("metric_distribution", &["linear", "logit"])? == Some(1);
        let max_runs = section.whole("max_runs", 1, MOST_RUNS)?;
        let max_runs = match (max_runs, method) {
            (None, "grid") => space.grid_size().min(MOST_RUNS),
            (runs, _) => runs.unwrap_or(200),
        } as usize;
        let seed = section.whole("seed", 0, 1 << 53)?.unwrap_or(0);
        let seeds = section.whole("seeds", 1, 64)?.unwrap_or(1) as usize;
        let parallel = section.whole("parallel", 1, 4096)?.unwrap_or(4) as usize;
        let stopping = stopping(&mut section, method)?;
        ensure!(
            seeds == 1 || stopping == Stopping::Never,
            "sweep.seeds is {seeds}, but an early stop is for trials of one run; leave out one of them"
        );
        let downsample = section.whole("downsample", 1, 1000)?.unwrap_or(5) as usize;
        // A short sweep cannot spend ten trials on looking around.
        let warm_up = section.whole("num_random_samples", 1, MOST_RUNS)?.map(|count| count as usize);
        let warm_up = warm_up.unwrap_or((max_runs / 3).clamp(1, 10));
        let max_points = section.whole("max_points", 10, 5000)?.unwrap_or(300) as usize;
        let max_cost = section.number("max_suggestion_cost")?.unwrap_or(f64::INFINITY);
        ensure!(max_cost > 0.0, "sweep.max_suggestion_cost is {max_cost}; it must be above 0 seconds");
        let repeat_every = section.whole("repeat_every", 0, MOST_RUNS)?.unwrap_or(10) as usize;
        let method = match method {
            "protein" => Method::Protein(Protein { seed, warm_up, max_points, max_cost, repeat_every }),
            "random" => Method::Random,
            "grid" => Method::Grid,
            _ => Method::Sobol,
        };
        let mut notes = Vec::new();
        for key in WITHOUT_EFFECT {
            if section.take(key).is_some() {
                notes.push(format!("sweep.{key} has no effect here"));
            }
        }
        section.end()?;
        let metric = metric.unwrap_or_else(|| "train/mean_episode_return".to_owned());
        Ok(Plan {
            method,
            metric,
            goal,
            logit,
            max_runs,
            seed,
            seeds,
            parallel,
            stopping,
            downsample,
            space,
            notes,
        })
    }

    /// The next `count` trials at most, of which the first is number `first` (from 0). None if there is nothing more to try.
    pub fn suggest(&self, evidence: &Evidence, first: usize, count: usize) -> Vec<Suggestion> {
        let count = count.min(self.max_runs.saturating_sub(first));
        let numbers = first..first + count;
        match &self.method {
            Method::Protein(protein) => protein.suggest(&self.space, evidence, first, count),
            Method::Random => numbers
                .map(|number| Suggestion::new(design::random(&self.space, self.seed, number)))
                .collect(),
            Method::Sobol => {
                numbers.map(|number| Suggestion::new(design::sobol(&self.space, self.seed, number))).collect()
            }
            Method::Grid => {
                numbers.map_while(|number| self.space.grid(number as u64)).map(Suggestion::new).collect()
            }
        }
    }

    /// Whether there is nothing to try after so many trials.
    pub fn is_exhausted(&self, trials: usize) -> bool {
        trials >= self.max_runs || (self.method == Method::Grid && trials as u64 >= self.space.grid_size())
    }

    /// A score as the methods see it: more is better.
    pub fn worth(&self, score: f64) -> f64 {
        let score = if self.logit {
            let share = score.clamp(1e-9, 1.0 - 1e-9);
            (share / (1.0 - share)).ln().clamp(-5.0, 100.0)
        } else {
            score
        };
        if self.goal == Goal::Minimize { -score } else { score }
    }

    /// The score of what the methods see.
    pub fn score(&self, worth: f64) -> f64 {
        let score = if self.goal == Goal::Minimize { -worth } else { worth };
        if self.logit { 1.0 / (1.0 + (-score).exp()) } else { score }
    }
}

/// Adds the settings in a section.
fn collect(name: &str, table: Table, parameters: &mut Vec<Parameter>) -> Result<()> {
    if table.contains_key("distribution") || table.contains_key("values") || table.contains_key("min") {
        parameters.push(Parameter::read(name, table)?);
        return Ok(());
    }
    ensure!(
        !table.is_empty(),
        "sweep.{name} is empty; a setting that varies has a distribution, min and max"
    );
    for (key, value) in table {
        match value {
            Value::Table(inner) => collect(&format!("{name}.{key}"), inner, parameters)?,
            _ => bail!("sweep.{name} has no distribution, so there is no sweep.{name}.{key}"),
        }
    }
    Ok(())
}

/// The settings to which the sweep is limited, if it is.
fn only(section: &mut Section) -> Result<Option<Vec<String>>> {
    let names = match section.take("sweep_only") {
        None => return Ok(None),
        Some(Value::String(list)) => {
            list.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
        Some(Value::Array(list)) if list.iter().all(Value::is_str) => {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(other) => {
            return Err(section.about("sweep_only", format!("is {other}; it must be a list of settings")));
        }
    };
    Ok(Some(names))
}

fn stopping(section: &mut Section, method: &str) -> Result<Stopping> {
    let rules = ["none", "median", "halving", "quantile"];
    let rule = section.word("early_stop", &rules)?.map(|place| rules[place]);
    let from = section.number("early_stop_from")?.unwrap_or(0.2);
    ensure!(
        (0.0..1.0).contains(&from),
        "sweep.early_stop_from is {from}; it must be from 0 to 1, the share of the steps"
    );
    let eta = section.number("eta")?.unwrap_or(3.0);
    ensure!((1.5..=16.0).contains(&eta), "sweep.eta is {eta}; it must be from 1.5 to 16");
    let rungs = section.whole("rungs", 1, 8)?.unwrap_or(2) as u32;
    let quantile = section.number("early_stop_quantile")?;
    ensure!(
        quantile.is_none_or(|quantile| 0.0 < quantile && quantile < 1.0),
        "sweep.early_stop_quantile is {}; it must be above 0 and below 1",
        quantile.unwrap_or_default()
    );
    // A file of PufferLib names the quantile alone.
    let usual = if method == "successive_halving" {
        "halving"
    } else if quantile.is_some() {
        "quantile"
    } else {
        "none"
    };
    Ok(match rule.unwrap_or(usual) {
        "median" => Stopping::Median { from, least: 5 },
        "halving" => Stopping::Halving { eta, rungs },
        "quantile" => Stopping::Quantile { quantile: quantile.unwrap_or(0.3), from },
        _ => Stopping::Never,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LR: &str = "[lr]\ndistribution = \"log_normal\"\nmin = 1e-5\nmax = 0.1\n";

    fn plan(text: &str) -> Result<Plan> {
        Plan::read(text.parse().unwrap())
    }

    #[test]
    fn a_table_is_read_as_puffer_writes_it() {
        let text = "method = \"Protein\"\nmetric = \"a\"\ngoal = \"minimize\"\nmax_runs = 30\ngpus = 1\n[train.gamma]\n\
                    distribution = \"logit_normal\"\nmin = 0.8\nmax = 0.9999\nscale = \"auto\"\n[env.size]\nvalues = [1, 2]\n";
        let plan = plan(&format!("{text}{LR}")).unwrap();
        let mut names: Vec<&str> = plan.space.parameters.iter().map(|p| p.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["env.size", "lr", "train.gamma"]);
        assert!(matches!(&plan.method, Method::Protein(Protein { warm_up: 10, max_points: 300, .. })));
        assert_eq!((plan.goal, plan.max_runs, plan.notes.len()), (Goal::Minimize, 30, 1));
        assert_eq!(plan.score(plan.worth(3.5)), 3.5);
        assert!(plan.worth(1.0) > plan.worth(2.0));
    }

    #[test]
    fn mistakes_are_named() {
        let complaint = |text: &str| plan(text).unwrap_err().to_string();
        assert!(complaint("").starts_with("nothing varies"));
        assert_eq!(
            complaint(&format!("metod = \"grid\"\n{LR}")),
            "there is no sweep.metod; did you mean method?"
        );
        assert!(
            complaint(&format!("method = \"gird\"\n{LR}"))
                .contains("sweep.method is gird; it must be one of protein")
        );
        assert!(
            complaint(&format!("max_runs = 0\n{LR}"))
                .contains("sweep.max_runs is 0; it must be a whole number from 1")
        );
        assert!(complaint("[lr]\nlow = 1").contains("sweep.lr has no distribution"));
        assert!(complaint("[lr]").contains("sweep.lr is empty"));
        assert!(
            complaint(&format!("sweep_only = [\"lrr\"]\n{LR}"))
                .contains("names lrr, which does not vary; did you mean lr?")
        );
    }

    #[test]
    fn a_logit_metric_is_modelled_on_the_whole_line() {
        let plan = plan(&format!("metric_distribution = \"logit\"\n{LR}")).unwrap();
        assert_eq!(plan.worth(0.5), 0.0);
        assert_eq!(plan.worth(0.0), -5.0);
        assert!((plan.score(plan.worth(0.9)) - 0.9).abs() < 1e-12);
    }

    #[test]
    fn a_grid_ends_and_designs_depend_on_seed_and_number() {
        let grid = plan(&format!("method = \"grid\"\n{LR}points = 3\n")).unwrap();
        assert_eq!(grid.max_runs, 3);
        let at = |plan: &Plan, first| plan.suggest(&Evidence::default(), first, 2);
        assert_eq!(at(&grid, 2).len(), 1);
        for method in ["random", "sobol"] {
            let [a, b] =
                [0, 1].map(|seed| plan(&format!("method = \"{method}\"\nseed = {seed}\n{LR}")).unwrap());
            assert_eq!(at(&a, 3), at(&a, 3));
            assert_eq!(at(&a, 3)[1], at(&a, 4)[0]);
            assert!(at(&a, 3) != at(&b, 3));
        }
    }
}
