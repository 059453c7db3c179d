//! By which names metrics are told to charts: lockstep's own, or those of PufferLib 3, so that dashboards built on them go on.
//!
//! Charts are TensorBoard and Weights & Biases. The files that lockstep's commands read keep its own names.

use std::borrow::Cow;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::algorithms::metrics::{EPISODE_LENGTH, EPISODE_RETURN, EPISODES};

/// Whose names metrics have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    #[default]
    Lockstep,
    Puffer,
}

/// Names of lockstep, and PufferLib's.
const PUFFER: [(&str, &str); 18] = [
    ("time/steps_per_second", "SPS"),
    ("time/wall_seconds", "uptime"),
    ("time/train_percent", "performance/train"),
    ("time/evaluate_percent", "performance/eval"),
    ("time/save_percent", "performance/save"),
    ("time/log_percent", "performance/log"),
    ("time/other_percent", "performance/misc"),
    (EPISODE_RETURN, "environment/episode_return"),
    (EPISODE_LENGTH, "environment/episode_length"),
    (EPISODES, "environment/n"),
    ("train/lr", "learning_rate"),
    ("train/pg_loss", "losses/policy_loss"),
    ("train/vf_loss", "losses/value_loss"),
    ("train/entropy", "losses/entropy"),
    ("train/approx_kl", "losses/approx_kl"),
    ("train/clip_frac", "losses/clipfrac"),
    ("train/importance", "losses/importance"),
    ("train/explained_variance", "losses/explained_variance"),
];

impl Naming {
    /// The counters of a row as further metrics, where there are none apart from them.
    pub fn counters<'a>(self, update: u64, timesteps: u64) -> impl Iterator<Item = (Cow<'a, str>, f64)> {
        let counters = [("agent_steps", timesteps), ("epoch", update)];
        let wanted = counters.into_iter().filter(move |_| self == Naming::Puffer);
        wanted.map(|(name, count)| (name.into(), count as f64))
    }

    /// The name of a metric. One that PufferLib does not have keeps its own; an environment's are below `environment/`.
    pub fn name(self, own: &str) -> Cow<'_, str> {
        if self == Naming::Lockstep {
            return own.into();
        }
        if let Some((_, other)) = PUFFER.iter().find(|(known, _)| *known == own) {
            return (*other).into();
        }
        match own.split_once('/') {
            Some(("stats", name)) => format!("environment/{name}").into(),
            Some(("reward" | "actions", _)) => format!("environment/{own}").into(),
            _ => own.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puffers_names_are_those_of_its_dashboards() {
        let puffer = |name: &'static str| Naming::Puffer.name(name).into_owned();
        assert_eq!(puffer("time/steps_per_second"), "SPS");
        assert_eq!(puffer("train/vf_loss"), "losses/value_loss");
        assert_eq!(puffer("stats/perf"), "environment/perf");
        assert_eq!(puffer("reward/kills"), "environment/reward/kills");
        assert_eq!(puffer("eval/mean_return"), "eval/mean_return");
        assert_eq!(Naming::Lockstep.name("train/vf_loss"), "train/vf_loss");
        let mut names: Vec<&str> = PUFFER.iter().map(|(_, name)| *name).collect();
        names.dedup();
        assert_eq!(names.len(), PUFFER.len());
    }
}
