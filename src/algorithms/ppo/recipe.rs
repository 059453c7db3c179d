//! PPO for the command line: its entry in the table of algorithms.

use std::rc::Rc;

use anyhow::Result;

use crate::algorithms::curriculum::Curriculum;
use crate::algorithms::metrics::Metric;
use crate::algorithms::{learner, registry};
use crate::envs::{AnyEnv, phases};
use crate::runtime::DeviceKind;

use super::{Ppo, Settings, auto_scale, auto_tune};

/// The metrics of PPO in an environment, those of a curriculum included where there is one: for those who only want to
/// know which there are.
pub fn metrics_in(env: Rc<dyn AnyEnv>) -> Vec<Metric> {
    let count = phases(&*env).len();
    let curriculum = if count == 0 { Curriculum::Off } else { Curriculum::Return };
    let curriculum_returns = vec![0.0; count.saturating_sub(1)];
    let settings = Settings { curriculum, curriculum_returns, ..Settings::default() };
    Ppo::new(settings, env)
        .and_then(|ppo| learner::metrics(&ppo))
        .expect("a return for each phase but the last is a curriculum")
}

/// How PPO is made from its settings.
pub enum Recipe {}

impl registry::Recipe for Recipe {
    type Settings = Settings;
    type Algorithm = Ppo;

    const NAME: &'static str = "ppo";
    const SUMMARY: &'static str = "proximal policy optimization (Schulman et al. 2017)";
    const FIXED: &'static [&'static str] = &[
        "num_envs",
        "num_steps",
        "hidden_dim",
        "num_layers",
        "activation",
        "separate_trunks",
        "conv",
        "conv_channels",
        "rnn",
        "rnn_dim",
        "init",
        "curriculum_start_phase",
    ];
    const TRACED: &'static [&'static str] = Settings::TRACED;

    fn check(settings: &Settings) -> Result<()> {
        settings.check()
    }

    fn check_sizes(settings: &Settings) -> Result<()> {
        settings.check_minibatches()
    }

    fn scale(settings: &Settings) -> Settings {
        auto_scale(settings)
    }

    fn tune(settings: &Settings, device: DeviceKind, num_devices: usize) -> Settings {
        auto_tune(settings, device, num_devices)
    }

    fn make(settings: Settings, env: Rc<dyn AnyEnv>) -> Result<Ppo> {
        Ppo::new(settings, env)
    }
}
