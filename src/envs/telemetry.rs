//! Telemetry: what the windows and replays of a run say of one environment, beside what they say of every one.
//!
//! A run can be followed in windows of environment steps and in recorded episodes (`trainer::windows`, `trainer::replay`), whose
//! readers may expect numbers by names of their own. An environment declares them here, by its metrics; one that declares nothing
//! has all its metrics under their own names.

use serde_json::{Map, Value, json};

use super::painter::Frame;

/// What windows and replays say of an environment.
#[derive(Clone, Copy)]
pub struct Telemetry {
    /// The metrics of a step, of which a window has the means per tick, each with its key. `None` for all of them.
    pub window: Option<&'static [(&'static str, &'static str)]>,
    /// The metrics whose values at the end of an episode belong to the entry of a replay, each with its key.
    pub outcome: &'static [(&'static str, &'static str)],
    /// What a frame of a replay says of a step.
    pub frame: fn(&Told) -> Shown,
    /// Whether programs play it step by step over HTTP (`/api/play` of `ui`): then the parameter that they call `env_time_max`. Its
    /// worlds are known by numbers ([`Env::world`](super::Env::world)).
    pub session: Option<&'static str>,
}

/// A step, as it is to be told.
pub struct Told<'a> {
    /// What came of it.
    pub after: Frame<'a>,
    pub action: usize,
    pub ticks: u64,
    pub terminated: bool,
    pub truncated: bool,
    /// The metrics of the step by name, all finite.
    pub metrics: &'a [(String, f64)],
    /// Those of the step before, if there was one.
    pub before: Option<&'a [(String, f64)]>,
}

/// What a frame says of a step beside its number, time, action and reward. All numbers are finite.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// What the state looks like, beside the observation.
    pub state: Map<String, Value>,
    /// What happened, in words; the end of an episode is told of all environments.
    pub events: Vec<&'static str>,
    /// Everything that is known of the step.
    pub info: Map<String, Value>,
}

impl Telemetry {
    /// All metrics under their own names.
    pub const PLAIN: Telemetry = Telemetry {
        window: None,
        outcome: &[],
        frame: |told| Shown {
            info: told.metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
            ..Shown::default()
        },
        session: None,
    };
}

impl Told<'_> {
    /// A metric of the step.
    ///
    /// # Panics
    /// There is none of that name.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        find(self.metrics, name)
    }

    /// How much a metric has grown since the step before, or since 0 in the first one.
    ///
    /// # Panics
    /// There is none of that name.
    #[track_caller]
    pub fn growth(&self, name: &str) -> f64 {
        self.metric(name) - self.before.map_or(0.0, |before| find(before, name))
    }
}

#[track_caller]
fn find(metrics: &[(String, f64)], name: &str) -> f64 {
    let found = metrics.iter().find(|(other, _)| other == name);
    found.unwrap_or_else(|| panic!("there is no metric `{name}`")).1
}
