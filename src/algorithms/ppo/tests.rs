//! What gradient steps read, and where episodes end for them.

use super::*;
use crate::array::HostArray;
use crate::envs::goodharts::Goodharts;
use crate::envs::{boxed, default_params};
use crate::interpret::interpret;
use crate::lang::{int, trace};

fn ppo(settings: Settings) -> Ppo {
    let small = Settings { num_envs: 2, num_steps: 6, hidden_dim: 4, num_layers: 1, ..settings };
    Ppo::new(small, Rc::from(boxed(Goodharts::new(8, 8).unwrap()))).unwrap()
}

/// Of a rollout of 6 steps in 2 worlds whose lives are cut off after 3: for each step what is done and what is paid, the observations
/// and the privileged ones of gradient steps, those of the rollout, those after it, and the episodes.
fn rollout(settings: Settings) -> Vec<Vec<f64>> {
    let ppo = ppo(settings);
    let mut params = default_params(&*ppo.env);
    let mut set = |name: &str, value: HostArray| {
        params.iter_mut().find(|(other, _)| other == name).unwrap().1 = value;
    };
    set("max_steps", HostArray::scalar(3));
    for kind in ["food", "poison"] {
        set(&format!("min_{kind}"), HostArray::scalar(15));
        set(&format!("max_{kind}"), HostArray::scalar(20));
    }
    set("sees_interest", HostArray::scalar(true));
    set("frozen", HostArray::scalar(true)); // nobody dies
    let traced = trace(&Leaves::placeholders(&params), |env| {
        let inputs = Inputs {
            hyper: ppo.hyper(),
            env,
            update: int(0),
            total_updates: float(1.0),
            num_devices: 1,
            record: Default::default(),
        };
        let network = ppo.network.init(Key::new(1));
        let policy = Acting { network: &ppo.network, params: &network };
        let world = ppo.world(&inputs, inputs.hyper.gamma, None);
        let envs = world.reset(Key::new(2), Leaves::default());
        let (envs, transitions, totals) = world.rollout(&policy, envs, Key::new(3), 6);
        let stored = as_stored(&ppo.settings, transitions, &envs);
        let end = envs.view.privileged.unwrap();
        (
            [transitions.done.as_f32(), transitions.reward, stored.view.obs.numbers()],
            [stored.view.privileged.unwrap(), transitions.view.privileged.unwrap(), end, totals.episodes],
        )
    });
    let values: Vec<_> = params.into_iter().map(|(_, value)| value).collect();
    interpret(&traced.graph, &values).iter().map(|array| array.to_f64()).collect()
}

#[test]
fn observations_are_stored_as_the_settings_say() {
    let exact = rollout(Settings::default());
    assert!(exact[2].contains(&0.5) && exact[2].contains(&1.0), "poison and food are seen");
    assert_eq!(exact[3], exact[4]);
    let late = Settings { obs_storage: ObsStorage::Uint8Compat, aux_shift: 1, ..Settings::default() };
    let late = rollout(late);
    let whole: Vec<f64> = exact[2].iter().map(|x| x.floor()).collect();
    assert_eq!(late[2], whole);
    assert_eq!(late[3], [&late[4][late[5].len()..], &late[5]].concat());
    assert_eq!(late[1], exact[1], "the policy acts on what it sees");
}

#[test]
fn an_episode_that_is_cut_off_ends_or_goes_on() {
    let ends = rollout(Settings::default());
    let every_third: Vec<f64> = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0].iter().flat_map(|x| [*x; 2]).collect();
    assert_eq!(ends[0], every_third);
    let goes_on = rollout(Settings { trunc_bootstrap: TruncBootstrap::Respawn, ..Settings::default() });
    assert_eq!(goes_on[0], [0.0; 12]);
    assert_eq!((&ends[6], &goes_on[6]), (&vec![2.0; 2], &vec![2.0; 2]), "either way two lives were counted");
    // What would have followed is in the reward of the step that was cut off, or comes with the next step.
    for (step, (with, without)) in ends[1].iter().zip(&goes_on[1]).enumerate() {
        assert_eq!(with == without, every_third[step] == 0.0, "step {step}: {with} {without}");
    }
}
