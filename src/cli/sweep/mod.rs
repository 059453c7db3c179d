//! `lockstep sweep`: hyperparameter search.
//!
//! A sweep has a directory, in which its journal and the directories of its runs are. One process suggests, trains and writes down
//! ([`work`]); any number of others may do the same on the same journal. Trials that differ only in numbers which are inputs of a program
//! are trained as one group, as `train --num-seeds` trains one; the others follow each other. What to try next is the business of
//! [`crate::sweep`].

mod plot;
mod points;
mod referee;
mod setup;
mod show;
mod work;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::App;
use crate::config::{SweepFile, UsageError, read_sweep_file, usage};
use crate::names::nearest;
use crate::output::tell;
use crate::sweep::journal::{Event, FILE, FileStorage, Journal, PostgresStorage, State, is_postgres};
use crate::trainer;

pub use show::trial_json;

use setup::Setup;
use show::{Overview, described, score};
use work::{Worker, worker_name};

/// What to do with which sweep.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Sweep {
    /// A TOML file: settings of train, and a table [sweep] that says what varies; or a file of PufferLib (.ini) with its sections
    /// [sweep]
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    file: Option<PathBuf>,
    /// Go on with a sweep: its name or its directory
    #[arg(long, value_name = "SWEEP")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Keep the journal on a PostgreSQL server instead of in the directory of the sweep
    #[arg(long, value_name = "URL", conflicts_with = "resume")]
    storage: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

/// Where a sweep is.
#[derive(Debug, Clone, Args)]
struct Place {
    /// Directory that holds the directory of the sweep
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    checkpoint_dir: PathBuf,
    /// Name of the sweep [default: of a new one that of the file]
    #[arg(long, value_name = "NAME")]
    run_name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show a sweep: its Pareto front, its best trials and what matters
    Show {
        /// The sweep: its name, its directory, or the URL of a PostgreSQL server
        sweep: String,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
        /// Draw score against cost and against each setting into an SVG or PNG file
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the best configuration as a file for `train --config`
    Best {
        /// The sweep: its name, its directory, or the URL of a PostgreSQL server
        sweep: String,
        #[command(flatten)]
        place: Place,
    },
    /// Work on a sweep beside others: claim trials, train them, and write down what came of them
    Worker {
        /// The directory of the sweep, or the URL of a PostgreSQL server: postgres://USER:PASSWORD@HOST/DATABASE
        #[arg(long, value_name = "URL")]
        storage: String,
        /// What this worker is called [default: host and process]
        #[arg(long, value_name = "NAME")]
        worker_name: Option<String>,
        /// With PostgreSQL: seconds after which a silent worker is taken for dead, and its trials are given to others
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
        patience: f64,
        #[command(flatten)]
        place: Place,
    },
}

/// Seconds after which a silent worker is taken for dead.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn command() -> Command {
    let command = Sweep::augment_args(Command::new("sweep"));
    let with_variable = |command: Command| {
        command.mut_args(|arg| match arg.get_id().as_str() {
            "checkpoint_dir" => arg.env("LOCKSTEP_CHECKPOINT_DIR").hide_env(true),
            _ => arg,
        })
    };
    let command = with_variable(command).mut_subcommands(with_variable);
    command
        .about("Search for settings: train trials, learn from them which to try next")
        .arg_required_else_help(true)
}

/// Does it.
///
/// # Errors
/// One line; a [`UsageError`] if the file makes no sense.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let Sweep { file, resume, place, storage, action } = Sweep::from_arg_matches(matches)?;
    match (action, file, resume) {
        (Some(Action::Show { sweep, json, plot, place }), ..) => {
            let (journal, setup) = opened(app, &sweep, &place)?;
            let overview = Overview::new(journal.state(), &setup.plan);
            match plot {
                Some(out) => plot::plot(&overview, &out),
                None => show::show(&overview, json),
            }
        }
        (Some(Action::Best { sweep, place }), ..) => {
            let (journal, setup) = opened(app, &sweep, &place)?;
            show::best_file(&Overview::new(journal.state(), &setup.plan), &setup)
        }
        (Some(Action::Worker { storage, worker_name, patience, place }), ..) => {
            join(app, &storage, worker_name, patience, &place)
        }
        (None, Some(file), _) => begin(app, &file, &place, storage.as_deref()),
        (None, None, Some(sweep)) => {
            let directory = find(&sweep, &place.checkpoint_dir)?;
            let storage = FileStorage::open(&directory, true)?;
            go_on(app, Journal::open(Box::new(storage))?, directory, worker_name())
        }
        (None, None, None) => unreachable!("clap requires a file or --resume"),
    }
}

/// Begins a new sweep.
fn begin(app: &App, file: &Path, place: &Place, storage: Option<&str>) -> Result<()> {
    trainer::listen()?;
    let (SweepFile { settings, sweep }, notes) = read_sweep_file(app.catalog(), file)?;
    notes.iter().for_each(|note| tell(note));
    let origin = file.display().to_string();
    let setup = Setup::new(app, &settings, &sweep, &origin)?;
    setup.plan.notes.iter().for_each(|note| tell(note));
    let name = match &place.run_name {
        Some(name) => name.clone(),
        None => file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("sweep").to_owned(),
    };
    check_name(&format!("{name}-t{}", u32::MAX))?;
    let directory = place.checkpoint_dir.join(&name);
    let began = Event::began(&name, settings, sweep);
    let journal = match storage {
        None => Journal::begin(Box::new(FileStorage::create(&directory)?), began)?,
        Some(url) if is_postgres(url) => {
            Journal::begin(Box::new(PostgresStorage::create(url, &name, PATIENCE)?), began)?
        }
        Some(other) => bail!(UsageError(format!(
            "--storage is {other}, which is no postgres://USER:PASSWORD@HOST/DATABASE; leave it out to keep the journal in the sweep's directory"
        ))),
    };
    tell(&format!(
        "sweep {name}: {} trials of {}; {}",
        setup.plan.max_runs,
        setup.plan.metric,
        journal.describe()
    ));
    work(app, &setup, journal, directory, worker_name())
}

/// Works on a sweep that has begun.
fn join(app: &App, storage: &str, name: Option<String>, patience: f64, place: &Place) -> Result<()> {
    trainer::listen()?;
    let seconds =
        Duration::try_from_secs_f64(patience).ok().filter(|patience| *patience >= Duration::from_secs(1));
    let patience = seconds
        .with_context(|| UsageError(format!("patience is {patience}; it must be at least 1 second")))?;
    let name = name.unwrap_or_else(worker_name);
    check_name(&name)?;
    if is_postgres(storage) {
        let opened = PostgresStorage::open(storage, place.run_name.as_deref(), patience)?;
        let journal = Journal::open(Box::new(opened))?;
        let directory = place.checkpoint_dir.join(&journal.state().name);
        return go_on(app, journal, directory, name);
    }
    let directory = find(Path::new(storage), &place.checkpoint_dir)?;
    let journal = Journal::open(Box::new(FileStorage::open(&directory, true)?))?;
    go_on(app, journal, directory, name)
}

fn go_on(app: &App, journal: Journal, directory: PathBuf, worker: String) -> Result<()> {
    trainer::listen()?;
    let setup = setup_of(app, &journal)?;
    let State { name, trials, .. } = journal.state();
    let done = trials.iter().filter(|trial| trial.has_ended()).count();
    tell(&format!("sweep {name}: {done} of {} trials have ended; {worker} goes on", setup.plan.max_runs));
    work(app, &setup, journal, directory, worker)
}

/// A name of a run, a sweep or a worker is that of a file.
fn check_name(name: &str) -> Result<()> {
    trainer::Settings { run_name: Some(name.to_owned()), ..trainer::Settings::default() }
        .check()
        .map_err(usage)
}

/// Works until the sweep is done or a signal comes, and says what it has come to.
fn work(app: &App, setup: &Setup, journal: Journal, directory: PathBuf, name: String) -> Result<()> {
    let worker = Worker { program: app.name(), setup, journal, name, directory: directory.clone() };
    let journal = worker.work()?;
    let state = journal.state();
    let (ended, all) = (state.trials.iter().filter(|trial| trial.has_ended()).count(), state.trials.len());
    if ended < all.max(1) || !setup.plan.is_exhausted(all) {
        tell(&format!(
            "stopped after {ended} trials; continue with: lockstep sweep --resume {}",
            directory.display()
        ));
        return Ok(());
    }
    let overview = Overview::new(state, &setup.plan);
    let best = overview.best.and_then(|best| Some((best, best.last()?)));
    if let Some((best, last)) = best {
        let (number, score, values) = (best.number, score(last.score), described(&best.values));
        tell(&format!("completed {all} trials; the best is trial {number} with {score}: {values}"));
    }
    Ok(())
}

fn setup_of<'a>(app: &'a App, journal: &Journal) -> Result<Setup<'a>> {
    let State { settings, sweep, .. } = journal.state();
    Setup::new(app, settings, sweep, &journal.describe())
}

/// The journal of a sweep that is only looked at.
fn opened<'a>(app: &'a App, sweep: &str, place: &Place) -> Result<(Journal, Setup<'a>)> {
    let journal = match is_postgres(sweep) {
        true => Journal::open(Box::new(PostgresStorage::open(sweep, place.run_name.as_deref(), PATIENCE)?))?,
        false => {
            let directory = find(Path::new(sweep), &place.checkpoint_dir)?;
            Journal::open(Box::new(FileStorage::open(&directory, false)?))?
        }
    };
    let setup = setup_of(app, &journal)?;
    Ok((journal, setup))
}

/// The directory of a sweep that is named: a path, or a name in the directory of runs.
fn find(sweep: &Path, checkpoint_dir: &Path) -> Result<PathBuf> {
    let is_sweep = |path: &Path| path.join(FILE).is_file();
    if let Some(found) =
        [sweep.to_path_buf(), checkpoint_dir.join(sweep)].into_iter().find(|path| is_sweep(path))
    {
        return Ok(found);
    }
    let entries = std::fs::read_dir(checkpoint_dir).into_iter().flatten().flatten();
    let sweeps = entries.filter(|entry| is_sweep(&entry.path()));
    let names: Vec<String> = sweeps.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let shown = sweep.display();
    let hint = match nearest(&shown.to_string(), names.iter().map(String::as_str)) {
        Some(name) => format!("; did you mean {name}?"),
        None if names.is_empty() => String::new(),
        None => format!("; there are {}", names.join(", ")),
    };
    bail!(UsageError(format!("there is no sweep {shown} in {}{hint}", checkpoint_dir.display())))
}
