//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod array;
pub mod envs;
