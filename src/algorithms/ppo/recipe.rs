//! PPO for the command line: its entry in the table of algorithms.

use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use crate::algorithms::count::thousands;
use crate::algorithms::curriculum::Curriculum;
use crate::algorithms::metrics::Metric;
use crate::algorithms::{self, learner, opponents};
use crate::envs::{AnyEnv, Open, Replay, phases};
use crate::nn::ValueHead;
use crate::runtime::DeviceKind;

use super::{Ppo, Settings, auto_scale, auto_tune, golden};

/// How PPO is made from its settings.
pub enum Recipe {}

impl algorithms::Recipe for Recipe {
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
        "value_head",
        "privileged_critic",
        "curriculum_start_phase",
        "opponent",
        "max_frozen_agents",
    ];
    const TRACED: &'static [&'static str] = Settings::TRACED;

    const UNSCALED: &'static [&'static str] = &["num_minibatches"];

    const PRESETS: &'static [(&'static str, &'static str)] = &[("puffer", include_str!("puffer.toml"))];

    fn num_envs(settings: &Settings) -> usize {
        settings.num_envs
    }

    fn check(settings: &Settings) -> Result<()> {
        settings.check()
    }

    fn check_sizes(settings: &Settings) -> Result<()> {
        settings.check_minibatches()
    }

    fn check_devices(settings: &Settings, num_devices: usize) -> Result<()> {
        settings.check_devices(num_devices)
    }

    fn scale(settings: &Settings) -> Settings {
        auto_scale(settings)
    }

    fn tune(settings: &Settings, device: DeviceKind, num_devices: usize) -> Settings {
        auto_tune(settings, device, num_devices)
    }

    fn sizes(settings: &Settings) -> String {
        let (batch, minibatch) = (settings.batch_size() as u64, settings.minibatch_size() as u64);
        format!(
            "batch {}, minibatch {}, {} gradient steps per update",
            thousands(batch),
            thousands(minibatch),
            settings.gradient_steps()
        )
    }

    fn depends_on_length(settings: &Settings) -> bool {
        settings.depends_on_length()
    }

    fn make(settings: Settings, env: Rc<dyn AnyEnv>) -> Result<Ppo> {
        if let Some(schedule) = settings.schedule() {
            schedule.check(&*env)?;
        }
        Ppo::new(settings, env)
    }

    fn golden(file: &Path, open: Open) -> Result<Option<Replay>> {
        golden::open(file, open)
    }

    /// Those of a curriculum are among them where an environment has one.
    fn metrics(env: Rc<dyn AnyEnv>) -> Result<Vec<Metric>> {
        let count = phases(&*env).len();
        let curriculum = if count == 0 { Curriculum::Off } else { Curriculum::Return };
        let curriculum_returns = vec![0.0; count.saturating_sub(1)];
        let opponents = opponents::Settings::with_all_metrics(&*env);
        let settings = Settings {
            curriculum,
            curriculum_returns,
            opponents,
            clip_eps_final: Some(0.1),
            ent_coef_final: Some(0.0),
            entropy_floor: Some(0.0),
            value_head: ValueHead::Popart,
            ..Settings::default()
        };
        learner::metrics(&Self::make(settings, env)?)
    }
}
