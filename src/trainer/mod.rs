//! Training: drives a [`Learner`] in chunks, and keeps the run directory.
//!
//! The device computes; the host wakes between chunks of about a second, to log, to save and to look for signals.
//! All that a run consists of is the learner's state and the host's [`Progress`]; a checkpoint holds both, so a run
//! that was stopped or killed continues bit for bit: same parameters, same metrics, each logged once.
//! To that end nothing that is kept depends on how the updates were divided into chunks.
//!
//! [`train`] is the whole of it, and [`train_group`] the same for several learners at once; the pieces are
//! [`checkpoint`] (the file format), [`run_dir`] (names, locks), [`find`] (what a user names), [`metrics`] (rows and intervals),
//! [`evaluation`] (episodes between the updates, the best parameters),
//! `logs` (`metrics.jsonl`, `updates.csv`, TensorBoard), [`trackers`] (Weights & Biases, MLflow, Neptune), [`params`] (safetensors),
//! [`windows`] and [`replay`] (stretches of environment steps, and recorded episodes),
//! [`status`] (what others can see), [`live`] (a screen in the same process) and [`history`] (reading the metrics back).

pub mod checkpoint;
mod console;
pub mod evaluation;
pub(crate) mod files;
pub mod find;
mod group;
mod health;
pub mod history;
mod journal;
pub mod live;
mod log_file;
mod logs;
pub mod metrics;
mod naming;
mod open_files;
pub mod overview;
pub mod params;
mod pool;
mod progress;
mod protobuf;
pub mod readable;
mod recent;
mod recovery;
pub mod replay;
mod resumed;
pub mod run_dir;
pub(crate) mod session;
mod settings;
mod signals;
mod stage;
pub mod status;
mod summary;
mod tally;
pub mod trackers;
pub mod utilisation;
pub mod windows;

pub use crate::output::tell;
pub use checkpoint::Checkpoint;
pub use group::{Failure, GroupOutcome, Member, check_group, train_group};
pub use health::rule as health_rule;
pub use history::History;
pub use logs::METRICS;
pub use metrics::time_metrics;
pub use params::{load_params, params_of_run, save_params};
pub use progress::Progress;
pub use readable::thousands;
pub use resumed::Resumed;
pub use run_dir::{RunDir, SAVE_FILE};
pub use session::{CHUNK_SECONDS, Outcome, train};
pub use settings::{Document, ENV_SET, LogFormat, Logger, OnNan, Settings, UNFLAGGED};
pub use signals::{INTERRUPTED, Signals, ask_to_save, ask_to_stop, is_ignored, listen};
pub use stage::Stage;
pub use windows::meaning_of;

#[cfg(doc)]
use crate::algorithms::Learner;

#[cfg(test)]
mod tests;
