//! Self-play: a game for two as an environment for one.
//!
//! In each game the agent has one seat, which a fair coin (or the opponent) decides when the game begins, and an [`Opponent`] has the other. A step of
//! the agent is its own move and then those of the opponent, until it is the agent's turn again. It pays what these moves pay the
//! agent's seat; if the opponent ends the game, that belongs to the agent's last move. Moves before the agent's first one belong
//! to no step. All games are played side by side, so a policy is asked for the moves of all opponents at once.
//!
//! Whom the agent meets is the opponent's affair: the policy that is being trained, a policy of old parameters, or rules.

use std::cell::Cell;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::envs::vector::{self, VectorStep, View};
use crate::envs::{Aggregate, AnyEnv, EnvSpec};
use crate::lang::{
    Bool, Float, Int, Key, Leaves, arange, int, select, select_tree, structure_of, vmap_last, while_loop,
};

/// What has come of the games against an opponent: the agent's results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Faced {
    pub name: &'static str,
    /// Of a frozen agent: after how many steps it was frozen. Its games count from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Of a frozen agent: its place; `None` of the one that has left its place last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<usize>,
    pub wins: u64,
    pub draws: u64,
    pub losses: u64,
}

/// The number of no opponent.
pub const NOBODY: i32 = -1;

/// What plays the other seat.
pub trait Opponent {
    /// How many there are that may be met in a game; they are numbered from 0.
    fn count(&self) -> usize;

    /// The seat of the agent in each of `N` games that begin, i32`[N]`: a fair coin decides by default. `keys` is an array of keys
    /// `[2, N]`.
    #[track_caller]
    fn seat_of_agent(&self, keys: Key) -> Int {
        toss(keys)
    }

    /// The number of the one that is met in each of `N` games that begin, i32`[N]`; `keys` is an array of keys `[2, N]`.
    fn draw(&self, keys: Key) -> Int;

    /// What it remembers before the first step of `rows` games, `[N, ...]` each.
    fn begin(&self, rows: usize) -> Leaves;

    /// Actions i32`[N]` of the opponents of these numbers for a view of the player to move, and what is remembered of it. A number
    /// below 0 says that none is asked for: what is returned there has no meaning. Where a game begins for it (`starts`, bool`[N]`),
    /// nothing of `carry` is remembered. `keys` is an array of keys `[2, N]`.
    fn choose(&self, number: Int, carry: Leaves, view: &View, starts: Bool, keys: Key) -> (Leaves, Int);
}

/// Who plays in the games between two steps, `[B, ...]`.
pub struct Seats {
    /// The number of the player that the agent is, i32`[B]`.
    pub agent: Int,
    /// The number of the opponent, i32`[B]`.
    pub opponent: Int,
    /// What the opponent remembers.
    pub carry: Leaves,
    /// Whether the opponent has not moved yet, bool`[B]`.
    pub starts: Bool,
}
crate::tree!(Seats { agent, opponent, carry, starts });

/// The games of some steps that ended, f32`[M]`, by opponent.
#[derive(Clone, Copy)]
pub struct Met {
    pub wins: Float,
    pub draws: Float,
    pub losses: Float,
}
crate::tree!(Met { wins, draws, losses });

impl Met {
    #[track_caller]
    pub fn nobody(count: usize) -> Met {
        let none = Float::full([count], 0.0);
        Met { wins: none, draws: none, losses: none }
    }

    /// With the games `[N]` more that are `done`, against these opponents (i32), of which the agent was paid so much more than the
    /// other player for the last move.
    #[track_caller]
    pub fn with(self, opponent: Int, done: Bool, margin: Float) -> Met {
        let (count, games) = (self.wins.size(), opponent.size());
        let against = opponent.broadcast(1, count).eq(arange(count).broadcast(0, games));
        let number = |which: Bool| (against & (done & which).broadcast(1, count)).as_f32().sum([0]);
        Met {
            wins: self.wins + number(margin.gt(0.0)),
            draws: self.draws + number(margin.eq(0.0)),
            losses: self.losses + number(margin.lt(0.0)),
        }
    }
}

/// Games for two with the agent in one seat.
pub struct Table<'a> {
    pub env: &'a dyn AnyEnv,
    pub params: &'a Leaves,
    pub opponent: &'a dyn Opponent,
    /// If there are any, the states to begin a game with, see [`vector::step`].
    pub pool: Option<&'a Leaves>,
}

/// The games between two moves of one step of the agent.
struct Moves {
    /// How many moves there were in the game with the most of them, i32.
    count: Int,
    state: Leaves,
    seats: Seats,
    /// What the moves paid the agent, f32`[B]`.
    reward: Float,
    /// Whether the game that the step began in is over, bool`[B]`.
    done: Bool,
    /// How much more its last move paid the agent than the opponent, f32`[B]`.
    margin: Float,
    /// How many moves there were in each game, f32`[B]`.
    moves: Float,
    /// The environment's own metrics, f32`[B]` each: sums or maxima over the moves.
    metrics: Vec<Float>,
}
crate::tree!(Moves { count, state, seats, reward, done, margin, moves, metrics });

/// Checks that the environment is a game that self-play can learn.
///
/// # Errors
/// One line: it is not for two players, or can be cut off.
pub fn check(env: &dyn AnyEnv) -> Result<()> {
    let EnvSpec { name, players, .. } = env.spec();
    let count = if players == 1 { "one player".to_owned() } else { format!("{players} players") };
    ensure!(players == 2, "{name} is for {count}, and self-play needs a game for two");
    // What a game that is cut off would have been worth to the agent is not known where the other player is to move.
    let cut_off = Cell::new(false);
    structure_of(|| {
        let params = env.default_params();
        let step = env.step(&params, Key::new(0), env.reset(&params, Key::new(0)), int(0));
        cut_off.set(step.truncated.is_some());
        step.terminated
    });
    ensure!(!cut_off.get(), "{name} can be cut off, and self-play needs a game that ends by its rules");
    Ok(())
}

impl Table<'_> {
    /// New games from their first states, up to the agent's first turn; `keys` is an array of keys `[2, B]`.
    #[track_caller]
    pub fn begin(&self, keys: Key, state: Leaves) -> (Leaves, Seats) {
        let words = keys.into_words();
        let games = words.shape()[1];
        let [seat, met, _, _] = move_keys(words, int(0));
        let seats = Seats {
            agent: self.opponent.seat_of_agent(seat),
            opponent: self.opponent.draw(met),
            carry: self.opponent.begin(games),
            starts: Bool::full([games], true),
        };
        let begun = self.until_the_agents_turn(words, self.no_moves(state, seats, games));
        (begun.state, begun.seats)
    }

    /// One step of the agent with actions i32`[B]`; `keys` is an array of keys `[2, B]`. Metrics are means or maxima over its moves. At
    /// the end stands how much more the last move paid the agent than the opponent in games that are over, f32`[B]`.
    #[track_caller]
    pub fn step(&self, keys: Key, state: Leaves, seats: Seats, actions: Int) -> (VectorStep, Seats, Float) {
        let words = keys.into_words();
        let games = actions.shape()[0];
        let [seat, met, _, own] = move_keys(words, int(0));
        let moves = self.play([seat, met, own], self.no_moves(state, seats, games), actions, None);
        let Moves { state, seats, reward, done, margin, moves, metrics, .. } =
            self.until_the_agents_turn(words, moves);
        let all = self.env.spec().metrics.into_iter().zip(metrics);
        let metrics = all.map(|(metric, total)| match metric.aggregate {
            Aggregate::Mean | Aggregate::Running => total / moves,
            Aggregate::Max | Aggregate::Episode => total,
        });
        let metrics = metrics.collect();
        (VectorStep { state, reward, done, truncated: None, metrics }, seats, margin)
    }

    /// The opponent's moves in all games where it is its turn. A game that it ends is followed by the next one.
    #[track_caller]
    fn until_the_agents_turn(&self, words: Int, moves: Moves) -> Moves {
        let moves = Moves { count: int(1), ..moves };
        while_loop(
            moves,
            |now| self.opponents_turn(now).any_all(),
            |now| {
                let moving = self.opponents_turn(&now);
                let [seat, met, choice, own] = move_keys(words, now.count);
                let view = vector::view(self.env, self.params, &now.state);
                let Seats { agent, opponent, carry, starts } = now.seats;
                let asked = select(moving, opponent, NOBODY);
                let (after, actions) = self.opponent.choose(asked, carry.clone(), &view, starts, choice);
                let carry = select_tree(moving, after, carry);
                let seats = Seats { agent, opponent, carry, starts: starts & !moving };
                self.play([seat, met, own], Moves { seats, ..now }, actions, Some(moving))
            },
        )
    }

    #[track_caller]
    fn opponents_turn(&self, now: &Moves) -> Bool {
        let to_move = vmap_last(now.state.clone(), |state| self.env.to_move(self.params, &state));
        to_move.ne(now.seats.agent)
    }

    /// One move where `moving`, everywhere if it is `None`. Where it ends a game, the next one begins, with seats and opponents drawn anew. The
    /// keys `[2, B]` are for the seats, for the opponents and for the environment.
    #[track_caller]
    fn play(&self, [seat, met, own]: [Key; 3], now: Moves, actions: Int, moving: Option<Bool>) -> Moves {
        let Moves { count, state, seats, reward, done, margin, moves, metrics } = now;
        let step = vector::step_where(moving, self.env, self.params, own, state, actions, self.pool);
        assert!(step.truncated.is_none(), "self-play needs a game that ends by its rules");
        let moving = moving.unwrap_or_else(|| Bool::full(done.shape(), true));
        let [first, second] = [0, 1].map(|player| step.reward_of(player));
        let paid = select(seats.agent.eq(0), first, second);
        let more = select(seats.agent.eq(0), first - second, second - first);
        let all = self.env.spec().metrics.into_iter().zip(metrics).zip(&step.metrics);
        let metrics = all.map(|((metric, total), &value)| match metric.aggregate {
            Aggregate::Mean | Aggregate::Running => select(moving, total + value, total),
            Aggregate::Max => select(moving, total.maximum(value), total),
            Aggregate::Episode => select(step.done & !done, value, total),
        });
        let seats = Seats {
            agent: select(step.done, self.opponent.seat_of_agent(seat), seats.agent),
            opponent: select(step.done, self.opponent.draw(met), seats.opponent),
            starts: seats.starts | step.done,
            ..seats
        };
        Moves {
            count: count + 1,
            state: step.state,
            seats,
            reward: select(moving & !done, reward + paid, reward),
            done: done | step.done,
            margin: select(step.done & !done, more, margin),
            moves: moves + moving.as_f32(),
            metrics: metrics.collect(),
        }
    }

    #[track_caller]
    fn no_moves(&self, state: Leaves, seats: Seats, games: usize) -> Moves {
        let all = |value: f64| Float::full([games], value);
        let metrics = self.env.spec().metrics.into_iter().map(|metric| match metric.aggregate {
            Aggregate::Mean | Aggregate::Episode | Aggregate::Running => all(0.0),
            Aggregate::Max => all(f64::from(f32::MIN)),
        });
        let done = Bool::full([games], false);
        let metrics = metrics.collect();
        let none = all(0.0);
        Moves { count: int(0), state, seats, reward: none, done, margin: none, moves: none, metrics }
    }
}

/// Keys `[2, B]` of the move of that number in a step with the keys of these words `[2, B]`: for the seats and the opponent of the next
/// game, for the opponent's choice, and for the environment.
#[track_caller]
fn move_keys(words: Int, number: Int) -> [Key; 4] {
    vmap_last(words, |words| Key::from_words(words).fold_in(number).split())
}

/// Seats by the toss of fair coins, i32`[B]`; `keys` is an array of keys `[2, B]`.
#[track_caller]
pub fn toss(keys: Key) -> Int {
    vmap_last(keys, |key| key.bernoulli([], 0.5).as_i32())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::{Env, Erased, Metric, Observation, Step};
    use crate::interpret::interpret;
    use crate::lang::{Outputs, boolean, scan_range, stack, trace, vmap};

    const GAMES: usize = 6;
    const STEPS: usize = 30;
    const HEAP: i32 = 9;

    /// Players take 1, 2 or 3 from a heap and are paid what they take by the other; who takes 2 moves again.
    struct Heap {
        cut_off: bool,
    }

    #[derive(Clone, Copy)]
    struct State {
        left: Int,
        mover: Int,
    }
    crate::tree!(State { left, mover });

    impl Env for Heap {
        type State = State;
        type Params = ();

        fn spec(&self) -> EnvSpec {
            let metric = |name: &str, aggregate| Metric {
                name: name.to_owned(),
                aggregate,
                unit: "",
                description: String::new(),
            };
            let metrics = vec![metric("taken", Aggregate::Mean), metric("most", Aggregate::Max)];
            EnvSpec { players: 2, metrics, ..EnvSpec::new("heap", [2], 3) }
        }
        fn default_params(&self) {}
        fn reset(&self, _: &(), _key: Key) -> State {
            State { left: int(HEAP), mover: int(0) }
        }
        fn step(&self, _: &(), _key: Key, state: State, action: Int) -> Step<State> {
            let taken = (action + 1).minimum(state.left);
            let paid = taken.as_f32() * select(state.mover.eq(0), 1.0, -1.0);
            let left = state.left - taken;
            Step {
                reward: stack([paid, -paid]),
                terminated: left.eq(0),
                truncated: self.cut_off.then(|| boolean(false)),
                metrics: vec![taken.as_f32(), taken.as_f32()],
                state: State { left, mover: select(action.eq(1), state.mover, 1 - state.mover) },
            }
        }
        fn observe(&self, _: &(), state: &State) -> Observation {
            stack([state.left, state.mover]).as_f32().into()
        }
        fn to_move(&self, _: &(), state: &State) -> Int {
            state.mover
        }
    }

    /// Takes by what is left and by how often it has moved in this game.
    struct Counting;

    impl Opponent for Counting {
        fn count(&self) -> usize {
            1
        }
        fn draw(&self, keys: Key) -> Int {
            Int::full([keys.into_words().shape()[1]], 0)
        }
        fn begin(&self, rows: usize) -> Leaves {
            Leaves(vec![("moved".to_owned(), Int::full([rows], 0).handle())])
        }
        fn choose(&self, _: Int, carry: Leaves, view: &View, starts: Bool, _keys: Key) -> (Leaves, Int) {
            let moved = select(starts, 0, Int::from_handle(carry.0[0].1));
            let left = view.obs.numbers().slice(1, 0..1).squeeze(1).as_i32();
            (Leaves(vec![("moved".to_owned(), (moved + 1).handle())]), (left + moved) % 3)
        }
    }

    /// What is told of the games, `[B]` each; of steps `[T, B]`.
    struct Told {
        left: Int,
        agent: Int,
        reward: Float,
        done: Bool,
        margin: Float,
        metrics: Vec<Float>,
    }
    crate::tree!(Told { left, agent, reward, done, margin, metrics });

    /// What is left at the start, the seats then, and what is told of the steps.
    fn play(key: Key) -> (Int, Int, Told) {
        let env = Erased::new(Heap { cut_off: false });
        let params = env.default_params();
        let table = Table { env: &env, params: &params, opponent: &Counting, pool: None };
        let left = |state: &Leaves| Int::from_handle(state.0[0].1);
        let [begin, key] = key.split();
        let first = vector::reset(&env, &params, Key::new(0).split_last(GAMES));
        let (state, seats) = table.begin(begin.split_last(GAMES), first);
        let start = (left(&state), seats.agent);
        let (_, told) = scan_range(STEPS, (state, seats), |(state, seats), t| {
            let actions = (arange(GAMES) + t * 5) % 3;
            let (step, seats, margin) = table.step(key.fold_in(t).split_last(GAMES), state, seats, actions);
            let VectorStep { state, reward, done, metrics, .. } = step;
            let told = Told { left: left(&state), agent: seats.agent, reward, done, margin, metrics };
            ((state, seats), told)
        });
        (start.0, start.1, told)
    }

    /// One game on the host, between two steps.
    #[derive(Clone, Copy)]
    struct Game {
        left: i32,
        mover: i32,
        agent: i32,
        /// Moves of the opponent.
        moved: i32,
        /// The moves of the step: how many, what they took, and the most at once.
        moves: i32,
        taken: i32,
        most: i32,
        /// What the last move paid the agent.
        last: i32,
    }

    impl Game {
        fn new(agent: i32) -> Game {
            Game { left: HEAP, mover: 0, agent, moved: 0, moves: 0, taken: 0, most: 0, last: 0 }
        }

        /// What a move pays the agent.
        fn play(&mut self, action: i32) -> i32 {
            let taken = (action + 1).min(self.left);
            let paid = if self.mover == self.agent { taken } else { -taken };
            self.left -= taken;
            self.mover = if action == 1 { self.mover } else { 1 - self.mover };
            (self.moves, self.taken, self.most) = (self.moves + 1, self.taken + taken, self.most.max(taken));
            self.last = paid;
            paid
        }

        /// The opponent's moves up to the agent's turn or the end of the game, and what they pay.
        fn answer(&mut self) -> i32 {
            let mut paid = 0;
            while self.left > 0 && self.mover != self.agent {
                let action = (self.left + self.moved) % 3;
                self.moved += 1;
                paid += self.play(action);
            }
            paid
        }
    }

    #[test]
    fn a_step_is_the_agents_move_and_those_of_the_opponent() {
        let traced = trace(&(), |()| play(Key::new(7)));
        let values = interpret(&traced.graph, &[]).into_iter().map(|array| array.to_f64());
        let mut told = Outputs::new(&traced.output_names, values);
        let [left, agents] = ["0", "1"].map(|name| told.take(name));
        let names = ["left", "agent", "reward", "done", "metrics.0", "metrics.1", "margin"];
        let steps = names.map(|name| told.take(&format!("2.{name}")));
        let mut games: Vec<Game> = agents.iter().map(|&agent| Game::new(agent as i32)).collect();
        let (mut ends, mut openings) = (0, 0);
        for (game, left) in games.iter_mut().zip(left) {
            game.answer();
            assert_eq!(f64::from(game.left), left);
        }
        for (step, game) in (0..STEPS * GAMES).map(|i| (i, i % GAMES)) {
            let [left, agent, reward, done, _, most, _] =
                std::array::from_fn(|what| steps[what][step] as i32);
            let (t, game) = (step / GAMES, &mut games[game]);
            (game.moves, game.taken, game.most) = (0, 0, 0);
            let paid = game.play((step % GAMES + t * 5) as i32 % 3) + game.answer();
            assert_eq!((paid, game.left == 0), (reward, done == 1), "step {t}");
            if game.left == 0 {
                assert_eq!(steps[6][step], f64::from(2 * game.last), "step {t}");
                let Game { moves, taken, most, .. } = *game;
                *game = Game { moves, taken, most, ..Game::new(agent) };
                ends += 1;
                openings += agent;
                game.answer();
            }
            assert_eq!((game.left, game.agent, game.most), (left, agent, most), "step {t}");
            let taken = f64::from(game.taken) / f64::from(game.moves);
            assert!((steps[4][step] - taken).abs() < 1e-6, "step {t}");
        }
        assert!(ends > 20 && (ends / 5..ends - ends / 5).contains(&openings), "{openings} of {ends} coins");
    }

    #[test]
    fn agents_side_by_side_play_as_each_alone() {
        let alone = [1, 2].map(|seed| {
            let traced = trace(&(), |()| play(Key::new(seed)));
            interpret(&traced.graph, &[])
        });
        let traced = trace(&(), |()| {
            let words = stack([1, 2].map(|seed| Key::new(seed).into_words()));
            vmap(Key::from_words(words), play)
        });
        for (i, both) in interpret(&traced.graph, &[]).iter().enumerate() {
            let expected: Vec<f64> = alone.iter().flat_map(|outputs| outputs[i].to_f64()).collect();
            assert_eq!(both.to_f64(), expected, "output {i}");
        }
    }

    #[test]
    fn games_that_self_play_cannot_learn_are_refused() {
        check(&Erased::new(Heap { cut_off: false })).unwrap();
        let message = |env: &dyn AnyEnv| check(env).unwrap_err().to_string();
        assert_eq!(
            message(&Erased::new(crate::envs::CartPole)),
            "cartpole is for one player, and self-play needs a game for two"
        );
        assert_eq!(
            message(&Erased::new(Heap { cut_off: true })),
            "heap can be cut off, and self-play needs a game that ends by its rules"
        );
    }
}
