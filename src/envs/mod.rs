//! The games.

pub mod hackmatrix;
