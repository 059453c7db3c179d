//! All integration tests, in one binary.
mod hackmatrix;
mod ops;
