//! The schedule on the host and in a trace.

use super::*;
use crate::array::DType;
use crate::envs::hackmatrix::HackMatrix;
use crate::envs::{CartPole, Erased};
use crate::interpret::interpret;
use crate::lang::{Handle, constant, scan};

fn schedule(first: usize, begins: Begins) -> Schedule {
    Schedule { first, begins }
}

fn goals(returns: &[f64]) -> Begins {
    Begins::Goals(returns.iter().map(|&above| Goal::mastering(above)).collect())
}

#[test]
fn a_phase_begins_with_its_update() {
    let env = Erased::new(HackMatrix::default());
    for (first, update, number) in
        [(1, 2, 0), (1, 3, 1), (1, 4, 1), (1, 5, 2), (1, 1000, 2), (2, 0, 1), (3, 4, 2)]
    {
        let schedule = schedule(first, Begins::Updates(vec![3, 5]));
        let inputs = inputs(&env, Some(&schedule)).unwrap();
        let traced = trace(&(Leaves::placeholders(&inputs), scalar()), |(inputs, update): (Leaves, Int)| {
            let Phase { number, params } = phase(&inputs, update, None);
            (number, params)
        });
        let mut values: Vec<HostArray> = inputs.into_iter().map(|(_, value)| value).collect();
        values.push(HostArray::scalar(update));
        let found = interpret(&traced.graph, &values);
        assert_eq!(found[0], HostArray::scalar(number as i32), "update {update}");
        assert_eq!(schedule.phase_at(update as u64), Some(number + 1));
        let expected: Vec<HostArray> = phases(&env)[number].iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(found[1..], expected, "update {update}");
    }
    let all = phases(&env);
    assert_eq!(all[2], default_params(&env), "the last phase is the full game");
    assert_ne!(all[0], all[1]);
}

fn scalar() -> Int {
    Int::from_handle(Handle::placeholder(&ArrayType::scalar(DType::I32)))
}

/// The phase (from 0) after each of the updates with these returns; an update without one ends no episode.
fn climb(first: usize, returns: &[Option<f32>]) -> Vec<i32> {
    climb_to(first, goals(&[-1.0, -1.2]), returns)
}

fn climb_to(first: usize, begins: Begins, returns: &[Option<f32>]) -> Vec<i32> {
    let schedule = schedule(first, begins);
    let inputs = inputs(&Erased::new(HackMatrix::default()), Some(&schedule)).unwrap();
    let traced = trace(&Leaves::placeholders(&inputs), |inputs: Leaves| {
        let episodes = returns.iter().map(|x| x.is_some() as i32 as f32).collect::<Vec<f32>>();
        let values = returns.iter().map(|x| x.unwrap_or_default()).collect::<Vec<f32>>();
        let array = |values: Vec<f32>| -> Float { constant(values) };
        let xs = (array(episodes), array(values));
        scan((PhaseProgress::begin(&inputs), int(0)), xs, |(climb, update), (episodes, value)| {
            let climb = climb.after(&inputs, update + 1, episodes, value);
            ((climb, update + 1), climb.phase)
        })
        .1
    });
    let values: Vec<HostArray> = inputs.into_iter().map(|(_, value)| value).collect();
    interpret(&traced.graph, &values)[0].as_slice().to_vec()
}

/// After how many updates each new phase begins.
fn changes(phases: &[i32]) -> Vec<usize> {
    (1..phases.len()).filter(|&i| phases[i] != phases[i - 1]).map(|i| i + 1).collect()
}

#[test]
fn a_phase_ends_when_it_is_mastered_or_has_lasted_long() {
    // Good from update 5 on: 20 in a row are done with update 24, the phase ends with update 30; so does the next with 50.
    let good_from_5: Vec<_> = (1..=70).map(|update| Some(if update < 5 { -1.0 } else { -0.9 })).collect();
    assert_eq!(changes(&climb(1, &good_from_5)), [30, 50]);
    assert_eq!(changes(&climb(2, &good_from_5)), [20], "the last phase does not end");
    // One bad update begins the count again, one without an episode does not.
    let with = |update: usize, value| {
        let mut returns = vec![Some(-0.5); 60];
        returns[update - 1] = value;
        changes(&climb(1, &returns))
    };
    assert_eq!(with(15, Some(-1.0)), [40, 60]);
    assert_eq!(with(15, None), [30, 50]);
    assert_eq!(
        changes(&climb(1, &[Some(-1.1); 700])),
        [300, 320],
        "-1.1 is enough for the second phase only"
    );
}

#[test]
fn a_phase_without_a_return_ends_with_its_last_update() {
    let lasting = |updates| Goal { above: None, in_a_row: 20, most_updates: Some(updates) };
    let goals = Begins::Goals(vec![lasting(7), Goal { in_a_row: 3, ..Goal::mastering(0.5) }]);
    let found = climb_to(1, goals, &[Some(0.6); 30]);
    assert_eq!(changes(&found), [7, 10], "three good updates are there with 10");
    let goals = Begins::Goals(vec![Goal { most_updates: None, ..Goal::mastering(0.5) }, lasting(1)]);
    assert_eq!(changes(&climb_to(1, goals.clone(), &[Some(0.6); 30])), [20, 21]);
    assert!(changes(&climb_to(1, goals, &[Some(0.4); 700])).is_empty());
}

#[test]
fn chunks_end_where_phases_may_end() {
    let unasked = || panic!("nothing has to be asked");
    let by_time = schedule(1, Begins::Updates(vec![3, 5]));
    let left = |update| by_time.updates_to_an_end(update, unasked).unwrap();
    assert_eq!([0, 2, 3, 5].map(left), [3, 1, 2, u64::MAX]);
    let by_return = schedule(1, goals(&[1.0, 2.0]));
    let left = |update| by_return.updates_to_an_end(update, unasked).unwrap();
    assert_eq!([0, 9, 10, 11].map(left), [10, 1, 10, 9]);
    let lasting = Goal { above: None, in_a_row: 20, most_updates: Some(25) };
    let mixed = schedule(1, Begins::Goals(vec![lasting, Goal::mastering(1.0)]));
    let left =
        |update, phase, updates| mixed.updates_to_an_end(update, || Ok(Reached { phase, updates })).unwrap();
    assert_eq!([left(0, 0, 0), left(24, 0, 24), left(25, 1, 0), left(50, 2, 10)], [25, 1, 5, u64::MAX]);
}

#[test]
fn the_schedule_must_fit_the_phases() {
    let error = |env: &dyn AnyEnv, first, begins| schedule(first, begins).check(env).unwrap_err().to_string();
    let hackmatrix = Erased::new(HackMatrix::default());
    assert!(schedule(1, Begins::Updates(vec![0, 10])).check(&hackmatrix).is_ok());
    let found = error(&hackmatrix, 1, Begins::Updates(vec![5]));
    assert!(found.starts_with("curriculum names 1 timesteps, but hackmatrix has 3 phases"), "{found}");
    let found = error(&hackmatrix, 1, goals(&[]));
    assert!(found.starts_with("curriculum_returns names 0 returns, but hackmatrix has 3 phases"), "{found}");
    let found = error(&hackmatrix, 4, goals(&[1.0, 2.0]));
    assert_eq!(found, "curriculum_start_phase is 4, but hackmatrix has the phases 1 to 3");
    let found = error(&Erased::new(CartPole), 1, Begins::Updates(vec![5]));
    assert_eq!(found, "cartpole has no curriculum; leave out --curriculum");
}

#[test]
fn the_rules_of_hackmatrix_are_those_of_its_layout() {
    let layout = crate::envs::hackmatrix::host::layout::layout();
    let goals: Vec<_> = layout.curriculum.iter().filter_map(|phase| phase.advance.as_ref()).collect();
    let returns: Vec<f64> = goals.iter().map(|goal| (goal.above as f64 * 1e6).round() / 1e6).collect();
    assert_eq!(crate::algorithms::ppo::Settings::default().curriculum_returns, returns);
    assert!(goals.iter().all(
        |goal| [goal.checks, goal.max_updates] == [GOOD_UPDATES, MOST_UPDATES].map(|count| count as i32)
    ));
}
