//! PopArt in an update: the statistics follow the targets, and the last layer of the critic changes with them.

use crate::algorithms::advantage::mean_and_unbiased_std;
use crate::algorithms::metrics::Recorder;
use crate::algorithms::optimizer::Adam;
use crate::lang::Float;
use crate::nn::{Dense, Network, PopArt};

use super::Settings;

/// Parameters and optimizer after statistics that follow these targets, in the unit of rewards; values stay what they were, unless the
/// settings say that the last layer does. The same ones if the network normalizes nothing.
#[track_caller]
pub fn follow<N: Network>(
    network: &N,
    settings: &Settings,
    mut params: N::Params,
    mut optimizer: Adam<N::Params>,
    target: Float,
    num_devices: usize,
) -> (N::Params, Adam<N::Params>) {
    let Some(before) = network.popart(&params) else { return (params, optimizer) };
    let (mean, std) = mean_and_unbiased_std(target, num_devices);
    let after = before.follow(mean, std, settings.popart_beta_min);
    if let Some(popart) = network.critic(&mut params).and_then(|critic| critic.popart) {
        *popart = after;
    }
    if settings.popart_rescale {
        let factor = after.factor(&before);
        change_last_layer(network, &mut params, |layer| after.rescale(&before, layer));
        change_last_layer(network, &mut optimizer.mean, |layer| layer.times(factor));
        change_last_layer(network, &mut optimizer.square, |layer| layer.times(factor.square()));
    }
    (params, optimizer)
}

/// Changes the last layer of the critic in a tree of the structure of parameters.
fn change_last_layer<N: Network>(network: &N, tree: &mut N::Params, change: impl Fn(Dense) -> Dense) {
    if let Some(layer) = network.critic(tree).and_then(|critic| critic.layers.last_mut()) {
        *layer = change(*layer);
    }
}

/// What the statistics are.
pub fn record(m: &mut Recorder, popart: PopArt) {
    m.value("train/popart_mean", popart.mean).describe("reward", "mean by which PopArt normalizes values");
    m.value("train/popart_std", popart.std)
        .describe("reward", "standard deviation by which PopArt normalizes values");
}
