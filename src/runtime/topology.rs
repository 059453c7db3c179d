//! Compiling ahead of time, for devices that this machine need not have.
//!
//! A plugin for tpu knows its devices by name: `v5e:2x2` is four TPUs of generation v5e. The plugin for cuda takes a
//! description of the GPUs, which lockstep has by name, too: `h100:4`, `h100:2x4`. [`Topology::compile`] is the whole of XLA's compiler
//! for them, so that a program that a device would refuse, or that would not fit into its memory, is known before one is
//! rented. (Only choosing among kernels by timing them has to wait for the device.)

use super::DeviceKind;
use super::error::{Error, Result};
use super::ffi::{Api, MemoryUse, TopologyHandle};
use super::gpu::{GPUS, Gpu};
use super::options::CompileOptions;
use super::plugin::PluginFile;
use super::signature;

/// Devices known by name.
pub struct Topology {
    handle: TopologyHandle,
    plugin: PluginFile,
    name: String,
    deterministic: bool,
}

impl Topology {
    /// The kind of the devices called `name`: GPUs are counted (`h100:4`, or `h100:2x4` in two machines), TPUs stand in rows and columns (`v5e:2x2`).
    ///
    /// # Errors
    /// The name is neither.
    pub fn kind_of(name: &str) -> Result<DeviceKind> {
        let (model, shape) = name.split_once(':').unwrap_or((name, ""));
        let has_rows = shape.contains('x') && GPUS.iter().all(|gpu| gpu.name != model);
        match Gpu::of_topology(name) {
            Some(_) => Ok(DeviceKind::Cuda),
            None if has_rows => Ok(DeviceKind::Tpu),
            None => {
                let message = format!("the GPUs are {}", GPUS.map(|gpu| gpu.name).join(", "));
                Err(Error::NoSuchTopology { name: name.into(), message })
            }
        }
    }

    /// The devices called `name`, such as `v5e:2x2` or `h100:4`, for which `plugin` compiles.
    ///
    /// # Errors
    /// There are no devices of that name, or the plugin is not for them.
    pub fn open(plugin: &PluginFile, name: &str) -> Result<Topology> {
        let api = Api::load_without_device(&plugin.path)?;
        let options = match Gpu::of_topology(name) {
            Some((gpu, numbers)) => gpu.topology_options(numbers).to_vec(),
            None => Vec::new(),
        };
        let handle = match TopologyHandle::create(api, name, &options) {
            Ok(handle) => handle,
            Err(Error::Xla { message, .. }) => {
                let message = message.trim_end_matches('.').into();
                return Err(Error::NoSuchTopology { name: name.into(), message });
            }
            Err(other) => return Err(other),
        };
        Ok(Topology { handle, plugin: plugin.clone(), name: name.into(), deterministic: false })
    }

    /// Whether programs must give the same bits in every run, as [`Client::deterministic`](super::Client::deterministic).
    pub fn deterministic(self, wanted: bool) -> Topology {
        Topology { deterministic: wanted, ..self }
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
        let options = match self.deterministic {
            true => options.clone().deterministic(self.plugin.kind),
            false => options.clone(),
        };
        self.handle.compile(module, &options.to_proto())
    }
}
