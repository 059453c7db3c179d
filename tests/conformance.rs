//! What every registered environment must do, whatever its rules.

use lockstep::array::{DType, HostArray};
use lockstep::envs::registry::ENVS;
use lockstep::envs::{Aggregate, AnyEnv, default_params, vector};
use lockstep::lang::{
    Int, Key, Leaves, below, iota, leaf_types, scan_range, select, trace, traced_for, vmap_last,
};
use lockstep::runtime::DeviceKind;

use crate::common::run_on_device;

const ENVS_AT_ONCE: usize = 16;
const STEPS: usize = 60;

/// Random valid play: rewards, the sums of metrics named `reward/`, whether all is finite, whether a mask was
/// empty, ends.
fn play(env: &dyn AnyEnv, seed: u64) -> Vec<HostArray> {
    let graph = trace(&(), |()| {
        let params = env.default_params();
        let [reset, key] = Key::new(seed).split();
        let state = vector::reset(env, &params, reset.split_last(ENVS_AT_ONCE));
        let first = leaf_types(&state);
        let ((state, _), results) = scan_range(STEPS, (state, key), |(state, key), _| {
            let [choice, step, key] = key.split();
            let view = vector::view(env, &params, &state);
            let actions = random_valid(env, &params, &state, choice);
            let after = vector::step(env, &params, step.split_last(ENVS_AT_ONCE), state, actions, None);
            let names = env.spec().metrics;
            let zero = after.reward * 0.0;
            let parts =
                names.iter().zip(&after.metrics).filter(|(metric, _)| metric.name.starts_with("reward/"));
            let parts = parts.fold(zero, |sum, (_, &part)| sum + part);
            let finite = view.obs.is_finite().all([1]) & after.reward.is_finite();
            let playable = match view.mask {
                Some(mask) => mask.any([1]),
                None => finite | true,
            };
            ((after.state, key), (after.reward, parts, finite, playable, after.done))
        });
        assert_eq!(leaf_types(&state), first, "a step changes the types of the state");
        results
    })
    .graph;
    run_on_device(&graph, &[])
}

fn random_valid(env: &dyn AnyEnv, params: &Leaves, state: &Leaves, key: Key) -> Int {
    let actions = env.spec().num_actions;
    vmap_last((state.clone(), key.split_last(ENVS_AT_ONCE)), |(state, key)| {
        match env.action_mask(params, &state) {
            None => key.integers([], 0..actions as i32),
            Some(mask) => {
                let ranks = mask.as_i32().cumsum(0);
                let chosen = below(key.bits([]), ranks.max([0])) + 1;
                select(mask & ranks.eq(chosen), iota(DType::I32, [actions], 0), 0).sum([0])
            }
        }
    })
}

#[test]
fn every_environment_keeps_the_contract() {
    for entry in ENVS {
        let name = entry.name;
        let env = (entry.make)();
        let spec = env.spec();
        assert_eq!(spec.name, name);
        assert!(spec.num_actions >= 2 && spec.obs_size() > 0, "{name}");
        for metric in &spec.metrics {
            // The logs tell maxima by their names.
            let last = metric.name.rsplit('/').next().unwrap();
            assert_eq!(metric.aggregate == Aggregate::Max, last.starts_with("highest_"), "{}", metric.name);
        }
        assert!(default_params(&*env).iter().all(|(_, value)| value.to_f64().iter().all(|v| v.is_finite())));
        let shapes = trace(&(), |()| {
            let params = env.default_params();
            let state = env.reset(&params, Key::new(0));
            (env.observe(&params, &state), env.action_mask(&params, &state))
        });
        let types = shapes.graph.output_types();
        assert_eq!((types[0].dtype, &types[0].shape), (DType::F32, &spec.obs_shape), "{name}");
        if let Some(mask) = types.get(1) {
            assert_eq!((mask.dtype, &mask.shape[..]), (DType::Bool, &[spec.num_actions][..]), "{name}");
        }

        let results = play(&*env, 1);
        let [rewards, parts, finite, playable, done] = &results[..] else { panic!("five results") };
        assert!(finite.to_f64().iter().all(|&v| v == 1.0), "{name}: a number is not finite");
        assert!(playable.to_f64().iter().all(|&v| v == 1.0), "{name}: a mask allows nothing");
        assert!(done.to_f64().contains(&1.0), "{name}: no episode ever ended");
        if spec.metrics.iter().any(|metric| metric.name.starts_with("reward/")) {
            for (reward, sum) in rewards.to_f64().iter().zip(parts.to_f64()) {
                assert!((reward - sum).abs() < 1e-4, "{name}: the components sum to {sum}, not {reward}");
            }
        }
        assert_eq!(results, play(&*env, 1), "{name}: the same key gives another episode");
        assert_ne!(results, play(&*env, 2), "{name}: another key gives the same episode");
        let as_on_a_gpu = traced_for(DeviceKind::Cuda, || play(&*env, 1));
        assert_eq!(results, as_on_a_gpu, "{name}: the form of the program for GPUs plays another episode");
    }
}
