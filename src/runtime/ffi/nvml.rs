//! NVIDIA's management library, which comes with the driver: how busy GPUs are.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;

use libloading::Library;

/// How busy a GPU is, whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GpuLoad {
    /// Share of the last moments in which something ran, in percent. A part of a GPU does not say it.
    pub load_percent: Option<f64>,
    /// Bytes.
    pub memory_used: u64,
    pub memory_total: u64,
}

type Device = *mut c_void;

#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

/// The functions of the library that are used here. It stays loaded.
struct Nvml {
    count: unsafe extern "C" fn(*mut c_uint) -> c_int,
    device: unsafe extern "C" fn(c_uint, *mut Device) -> c_int,
    utilization: unsafe extern "C" fn(Device, *mut Utilization) -> c_int,
    memory: unsafe extern "C" fn(Device, *mut Memory) -> c_int,
}

impl Nvml {
    fn load() -> Option<Nvml> {
        // SAFETY: it is the driver's library, found as the plugin finds the driver; the types are those of its header, in which these
        // functions have been the same since version 5. The library is never unloaded, so the functions stay.
        unsafe {
            let library = Box::leak(Box::new(Library::new("libnvidia-ml.so.1").ok()?));
            let init = library.get::<unsafe extern "C" fn() -> c_int>(b"nvmlInit_v2\0").ok()?;
            if init() != 0 {
                return None;
            }
            Some(Nvml {
                count: *library.get(b"nvmlDeviceGetCount_v2\0").ok()?,
                device: *library.get(b"nvmlDeviceGetHandleByIndex_v2\0").ok()?,
                utilization: *library.get(b"nvmlDeviceGetUtilizationRates\0").ok()?,
                memory: *library.get(b"nvmlDeviceGetMemoryInfo\0").ok()?,
            })
        }
    }

    fn load_of(&self, index: c_uint) -> Option<GpuLoad> {
        let (mut device, mut memory, mut utilization) =
            (std::ptr::null_mut(), Memory::default(), Utilization::default());
        // SAFETY: each pointer is to a value of the type that the function writes; the handle comes from the library.
        let (has_memory, has_load) = unsafe {
            if (self.device)(index, &mut device) != 0 {
                return None;
            }
            let has_memory = (self.memory)(device, &mut memory) == 0;
            (has_memory, (self.utilization)(device, &mut utilization) == 0)
        };
        let load_percent = has_load.then(|| f64::from(utilization.gpu));
        has_memory.then_some(GpuLoad { load_percent, memory_used: memory.used, memory_total: memory.total })
    }
}

/// How busy the GPUs of NVIDIA's are that this process may use; none where there is no driver.
pub fn gpu_loads() -> Vec<GpuLoad> {
    static NVML: OnceLock<Option<Nvml>> = OnceLock::new();
    let Some(nvml) = NVML.get_or_init(Nvml::load) else { return Vec::new() };
    let mut count = 0;
    // SAFETY: as above.
    let counted = unsafe { (nvml.count)(&mut count) } == 0;
    let all = 0..if counted { count } else { 0 };
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok().and_then(|text| indices(&text));
    let is_visible = |index: &c_uint| visible.as_ref().is_none_or(|visible| visible.contains(index));
    all.filter(is_visible).filter_map(|index| nvml.load_of(index)).collect()
}

/// The numbers of a list of devices; nothing if it names them otherwise.
fn indices(text: &str) -> Option<Vec<c_uint>> {
    text.split(',').map(|index| index.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_may_be_named_otherwise() {
        assert_eq!(indices("0, 3"), Some(vec![0, 3]));
        assert_eq!(indices("GPU-8932f937"), None);
    }

    #[test]
    fn what_is_told_of_a_gpu_makes_sense() {
        for GpuLoad { load_percent, memory_used, memory_total } in gpu_loads() {
            assert!(load_percent.is_none_or(|load| (0.0..=100.0).contains(&load)));
            assert!(memory_used <= memory_total && memory_total > 0);
        }
    }
}
