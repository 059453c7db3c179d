//! The report of an evaluation by lives: `report.md`, `results.json` and the figures.

mod figures;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

use crate::cli::App;
use crate::config::UsageError;
use crate::output::tell;

use super::results;
use super::summary::Summary;

/// What to report on, and where.
#[derive(Debug, Args)]
struct Report {
    /// Results of an evaluation by lives [default: the newest generated/reports/*/results.json]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Directory of the report
    #[arg(short, long, value_name = "DIR", default_value = "generated/reports/final")]
    output: PathBuf,
    /// Write the text without figures
    #[arg(long)]
    no_figures: bool,
    /// Leave figures that are there as they are
    #[arg(long)]
    keep_existing_figures: bool,
}

/// Where reports are written, each in a directory of its own.
pub const REPORTS: &str = "generated/reports";
/// What the directory of a report holds.
pub const REPORT: &str = "report.md";
pub const RESULTS: &str = "results.json";
pub const FIGURES: &str = "figures";

pub fn command() -> Command {
    Report::augment_args(Command::new("report"))
        .about("Report on an evaluation by lives: tables, tests, power and figures")
        .after_help(
            "`eval` makes the results in an environment where agents live on and on: see eval --help.",
        )
}

/// Writes a report.
///
/// # Errors
/// One line: no results, or a file that cannot be read or written.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let report = Report::from_arg_matches(matches)?;
    let input = report.input.clone().or_else(|| newest(Path::new(REPORTS))).ok_or_else(|| {
        UsageError(format!("there is no {REPORTS}/*/{RESULTS}; name a file of results with --input"))
    })?;
    let (document, summary) = Summary::load(app, &input)?;
    let figures = match (report.no_figures, report.keep_existing_figures) {
        (true, _) => Figures::None,
        (false, true) => Figures::Missing,
        (false, false) => Figures::All,
    };
    write(&report.output, &document, &summary, figures)
}

/// Which figures are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figures {
    All,
    /// Those that are not there.
    Missing,
    None,
}

/// Writes a report into a new directory, whose name is the time.
///
/// # Errors
/// As [`run`].
pub fn write_new(reports: &Path, document: &Value, summary: &Summary) -> Result<()> {
    let time = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
    write(&reports.join(time), document, summary, Figures::All)
}

fn write(directory: &Path, document: &Value, summary: &Summary, which: Figures) -> Result<()> {
    let figures = directory.join(FIGURES);
    fs::create_dir_all(&figures).with_context(|| format!("cannot make {}", figures.display()))?;
    results::write(&directory.join(RESULTS), document)?;
    if which != Figures::None {
        for (name, picture) in figures::all(summary) {
            let path = figures.join(format!("{name}.png"));
            if which == Figures::All || !path.exists() {
                fs::write(&path, picture.to_png()?)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    let path = directory.join(REPORT);
    let text = text::report(document, summary, which != Figures::None)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    tell(&format!("the report is {}", path.display()));
    Ok(())
}

/// The results that were written last.
fn newest(reports: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(reports).ok()?.flatten().map(|directory| directory.path().join(RESULTS));
    files
        .filter(|file| file.is_file())
        .max_by_key(|file| fs::metadata(file).and_then(|data| data.modified()).ok())
}
