//! DQN for the command line: its entry in the table of algorithms.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, bail, ensure};
use toml::{Table, Value};

use crate::algorithms::dialect::Dialect;
use crate::algorithms::metrics::Metric;
use crate::algorithms::policy::{Actor, Choice, Metadata, Policy, check_sizes, in_order};
use crate::algorithms::{self, NamedArrays, learner, opponents};
use crate::envs::{AnyEnv, EnvSpec, Open, Replay};
use crate::nn::{QNetwork, QSettings};

use super::actor::QActor;
use super::{Dqn, Settings, golden};

/// The settings that parameters of documents come to. Images are read by two convolutions; all metrics are computed always.
fn documented(params: &Table, env: &EnvSpec) -> Result<Table> {
    let detailed = params.get("compute_detailed_metrics");
    ensure!(
        detailed.is_none_or(Value::is_bool),
        "compute_detailed_metrics is {}; it must be true or false",
        detailed.map_or(String::new(), Value::to_string)
    );
    let dueling = match params.get("network_type") {
        None => false,
        Some(Value::String(name)) if name == "dqn" => false,
        Some(Value::String(name)) if name == "dueling_dqn" => true,
        Some(other) => bail!("network_type is {other}; it must be \"dqn\" or \"dueling_dqn\""),
    };
    let mut settings = Table::new();
    settings.insert("dueling".to_owned(), dueling.into());
    if env.obs_shape.len() == 3 {
        settings.insert("conv".to_owned(), Value::from(vec!["64", "128"]));
        settings.insert("conv_channels".to_owned(), "first".into());
    }
    Ok(settings)
}

/// How DQN is made from its settings.
pub enum Recipe {}

impl algorithms::Recipe for Recipe {
    type Settings = Settings;
    type Algorithm = Dqn;

    const NAME: &'static str = "dqn";
    const SUMMARY: &'static str =
        "deep Q-learning with a replay (Mnih et al. 2015), double, and dueling if wanted";
    const FIXED: &'static [&'static str] = &[
        "num_envs",
        "replay_size",
        "n_step",
        "twin_q",
        "prioritized",
        "dueling",
        "dueling_dim",
        "conv",
        "conv_channels",
        "hidden_dim",
        "num_layers",
        "activation",
        "init",
        "opponent",
        "max_frozen_agents",
    ];
    const TRACED: &'static [&'static str] = Settings::TRACED;

    const PARAMS: &'static str = "online.first";

    const DIALECT: Dialect = Dialect {
        names: &[
            ("learning_rate", "lr"),
            ("discount_factor", "gamma"),
            ("replay_buffer_size", "replay_size"),
            ("grad_clip_norm", "max_grad_norm"),
            ("use_per", "prioritized"),
            ("use_twin_q", "twin_q"),
        ],
        others: &["network_type", "compute_detailed_metrics"],
        settings: documented,
    };

    fn num_envs(settings: &Settings) -> usize {
        settings.num_envs
    }

    fn check(settings: &Settings) -> Result<()> {
        settings.check()
    }

    fn check_sizes(settings: &Settings) -> Result<()> {
        settings.check_sizes()
    }

    // Its steps have little to share: a batch is small, and its sum is waited for after each of them (`BENCHMARKS.md`).
    const SHARED_BY_CORES: bool = false;

    fn check_devices(settings: &Settings, num_devices: usize) -> Result<()> {
        settings.check_devices(num_devices)
    }

    fn depends_on_length(settings: &Settings) -> bool {
        settings.anneal_lr
    }

    fn make(settings: Settings, env: Rc<dyn AnyEnv>) -> Result<Dqn> {
        Dqn::new(settings, env)
    }

    /// Those of opponents are among them where an environment can have some.
    fn metrics(env: Rc<dyn AnyEnv>) -> Result<Vec<Metric>> {
        let opponents = opponents::Settings::with_all_metrics(&*env);
        learner::metrics(&Dqn::new(Settings { opponents, ..Settings::default() }, env)?)
    }

    fn golden(file: &Path, open: Open) -> Result<Option<Replay>> {
        golden::open(file, open)
    }

    fn policy(params: NamedArrays, metadata: &Metadata, choice: Choice, spec: &EnvSpec) -> Result<Policy> {
        check_sizes(metadata, spec)?;
        let network = QNetwork::new(QSettings::from_metadata(metadata)?, spec)?;
        let actor = QActor::new(network);
        let params = in_order(&actor.params(), params)?;
        Ok(Policy::new(Rc::new(actor), params, choice))
    }
}
