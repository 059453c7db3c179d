//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod config;
pub mod trainer;
pub mod algorithms;
pub mod nn;
pub mod envs;
pub mod lang;
pub mod transforms;
pub mod lower;
pub mod interpret;
pub mod ir;
pub mod runtime;
pub mod array;
