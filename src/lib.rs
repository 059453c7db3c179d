//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod runtime;

pub mod array;
