//! `run_metadata.json`: how far a run with windows is, for those who look at it from outside.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::index::{INDEX, Replay};
use super::{CONFIG, REPLAYS, WINDOWS};
use crate::envs::front::Meaning;
use crate::trainer::files::write_atomically;
use crate::trainer::run_dir::CHECKPOINTS;
use crate::trainer::settings::Settings;
use crate::trainer::status::{self, State};
use crate::trainer::tally::{Tally, Window};

/// The file in a run directory.
pub const METADATA: &str = "run_metadata.json";

#[derive(Serialize)]
pub struct Metadata {
    run_id: String,
    status: State,
    trainer_backend: String,
    target_env_steps: u64,
    window_env_steps: u64,
    env_steps_total: u64,
    episodes_total: u64,
    windows_emitted: u64,
    checkpoints_written: u64,
    latest_window: Value,
    latest_checkpoint: Value,
    latest_replay: Value,
    metrics_windows_path: &'static str,
    checkpoints_dir: &'static str,
    replays_dir: &'static str,
    replay_index_path: Option<&'static str>,
    config_path: &'static str,
    wandb_run_url: Option<String>,
    /// Nothing ever sets it.
    constellation_url: Option<String>,
    info_metric_keys: Vec<String>,
    started_at: String,
    updated_at: String,
    finished_at: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
    #[serde(skip)]
    updates_key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Metadata {
    /// That of a run which is about to train: what was known of it before stays, as far as `tally` knows it.
    pub fn open(
        settings: &Settings,
        run: &Path,
        run_id: &str,
        meaning: &Meaning,
        tally: &Tally,
        platform: Option<&str>,
    ) -> Metadata {
        let before = super::read_metadata(run).unwrap_or_default();
        let kept = |key: &str| {
            let is_kept = before[key]["window_id"].as_u64().is_some_and(|window| window < tally.number);
            if is_kept { before[key].clone() } else { Value::Null }
        };
        let backend = match meaning.backend.is_empty() {
            true => settings.algo.clone().unwrap_or_default(),
            false => meaning.backend.clone(),
        };
        let metrics = settings.entry.map(|entry| entry.spec().metrics).unwrap_or_default();
        let all = || metrics.into_iter().map(|metric| metric.name).collect();
        let named = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        Metadata {
            run_id: run_id.to_owned(),
            status: State::Running,
            trainer_backend: backend,
            target_env_steps: settings.total_ticks.unwrap_or(settings.total_timesteps),
            window_env_steps: settings.window_steps.unwrap_or_default(),
            env_steps_total: tally.ticks,
            episodes_total: tally.episodes,
            windows_emitted: tally.number,
            checkpoints_written: tally.checkpoints,
            latest_window: kept("latest_window"),
            latest_checkpoint: kept("latest_checkpoint"),
            latest_replay: kept("latest_replay"),
            metrics_windows_path: WINDOWS,
            checkpoints_dir: CHECKPOINTS,
            replays_dir: REPLAYS,
            replay_index_path: run.join(INDEX).exists().then_some(INDEX),
            config_path: if settings.front.is_some() { CONFIG } else { "config.toml" },
            wandb_run_url: None,
            constellation_url: None,
            info_metric_keys: if meaning.metric_keys.is_empty() {
                all()
            } else {
                named(&meaning.metric_keys)
            },
            started_at: before["started_at"].as_str().map_or_else(status::now, str::to_owned),
            updated_at: status::now(),
            finished_at: None,
            more: meaning
                .metadata
                .clone()
                .into_iter()
                .chain(meaning.device_key.map(|key| (key.to_owned(), json!(platform))))
                .collect(),
            updates_key: meaning.updates_key,
            error: None,
        }
    }

    pub fn backend(&self) -> &str {
        &self.trainer_backend
    }

    pub fn window(&mut self, window: &Window) {
        self.latest_window = json!({
            "window_id": window.number,
            "window_complete": window.complete,
            "env_steps_start": window.start,
            "env_steps_end": window.end,
            "env_steps_in_window": window.ticks(),
            "env_steps_total": window.end,
            "metrics_row_path": WINDOWS,
        });
    }

    pub fn checkpoint(&mut self, checkpoint: Value) {
        self.latest_checkpoint = checkpoint;
    }

    pub fn replay(&mut self, replay: Replay) {
        self.replay_index_path = Some(INDEX);
        self.latest_replay = json!(replay);
    }

    pub fn write(
        &mut self,
        run: &Path,
        state: State,
        error: Option<&str>,
        tally: &Tally,
        update: u64,
        url: Option<String>,
    ) -> Result<()> {
        self.more.extend(self.updates_key.map(|key| (key.to_owned(), json!(update))));
        self.status = state;
        self.env_steps_total = tally.ticks;
        self.episodes_total = tally.episodes;
        self.windows_emitted = tally.number;
        self.checkpoints_written = tally.checkpoints;
        self.updated_at = status::now();
        self.finished_at = (state != State::Running).then(|| self.updated_at.clone());
        self.error = error.map(|error| format!("Error: {error}"));
        self.wandb_run_url = url;
        write_atomically(&run.join(METADATA), &serde_json::to_vec_pretty(self)?)
    }
}
