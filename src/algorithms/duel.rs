//! Two policies against each other in a game for two, by whole games.
//!
//! The two together are one policy for both seats, so an [`Evaluator`] plays their games as it plays all episodes. Who has the first seat
//! is a parameter: one program serves the games of both. Of a policy whose turn it is in no game, nothing is computed.

use std::rc::Rc;

use anyhow::Result;

use crate::array::HostArray;
use crate::envs::AnyEnv;
use crate::envs::vector::View;
use crate::lang::{
    Bool, Float, Int, Key, Leaves, OnDevice, cond, int, leaves, rebuild, select_tree, structure_of, vmap_last,
};
use crate::runtime::Client;

use super::evaluation::{Episode, Evaluator, Plan};
use super::policy::{Actor, Choice, Decision, Policy};

/// A compiled match of two policies.
pub struct Duel {
    evaluator: Evaluator,
    /// The parameters of both, with the first policy in the first and in the second seat.
    seats: [OnDevice<Leaves>; 2],
}

/// What to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Games {
    pub games: usize,
    /// Steps after which a game is cut off.
    pub max_steps: usize,
    pub seed: u64,
}

/// Games from the first policy's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    pub wins: usize,
    pub draws: usize,
    pub losses: usize,
    /// Games that did not end within the bound on their steps. Each is one of those above too, by what it had paid until then.
    pub cut_off: usize,
}

impl Score {
    pub fn games(&self) -> usize {
        self.wins + self.draws + self.losses
    }

    /// The same games from the other side.
    #[must_use]
    pub fn turned(self) -> Score {
        Score { wins: self.losses, losses: self.wins, ..self }
    }

    /// Counts a game in which the two returned that much.
    fn count(&mut self, own: f64, other: f64, finished: bool) {
        self.cut_off += usize::from(!finished);
        *match own.total_cmp(&other) {
            std::cmp::Ordering::Greater => &mut self.wins,
            std::cmp::Ordering::Equal => &mut self.draws,
            std::cmp::Ordering::Less => &mut self.losses,
        } += 1;
    }
}

impl std::ops::Add for Score {
    type Output = Score;

    fn add(self, other: Score) -> Score {
        Score {
            wins: self.wins + other.wins,
            draws: self.draws + other.draws,
            losses: self.losses + other.losses,
            cut_off: self.cut_off + other.cut_off,
        }
    }
}

impl Duel {
    /// Compiles the games of two policies for about `games` games. The first `opening` moves of each game are drawn uniformly from
    /// those that are valid.
    ///
    /// # Panics
    /// The environment is not for two players.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn new(
        client: &Client,
        env: &dyn AnyEnv,
        policies: [&Policy; 2],
        opening: usize,
        games: usize,
    ) -> Result<Duel> {
        let spec = env.spec();
        assert!(spec.players == 2, "a duel is a game for two");
        let opening = (opening > 0).then(|| (opening as i32, Policy::random(&spec)));
        let pair = Pair { policies: policies.map(Policy::clone), num_actions: spec.num_actions, opening };
        let structure = Actor::params(&pair);
        let params = |seat: i32| {
            let params = policies.into_iter().flat_map(|policy| policy.params().iter().cloned());
            std::iter::once(HostArray::scalar(seat)).chain(params).collect::<Vec<HostArray>>()
        };
        let place = |seat| OnDevice::new(client, &structure, &[params(seat)]);
        let seats = [place(0)?, place(1)?];
        let policy = Policy::new(Rc::new(pair), params(0), Choice::Sample);
        Ok(Duel { evaluator: Evaluator::new(client, env, &policy, games)?, seats })
    }

    /// Plays the games: those in which the first policy has the first seat, and those in which it has the second. A fair coin
    /// decides each. Asks now and then whether to `go_on`; gives nothing if not.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn play(&self, games: &Games, go_on: &mut dyn FnMut() -> bool) -> Result<Option<[Score; 2]>> {
        let &Games { games, max_steps, seed } = games;
        let first = (0..games as u64).filter(|&game| coin(seed, game)).count();
        let mut scores = [Score::default(); 2];
        for (seat, episodes) in [first, games - first].into_iter().enumerate() {
            // Games of both kinds have random numbers of their own.
            let plan = Plan { episodes, max_steps, seed: seed ^ ((seat as u64) << 63) };
            let Some(played) = self.evaluator.run_with(&|| self.seats[seat].lend(), &plan, go_on)? else {
                return Ok(None);
            };
            for Episode { episode_return, other_returns, finished, .. } in played {
                let returns = [episode_return, other_returns[0]];
                scores[seat].count(returns[seat], returns[1 - seat], finished);
            }
        }
        Ok(Some(scores))
    }
}

/// A fair coin for each game of a seed: one output of the generator SplitMix64 (Steele, Lea, Flood 2014).
fn coin(seed: u64, game: u64) -> bool {
    let mut x = seed ^ game.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) & 1 == 0
}

/// Two policies that act as one.
struct Pair {
    policies: [Policy; 2],
    num_actions: usize,
    /// How many moves of a game are drawn at random, and what draws them.
    opening: Option<(i32, Policy)>,
}

/// The seat of the first policy (i32 scalar), and the parameters of both.
type Params = (Int, Leaves, Leaves);
/// Moves of each game, i32`[N]`, if they are counted, and what both policies remember.
type Carry = (Option<Int>, Leaves, Leaves);

impl Pair {
    fn params(&self) -> Params {
        let [first, second] = self.policies.each_ref().map(Policy::structure);
        (structure_of(|| int(0)), first, second)
    }

    #[track_caller]
    fn carry(&self, rows: usize) -> Carry {
        let moves = self.opening.is_some().then(|| Int::full([rows], 0));
        (moves, self.policies[0].begin(rows), self.policies[1].begin(rows))
    }
}

impl Actor for Pair {
    fn params(&self) -> Leaves {
        Leaves::of(&Pair::params(self))
    }

    #[track_caller]
    fn begin(&self, rows: usize) -> Leaves {
        Leaves::of(&self.carry(rows))
    }

    #[track_caller]
    fn act(
        &self,
        params: &Leaves,
        carry: Leaves,
        view: &View,
        keys: Key,
        _choice: Choice,
    ) -> (Leaves, Decision) {
        let to_move = view.to_move.expect("a game for two says who is to move");
        let rows = to_move.size();
        let (seat, first, second) = rebuild(Pair::params(self), &leaves(params));
        let structure = structure_of(|| self.carry(rows));
        let (moves, first_carry, second_carry) = rebuild(structure, &leaves(&carry));
        let [own, others, random] = vmap_last(keys, Key::split);
        let turn = to_move.eq(seat.fill(&[rows]));
        let [one, other] = &self.policies;
        let decide = |policy: &Policy, params: Leaves, carry: Leaves, turn: Bool, keys: Key| {
            decide(policy, &params, carry, view, turn, keys, self.num_actions)
        };
        let (first_carry, first) = decide(one, first, first_carry, turn, own);
        let (second_carry, second) = decide(other, second, second_carry, !turn, others);
        let mut chosen = select_tree(turn, first, second);
        if let (Some((opening, policy)), Some(moves)) = (&self.opening, moves) {
            let (_, Decision { action, probs, .. }) =
                policy.act(&Leaves::default(), Leaves::default(), view, random);
            chosen = select_tree(moves.lt(*opening), (action, probs), chosen);
        }
        let carry: Carry = (moves.map(|moves| moves + 1), first_carry, second_carry);
        let (action, probs) = chosen;
        (Leaves::of(&carry), Decision { action, probs, value: None, action_values: None })
    }
}

/// What one policy remembers and does where it is its turn (bool`[N]`): actions i32`[N]` and probabilities f32`[N, A]`.
#[track_caller]
fn decide(
    policy: &Policy,
    params: &Leaves,
    carry: Leaves,
    view: &View,
    turn: Bool,
    keys: Key,
    num_actions: usize,
) -> (Leaves, (Int, Float)) {
    let idle = (Int::full([turn.size()], 0), Float::full([turn.size(), num_actions], 0.0));
    cond(
        turn.any_all(),
        carry,
        |carry| {
            let (after, decision) = policy.act(params, carry.clone(), view, keys);
            (select_tree(turn, after, carry), (decision.action, decision.probs))
        },
        |carry| (carry, idle),
    )
}
