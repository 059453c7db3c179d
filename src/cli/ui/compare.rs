//! Runs beside each other: the settings in which they differ, and their curves over each other. A group counts as one, by the mean of its
//! runs and the interval that the mean lies in.

use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::extract::State;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::asked::Asked;
use super::library::{Points, View, short};
use super::site::{Shared, Site};
use crate::cli::runs::{differences, moments};
use crate::statistics::Moments;
use crate::trainer::history::Axis;
use crate::trainer::{METRICS, run_dir};

/// Runs that are compared at once, with those of groups.
const MOST_RUNS: usize = 200;

/// What is drawn as one curve.
struct Subject {
    name: String,
    ids: Vec<String>,
    directories: Vec<PathBuf>,
}

/// `GET /api/v1/compare`: `run` and `group`, several times, and `metric` for the curves.
pub async fn show(State(site): State<Shared>, asked: Asked) -> Answer {
    let view = View::asked(&asked)?;
    work(move || {
        let subjects = subjects(&site, &asked)?;
        let mut names = BTreeSet::new();
        for directory in subjects.iter().flat_map(|subject| &subject.directories) {
            names.extend(read(&site, directory, |curves| {
                curves.names().into_iter().map(String::from).collect::<Vec<_>>()
            })?);
        }
        let mut curves = Map::new();
        for metric in asked.all("metric").filter(|metric| names.contains(*metric)) {
            let drawn: Result<Vec<Value>, Failure> =
                subjects.iter().map(|subject| subject.curve(&site, metric, &view)).collect();
            curves.insert(metric.into(), drawn?.into());
        }
        let configs: Vec<_> = subjects.iter().map(|subject| subject.config()).collect();
        let settings: Vec<Value> = differences(&configs.iter().collect::<Vec<_>>())
            .into_iter()
            .map(|(name, values)| json!({ "name": name, "values": values }))
            .collect();
        let described = subjects.iter().map(|subject| json!({ "name": subject.name, "runs": subject.ids }));
        json_of(&json!({
            "subjects": described.collect::<Vec<_>>(),
            "settings": settings,
            "metrics": names,
            "curves": curves,
        }))
    })
    .await
}

/// What is to be compared: each run, then each group.
fn subjects(site: &Site, asked: &Asked) -> Result<Vec<Subject>, Failure> {
    let listing = site.shelf.list();
    let one = |id: &str| (id.to_owned(), vec![id.to_owned()]);
    let all = |group: &str| (group.to_owned(), listing.group(group).cloned().collect());
    let named: Vec<(String, Vec<String>)> =
        asked.all("run").map(one).chain(asked.all("group").map(all)).collect();
    let count: usize = named.iter().map(|(_, ids)| ids.len()).sum();
    if !(1..=MOST_RUNS).contains(&count) {
        return Err(Failure::wrong(format!("{count} runs are asked for; 1 to {MOST_RUNS} can be compared")));
    }
    if named.iter().any(|(_, ids)| ids.is_empty()) {
        return Err(Failure::missing("run of one of these groups"));
    }
    let subject = |(name, ids): (String, Vec<String>)| {
        let directories = ids.iter().map(|id| site.shelf.directory(id)).collect::<Result<_, _>>()?;
        Ok(Subject { name, ids, directories })
    };
    named.into_iter().map(subject).collect()
}

/// What is made of the curves of a run, or of none if it has logged nothing.
fn read<T: Default>(
    site: &Site,
    run: &std::path::Path,
    make: impl FnOnce(&crate::trainer::history::Curves) -> T,
) -> Result<T, Failure> {
    if !run.join(METRICS).exists() {
        return Ok(T::default());
    }
    site.library.with(run, make).map_err(|error| Failure::damaged(&error))
}

impl Subject {
    /// The settings, for a group those of its first run.
    fn config(&self) -> toml::Table {
        self.directories.first().and_then(|run| run_dir::config(run).ok()).unwrap_or_default()
    }

    fn curve(&self, site: &Site, metric: &str, view: &View) -> Result<Value, Failure> {
        let mut runs: Vec<[Points; 2]> = Vec::new();
        for directory in &self.directories {
            runs.push(read(site, directory, |curves| {
                [Axis::Update, view.axis].map(|axis| curves.curve(metric, axis))
            })?);
        }
        let points = moments(runs);
        let shown = view.shown(&points, |(x, moments)| (*x, moments.mean));
        let column = |value: fn(&Moments) -> f64| -> Vec<f32> {
            shown.iter().map(|&place| short(value(&points[place].1))).collect()
        };
        let x: Vec<f64> = shown.iter().map(|&place| points[place].0).collect();
        let mut drawn = json!({ "x": x, "y": column(|moments| moments.mean), "points": points.len() });
        if self.directories.len() > 1 {
            drawn["low"] = json!(column(|moments| moments.interval().low));
            drawn["high"] = json!(column(|moments| moments.interval().high));
        }
        Ok(drawn)
    }
}
