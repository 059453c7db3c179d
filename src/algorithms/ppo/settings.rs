//! The settings of PPO: one definition each, for flags, files, help and the copy in the run directory.

use anyhow::{Result, ensure};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use crate::algorithms::curriculum::{Begins, Curriculum, Goal, Schedule};
use crate::algorithms::gradient::divisor_at_most;
use crate::algorithms::opponents;
use crate::algorithms::recipe::{defaults, divides};
use crate::lang::float;
use crate::lower::Precision;
use crate::nn::{self, Activation, Channels, Convs, Init, Rnn, ValueHead};

use super::choices::{Ends, Floor, NormAdv, ObsStorage, TruncBootstrap};
use super::options::Options;

/// Settings of PPO and its network. The defaults are those of HackMatrix; an environment may bring its own.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "PPO")]
#[group(skip)]
pub struct Settings {
    /// Environments that step in lockstep
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub num_envs: usize,
    /// Steps of each environment per update
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub num_steps: usize,
    /// First states drawn anew for each update, for all episodes that begin in it to start from (on each device); 0 gives each
    /// episode a state of its own. A pool makes resets cheap, but episodes share their starts, so that the gradient is noisier
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub reset_pool: usize,
    /// Train on a curriculum: phases of the environment from an easy game to the full one, which evaluations always play. Alone, or
    /// with "return": the next phase begins when the mean episode return is good enough for 20 updates in a row, or after 300 updates.
    /// With timesteps, such as 10000000,20000000 for the three phases of hackmatrix: when each of them but the first begins
    #[arg(long, value_name = "WHEN", num_args = 0..=1, default_missing_value = "return")]
    #[arg(default_value_t = Curriculum::Off, hide_default_value = true)]
    pub curriculum: Curriculum,
    /// Mean episode returns above which the agent has mastered each phase of a curriculum but the last [default: -1,-1.2]
    #[arg(long, value_name = "X,..", value_delimiter = ',', default_values_t = [-1.0, -1.2], hide_default_value = true)]
    #[arg(allow_hyphen_values = true)]
    pub curriculum_returns: Vec<f64>,
    /// The phase that a new run begins in, from 1; turns on the curriculum
    #[arg(long, value_name = "N")]
    pub curriculum_start_phase: Option<usize>,
    /// Learning rate of Adam
    #[arg(long, value_name = "X", default_value_t = 2.5e-4)]
    pub lr: f64,
    /// What Adam adds to the root of the mean squared gradient before it divides by it: weights whose gradients are smaller
    /// than this move less than others
    #[arg(long, value_name = "X", default_value_t = 1e-8)]
    pub adam_epsilon: f64,
    /// Lower the learning rate linearly to zero over the whole run
    #[arg(long)]
    pub anneal_lr: bool,
    /// Change the learning rate linearly to this one over the whole run
    #[arg(long, value_name = "X")]
    pub lr_final: Option<f64>,
    /// Discount per step
    #[arg(long, value_name = "X", default_value_t = 0.99)]
    pub gamma: f64,
    /// Decay of generalized advantage estimation
    #[arg(long, value_name = "X", default_value_t = 0.95)]
    pub gae_lambda: f64,
    /// Gradient steps per epoch; scaled with large batches unless changed
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub num_minibatches: usize,
    /// Passes over each batch; scaled with large batches
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub update_epochs: usize,
    /// How far the probability ratio may move before its gradient is clipped
    #[arg(long, value_name = "X", default_value_t = 0.2)]
    pub clip_eps: f64,
    /// Change --clip-eps linearly to this one over the whole run
    #[arg(long, value_name = "X")]
    pub clip_eps_final: Option<f64>,
    /// Clip the change of the value as well
    #[arg(long)]
    pub clip_vloss: bool,
    /// Clip the change of the value as well; of the value losses with and without the clip the one counts whose mean over a
    /// minibatch is larger, not the larger one of each sample
    #[arg(long)]
    pub clip_vloss_of_means: bool,
    /// Advantages are normalized over each minibatch, or over the whole batch once
    #[arg(long, value_name = "WHAT", default_value_t = NormAdv::Minibatch, hide_possible_values = true)]
    pub norm_adv: NormAdv,
    /// Weight of the value loss
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub vf_coef: f64,
    /// Weight of the entropy bonus
    #[arg(long, value_name = "X", default_value_t = 0.15)]
    pub ent_coef: f64,
    /// Change --ent-coef linearly to this one over the run, or the part of it that --ent-decay-fraction says
    #[arg(long, value_name = "X")]
    pub ent_coef_final: Option<f64>,
    /// Share of the run after which --ent-coef-final is reached; from then on the entropy floor falls to 0
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub ent_decay_fraction: f64,
    /// Mean entropy, in nats, below which the loss has a penalty
    #[arg(long, value_name = "X")]
    pub entropy_floor: Option<f64>,
    /// The penalty for each nat of entropy that is missing to --entropy-floor
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub entropy_floor_penalty: f64,
    /// Largest global norm of the gradient; inf turns clipping off
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub max_grad_norm: f64,
    /// Clip the gradient of the critic's own layers and that of all others apart, each to --max-grad-norm
    #[arg(long)]
    pub clip_parts: bool,
    /// What the critic's last layer gives: simple (values), or popart: values that are normalized by statistics of their targets
    #[arg(long, value_name = "NAME", default_value_t = ValueHead::Simple, hide_possible_values = true)]
    pub value_head: ValueHead,
    /// Least weight that the targets of an update have in the statistics of PopArt
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub popart_beta_min: f64,
    /// Change the last layer with the statistics of PopArt, so that values stay what they were
    #[arg(long, default_value_t = true, action = ArgAction::SetTrue)]
    pub popart_rescale: bool,
    /// Whether the critic reads privileged observations where there are any
    #[arg(long, default_value_t = true, action = ArgAction::SetTrue)]
    pub privileged_critic: bool,
    /// Units of each hidden layer
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub hidden_dim: usize,
    /// Hidden layers of each trunk
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub num_layers: usize,
    /// Activation of the hidden layers
    #[arg(long, value_name = "NAME", default_value_t = Activation::Relu)]
    pub activation: Activation,
    /// Give the actor and the critic a trunk each
    #[arg(long)]
    pub separate_trunks: bool,
    /// Convolutions in front of the trunks, for observations that are images: the filters of each layer, such as 32,64/2, where /2
    /// is a stride of 2, which halves the image. Kernels are 3 x 3; 32:8 has one of 8 x 8. Zeros lie around the image, but not for
    /// 32v; none for no convolutions where the environment has some
    #[arg(long, value_name = "N,..", default_value_t, hide_default_value = true)]
    pub conv: Convs,
    /// Where the channels of an image stand: last or first
    #[arg(long, value_name = "WHERE", default_value_t = Channels::Last, hide_possible_values = true)]
    pub conv_channels: Channels,
    /// A recurrent cell in front of the trunks, so that the agent remembers: lstm, gru or mingru
    #[arg(long, value_name = "CELL", hide_possible_values = true)]
    pub rnn: Option<Rnn>,
    /// Units of the recurrent cell
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub rnn_dim: usize,
    /// What gradient steps read of observations: exact, or uint8_compat: their whole parts, as a buffer of bytes would keep them
    #[arg(long, value_name = "HOW", default_value_t = ObsStorage::Exact, hide_possible_values = true)]
    pub obs_storage: ObsStorage,
    /// Steps by which the privileged observations that gradient steps read come late: 0 or 1
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub aux_shift: usize,
    /// What comes after an episode that was cut off: final_obs (what was seen last, by its value), or respawn: the next episode, as if
    /// it were the same one
    #[arg(long, value_name = "WHAT", default_value_t = TruncBootstrap::FinalObs, hide_possible_values = true)]
    pub trunc_bootstrap: TruncBootstrap,
    /// Initialization of the weights
    #[arg(long, value_name = "NAME", default_value_t = Init::Lecun)]
    pub init: Init,
    /// How the network's matrix products are computed while training; play is always in f32
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub precision: Precision,
    #[command(flatten)]
    #[serde(flatten)]
    pub options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pub opponents: opponents::Settings,
}

crate::traced! {
    /// Settings that are inputs of the programs, f32 scalars; a switch is 0 or 1.
    Hyper of Settings { lr, adam_epsilon, anneal_lr, gamma, gae_lambda, clip_eps, vf_coef, ent_coef, max_grad_norm }
    and { ends: Ends, floor: Option<Floor> }
}

impl Default for Settings {
    fn default() -> Self {
        defaults()
    }
}

impl Settings {
    /// Environment steps per update.
    pub fn batch_size(&self) -> usize {
        self.num_envs.saturating_mul(self.num_steps)
    }

    /// How the network is built.
    pub fn network(&self) -> nn::Settings {
        let Settings { hidden_dim, num_layers, activation, separate_trunks, init, .. } = *self;
        let Settings { conv_channels, rnn, rnn_dim, privileged_critic, value_head, .. } = *self;
        let conv = self.conv.0.clone();
        nn::Settings {
            hidden_dim,
            num_layers,
            activation,
            separate_trunks,
            init,
            conv,
            conv_channels,
            rnn,
            rnn_dim,
            privileged_critic,
            value_head,
        }
    }

    /// The schedule of the curriculum, if there is one.
    pub fn schedule(&self) -> Option<Schedule> {
        let update = |steps: &u64| steps.div_ceil(self.batch_size() as u64);
        let begins = match &self.curriculum {
            Curriculum::Off if self.curriculum_start_phase.is_none() => return None,
            Curriculum::Off | Curriculum::Return => {
                Begins::Goals(self.curriculum_returns.iter().map(|&above| Goal::mastering(above)).collect())
            }
            Curriculum::At(timesteps) => Begins::Updates(timesteps.iter().map(update).collect()),
        };
        Some(Schedule { first: self.curriculum_start_phase.unwrap_or(1), begins })
    }

    /// Rows of the batch per gradient step.
    pub fn minibatch_size(&self) -> usize {
        self.batch_size() / self.num_minibatches
    }

    /// Passes over the batch, of which the last one may be broken off.
    pub fn passes(&self) -> usize {
        self.options.replay_ratio.map_or(self.update_epochs, |passes| (passes.ceil() as usize).max(1))
    }

    /// Gradient steps per update.
    pub fn gradient_steps(&self) -> usize {
        let whole = self.num_minibatches * self.update_epochs;
        let part = |passes: f64| ((passes * self.num_minibatches as f64) as usize).max(1);
        self.options.replay_ratio.map_or(whole, part)
    }

    /// Whether minibatches are made of whole environments.
    pub fn keeps_environments_whole(&self) -> bool {
        self.rnn.is_some() || self.options.in_segments()
    }

    /// Checks each setting by itself.
    ///
    /// # Errors
    /// One line that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        self.opponents.check()?;
        self.options.check()?;
        let segments = self.options.in_segments();
        ensure!(
            !segments || self.value_head == ValueHead::Simple,
            "value_head is popart, whose values change with their statistics; V-trace, priorities and value_update need simple"
        );
        ensure!(
            !segments || self.norm_adv == NormAdv::Minibatch,
            "norm_adv is batch; V-trace, priorities and value_update estimate advantages for each minibatch"
        );
        check_size("num_envs", self.num_envs, 1 << 22)?;
        check_size("num_steps", self.num_steps, 1 << 20)?;
        check_size("num_minibatches", self.num_minibatches, 1 << 20)?;
        check_size("update_epochs", self.update_epochs, 1000)?;
        check_size("hidden_dim", self.hidden_dim, 1 << 15)?; // a layer has at most 2^30 weights, 4 GB
        check_size("num_layers", self.num_layers, 64)?;
        check_size("rnn_dim", self.rnn_dim, 1 << 14)?; // so has a cell, of at most four gates
        let layers = self.conv.0.len();
        ensure!(layers <= 16, "conv has {layers} layers; it must have at most 16");
        ensure!(
            self.reset_pool <= 1 << 20,
            "reset_pool is {}; it must be from 0 to {}",
            self.reset_pool,
            1 << 20
        );
        if let Curriculum::At(timesteps) = &self.curriculum {
            ensure!(
                timesteps.is_sorted() && timesteps.iter().all(|&steps| i64::try_from(steps).is_ok()),
                "curriculum is {timesteps:?}; each phase must begin after the one before it"
            );
        }
        ensure!(
            self.curriculum_returns.iter().all(|value| value.is_finite()),
            "curriculum_returns is {:?}; these must be finite numbers",
            self.curriculum_returns
        );
        let batch = self.batch_size();
        ensure!(
            batch <= 1 << 30,
            "num_envs x num_steps is {batch}, more than {} steps per update; lower one of them",
            1 << 30
        );
        // Metrics are 32-bit floats, and the timesteps of an update are one of them.
        ensure!(
            batch as f32 as usize == batch,
            "num_envs x num_steps is {batch}; so many steps per update must be a multiple of 64"
        );
        check_positive("lr", self.lr)?;
        check_positive("adam_epsilon", self.adam_epsilon)?;
        check_unit("gamma", self.gamma)?;
        check_unit("gae_lambda", self.gae_lambda)?;
        check_positive("clip_eps", self.clip_eps)?;
        check_weight("vf_coef", self.vf_coef)?;
        check_weight("ent_coef", self.ent_coef)?;
        self.check_schedules()?;
        check_unit("popart_beta_min", self.popart_beta_min)?;
        ensure!(self.aux_shift <= 1, "aux_shift is {}; it must be 0 or 1", self.aux_shift);
        let norm = self.max_grad_norm;
        ensure!(norm > 0.0, "max_grad_norm is {norm}; it must be above 0 (inf turns clipping off)");
        Ok(())
    }

    /// What changes over a run in the end, in a trace.
    #[track_caller]
    fn ends(&self) -> Ends {
        Ends {
            lr: self.lr_final.map(float),
            clip_eps: self.clip_eps_final.map(float),
            ent_coef: self.ent_coef_final.map(float),
        }
    }

    /// The entropy floor at the start, in a trace.
    #[track_caller]
    fn floor(&self) -> Option<Floor> {
        let entropy = float(self.entropy_floor?);
        Some(Floor { entropy, penalty: float(self.entropy_floor_penalty) })
    }

    fn check_schedules(&self) -> Result<()> {
        let optional = |check: fn(&str, f64) -> Result<()>, name, value: Option<f64>| {
            value.map_or(Ok(()), |value| check(name, value))
        };
        optional(check_positive, "lr_final", self.lr_final)?;
        optional(check_positive, "clip_eps_final", self.clip_eps_final)?;
        optional(check_weight, "ent_coef_final", self.ent_coef_final)?;
        optional(check_weight, "entropy_floor", self.entropy_floor)?;
        check_weight("entropy_floor_penalty", self.entropy_floor_penalty)?;
        check_positive("ent_decay_fraction", self.ent_decay_fraction)?;
        check_unit("ent_decay_fraction", self.ent_decay_fraction)?;
        ensure!(
            !self.anneal_lr || self.lr_final.is_none(),
            "anneal_lr lowers the learning rate to 0, lr_final to {}; leave one of them out",
            self.lr_final.unwrap_or(0.0)
        );
        Ok(())
    }

    /// Whether what an update does depends on the length of the whole run.
    pub(super) fn depends_on_length(&self) -> bool {
        let ends = [self.lr_final, self.clip_eps_final, self.ent_coef_final];
        let floor_falls = self.entropy_floor.is_some() && self.ent_decay_fraction < 1.0;
        self.anneal_lr || floor_falls || ends.iter().any(Option::is_some)
    }

    /// Checks that so many devices can share the environments and each its part of every minibatch.
    ///
    /// # Errors
    /// One line with the numbers.
    pub fn check_devices(&self, num_devices: usize) -> Result<()> {
        let Settings { num_envs, num_minibatches, .. } = *self;
        divides("num_envs", num_envs, num_devices)?;
        let (rows, what) = match self.keeps_environments_whole() {
            false => (self.batch_size() / num_devices, "steps"),
            true => (num_envs / num_devices, WHOLE),
        };
        ensure!(
            rows.is_multiple_of(num_minibatches),
            "num_minibatches = {num_minibatches} does not divide the {rows} {what} of each of {num_devices} devices"
        );
        Ok(())
    }

    /// Checks that the minibatches divide the batch evenly.
    ///
    /// # Errors
    /// One line with the numbers and the nearest number of minibatches that works.
    pub fn check_minibatches(&self) -> Result<()> {
        self.check_whole_minibatches()?;
        let (count, parts) = (self.num_minibatches, self.options.accumulate);
        let (rows, what) = match self.keeps_environments_whole() {
            false => (self.batch_size() / count, "steps"),
            true => (self.num_envs / count, WHOLE),
        };
        ensure!(
            rows.is_multiple_of(parts),
            "accumulate = {parts} does not divide the {rows} {what} of a minibatch; use accumulate = {}",
            nearest_divisors(rows, parts)
        );
        Ok(())
    }

    fn check_whole_minibatches(&self) -> Result<()> {
        if self.keeps_environments_whole() && !self.num_envs.is_multiple_of(self.num_minibatches) {
            let (envs, count) = (self.num_envs, self.num_minibatches);
            let nearest = nearest_divisors(envs, count);
            anyhow::bail!(
                "num_minibatches = {count} does not divide num_envs = {envs}, and with {} a minibatch is made of whole \
                 environments; use num_minibatches = {nearest}",
                if self.rnn.is_some() { "--rnn" } else { "the V-trace, priorities or values of its options" }
            )
        }
        let (batch, count) = (self.batch_size(), self.num_minibatches);
        if batch.is_multiple_of(count) {
            return Ok(());
        }
        let (envs, steps) = (self.num_envs, self.num_steps);
        let nearest = nearest_divisors(batch, count);
        anyhow::bail!(
            "num_minibatches = {count} does not divide num_envs x num_steps = {envs} x {steps} = {batch}; \
             use num_minibatches = {nearest}"
        )
    }
}

/// What minibatches are made of if not of steps.
const WHOLE: &str = "environments, which a minibatch keeps whole,";

/// The divisors of `n` next to `near`, in words: `2 or 4`.
fn nearest_divisors(n: usize, near: usize) -> String {
    let below = divisor_at_most(n, near);
    match (near..=n).find(|d| n.is_multiple_of(*d)) {
        Some(above) => format!("{below} or {above}"),
        None => below.to_string(),
    }
}

fn check_size(name: &str, value: usize, max: usize) -> Result<()> {
    ensure!((1..=max).contains(&value), "{name} is {value}; it must be from 1 to {max}");
    Ok(())
}

fn check_positive(name: &str, value: f64) -> Result<()> {
    ensure!(value > 0.0 && value.is_finite(), "{name} is {value}; it must be a finite number above 0");
    Ok(())
}

fn check_unit(name: &str, value: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&value), "{name} is {value}; it must be from 0 to 1");
    Ok(())
}

fn check_weight(name: &str, value: f64) -> Result<()> {
    ensure!(value >= 0.0 && value.is_finite(), "{name} is {value}; it must be a finite number, 0 or above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_specification_and_pass() {
        let settings = Settings::default();
        assert_eq!((settings.num_envs, settings.num_steps), (256, 128));
        assert_eq!((settings.num_minibatches, settings.update_epochs), (4, 4));
        assert_eq!((settings.lr, settings.ent_coef, settings.max_grad_norm), (2.5e-4, 0.15, 0.5));
        assert_eq!((settings.hidden_dim, settings.num_layers), (256, 2));
        assert_eq!(settings.adam_epsilon, 1e-8);
        assert!(!settings.anneal_lr && !settings.clip_vloss && !settings.separate_trunks);
        settings.check().unwrap();
        settings.check_minibatches().unwrap();
        assert_eq!(settings.minibatch_size(), 8192);
    }

    /// What `check` says about the defaults with one change.
    fn complaint(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().and_then(|()| settings.check_minibatches()).unwrap_err().to_string()
    }

    #[test]
    fn every_bad_value_is_named() {
        assert_eq!(complaint(|s| s.num_envs = 0), "num_envs is 0; it must be from 1 to 4194304");
        assert!(complaint(|s| s.num_steps = usize::MAX).starts_with("num_steps is 18446744073709551615;"));
        assert!(complaint(|s| s.num_layers = 65).contains("from 1 to 64"));
        assert!(
            complaint(|s| (s.num_envs, s.num_steps) = (1 << 20, 1 << 12)).contains("num_envs x num_steps")
        );
        assert!(complaint(|s| s.lr = 0.0).starts_with("lr is 0;"));
        assert!(complaint(|s| s.adam_epsilon = 0.0).starts_with("adam_epsilon is 0;"));
        assert!(complaint(|s| s.lr = f64::NAN).starts_with("lr is NaN;"));
        assert!(complaint(|s| s.gamma = 1.01).contains("from 0 to 1"));
        assert!(complaint(|s| s.gae_lambda = f64::NAN).contains("gae_lambda is NaN"));
        assert!(complaint(|s| s.ent_coef = -0.1).contains("ent_coef is -0.1"));
        assert!(complaint(|s| s.clip_eps = f64::INFINITY).contains("clip_eps is inf"));
        assert!(complaint(|s| s.max_grad_norm = 0.0).contains("max_grad_norm"));
        assert!(complaint(|s| s.lr_final = Some(0.0)).starts_with("lr_final is 0;"));
        assert!(complaint(|s| s.clip_eps_final = Some(-1.0)).starts_with("clip_eps_final is -1;"));
        assert!(complaint(|s| s.ent_coef_final = Some(f64::NAN)).starts_with("ent_coef_final is NaN;"));
        assert!(complaint(|s| s.ent_decay_fraction = 1.5).starts_with("ent_decay_fraction is 1.5;"));
        assert!(complaint(|s| s.entropy_floor = Some(-0.5)).starts_with("entropy_floor is -0.5;"));
        assert!(complaint(|s| s.options.reward_clamp = Some(0.0)).starts_with("reward_clamp is 0;"));
        assert!(complaint(|s| s.options.target_kl = Some(f64::NAN)).starts_with("target_kl is NaN;"));
        assert!(complaint(|s| s.options.momentum = 1.0).starts_with("momentum is 1;"));
        assert!(complaint(|s| s.options.accumulate = 0).starts_with("accumulate is 0;"));
        assert_eq!(
            complaint(|s| s.options.accumulate = 3),
            "accumulate = 3 does not divide the 8192 steps of a minibatch; use accumulate = 2 or 4"
        );
        assert!(complaint(|s| s.popart_beta_min = 2.0).starts_with("popart_beta_min is 2;"));
        assert_eq!(
            complaint(|s| (s.anneal_lr, s.lr_final) = (true, Some(1e-4))),
            "anneal_lr lowers the learning rate to 0, lr_final to 0.0001; leave one of them out"
        );
    }

    #[test]
    fn an_uneven_batch_names_the_numbers_that_would_work() {
        let message = complaint(|s| (s.num_envs, s.num_steps, s.num_minibatches) = (10, 10, 3));
        assert_eq!(
            message,
            "num_minibatches = 3 does not divide num_envs x num_steps = 10 x 10 = 100; use num_minibatches = 2 or 4"
        );
        let message = complaint(|s| (s.num_envs, s.num_steps, s.num_minibatches) = (4, 2, 20));
        assert!(message.ends_with("use num_minibatches = 8"), "{message}");
    }
}
