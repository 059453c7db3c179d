//! Values that settings of PPO can have beside numbers.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::lang::Float;

/// Over what advantages are normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormAdv {
    Minibatch,
    Batch,
}

impl fmt::Display for NormAdv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NormAdv::Minibatch => "minibatch",
            NormAdv::Batch => "batch",
        })
    }
}

/// What gradient steps read of observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ObsStorage {
    Exact,
    #[value(name = "uint8_compat")]
    #[serde(rename = "uint8_compat")]
    Uint8Compat,
}

impl fmt::Display for ObsStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObsStorage::Exact => "exact",
            ObsStorage::Uint8Compat => "uint8_compat",
        })
    }
}

/// What comes after an episode that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum TruncBootstrap {
    FinalObs,
    Respawn,
}

impl fmt::Display for TruncBootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TruncBootstrap::FinalObs => "final_obs",
            TruncBootstrap::Respawn => "respawn",
        })
    }
}

/// The values at the end of the run of what changes until then, f32 scalars.
#[derive(Clone, Copy)]
pub struct Ends {
    pub lr: Option<Float>,
    pub clip_eps: Option<Float>,
    pub ent_coef: Option<Float>,
}
crate::tree!(Ends { lr, clip_eps, ent_coef });

/// A mean entropy (nats) below which the loss grows with what is missing to it, times the penalty: f32 scalars.
#[derive(Clone, Copy)]
pub struct Floor {
    pub entropy: Float,
    pub penalty: Float,
}
crate::tree!(Floor { entropy, penalty });
