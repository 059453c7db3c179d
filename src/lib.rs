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
//! Five sentences hold, and tests check them on the text of whole files (`tests/law`):
//!
//! 1. `cli`, `config` and `trainer` know no algorithm and no environment by name.
//! 2. A game knows nothing below `lang`.
//! 3. A metric is declared once: its name, how it is computed, how it is put together.
//! 4. A number that is traced is declared once.
//! 5. Another crate can define an environment, a network or an algorithm and has the whole command line with it: see the [`guide`].
//!
//! Two worlds, four nouns. [`ArrayType`](array::ArrayType) is a dtype and a shape; an [`Array`](lang::Array) is
//! a symbol while tracing; a [`Buffer`](runtime::Buffer) is bytes on a device; a [`HostArray`](array::HostArray) is
//! bytes on the host. Only `runtime` makes buffers, only `lang` makes symbols.
//!
//! Mistakes made while tracing panic at the line of environment or algorithm code that made them. The outside world
//! (files, flags, plugins, devices) returns `Result`s; no panic reaches a user of the command line.
//!
//! PJRT's C API is bound here ([`runtime`]) and not taken from the crate `xla`: that crate links XLA's C++ library when it is built, and
//! no package registry has that library. PJRT plugins are the same XLA behind a small C interface. They are ordinary packages, are found
//! when a program runs, and so one executable computes on CPUs, GPUs and TPUs, whatever it was built on.

#![warn(clippy::print_stderr, clippy::print_stdout)] // they panic when their reader has left: see `output`
#![allow(rustdoc::private_intra_doc_links)] // the prose is for those who read the code as well

// The blank lines keep the order: it is the architecture.

pub mod guide;

pub mod cli;

pub use cli::{App, run_document as run};

pub mod training;

pub use training::Trainer;

pub mod inference;

pub use inference::Policy;

pub mod config;

pub mod sweep;

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

pub mod statistics;

pub mod files;

pub mod names;

pub mod output;
