//! What can go wrong between lockstep and a plugin.

use std::path::PathBuf;

use super::DeviceKind;
use crate::array::ArrayType;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the runtime. Each says in its first line what is wrong and what to do; XLA's own message,
/// where there is one, is kept whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: no such file; give the path of a PJRT plugin (a shared library)", path.display())]
    PluginMissing { path: PathBuf },

    #[error("{} is not a shared library that can be loaded: {reason}", path.display())]
    PluginUnloadable { path: PathBuf, reason: String },

    #[error("{} is a shared library but no PJRT plugin: it does not export GetPjrtApi", path.display())]
    NotAPlugin { path: PathBuf },

    #[error("{} is a PJRT plugin that does not work here: its GetPjrtApi gives nothing", path.display())]
    NoApi { path: PathBuf },

    #[error(
        "the plugin {} is not loaded: {reason}; correct that, set LOCKSTEP_CACHE_DIR to a folder of your own, or name a \
         plugin that you trust with --plugin", path.display()
    )]
    PluginDistrusted { path: PathBuf, reason: String },

    #[error("{} speaks version {major}.{minor} of the PJRT API; lockstep speaks major version 0", path.display())]
    ApiVersion { path: PathBuf, major: i32, minor: i32 },

    #[error("the plugin is too old (PJRT API 0.{minor}): it has no function {function}")]
    FunctionMissing { function: &'static str, minor: i32 },

    #[error(
        "no plugin for {kind} was found; `lockstep plugin install {target}` installs one, and \
         LOCKSTEP_PJRT_PLUGIN=<path> names one"
    )]
    PluginNotFound { kind: DeviceKind, target: &'static str },

    #[error("plugin {target} cannot be installed: {reason}")]
    Install { target: String, reason: String },

    #[error("this machine shows no {kind} device")]
    DeviceAbsent { kind: DeviceKind },

    #[error(
        "this plugin for {kind} cannot train over several processes; train in one process, on all devices of the machine"
    )]
    OneProcess { kind: DeviceKind },

    /// What libtpu is told of the processes, or has found, is not what lockstep knows.
    #[error("{problem}")]
    Tpu { problem: String },

    #[error("{} is a plugin for {platform}, not for {kind}", path.display())]
    WrongKind { path: PathBuf, platform: String, kind: DeviceKind },

    #[error("{requested} devices were asked for, but plugin {} shows only {present}", path.display())]
    TooFewDevices { path: PathBuf, requested: usize, present: usize },

    #[error("there is no device {device}; the client has {present}, counted from 0")]
    NoSuchDevice { device: usize, present: usize },

    /// A kernel or a native environment, while a program ran.
    #[error("{problem}")]
    Kernel { problem: String },

    #[error("the program takes {expected} arguments, but {given} were given")]
    ArgumentCount { expected: usize, given: usize },

    #[error("argument {index} of the program is {expected}, but {given} was given")]
    ArgumentType { index: usize, expected: ArrayType, given: ArrayType },

    #[error("the program runs on {expected} replicas, but arguments for {given} were given")]
    ReplicaCount { expected: usize, given: usize },

    #[error("the module's @main cannot be read: {reason}")]
    Signature { reason: String },

    #[error("XLA has the element type number {number}, which no dtype of lockstep stands for")]
    ElementType { number: i32 },

    /// A PJRT function failed. `message` is what XLA said.
    #[error("XLA failed in {function}: {message}")]
    Xla { function: &'static str, message: String },

    #[error("XLA could not compile the program: {message}")]
    Compile { message: String },

    #[error(
        "there is no topology {name}: {message}; for example, h100:4 is four GPUs of that model, h100:2x4 four in each of two machines, v5e:2x2 four TPUs of \
         generation v5e"
    )]
    NoSuchTopology { name: String, message: String },

    #[error("{requested} devices were asked for, but the topology {name} has only {present}")]
    TopologyTooSmall { name: String, requested: usize, present: usize },
}

impl Error {
    /// What a function that compiles has failed with, as an error about the program.
    pub(super) fn in_compiling(self) -> Error {
        match self {
            Error::Xla { message, .. } => Error::Compile { message },
            other => other,
        }
    }
}
