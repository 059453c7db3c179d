//! NVIDIA's GPUs as XLA's compiler sees them.
//!
//! The plugin for cuda knows no devices by name. To compile for a GPU that is not there it wants a description: how many
//! multiprocessors, how much memory of which kind, which instructions. What differs between the GPUs of data centres is
//! in [`GPUS`]; the rest has been the same since compute capability 8.0.

/// A model of GPU; numbers as the driver reports them.
#[derive(Debug)]
pub struct Gpu {
    /// What `--topology` calls it.
    pub name: &'static str,
    /// What the driver calls it.
    model: &'static str,
    /// Major number of the compute capability; the minor one is 0.
    capability: u32,
    multiprocessors: u32,
    /// Units for f32 in each multiprocessor.
    fpus: u32,
    /// Bytes of memory shared by the threads of a multiprocessor.
    shared_memory: u64,
    /// Bytes.
    memory: u64,
    /// Bytes per second.
    bandwidth: u64,
    /// Bytes.
    l2_cache: u64,
    clock_ghz: f64,
}

/// The models that can be compiled for.
pub const GPUS: [Gpu; 3] = [
    Gpu {
        name: "a100",
        model: "NVIDIA A100-SXM4-80GB",
        capability: 8,
        multiprocessors: 108,
        fpus: 64,
        shared_memory: 164 << 10,
        memory: 85_100_068_864,
        bandwidth: 2_039_040_000_000,
        l2_cache: 40 << 20,
        clock_ghz: 1.41,
    },
    Gpu {
        name: "h100",
        model: "NVIDIA H100 80GB HBM3",
        capability: 9,
        multiprocessors: 132,
        fpus: 128,
        shared_memory: 228 << 10,
        memory: 84_942_979_072,
        bandwidth: 3_352_320_000_000,
        l2_cache: 50 << 20,
        clock_ghz: 1.98,
    },
    Gpu {
        name: "h200",
        model: "NVIDIA H200",
        capability: 9,
        multiprocessors: 132,
        fpus: 128,
        shared_memory: 228 << 10,
        memory: 151_397_597_184,
        bandwidth: 4_800_000_000_000,
        l2_cache: 50 << 20,
        clock_ghz: 1.98,
    },
];

impl Gpu {
    /// The model and the numbers of machines and of GPUs in each that `topology` names: `h100` is one GPU, `h100:4` are four in
    /// one machine, `h100:2x4` four in each of two.
    pub fn of_topology(topology: &str) -> Option<(&'static Gpu, [usize; 2])> {
        let (name, shape) = topology.split_once(':').unwrap_or((topology, "1"));
        let gpu = GPUS.iter().find(|gpu| gpu.name == name)?;
        let (machines, each) = shape.split_once('x').unwrap_or(("1", shape));
        let number = |text: &str| text.parse().ok().filter(|&number| number > 0);
        Some((gpu, [number(machines)?, number(each)?]))
    }

    /// The options of `PJRT_TopologyDescription_Create` for `each` of them in so many machines: XLA's `GpuTargetConfigProto` in
    /// the text form of protobuf, and how many partitions there are, machines in each, and GPUs in each machine. A partition is what
    /// NVLink connects, which is a machine.
    pub fn topology_options(&self, [machines, each]: [usize; 2]) -> [(&'static str, String); 2] {
        [("target_config", self.target_config()), ("topology", format!("{machines}x1x{each}"))]
    }

    /// The toolkit and cuDNN are the newest that all supported drivers run; newer ones only allow XLA more.
    fn target_config(&self) -> String {
        // One kibibyte of each multiprocessor's shared memory belongs to the system.
        let largest_block = self.shared_memory - 1024;
        format!(
            "gpu_device_info {{
               name: '{model}' device_vendor: 'NVIDIA Corporation'
               cuda_compute_capability {{ major: {capability} }}
               core_count: {multiprocessors} fpus_per_core: {fpus} clock_rate_ghz: {clock}
               threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
               thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
               block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
               registers_per_core_limit: 65536 registers_per_block_limit: 65536
               shared_memory_per_block: 49152 shared_memory_per_block_optin: {largest_block}
               shared_memory_per_core: {shared_memory}
               device_memory_size: {memory} memory_bandwidth: {bandwidth} l2_cache_size: {l2_cache}
               device_address_bits: 64
               driver_version: '12.9.0' runtime_version: '12.9.0' compile_time_toolkit_version: '12.9.0'
               dnn_version: '9.10.0'
             }}
             platform_name: 'CUDA'
             dnn_version_info {{ major: 9 minor: 10 }}
             device_description_str: '{model}'",
            model = self.model,
            capability = self.capability,
            multiprocessors = self.multiprocessors,
            fpus = self.fpus,
            clock = self.clock_ghz,
            shared_memory = self.shared_memory,
            memory = self.memory,
            bandwidth = self.bandwidth,
            l2_cache = self.l2_cache,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_names_a_model_and_numbers() {
        let found = |text| Gpu::of_topology(text).map(|(gpu, numbers)| (gpu.name, numbers));
        assert_eq!(found("h100"), Some(("h100", [1, 1])));
        assert_eq!(found("a100:8"), Some(("a100", [1, 8])));
        assert_eq!(found("h200:2x4"), Some(("h200", [2, 4])));
        for text in ["h100:0", "h100:x", "h100:", "h100:2x", "h100:0x2", "h100:2x1x2", "h101", "v5e:2x2", ""]
        {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
