//! lockstep: a JAX-style functional compiled trainer for reinforcement learning.
//!
//! Environments and algorithms are pure functions over arrays. They are traced into one graph,
//! differentiated, batched, lowered to StableHLO and compiled by XLA through a PJRT plugin; then thousands of
//! environments step in lockstep inside one XLA computation, on CPU, GPU or TPU.
//!
//! The modules below stand in the order of the data flow, and **a module uses only modules listed after it**
//! (a test enforces it): a command line becomes a configuration, the trainer drives a learner, a learner is an
//! algorithm over an environment and a network, all three are written in the array language, the language
//! builds graphs, passes transform and lower them, the runtime runs what comes out.
//!
//! Two worlds, four nouns. [`ArrayType`](array::ArrayType) is a dtype and a shape; an [`Array`](lang::Array) is
//! a symbol while tracing; a [`Buffer`](runtime::Buffer) is bytes on a device; a [`HostArray`](array::HostArray) is
//! bytes on the host. Only `runtime` makes buffers, only `lang` makes symbols.
//!
//! Mistakes made while tracing panic at the line of environment or algorithm code that made them. The outside world
//! (files, flags, plugins, devices) returns `Result`s; no panic reaches a user of the command line.

#![warn(clippy::print_stderr, clippy::print_stdout)] // they panic when their reader has left: see `output`
#![allow(rustdoc::private_intra_doc_links)] // the prose is for those who read the code as well

// The blank lines keep the order: it is the architecture.

pub mod cli;

pub use cli::App;

pub mod inference;

pub use inference::Policy;

pub mod config;

pub mod trainer;

pub mod algorithms;

pub mod nn;

pub mod envs;

pub mod lang;

pub mod lower;

pub mod transforms;

pub mod interpret;

pub mod ir;

pub mod runtime;

pub mod array;

pub mod files;

pub mod output;
