//! The plugin's objects, each with an owner.
//!
//! Buffers and executables keep their client alive. PJRT objects may be used from several threads at once;
//! a buffer that was donated or deleted answers with an error, so a method here can fail but not misbehave.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use super::abi::{self, Block, element_type};
use super::store::{self, Given, Store};
use super::{Api, copied, text};
use crate::array::{ArrayType, DType, HostArray};
use crate::runtime::DeviceKind;
use crate::runtime::error::{Error, Result};

/// A client and the devices that it shows.
pub struct ClientHandle {
    api: &'static Api,
    raw: *mut abi::Client,
    devices: Vec<*mut abi::Device>,
    /// What its callbacks are given; dropped after the client.
    _store: Option<Box<Given>>,
}

/// One of several processes whose plugins know of each other.
pub struct Node {
    pub rank: usize,
    pub count: usize,
    /// The first device of this machine that is this process's own.
    pub first_device: usize,
    /// Through which the plugins tell each other what they need.
    pub store: Arc<dyn Store>,
}

// SAFETY: PJRT clients are thread-safe; the pointers are never written to.
unsafe impl Send for ClientHandle {}
unsafe impl Sync for ClientHandle {}

impl ClientHandle {
    /// A client with `device_count` devices: as many virtual ones on `cpu`, the first ones on `cuda`, whatever
    /// is there on `tpu`. As a `node`, on `cuda`, it comes to know the devices of all.
    pub fn create(
        api: &'static Api,
        kind: DeviceKind,
        device_count: usize,
        node: Option<Node>,
    ) -> Result<Self> {
        let count = [device_count as i64];
        let first = node.as_ref().map_or(0, |node| node.first_device) as i64;
        let ordinals: Vec<i64> = (first..first + device_count as i64).collect();
        let place = node.as_ref().map(|node| ([node.rank as i64], [node.count as i64]));
        let mut options: Vec<abi::NamedValue> = match kind {
            DeviceKind::Cpu => vec![named_value("cpu_device_count", abi::NAMED_INT64, &count)],
            DeviceKind::Cuda => vec![named_value("visible_devices", abi::NAMED_INT64_LIST, &ordinals)],
            DeviceKind::Tpu => vec![],
        };
        if let Some((rank, count)) = &place {
            options.push(named_value("node_id", abi::NAMED_INT64, rank));
            options.push(named_value("num_nodes", abi::NAMED_INT64, count));
        }
        let store: Option<Box<Given>> = node.map(|node| Box::new(node.store));
        let given: *const c_void = store.as_deref().map_or(ptr::null(), |store| ptr::from_ref(store).cast());
        let callback = |callback: *const c_void| if given.is_null() { ptr::null() } else { callback };
        // SAFETY: the options and what they point to outlive the call. The devices are an array of the
        // client's that lives as long as the client.
        unsafe {
            let created = api.call(abi::ClientCreate {
                create_options: options.as_ptr(),
                num_options: options.len(),
                kv_get_callback: callback(store::get as *const c_void),
                kv_get_user_arg: given,
                kv_put_callback: callback(store::put as *const c_void),
                kv_put_user_arg: given,
                kv_try_get_callback: callback(store::try_get as *const c_void),
                kv_try_get_user_arg: given,
                ..abi::ClientCreate::zeroed()
            })?;
            let mut client = ClientHandle { api, raw: created.client, devices: Vec::new(), _store: store };
            let query = abi::ClientAddressableDevices {
                client: client.raw,
                ..abi::ClientAddressableDevices::zeroed()
            };
            let listed = api.call(query)?;
            client.devices = copied(listed.devices, listed.num_devices);
            Ok(client)
        }
    }

    pub fn api(&self) -> &'static Api {
        self.api
    }

    pub fn num_devices(&self) -> usize {
        self.devices.len()
    }

    /// XLA's numbers of the devices of all processes, each after that of its process, in the order of these.
    pub fn all_devices(&self) -> Result<Vec<(usize, i64)>> {
        let query = abi::ClientDevices { client: self.raw, ..abi::ClientDevices::zeroed() };
        // SAFETY: the devices are an array of the client's that lives as long as the client.
        let devices = unsafe {
            let listed = self.api.call(query)?;
            copied(listed.devices, listed.num_devices)
        };
        let mut places = devices.into_iter().map(|device| self.place(device)).collect::<Result<Vec<_>>>()?;
        places.sort_unstable();
        Ok(places)
    }

    /// XLA's number of this process.
    pub fn process(&self) -> Result<usize> {
        self.devices.first().map_or(Ok(0), |&device| Ok(self.place(device)?.0))
    }

    /// XLA's numbers of the process that has a device of the client's, and of the device.
    fn place(&self, device: *mut abi::Device) -> Result<(usize, i64)> {
        // SAFETY: device and description live as long as the client.
        unsafe {
            let query = abi::DeviceGetDescription { device, ..abi::DeviceGetDescription::zeroed() };
            let description = self.api.call(query)?.description;
            let query = abi::DeviceDescriptionId { description, ..abi::DeviceDescriptionId::zeroed() };
            let id = self.api.call(query)?.id;
            let query = abi::DeviceDescriptionProcessIndex {
                description,
                ..abi::DeviceDescriptionProcessIndex::zeroed()
            };
            Ok((self.api.call(query)?.process_index.max(0) as usize, i64::from(id)))
        }
    }

    pub fn platform_name(&self) -> Result<String> {
        // SAFETY: the client is alive, and so is its name.
        unsafe {
            let query = abi::ClientPlatformName { client: self.raw, ..abi::ClientPlatformName::zeroed() };
            let answer = self.api.call(query)?;
            Ok(text(answer.name, answer.name_size))
        }
    }

    pub fn platform_version(&self) -> Result<String> {
        // SAFETY: the client is alive, and so is its version.
        unsafe {
            let query =
                abi::ClientPlatformVersion { client: self.raw, ..abi::ClientPlatformVersion::zeroed() };
            let answer = self.api.call(query)?;
            Ok(text(answer.version, answer.version_size))
        }
    }

    /// The vendor's name of the kind of device 0.
    pub fn device_kind(&self) -> Result<String> {
        let Some(&device) = self.devices.first() else { return Ok(String::new()) };
        // SAFETY: device, description and text live as long as the client.
        unsafe {
            let query = abi::DeviceGetDescription { device, ..abi::DeviceGetDescription::zeroed() };
            let description = self.api.call(query)?.description;
            self.api.kind_of(description)
        }
    }

    /// Bytes in use on a device, if the plugin counts them.
    pub fn memory_in_use(&self, device: usize) -> Option<u64> {
        let &device = self.devices.get(device)?;
        // SAFETY: the device lives as long as the client; the plugin writes numbers only.
        let answer = unsafe {
            self.api.call(abi::DeviceMemoryStats { device, ..abi::DeviceMemoryStats::zeroed() }).ok()?
        };
        u64::try_from(answer.bytes_in_use).ok()
    }

    /// Compiles StableHLO text. `options` is a serialized `CompileOptionsProto`.
    pub fn compile(self: &Arc<Self>, module: &str, options: &[u8]) -> Result<ExecutableHandle> {
        let program = Block::mlir(module);
        // SAFETY: all pointers outlive the call; the plugin does not write to the program.
        let compiled = unsafe {
            self.api.call(abi::ClientCompile {
                client: self.raw,
                program: &program,
                compile_options: options.as_ptr(),
                compile_options_size: options.len(),
                executable: ptr::null_mut(),
            })
        };
        ExecutableHandle::own(self.clone(), compiled.map_err(Error::in_compiling)?.executable)
    }

    /// Loads what [`ExecutableHandle::serialize`] returned, under the options it was compiled with.
    pub fn deserialize(self: &Arc<Self>, serialized: &[u8]) -> Result<ExecutableHandle> {
        // SAFETY: the bytes outlive the call.
        let loaded = unsafe {
            self.api.call(abi::ExecutableDeserializeAndLoad {
                client: self.raw,
                serialized_executable: serialized.as_ptr(),
                serialized_executable_size: serialized.len(),
                ..abi::ExecutableDeserializeAndLoad::zeroed()
            })
        }?;
        ExecutableHandle::own(self.clone(), loaded.loaded_executable)
    }

    /// Copies a host array to device number `device`, which exists. The copy is made during the call: on a cpu
    /// that is up to three times as fast as letting the plugin copy in a thread of its own.
    pub fn upload(self: &Arc<Self>, array: &HostArray, device: usize) -> Result<BufferHandle> {
        let dims: Vec<i64> = array.shape().iter().map(|&size| size as i64).collect();
        // SAFETY: the array is dense and row-major, as null strides say, and is borrowed during the call.
        unsafe {
            let sent = self.api.call(abi::ClientBufferFromHostBuffer {
                client: self.raw,
                data: array.as_ptr().cast(),
                element_type: element_type_of(array.dtype()),
                dims: dims.as_ptr(),
                num_dims: dims.len(),
                host_buffer_semantics: abi::IMMUTABLE_ONLY_DURING_CALL,
                device: self.devices[device],
                ..abi::ClientBufferFromHostBuffer::zeroed()
            })?;
            let buffer = BufferHandle { client: self.clone(), raw: sent.buffer };
            self.api.wait(sent.done_with_host_buffer)?;
            Ok(buffer)
        }
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        // SAFETY: everything made by the client holds an `Arc` of it, so nothing is left.
        let destroyed = unsafe { self.api.call(abi::ClientDestroy { client: self.raw }) };
        report("client", destroyed);
    }
}

/// An array on a device.
pub struct BufferHandle {
    client: Arc<ClientHandle>,
    raw: *mut abi::Buffer,
}

// SAFETY: PJRT buffers are thread-safe.
unsafe impl Send for BufferHandle {}
unsafe impl Sync for BufferHandle {}

impl BufferHandle {
    /// Waits until the buffer's value is there; if the program that computes it failed, says how.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the buffer is alive; the event is used once.
        unsafe {
            let query = abi::BufferReadyEvent { buffer: self.raw, event: ptr::null_mut() };
            let event = self.client.api.call(query)?.event;
            self.client.api.wait(event)
        }
    }

    /// Copies the value, which has type `array_type`, to the host.
    pub fn download(&self, array_type: &ArrayType) -> Result<HostArray> {
        if array_type.dtype == DType::Bool {
            // Not every byte is a valid `bool`, so the bytes are taken as numbers first.
            let bytes =
                self.download_into(HostArray::zeros(&ArrayType::new(DType::U8, &*array_type.shape)))?;
            let values = bytes.as_slice::<u8>().iter().map(|&byte| byte != 0).collect();
            return Ok(HostArray::new::<bool>(&array_type.shape, values));
        }
        self.download_into(HostArray::zeros(array_type))
    }

    /// Overwrites `array`, whose elements are numbers, with the value; their sizes are the same.
    fn download_into(&self, mut array: HostArray) -> Result<HostArray> {
        let array_type = array.array_type();
        let minor_to_major: Vec<i64> = (0..array_type.rank() as i64).rev().collect();
        let row_major = abi::MemoryLayout {
            struct_size: size_of::<abi::MemoryLayout>(),
            tiled_struct_size: std::mem::offset_of!(abi::MemoryLayout, layout_type)
                - std::mem::offset_of!(abi::MemoryLayout, tiled_struct_size),
            minor_to_major: minor_to_major.as_ptr(),
            minor_to_major_size: minor_to_major.len(),
            layout_type: abi::LAYOUT_TILED,
            ..abi::MemoryLayout::zeroed()
        };
        // SAFETY: the plugin refuses a destination that is too small. Nothing else touches the array until
        // the copy is complete, which is waited for.
        unsafe {
            let started = self.client.api.call(abi::BufferToHostBuffer {
                source: self.raw,
                host_layout: &row_major,
                destination: array.as_mut_ptr().cast(),
                destination_size: array_type.byte_size(),
                event: ptr::null_mut(),
            })?;
            self.client.api.wait(started.event)?;
        }
        Ok(array)
    }

    /// Where the buffer lies in the device's memory.
    #[cfg(test)]
    pub fn address(&self) -> Result<usize> {
        // SAFETY: the buffer is alive; the address is not followed.
        let answer =
            unsafe { self.client.api.call(abi::BufferUnsafePointer { buffer: self.raw, address: 0 }) };
        Ok(answer?.address)
    }
}

impl Drop for BufferHandle {
    fn drop(&mut self) {
        // SAFETY: the buffer is used no more; what still computes on it holds its memory itself.
        let destroyed = unsafe { self.client.api.call(abi::BufferDestroy { buffer: self.raw }) };
        report("buffer", destroyed);
    }
}

/// A program, loaded on the devices of its client.
pub struct ExecutableHandle {
    client: Arc<ClientHandle>,
    raw: *mut abi::LoadedExecutable,
    num_outputs: usize,
}

// SAFETY: PJRT executables are thread-safe.
unsafe impl Send for ExecutableHandle {}
unsafe impl Sync for ExecutableHandle {}

impl ExecutableHandle {
    fn own(client: Arc<ClientHandle>, raw: *mut abi::LoadedExecutable) -> Result<Self> {
        let mut handle = ExecutableHandle { client, raw, num_outputs: 0 };
        let executable = handle.unloaded()?;
        let query = abi::ExecutableNumOutputs { executable: executable.raw, num_outputs: 0 };
        // SAFETY: the executable is alive.
        handle.num_outputs = unsafe { handle.client.api.call(query) }?.num_outputs;
        Ok(handle)
    }

    /// The types of the results on one replica.
    pub fn output_types(&self) -> Result<Vec<ArrayType>> {
        let api = self.client.api;
        let unloaded = self.unloaded()?;
        let executable = unloaded.raw;
        // SAFETY: the lists belong to the executable, which is alive until the end of this function.
        unsafe {
            let query = abi::ExecutableOutputElementTypes {
                executable,
                ..abi::ExecutableOutputElementTypes::zeroed()
            };
            let answer = api.call(query)?;
            let types: Vec<c_int> = copied(answer.types, answer.num_types);
            let query = abi::ExecutableOutputDimensions {
                executable,
                num_outputs: self.num_outputs,
                ..abi::ExecutableOutputDimensions::zeroed()
            };
            let answer = api.call(query)?;
            let ranks: Vec<usize> = copied(answer.dim_sizes, self.num_outputs);
            let dims: Vec<i64> = copied(answer.dims, ranks.iter().sum());

            let mut dims = dims.into_iter().map(|size| size as usize);
            let array_type = |(number, rank)| {
                let shape: Vec<usize> = dims.by_ref().take(rank).collect();
                Ok(ArrayType::new(dtype_of(number)?, shape))
            };
            types.into_iter().zip(ranks).map(array_type).collect()
        }
    }

    /// Bytes that [`ClientHandle::deserialize`] turns into the same executable.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        let unloaded = self.unloaded()?;
        // SAFETY: the bytes live until the deleter is called, and are copied before.
        unsafe {
            let query =
                abi::ExecutableSerialize { executable: unloaded.raw, ..abi::ExecutableSerialize::zeroed() };
            let answer = self.client.api.call(query)?;
            let bytes = copied(answer.bytes, answer.bytes_size);
            if let Some(delete) = answer.deleter {
                delete(answer.serialized);
            }
            Ok(bytes)
        }
    }

    /// Starts the program and returns `[replica][output]`. `arguments` are those of replica 0, then those of
    /// replica 1, and so on. Every argument that the module lets alias an output is donated, unless its
    /// index (counted per replica) is in `borrowed`.
    pub fn execute(
        &self,
        arguments: &[&BufferHandle],
        num_replicas: usize,
        borrowed: &[i64],
    ) -> Result<Vec<Vec<BufferHandle>>> {
        let options = Block::new(abi::ExecuteOptions {
            non_donatable_input_indices: borrowed.as_ptr(),
            num_non_donatable_input_indices: borrowed.len(),
            ..abi::ExecuteOptions::zeroed()
        });
        let num_args = arguments.len() / num_replicas;
        let inputs: Vec<*mut abi::Buffer> = arguments.iter().map(|buffer| buffer.raw).collect();
        let input_lists: Vec<*const *mut abi::Buffer> =
            (0..num_replicas).map(|replica| inputs[replica * num_args..].as_ptr()).collect();
        let mut outputs = vec![vec![ptr::null_mut::<abi::Buffer>(); self.num_outputs]; num_replicas];
        let output_lists: Vec<*mut *mut abi::Buffer> =
            outputs.iter_mut().map(|list| list.as_mut_ptr()).collect();
        // SAFETY: the lists have the lengths that are stated and outlive the call.
        unsafe {
            self.client.api.call(abi::LoadedExecutableExecute {
                executable: self.raw,
                options: &options,
                argument_lists: input_lists.as_ptr(),
                num_devices: num_replicas,
                num_args,
                output_lists: output_lists.as_ptr(),
                ..abi::LoadedExecutableExecute::zeroed()
            })?;
        }
        let owned = |raw| BufferHandle { client: self.client.clone(), raw };
        Ok(outputs.into_iter().map(|list| list.into_iter().map(owned).collect()).collect())
    }

    /// The executable apart from its devices: what describes and serializes it.
    fn unloaded(&self) -> Result<Unloaded> {
        let query = abi::LoadedExecutableGetExecutable {
            loaded_executable: self.raw,
            ..abi::LoadedExecutableGetExecutable::zeroed()
        };
        // SAFETY: the loaded executable is alive.
        let raw = unsafe { self.client.api.call(query) }?.executable;
        Ok(Unloaded { api: self.client.api, raw })
    }
}

impl Drop for ExecutableHandle {
    fn drop(&mut self) {
        // SAFETY: the executable is used no more.
        let destroyed =
            unsafe { self.client.api.call(abi::LoadedExecutableDestroy { executable: self.raw }) };
        report("program", destroyed);
    }
}

/// An executable apart from devices: what describes and serializes it.
pub struct Unloaded {
    pub api: &'static Api,
    pub raw: *mut abi::Executable,
}

impl Drop for Unloaded {
    fn drop(&mut self) {
        // SAFETY: the executable is used no more.
        let destroyed = unsafe { self.api.call(abi::ExecutableDestroy { executable: self.raw }) };
        report("executable", destroyed);
    }
}

/// A destructor has nobody to return an error to.
pub fn report<A>(what: &str, destroyed: Result<A>) {
    if let Err(error) = destroyed {
        tracing::warn!("a {what} could not be freed: {error}");
    }
}

/// An option of the client; `values` must outlive it.
fn named_value(name: &'static str, value_type: c_int, values: &[i64]) -> abi::NamedValue {
    let value = match value_type {
        // The union holds the number itself.
        abi::NAMED_INT64 => ptr::without_provenance(values[0] as usize),
        _ => values.as_ptr(),
    };
    named(name, value_type, value, values.len())
}

/// An option that is a text, which must outlive it.
pub fn named_text(name: &'static str, text: &str) -> abi::NamedValue {
    named(name, abi::NAMED_STRING, text.as_ptr().cast(), text.len())
}

fn named(name: &'static str, value_type: c_int, value: *const i64, value_size: usize) -> abi::NamedValue {
    abi::NamedValue {
        struct_size: size_of::<abi::NamedValue>(),
        extension_start: ptr::null(),
        name: name.as_ptr(),
        name_size: name.len(),
        value_type,
        value,
        value_size,
    }
}

fn element_type_of(dtype: DType) -> c_int {
    match dtype {
        DType::Bool => element_type::PRED,
        DType::U8 => element_type::U8,
        DType::I32 => element_type::S32,
        DType::U32 => element_type::U32,
        DType::U64 => element_type::U64,
        DType::BF16 => element_type::BF16,
        DType::F32 => element_type::F32,
        DType::F64 => element_type::F64,
    }
}

fn dtype_of(number: c_int) -> Result<DType> {
    let found = DType::ALL.into_iter().find(|&dtype| element_type_of(dtype) == number);
    found.ok_or(Error::ElementType { number })
}
