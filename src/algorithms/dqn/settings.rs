//! The settings of DQN: one definition each, for flags, files, help and the copy in the run directory.

use std::fmt;

use anyhow::{Result, ensure};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::algorithms::opponents;
use crate::algorithms::recipe::divides;
use crate::algorithms::schedule::{Rates, crossed, decayed, exponential};
use crate::lang::{Float, Int, float, int_u64};
use crate::lower::Precision;
use crate::nn::{Activation, Channels, Convs, Init, QSettings};

/// After what the exploration is lowered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Each step of an environment
    #[default]
    Step,
    /// Each episode
    Episode,
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Every::Step => "step",
            Every::Episode => "episode",
        })
    }
}

/// Settings of DQN and its network.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "DQN")]
#[group(skip)]
pub struct Settings {
    /// Environments that step in lockstep
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub num_envs: usize,
    /// Steps of each environment per update, which is a row of the logs; gradient steps follow each of them
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub num_steps: usize,
    /// Gradient steps after each step of the environments
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub updates_per_step: usize,
    /// Transitions in the replay before learning begins; at least batch_size
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub learning_starts: usize,
    /// Transitions per gradient step
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch_size: usize,
    /// Transitions that the replay holds, rounded down to a multiple of num_envs
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub replay_size: usize,
    /// Learning rate of Adam
    #[arg(long, value_name = "X", default_value_t = 1e-3)]
    pub lr: f64,
    /// Steps after which the learning rate is multiplied by lr_decay; 0 leaves it as it is
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub lr_decay_interval: usize,
    /// Factor of the learning rate
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    pub lr_decay: f64,
    /// The lowest learning rate
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub lr_min: f64,
    /// Lower the learning rate linearly to zero over the whole run as well
    #[arg(long)]
    pub anneal_lr: bool,
    /// Discount per step
    #[arg(long, value_name = "X", default_value_t = 0.99)]
    pub gamma: f64,
    /// Probability of a random action, at first
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub epsilon: f64,
    /// Factor of this probability
    #[arg(long, value_name = "X", default_value_t = 0.995)]
    pub epsilon_decay: f64,
    /// The lowest probability of a random action
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub epsilon_min: f64,
    /// After what the probability is multiplied by its factor
    #[arg(long, value_name = "WHAT", default_value_t = Every::Step)]
    pub epsilon_every: Every,
    /// Take the best action always, while learning goes on; the probability above is lowered, but nobody acts by it
    #[arg(long)]
    pub greedy: bool,
    /// Learn from half of the transitions as they are in the mirror, in an environment that is the same there
    #[arg(long)]
    pub augment: bool,
    /// Steps after which the target network becomes as the online one; 0 leaves it as it was at first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub target_update_freq: usize,
    /// Move the target network towards the online one instead
    #[arg(long)]
    pub soft_update: bool,
    /// The share of the way that it moves
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub tau: f64,
    /// Keep targets between this number and its negative
    #[arg(long, value_name = "X")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_q_clip: Option<f64>,
    /// Errors above this count in proportion, not by their square, so that a few large ones do not decide; inf squares all. Where
    /// actions are worth much more than this, the rare transitions that end an episode count too little
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub huber_delta: f64,
    /// Largest global norm of the gradient; inf turns clipping off
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub max_grad_norm: f64,
    /// Steps that a transition leads over
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub n_step: usize,
    /// Learn a second network; the lower estimate of the two counts
    #[arg(long)]
    pub twin_q: bool,
    /// Draw transitions by priority: how wrong the network was about them
    #[arg(long)]
    pub prioritized: bool,
    /// Power of the priorities; 0 draws uniformly
    #[arg(long, value_name = "X", default_value_t = 0.6)]
    pub per_alpha: f64,
    /// To what degree the loss makes up for the priorities, at first
    #[arg(long, value_name = "X", default_value_t = 0.4)]
    pub per_beta_start: f64,
    /// Gradient steps until it makes up for them in full
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub per_beta_frames: usize,
    /// Added to every priority
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    pub per_eps: f64,
    /// Give the network a value of the situation and advantages of the actions
    #[arg(long)]
    pub dueling: bool,
    /// Units of the hidden layer that each of these two has for itself; 0 for none
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub dueling_dim: usize,
    /// Convolutions of 3 x 3 over observations that are images: the filters of each, such as 32,64; 32/2 has stride 2, 32:8 a kernel
    /// of 8 x 8, 32v no zeros around the image; none for no convolutions where the environment has some
    #[arg(long, value_name = "N,..", default_value_t, hide_default_value = true)]
    pub conv: Convs,
    /// Where the channels of an image stand
    #[arg(long, value_name = "WHERE", default_value_t = Channels::Last)]
    pub conv_channels: Channels,
    /// Units of each hidden layer
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub hidden_dim: usize,
    /// Hidden layers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub num_layers: usize,
    /// Activation of the hidden layers
    #[arg(long, value_name = "NAME", default_value_t = Activation::Relu)]
    pub activation: Activation,
    /// Initialization of the weights
    #[arg(long, value_name = "NAME", default_value_t = Init::Uniform)]
    pub init: Init,
    /// How the network's matrix products are computed while training; play is always in f32
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub precision: Precision,
    #[command(flatten)]
    #[serde(flatten)]
    pub opponents: opponents::Settings,
}

/// Settings that are inputs of the programs, f32 scalars.
#[derive(Clone, Copy)]
pub struct Hyper {
    pub lr: Float,
    /// The logarithms of factors, in which those next to 1 keep their digits.
    pub ln_lr_decay: Float,
    pub lr_min: Float,
    /// 0 or 1
    pub anneal_lr: Float,
    pub gamma: Float,
    pub epsilon: Float,
    pub ln_epsilon_decay: Float,
    pub epsilon_min: Float,
    pub tau: Float,
    pub huber_delta: Float,
    pub max_grad_norm: Float,
    pub per_alpha: Float,
    pub per_beta_start: Float,
}
crate::tree!(Hyper {
    lr,
    ln_lr_decay,
    lr_min,
    anneal_lr,
    gamma,
    epsilon,
    ln_epsilon_decay,
    epsilon_min,
    tau,
    huber_delta,
    max_grad_norm,
    per_alpha,
    per_beta_start
});

/// The defaults of the flags, so that each stands in one place only.
impl Default for Settings {
    fn default() -> Self {
        let command = Self::augment_args(Command::new("defaults").no_binary_name(true));
        Self::from_arg_matches(&command.get_matches_from([""; 0])).expect("every setting has a default")
    }
}

impl Settings {
    /// The names of the settings that are traced: two agents that differ in them alone share a program.
    pub const TRACED: &'static [&'static str] = &[
        "lr",
        "lr_decay",
        "lr_min",
        "anneal_lr",
        "gamma",
        "epsilon",
        "epsilon_decay",
        "epsilon_min",
        "tau",
        "huber_delta",
        "max_grad_norm",
        "per_alpha",
        "per_beta_start",
    ];

    /// The values of the traced settings, in a trace.
    #[track_caller]
    pub fn hyper(&self) -> Hyper {
        Hyper {
            lr: float(self.lr),
            ln_lr_decay: float(self.lr_decay.ln()),
            lr_min: float(self.lr_min),
            anneal_lr: float(f64::from(self.anneal_lr)),
            gamma: float(self.gamma),
            epsilon: float(self.epsilon),
            ln_epsilon_decay: float(self.epsilon_decay.ln()),
            epsilon_min: float(self.epsilon_min),
            tau: float(self.tau),
            huber_delta: float(self.huber_delta),
            max_grad_norm: float(self.max_grad_norm),
            per_alpha: float(self.per_alpha),
            per_beta_start: float(self.per_beta_start),
        }
    }

    /// The probability of a random action after so many steps and episodes (u64).
    #[track_caller]
    pub fn epsilon_after(&self, hyper: &Hyper, steps: Int, episodes: Int) -> Float {
        let count = match self.epsilon_every {
            Every::Step => steps,
            Every::Episode => episodes,
        };
        exponential(hyper.epsilon, hyper.ln_epsilon_decay, hyper.epsilon_min, count)
    }

    /// The learning rate after so many steps (u64).
    #[track_caller]
    pub fn lr_after(&self, hyper: &Hyper, steps: Int) -> Float {
        let count = crossed(int_u64(0), steps, self.lr_decay_interval as u64);
        exponential(hyper.lr, hyper.ln_lr_decay, hyper.lr_min, count)
    }

    /// The same two on the host, in the last step and in the next one.
    pub fn rates(&self, steps: u64, episodes: u64) -> Rates {
        let steps = [steps.saturating_sub(self.num_envs as u64), steps];
        let exploration = steps.map(|steps| {
            let count = if self.epsilon_every == Every::Step { steps } else { episodes };
            decayed(self.epsilon, self.epsilon_decay, self.epsilon_min, count)
        });
        let learning_rate = steps.map(|steps| {
            let count = steps.checked_div(self.lr_decay_interval as u64).unwrap_or(0);
            decayed(self.lr, self.lr_decay, self.lr_min, count)
        });
        Rates {
            exploration: Some(exploration),
            // An annealed one depends on the length of the run.
            learning_rate: (!self.anneal_lr).then_some(learning_rate),
        }
    }

    /// To what degree the loss makes up for the priorities of the draw that follows so many (u64).
    #[track_caller]
    pub fn beta(&self, hyper: &Hyper, draws: Int) -> Float {
        let share = ((draws + 1).as_f32() / self.per_beta_frames as f64).minimum(1.0);
        hyper.per_beta_start + (1.0 - hyper.per_beta_start) * share
    }

    /// How the network is built.
    pub fn network(&self) -> QSettings {
        QSettings {
            conv: self.conv.0.clone(),
            conv_channels: self.conv_channels,
            hidden_dim: self.hidden_dim,
            num_layers: self.num_layers,
            activation: self.activation,
            dueling: self.dueling,
            dueling_dim: self.dueling_dim,
            init: self.init,
        }
    }

    /// Transitions that the replay holds.
    pub fn capacity(&self) -> usize {
        self.replay_size - self.replay_size % self.num_envs
    }

    /// Checks that so many devices can share the environments, the replay and each batch.
    ///
    /// # Errors
    /// One line that says what would fit.
    pub fn check_devices(&self, num_devices: usize) -> Result<()> {
        // How many transitions a device has would differ from that of another one, and so would the shapes of what it holds.
        ensure!(
            num_devices == 1 || self.n_step == 1,
            "n_step is {}; with more than one step dqn trains on one device, so use devices = 1",
            self.n_step
        );
        divides("num_envs", self.num_envs, num_devices)?;
        divides("batch_size", self.batch_size, num_devices)
    }

    /// Checks each setting by itself.
    ///
    /// # Errors
    /// One line that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        self.opponents.check()?;
        for (name, value, least, most) in [
            ("num_envs", self.num_envs, 1, 1 << 20),
            ("num_steps", self.num_steps, 1, 1 << 20),
            ("updates_per_step", self.updates_per_step, 1, 10_000),
            ("batch_size", self.batch_size, 1, 1 << 20),
            ("replay_size", self.replay_size, 1, 1 << 28),
            ("n_step", self.n_step, 1, 255),
            ("per_beta_frames", self.per_beta_frames, 1, 1 << 40),
            ("hidden_dim", self.hidden_dim, 1, 1 << 15),
            ("num_layers", self.num_layers, 0, 64),
            ("dueling_dim", self.dueling_dim, 0, 1 << 15),
        ] {
            ensure!((least..=most).contains(&value), "{name} is {value}; it must be from {least} to {most}");
        }
        for (name, value) in
            [("lr", self.lr), ("huber_delta", self.huber_delta), ("max_grad_norm", self.max_grad_norm)]
        {
            ensure!(value > 0.0, "{name} is {value}; it must be above 0");
        }
        ensure!(self.lr.is_finite(), "lr is {}; it must be a finite number above 0", self.lr);
        for (name, value) in [("lr_decay", self.lr_decay), ("epsilon_decay", self.epsilon_decay)] {
            ensure!(value > 0.0 && value <= 1.0, "{name} is {value}; it must be above 0 and at most 1");
        }
        for (name, value) in [
            ("gamma", self.gamma),
            ("epsilon", self.epsilon),
            ("epsilon_min", self.epsilon_min),
            ("tau", self.tau),
            ("per_beta_start", self.per_beta_start),
        ] {
            ensure!((0.0..=1.0).contains(&value), "{name} is {value}; it must be from 0 to 1");
        }
        for (name, value) in [("lr_min", self.lr_min), ("per_alpha", self.per_alpha)] {
            ensure!(
                value >= 0.0 && value.is_finite(),
                "{name} is {value}; it must be a finite number, 0 or above"
            );
        }
        let above = |value: f64| value > 0.0 && value.is_finite();
        ensure!(above(self.per_eps), "per_eps is {}; it must be a finite number above 0", self.per_eps);
        if let Some(limit) = self.target_q_clip {
            ensure!(above(limit), "target_q_clip is {limit}; it must be a finite number above 0");
        }
        Ok(())
    }

    /// Checks that the replay can hold what learning needs of it.
    ///
    /// # Errors
    /// One line with the numbers.
    pub fn check_sizes(&self) -> Result<()> {
        let Settings { num_envs, num_steps, replay_size, n_step, .. } = *self;
        let steps = num_envs.saturating_mul(num_steps);
        // Metrics are 32-bit floats, and the timesteps of an update are one of them.
        ensure!(
            steps <= 1 << 24,
            "num_envs x num_steps is {steps}, more than {} steps per update; lower one of them",
            1 << 24
        );
        let at_once = num_envs * n_step;
        ensure!(
            at_once <= self.capacity(),
            "replay_size = {replay_size} is too small for num_envs x n_step = {at_once} transitions at once"
        );
        for (name, value) in [("batch_size", self.batch_size), ("learning_starts", self.learning_starts)] {
            let capacity = self.capacity();
            ensure!(value <= capacity, "{name} is {value}, but the replay holds {capacity} transitions");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_specification_and_pass() {
        let settings = Settings::default();
        assert_eq!((settings.lr, settings.gamma, settings.max_grad_norm), (1e-3, 0.99, 1.0));
        assert_eq!((settings.epsilon, settings.epsilon_decay, settings.epsilon_min), (1.0, 0.995, 0.01));
        assert_eq!((settings.batch_size, settings.replay_size), (32, 10_000));
        assert_eq!((settings.target_update_freq, settings.tau, settings.n_step), (100, 0.01, 1));
        assert_eq!(
            (settings.per_alpha, settings.per_beta_start, settings.per_beta_frames),
            (0.6, 0.4, 100_000)
        );
        settings.check().unwrap();
        settings.check_sizes().unwrap();
    }

    #[test]
    fn every_bad_value_is_named() {
        let complaint = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().and_then(|()| settings.check_sizes()).unwrap_err().to_string()
        };
        assert_eq!(complaint(|s| s.num_envs = 0), "num_envs is 0; it must be from 1 to 1048576");
        assert_eq!(complaint(|s| s.n_step = 256), "n_step is 256; it must be from 1 to 255");
        assert_eq!(complaint(|s| s.epsilon = 1.5), "epsilon is 1.5; it must be from 0 to 1");
        assert_eq!(
            complaint(|s| s.epsilon_decay = 0.0),
            "epsilon_decay is 0; it must be above 0 and at most 1"
        );
        assert!(complaint(|s| s.lr = f64::NAN).starts_with("lr is NaN;"));
        assert!(complaint(|s| s.lr = f64::INFINITY).starts_with("lr is inf;"));
        assert!(complaint(|s| s.per_eps = 0.0).starts_with("per_eps is 0;"));
        assert!(complaint(|s| s.target_q_clip = Some(-1.0)).starts_with("target_q_clip is -1;"));
        assert_eq!(
            complaint(|s| s.batch_size = 20_000),
            "batch_size is 20000, but the replay holds 10000 transitions"
        );
        assert!(
            complaint(|s| (s.num_envs, s.num_steps) = (1 << 20, 1 << 10)).starts_with("num_envs x num_steps")
        );
        assert!(
            complaint(|s| (s.num_envs, s.n_step) = (1000, 20))
                .starts_with("replay_size = 10000 is too small")
        );
    }

    #[test]
    fn the_replay_holds_a_multiple_of_the_environments() {
        let settings = Settings { num_envs: 64, replay_size: 50_000, ..Settings::default() };
        assert_eq!(settings.capacity(), 49_984);
    }
}
