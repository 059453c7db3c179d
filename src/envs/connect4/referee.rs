//! Plays games that come from the host through the traced game, many at once: what `verify` and the tests step it with.

use anyhow::{Result, ensure};

use crate::array::{DType, HostArray};
use crate::lang::{Backend, Bool, Float, HostFunction, Int, Key, iota, select, stack, vmap_last};

use super::board::Threats;
use super::scripted::{Choice, Scripted};
use super::{Board, Connect4, Env, Params, State};

/// The stones of a game: the words of a [`State`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub first: u64,
    pub second: u64,
}

/// How a game stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Running,
    /// The number of the player who has won.
    Won(usize),
    Drawn,
}

/// A game after a step.
#[derive(Clone, Debug)]
pub struct Seen {
    pub position: Position,
    /// What the step paid both players.
    pub rewards: [f32; 2],
    pub terminated: bool,
    pub illegal: bool,
    /// `[2, rows, cols]`, flattened.
    pub obs: Vec<f32>,
    /// By column.
    pub legal: Vec<bool>,
    pub to_move: usize,
    pub outcome: Outcome,
}

/// What a scripted player considers.
#[derive(Clone, Copy, Debug)]
pub struct Considered {
    pub rule: i32,
    /// The cells to draw from.
    pub cells: u64,
    /// The cells to draw from again after a draw of column 0; none if that draw counts.
    pub instead: u64,
}

/// Cells where a stone is a threat, by score: 1.1, 0.8, 0.3.
pub type Scored = [u64; 3];

/// What is thought of a position: by both heuristics, and the threats of the player to move and of the other one.
#[derive(Clone, Copy, Debug)]
pub struct Thoughts {
    pub heuristic: Considered,
    pub smart_heuristic: Considered,
    pub threats: [Scored; 2],
}

/// Move sequences one move longer than those before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Children {
    /// All, those whose last move wins, and those whose last move draws.
    pub counts: [u64; 3],
    /// Those whose game goes on.
    pub running: Vec<Position>,
}

/// The traced game on one board, for groups of `width` games.
pub struct Referee {
    board: Board,
    width: usize,
    step: HostFunction,
    think: HostFunction,
}

struct Stepped {
    state: State,
    reward: Float,
    terminated: Bool,
    illegal: Float,
    obs: Float,
    legal: Bool,
    to_move: Int,
    outcome: Int,
}
crate::tree!(Stepped { state, reward, terminated, illegal, obs, legal, to_move, outcome });

struct Thought {
    heuristic: Choice,
    smart_heuristic: Choice,
    own: Threats,
    other: Threats,
}
crate::tree!(Thought { heuristic, smart_heuristic, own, other });

/// An action that no board has: it leaves a game as it is.
pub const NONE: i32 = -1;

impl Referee {
    /// The game for `width` games at once, to be played there.
    ///
    /// # Errors
    /// Whatever the compiler says.
    pub fn new(game: Connect4, width: usize, backend: &Backend) -> Result<Referee> {
        let state = states(width);
        let number = || Float::placeholder(DType::F32, [width]);
        let [win, loss, draw, three_in_row, opponent_three_in_row, invalid_action] =
            std::array::from_fn(|_| number());
        let params = Params { win, loss, draw, three_in_row, opponent_three_in_row, invalid_action };
        let actions = Int::placeholder(DType::I32, [width]);
        let step = HostFunction::new(backend, "step", &(params, state, actions), |games| {
            vmap_last(games, |(params, state, action)| {
                let step = game.step(&params, Key::new(0), state, action);
                let state = step.state;
                Stepped {
                    obs: game.observe(&params, &state).actor.flatten(),
                    legal: game.action_mask(&params, &state).expect("the game has a mask"),
                    to_move: game.to_move(&params, &state),
                    outcome: game.outcome(&state),
                    state,
                    reward: step.reward,
                    terminated: step.terminated,
                    illegal: step.metrics[0],
                }
            })
        })?;
        let think = HostFunction::new(backend, "think", &states(width), |state| {
            vmap_last(state, |state| {
                let [own, other] = state.sides();
                let considers = |player: Scripted| player.considers(game.board, [own, other]);
                Thought {
                    heuristic: considers(Scripted::Heuristic),
                    smart_heuristic: considers(Scripted::SmartHeuristic),
                    own: game.board.threats(own, other),
                    other: game.board.threats(other, own),
                }
            })
        })?;
        Ok(Referee { board: game.board, width, step, think })
    }

    /// Steps every game with its rewards (in the order of [`Params`]) and its action.
    ///
    /// # Errors
    /// A game that is over and whose action is not [`NONE`]; whatever the device reports.
    pub fn step(&self, rewards: &[[f32; 6]], games: &[Position], actions: &[i32]) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for start in (0..games.len()).step_by(self.width) {
            let group = start..games.len().min(start + self.width);
            seen.extend(self.step_group(&rewards[group.clone()], &games[group.clone()], &actions[group])?);
        }
        Ok(seen)
    }

    fn step_group(&self, rewards: &[[f32; 6]], games: &[Position], actions: &[i32]) -> Result<Vec<Seen>> {
        let mut inputs: Vec<HostArray> =
            (0..6).map(|i| self.filled(rewards.iter().map(|rewards| rewards[i]))).collect();
        inputs.extend(self.words(games));
        inputs.push(self.filled(actions.iter().copied()));
        let mut found = self.step.call(&inputs)?;
        let positions = positions(&found.take("state.first"), &found.take("state.second"));
        let mut take = |name: &str| found.take(name);
        let [reward, terminated, illegal] = ["reward", "terminated", "illegal"].map(&mut take);
        let [obs, legal, to_move, outcome] = ["obs", "legal", "to_move", "outcome"].map(&mut take);
        let [reward, illegal, obs] = [&reward, &illegal, &obs].map(|found| found.as_slice::<f32>());
        let [terminated, legal] = [&terminated, &legal].map(|found| found.as_slice::<bool>());
        let [to_move, outcome] = [&to_move, &outcome].map(|found| found.as_slice::<i32>());
        let seen = (0..games.len()).map(|game| Seen {
            position: positions[game],
            rewards: [reward[game], reward[self.width + game]],
            terminated: terminated[game],
            illegal: illegal[game] != 0.0,
            obs: obs.iter().skip(game).step_by(self.width).copied().collect(),
            legal: legal.iter().skip(game).step_by(self.width).copied().collect(),
            to_move: to_move[game] as usize,
            outcome: match outcome[game] {
                0 => Outcome::Running,
                3 => Outcome::Drawn,
                player => Outcome::Won(player as usize - 1),
            },
        });
        Ok(seen.collect())
    }

    /// Plays whole games from the empty board. Gives each game after 0, 1, ... moves.
    ///
    /// # Errors
    /// One line for a move after the end of a game; whatever the device reports.
    pub fn play(&self, rewards: &[[f32; 6]], games: &[Vec<i32>]) -> Result<Vec<Vec<Seen>>> {
        let mut played: Vec<Vec<Seen>> = vec![Vec::new(); games.len()];
        let longest = games.iter().map(Vec::len).max().unwrap_or(0);
        for moves in 0..=longest {
            let playing: Vec<usize> = (0..games.len()).filter(|&game| moves <= games[game].len()).collect();
            let before = |game: usize| played[game].last();
            for &game in &playing {
                let over = before(game).is_some_and(|seen| seen.outcome != Outcome::Running);
                ensure!(!over, "move {moves} of the game {:?} comes after its end", games[game]);
            }
            let position = |game: usize| before(game).map_or(Position::default(), |seen| seen.position);
            let positions: Vec<Position> = playing.iter().map(|&game| position(game)).collect();
            let action = |game: usize| if moves == 0 { NONE } else { games[game][moves - 1] };
            let actions: Vec<i32> = playing.iter().map(|&game| action(game)).collect();
            let rewards: Vec<[f32; 6]> = playing.iter().map(|&game| rewards[game]).collect();
            for (game, seen) in playing.iter().zip(self.step(&rewards, &positions, &actions)?) {
                played[*game].push(seen);
            }
        }
        Ok(played)
    }

    /// What is thought of each position.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn think(&self, games: &[Position]) -> Result<Vec<Thoughts>> {
        let mut thoughts = Vec::new();
        for group in games.chunks(self.width) {
            let mut found = self.think.call(&self.words(group))?;
            let mut words = |name: String| found.take(&name).as_slice::<u64>().to_vec();
            let mut choice = |name: &str| ["cells", "instead"].map(|part| words(format!("{name}.{part}")));
            let [heuristic, smart] = ["heuristic", "smart_heuristic"].map(&mut choice);
            let mut threats =
                |side: &str| ["double", "single", "pair"].map(|part| words(format!("{side}.{part}")));
            let threats = ["own", "other"].map(&mut threats);
            let rules =
                ["heuristic", "smart_heuristic"].map(|name| found.take(&format!("{name}.rule")).to_f64());
            let considered = |rule: &[f64], [cells, instead]: &[Vec<u64>; 2], game: usize| Considered {
                rule: rule[game] as i32,
                cells: cells[game],
                instead: instead[game],
            };
            thoughts.extend((0..group.len()).map(|game| Thoughts {
                heuristic: considered(&rules[0], &heuristic, game),
                smart_heuristic: considered(&rules[1], &smart, game),
                threats: [0, 1].map(|side: usize| [0, 1, 2].map(|class: usize| threats[side][class][game])),
            }));
        }
        Ok(thoughts)
    }

    fn words(&self, games: &[Position]) -> [HostArray; 2] {
        [self.filled(games.iter().map(|game| game.first)), self.filled(games.iter().map(|game| game.second))]
    }

    /// The values, and zeros up to the width.
    fn filled<T: crate::array::Element + Default>(&self, values: impl Iterator<Item = T>) -> HostArray {
        let mut values: Vec<T> = values.collect();
        values.resize(self.width, T::default());
        HostArray::new(&[self.width], values)
    }

    pub fn board(&self) -> Board {
        self.board
    }
}

/// Counts move sequences: every move of `width` positions at once, through the environment's step.
pub struct Expander {
    board: Board,
    width: usize,
    expand: HostFunction,
}

struct Expanded {
    state: State,
    running: Bool,
    /// i32`[3]`
    counts: Int,
}
crate::tree!(Expanded { state, running, counts });

impl Expander {
    /// The program for `width` positions at once, to be run there.
    ///
    /// # Errors
    /// Whatever the compiler says.
    pub fn new(game: Connect4, width: usize, backend: &Backend) -> Result<Expander> {
        let cols = game.board.cols;
        let input = (states(width), Int::placeholder(DType::I32, []));
        let expand = HostFunction::new(backend, "expand", &input, |(state, count)| {
            let params = game.default_params();
            let each = |words: Int| words.broadcast(0, cols).flatten();
            let parents = State { first: each(state.first), second: each(state.second) };
            let [actions, places] = [0, 1].map(|axis| iota(DType::I32, [cols, width], axis).flatten());
            let (state, running, ends) = vmap_last((parents, actions, places), |(state, action, place)| {
                let step = game.step(&params, Key::new(0), state, action);
                let counts = step.metrics[0].eq(0.0) & place.lt(count);
                let mover = select(state.first_to_move(), step.reward_of(0), step.reward_of(1));
                let won = counts & step.terminated & mover.gt(0.0);
                let drawn = counts & step.terminated & mover.eq(0.0);
                (step.state, counts & !step.terminated, [counts, won, drawn])
            });
            let counts = ends.map(|ends| ends.as_i32().sum_all());
            Expanded { state, running, counts: stack(counts) }
        })?;
        Ok(Expander { board: game.board, width, expand })
    }

    /// All sequences one move longer; those that go on only if `keep`.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn children(&self, parents: &[Position], keep: bool) -> Result<Children> {
        let mut children = Children::default();
        for group in parents.chunks(self.width) {
            let filled = |word: fn(&Position) -> u64| {
                let mut words: Vec<u64> = group.iter().map(word).collect();
                words.resize(self.width, 0);
                HostArray::new(&[self.width], words)
            };
            let count = HostArray::scalar(group.len() as i32);
            let inputs = [filled(|position| position.first), filled(|position| position.second), count];
            let mut found = self.expand.call(&inputs)?;
            for (sum, &count) in children.counts.iter_mut().zip(found.take("counts").as_slice::<i32>()) {
                *sum += count as u64;
            }
            if keep {
                let all = positions(&found.take("state.first"), &found.take("state.second"));
                let running = found.take("running");
                let running =
                    all.into_iter().zip(running.as_slice::<bool>()).filter(|(_, running)| **running);
                children.running.extend(running.map(|(position, _)| position));
            }
        }
        Ok(children)
    }

    /// The position after one more move; nothing if the move is illegal or ends the game.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn after(&self, position: Position, action: i32) -> Result<Option<Position>> {
        let running = self.children(&[position], true)?.running;
        let stones = |position: &Position| position.first | position.second;
        let column = u32::try_from(action).ok().filter(|&c| (c as usize) < self.board.cols);
        let cells = column.map_or(0, |c| self.board.column(c as usize));
        let mut played = running.into_iter();
        Ok(played.find(|after| (stones(after) ^ stones(&position)) & cells != 0))
    }
}

fn states(width: usize) -> State {
    let [first, second] = [0, 1].map(|_| Int::placeholder(DType::U64, [width]));
    State { first, second }
}

fn positions(first: &HostArray, second: &HostArray) -> Vec<Position> {
    let pairs = first.as_slice::<u64>().iter().zip(second.as_slice::<u64>());
    pairs.map(|(&first, &second)| Position { first, second }).collect()
}
