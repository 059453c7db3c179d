//! Sizes that follow from others: larger batches are cut into more minibatches, and small devices get less to do.

use crate::algorithms::gradient::divisor_at_most;
use crate::runtime::DeviceKind;

use super::Settings;

/// The batch that the default numbers of minibatches and epochs are meant for: 256 environments x 128 steps.
const REFERENCE_BATCH: usize = 256 * 128;
const MOST_MINIBATCHES: usize = 64;
const LEAST_EPOCHS: usize = 2;

/// For a batch of k reference batches: k times the minibatches (at most 64), 1/k of the epochs (at least 2).
/// The number of minibatches is rounded down to one that divides the batch.
pub fn auto_scale(settings: &Settings) -> Settings {
    let batch = settings.batch_size();
    let k = batch / REFERENCE_BATCH;
    if k < 2 {
        return settings.clone();
    }
    let wanted = (settings.num_minibatches * k).min(MOST_MINIBATCHES);
    let epochs = (settings.update_epochs / k).max(LEAST_EPOCHS).min(settings.update_epochs);
    Settings { num_minibatches: divisor_at_most(batch, wanted), update_epochs: epochs, ..settings.clone() }
}

/// On CPU at most 64 environments and 2 minibatches; on TPU both times the number of devices; on GPU no change.
pub fn auto_tune(settings: &Settings, device: DeviceKind, devices: usize) -> Settings {
    let (num_envs, wanted) = match device {
        DeviceKind::Cpu => (settings.num_envs.min(64), settings.num_minibatches.min(2)),
        DeviceKind::Cuda => (settings.num_envs, settings.num_minibatches),
        DeviceKind::Tpu => (settings.num_envs * devices, settings.num_minibatches * devices),
    };
    let tuned = Settings { num_envs, ..settings.clone() };
    let num_minibatches = if wanted == settings.num_minibatches {
        wanted // as the user said; if it does not divide the batch, that is said, not changed
    } else {
        divisor_at_most(tuned.batch_size(), wanted)
    };
    Settings { num_minibatches, ..tuned }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(num_envs: usize, num_minibatches: usize, update_epochs: usize) -> Settings {
        Settings { num_envs, num_minibatches, update_epochs, ..Settings::default() }
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
        let odd = Settings { num_steps: 100, ..settings(1000, 4, 4) };
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
}
