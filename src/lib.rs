//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod array;
pub mod envs;
pub mod interpret;
pub mod ir;
pub mod lang;
pub mod runtime;
pub mod transforms;
