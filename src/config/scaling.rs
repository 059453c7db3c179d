//! Sizes that follow from others: larger batches are cut into more minibatches, and small devices get less to do.

use anyhow::{Result, ensure};

use crate::algorithms::ppo;
use crate::runtime::DeviceKind;
use crate::trainer::thousands;

/// What changed, before and after, and what it comes to; nothing if nothing changed.
pub fn describe(title: &str, before: &ppo::Settings, after: &ppo::Settings) -> Option<String> {
    let changes: Vec<_> = [
        ("num_envs", before.num_envs, after.num_envs),
        ("num_minibatches", before.num_minibatches, after.num_minibatches),
        ("update_epochs", before.update_epochs, after.update_epochs),
    ]
    .into_iter()
    .filter(|(_, before, after)| before != after)
    .map(|(name, before, after)| format!("{name} {before} -> {after}"))
    .collect();
    let (batch, minibatch) = (thousands(after.batch_size() as u64), thousands(after.minibatch_size() as u64));
    let gradient_steps = after.num_minibatches * after.update_epochs;
    (!changes.is_empty()).then(|| {
        let changes = changes.join(", ");
        format!("{title}: {changes} (batch {batch}, minibatch {minibatch}, {gradient_steps} gradient steps per update)")
    })
}

/// Fewest environments on each device for which the sharing pays (measured on cartpole and hackmatrix).
const ENVS_PER_DEVICE: usize = 32;

/// The devices to use if the user did not say: on a CPU as many as there are cores, if they can share the
/// environments and minibatches evenly and each gets enough of them; else one. Several agents are shared instead.
pub fn auto_devices(settings: &ppo::Settings, num_seeds: usize, device: DeviceKind) -> usize {
    let cores = match device {
        DeviceKind::Cpu => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        DeviceKind::Cuda | DeviceKind::Tpu => 1,
    };
    let shared_evenly = |devices: &usize| {
        if num_seeds > 1 {
            return num_seeds.is_multiple_of(*devices);
        }
        settings.num_envs.is_multiple_of(*devices)
            && (settings.batch_size() / devices).is_multiple_of(settings.num_minibatches)
            && settings.num_envs / devices >= ENVS_PER_DEVICE
    };
    (1..=cores).rev().find(shared_evenly).unwrap_or(1)
}

/// Checks that the devices share evenly what they share: environments, or agents if there are several.
///
/// # Errors
/// One line that says what would fit.
pub fn check_devices(settings: &ppo::Settings, num_seeds: usize, devices: usize) -> Result<()> {
    let (name, shared) =
        if num_seeds > 1 { ("num_seeds", num_seeds) } else { ("num_envs", settings.num_envs) };
    ensure!(
        shared.is_multiple_of(devices),
        "{name} = {shared} cannot be split evenly over devices = {devices}; use {name} = {}",
        shared.next_multiple_of(devices)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(num_envs: usize, num_minibatches: usize, update_epochs: usize) -> ppo::Settings {
        ppo::Settings { num_envs, num_minibatches, update_epochs, ..ppo::Settings::default() }
    }

    #[test]
    fn changes_are_told_in_one_line() {
        let before = settings(2048, 4, 4);
        assert_eq!(
            describe("auto-scale", &before, &ppo::auto_scale(&before)).unwrap(),
            "auto-scale: num_minibatches 4 -> 32, update_epochs 4 -> 2 \
             (batch 262,144, minibatch 8,192, 64 gradient steps per update)"
        );
        assert_eq!(describe("auto-scale", &before, &before), None);
    }

    #[test]
    fn devices_share_evenly_or_not_at_all() {
        let devices =
            |num_envs, kind| auto_devices(&ppo::Settings { num_envs, ..Default::default() }, 1, kind);
        assert_eq!(devices(1024, DeviceKind::Cuda), 1);
        assert_eq!(devices(4, DeviceKind::Cpu), 1);
        assert_eq!(devices(33, DeviceKind::Cpu), 1);
        let cores = std::thread::available_parallelism().unwrap().get();
        if cores.is_power_of_two() {
            assert_eq!(devices(1 << 16, DeviceKind::Cpu), cores);
        }
    }
}
