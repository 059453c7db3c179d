//! The part of the PJRT C API that lockstep uses: opaque objects, constants and argument structs.
//!
//! Every PJRT function takes one pointer to an argument struct that begins with its own size and a
//! pointer to extensions; [`Block`] adds those two words and room to spare. What follows them is
//! declared here, one [`Arguments`] per function, with the function's position in the table of
//! `PJRT_Api`. Positions and fields never change within major version 0 of the API; new ones are
//! only appended.

use std::ffi::{c_char, c_int, c_void};

macro_rules! opaque {
    ($($Name:ident)*) => { $(
        #[repr(C)]
        pub struct $Name { _private: [u8; 0] }
    )* };
}
opaque! { Error Event Client Device DeviceDescription Memory LoadedExecutable Executable Buffer Serialized Topology }

/// What every plugin exports: `GetPjrtApi`.
pub type GetApi = unsafe extern "C" fn() -> *const ApiHeader;

/// A function of the table, with the type of its argument struct erased.
pub type Function = unsafe extern "C" fn(*mut c_void) -> *mut Error;

/// The beginning of `PJRT_Api`; the table of functions follows.
#[repr(C)]
pub struct ApiHeader {
    pub struct_size: usize,
    pub extension_start: *const c_void,
    pub version_struct_size: usize,
    pub version_extension_start: *const c_void,
    pub major_version: c_int,
    pub minor_version: c_int,
}

/// An argument struct as it is passed: with zeroed room behind it.
///
/// A plugin refuses a struct that is smaller than its own version's and accepts a larger one; the
/// fields that a newer plugin would read or write are in `spare`, and are zero.
#[repr(C)]
pub struct Block<A> {
    struct_size: usize,
    extension_start: *const c_void,
    pub fields: A,
    spare: [usize; 16],
}

impl<A> Block<A> {
    pub fn new(fields: A) -> Self {
        Block { struct_size: size_of::<Self>(), extension_start: std::ptr::null(), fields, spare: [0; 16] }
    }
}

impl Block<Program> {
    /// A program of StableHLO text, which must outlive it.
    pub fn mlir(module: &str) -> Self {
        const FORMAT: &str = "mlir";
        Block::new(Program {
            code: module.as_ptr(),
            code_size: module.len(),
            format: FORMAT.as_ptr(),
            format_size: FORMAT.len(),
        })
    }
}

/// The fields of a function's argument struct, after the two words that all have in common.
pub trait Arguments {
    /// The function's place in the table of `PJRT_Api`.
    const POSITION: usize;
    /// The function's name in the PJRT header.
    const NAME: &'static str;
}

macro_rules! structs {
    ($($(#[$doc:meta])* $Name:ident { $($field:ident: $Type:ty,)* })*) => { $(
        $(#[$doc])*
        #[repr(C)]
        pub struct $Name { $(pub $field: $Type,)* }

        impl $Name {
            /// All pointers null, all numbers zero: what a caller leaves out and what the plugin fills in.
            #[allow(dead_code)]
            pub fn zeroed() -> Self {
                // SAFETY: the fields are raw pointers, integers, arrays of them and optional function
                // pointers; all of these may be zero.
                unsafe { std::mem::zeroed() }
            }
        }
    )* };
}

macro_rules! functions {
    ($($(#[$doc:meta])* $position:literal $Name:ident { $($field:ident: $Type:ty,)* })*) => {
        structs! { $( $(#[$doc])* $Name { $($field: $Type,)* } )* }
        $(
            impl Arguments for $Name {
                const POSITION: usize = $position;
                const NAME: &'static str = stringify!($Name);
            }
        )*
    };
}

functions! {
    /// Returns nothing, unlike the others.
    0 ErrorDestroy { error: *mut Error, }
    /// Returns nothing, unlike the others. The message lives as long as the error.
    1 ErrorMessage { error: *const Error, message: *const c_char, message_size: usize, }
    3 PluginInitialize {}
    /// The attributes live as long as the process.
    4 PluginAttributes { attributes: *const NamedValue, num_attributes: usize, }
    5 EventDestroy { event: *mut Event, }
    8 EventAwait { event: *mut Event, }
    10 ClientCreate {
        create_options: *const NamedValue,
        num_options: usize,
        kv_get_callback: *const c_void,
        kv_get_user_arg: *const c_void,
        kv_put_callback: *const c_void,
        kv_put_user_arg: *const c_void,
        client: *mut Client,
        kv_try_get_callback: *const c_void,
        kv_try_get_user_arg: *const c_void,
    }
    11 ClientDestroy { client: *mut Client, }
    /// The name lives as long as the client.
    12 ClientPlatformName { client: *mut Client, name: *const c_char, name_size: usize, }
    /// The version lives as long as the client.
    14 ClientPlatformVersion { client: *mut Client, version: *const c_char, version_size: usize, }
    /// Those of all processes. They live as long as the client.
    15 ClientDevices { client: *mut Client, devices: *const *mut Device, num_devices: usize, }
    /// The devices live as long as the client.
    16 ClientAddressableDevices { client: *mut Client, devices: *const *mut Device, num_devices: usize, }
    20 ClientCompile {
        client: *mut Client,
        program: *const Block<Program>,
        compile_options: *const u8,
        compile_options_size: usize,
        executable: *mut LoadedExecutable,
    }
    22 ClientBufferFromHostBuffer {
        client: *mut Client,
        data: *const c_void,
        element_type: c_int,
        dims: *const i64,
        num_dims: usize,
        byte_strides: *const i64,
        num_byte_strides: usize,
        host_buffer_semantics: c_int,
        device: *mut Device,
        memory: *mut Memory,
        device_layout: *const c_void,
        done_with_host_buffer: *mut Event,
        buffer: *mut Buffer,
    }
    23 DeviceDescriptionId { description: *mut DeviceDescription, id: c_int, }
    24 DeviceDescriptionProcessIndex { description: *mut DeviceDescription, process_index: c_int, }
    /// The kind lives as long as the client.
    26 DeviceDescriptionKind { description: *mut DeviceDescription, kind: *const c_char, kind_size: usize, }
    29 DeviceGetDescription { device: *mut Device, description: *mut DeviceDescription, }
    /// The optional counters that follow the one number used here are 20 words; a plugin may write all.
    34 DeviceMemoryStats { device: *mut Device, bytes_in_use: i64, counters: [i64; 20], }
    40 ExecutableDestroy { executable: *mut Executable, }
    44 ExecutableNumOutputs { executable: *mut Executable, num_outputs: usize, }
    /// `bytes` live until `deleter` is called on `serialized`.
    49 ExecutableSerialize {
        executable: *const Executable,
        bytes: *const u8,
        bytes_size: usize,
        serialized: *mut Serialized,
        deleter: Option<unsafe extern "C" fn(*mut Serialized)>,
    }
    50 LoadedExecutableDestroy { executable: *mut LoadedExecutable, }
    51 LoadedExecutableGetExecutable { loaded_executable: *mut LoadedExecutable, executable: *mut Executable, }
    /// `argument_lists` is `[num_devices][num_args]`, `output_lists` is `[num_devices][num_outputs]`.
    55 LoadedExecutableExecute {
        executable: *mut LoadedExecutable,
        options: *const Block<ExecuteOptions>,
        argument_lists: *const *const *mut Buffer,
        num_devices: usize,
        num_args: usize,
        output_lists: *const *mut *mut Buffer,
        device_complete_events: *mut *mut Event,
        execute_device: *mut Device,
    }
    56 ExecutableDeserializeAndLoad {
        client: *mut Client,
        serialized_executable: *const u8,
        serialized_executable_size: usize,
        loaded_executable: *mut LoadedExecutable,
        overridden_compile_options: *const u8,
        overridden_compile_options_size: usize,
    }
    58 BufferDestroy { buffer: *mut Buffer, }
    /// With `destination` null, only `destination_size` is filled in.
    70 BufferToHostBuffer {
        source: *mut Buffer,
        host_layout: *const MemoryLayout,
        destination: *mut c_void,
        destination_size: usize,
        event: *mut Event,
    }
    72 BufferReadyEvent { buffer: *mut Buffer, event: *mut Event, }
    73 BufferUnsafePointer { buffer: *mut Buffer, address: usize, }
    /// The types live as long as the executable.
    90 ExecutableOutputElementTypes { executable: *mut Executable, types: *const c_int, num_types: usize, }
    /// `dims` holds the sizes of all outputs one after the other, `dim_sizes` the rank of each.
    91 ExecutableOutputDimensions {
        executable: *mut Executable,
        num_outputs: usize,
        dims: *const i64,
        dim_sizes: *const usize,
    }
    82 TopologyDescriptionCreate {
        name: *const u8,
        name_size: usize,
        create_options: *const NamedValue,
        num_options: usize,
        topology: *mut Topology,
    }
    83 TopologyDescriptionDestroy { topology: *mut Topology, }
    /// The descriptions live as long as the topology.
    86 TopologyDescriptionGetDeviceDescriptions {
        topology: *const Topology,
        descriptions: *const *mut DeviceDescription,
        num_descriptions: usize,
    }
    /// As `ClientCompile`, for devices that need not be there.
    89 Compile {
        topology: *const Topology,
        program: *const Block<Program>,
        compile_options: *const u8,
        compile_options_size: usize,
        client: *mut Client,
        executable: *mut Executable,
    }
    /// Bytes in the memory of one device.
    96 ExecutableGetCompiledMemoryStats {
        executable: *mut Executable,
        generated_code_size: i64,
        argument_size: i64,
        output_size: i64,
        alias_size: i64,
        temp_size: i64,
        host_sizes: [i64; 5],
        peak_memory: i64,
    }
}

structs! {
    /// The text of a program; `format` is `mlir`.
    Program { code: *const u8, code_size: usize, format: *const u8, format_size: usize, }

    ExecuteOptions {
        send_callbacks: *const c_void,
        recv_callbacks: *const c_void,
        num_send_ops: usize,
        num_recv_ops: usize,
        launch_id: c_int,
        non_donatable_input_indices: *const i64,
        num_non_donatable_input_indices: usize,
    }

    /// An option of `ClientCreate` or an attribute of the plugin. Passed in arrays, so its size is exactly the
    /// header's. `value` is a union there: an `int64`, or a pointer to several or to the bytes of a text.
    NamedValue {
        struct_size: usize,
        extension_start: *const c_void,
        name: *const u8,
        name_size: usize,
        value_type: c_int,
        value: *const i64,
        value_size: usize,
    }

    /// A layout given as the order of the axes, without tiles. Nested by value, so its size is exact.
    MemoryLayout {
        struct_size: usize,
        extension_start: *const c_void,
        tiled_struct_size: usize,
        tiled_extension_start: *const c_void,
        minor_to_major: *const i64,
        minor_to_major_size: usize,
        tile_dims: *const i64,
        tile_dim_sizes: *const usize,
        num_tiles: usize,
        layout_type: c_int,
    }
}

/// An entry of the list of extensions of `PJRT_Api`.
#[repr(C)]
pub struct Extension {
    pub struct_size: usize,
    pub kind: c_int,
    pub next: *const Extension,
}

/// The extension through which the handlers of custom calls are registered.
#[repr(C)]
pub struct FfiExtension {
    pub base: Extension,
    pub type_register: *const c_void,
    pub user_data_add: *const c_void,
    pub register_handler: Option<Function>,
}

/// The argument struct of `register_handler`, which has no list of extensions.
#[repr(C)]
pub struct RegisterHandler {
    pub struct_size: usize,
    pub target_name: *const u8,
    pub target_name_size: usize,
    pub handler: *const c_void,
    pub platform_name: *const u8,
    pub platform_name_size: usize,
    pub traits: c_int,
    pub spare: [usize; 16],
}

pub const FFI_EXTENSION: c_int = 5;

pub const NAMED_STRING: c_int = 0;
pub const NAMED_INT64: c_int = 1;
pub const NAMED_INT64_LIST: c_int = 2;
pub const LAYOUT_TILED: c_int = 0;
pub const IMMUTABLE_ONLY_DURING_CALL: c_int = 0;

/// `PJRT_Buffer_Type` of each dtype.
pub mod element_type {
    use std::ffi::c_int;

    pub const PRED: c_int = 1;
    pub const S32: c_int = 4;
    pub const U8: c_int = 6;
    pub const U32: c_int = 8;
    pub const U64: c_int = 9;
    pub const F32: c_int = 11;
    pub const F64: c_int = 12;
    pub const BF16: c_int = 13;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// Sizes and offsets as the C compiler lays out the structs of the PJRT header (API 0.81, 64 bits).
    #[test]
    fn layouts_are_those_of_the_header() {
        assert_eq!(size_of::<ApiHeader>(), 40);
        assert_eq!(size_of::<NamedValue>(), 56);
        assert_eq!(size_of::<MemoryLayout>(), 80);
        assert_eq!(offset_of!(FfiExtension, register_handler), 40);
        assert_eq!(offset_of!(RegisterHandler, traits), 48);
        assert_eq!(offset_of!(Block<ClientBufferFromHostBuffer>, fields), 16);
        assert_eq!(16 + offset_of!(ClientBufferFromHostBuffer, device), 80);
        assert_eq!(16 + offset_of!(ClientBufferFromHostBuffer, buffer), 112);
        assert_eq!(16 + offset_of!(ExecuteOptions, non_donatable_input_indices), 56);
        assert_eq!(16 + offset_of!(LoadedExecutableExecute, execute_device), 72);
    }
}
