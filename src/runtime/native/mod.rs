//! Native environments: shared libraries with the C interface of `include/lockstep_env.h`, loaded by their paths.
//!
//! The state of such an environment is a row of bytes in an array of the program, and the library's functions compute on it in
//! place. So they are pure functions like every other op: a checkpoint has the states because it has all arrays, a run resumes bit for
//! bit, and vmap, evaluation, a chunk that is undone, groups of agents and several devices need nothing of the library. An
//! interface with handles would keep states outside of XLA, and `save` and `load` for each of these. What it costs is that a state
//! must be plain data of a fixed size; an environment that cannot be has its own `save` and `load` inside of `step`
//! (docs/native.md).
//!
//! - `abi`: the structs of the header
//! - `describe`: what a library says of its environment, checked
//! - `calls`: its functions, over many environments
//!
//! A library stays loaded until the process ends. It is code that the user names, as a plugin is.

mod abi;
mod calls;
mod describe;

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use calls::Functions;

pub use calls::{Stepped, Threads};
pub use describe::{Aggregate, Facts, Metric, Param};

/// A library that is loaded.
pub struct Library {
    /// Absolute.
    pub path: PathBuf,
    /// By which programs name it; it follows from the path, so that programs in the cache find it in every process.
    pub id: i32,
    pub facts: Facts,
    functions: Functions,
}

/// Libraries are told apart by their paths.
impl PartialEq for Library {
    fn eq(&self, other: &Library) -> bool {
        self.path == other.path
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

static LOADED: LazyLock<Mutex<HashMap<i32, &'static Library>>> = LazyLock::new(Default::default);

impl Library {
    /// Loads the library at a path, once per process, and checks what it says and does.
    ///
    /// # Errors
    /// One line with the path: there is no such file, it cannot be loaded, it has another version of the interface, it lacks
    /// something, or what it says cannot be.
    pub fn load(path: &Path) -> Result<&'static Library, String> {
        let whole = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let id = id_of(&whole);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded.get(&id) {
            Some(library) if library.path == whole => Ok(library),
            Some(other) => Err(format!(
                "{} and {} have the same number; rename one of them",
                whole.display(),
                other.path.display()
            )),
            None => {
                let about = |problem| format!("{}: {problem}", whole.display());
                let library: &'static Library = Box::leak(Box::new(open(&whole, id).map_err(about)?));
                loaded.insert(id, library);
                Ok(library)
            }
        }
    }

    /// The library of that number.
    ///
    /// # Errors
    /// It is not loaded.
    pub fn of_id(id: i32) -> Result<&'static Library, String> {
        let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.get(&id).copied().ok_or_else(|| format!("the native library {id} is not loaded"))
    }

    /// An error of the library, in one line.
    fn error(&self, problem: impl fmt::Display) -> String {
        format!("{}: {problem}", self.path.display())
    }
}

/// A number from 0 that follows from a path (FNV-1a, whose two halves are put together).
fn id_of(path: &Path) -> i32 {
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    ((hash ^ (hash >> 32)) & 0x7fff_ffff) as i32
}

fn open(path: &Path, id: i32) -> Result<Library, String> {
    if !path.is_file() {
        return Err(
            "there is no such file; build or link the library there (eval and watch also take --env native:PATH)".into(),
        );
    }
    let unloadable = |error: libloading::Error| {
        let source = std::error::Error::source(&error);
        let reason = source.map_or_else(|| error.to_string(), |source| source.to_string());
        format!("it cannot be loaded as a library: {}", reason.trim().replace('\n', " "))
    };
    // SAFETY: loading runs the library's initialisers; the user named it as an environment.
    let library = unsafe { libloading::Library::new(path) }.map_err(unloadable)?;
    // SAFETY: the function has this type in every library with this interface.
    let make =
        unsafe { library.get::<abi::Make>(abi::MAKE.as_bytes()) }.map(|symbol| *symbol).map_err(|_| {
            format!("it exports no function {}, which include/lockstep_env.h declares", abi::MAKE)
        })?;
    std::mem::forget(library);
    // SAFETY: it takes nothing; what it gives lives as long as the library.
    let env = unsafe { make() };
    if env.is_null() {
        return Err(format!("{} gives NULL", abi::MAKE));
    }
    // SAFETY: the version stands first, in every version of the struct.
    let version = unsafe { *env.cast::<i32>() };
    if version != abi::VERSION {
        let own = abi::VERSION;
        return Err(format!(
            "it is built with version {version} of lockstep_env.h, and this program has version {own}; build it again"
        ));
    }
    // SAFETY: it is a struct of this version, as the header describes it.
    let env = unsafe { &*env };
    let facts = Facts::read(env)?;
    let functions = Functions::of(env)?;
    let library = Library { path: path.to_owned(), id, facts, functions };
    library.try_out().map(|()| library)
}

/// A text of the library's; nothing for NULL.
fn text(at: *const c_char) -> Option<String> {
    // SAFETY: the header wants texts that end in 0 and live as long as the library.
    (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) }.to_string_lossy().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_follows_from_a_path() {
        let [a, b] = ["/games/libpole.so", "/games/libpong.so"].map(|path| id_of(Path::new(path)));
        assert_eq!(a, id_of(Path::new("/games/libpole.so")));
        assert!(a != b && a >= 0 && b >= 0);
    }
}
