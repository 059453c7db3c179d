//! The chunk loop.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::console::{Console, thousands};
use super::evaluation::{self, BEST_PARAMS, Best, Evaluation};
use super::files::write_atomically;
use super::health::Health;
use super::history::{self, History};
use super::live::Live;
use super::logs::Logs;
use super::metrics::{Interval, Row};
use super::params::save_params;
use super::progress::Progress;
use super::recovery::{self, Snapshot, change_key};
use super::run_dir::{self, Resumed, RunDir};
use super::settings::{OnNan, Settings};
use super::signals::StopSignal;
use super::status::{self, State, Status};
use super::summary;
use super::wandb::{self, Artifact, Origin, Wandb};
use crate::algorithms::Learner;

/// How long a chunk should take: short enough for a prompt Ctrl-C, long enough that the host costs nothing.
pub const CHUNK_SECONDS: f64 = 1.0;
/// How often a run may go back to a checkpoint because of a value that is not finite.
const MOST_ROLLBACKS: u32 = 3;
/// A file of this name in its directory asks a run for a checkpoint.
pub const SAVE_FILE: &str = "save";
/// How often `status.json` is written.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What became of a run; `train --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub run: String,
    pub directory: PathBuf,
    pub state: State,
    pub update: u64,
    pub timesteps: u64,
    pub episodes: u64,
    /// Seconds of training, in all processes that worked on the run.
    pub seconds: f64,
    /// Environment steps per second of this process.
    pub steps_per_second: f64,
    /// The newest checkpoint that this process wrote.
    pub checkpoint: Option<PathBuf>,
    /// The parameters at the end, if the run is complete.
    pub final_params: Option<PathBuf>,
    /// The parameters that did best in an evaluation, if there was one.
    pub best_params: Option<PathBuf>,
    /// The last logged row.
    pub metrics: Option<Row>,
}

/// Trains until `total_timesteps`, or until a signal or a file `stop` asks to end early.
///
/// `config` is the resolved configuration as text, kept in the run directory and in each checkpoint. `facts` go into
/// `meta.json`: device, versions, program hash. A resumed run continues in the directory of its checkpoint.
///
/// # Errors
/// One line: the run directory cannot be used, the checkpoint does not fit, the device failed, or the final save
/// failed. A periodic save that fails is a warning; the checkpoint before it stays.
///
/// With `live`, a screen in this process says what there is to say, and the second signal is its business.
pub fn train(
    settings: &Settings,
    config: &str,
    facts: &[(String, Value)],
    learner: &mut dyn Learner,
    resumed: Option<Resumed>,
    live: Option<Live>,
) -> Result<Outcome> {
    let stop = Rc::new(StopSignal::listen(live.is_none())?);
    let ears = |num_updates, done| Ears { console: Console::new(num_updates, done, live), stop };
    let session = match resumed {
        None => Session::begin(settings, config, facts, learner, ears)?,
        Some(resumed) => Session::resume(settings, config, facts, learner, ears, resumed)?,
    };
    session.work()
}

/// Through what a run and people hear of each other while it runs.
pub(super) struct Ears {
    pub console: Console,
    pub stop: Rc<StopSignal>,
}

/// What W&B knows of a run when a process begins to work on it.
struct Known {
    origin: Origin,
    /// The last step that was logged.
    logged_step: u64,
}

/// What the rows that a run has logged say about its health.
fn health_of(run: &RunDir) -> Result<Health> {
    let (mut health, history) = (Health::default(), History::read(run.path())?);
    for row in 0..history.len() {
        health.check(&|name| history.get(row, name));
    }
    Ok(health)
}

fn open_logs(
    settings: &Settings,
    run: &RunDir,
    progress: &Progress,
    columns: &[String],
    learner: &dyn Learner,
) -> Result<Logs> {
    let offsets = &progress.offsets;
    let logs = Logs::open(run.path(), offsets, columns)?;
    logs.with_episodes(run.path(), offsets, learner.spec(), settings.log_episodes)
}

fn begin_wandb(
    settings: &Settings,
    config: &str,
    facts: &[(String, Value)],
    run: &RunDir,
    known: Known,
    console: &Console,
) -> Option<Wandb> {
    let mut values = summary::config_object(config);
    values.extend(facts.iter().cloned());
    let description = wandb::Description {
        settings,
        config: values,
        run: run.path(),
        run_name: &run.name(),
        origin: known.origin,
        commit: status::git_state().0,
        logged_step: known.logged_step,
    };
    let (wandb, notices) =
        Wandb::begin(&description, &wandb::Environment::of_process(), wandb::Pace::default());
    notices.iter().for_each(|notice| console.say(notice));
    wandb
}

/// A run while a process works on it.
pub(super) struct Session<'a> {
    settings: &'a Settings,
    config: &'a str,
    learner: &'a mut dyn Learner,
    run: RunDir,
    /// The names of all columns of the logs.
    columns: Vec<String>,
    logs: Logs,
    wandb: Option<Wandb>,
    console: Console,
    stop: Rc<StopSignal>,

    progress: Progress,
    best: Option<Best>,
    num_updates: u64,
    /// Timesteps that were there when this process began.
    timesteps_before: u64,
    start: Instant,
    start_time: String,
    /// When the last chunk ended.
    chunk_end: Instant,
    /// How long an update takes, once one was run.
    seconds_per_update: Option<f64>,
    last_save: Instant,
    saved_update: Option<u64>,
    last_heartbeat: Option<Instant>,
    last_row: Option<Row>,
    /// The mean return of the episodes that ended in the last update.
    last_return: Option<f64>,
    health: Health,
    snapshot: Option<Snapshot>,
    rollbacks: u32,
}

impl<'a> Session<'a> {
    /// Begins a new run. `ears` is given the updates of the run, and how many are behind it.
    pub(super) fn begin(
        settings: &'a Settings,
        config: &'a str,
        facts: &[(String, Value)],
        learner: &'a mut dyn Learner,
        ears: impl FnOnce(u64, u64) -> Ears,
    ) -> Result<Self> {
        let progress = Progress::new(learner.metric_names());
        let run = RunDir::create(settings)?;
        status::write_meta(run.path(), settings.seed, facts)?;
        let known = Known { origin: Origin::New, logged_step: 0 };
        Self::new(settings, config, facts, learner, ears, run, progress, known)
    }

    fn resume(
        settings: &'a Settings,
        config: &'a str,
        facts: &[(String, Value)],
        learner: &'a mut dyn Learner,
        ears: impl FnOnce(u64, u64) -> Ears,
        resumed: Resumed,
    ) -> Result<Self> {
        let directory = resumed.directory().to_path_buf();
        let Resumed { path, mut checkpoint, rewind } = resumed;
        ensure!(
            checkpoint.env == settings.env,
            "{} was trained in {}, not in {}",
            path.display(),
            checkpoint.env,
            settings.env
        );
        checkpoint.match_state(&path, &learner.state_types())?;
        learner.load_state(&checkpoint.state).with_context(|| format!("cannot load {}", path.display()))?;
        let run = RunDir::reopen(&directory)?;
        let mut progress = checkpoint.progress;
        evaluation::restore(run.path(), checkpoint.best.as_ref(), learner.params_metadata())?;
        let moved = run.supersede_after(progress.update)?;
        status::add_resume_to_meta(run.path(), progress.update, facts)?;
        let other_metrics = progress.interval.names() != learner.metric_names();
        if other_metrics {
            progress.interval = Interval::new(learner.metric_names());
        }
        let (logged_before, logged_step) = history::last_logged(run.path(), progress.update);
        let origin = if rewind { Origin::Rewound { step: logged_before } } else { Origin::Resumed };
        let known = Known { origin, logged_step };
        let mut session = Self::new(settings, config, facts, learner, ears, run, progress, known)?;
        session.best = checkpoint.best;
        // A checkpoint under another name is saved again at the end, under its own.
        let own_name = session.run.checkpoint_path(session.progress.update);
        session.saved_update = (own_name.file_name() == path.file_name()).then_some(session.progress.update);
        session.announce_resume(&path, moved, other_metrics);
        Ok(session)
    }

    #[allow(clippy::too_many_arguments)] // the fields of a session
    fn new(
        settings: &'a Settings,
        config: &'a str,
        facts: &[(String, Value)],
        learner: &'a mut dyn Learner,
        ears: impl FnOnce(u64, u64) -> Ears,
        run: RunDir,
        progress: Progress,
        known: Known,
    ) -> Result<Self> {
        let num_updates = settings.total_timesteps / learner.timesteps_per_update();
        ensure!(
            num_updates > 0,
            "total_timesteps is {}, less than one update of {} timesteps",
            settings.total_timesteps,
            learner.timesteps_per_update()
        );
        write_atomically(&run.file("config.toml"), config.as_bytes())?;
        let columns: Vec<String> = learner.metric_names().to_vec();
        let columns = [columns, evaluation::columns(settings, learner.spec())].concat();
        let logs = open_logs(settings, &run, &progress, &columns, learner)?;
        let health = health_of(&run)?;
        let Ears { console, stop } = ears(num_updates, progress.update);
        let wandb = begin_wandb(settings, config, facts, &run, known, &console);
        let now = Instant::now();
        Ok(Self {
            settings,
            config,
            learner,
            run,
            columns,
            logs,
            wandb,
            console,
            stop,
            num_updates,
            timesteps_before: progress.timesteps,
            progress,
            best: None,
            start: now,
            start_time: status::now(),
            chunk_end: now,
            seconds_per_update: None,
            last_save: now,
            saved_update: None,
            last_heartbeat: None,
            last_row: None,
            last_return: None,
            health,
            snapshot: None,
            rollbacks: 0,
        })
    }

    fn announce_resume(&self, checkpoint: &Path, moved: usize, other_metrics: bool) {
        let Progress { update, timesteps, .. } = self.progress;
        let steps = thousands(timesteps);
        self.console.say(&format!("resumed {} at update {update} ({steps} timesteps)", checkpoint.display()));
        if moved > 0 {
            let files = if moved == 1 {
                "1 file saved after it was".into()
            } else {
                format!("{moved} files saved after it were")
            };
            self.console.say(&format!("{files} moved to superseded/"));
        }
        if other_metrics {
            self.console.warn("this version logs other metrics; the interval that was begun starts afresh");
        }
        self.logs.notices().iter().for_each(|notice| self.console.warn(notice));
        if update >= self.num_updates {
            self.console.say(&format!("{steps} timesteps are done, nothing is left to train"));
        }
    }

    fn work(mut self) -> Result<Outcome> {
        self.open();
        let result = self.run_chunks();
        self.close(result)
    }

    /// Shows that the run is about to train.
    pub(super) fn open(&mut self) {
        self.write_status(State::Running, None);
        self.console.begin(self.run.path());
        let (name, steps) = (self.run.name(), thousands(self.learner.timesteps_per_update()));
        let updates = thousands(self.num_updates);
        self.console.announce(&format!("run {name}: {updates} updates of {steps} timesteps"));
    }

    /// Saves what there is to save and tells what became of the run.
    pub(super) fn close(mut self, result: Result<State>) -> Result<Outcome> {
        let result = result.and_then(|state| self.end(state));
        self.console.finish();
        if let Some(wandb) = self.wandb.take() {
            let notices = wandb.finish(result.is_err() as i32);
            notices.iter().for_each(|notice| self.console.say(notice));
        }
        match result {
            Ok(outcome) => {
                self.write_status(outcome.state, None);
                self.say_goodbye(&outcome);
                Ok(outcome)
            }
            Err(error) => {
                self.write_status(State::Failed, Some(format!("{error:#}")));
                Err(error)
            }
        }
    }

    /// Trains until the run is complete or asked to stop.
    fn run_chunks(&mut self) -> Result<State> {
        loop {
            if let Some(state) = self.ending() {
                return Ok(state);
            }
            let updates = self.chunk_size();
            self.prepare()?;
            let begin = Instant::now();
            let rows = self.learner.run(updates)?;
            self.take(rows, updates, begin.elapsed())?;
        }
    }

    /// How the run ends, if it ends here: complete, or asked to stop.
    pub(super) fn ending(&self) -> Option<State> {
        if self.progress.update >= self.num_updates {
            return Some(State::Completed);
        }
        let is_asked = self.stop.requested() || self.console.stop_is_asked() || self.run.has_stop_file();
        is_asked.then_some(State::Stopped)
    }

    /// Does what must be done before the learner runs a chunk.
    pub(super) fn prepare(&mut self) -> Result<()> {
        if self.snapshot.as_ref().is_none_or(Snapshot::is_old) {
            self.snapshot = Some(Snapshot::take(self.learner, self.progress.update)?);
        }
        Ok(())
    }

    /// Takes in the metrics of a chunk of `updates` that the learner has run, then logs, evaluates and saves what is due.
    pub(super) fn take(&mut self, rows: Vec<Vec<f32>>, updates: usize, elapsed: Duration) -> Result<()> {
        self.seconds_per_update = Some(elapsed.as_secs_f64() / updates as f64);
        if !self.add_chunk(rows, updates)? {
            return Ok(()); // it was undone
        }
        let evaluated = self.evaluate_if_due();
        // An evaluation ends the interval, so that its row is that of its update.
        if evaluated.is_some() || self.progress.update.is_multiple_of(self.settings.log_interval) {
            self.log_interval(evaluated.unwrap_or_default());
        }
        if self.save_is_asked() {
            self.save_as_asked();
        } else if self.save_is_due() {
            self.save_or_warn();
        }
        self.heartbeat();
        Ok(())
    }

    /// Takes in the metrics of a chunk. Says whether it counts: not if the run was rolled back instead.
    fn add_chunk(&mut self, rows: Vec<Vec<f32>>, updates: usize) -> Result<bool> {
        let width = self.progress.interval.names().len();
        ensure!(
            rows.len() == updates && rows.iter().all(|row| row.len() == width),
            "the learner gave {} rows for {updates} updates of {width} metrics",
            rows.len()
        );
        if let Some(index) = rows.iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            return self.fail_on_non_finite(&rows, index).map(|()| false);
        }
        for row in &rows {
            self.add(row);
        }
        let now = Instant::now();
        let seconds = (now - self.chunk_end).as_secs_f64();
        self.chunk_end = now;
        self.progress.seconds += seconds;
        self.progress.interval.seconds += seconds;
        let last = rows.last().expect("a chunk has updates");
        let value = |name| self.progress.interval.value(last, name);
        self.last_return = value("mean_episode_return");
        self.console.progress(
            self.progress.update,
            self.steps_per_second(),
            self.last_return,
            value("entropy"),
        );
        Ok(true)
    }

    /// Takes in the metrics of one update.
    fn add(&mut self, row: &[f32]) {
        let progress = &mut self.progress;
        progress.update += 1;
        progress.timesteps += self.learner.timesteps_per_update();
        progress.episodes += progress.interval.value(row, "num_episodes").unwrap_or(0.0) as u64;
        progress.interval.add(row);
    }

    /// The chunk that would follow has a metric that is no finite number, `index` updates from here: goes to the state
    /// before it, keeps that, and does what the settings say.
    fn fail_on_non_finite(&mut self, rows: &[Vec<f32>], index: usize) -> Result<()> {
        let column =
            rows[index].iter().position(|value| !value.is_finite()).expect("the row was found by it");
        let (name, value) = (&self.progress.interval.names()[column], rows[index][column]);
        let before = self.progress.update + index as u64;
        let mut what = format!("{name} is {value} at update {}", before + 1);
        let healthy = match &self.snapshot {
            Some(snapshot) => snapshot.replay_to_health(self.learner, before)?,
            None => before,
        };
        if healthy < before {
            what += &format!(" and parameters are not finite since update {}", healthy + 1);
        }
        rows[..healthy.saturating_sub(self.progress.update) as usize].iter().for_each(|row| self.add(row));
        let path = self.run.file(&format!("nonfinite_{healthy}.ckpt"));
        let mut kept = self.checkpoint()?;
        kept.progress.update = healthy; // what else it counts may be ahead of a state before this chunk
        kept.save(&path)?;
        let what = format!("{what}; the state before it is kept in {}", path.display());
        self.alert("a value is not finite", &what);
        if self.settings.on_nan == OnNan::Rollback && self.rollbacks < MOST_ROLLBACKS {
            self.console.warn(&what);
            return self.roll_back();
        }
        let kept = self.what_is_kept();
        let run = self.run.path().display();
        bail!(
            "{what}; {kept}: continue from an earlier checkpoint with a lower --lr, or start afresh; \
             `lockstep runs diagnose {run}` says more"
        )
    }

    /// Goes back to the newest checkpoint and on from there with other random numbers.
    fn roll_back(&mut self) -> Result<()> {
        self.rollbacks += 1;
        let (path, mut checkpoint) = self.newest_healthy()?;
        change_key(&mut checkpoint.state, self.rollbacks)?;
        self.learner.load_state(&checkpoint.state)?;
        if let (Some(wandb), Some(row)) = (&mut self.wandb, &self.last_row) {
            wandb.skip_to(row.update);
        }
        self.progress = checkpoint.progress;
        evaluation::restore(self.run.path(), checkpoint.best.as_ref(), self.learner.params_metadata())?;
        self.best = checkpoint.best;
        self.logs = open_logs(self.settings, &self.run, &self.progress, &self.columns, self.learner)?;
        self.health = health_of(&self.run)?;
        self.saved_update = Some(self.progress.update);
        self.snapshot = None;
        let (path, count) = (path.display(), self.rollbacks);
        self.console.say(&format!("rolled back to {path} ({count} of at most {MOST_ROLLBACKS} times)"));
        Ok(())
    }

    /// The newest checkpoint whose parameters are all finite: one may have been saved before any metric showed it.
    fn newest_healthy(&mut self) -> Result<(PathBuf, Checkpoint)> {
        for (_, path) in run_dir::checkpoints(self.run.path())?.into_iter().rev() {
            let mut checkpoint = Checkpoint::load(&path)?;
            checkpoint.match_state(&path, &self.learner.state_types())?;
            self.learner.load_state(&checkpoint.state)?;
            if recovery::is_healthy(self.learner)? {
                return Ok((path, checkpoint));
            }
        }
        bail!("there is no checkpoint to go back to")
    }

    /// Tells the people who follow the run, and the log of warnings.
    fn alert(&mut self, title: &str, text: &str) {
        if let Err(error) = self.logs.warn(self.progress.update, title, text) {
            self.console.warn(&format!("{error:#}; the warning is kept for later"));
        }
        if let Some(wandb) = &mut self.wandb {
            wandb.alert(title, text);
        }
    }

    /// Updates of the next chunk: about a second's worth, ending at the latest where something is logged,
    /// evaluated or saved.
    pub(super) fn chunk_size(&self) -> usize {
        let update = self.progress.update;
        let paced = match self.seconds_per_update {
            Some(seconds) => (CHUNK_SECONDS / seconds.max(1e-9)) as u64,
            None => 1, // to learn how long one takes
        };
        let limits = [
            until_multiple(update, self.settings.log_interval),
            self.settings.eval_interval.map_or(u64::MAX, |interval| until_multiple(update, interval)),
            self.settings.save_interval.map_or(u64::MAX, |interval| until_multiple(update, interval)),
            self.num_updates - update,
            self.learner.max_updates() as u64,
        ];
        limits.into_iter().fold(paced, u64::min).max(1) as usize
    }

    /// Plays the evaluation that belongs here, if one does, and keeps the parameters if they are the best so far. Gives
    /// its numbers for the logs. One that fails is a warning.
    fn evaluate_if_due(&mut self) -> Option<Vec<f32>> {
        let Progress { update, timesteps, .. } = self.progress;
        if !evaluation::is_due(self.settings, update) {
            return None;
        }
        let evaluation = match Evaluation::run(self.settings, self.learner, update) {
            Ok(evaluation) => evaluation,
            Err(error) => {
                let text = format!("the evaluation at update {update} failed: {error:#}; training continues");
                self.console.warn(&text);
                self.alert("an evaluation failed", &text);
                return None;
            }
        };
        let is_best = evaluation.beats(self.best.as_ref());
        self.console.announce(&evaluation.describe(self.settings, update, is_best));
        let kept = if is_best { self.keep_best(evaluation.report.episode_return.mean) } else { Ok(()) };
        let logged = self.logs.episodes(update, timesteps, &evaluation.episodes);
        if let Err(error) = kept.and(logged) {
            self.console.warn(&format!("{error:#}; training continues"));
        }
        Some(evaluation.values())
    }

    /// Keeps the parameters of this moment as the best.
    fn keep_best(&mut self, mean_return: f64) -> Result<()> {
        let Progress { update, timesteps, .. } = self.progress;
        let best = Best { update, timesteps, mean_return, params: self.learner.params()? };
        let best = self.best.insert(best);
        best.save(self.run.path(), self.learner.params_metadata())
    }

    /// Logs the interval that ends here with the numbers of an evaluation, and begins the next.
    fn log_interval(&mut self, evaluated: Vec<f32>) {
        let next = Interval::new(self.progress.interval.names());
        let interval = std::mem::replace(&mut self.progress.interval, next);
        self.log(&interval, evaluated);
    }

    fn log(&mut self, interval: &Interval, evaluated: Vec<f32>) {
        let timesteps = interval.updates * self.learner.timesteps_per_update();
        let row = Row {
            update: self.progress.update,
            timesteps: self.progress.timesteps,
            names: self.columns.clone(),
            values: [interval.values(), evaluated].concat(),
            steps_per_second: timesteps as f64 / interval.seconds.max(1e-9),
            wall_seconds: self.progress.seconds,
            time: jiff::Timestamp::now(),
        };
        if let Some(wandb) = &mut self.wandb {
            wandb.row(&row);
        }
        if let Err(error) = self.logs.append(&row) {
            self.console.warn(&format!("{error:#}; the lines are kept for later"));
        }
        self.console.row(&row);
        for warning in self.health.check(&|name| row.get(name).map(f64::from)) {
            self.console.warn(&warning.text);
            self.alert(warning.title, &warning.text);
        }
        self.last_row = Some(row);
    }

    fn save_is_due(&self) -> bool {
        match self.settings.save_interval {
            Some(interval) => self.progress.update.is_multiple_of(interval),
            None => self.last_save.elapsed().as_secs_f64() >= self.settings.save_interval_minutes * 60.0,
        }
    }

    /// Whether somebody wants a checkpoint now: the screen of this process, or, with a file `save`, anybody else.
    fn save_is_asked(&self) -> bool {
        let by_screen = self.console.take_save();
        fs::remove_file(self.run.file(SAVE_FILE)).is_ok() || by_screen
    }

    fn save_as_asked(&mut self) {
        if self.save_or_warn() {
            let path = self.run.checkpoint_path(self.progress.update);
            self.console.say(&format!("saved {}", path.display()));
        }
    }

    /// Says whether it worked.
    fn save_or_warn(&mut self) -> bool {
        self.last_save = Instant::now();
        let saved = self.save();
        if let Err(error) = &saved {
            self.console.warn(&format!("{error:#}; {}, training continues", self.what_is_kept()));
        }
        saved.is_ok()
    }

    fn what_is_kept(&self) -> String {
        match self.saved_update {
            Some(update) => format!("checkpoint_{update}.ckpt is kept"),
            None => "there is no checkpoint yet".into(),
        }
    }

    /// Saves a checkpoint and the parameters of this moment, unless they are there.
    fn save(&mut self) -> Result<()> {
        let update = self.progress.update;
        if self.saved_update == Some(update) {
            return Ok(());
        }
        let checkpoint = self.checkpoint()?;
        // Parameters first: whoever finds a checkpoint finds its parameters, too. Neither waits for the other's luck.
        let params = self.save_params(&self.run.params_path(update));
        checkpoint.save(&self.run.checkpoint_path(update))?;
        self.saved_update = Some(update);
        let path = self.run.checkpoint_path(update);
        self.keep_artifact(format!("checkpoint-{update}"), path);
        if let Some(keep) = self.settings.keep {
            run_dir::keep_newest(self.run.path(), keep as usize)?;
        }
        params
    }

    /// The run as it stands.
    fn checkpoint(&mut self) -> Result<Checkpoint> {
        self.logs.sync()?; // the checkpoint counts on it
        self.progress.offsets = self.logs.offsets();
        Ok(Checkpoint {
            config: self.config.into(),
            env: self.settings.env.clone(),
            progress: self.progress.clone(),
            state: self.learner.state()?,
            best: self.best.clone(),
        })
    }

    fn keep_artifact(&mut self, name: String, path: PathBuf) {
        let Progress { update, timesteps, .. } = self.progress;
        if let Some(wandb) = &mut self.wandb {
            let metadata =
                serde_json::json!({"update": update, "timesteps": timesteps, "run": self.run.name()});
            wandb.artifact(Artifact { name, kind: "model", path, metadata, aliases: vec!["latest".into()] });
        }
    }

    fn save_params(&self, path: &Path) -> Result<()> {
        let Progress { update, timesteps, .. } = self.progress;
        let counters = [("update".into(), update.to_string()), ("timesteps".into(), timesteps.to_string())];
        let metadata = self.learner.params_metadata().into_iter().chain(counters).collect();
        save_params(path, &self.learner.params()?, &metadata)
    }

    /// Saves what must not be lost.
    fn end(&mut self, state: State) -> Result<Outcome> {
        if self.progress.update > 0 {
            self.save().with_context(|| format!("the last save failed ({})", self.what_is_kept()))?;
        }
        let mut final_params = None;
        if state == State::Completed {
            // After the checkpoint, which knows nothing of this shorter interval: a longer run goes on with it.
            if self.progress.interval.updates > 0 {
                let interval = self.progress.interval.clone();
                self.log(&interval, Vec::new());
            }
            self.logs.sync()?;
            let path = self.run.file("final_params.safetensors");
            self.save_params(&path)?;
            self.keep_artifact("final-model".into(), path.clone());
            final_params = Some(path);
        }
        let best_params = self.best.is_some().then(|| self.run.file(BEST_PARAMS));
        if let (Some(path), State::Completed) = (&best_params, state) {
            self.keep_artifact("best-model".into(), path.clone());
        }
        summary::write(
            self.run.path(),
            &self.settings.env,
            self.config,
            &self.progress,
            final_params.as_deref(),
            self.best.as_ref(),
        )?;
        let checkpoint = self.saved_update.map(|update| self.run.checkpoint_path(update));
        Ok(Outcome {
            run: self.run.name(),
            directory: self.run.path().to_path_buf(),
            state,
            update: self.progress.update,
            timesteps: self.progress.timesteps,
            episodes: self.progress.episodes,
            seconds: self.progress.seconds,
            steps_per_second: self.steps_per_second(),
            checkpoint,
            final_params,
            best_params,
            metrics: self.last_row.clone(),
        })
    }

    fn say_goodbye(&self, outcome: &Outcome) {
        let (update, steps) = (outcome.update, thousands(outcome.timesteps));
        let done = format!("at update {update} ({steps} timesteps)");
        let directory = self.run.path().display();
        self.console.announce(&match (&outcome.final_params, &outcome.checkpoint) {
            (Some(params), _) => format!("completed {done}: {}", params.display()),
            (None, Some(_)) => format!("stopped {done}; continue with: lockstep train --resume {directory}"),
            (None, None) => "stopped before the first update; nothing to save".to_string(),
        });
    }

    pub(super) fn name(&self) -> String {
        self.run.name()
    }

    pub(super) fn update(&self) -> u64 {
        self.progress.update
    }

    pub(super) fn last_return(&self) -> Option<f64> {
        self.last_return
    }

    /// Environment steps per second since this process began to train.
    fn steps_per_second(&self) -> f64 {
        let steps = self.progress.timesteps.saturating_sub(self.timesteps_before);
        steps as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    fn heartbeat(&mut self) {
        for notice in self.wandb.iter_mut().flat_map(Wandb::notices) {
            self.console.say(&notice);
        }
        if self.last_heartbeat.is_none_or(|last| last.elapsed() >= HEARTBEAT) {
            self.write_status(State::Running, None);
        }
    }

    fn write_status(&mut self, state: State, error: Option<String>) {
        let status = Status {
            state,
            update: self.progress.update,
            num_updates: self.num_updates,
            timesteps: self.progress.timesteps,
            total_timesteps: self.settings.total_timesteps,
            episodes: self.progress.episodes,
            steps_per_second: self.steps_per_second(),
            start_time: self.start_time.clone(),
            last_heartbeat: status::now(),
            memory_bytes: status::memory_bytes(),
            device_memory_bytes: self.learner.device_memory(),
            error,
        };
        self.last_heartbeat = Some(Instant::now());
        if let Err(error) = status.write(self.run.path()) {
            self.console.warn(&format!("{error:#}"));
        }
    }
}

/// Updates from `update` to the next multiple of `interval`, 1 to `interval`.
fn until_multiple(update: u64, interval: u64) -> u64 {
    interval - update % interval
}
