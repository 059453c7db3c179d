//! What every registered environment must do, whatever its rules.

use lockstep::algorithms::random::random_action;
use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::envs::builtin;
use lockstep::envs::{Aggregate, AnyEnv, default_params, vector};
use lockstep::lang::{Handle, Int, Key, Leaves, Tree, leaf_types, scan_range, trace, traced_for, vmap_last};
use lockstep::runtime::DeviceKind;

use crate::common::run_on_device;

const ENVS_AT_ONCE: usize = 16;
const STEPS: usize = 60;

/// Random valid play: rewards, the sums of metrics named `reward/`, sums of observations, whether all is finite, whether a mask
/// was empty, ends. With `used`, the first states follow on episodes of other play.
fn play(env: &dyn AnyEnv, seed: u32, used: bool) -> Vec<HostArray> {
    let words = Int::from_handle(Handle::placeholder(&ArrayType::new(DType::U32, [2])));
    let graph = trace(&words, |words| {
        let params = env.default_params();
        let [reset, key] = Key::from_words(words).split();
        let state = if used {
            let [first, key] = Key::new(1000).split();
            let state = vector::reset(env, &params, first.split_last(ENVS_AT_ONCE));
            let (ended, _) = episodes(env, &params, state, key);
            vmap_last((reset.split_last(ENVS_AT_ONCE), ended), |(key, ended)| {
                env.restart(&params, key, ended)
            })
        } else {
            vector::reset(env, &params, reset.split_last(ENVS_AT_ONCE))
        };
        episodes(env, &params, state, key).1
    })
    .graph;
    let key = HostArray::new(&[2], vec![0u32, seed]);
    run_on_device(&graph, &[key])
}

/// The state after [`STEPS`], and what [`play`] tells of each.
fn episodes(env: &dyn AnyEnv, params: &Leaves, state: Leaves, key: Key) -> (Leaves, impl Tree + use<>) {
    let first = leaf_types(&state);
    let ((state, _), results) = scan_range(STEPS, (state, key), |(state, key), _| {
        let [choice, step, key] = key.split();
        let view = vector::view(env, params, &state);
        let choices = (state.clone(), choice.split_last(ENVS_AT_ONCE));
        let actions = vmap_last(choices, |(state, key)| {
            random_action(key, env.action_mask(params, &state), env.spec().num_actions)
        });
        let after = vector::step(env, params, step.split_last(ENVS_AT_ONCE), state, actions, None);
        let names = env.spec().metrics;
        let zero = after.reward * 0.0;
        let parts = names.iter().zip(&after.metrics).filter(|(metric, _)| metric.name.starts_with("reward/"));
        let parts = parts.fold(zero, |sum, (_, &part)| sum + part);
        let obs = vmap_last(after.state.duplicate(), |state| env.observe(params, &state).flatten());
        let flags = env.spec().flags.into_iter().map(|flags| {
            let x = obs.slice(0, flags);
            (x.eq(0.0) | x.eq(1.0)).all([0])
        });
        let obs_is_right = flags.fold(obs.is_finite().all([0]), |right, flags| right & flags);
        let finite = obs_is_right & after.reward.is_finite();
        let playable = match view.mask {
            Some(mask) => mask.any([1]),
            None => finite | true,
        };
        ((after.state, key), (after.reward, parts, obs.sum([0]), finite, playable, after.done))
    });
    assert_eq!(leaf_types(&state), first, "a step changes the types of the state");
    (state, results)
}

#[test]
fn every_environment_keeps_the_contract() {
    for entry in builtin() {
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

        let results = play(&*env, 1, false);
        let [rewards, parts, _, finite, playable, done] = &results[..] else { panic!("six results") };
        assert!(finite.to_f64().iter().all(|&v| v == 1.0), "{name}: a number is not finite");
        assert!(playable.to_f64().iter().all(|&v| v == 1.0), "{name}: a mask allows nothing");
        assert!(done.to_f64().contains(&1.0), "{name}: no episode ever ended");
        if spec.metrics.iter().any(|metric| metric.name.starts_with("reward/")) {
            for (reward, sum) in rewards.to_f64().iter().zip(parts.to_f64()) {
                assert!((reward - sum).abs() < 1e-4, "{name}: the components sum to {sum}, not {reward}");
            }
        }
        assert_eq!(results, play(&*env, 1, false), "{name}: the same key gives another episode");
        assert_ne!(results, play(&*env, 2, false), "{name}: another key gives the same episode");
        assert_eq!(results, play(&*env, 1, true), "{name}: an episode depends on the one before");
        let as_on_a_gpu = traced_for(DeviceKind::Cuda, || play(&*env, 1, false));
        assert_eq!(results, as_on_a_gpu, "{name}: the form of the program for GPUs plays another episode");
    }
}
