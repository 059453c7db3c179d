//! Kinds of devices.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::files;

/// A kind of device that XLA compiles for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// NVIDIA GPUs.
    #[value(alias = "gpu")]
    Cuda,
    /// Google TPUs.
    Tpu,
}

/// What programs are traced and lowered for: a kind of device, and what its compiler may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: DeviceKind,
    /// Programs may call the native kernels ([`kernels`](super::kernels)); otherwise their plain twins are written.
    pub kernels: bool,
    /// Small equations are gathered into functions that XLA's compiler for cpu makes one kernel of; others do not know them.
    pub clusters: bool,
    /// The processes that run programs together.
    pub processes: Processes,
}

/// How many processes run programs together, each on as many devices as the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processes {
    pub total: usize,
    /// Those that share the processor of this machine.
    pub here: usize,
}

impl Processes {
    /// This one alone.
    pub const ONE: Processes = Processes { total: 1, here: 1 };
}

impl Target {
    /// Devices of that kind, with nothing of lockstep's own in the process that compiles: no native kernels.
    pub const fn plain(kind: DeviceKind) -> Target {
        Target { kind, kernels: false, clusters: true, processes: Processes::ONE }
    }
}

impl DeviceKind {
    /// The fastest first.
    pub const BEST_FIRST: [DeviceKind; 3] = [DeviceKind::Tpu, DeviceKind::Cuda, DeviceKind::Cpu];

    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Tpu => "tpu",
        }
    }

    /// Whether this machine has a device of the kind, as far as the system's files tell.
    pub fn is_present(self) -> bool {
        let exists = |path: &str| Path::new(path).exists();
        match self {
            DeviceKind::Cpu => true,
            DeviceKind::Cuda => {
                let hidden =
                    std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|list| list.is_empty() || list == "-1");
                !hidden && (exists("/dev/nvidiactl") || exists("/usr/lib/wsl/lib/libcuda.so.1"))
            }
            DeviceKind::Tpu => exists("/dev/accel0") || has_tpu_on_pci_bus(),
        }
    }

    /// What `lockstep plugin install` calls the usual plugin of the kind.
    pub fn install_target(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda12",
            DeviceKind::Tpu => "tpu",
        }
    }

    /// The kind of device that a plugin is for, by the names of the file and of its folder.
    pub(super) fn of_file(path: &Path) -> Option<DeviceKind> {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let names = [folder, path.file_name().unwrap_or_default()];
        let says = |word| names.iter().any(|name| name.to_string_lossy().to_lowercase().contains(word));
        if says("cuda") || says("gpu") {
            Some(DeviceKind::Cuda)
        } else if says("tpu") {
            Some(DeviceKind::Tpu)
        } else if says("cpu") {
            Some(DeviceKind::Cpu)
        } else {
            None
        }
    }

    /// Whether `platform`, XLA's name of a client's platform, is of this kind.
    pub(super) fn is_platform(self, platform: &str) -> bool {
        match self {
            DeviceKind::Cpu => platform == "cpu",
            DeviceKind::Cuda => matches!(platform, "cuda" | "gpu"),
            DeviceKind::Tpu => platform == "tpu",
        }
    }
}

/// The newer TPUs appear in /dev under a name that any device may have, but tell what they are on the bus.
fn has_tpu_on_pci_bus() -> bool {
    const GOOGLE: &str = "0x1ae0";
    const TPUS: [&str; 6] = ["0x0027", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"];
    let devices = fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    devices.map(|device| device.path()).any(|device| {
        let id = |name| files::read_text(&device.join(name)).unwrap_or_default();
        id("vendor").trim() == GOOGLE && TPUS.contains(&id("device").trim())
    })
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = DeviceKind::BEST_FIRST.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("`{text}` is no kind of device; there are cpu, cuda and tpu"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in DeviceKind::BEST_FIRST {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gpu".parse::<DeviceKind>().unwrap_err().contains("cpu, cuda and tpu"));
    }

    #[test]
    fn a_plugin_file_tells_its_kind() {
        let kind = |path| DeviceKind::of_file(Path::new(path));
        assert_eq!(kind("/a/gpu-cluster/xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so"), Some(DeviceKind::Cpu));
        assert_eq!(kind("jax_plugins/xla_cuda13/xla_cuda_plugin.so"), Some(DeviceKind::Cuda));
        assert_eq!(kind("pjrt_c_api_gpu_plugin.so"), Some(DeviceKind::Cuda));
        assert_eq!(kind("libtpu/libtpu.so"), Some(DeviceKind::Tpu));
        assert_eq!(kind("jax_plugins/xla_rocm7/xla_rocm_plugin.so"), None);
    }
}
