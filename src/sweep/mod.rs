//! Hyperparameter search: which trials to run next, given what came of those before.
//!
//! Everything here is arithmetic on the host, and a function of the data and a seed. A file's table `[sweep]` is read as a [`Plan`]: a method
//! and a [`Space`] of settings. What is known of the trials is [`Evidence`]; a method makes of it [`Suggestion`]s. `protein` is the main
//! method; it rests on Gaussian processes (`gp`, `surrogate`) and on the Pareto front of score against cost (`pareto`). `design` has the
//! methods that learn nothing, `stopping` the rules by which trials end early. Trials are recorded in a [`journal`], from which a sweep goes
//! on after its process was killed, and which several workers share.
//!
//! Training the trials is the business of `cli::sweep`.

mod cholesky;
mod design;
mod evidence;
mod gp;
pub mod journal;
mod pareto;
mod plan;
mod protein;
mod random;
mod section;
mod space;
mod stopping;
mod success;
mod surrogate;
#[cfg(test)]
mod tests;

pub use evidence::Evidence;
pub use pareto::{Outcome, front};
pub use plan::{Goal, Method, Plan};
pub use random::Random;
pub use space::{COST, ENV, Parameter, Space, Values};
pub use stopping::{Curve, Stage, Stopping};
pub use surrogate::Surrogate;

/// A trial to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    pub at: Vec<f64>,
    /// Whether the point was tried before: it is tried once more with another seed.
    pub repeats: bool,
    /// The score (as the methods see it) and the cost in seconds that the model expects.
    pub expected: Option<(f64, f64)>,
}

impl Suggestion {
    fn new(at: Vec<f64>) -> Suggestion {
        Suggestion { at, repeats: false, expected: None }
    }
}
