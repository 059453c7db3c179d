//! The boundary to the plugin: all of the runtime's `unsafe` code.
//!
//! `abi` declares the C structs. [`Api`] is a loaded plugin: it finds functions in the plugin's table and
//! calls them. `handle` wraps the plugin's objects so that each is destroyed exactly once and none is
//! used after its client; its methods are safe, and they are all that the rest of the runtime sees. `nvml` is another library, the
//! driver's, which says how busy GPUs are.

mod abi;
mod handle;
mod mpi;
mod nvml;
mod store;
mod topology;

pub use handle::{BufferHandle, ClientHandle, ExecutableHandle, Node};
pub use mpi::Mpi;
pub use nvml::{GpuLoad, gpu_loads};
pub use store::Store;
pub use topology::{MemoryUse, TopologyHandle};

use std::collections::HashMap;
use std::error::Error as _;
use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, Once, OnceLock, PoisonError};

use super::error::{Error, Result};
use super::kernels::{self, KERNELS};
use abi::{Arguments, Block};

/// A loaded and initialised plugin. It stays loaded until the process ends, as XLA's threads need.
pub struct Api {
    table: *const abi::ApiHeader,
    /// Whether the native kernels are registered, once that was tried.
    kernels: OnceLock<bool>,
}

// SAFETY: the table is never written to, and PJRT functions may be called from any thread.
unsafe impl Send for Api {}
unsafe impl Sync for Api {}

impl Api {
    /// Loads the plugin at `path`, once per process.
    pub fn load(path: &Path) -> Result<&'static Api> {
        static LOADED: LazyLock<Mutex<HashMap<PathBuf, &'static Api>>> = LazyLock::new(Default::default);

        let path = path.canonicalize().map_err(|_| Error::PluginMissing { path: path.into() })?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(api) = loaded.get(&path) {
            return Ok(api);
        }
        let api: &'static Api = Box::leak(Box::new(Api::open(&path)?));
        loaded.insert(path, api);
        Ok(api)
    }

    /// As [`Api::load`], to compile for devices that are not there.
    pub fn load_without_device(path: &Path) -> Result<&'static Api> {
        pretend_tpu();
        Api::load(path)
    }

    fn open(path: &Path) -> Result<Api> {
        prepare_environment();
        let unloadable = |error: libloading::Error| {
            // The loader's own words are in the source.
            let reason = error.source().map_or_else(|| error.to_string(), |source| source.to_string());
            Error::PluginUnloadable { path: path.into(), reason }
        };
        // SAFETY: loading runs the library's initialisers; the user chose it as a plugin.
        let library = unsafe { libloading::Library::new(path) }.map_err(unloadable)?;
        // SAFETY: `GetPjrtApi` has this type in every PJRT plugin.
        let get_api = unsafe { library.get::<abi::GetApi>(b"GetPjrtApi\0") }
            .map(|symbol| *symbol)
            .map_err(|_| Error::NotAPlugin { path: path.into() })?;
        std::mem::forget(library);
        // SAFETY: `GetPjrtApi` takes nothing and returns a table that lives as long as the library.
        let table = unsafe { get_api() };
        if table.is_null() {
            return Err(Error::NoApi { path: path.into() });
        }
        let api = Api { table, kernels: OnceLock::new() };
        let (major, minor) = api.version();
        if major != 0 {
            return Err(Error::ApiVersion { path: path.into(), major, minor });
        }
        // SAFETY: the struct has no pointers.
        unsafe { api.call(abi::PluginInitialize {}) }?;
        Ok(api)
    }

    /// Major and minor version of the PJRT API that the plugin was built with.
    pub fn version(&self) -> (i32, i32) {
        // SAFETY: the header is part of every version of the table.
        unsafe { ((*self.table).major_version, (*self.table).minor_version) }
    }

    /// What the plugin says of itself, such as `stablehlo_current_version` 1.13.3: names and values.
    pub fn attributes(&self) -> Result<Vec<(String, String)>> {
        let query = abi::PluginAttributes::zeroed();
        // SAFETY: the attributes are an array of the plugin's that lives as long as the process; each states
        // its size, and its text or list lives as long.
        unsafe {
            let answer = self.call(query)?;
            let attribute = |index: usize| {
                let stride = (*answer.attributes).struct_size.max(size_of::<abi::NamedValue>());
                let attribute = &*answer.attributes.byte_add(index * stride);
                (text(attribute.name.cast(), attribute.name_size), value_text(attribute))
            };
            Ok((0..answer.num_attributes).map(attribute).collect())
        }
    }

    /// Registers the native kernels for programs on cpu, once; whether it is done. A plugin without XLA's foreign function
    /// interface runs the kernels' plain twins.
    pub fn register_kernels(&self) -> bool {
        *self.kernels.get_or_init(|| {
            let outcome = KERNELS.iter().try_for_each(|kernel| self.register(kernel));
            if let Err(error) = &outcome {
                tracing::warn!("no native kernels: {error}");
            }
            outcome.is_ok()
        })
    }

    fn register(&self, kernel: &kernels::Entry) -> Result<()> {
        const PLATFORM: &str = "Host";
        let missing = || Error::FunctionMissing { function: "FFI_RegisterHandler", minor: self.version().1 };
        // SAFETY: the extensions are a list that ends in null and lives as long as the plugin; each states its size. The
        // names outlive the call, the handler the process.
        unsafe {
            let mut extension = (*self.table).extension_start.cast::<abi::Extension>();
            while !extension.is_null() && (*extension).kind != abi::FFI_EXTENSION {
                extension = (*extension).next;
            }
            if extension.is_null() || (*extension).struct_size < size_of::<abi::FfiExtension>() {
                return Err(missing());
            }
            let register = (*extension.cast::<abi::FfiExtension>()).register_handler.ok_or_else(missing)?;
            let mut arguments = abi::RegisterHandler {
                struct_size: size_of::<abi::RegisterHandler>(),
                target_name: kernel.name.as_ptr(),
                target_name_size: kernel.name.len(),
                handler: kernel.handler as *const c_void,
                platform_name: PLATFORM.as_ptr(),
                platform_name_size: PLATFORM.len(),
                traits: 0,
                spare: [0; 16],
            };
            let error = register((&raw mut arguments).cast());
            if error.is_null() {
                return Ok(());
            }
            Err(Error::Xla { function: "FFI_RegisterHandler", message: self.take_message(error) })
        }
    }

    /// The function at `A`'s position, if the plugin's table reaches that far.
    fn function<A: Arguments>(&self) -> Result<abi::Function> {
        let offset = size_of::<abi::ApiHeader>() + A::POSITION * size_of::<abi::Function>();
        // SAFETY: the pointer is read only from inside the table, whose size the plugin states; an entry
        // is a function pointer or null.
        let function: Option<abi::Function> = unsafe {
            let covered = offset + size_of::<abi::Function>() <= (*self.table).struct_size;
            if covered { self.table.byte_add(offset).cast::<Option<abi::Function>>().read() } else { None }
        };
        function.ok_or_else(|| Error::FunctionMissing { function: A::NAME, minor: self.version().1 })
    }

    /// Calls `A`'s function and returns the argument struct with what the plugin wrote into it.
    ///
    /// # Safety
    /// The pointers in `arguments` are what the PJRT header asks for at this function.
    unsafe fn call<A: Arguments>(&self, arguments: A) -> Result<A> {
        let function = self.function::<A>()?;
        let mut block = Block::new(arguments);
        // SAFETY: the block begins with the function's argument struct; the caller vouches for the rest.
        let error = unsafe { function((&raw mut block).cast()) };
        if error.is_null() {
            return Ok(block.fields);
        }
        Err(Error::Xla { function: A::NAME, message: self.take_message(error) })
    }

    /// Calls a function that cannot fail and returns nothing.
    ///
    /// # Safety
    /// As [`Api::call`]; and `A`'s function is one of the two that return nothing.
    unsafe fn call_infallible<A: Arguments>(&self, arguments: A) -> Result<A> {
        let function = self.function::<A>()?;
        let mut block = Block::new(arguments);
        // SAFETY: the two types differ in the result only, and this function has none.
        unsafe {
            let function: unsafe extern "C" fn(*mut c_void) = std::mem::transmute(function);
            function((&raw mut block).cast());
        }
        Ok(block.fields)
    }

    /// The text of an error, which is destroyed.
    fn take_message(&self, error: *mut abi::Error) -> String {
        // SAFETY: the error came from this plugin, lives until it is destroyed here, and owns its text.
        unsafe {
            let query = abi::ErrorMessage { error, ..abi::ErrorMessage::zeroed() };
            let message = match self.call_infallible(query) {
                Ok(answer) => text(answer.message, answer.message_size),
                Err(missing) => missing.to_string(),
            };
            // A plugin without the function leaks the error; there is nothing else to be done with it.
            let _ = self.call_infallible(abi::ErrorDestroy { error });
            message
        }
    }

    /// The vendor's name of a kind of device.
    ///
    /// # Safety
    /// The description is one of this plugin's that lives.
    unsafe fn kind_of(&self, description: *mut abi::DeviceDescription) -> Result<String> {
        // SAFETY: by contract; the text lives as long as the description.
        unsafe {
            let query = abi::DeviceDescriptionKind { description, ..abi::DeviceDescriptionKind::zeroed() };
            let answer = self.call(query)?;
            Ok(text(answer.kind, answer.kind_size))
        }
    }

    /// Waits until `event` has happened and destroys it; its error, if it has one, is returned.
    ///
    /// # Safety
    /// `event` came from this plugin and is not used again.
    unsafe fn wait(&self, event: *mut abi::Event) -> Result<()> {
        // SAFETY: by contract.
        unsafe {
            let outcome = self.call(abi::EventAwait { event });
            self.call(abi::EventDestroy { event })?;
            outcome.map(|_| ())
        }
    }
}

/// Copies a text of the plugin's, which need not end in a zero byte.
///
/// # Safety
/// `start` points to `size` bytes, or `size` is 0.
unsafe fn text(start: *const c_char, size: usize) -> String {
    if size == 0 {
        return String::new();
    }
    // SAFETY: by contract.
    let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), size) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// A plugin's attribute as text; a list of numbers is a version, and gets dots.
///
/// # Safety
/// The value is of the type that it states.
unsafe fn value_text(attribute: &abi::NamedValue) -> String {
    match attribute.value_type {
        // SAFETY: by contract.
        abi::NAMED_STRING => unsafe { text(attribute.value.cast(), attribute.value_size) },
        abi::NAMED_INT64_LIST => {
            // SAFETY: by contract.
            let numbers = unsafe { copied(attribute.value, attribute.value_size) };
            numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(".")
        }
        // The union holds the number itself; of what is no integer, these are its bits.
        _ => attribute.value.addr().to_string(),
    }
}

/// A copy of a list of the plugin's.
///
/// # Safety
/// `start` points to `count` elements, or `count` is 0.
unsafe fn copied<T: Copy>(start: *const T, count: usize) -> Vec<T> {
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(start, count) }.to_vec()
}

/// XLA's flags that lockstep's programs need, before the user's own.
///
/// On cpu, programs of many small elementwise results (the games) are one kernel per group of results with the
/// first flag, and one per result without, each computing again what they share: it makes compiling three times and running
/// twice as fast. The second lets vectors be as wide as the processor's.
const XLA_FLAGS: &str =
    "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion --xla_cpu_prefer_vector_width=512";

/// Unless the user chose otherwise, only errors of XLA reach stderr, and XLA gets [`XLA_FLAGS`].
fn prepare_environment() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let user_flags = std::env::var("XLA_FLAGS").unwrap_or_default();
        // The user's own flags come last, so that they win.
        let flags = format!("{XLA_FLAGS} {user_flags}");
        // SAFETY: std's own readers of the environment are synchronised with this; C code that reads
        // it arrives with the plugin, which is not loaded yet.
        unsafe {
            if std::env::var_os("TF_CPP_MIN_LOG_LEVEL").is_none() {
                std::env::set_var("TF_CPP_MIN_LOG_LEVEL", "2");
            }
            std::env::set_var("XLA_FLAGS", flags.trim_end());
        }
    });
}

/// What libtpu asks on a machine that has no TPU, answered so that it does not ask the network: a topology has as
/// many devices as its name says, whatever is written here. The last lets several processes compile at once.
const WITHOUT_TPU: [(&str, &str); 5] = [
    ("TPU_SKIP_MDS_QUERY", "1"),
    ("TPU_ACCELERATOR_TYPE", "v5litepod-4"),
    ("TPU_WORKER_HOSTNAMES", "localhost"),
    ("TPU_WORKER_ID", "0"),
    ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
];

/// Tells libtpu, before it is loaded, that this machine has no TPU, where the user has said nothing else.
fn pretend_tpu() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (name, value) in WITHOUT_TPU {
            if std::env::var_os(name).is_none() {
                // SAFETY: as in `prepare_environment`.
                unsafe { std::env::set_var(name, value) };
            }
        }
    });
}
