//! __ENV__ with the whole command line of lockstep: train, eval, watch, runs, bench, envs and more.

use std::process::ExitCode;

use lockstep::App;
use lockstep::envs::{Entry, boxed};

mod env;
mod painter;

fn main() -> ExitCode {
    let entry = Entry::new(env::NAME, "walk through a walled grid to the goal", || boxed(env::GridWorld))
        .painted(|| Box::new(painter::GridPainter))
        .defaults("num_envs = 64\nnum_steps = 32\nent_coef = 0.01\nhidden_dim = 64");
    App::new(env!("CARGO_PKG_NAME")).env(entry).main()
}
