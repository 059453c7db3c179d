//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod array;
pub mod interpret;
pub mod ir;
pub mod transforms;
