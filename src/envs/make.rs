//! What makes an environment: a function of the program, or a library that was loaded.

use super::native::Native;
use super::{AnyEnv, Erased};

/// What makes an environment.
#[derive(Clone, Copy)]
pub enum Make {
    Function(fn() -> Box<dyn AnyEnv>),
    Library(Native),
}

impl Make {
    /// The environment.
    pub fn env(self) -> Box<dyn AnyEnv> {
        match self {
            Make::Function(make) => make(),
            Make::Library(native) => Box::new(Erased::new(native)),
        }
    }
}
