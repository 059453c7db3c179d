//! Openings: games that begin with moves drawn at random, so that an agent does not always meet the same first position.

use crate::envs::{AnyEnv, random_action};
use crate::lang::{Key, Leaves, float, scan_range, select, select_tree, vmap, vmap_last};

/// First states from which games begin in some steps.
const STATES: usize = 256;

/// How many moves are drawn, and in what share of the games.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opening {
    pub share: f64,
    pub least: usize,
    pub most: usize,
}

impl Opening {
    /// What has become of the first states of games, `[..., B]`, for an array of keys `[2, B]`.
    #[track_caller]
    pub fn of_games(&self, env: &dyn AnyEnv, params: &Leaves, keys: Key, first: Leaves) -> Leaves {
        vmap_last((keys, first), |(key, state)| self.play(env, params, key, state))
    }

    /// States to begin games with, `[N, ...]`: `size` of them, or as many as are enough for some steps.
    #[track_caller]
    pub fn states(&self, env: &dyn AnyEnv, params: &Leaves, key: Key, size: Option<usize>) -> Leaves {
        vmap(key.split_many(size.unwrap_or(STATES)), |key| {
            let [first, opening] = key.split();
            self.play(env, params, opening, env.reset(params, first))
        })
    }

    /// The opening of one game. A move that would end it is left out, so that long openings lead into late positions.
    #[track_caller]
    fn play(&self, env: &dyn AnyEnv, params: &Leaves, key: Key, state: Leaves) -> Leaves {
        let [coin, length, moves] = key.split();
        let number = length.integers([], self.least as i32..self.most as i32 + 1);
        let number = select(coin.uniform([], 0.0..1.0).lt(float(self.share)), number, 0);
        let num_actions = env.spec().num_actions;
        let (state, ()) = scan_range(self.most, state, |state, i| {
            let [choice, own] = moves.fold_in(i).split();
            let action = random_action(choice, env.action_mask(params, &state), num_actions);
            let step = env.step(params, own, state.clone(), action);
            (select_tree(i.lt(number) & !step.terminated, step.state, state), ())
        });
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::{default_params, registry};
    use crate::interpret::interpret;
    use crate::lang::{Int, trace};

    /// The stones on the boards of connect four after so many openings.
    fn stones(opening: Opening, games: usize) -> Vec<f64> {
        let env = registry::find("connect4").unwrap().build();
        let values = default_params(&*env);
        let traced = trace(&Leaves::placeholders(&values), |params| {
            let states = opening.states(&*env, &params, Key::new(4), Some(games));
            let stones = states.0.iter().map(|(_, stones)| Int::from_handle(*stones));
            stones.reduce(|first, second| first | second).unwrap().count_ones()
        });
        let values: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
        interpret(&traced.graph, &values)[0].to_f64()
    }

    #[test]
    fn openings_have_as_many_moves_as_they_may_and_end_no_game() {
        const GAMES: usize = 2000;
        let stones = stones(Opening { share: 0.75, least: 2, most: 5 }, GAMES);
        let share =
            |number: f64| stones.iter().filter(|stones| **stones == number).count() as f64 / GAMES as f64;
        assert_eq!(share(1.0) + share(6.0), 0.0);
        for (number, expected) in [(0.0, 0.25), (2.0, 0.1875), (3.0, 0.1875), (4.0, 0.1875), (5.0, 0.1875)] {
            assert!((share(number) - expected).abs() < 0.05, "{number}: {}", share(number));
        }
    }

    /// Games of random moves seldom last so long: moves that would end them are left out.
    #[test]
    fn long_openings_lead_into_late_positions() {
        let stones = stones(Opening { share: 1.0, least: 30, most: 36 }, 200);
        let late = stones.iter().filter(|stones| **stones >= 26.0).count();
        assert!(late > 150, "{late} of 200: {stones:?}");
        assert!(stones.iter().all(|stones| *stones <= 36.0));
    }
}
