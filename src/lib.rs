//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod envs;
pub mod lang;
pub mod transforms;
pub mod lower;
pub mod interpret;
pub mod ir;
pub mod runtime;
pub mod array;
