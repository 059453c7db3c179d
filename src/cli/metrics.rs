//! `lockstep metrics`: what each metric of a run means. `docs/metrics.md` is made from the same lists, and a test compares it.

use std::fmt::Write;
use std::rc::Rc;

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

use crate::algorithms::metrics::{Aggregate, Metric};
use crate::algorithms::report::Report;
use crate::config::{Catalog, UsageError};
use crate::envs::{AnyEnv, Entry};
use crate::names::nearest;
use crate::trainer::{health_rule, time_metrics};

use super::{App, print, print_line};

/// What to show.
#[derive(Debug, Args)]
struct Metrics {
    /// Show everything about this metric, such as train/entropy or entropy [default: list all]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON on stdout
    #[arg(long)]
    json: bool,
}

pub fn command() -> Command {
    Metrics::augment_args(Command::new("metrics")).about("List the metrics of a run, or say what one means")
}

/// Prints.
///
/// # Errors
/// An unknown name: one line with the nearest one.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let Metrics { name, json } = Metrics::from_arg_matches(matches)?;
    let groups = groups(app.catalog());
    let shown: Vec<&Documented> = match &name {
        None => groups.iter().flat_map(|group| &group.metrics).collect(),
        Some(name) => find(&groups, name)?,
    };
    if json {
        return print_line(Value::from_iter(shown.into_iter().map(Documented::to_json)));
    }
    match name {
        None => print(&groups.iter().map(Group::to_text).collect::<Vec<_>>().join("\n")),
        Some(_) => print(&shown.into_iter().map(Documented::to_text).collect::<Vec<_>>().join("\n")),
    }
}

/// The metrics of that name, with or without its group; several environments may have it.
fn find<'a>(groups: &'a [Group], name: &str) -> Result<Vec<&'a Documented>> {
    let all = || groups.iter().flat_map(|group| &group.metrics);
    let exact: Vec<_> = all().filter(|metric| metric.name == name).collect();
    let found =
        if exact.is_empty() { all().filter(|metric| metric.short() == name).collect() } else { exact };
    if found.is_empty() {
        let names: Vec<String> =
            all().flat_map(|metric| [metric.name.clone(), metric.short().to_owned()]).collect();
        let hint = nearest(name, names.iter().map(String::as_str))
            .map_or("`lockstep metrics` lists all".into(), |name| format!("did you mean {name}?"));
        return Err(UsageError(format!("there is no metric {name}; {hint}")).into());
    }
    Ok(found)
}

/// Metrics that a run has for the same reason.
struct Group {
    title: String,
    metrics: Vec<Documented>,
}

/// All that is to say of one metric.
#[derive(Clone, PartialEq)]
struct Documented {
    name: String,
    /// The environment that has it; all have the others.
    env: Option<&'static str>,
    unit: &'static str,
    /// What a row says of it.
    per: &'static str,
    healthy: Option<String>,
    description: String,
}

/// The metrics of every run, those of each algorithm, and those that each environment adds.
fn groups(catalog: &Catalog) -> Vec<Group> {
    let [mut training, mut evaluation] = ["In every run", "Of evaluations (--eval-interval)"].map(Group::new);
    let (algorithms, envs) = (catalog.algorithms.entries(), catalog.envs.entries());
    let mut of_algorithms: Vec<Group> =
        algorithms.iter().map(|algorithm| Group::new(&format!("In runs of {}", algorithm.name))).collect();
    let mut own = Vec::new();
    for entry in envs {
        let env: Rc<dyn AnyEnv> = Rc::from(entry.build());
        let mut of_env = Group::new(&format!("In {}", entry.name));
        for (algorithm, of_algorithm) in algorithms.iter().zip(&mut of_algorithms) {
            // An algorithm that cannot be had on the environment has no metrics in it.
            for metric in (algorithm.metrics)(env.clone()).unwrap_or_default() {
                let group = if is_shared(&metric.name) { &mut *of_algorithm } else { &mut of_env };
                group.add(Documented { per: per(metric.aggregate), ..Documented::new(&metric, entry) });
            }
        }
        for (metric, _) in Report::new(&env.spec(), &[]).metrics() {
            let group = if is_shared(&metric.name) { &mut evaluation } else { &mut of_env };
            group.add(Documented { per: EVALUATION, ..Documented::new(&metric, entry) });
        }
        own.push(of_env);
    }
    training.take_common(&mut of_algorithms);
    for metric in time_metrics() {
        training.add(Documented { per: "value of the interval", ..Documented::new(&metric, &envs[0]) });
    }
    let groups = [training].into_iter().chain(of_algorithms).chain([evaluation]).chain(own);
    groups.filter(|group| !group.metrics.is_empty()).collect()
}

/// Whether a metric has to do with training, not with the environment.
fn is_shared(name: &str) -> bool {
    let name = name.strip_prefix("eval/").unwrap_or(name);
    ["train/", "replay/", "curriculum/"].iter().any(|group| name.starts_with(group)) || !name.contains('/')
}

const EVALUATION: &str = "value of an evaluation";

fn per(aggregate: Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Mean => "mean over the updates of the interval",
        Aggregate::Sum => "sum over the updates of the interval",
        Aggregate::Max => "largest in the interval",
        Aggregate::EpisodeMean => "mean over the episodes that ended in the interval; absent if none did",
        Aggregate::EpisodeMin => "smallest of the episodes that ended in the interval; absent if none did",
        Aggregate::EpisodeMax => "largest of the episodes that ended in the interval; absent if none did",
    }
}

impl Group {
    fn new(title: &str) -> Group {
        Group { title: title.to_owned(), metrics: Vec::new() }
    }

    fn add(&mut self, metric: Documented) {
        if self.metrics.iter().all(|other| other.name != metric.name) {
            self.metrics.push(metric);
        }
    }

    /// Moves here what all groups have alike.
    fn take_common(&mut self, groups: &mut [Group]) {
        let Some((first, rest)) = groups.split_first() else { return };
        let is_common = |metric: &&Documented| rest.iter().all(|group| group.metrics.contains(metric));
        let common: Vec<Documented> = first.metrics.iter().filter(is_common).cloned().collect();
        for group in groups {
            group.metrics.retain(|metric| !common.contains(metric));
        }
        common.into_iter().for_each(|metric| self.add(metric));
    }

    /// Those to list: what an environment reports of an evaluation is what it reports of training.
    fn listed(&self) -> impl Iterator<Item = &Documented> {
        self.metrics.iter().filter(|metric| metric.per != EVALUATION || is_shared(&metric.name))
    }

    fn to_text(&self) -> String {
        let width = self.listed().map(|metric| metric.name.len()).max().unwrap_or(0);
        let lines =
            self.listed().map(|metric| format!("  {:<width$}  {}\n", metric.name, metric.description));
        format!("{}\n{}", self.title, lines.collect::<String>())
    }

    #[cfg(test)]
    fn to_markdown(&self) -> String {
        let mut text = format!(
            "\n## {}\n\n| metric | meaning | unit | a row has | healthy |\n|---|---|---|---|---|\n",
            self.title
        );
        for metric in self.listed() {
            let Documented { name, unit, per, healthy, description, .. } = metric;
            let healthy = healthy.as_deref().unwrap_or("");
            writeln!(text, "| `{name}` | {description} | {unit} | {per} | {healthy} |")
                .expect("a string takes all");
        }
        text
    }
}

impl Documented {
    fn new(metric: &Metric, entry: &Entry) -> Documented {
        let of_env =
            entry.health.ranges.iter().find(|(name, _)| *name == metric.name).map(|(_, range)| range);
        let range = metric.healthy.as_ref().or(of_env).map(ToString::to_string);
        let checks = metric.checks.iter().map(|check| check.rule).filter(|rule| !rule.is_empty());
        let rules: Vec<&str> = checks.chain(health_rule(&metric.name)).collect();
        Documented {
            name: metric.name.to_string(),
            env: (!is_shared(&metric.name)).then_some(entry.name),
            unit: metric.unit,
            per: "",
            healthy: range.or((!rules.is_empty()).then(|| rules.join(", "))),
            description: metric.description.to_string(),
        }
    }

    /// The name without its group.
    fn short(&self) -> &str {
        self.name.split_once('/').map_or(&self.name, |(_, rest)| rest)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.description);
        let unit = (!self.unit.is_empty()).then_some(self.unit);
        let facts = [("unit", unit), ("a row has", Some(self.per)), ("healthy", self.healthy.as_deref())];
        for (what, value) in facts.into_iter().chain([("environment", self.env)]) {
            if let Some(value) = value {
                writeln!(text, "{what:>12}  {value}").expect("a string takes all");
            }
        }
        text
    }

    fn to_json(&self) -> Value {
        let Documented { name, env, unit, per, healthy, description } = self;
        json!({"name": name, "description": description, "unit": unit, "row": per, "healthy": healthy, "env": env})
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const HEAD: &str = "# Metrics\n\n<!-- Made from the lists in the program: UPDATE_GOLDEN=1 cargo test --lib cli::metrics -->\n\n\
        A metric has one name in `metrics.jsonl`, `updates.csv`, TensorBoard and Weights & Biases; `lockstep metrics NAME` says of each \
        what is written here. A row stands for the updates since the row before it, `--log-interval` of them. Its `update` and \
        `timesteps` count from the beginning of the run. What has no value in a row (a mean over episodes where none ended) is null in \
        JSON, an empty cell in CSV, no point in TensorBoard and W&B, and `-` on screens. What an environment reports of training it \
        reports of evaluations, too: `eval/reward/...`, per step, and `eval/stats/...`, the mean over episodes of the largest value, or of the last one.\n\n\
        A warning is given once in a run where a metric leaves its healthy range, but not while the run is solved or holds what it has \
        learned.\n";

    #[test]
    fn the_page_of_metrics_is_that_of_the_program() {
        let page = HEAD.to_string()
            + &groups(&Catalog::builtin()).iter().map(Group::to_markdown).collect::<String>();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &page).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap();
        assert!(written == page, "docs/metrics.md is out of date; UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn every_metric_has_a_meaning_and_a_name_with_a_group() {
        let groups = groups(&Catalog::builtin());
        let all: Vec<_> = groups.iter().flat_map(|group| &group.metrics).collect();
        assert!(all.len() > 60, "{}", all.len());
        for metric in all {
            assert!(metric.name.contains('/') && !metric.description.is_empty(), "{}", metric.name);
        }
    }

    #[test]
    fn a_metric_is_found_by_either_name() {
        let groups = groups(&Catalog::builtin());
        let found = |name: &str| -> Vec<String> {
            find(&groups, name).unwrap().into_iter().map(|metric| metric.to_text()).collect()
        };
        let [kl] = &found("approx_kl")[..] else { panic!("one metric") };
        assert_eq!(*kl, found("train/approx_kl")[0]);
        assert!(kl.contains("unit  nats") && kl.contains("healthy  at most 0.06"), "{kl}");
        assert!(found("reward/step_penalty")[0].contains("healthy  -0.012 to -0.008"));
        let error = find(&groups, "entropi").err().unwrap().to_string();
        assert_eq!(error, "there is no metric entropi; did you mean entropy?");
    }
}
