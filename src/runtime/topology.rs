//! Compiling ahead of time, for devices that this machine need not have.
//!
//! A plugin for tpu knows its devices by name: `v5e:2x2` is four TPUs of generation v5e. [`Topology::compile`] is
//! the whole of XLA's compiler for them, so that a program that a TPU would refuse, or that would not fit into its
//! memory, is known before one is rented. The plugins for cpu and cuda have no names of devices to compile for.

use serde::Serialize;

use super::error::{Error, Result};
use super::ffi::{Api, TopologyHandle};
use super::module_for;
use super::options::CompileOptions;
use super::plugin::PluginFile;
use super::signature;

/// Devices of a plugin's, known by name.
pub struct Topology {
    handle: TopologyHandle,
    plugin: PluginFile,
    name: String,
}

/// What a program takes of the memory of one device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryUse {
    pub code: u64,
    pub arguments: u64,
    /// Results that do not lie in the memory of donated arguments.
    pub results: u64,
    /// Everything between arguments and results, at the moment when it is most.
    pub temporary: u64,
}

impl MemoryUse {
    pub fn total(&self) -> u64 {
        self.code + self.arguments + self.results + self.temporary
    }
}

impl Topology {
    /// The devices that the plugin calls `name`, such as `v5e:2x2`.
    ///
    /// # Errors
    /// The plugin knows no devices of that name, or none by name at all.
    pub fn open(plugin: &PluginFile, name: &str) -> Result<Topology> {
        let handle = match TopologyHandle::create(Api::load_without_device(&plugin.path)?, name) {
            Ok(handle) => handle,
            Err(Error::Xla { message, .. }) => {
                let message = message.trim_end_matches('.').into();
                return Err(Error::NoSuchTopology { name: name.into(), message });
            }
            Err(other) => return Err(other),
        };
        Ok(Topology { handle, plugin: plugin.clone(), name: name.into() })
    }

    /// How many devices it has.
    pub fn devices(&self) -> usize {
        self.handle.num_devices()
    }

    /// The vendor's name of the devices, such as `TPU v5 lite`.
    pub fn device_kind(&self) -> Result<String> {
        self.handle.device_kind()
    }

    /// Compiles StableHLO text and throws the program away: what is left is that it compiles, and what memory it
    /// takes.
    ///
    /// # Errors
    /// What XLA says about a module that it refuses, with the module's locations; too few devices.
    pub fn compile(&self, module: &str, options: &CompileOptions) -> Result<MemoryUse> {
        if options.num_replicas > self.devices() {
            let (requested, present) = (options.num_replicas, self.devices());
            return Err(Error::TopologyTooSmall { name: self.name.clone(), requested, present });
        }
        signature::input_types(module)?;
        self.handle.compile(&module_for(self.plugin.kind, module), &options.to_proto())
    }
}
