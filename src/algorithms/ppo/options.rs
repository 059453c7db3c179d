//! Parts of PPO that other trainers have and lockstep's own recipe does not, most of them PufferLib's. Each is off by default, and then the
//! traced program is the same as without it.

use std::fmt;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::lang::Float;

/// The settings of these parts.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "PPO, more")]
#[group(skip)]
pub struct Options {
    /// Settings that go together: puffer for those of PufferLib 3 and 4; whatever else is said counts more
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pub preset: Option<Preset>,
    /// Learn from rewards clamped to -X..X; returns are reported as they are
    #[arg(long, value_name = "X")]
    pub reward_clamp: Option<f64>,
    /// How the numbers change that change over the run: linear, or cosine: slowly at both ends, by half a cosine
    #[arg(long, value_name = "FORM", default_value_t = Form::Linear, hide_possible_values = true)]
    pub schedule: Form,
    /// No more gradient steps in an update once the approx_kl of a minibatch is above this
    #[arg(long, value_name = "X")]
    pub target_kl: Option<f64>,
    /// Parts of a minibatch that are worked on one after the other: the memory falls, and the gradient is still that of all of it
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub accumulate: usize,
    /// Gradient steps of an update as passes over the batch, which need not be whole, in the place of --update-epochs
    #[arg(long, value_name = "X")]
    pub replay_ratio: Option<f64>,
    /// Estimate the advantages again before each gradient step by V-trace: an action counts by how much more probable it has become,
    /// but at most X
    #[arg(long, value_name = "X")]
    pub vtrace_rho: Option<f64>,
    /// As --vtrace-rho, for how much of what comes after an action counts
    #[arg(long, value_name = "X")]
    pub vtrace_c: Option<f64>,
    /// Draw the environments of a minibatch by the sum of their absolute advantages to the power of X
    #[arg(long, value_name = "X")]
    pub prio_alpha: Option<f64>,
    /// How much of that is made good for by weights at the start of the run, from 0 to 1; it grows until the end
    #[arg(long, value_name = "X", default_value_t = 0.2)]
    pub prio_beta: f64,
    /// Let gradient steps put what they think of a state's value in the place of what the rollout thought
    #[arg(long)]
    pub value_update: bool,
    /// What makes steps of gradients: adam, or muon: momentum whose matrices are made orthogonal, which needs a larger --lr (0.015)
    #[arg(long, value_name = "NAME", default_value_t = Optimizer::Adam, hide_possible_values = true)]
    pub optimizer: Optimizer,
    /// How much of the last momentum is left in each step of muon
    #[arg(long, value_name = "X", default_value_t = 0.95)]
    pub momentum: f64,
}

/// Settings that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    Puffer,
}

/// How numbers change over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    Linear,
    Cosine,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Linear => "linear",
            Form::Cosine => "cosine",
        })
    }
}

impl Form {
    /// The share of its way that a number has gone when this share of the run is done, f32 scalars.
    #[track_caller]
    pub fn share(self, done: Float) -> Float {
        match self {
            Form::Linear => done,
            Form::Cosine => 0.5 - 0.5 * (done * std::f64::consts::PI).cos(),
        }
    }
}

/// What makes steps of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    Adam,
    Muon,
}

impl fmt::Display for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Optimizer::Adam => "adam",
            Optimizer::Muon => "muon",
        })
    }
}

impl Options {
    /// Whether gradient steps look at the rollout anew, in segments.
    pub fn in_segments(&self) -> bool {
        self.has_vtrace() || self.prio_alpha.is_some() || self.value_update
    }

    /// Whether advantages are estimated by how probable actions have become.
    pub fn has_vtrace(&self) -> bool {
        self.vtrace_rho.is_some() || self.vtrace_c.is_some()
    }

    /// Checks each setting by itself.
    ///
    /// # Errors
    /// One line that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        let above_zero = |name: &str, value: Option<f64>| {
            let value = value.unwrap_or(1.0);
            ensure!(
                value > 0.0 && value.is_finite(),
                "{name} is {value}; it must be a finite number above 0"
            );
            Ok(())
        };
        above_zero("reward_clamp", self.reward_clamp)?;
        above_zero("target_kl", self.target_kl)?;
        let (parts, momentum) = (self.accumulate, self.momentum);
        ensure!((1..=1 << 20).contains(&parts), "accumulate is {parts}; it must be from 1 to {}", 1 << 20);
        ensure!((0.0..1.0).contains(&momentum), "momentum is {momentum}; it must be from 0 to below 1");
        above_zero("vtrace_rho", self.vtrace_rho)?;
        above_zero("vtrace_c", self.vtrace_c)?;
        above_zero("replay_ratio", self.replay_ratio)?;
        let passes = self.replay_ratio.unwrap_or(1.0);
        ensure!(passes <= 1000.0, "replay_ratio is {passes}; it must be at most 1000");
        let (alpha, beta) = (self.prio_alpha.unwrap_or(0.0), self.prio_beta);
        ensure!((0.0..=10.0).contains(&alpha), "prio_alpha is {alpha}; it must be from 0 to 10");
        ensure!((0.0..=1.0).contains(&beta), "prio_beta is {beta}; it must be from 0 to 1");
        Ok(())
    }
}
