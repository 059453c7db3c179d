//! A line of the log of windows.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::envs::{Aggregate, Entry};
use crate::trainer::tally::Window;

/// The numbers of a window by their keys, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    run_id: String,
    window: Window,
    /// Those of the environment.
    own: Vec<(String, f64)>,
}

/// The keys of the environment's metrics in a row, and their places among the metrics.
pub fn keys(entry: &Entry) -> Vec<(String, usize)> {
    let metrics = entry.spec().metrics;
    match entry.telemetry.window {
        Some(declared) => declared
            .iter()
            .map(|(key, name)| {
                let place = metrics.iter().position(|metric| metric.name == *name);
                ((*key).to_owned(), place.unwrap_or_else(|| panic!("there is no metric `{name}`")))
            })
            .collect(),
        None => metrics
            .iter()
            .enumerate()
            .map(|(place, metric)| match metric.aggregate {
                Aggregate::Mean | Aggregate::Running => (format!("{}_mean", metric.name), place),
                Aggregate::Max => (format!("{}_max", metric.name), place),
                Aggregate::Episode => (format!("{}_per_episode", metric.name), place),
            })
            .collect(),
    }
}

impl Row {
    pub fn new(run_id: &str, keys: &[(String, usize)], window: &Window) -> Row {
        let value =
            |place: usize| window.metrics.get(place).copied().filter(|x| x.is_finite()).unwrap_or(0.0);
        Row {
            run_id: run_id.to_owned(),
            window: window.clone(),
            own: keys.iter().map(|(key, place)| (key.clone(), value(*place))).collect(),
        }
    }

    /// The ticks of the run at its end.
    pub fn end(&self) -> u64 {
        self.window.end
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let window = &self.window;
        let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
        let reward = finite(window.reward);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("run_id", &self.run_id)?;
        map.serialize_entry("window_id", &window.number)?;
        map.serialize_entry("window_complete", &window.complete)?;
        map.serialize_entry("env_steps_start", &window.start)?;
        map.serialize_entry("env_steps_end", &window.end)?;
        map.serialize_entry("env_steps_in_window", &window.ticks())?;
        map.serialize_entry("env_steps_total", &window.end)?;
        map.serialize_entry("episodes_completed", &window.episodes())?;
        map.serialize_entry("terminated_episodes", &window.terminated)?;
        map.serialize_entry("truncated_episodes", &window.truncated)?;
        map.serialize_entry("reward_sum", &reward)?;
        map.serialize_entry("reward_mean", &(reward / window.ticks().max(1) as f64))?;
        map.serialize_entry("return_mean", &finite(window.mean_return()))?;
        for (key, value) in &self.own {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
