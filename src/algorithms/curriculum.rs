//! A curriculum: the parameters of the environment change in the course of training, from an easy game to the full one.
//!
//! The phases are the environment's own ([`AnyEnv::phases`]); a setting says when each begins. The parameters of all phases are
//! inputs of the programs, side by side, and an update takes those of its phase by its own number. So a new phase compiles
//! nothing, all devices begin it with the same update, and a run that is resumed has nothing to remember. Episodes that are
//! running go on under the new parameters.

use anyhow::{Result, ensure};

use crate::algorithms::NamedArrays;
use crate::array::{ArrayType, HostArray};
use crate::envs::{AnyEnv, default_params, phases};
use crate::lang::{Int, Leaves, take_tree};

/// The metric that says in which phase an update was, from 1.
pub const METRIC: &str = "curriculum/phase";

/// The name of the input that holds the first update of each phase but the first, i32`[phases - 1]`.
const STARTS: &str = "starts";

/// Checks `starts`, the timesteps at which each phase of `env` but the first begins; none: no curriculum.
///
/// # Errors
/// One line: the environment has no curriculum, or another number of phases.
pub fn check(env: &dyn AnyEnv, starts: &[u64]) -> Result<()> {
    if starts.is_empty() {
        return Ok(());
    }
    let (name, count) = (env.spec().name, phases(env).len());
    ensure!(count > 0, "{name} has no curriculum; leave out --curriculum");
    let (wanted, given) = (count - 1, starts.len());
    ensure!(
        given == wanted,
        "curriculum names {given} timesteps, but {name} has {count} phases, so it takes {wanted}: when each of them but the \
         first begins"
    );
    Ok(())
}

/// What programs are given as the parameters of `env`: its default ones, or, with a curriculum, those of all phases along
/// a first axis, after the updates (of `batch_size` timesteps) with which the phases begin.
///
/// # Errors
/// As [`check`].
pub fn inputs(env: &dyn AnyEnv, starts: &[u64], batch_size: usize) -> Result<NamedArrays> {
    if starts.is_empty() {
        return Ok(default_params(env));
    }
    check(env, starts)?;
    let update = |steps: &u64| i32::try_from(steps.div_ceil(batch_size as u64)).unwrap_or(i32::MAX);
    let updates: Vec<i32> = starts.iter().map(update).collect();
    let mut inputs = vec![(STARTS.to_owned(), HostArray::new(&[updates.len()], updates))];
    inputs.extend(side_by_side(&phases(env)));
    Ok(inputs)
}

/// The parameters of the phases along a first axis.
fn side_by_side(phases: &[NamedArrays]) -> impl Iterator<Item = (String, HostArray)> {
    phases[0].iter().enumerate().map(|(i, (name, first))| {
        let of_one = first.array_type();
        let whole = ArrayType::new(of_one.dtype, [&[phases.len()], &of_one.shape[..]].concat());
        let bytes: Vec<u8> = phases.iter().flat_map(|phase| phase[i].1.to_bytes().into_owned()).collect();
        (name.clone(), HostArray::from_bytes(&whole, &bytes).expect("the phases have the same parameters"))
    })
}

/// The environment's parameters in one update, and the number of their phase from 0.
pub struct Phase {
    pub number: Int,
    pub params: Leaves,
}

/// The phase of the update with the number `update` (from 0) among [`inputs`] that have phases.
#[track_caller]
pub fn phase(inputs: &Leaves, update: Int) -> Phase {
    let (starts, params) = inputs.0.split_first().expect("the inputs of a curriculum begin with its starts");
    let starts = Int::from_handle(starts.1);
    let number = starts.le(update).as_i32().sum([0]);
    Phase { number, params: take_tree(&Leaves(params.to_vec()), number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DType;
    use crate::envs::hackmatrix::HackMatrix;
    use crate::envs::{CartPole, Erased};
    use crate::interpret::interpret;
    use crate::lang::{Handle, trace};

    #[test]
    fn a_phase_begins_with_the_first_update_after_its_timesteps() {
        let env = Erased::new(HackMatrix);
        let inputs = inputs(&env, &[150, 250], 50).unwrap();
        let structure = Leaves::placeholders(&inputs);
        let update = Int::from_handle(Handle::placeholder(&ArrayType::scalar(DType::I32)));
        let traced = trace(&(structure, update), |(inputs, update): (Leaves, Int)| {
            let Phase { number, params } = phase(&inputs, update);
            (number, params)
        });
        let all = phases(&env);
        for (update, number) in [(0, 0), (2, 0), (3, 1), (4, 1), (5, 2), (1000, 2)] {
            let mut values: Vec<HostArray> = inputs.iter().map(|(_, value)| value.clone()).collect();
            values.push(HostArray::scalar(update));
            let found = interpret(&traced.graph, &values);
            assert_eq!(found[0], HostArray::scalar(number as i32), "update {update}");
            let expected: Vec<HostArray> = all[number].iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(found[1..], expected, "update {update}");
        }
        assert_eq!(all[2], default_params(&env), "the last phase is the full game");
        assert_ne!(all[0], all[1]);
    }

    #[test]
    fn the_number_of_phases_must_fit() {
        let error = |env: &dyn AnyEnv, starts: &[u64]| check(env, starts).unwrap_err().to_string();
        let hackmatrix = Erased::new(HackMatrix);
        assert!(check(&hackmatrix, &[]).is_ok() && check(&hackmatrix, &[0, 10]).is_ok());
        assert!(
            error(&hackmatrix, &[5]).starts_with("curriculum names 1 timesteps, but hackmatrix has 3 phases")
        );
        assert_eq!(error(&Erased::new(CartPole), &[5]), "cartpole has no curriculum; leave out --curriculum");
    }
}
