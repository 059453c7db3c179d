//! Sizes that follow from others, and how many devices are worth it. Which sizes an algorithm has, its entry knows.

use anyhow::Result;
use toml::Table;

use crate::algorithms::Entry;
use crate::algorithms::recipe::divides;
use crate::runtime::DeviceKind;

/// What changed, before and after, and the `sizes` that come of it; nothing if nothing changed.
pub fn describe(title: &str, before: &Table, after: &Table, sizes: &str) -> Option<String> {
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let changes: Vec<_> = changed
        .map(|(name, after)| match before.get(name) {
            Some(before) => format!("{name} {before} -> {after}"),
            None => format!("{name} -> {after}"),
        })
        .collect();
    let sizes = if sizes.is_empty() { String::new() } else { format!(" ({sizes})") };
    (!changes.is_empty()).then(|| format!("{title}: {}{sizes}", changes.join(", ")))
}

/// Fewest environments on each device for which the sharing pays (measured on small and large environments).
const ENVS_PER_DEVICE: usize = 32;

/// The devices to use if the user did not say: on a CPU as many as there are cores, if they can share the
/// environments evenly and each gets enough of them; else one. Several agents are shared instead.
///
/// # Errors
/// The table holds no settings of the algorithm.
pub fn auto_devices(
    algorithm: &Entry,
    settings: &Table,
    num_seeds: usize,
    device: DeviceKind,
) -> Result<usize> {
    let cores = match device {
        DeviceKind::Cpu => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        DeviceKind::Cuda | DeviceKind::Tpu => 1,
    };
    let num_envs = (algorithm.num_envs)(settings)?;
    let is_shared = |devices: usize| algorithm.shared_by_cores && num_envs / devices >= ENVS_PER_DEVICE;
    let pays = |devices: usize| num_seeds > 1 || is_shared(devices);
    let fits = |devices: &usize| check_devices(algorithm, settings, num_seeds, *devices).is_ok();
    Ok((1..=cores).rev().filter(|&devices| pays(devices)).find(fits).unwrap_or(1))
}

/// Checks that the devices share evenly what they share: environments, or agents if there are several.
///
/// # Errors
/// One line that says what would fit.
pub fn check_devices(algorithm: &Entry, settings: &Table, num_seeds: usize, devices: usize) -> Result<()> {
    if num_seeds > 1 {
        return divides("num_seeds", num_seeds, devices);
    }
    (algorithm.check_devices)(settings, devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn changes_are_told_in_one_line() {
        let (before, after) = (table("envs = 8\nlr = 1.0"), table("envs = 4\nlr = 1.0\nnew = 2"));
        let told = |sizes| describe("auto-scale", &before, &after, sizes).unwrap();
        assert_eq!(told("batch 4"), "auto-scale: envs 8 -> 4, new -> 2 (batch 4)");
        assert_eq!(told(""), "auto-scale: envs 8 -> 4, new -> 2");
        assert_eq!(describe("auto-scale", &before, &before, "batch 4"), None);
    }

    #[test]
    fn devices_share_evenly_or_not_at_all() {
        let algorithm = crate::algorithms::builtin()[0];
        let devices = |num_envs: usize, kind| {
            let settings = (algorithm.complete)(&table(&format!("num_envs = {num_envs}"))).unwrap();
            auto_devices(&algorithm, &settings, 1, kind).unwrap()
        };
        let dqn = crate::algorithms::builtin()[1];
        let settings = (dqn.complete)(&table("num_envs = 1024")).unwrap();
        assert_eq!(auto_devices(&dqn, &settings, 1, DeviceKind::Cpu).unwrap(), 1);
        assert_eq!(devices(1024, DeviceKind::Cuda), 1);
        assert_eq!(devices(4, DeviceKind::Cpu), 1);
        assert_eq!(devices(33, DeviceKind::Cpu), 1);
        let cores = std::thread::available_parallelism().unwrap().get();
        if cores.is_power_of_two() {
            assert_eq!(devices(1 << 16, DeviceKind::Cpu), cores);
        }
    }
}
