//! How busy the machine is, as the system says: processor, memory, GPUs. What a system does not say is left out.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files;
use crate::runtime::{GpuLoad, gpu_loads};

/// How busy the machine is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Utilisation {
    /// Share of all processors that anybody uses, in percent.
    pub cpu_percent: Option<f64>,
    /// What this process uses of them, in percent of one.
    pub process_percent: Option<f64>,
    /// Memory of the process in bytes.
    pub process_memory: Option<u64>,
    pub memory: Option<Memory>,
    pub gpus: Vec<Gpu>,
}

/// The memory of the machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    pub total: u64,
    pub available: u64,
}

/// A GPU, as `status.json` says it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Share of the last moments in which something ran, in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub load_percent: Option<f64>,
    #[serde(rename = "memory_bytes")]
    pub memory_used: u64,
    #[serde(rename = "memory_total_bytes")]
    pub memory_total: u64,
}

impl Gpu {
    pub fn memory_percent(&self) -> f64 {
        100.0 * self.memory_used as f64 / self.memory_total.max(1) as f64
    }
}

impl Utilisation {
    /// The share of the machine's memory that is in use, in percent.
    pub fn memory_percent(&self) -> Option<f64> {
        let Memory { total, available } = self.memory?;
        Some(100.0 * total.saturating_sub(available) as f64 / total.max(1) as f64)
    }
}

/// Looks now and then: how busy a processor is shows between two looks.
#[derive(Debug, Default)]
pub struct Watcher {
    last: Option<Ticks>,
}

/// Ticks of the system's clock since it began.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    /// Of all processors together, and of them those in which they were busy.
    all: u64,
    busy: u64,
    /// In which this process ran.
    own: u64,
    processors: u64,
}

impl Watcher {
    /// How busy the machine has been since the last look; of the processor nothing at the first.
    pub fn look(&mut self) -> Utilisation {
        let now = ticks();
        let between = self.last.zip(now).filter(|(last, now)| now.all > last.all);
        self.last = now.or(self.last);
        let share = |part: fn(&Ticks) -> u64| {
            let (last, now) = between?;
            Some(100.0 * part(&now).saturating_sub(part(&last)) as f64 / (now.all - last.all) as f64)
        };
        let processors = now.map_or(1, |now| now.processors) as f64;
        let gpu = |GpuLoad { load_percent, memory_used, memory_total }| Gpu {
            load_percent,
            memory_used,
            memory_total,
        };
        Utilisation {
            cpu_percent: share(|ticks| ticks.busy),
            process_percent: share(|ticks| ticks.own).map(|share| share * processors),
            process_memory: process_memory(),
            memory: read("/proc/meminfo").and_then(|text| memory(&text)),
            gpus: gpu_loads().into_iter().map(gpu).collect(),
        }
    }
}

fn read(path: &str) -> Option<String> {
    files::read_text(Path::new(path)).ok()
}

fn ticks() -> Option<Ticks> {
    let (all, busy, processors) = processor_ticks(&read("/proc/stat")?)?;
    Some(Ticks { all, busy, own: own_ticks(&read("/proc/self/stat")?)?, processors })
}

/// Ticks of all processors, those in which they were busy, and how many processors there are.
fn processor_ticks(stat: &str) -> Option<(u64, u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user, nice, system, idle, waiting for a disk, interrupts, soft interrupts, stolen; guests are in the first two.
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    let is_processor = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    Some((all, all - idle, stat.lines().filter(is_processor).count().max(1) as u64))
}

/// Ticks of this process, in programs and in the system for it.
fn own_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in brackets, and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn memory(text: &str) -> Option<Memory> {
    Some(Memory { total: bytes(text, "MemTotal:")?, available: bytes(text, "MemAvailable:")? })
}

/// The memory that this process occupies, where the system says so.
pub fn process_memory() -> Option<u64> {
    bytes(&read("/proc/self/status")?, "VmRSS:")
}

/// The most memory that this process has occupied at once, where the system says so.
pub fn peak_process_memory() -> Option<u64> {
    bytes(&read("/proc/self/status")?, "VmHWM:")
}

/// The bytes in a line that begins with `name`.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_understood() {
        let stat =
            "cpu  10 1 5 80 4 0 0 0 7 0\ncpu0 5 1 2 40 2 0 0 0 0 0\ncpu1 5 0 3 40 2 0 0 0 0 0\nintr 1\n";
        assert_eq!(processor_ticks(stat), Some((100, 16, 2)));
        assert_eq!(own_ticks("7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 30 12 0 0 20 0"), Some(42));
        let meminfo = "MemTotal:       4000 kB\nMemFree:  100 kB\nMemAvailable:   1000 kB\n";
        let memory = memory(meminfo);
        assert_eq!(memory, Some(Memory { total: 4_096_000, available: 1_024_000 }));
        assert_eq!(Utilisation { memory, ..Utilisation::default() }.memory_percent(), Some(75.0));
        assert_eq!((processor_ticks(""), own_ticks(""), super::memory("")), (None, None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_this_process_does_shows_between_two_looks() {
        let mut watcher = Watcher::default();
        let first = watcher.look();
        assert_eq!((first.cpu_percent, first.process_percent), (None, None));
        let mut second = Utilisation::default();
        // A tick lasts a hundredth of a second, as a rule; a busy machine may give none for a while.
        while second.process_percent.is_none_or(|percent| percent == 0.0) {
            second = watcher.look();
        }
        assert!(second.cpu_percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)), "{second:?}");
        assert!(second.process_memory.is_some() && second.memory_percent().is_some(), "{second:?}");
    }
}
