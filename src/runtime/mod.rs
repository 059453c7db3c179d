//! The runtime: XLA through PJRT plugins.
//!
//! A *plugin* is a shared library for one kind of device that exports `GetPjrtApi`: XLA's compiler and
//! executor behind a C interface. [`plugin::find`] chooses its file, [`Client::open`] loads it and shows its
//! *devices*. A client compiles a *module* (StableHLO text) into a [`Program`], or takes it from the program
//! cache, and copies host arrays into [`Buffer`]s. Running a program turns buffers into buffers; nothing
//! leaves the device until [`Buffer::to_host`].
//!
//! Everything in front of this module is text and host arrays, everything behind it is XLA's. That is why
//! lockstep builds without a C++ compiler and links nothing of XLA's: a plugin comes as a wheel and is
//! loaded at run time.
//!
//! - `ffi`: the C interface and all of the runtime's `unsafe` code
//! - `kernels`: native functions that programs call on cpu (the folder `kernels/`), with what is `unsafe` in them
//! - [`native`]: environments in shared libraries, whose functions such kernels call
//! - `error`: what can go wrong
//! - `device_kind`, [`plugin`]: finding plugins, and installing them from their wheels
//! - `options`, `signature`, `client`, `buffer`, `program`: compiling and running
//! - `cache`: compiled programs on disk
//! - `topology`, `gpu`: compiling for devices that are not there
//! - `world`, `transfer`: several processes that run programs together, and what they give each other; `tpu`: what libtpu is told of them
//!
//! The environment: `LOCKSTEP_PJRT_PLUGIN` names a plugin, `LOCKSTEP_CACHE_DIR` moves the folder of installed
//! plugins and compiled programs, `LOCKSTEP_NO_CACHE=1` compiles every program anew. XLA reads `XLA_FLAGS`,
//! and `TF_CPP_MIN_LOG_LEVEL=0` lets it talk; by default only its errors reach stderr.

#![deny(unsafe_code)]

mod buffer;
mod cache;
mod client;
mod device_kind;
mod error;
#[allow(unsafe_code)]
mod ffi;
mod gpu;
#[path = "../../kernels/mod.rs"]
#[allow(unsafe_code)]
pub mod kernels;
#[allow(unsafe_code)]
pub mod native;
mod options;
pub mod plugin;
mod program;
mod signature;
mod topology;
mod tpu;
mod transfer;
mod world;

#[cfg(test)]
mod tests;

pub use buffer::Buffer;
pub use cache::{CacheOutcome, ProgramCache};
pub use client::Client;
pub use device_kind::{DeviceKind, Processes, Target};
pub use error::{Error, Result};
pub use ffi::{GpuLoad, MemoryUse, Mpi, Store, gpu_loads};
pub use options::{CompileOptions, OptionValue};
pub use program::{Arg, Program};
pub use topology::Topology;
pub use world::World;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// lockstep's cache folder: `LOCKSTEP_CACHE_DIR`, or `lockstep` in the system's folder for caches.
pub fn cache_folder() -> Option<PathBuf> {
    match std::env::var_os("LOCKSTEP_CACHE_DIR") {
        Some(folder) if !folder.is_empty() => Some(folder.into()),
        _ => Some(dirs::cache_dir()?.join("lockstep")),
    }
}

/// A name of its own in the folder of `path`, to write to before renaming to `path`.
fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.{number}", std::process::id()));
    path.with_file_name(name)
}
