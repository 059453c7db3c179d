//! The windows of a run: its files for those who follow it from one stretch of environment steps to the next.
//!
//! A run with windows has, beside its other files, `metrics/windows.jsonl` (a line for each window), `run_metadata.json` (how far it is,
//! written anew with each window), `checkpoints/ckpt_NNNNNN.pt`, and with replays `replays/` and `replay_index.json`. Nothing here knows an
//! environment: its metrics come by the names of its telemetry, and what the readers of one environment's runs expect besides comes from
//! its front, with which a run also has `config.json`. What the windows come to is the business of [`tally`](super::tally), what stands in
//! a replay that of [`replay`](super::replay).
//!
//! A checkpoint holds how far the windows are. A run that goes on from it first takes back what later windows have written.

mod booth;
mod index;
mod metadata;
mod row;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::checkpoint::{self, PLAIN_FORMAT};
use super::files::{make_own_directory, write_atomically};
use super::log_file::LogFile;
use super::replay::{EXTENSION, Episode};
use super::run_dir::{self, CHECKPOINTS};
use super::settings::Settings;
use super::status::{self, State};
use super::tally::{Tally, Window};
use super::trackers::Artifact;
use crate::algorithms::Learner;
use crate::algorithms::recording::{StepColumn, step_columns};
use crate::envs::front::Meaning;
use crate::envs::{Clock, Entry};
pub use booth::Played;
use booth::{Booth, Order, Setting};
pub use index::{INDEX, Replay};
use index::{Index, tags};
pub use metadata::METADATA;
use metadata::Metadata;
pub use row::Row;
use row::keys;

/// The log of windows, as a checkpoint counts its bytes.
pub const WINDOWS: &str = "metrics/windows.jsonl";
/// The directory of replays in that of a run.
pub const REPLAYS: &str = "replays";
const CONFIG: &str = "config.json";

/// The windows of a run, open for writing.
pub struct Windows {
    run: PathBuf,
    run_id: String,
    /// Ticks of a window, and those with which the run ends.
    size: u64,
    pub limit: Option<u64>,
    /// Windows between two that are kept with a checkpoint.
    every: u64,
    flush: bool,
    /// Replays: episodes to choose from, and the seed of the first window's.
    replays: usize,
    seed: u64,
    columns: Vec<StepColumn>,
    /// The most ticks of an update.
    most_ticks: u64,
    keys: Vec<(String, usize)>,
    entry: Entry,
    meaning: Meaning,
    log: LogFile,
    index: Index,
    metadata: Metadata,
    /// Where replays are played, once there is one to play.
    booth: Option<Booth>,
    /// Whether the learner has nothing to learn.
    learns: bool,
}

impl Windows {
    /// Opens the windows of a run as `tally` knows them, if the settings want any: what belongs to later ones is taken back. `offset` is
    /// the length of their log then; `platform` is the device's.
    ///
    /// # Errors
    /// One line: a file that cannot be written, or a tally that no run can have.
    pub fn open(
        settings: &Settings,
        run: &Path,
        learner: &dyn Learner,
        tally: &Tally,
        offset: u64,
        platform: Option<&str>,
    ) -> Result<Option<Windows>> {
        let Some((size, entry)) = settings.window_steps.zip(settings.entry) else { return Ok(None) };
        ensure!(tally.fits(size), "the checkpoint is damaged: its window is longer than {size} ticks");
        let meaning = meaning_of(settings)?;
        for folder in ["metrics", CHECKPOINTS] {
            make_own_directory(&run.join(folder))?;
        }
        if let Some(config) = &settings.front {
            write_atomically(&run.join(CONFIG), config.as_bytes())?;
        }
        take_back(run, tally.number)?;
        let run_id = run_dir::name_of(run);
        let has_replays = settings.replays_per_window > 0;
        if has_replays {
            make_own_directory(&run.join(REPLAYS))?;
        }
        let spec = learner.spec();
        let most = spec.clock.map_or(1, |Clock { most, .. }| most);
        Ok(Some(Windows {
            size,
            limit: settings.total_ticks,
            every: settings.checkpoint_every_windows,
            flush: settings.flush_partial_window,
            replays: settings.replays_per_window,
            seed: settings.seed.wrapping_add(meaning.seed_offset),
            columns: step_columns(spec),
            most_ticks: learner.timesteps_per_update().saturating_mul(most),
            keys: keys(&entry),
            entry,
            log: LogFile::open_lines(&run.join(WINDOWS), offset)?,
            index: Index::open(run, &run_id, tally.number)?,
            metadata: Metadata::open(settings, run, &run_id, &meaning, tally, platform),
            meaning,
            booth: None,
            learns: !learner.params()?.is_empty(),
            run: run.to_path_buf(),
            run_id,
        }))
    }

    /// Takes in what the updates of a chunk came to, step by step. Gives the rows of the windows that are over.
    ///
    /// # Errors
    /// The learner does not tell.
    pub fn take(&mut self, learner: &dyn Learner, tally: &mut Tally) -> Result<Vec<Window>> {
        let steps = learner.steps().context("the learner does not tell what its steps came to")?;
        Ok(tally.add_update(&self.columns, steps, self.size, self.limit))
    }

    /// Updates in which no window can end before the last of them.
    pub fn updates_to_an_end(&self, tally: &Tally) -> u64 {
        let next = tally.start + self.size;
        let end = self.limit.map_or(next, |limit| limit.min(next));
        (end.saturating_sub(tally.ticks) / self.most_ticks).max(1)
    }

    /// Whether the run has all its ticks.
    pub fn are_done(&self, tally: &Tally) -> bool {
        self.limit.is_some_and(|limit| tally.ticks >= limit)
    }

    /// The window that is left open at the end, if it is to be kept.
    pub fn rest(&self, tally: &mut Tally) -> Option<Window> {
        if self.flush { tally.flush() } else { None }
    }

    /// The row of a window in the log.
    pub fn row(&self, window: &Window) -> Row {
        Row::new(&self.run_id, &self.keys, window)
    }

    /// Writes the row of a window, and what else follows from it.
    ///
    /// # Errors
    /// One line that names the file; the line is kept for the next time.
    pub fn log(&mut self, window: &Window) -> Result<()> {
        self.metadata.window(window);
        let mut line = serde_json::to_vec(&self.row(window))?;
        line.push(b'\n');
        self.log.append(&line)
    }

    /// Whether the run is shown at Weights & Biases by its windows, as its front wants it.
    pub fn are_shown(&self) -> bool {
        !self.meaning.backend.is_empty()
    }

    /// Waits until the log is on the disk; gives its length.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn sync(&mut self) -> Result<u64> {
        self.log.sync()?;
        Ok(self.log.length())
    }

    /// Whether a window is kept with a checkpoint.
    pub fn is_kept(&self, number: u64) -> bool {
        number.is_multiple_of(self.every)
    }

    /// The path of the checkpoint of a window, within the run.
    fn checkpoint_name(number: u64) -> String {
        format!("{CHECKPOINTS}/ckpt_{number:06}.pt")
    }

    /// Keeps the checkpoint of a window, which `save` writes; that of a learner that learns nothing is a few counters. Gives the file.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn save(
        &mut self,
        number: u64,
        tally: &mut Tally,
        save: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Artifact> {
        let name = Self::checkpoint_name(number);
        let path = self.run.join(&name);
        let format = if self.learns { checkpoint::FORMAT } else { PLAIN_FORMAT };
        let created_at = status::now();
        if self.learns {
            save(&path)?;
        } else {
            let counters = json!({
                "run_id": self.run_id,
                "window_id": number,
                "env_steps_total": tally.ticks,
                "trainer_backend": self.metadata.backend(),
                "created_at": created_at,
                "checkpoint_format": format,
            });
            write_atomically(&path, &serde_json::to_vec_pretty(&counters)?)?;
        }
        tally.checkpoints += 1;
        self.metadata.checkpoint(json!({
            "window_id": number,
            "env_steps_total": tally.ticks,
            "path": name,
            "created_at": created_at,
            "checkpoint_format": format,
        }));
        Ok(Artifact {
            name: format!("model-{}", self.run_id),
            kind: "model",
            path,
            metadata: json!({"window_id": number, "env_steps_total": tally.ticks}),
            aliases: vec!["latest".into(), format!("window-{number}")],
        })
    }

    /// Whether a window still lacks the replay that it is to have, and that nobody plays yet.
    pub fn lacks_replay(&self, number: u64) -> bool {
        let is_ordered = self.booth.as_ref().is_some_and(|booth| booth.has(number));
        self.replays > 0
            && self.is_kept(number)
            && !is_ordered
            && self.index.newest().is_none_or(|newest| newest < number)
    }

    /// Has the episodes of a window played, with the parameters of this moment, and the best kept as a replay; `update` is the one that ended
    /// the window. What comes of it is to be [taken in](Windows::take_in).
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn order_replay(
        &mut self,
        number: u64,
        update: u64,
        learner: &dyn Learner,
        settings: &Settings,
        tally: &Tally,
    ) -> Result<()> {
        let order = Order {
            window: number,
            update,
            ticks: tally.ticks,
            params: learner.params()?.into_iter().map(|(_, array)| array).collect(),
            seed: self.seed.wrapping_add(number.wrapping_mul(1000)),
            path: self.run.join(self.replay_path(number)),
        };
        let booth = match &mut self.booth {
            Some(booth) => booth,
            none => {
                let choice = super::evaluation::choice(settings);
                let setting = Setting {
                    entry: self.entry,
                    info: self.meaning.info,
                    episodes: self.replays,
                    max_steps: settings.eval_max_steps,
                };
                none.insert(Booth::open(setting, learner.reel(choice, self.entry.painter().unseen())?)?)
            }
        };
        booth.order(order)
    }

    /// The update that ended the window whose replay is being played, if one is.
    pub fn plays_for(&self) -> Option<u64> {
        self.booth.as_ref()?.waits_for()
    }

    /// Breaks off the replays that are being played.
    pub fn cancel_replays(&self) {
        if let Some(booth) = &self.booth {
            booth.cancel();
        }
    }

    /// What became of the next replay, if that is known within a time.
    pub fn played(&mut self, patience: Duration) -> Option<Played> {
        self.booth.as_mut()?.take(patience)
    }

    fn replay_id(&self, number: u64) -> String {
        format!("replay-{number:06}-{}", digest(&self.run_id, number))
    }

    fn replay_path(&self, number: u64) -> String {
        format!("{REPLAYS}/{}{EXTENSION}", self.replay_id(number))
    }

    /// Takes the replay of a window into the index, whose file was written after so many ticks of the run.
    ///
    /// # Errors
    /// One line that names a file.
    pub fn take_in(&mut self, number: u64, ticks: u64, episode: &Episode) -> Result<Artifact> {
        let (id, path) = (self.replay_id(number), self.replay_path(number));
        let outcome = outcome(&self.entry, episode);
        let tags = tags(&self.index, episode, &outcome, &self.meaning.milestones);
        let replay = Replay {
            run_id: self.run_id.clone(),
            window_id: number,
            replay_id: id.clone(),
            replay_path: path.clone(),
            checkpoint_path: Self::checkpoint_name(number),
            tags: tags.clone(),
            trainer_backend: self.metadata.backend().to_owned(),
            return_total: episode.episode_return,
            steps: episode.steps,
            outcome,
            terminated: episode.terminated,
            truncated: episode.truncated,
            checkpoint_env_steps_total: ticks,
            created_at: status::now(),
        };
        self.index.add(&self.run, replay.clone())?;
        self.metadata.replay(replay);
        Ok(Artifact {
            name: format!("replay-{}-{number:06}-{id}", self.run_id),
            kind: "replay",
            path: self.run.join(&path),
            metadata: json!({"window_id": number, "replay_id": id}),
            aliases: index::aliases(number, &tags),
        })
    }

    /// Writes how far the run is, and how it ended if it has.
    ///
    /// # Errors
    /// One line that names the file; the one before it stays.
    pub fn write(
        &mut self,
        state: State,
        error: Option<&str>,
        tally: &Tally,
        update: u64,
        url: Option<String>,
    ) -> Result<()> {
        self.metadata.write(&self.run, state, error, tally, update, url)
    }

    /// What Weights & Biases keeps of the run as a whole.
    pub fn summary(tally: &Tally) -> [(&'static str, u64); 3] {
        [
            ("env_steps_total", tally.ticks),
            ("episodes_total", tally.episodes),
            ("windows_emitted", tally.number),
        ]
    }
}

/// What the front of a run means; without one, nothing.
pub fn meaning_of(settings: &Settings) -> Result<Meaning> {
    let front = settings.entry.and_then(|entry| entry.front);
    match (front, &settings.front) {
        (Some(front), Some(config)) => (front.meaning)(config),
        _ => Ok(Meaning { info: true, ..Meaning::default() }),
    }
}

/// The outcome of an episode by the keys of the environment's telemetry.
fn outcome(entry: &Entry, episode: &Episode) -> Vec<(&'static str, f64)> {
    let value = |metric: &str| episode.last.iter().find(|(name, _)| name == metric).map_or(0.0, |(_, x)| *x);
    entry.telemetry.outcome.iter().map(|(key, metric)| (*key, value(metric))).collect()
}

/// Eight hexadecimal digits, the same for the same window of a run.
fn digest(run_id: &str, number: u64) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(format!("{run_id}/{number}"));
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The window of a file of the folders of windows, if it is one: `ckpt_000012.pt`, `replay-000012-0a1b2c3d.jsonl.gz`.
fn window_of(name: &str) -> Option<u64> {
    let number = match name.strip_prefix("ckpt_") {
        Some(rest) => rest.strip_suffix(".pt")?,
        None => name.strip_prefix("replay-")?.strip_suffix(EXTENSION)?.split('-').next()?,
    };
    number.parse().ok()
}

/// Moves the checkpoints of windows from `number` on to `superseded/`, and removes their replays, which are played again.
fn take_back(run: &Path, number: u64) -> Result<()> {
    for folder in [CHECKPOINTS, REPLAYS] {
        let Ok(files) = fs::read_dir(run.join(folder)) else { continue };
        for file in files.flatten() {
            let (path, name) = (file.path(), file.file_name().to_string_lossy().into_owned());
            if window_of(&name).is_none_or(|window| window < number) {
                continue;
            }
            let cannot = || format!("cannot move {}", path.display());
            if folder == REPLAYS {
                fs::remove_file(&path).with_context(cannot)?;
            } else {
                let target = run.join("superseded");
                make_own_directory(&target)?;
                fs::rename(&path, target.join(name)).with_context(cannot)?;
            }
        }
    }
    Ok(())
}

/// The tick up to which windows of a run were ever logged.
pub fn last_logged(run: &Path) -> u64 {
    let end = |metadata: Value| metadata["latest_window"]["env_steps_end"].as_u64();
    read_metadata(run).and_then(end).unwrap_or(0)
}

/// The run of windows in a directory, by its own words.
pub fn read_metadata(run: &Path) -> Option<Value> {
    serde_json::from_str(&crate::files::read_text(&run.join(METADATA)).ok()?).ok()
}
