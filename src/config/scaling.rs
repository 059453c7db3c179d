//! Sizes that follow from others: larger batches are cut into more minibatches, and small devices get less to do.

use anyhow::{Result, ensure};

use crate::algorithms::ppo::{self, divisor_at_most};
use crate::runtime::DeviceKind;
use crate::trainer::thousands;

/// The batch that the default numbers of minibatches and epochs are meant for: 256 environments x 128 steps.
const REFERENCE_BATCH: usize = 256 * 128;
const MOST_MINIBATCHES: usize = 64;
const LEAST_EPOCHS: usize = 2;

/// For a batch of k reference batches: k times the minibatches (at most 64), 1/k of the epochs (at least 2).
/// The number of minibatches is rounded down to one that divides the batch.
pub fn auto_scale(settings: &ppo::Settings) -> ppo::Settings {
    let batch = settings.batch_size();
    let k = batch / REFERENCE_BATCH;
    if k < 2 {
        return settings.clone();
    }
    let wanted = (settings.num_minibatches * k).min(MOST_MINIBATCHES);
    let epochs = (settings.update_epochs / k).max(LEAST_EPOCHS).min(settings.update_epochs);
    ppo::Settings {
        num_minibatches: divisor_at_most(batch, wanted),
        update_epochs: epochs,
        ..settings.clone()
    }
}

/// On CPU at most 64 environments and 2 minibatches; on TPU both times the number of devices; on GPU no change.
pub fn auto_tune(settings: &ppo::Settings, device: DeviceKind, devices: usize) -> ppo::Settings {
    let (num_envs, wanted) = match device {
        DeviceKind::Cpu => (settings.num_envs.min(64), settings.num_minibatches.min(2)),
        DeviceKind::Cuda => (settings.num_envs, settings.num_minibatches),
        DeviceKind::Tpu => (settings.num_envs * devices, settings.num_minibatches * devices),
    };
    let tuned = ppo::Settings { num_envs, ..settings.clone() };
    let num_minibatches = if wanted == settings.num_minibatches {
        wanted // as the user said; if it does not divide the batch, that is said, not changed
    } else {
        divisor_at_most(tuned.batch_size(), wanted)
    };
    ppo::Settings { num_minibatches, ..tuned }
}

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

    fn scaled(num_envs: usize, num_minibatches: usize, update_epochs: usize) -> (usize, usize) {
        let scaled = auto_scale(&settings(num_envs, num_minibatches, update_epochs));
        (scaled.num_minibatches, scaled.update_epochs)
    }

    #[test]
    fn scaling_by_hand() {
        assert_eq!(scaled(256, 4, 4), (4, 4)); // the reference batch
        assert_eq!(scaled(64, 4, 4), (4, 4)); // below it
        assert_eq!(scaled(511, 4, 1), (4, 1)); // k = 1 changes nothing
        assert_eq!(scaled(512, 4, 4), (8, 2)); // k = 2
        assert_eq!(scaled(2048, 4, 4), (32, 2)); // k = 8, the specification's example
        assert_eq!(scaled(8192, 4, 4), (64, 2)); // k = 32, at most 64
        assert_eq!(scaled(1024, 4, 16), (16, 4)); // k = 4
        assert_eq!(scaled(1024, 4, 1), (16, 1)); // epochs never grow
    }

    #[test]
    fn scaling_keeps_the_batch_divisible() {
        // k = 100,000 / 32,768 = 3 asks for 12 minibatches; 10 divide 100,000.
        let odd = ppo::Settings { num_steps: 100, ..settings(1000, 4, 4) };
        assert_eq!(auto_scale(&odd).num_minibatches, 10);
    }

    fn tuned(num_envs: usize, num_minibatches: usize, device: DeviceKind, devices: usize) -> (usize, usize) {
        let tuned = auto_tune(&settings(num_envs, num_minibatches, 4), device, devices);
        (tuned.num_envs, tuned.num_minibatches)
    }

    #[test]
    fn tuning_by_hand() {
        assert_eq!(tuned(256, 4, DeviceKind::Cpu, 1), (64, 2));
        assert_eq!(tuned(32, 1, DeviceKind::Cpu, 2), (32, 1));
        assert_eq!(tuned(256, 4, DeviceKind::Cuda, 8), (256, 4));
        assert_eq!(tuned(256, 4, DeviceKind::Tpu, 4), (1024, 16));
    }

    #[test]
    fn changes_are_told_in_one_line() {
        let before = settings(2048, 4, 4);
        assert_eq!(
            describe("auto-scale", &before, &auto_scale(&before)).unwrap(),
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
