//! Proximal policy optimization (PPO) with masked categorical policies.

mod settings;

pub use settings::{Activation, Init, Settings};
