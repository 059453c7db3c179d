//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod algorithms;
pub mod array;
pub mod cli;
pub mod config;
pub mod envs;
pub mod interpret;
pub mod ir;
pub mod lang;
pub mod lower;
pub mod nn;
pub mod runtime;
pub mod trainer;
pub mod transforms;
