//! `summary.json`: what a run came to, in one small file.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::evaluation::{BEST_PARAMS, Best};
use super::files::write_atomically;
use super::history::History;
use super::logs::{EPISODES, METRICS, TENSORBOARD, UPDATES};
use super::progress::Progress;
use super::run_dir::name_of;
use super::status;
use crate::algorithms::metrics::EPISODE_RETURN;

/// The name of the file.
pub const SUMMARY: &str = "summary.json";

/// Writes the summary of the run in a directory. `config` is its configuration as TOML.
///
/// # Errors
/// One line: the file cannot be written. Metrics that cannot be read any more have no best return.
pub fn write(
    run: &Path,
    env: &str,
    config: &str,
    progress: &Progress,
    final_params: Option<&Path>,
    best: Option<&Best>,
) -> Result<()> {
    let best_return = History::read(run).unwrap_or_default().best(EPISODE_RETURN);
    let text = |path: &Path| path.display().to_string();
    let there = |name: &'static str| run.join(name).exists().then_some(name);
    let summary = json!({
        "run_id": name_of(run),
        "mode": env,
        "start_time": start_time(run),
        "duration_seconds": progress.seconds,
        "total_episodes": progress.episodes,
        "total_updates": progress.update,
        "total_timesteps": progress.timesteps,
        "best_efficiency": best_return, // by this name the specification asks for the best return
        "best_mean_episode_return": best_return,
        "final_model_path": final_params.map(text),
        "best_model_path": best.map(|_| text(&run.join(BEST_PARAMS))),
        "best_eval_mean_return": best.map(|best| best.mean_return),
        "best_eval_update": best.map(|best| best.update),
        "hyperparameters": config_object(config),
        "log_files": {
            "updates": there(UPDATES),
            "episodes": there(EPISODES),
            "metrics": METRICS,
            "tensorboard": there(TENSORBOARD),
        },
    });
    write_atomically(&run.join(SUMMARY), &serde_json::to_vec_pretty(&summary)?)
}

/// When the run first began.
pub fn start_time(run: &Path) -> Value {
    status::read_meta(run)
        .and_then(|mut meta| meta.remove("start_time_iso"))
        .unwrap_or_else(|| status::now().into())
}

/// A configuration as a JSON object: empty if the text is no TOML, which ours always is.
pub fn config_object(config: &str) -> Map<String, Value> {
    let table: toml::Table = config.parse().unwrap_or_default();
    let json =
        table.into_iter().map(|(key, value)| (key, serde_json::to_value(value).unwrap_or(Value::Null)));
    json.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_becomes_an_object() {
        let object =
            config_object("# Run\nenv = \"cartpole\"\nlr = 0.5\nseed = 3\nnorm = inf\nflag = true\n");
        let expected = json!({"env": "cartpole", "lr": 0.5, "seed": 3, "norm": null, "flag": true});
        assert_eq!(Value::Object(object), expected);
    }
}
