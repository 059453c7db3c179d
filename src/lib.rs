//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.

pub mod config;

pub mod trainer;

pub mod algorithms;

pub mod array;
