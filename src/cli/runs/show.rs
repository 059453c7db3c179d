//! `runs show`: what the files of one run say.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::trainer::evaluation::BEST_PARAMS;
use crate::trainer::overview::Overview;
use crate::trainer::params::params_of_run;
use crate::trainer::readable::{duration, significant};
use crate::trainer::windows::read_metadata;
use crate::trainer::{History, METRICS, find, run_dir, status, thousands};

use super::watch::warnings;
use crate::cli::{print, print_line};

/// Which run to show.
#[derive(Debug, Args)]
pub struct Show {
    /// A run: its name, its directory, a file in it or "latest"
    run: String,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Settings that are of no interest once the run is there.
const ELSEWHERE: [&str; 5] = ["checkpoint_dir", "run_name", "env", "seed", "front"];
/// Warnings that are shown, the newest.
const MOST_WARNINGS: usize = 10;

impl Show {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let directory = find::run(&self.run, checkpoint_dir)?;
        let overview = Overview::of(&directory)?;
        // A run that was stopped early has logged nothing; what is there must be readable.
        let has_logged = directory.join(METRICS).exists();
        let history = if has_logged { History::read(&directory)? } else { History::default() };
        let meta = status::read_meta(&directory).unwrap_or_default();
        if self.json {
            let checkpoints: Vec<_> = run_dir::checkpoints(&directory)?
                .into_iter()
                .map(|(_, path)| path.display().to_string())
                .collect();
            let newest: Map<String, Value> =
                newest(&history).map(|(name, value)| (name.into(), value.into())).collect();
            let object = json!({
                "status": overview,
                "meta": meta,
                "metrics": newest,
                "checkpoints": checkpoints,
                "windows": read_metadata(&directory),
                "warnings": warnings(&directory),
            });
            return print_line(object);
        }
        let sections = [
            ("", state(&overview)),
            ("Settings", settings(&directory)?),
            ("Metrics, newest value", metrics(&history)),
            ("Windows", windows(&directory)),
            ("Files", files(&directory, &history)?),
            ("Where it comes from", origin(&meta)),
        ];
        let mut text: String = sections.iter().map(|(title, fields)| section(title, fields)).collect();
        let warnings = warnings(&directory);
        if !warnings.is_empty() {
            text += &format!("\n{} warnings\n", warnings.len());
            let newest = &warnings[warnings.len().saturating_sub(MOST_WARNINGS)..];
            newest.iter().for_each(|line| text += &format!("  {}\n", line.trim_start_matches("warning: ")));
        }
        print(&text)
    }
}

type Fields = Vec<(String, String)>;

fn section(title: &str, fields: &Fields) -> String {
    if fields.is_empty() {
        return String::new();
    }
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(16);
    let mut text = if title.is_empty() { String::new() } else { format!("\n{title}\n") };
    fields.iter().for_each(|(name, value)| text += &format!("  {name:<width$}  {value}\n"));
    text
}

fn state(overview: &Overview) -> Fields {
    let status = &overview.status;
    let percent = 100.0 * overview.progress();
    let of = |done: u64, total: u64| format!("{} of {}", thousands(done), thousands(total));
    let mut fields = vec![
        ("run", overview.run.clone()),
        ("directory", overview.directory.display().to_string()),
        ("state", overview.life.as_str().into()),
    ];
    fields.extend(status.error.clone().map(|error| ("error", error)));
    fields.extend([
        ("timesteps", format!("{} ({percent:.1}%)", of(status.timesteps, status.total_timesteps))),
        ("updates", of(status.update, status.num_updates)),
        ("episodes", thousands(status.episodes)),
        ("return", significant(overview.mean_return().unwrap_or(f64::NAN), 4)),
        ("speed", format!("{} steps/s", thousands(status.steps_per_second as u64))),
        ("duration", duration(overview.duration_seconds)),
        ("last sign of life", format!("{} ago", duration(overview.silence_seconds))),
    ]);
    named(fields)
}

fn settings(directory: &Path) -> Result<Fields> {
    let config = run_dir::config(directory)?;
    let first = ["env", "seed"].into_iter().filter_map(|key| Some((key.to_owned(), plain(config.get(key)?))));
    let others = config.iter().filter(|(key, _)| !ELSEWHERE.contains(&key.as_str()));
    Ok(first.chain(others.map(|(key, value)| (key.clone(), plain(value)))).collect())
}

fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// Four significant digits are enough for people; `--json` has them all.
fn metrics(history: &History) -> Fields {
    let counts = ["update", "timesteps"];
    let text = |name: &str, value: f64| match counts.contains(&name) {
        true => thousands(value as u64),
        false => significant(value, 4),
    };
    newest(history).map(|(name, value)| (name.to_owned(), text(name, value))).collect()
}

/// The last logged value of each metric: of those of evaluations, that of the last evaluation.
fn newest(history: &History) -> impl Iterator<Item = (&str, f64)> {
    history.names().filter_map(|name| {
        let value = history.column(name)?.iter().rev().find(|value| !value.is_nan())?;
        Some((name, *value))
    })
}

/// What a run with windows says of them and of its replays.
fn windows(directory: &Path) -> Fields {
    let Some(metadata) = read_metadata(directory) else { return Fields::new() };
    let number = |key: &str| metadata[key].as_u64().unwrap_or(0);
    let [count, size, total] =
        ["windows_emitted", "window_env_steps", "env_steps_total"].map(|key| thousands(number(key)));
    let mut fields = vec![("windows", format!("{count} of {size} environment steps, {total} steps in all"))];
    let replay = &metadata["latest_replay"];
    if let (Some(path), Some(tags)) = (replay["replay_path"].as_str(), replay["tags"].as_array()) {
        let tags: Vec<&str> = tags.iter().filter_map(Value::as_str).collect();
        fields.push(("replays", format!("newest {} ({})", directory.join(path).display(), tags.join(", "))));
    }
    named(fields)
}

fn files(directory: &Path, history: &History) -> Result<Fields> {
    let checkpoints = run_dir::checkpoints(directory)?;
    let mut fields = Vec::new();
    fields.extend(params_of_run(directory).map(|path| ("parameters", path.display().to_string())));
    if let Some(best) = history.best("eval/mean_return") {
        let path = directory.join(BEST_PARAMS);
        fields
            .push(("best", format!("{} (return {} in an evaluation)", path.display(), significant(best, 4))));
    }
    if let Some((_, newest)) = checkpoints.last() {
        let others = match checkpoints.len() - 1 {
            0 => String::new(),
            count => format!(" and {count} before it"),
        };
        fields.push(("checkpoint", format!("{}{others}", newest.display())));
    }
    Ok(named(fields))
}

/// What `meta.json` says, but for what stands elsewhere.
fn origin(meta: &Map<String, Value>) -> Fields {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("{} times", list.len()),
        Value::Number(number) if number.is_f64() => significant(number.as_f64().unwrap_or(f64::NAN), 3),
        other => other.to_string(),
    };
    let others = meta.iter().filter(|(key, value)| *key != "seed" && !value.is_null());
    others.map(|(key, value)| (key.clone(), text(value))).collect()
}

fn named(fields: Vec<(&str, String)>) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
