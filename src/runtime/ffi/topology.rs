//! Topologies: devices that need not be there, for which a plugin compiles.

use std::ptr;

use serde::Serialize;

use super::abi::{self, Block};
use super::handle::{Unloaded, named_text, report};
use super::{Api, copied};
use crate::runtime::error::{Error, Result};

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

/// Devices that a plugin knows by name.
pub struct TopologyHandle {
    api: &'static Api,
    raw: *mut abi::Topology,
    devices: Vec<*mut abi::DeviceDescription>,
}

// SAFETY: a topology is never changed, and its descriptions live as long as it does.
unsafe impl Send for TopologyHandle {}
unsafe impl Sync for TopologyHandle {}

impl TopologyHandle {
    /// The devices that the plugin calls `name`, such as `v5e:2x2`, or that `options` describe.
    pub fn create(api: &'static Api, name: &str, options: &[(&'static str, String)]) -> Result<Self> {
        let options: Vec<_> = options.iter().map(|(name, value)| named_text(name, value)).collect();
        // SAFETY: the name and the options outlive the call. The descriptions are an array of the topology's.
        unsafe {
            let created = api.call(abi::TopologyDescriptionCreate {
                name: name.as_ptr(),
                name_size: name.len(),
                create_options: options.as_ptr(),
                num_options: options.len(),
                ..abi::TopologyDescriptionCreate::zeroed()
            })?;
            let mut topology = TopologyHandle { api, raw: created.topology, devices: Vec::new() };
            let query = abi::TopologyDescriptionGetDeviceDescriptions {
                topology: topology.raw,
                ..abi::TopologyDescriptionGetDeviceDescriptions::zeroed()
            };
            let listed = api.call(query)?;
            topology.devices = copied(listed.descriptions, listed.num_descriptions);
            Ok(topology)
        }
    }

    pub fn num_devices(&self) -> usize {
        self.devices.len()
    }

    /// The vendor's name of the kind of device 0.
    pub fn device_kind(&self) -> Result<String> {
        let Some(&description) = self.devices.first() else { return Ok(String::new()) };
        // SAFETY: description and text live as long as the topology.
        unsafe { self.api.kind_of(description) }
    }

    /// Compiles StableHLO text and tells what memory the program takes; there is nothing to run it on.
    /// `options` is a serialized `CompileOptionsProto`.
    pub fn compile(&self, module: &str, options: &[u8]) -> Result<MemoryUse> {
        let program = Block::mlir(module);
        // SAFETY: all pointers outlive the call; the plugin does not write to the program.
        let compiled = unsafe {
            self.api.call(abi::Compile {
                topology: self.raw,
                program: &program,
                compile_options: options.as_ptr(),
                compile_options_size: options.len(),
                client: ptr::null_mut(),
                executable: ptr::null_mut(),
            })
        };
        let raw = compiled.map_err(Error::in_compiling)?.executable;
        let executable = Unloaded { api: self.api, raw };
        let query = abi::ExecutableGetCompiledMemoryStats {
            executable: executable.raw,
            ..abi::ExecutableGetCompiledMemoryStats::zeroed()
        };
        // SAFETY: the executable is alive.
        let sizes = unsafe { self.api.call(query) }?;
        let bytes = |size: i64| size.max(0) as u64;
        Ok(MemoryUse {
            code: bytes(sizes.generated_code_size),
            arguments: bytes(sizes.argument_size),
            results: bytes(sizes.output_size - sizes.alias_size),
            temporary: bytes(sizes.temp_size),
        })
    }
}

impl Drop for TopologyHandle {
    fn drop(&mut self) {
        // SAFETY: the topology is used no more.
        let destroyed = unsafe { self.api.call(abi::TopologyDescriptionDestroy { topology: self.raw }) };
        report("topology", destroyed);
    }
}
