//! How a run begins: new, or from a checkpoint.
//!
//! A run that goes on takes back whatever came after its checkpoint: the logs are cut where the checkpoint says, later files are
//! moved away, the best parameters are those of its time. So what follows is the same as if it had not been interrupted.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::follow::open_windows;
use super::opponents::open_pool;
use super::{Ears, Job, Session, Timings, params_metadata};
use crate::algorithms::metrics::EPISODE_RETURN;
use crate::algorithms::{Learner, Metric};
use crate::envs;
use crate::trainer::console::{Console, Goal};
use crate::trainer::evaluation;
use crate::trainer::files::{make_own_directory, write_atomically};
use crate::trainer::health::Health;
use crate::trainer::history::{self, History};
use crate::trainer::journal::Journal;
use crate::trainer::logs::Logs;
use crate::trainer::metrics::Interval;
use crate::trainer::progress::Progress;
use crate::trainer::readable::thousands;
use crate::trainer::recent::RecentEpisodes;
use crate::trainer::resumed::Resumed;
use crate::trainer::run_dir::{CHECKPOINTS, DOCUMENT, RunDir, holder};
use crate::trainer::settings::{Logger, Settings};
use crate::trainer::status::{self, Machine, State};
use crate::trainer::summary;
use crate::trainer::trackers::{self, Origin, Trackers};
use crate::trainer::utilisation::Watcher;
use crate::trainer::windows;

/// What trackers know of a run when a process begins to work on it.
struct Known {
    origin: Origin,
    /// The last step that was logged.
    logged_step: u64,
}

impl<'l> Session<'l> {
    /// Begins a new run. `ears` is given what the run is to reach.
    pub(in crate::trainer) fn begin(job: Job<'_, 'l>, ears: impl FnOnce(Goal) -> Ears) -> Result<Self> {
        let progress = Progress::new(job.learner.metrics());
        let run = RunDir::create(job.settings)?;
        let of_document = job.settings.document.iter().flat_map(|document| &document.facts);
        let facts: Vec<_> = job.facts.iter().chain(of_document).cloned().collect();
        status::write_meta(run.path(), run.id(), job.settings.seed, &facts)?;
        let known = Known { origin: Origin::New, logged_step: 0 };
        Self::new(job, ears, run, progress, known)
    }

    /// Takes a run up again where its checkpoint was saved. `ears` as above.
    pub(super) fn resume(
        mut job: Job<'_, 'l>,
        ears: impl FnOnce(Goal) -> Ears,
        resumed: Resumed,
    ) -> Result<Self> {
        let Job { settings, facts, ref mut learner, .. } = job;
        let directory = resumed.directory().to_path_buf();
        let resumed_in_place = resumed.is_in_run();
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
        let mut progress = checkpoint.progress;
        let run = if resumed_in_place {
            RunDir::reopen(&directory)?
        } else {
            progress.offsets.clear(); // its logs are elsewhere
            let run = RunDir::create(settings)?;
            status::write_meta(run.path(), run.id(), settings.seed, facts)?;
            run
        };
        evaluation::restore(
            run.path(),
            checkpoint.best.as_ref(),
            params_metadata(settings, &**learner, facts),
        )?;
        let moved = run.supersede_after(progress.update, progress.timesteps)?;
        status::add_resume_to_meta(run.path(), run.id(), progress.update, facts)?;
        let other_metrics = !progress.interval.is_of(learner.metrics());
        if other_metrics {
            progress.interval = Interval::new(learner.metrics());
        }
        let (logged_before, logged_step) = history::last_logged(run.path(), progress.update);
        let origin = match (resumed_in_place, rewind) {
            (false, _) => Origin::New,
            (true, true) => Origin::Rewound { step: logged_before },
            (true, false) => Origin::Resumed,
        };
        let known = Known { origin, logged_step };
        let mut session = Self::new(job, ears, run, progress, known)?;
        session.best = checkpoint.best;
        // A checkpoint under another name is saved again at the end, under its own.
        let own_name = session.saved_paths().0;
        session.saved =
            (own_name.file_name() == path.file_name()).then_some((session.progress.update, own_name));
        session.announce_resume(&path, moved, other_metrics);
        Ok(session)
    }

    fn new(
        job: Job<'_, 'l>,
        ears: impl FnOnce(Goal) -> Ears,
        run: RunDir,
        mut progress: Progress,
        known: Known,
    ) -> Result<Self> {
        let Job { settings, config, facts, learner } = job;
        if let Some(document) = &settings.document {
            write_atomically(&run.file(DOCUMENT), document.text.as_bytes())?;
        }
        if settings.checkpoint_prefix.is_some() {
            make_own_directory(&run.file(CHECKPOINTS))?;
        }
        let num_updates = settings.num_updates(learner.timesteps_per_update());
        write_atomically(&run.file("config.toml"), config.as_bytes())?;
        let columns: Vec<String> = learner.metrics().iter().map(|metric| metric.name.to_string()).collect();
        let columns = [columns, evaluation::columns(settings, learner.spec())].concat();
        let logs = open_logs(settings, &run, &progress, &columns, &*learner)?;
        let window_start = progress.windows.as_ref().map_or(0, |tally| tally.start);
        let windows = open_windows(settings, &run, facts, &*learner, &mut progress)?;
        let journal = open_journal(settings, &run, &progress)?;
        let pool = open_pool(settings, &run, &*learner)?;
        let (health, recent) = read_back(&run, learner.metrics(), settings.health)?;
        let goal = Goal {
            num_updates,
            first_update: progress.update,
            timesteps_per_update: learner.timesteps_per_update(),
            format: settings.log_format,
        };
        let Ears { console, signals } = ears(goal);
        let trackers = begin_trackers(settings, config, facts, &run, known, window_start, &console);
        let (now, progress_timesteps) = (Instant::now(), progress.timesteps);
        Ok(Self {
            settings: settings.clone(),
            config: config.to_owned(),
            facts: facts.to_vec(),
            learner,
            run,
            columns,
            logs,
            windows,
            journal,
            pool,
            trackers,
            console,
            saves_asked: signals.saves_asked(),
            signals,
            num_updates,
            timesteps_before: progress.timesteps,
            progress,
            best: None,
            start: now,
            start_time: status::now(),
            chunk_end: now,
            seconds_per_update: None,
            last_save: now,
            saved: None,
            chunk_begin: progress_timesteps,
            timings: Timings::default(),
            at_last_row: Timings::default(),
            last_row_told: now,
            last_heartbeat: None,
            watcher: Watcher::default(),
            machine: Machine::default(),
            machine_told: now,
            last_row: None,
            curves_wait: false,
            recent,
            last_phase: None,
            health,
            snapshot: None,
            rollbacks: 0,
        })
    }

    fn announce_resume(&mut self, checkpoint: &Path, moved: usize, other_metrics: bool) {
        let Progress { update, timesteps, .. } = self.progress;
        let steps = thousands(timesteps);
        self.console.say(&format!("resumed {} at update {update} ({steps} timesteps)", checkpoint.display()));
        if holder(checkpoint) != self.run.path() {
            self.console.say(&format!(
                "it lies in no run's directory, so the run goes on in {}",
                self.run.path().display()
            ));
        }
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
        self.tell_of_logs();
        if update >= self.num_updates {
            self.console.say(&format!("{steps} timesteps are done, nothing is left to train"));
        }
    }

    /// Shows that the run is about to train.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn open(&mut self) -> Result<()> {
        self.write_status(State::Running, None);
        self.write_windows(State::Running, None);
        self.console.begin(self.run.path());
        let plan = self.settings.describe_updates(self.learner.timesteps_per_update());
        self.console.announce(&format!("run {}: {plan}", self.run.name()));
        self.tell_of_stage()?;
        self.console.begin_first_update();
        Ok(())
    }
}

/// What the rows that a run has logged say about its health, and its last episodes.
pub(super) fn read_back(
    run: &RunDir,
    metrics: &[Metric],
    env: envs::Health,
) -> Result<(Health, RecentEpisodes)> {
    let (mut health, history) = (Health::new(metrics, env), History::read(run.path())?);
    for row in 0..history.len() {
        health.check(&|name| history.get(row, name));
    }
    Ok((health, RecentEpisodes::of(&history)))
}

/// Opens the logs where `progress` says that they end.
pub(super) fn open_logs(
    settings: &Settings,
    run: &RunDir,
    progress: &Progress,
    columns: &[String],
    learner: &dyn Learner,
) -> Result<Logs> {
    let offsets = &progress.offsets;
    let logs = Logs::open(run.path(), offsets)?;
    let logs = logs.with_csv(run.path(), offsets, columns, settings.logs_to(Logger::Csv))?;
    let logs = logs.with_tensorboard(run.path(), offsets, settings.logs_to(Logger::Tensorboard))?;
    let logs = logs.with_table(run.path(), offsets, columns, settings.metrics_file.as_deref())?;
    let logs = logs.with_pool(run.path(), offsets, learner.faced()?.is_some())?;
    logs.with_episodes(run.path(), offsets, learner.spec(), settings.log_episodes)
}

/// Opens the files that the front of the run has beside its directory, where `progress` says that they end.
pub(super) fn open_journal(
    settings: &Settings,
    run: &RunDir,
    progress: &Progress,
) -> Result<Option<Journal>> {
    let Some(plan) = windows::meaning_of(settings)?.journal else { return Ok(None) };
    let (began, history) = (summary::start_time(run.path()), History::read(run.path())?);
    let began = began.as_str().unwrap_or_default();
    Journal::open(plan, &progress.offsets, began, history.best(EPISODE_RETURN)).map(Some)
}

fn begin_trackers(
    settings: &Settings,
    config: &str,
    facts: &[(String, Value)],
    run: &RunDir,
    known: Known,
    windows_before: u64,
    console: &Console,
) -> Trackers {
    let values = match settings.front.as_deref().map(serde_json::from_str) {
        Some(Ok(config)) => config,
        _ => summary::config_object(config).into_iter().chain(facts.iter().cloned()).collect(),
    };
    // By windows, steps are ticks.
    let (origin, logged_step) = match (&settings.front, windows::last_logged(run.path())) {
        (None, _) => (known.origin, known.logged_step),
        (Some(_), logged) => match known.origin {
            Origin::Rewound { .. } => (Origin::Rewound { step: windows_before }, windows_before),
            origin => (origin, logged),
        },
    };
    let tags = windows::meaning_of(settings).map(|meaning| meaning.tags).unwrap_or_default();
    let description = trackers::Description {
        settings,
        config: values,
        run: run.path(),
        run_id: run.id(),
        run_name: &run.name(),
        origin,
        commit: status::git_state().0,
        logged_step,
        tags: &tags,
    };
    let (trackers, notices) = Trackers::begin(&description);
    notices.iter().for_each(|notice| console.say(notice));
    trackers
}
