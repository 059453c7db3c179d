//! All integration tests, in one binary.

mod ahead_of_time;
mod authors;
mod cartpole;
mod cli;
mod clusters;
mod common;
mod conformance;
mod connect4;
mod curriculum;
mod dqn;
mod fuzz;
mod graphs;
mod group;
mod hackmatrix;
mod inference;
mod kernels;
mod law;
mod learning;
mod networks;
mod new_crate;
mod ops;
mod own;
mod probes;
mod random;
mod runs;
mod survive;
