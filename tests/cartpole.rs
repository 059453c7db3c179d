//! CartPole against transitions recorded from Gymnasium, on the device and through the oracle.

use std::io::Read;

use flate2::read::GzDecoder;
use lockstep::array::HostArray;
use lockstep::envs::registry::find;
use lockstep::envs::{AnyEnv, default_params};
use lockstep::interpret::interpret;
use lockstep::lang::{Array, Bool, Float, Handle, Int, Key, Leaves, trace, vmap_last};
use serde::Deserialize;

use crate::common::run_on_device;

#[derive(Deserialize)]
struct Record {
    state: [f64; 4],
    steps: i32,
    action: i32,
    next: [f64; 4],
    reward: f64,
    terminated: bool,
    truncated: bool,
}

/// What one step gives: the next state, the observation, reward, terminated, truncated; `[B]` each.
type Stepped = (Leaves, Float, Float, Bool, Bool);

fn golden() -> Vec<Record> {
    let mut text = String::new();
    let file = &include_bytes!("../jax_env_spec/cartpole/golden.jsonl.gz")[..];
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The states before, as the environment's leaves, and the actions.
fn inputs(records: &[Record]) -> (Vec<(String, HostArray)>, HostArray) {
    let column = |read: &dyn Fn(&Record) -> f32| {
        HostArray::new(&[records.len()], records.iter().map(read).collect::<Vec<f32>>())
    };
    let mut state: Vec<(String, HostArray)> = ["x", "x_dot", "theta", "theta_dot"]
        .iter()
        .enumerate()
        .map(|(i, name)| (name.to_string(), column(&|record: &Record| record.state[i] as f32)))
        .collect();
    let ints = |read: fn(&Record) -> i32| {
        HostArray::new(&[records.len()], records.iter().map(read).collect::<Vec<i32>>())
    };
    state.push(("time".into(), ints(|record| record.steps)));
    (state, ints(|record| record.action))
}

fn step(env: &dyn AnyEnv, params: &Leaves, state: Leaves, actions: Int) -> Stepped {
    vmap_last((state, actions), |(state, action)| {
        let step = env.step(params, Key::new(0), state, action);
        let obs = env.observe(params, &step.state).actor;
        (step.state, obs, step.reward, step.terminated, step.truncated.unwrap())
    })
}

#[test]
fn gymnasium_s_transitions_are_reproduced_by_the_device_and_the_oracle() {
    let records = golden();
    assert!(records.iter().filter(|record| record.terminated).count() > 50);
    assert!(records.iter().filter(|record| record.truncated).count() >= 2);
    let env = find("cartpole").unwrap().build();
    let params = default_params(&*env);
    let (state, actions) = inputs(&records);
    let action = Array::from_handle(Handle::placeholder(&actions.array_type()));
    let structure = (Leaves::placeholders(&params), Leaves::placeholders(&state), action);
    let traced = trace(&structure, |(params, state, actions)| step(&*env, &params, state, actions));

    let mut values: Vec<HostArray> = params.iter().chain(&state).map(|(_, value)| value.clone()).collect();
    values.push(actions);
    check(&records, &interpret(&traced.graph, &values));

    check(&records, &run_on_device(&traced.graph, &values));
}

/// Compares the leaves of [`Stepped`] with the records. The tolerance is that of 32-bit floats.
fn check(records: &[Record], results: &[HostArray]) {
    let columns: Vec<Vec<f64>> = results.iter().map(HostArray::to_f64).collect();
    let [x, x_dot, theta, theta_dot, time, obs, reward, terminated, truncated] = &columns[..] else {
        panic!("{} outputs", columns.len());
    };
    let count = records.len();
    for (i, record) in records.iter().enumerate() {
        for (j, column) in [x, x_dot, theta, theta_dot].into_iter().enumerate() {
            let (found, expected) = (column[i], record.next[j]);
            assert!((found - expected).abs() < 2e-6 * (1.0 + expected.abs()), "{i}: {found} {expected}");
            assert_eq!(obs[j * count + i], found);
        }
        assert_eq!(time[i], f64::from(record.steps + 1));
        assert_eq!(reward[i], record.reward);
        assert_eq!(terminated[i] != 0.0, record.terminated, "record {i}");
        assert_eq!(truncated[i] != 0.0, record.truncated, "record {i}");
    }
}
