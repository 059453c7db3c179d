//! All integration tests, in one binary.
mod cartpole;
mod hackmatrix;
mod ops;
