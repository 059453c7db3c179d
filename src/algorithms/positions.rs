//! Positions of a game whose results are known, by which a player is measured: does its move keep the result, and is it one of the
//! best?

use anyhow::{Result, ensure};

use crate::array::{DType, HostArray};
use crate::envs::vector;
use crate::envs::{AnyEnv, Position};
use crate::lang::{
    Bool, Int, Jit, Key, Leaves, OnDevice, leaf_types, scan, scan_range, select_tree, structure_of, vmap_last,
};
use crate::lower;
use crate::runtime::Client;

use super::evaluation::params_of;
use super::policy::Policy;

/// Positions that are looked at side by side.
const LANES: usize = 512;
/// The longest game that leads to a position.
const MOST_MOVES: usize = 10_000;

/// A compiled policy in positions that are reached by some number of moves.
pub struct Examiner {
    program: Jit<Given, Told>,
    params: OnDevice<Leaves>,
    env_params: OnDevice<Leaves>,
    longest: usize,
}

/// Parameters of the policy and of the environment, the moves i32`[T, N]` (-1 for none), and the words of a key.
type Given = (Leaves, Leaves, Int, Int);
/// Whether the moves are those of a game that goes on, bool`[N]`, and actions i32`[draws, N]`.
type Told = (Bool, Int);

/// How moves are, out of the positions: shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    pub positions: usize,
    /// Moves after which the position is still won, drawn or lost.
    pub keeps_class: f64,
    /// Moves of the highest value.
    pub best: f64,
}

impl Examiner {
    /// Compiles the program for positions up to `longest` moves from the first state. A policy that leaves something to chance
    /// is asked for so many `draws` in each.
    ///
    /// # Errors
    /// One line: a policy that remembers, games that are too long; whatever the compiler or the device reports.
    pub fn new(
        client: &Client,
        env: &dyn AnyEnv,
        policy: &Policy,
        longest: usize,
        draws: usize,
    ) -> Result<Examiner> {
        let remembers = !leaf_types(&structure_of(|| policy.begin(1))).is_empty();
        ensure!(!remembers, "this player remembers what it has seen, which a single position does not tell");
        ensure!(longest <= MOST_MOVES, "a position has {longest} moves; {MOST_MOVES} are the most");
        let longest = longest.max(1); // a program has no arrays without moves
        let (structure, values) = params_of(env);
        let moves = Int::placeholder(DType::I32, [longest, LANES]);
        let input = (policy.structure(), structure.clone(), moves, Int::placeholder(DType::U32, [2]));
        let options = lower::Options::default();
        let program =
            Jit::new(client, "positions", &options, &input, |(params, env_params, moves, words)| {
                let [first, rest] = Key::from_words(words).split();
                let (state, sound) = reach(env, &env_params, moves, first);
                let view = vector::view(env, &env_params, &state);
                let (_, actions) = scan_range(draws, (), |(), draw| {
                    let keys = rest.fold_in(draw).split_last(LANES);
                    let (_, decision) = policy.act(&params, policy.begin(LANES), &view, keys);
                    ((), decision.action)
                });
                (sound, actions)
            })?;
        Ok(Examiner {
            program,
            params: OnDevice::new(client, &policy.structure(), &[policy.params().to_vec()])?,
            env_params: OnDevice::new(client, &structure, &[values])?,
            longest,
        })
    }

    /// The actions in each position.
    ///
    /// # Errors
    /// One line with the number of a position that its moves do not lead to; whatever the device reports.
    pub fn actions(&self, positions: &[&Position], seed: u64) -> Result<Vec<Vec<usize>>> {
        let mut all = Vec::with_capacity(positions.len());
        for (number, positions) in positions.chunks(LANES).enumerate() {
            let mut moves = vec![-1i32; self.longest * LANES];
            for (lane, position) in positions.iter().enumerate() {
                for (step, action) in position.moves.iter().enumerate() {
                    moves[step * LANES + lane] = *action;
                }
            }
            let seed = seed.wrapping_add(number as u64);
            let given = [
                HostArray::new(&[self.longest, LANES], moves),
                HostArray::new(&[2], vec![(seed >> 32) as u32, seed as u32]),
            ];
            let given = self.program.upload(&given)?;
            let told = self.program.call([self.params.lend(), self.env_params.lend(), given])?;
            let sound = told.fetch(|told| &told.0)?.remove(0);
            if let Some(lane) = sound.as_slice::<bool>()[..positions.len()].iter().position(|sound| !sound) {
                let number = number * LANES + lane + 1;
                anyhow::bail!("the moves of position {number} are not those of a game that goes on");
            }
            let actions = told.fetch(|told| &told.1)?.remove(0);
            let actions = actions.as_slice::<i32>();
            let of_lane = |lane: usize| {
                actions.iter().skip(lane).step_by(LANES).map(|&action| action as usize).collect()
            };
            all.extend((0..positions.len()).map(of_lane));
        }
        Ok(all)
    }
}

/// The states that the moves lead to, and whether each of them was possible and no game is over.
#[track_caller]
fn reach(env: &dyn AnyEnv, params: &Leaves, moves: Int, key: Key) -> (Leaves, Bool) {
    let [reset, steps] = key.split();
    let start = (vector::reset(env, params, reset.split_last(LANES)), Bool::full([LANES], true));
    let keys = steps.split_last(LANES).into_words();
    let (reached, ()) = scan(start, moves, |(state, sound), actions| {
        let keys = Key::from_words(keys);
        let now = vmap_last((keys, state, sound, actions), |(key, state, sound, action)| {
            let moving = action.ge(0);
            let is_action = action.lt(env.spec().num_actions);
            let valid = match env.action_mask(params, &state) {
                Some(mask) => (mask & action.one_hot(env.spec().num_actions)).any_all(),
                None => is_action,
            };
            let step = env.step(params, key, state.clone(), action.clamp(0, env.spec().num_actions - 1));
            let over = step.truncated.map_or(step.terminated, |truncated| truncated | step.terminated);
            (select_tree(moving, step.state, state), sound & (!moving | (is_action & valid & !over)))
        });
        (now, ())
    });
    reached
}

/// What the actions in the positions are worth. All positions are known.
pub fn marks<'a>(answers: impl Iterator<Item = (&'a Position, &'a [usize])>) -> Marks {
    let (mut positions, mut keeps_class, mut best) = (0, 0.0, 0.0);
    for (position, actions) in answers {
        let values = position.values.as_ref().expect("it is known");
        let highest = values.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let class = |value: f64| value.partial_cmp(&0.0);
        let share = |is_good: &dyn Fn(f64) -> bool| {
            let good = actions.iter().filter(|&&action| values[action].is_some_and(is_good)).count();
            good as f64 / actions.len() as f64
        };
        positions += 1;
        keeps_class += share(&|value| class(value) == class(highest));
        best += share(&|value| value == highest);
    }
    let mean = |sum: f64| sum / f64::from(positions.max(1));
    Marks { positions: positions as usize, keeps_class: mean(keeps_class), best: mean(best) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(values: &[Option<f64>]) -> Position {
        Position { set: "a".into(), moves: Vec::new(), values: Some(values.to_vec()) }
    }

    #[test]
    fn moves_keep_the_result_or_are_best() {
        let won = position(&[Some(3.0), Some(1.0), Some(0.0), None, Some(-2.0)]);
        let lost = position(&[None, Some(-4.0), Some(-1.0), None, None]);
        let mark = |position: &Position, actions: &[usize]| marks([(position, actions)].into_iter());
        assert_eq!(mark(&won, &[0]), Marks { positions: 1, keeps_class: 1.0, best: 1.0 });
        assert_eq!(mark(&won, &[1]), Marks { positions: 1, keeps_class: 1.0, best: 0.0 });
        assert_eq!(mark(&won, &[2, 0, 4, 3]), Marks { positions: 1, keeps_class: 0.25, best: 0.25 });
        assert_eq!(mark(&lost, &[1, 2]), Marks { positions: 1, keeps_class: 1.0, best: 0.5 });
        let both = marks([(&won, &[2][..]), (&lost, &[2])].into_iter());
        assert_eq!(both, Marks { positions: 2, keeps_class: 0.5, best: 0.5 });
    }
}
