//! How things stand between an agent and its opponents: results, and the frozen agents.

use crate::algorithms::metrics::Recorder;
use crate::algorithms::schedule::crossed;
use crate::algorithms::self_play::Met;
use crate::lang::{
    Float, Int, Leaves, all_reduce, arange, concatenate, int_u64, rare, repeat_tree, select, select_tree,
    update_tree,
};

use super::{FROZEN, Lineup};

/// What becomes of frozen agents whose games are too few to judge them.
const UNKNOWN: f64 = 0.5;
/// Games that are too few.
const FEW_GAMES: usize = 100;
/// The share of games won of which the square is the least weight.
const LEAST: f64 = 0.01;

/// Everything that an update changes.
#[derive(Clone)]
pub struct Standing {
    /// Steps of all environments, u64.
    pub steps: Int,
    /// Games that ended, u64.
    pub episodes: Int,
    pub results: Results,
    /// In a pool.
    pub frozen: Option<Frozen>,
}
crate::tree!(Standing { steps, episodes, results, frozen });

/// What came of the games against each opponent, u64`[M]`.
#[derive(Clone, Copy)]
pub struct Results {
    /// Of the agent.
    pub wins: Int,
    pub draws: Int,
    pub losses: Int,
}
crate::tree!(Results { wins, draws, losses });

/// Agents as they were.
#[derive(Clone)]
pub struct Frozen {
    /// `[K, ...]` each.
    pub params: Leaves,
    /// After how many steps each was frozen, u64`[K]`; 0 where there is none.
    pub since: Int,
    /// How many games had ended when each was last met, u64`[K]`.
    pub last_met: Int,
    pub left: Left,
}
crate::tree!(Frozen { params, since, last_met, left });

/// The agent whose place was taken last, and what had come of the games against it, u64 scalars; all 0 if there is none.
#[derive(Clone, Copy)]
pub struct Left {
    pub since: Int,
    pub wins: Int,
    pub draws: Int,
    pub losses: Int,
}
crate::tree!(Left { since, wins, draws, losses });

/// The weight of an opponent against which the agent has so many wins, draws and losses: the square of the share of games that it wins.
pub fn weight([wins, draws, losses]: [u64; 3]) -> f64 {
    let games = wins + draws + losses;
    let share = if games > FEW_GAMES as u64 { losses as f64 / games as f64 } else { UNKNOWN };
    share.max(LEAST).powi(2)
}

impl Results {
    /// The weights f32`[M - from]` of the opponents from that number on: the square of the share of games that they win.
    #[track_caller]
    pub(super) fn weights(&self, from: usize) -> Float {
        let of = |count: Int| count.slice(0, from..count.size());
        let games = of(self.wins) + of(self.draws) + of(self.losses);
        let share = of(self.losses).as_f32() / games.maximum(1).as_f32();
        select(games.gt(FEW_GAMES), share, UNKNOWN).maximum(LEAST).square()
    }
}

impl Lineup {
    /// Before the first game of an agent with these parameters.
    #[track_caller]
    pub(super) fn begin(&self, agent: &Leaves) -> Standing {
        let none = Int::full([self.count()], 0).as_u64();
        let slots = self.slots;
        let frozen = (slots > 0).then(|| {
            let never = Int::full([slots], 0).as_u64();
            let zero = int_u64(0);
            let left = Left { since: zero, wins: zero, draws: zero, losses: zero };
            Frozen { params: repeat_tree(agent, slots), since: never, last_met: never, left }
        });
        let results = Results { wins: none, draws: none, losses: none };
        Standing { steps: int_u64(0), episodes: int_u64(0), results, frozen }
    }

    /// How things stand after `timesteps` steps, of all devices, in which the agent met these opponents on this one; and who is met in
    /// the games that go on, i32`[B]`. From time to time the agent joins the frozen ones. Games against the one whose place it takes
    /// are games against the agent itself from then on.
    #[track_caller]
    pub(super) fn after(
        &self,
        standing: Standing,
        met: &Met,
        num_devices: usize,
        timesteps: usize,
        agent: &Leaves,
        playing: Int,
    ) -> (Standing, Int) {
        let sum = |x: Float| if num_devices == 1 { x } else { all_reduce(x) }.as_u64();
        let [wins, draws, losses] = [met.wins, met.draws, met.losses].map(sum);
        let games = wins + draws + losses;
        let Standing { steps, episodes, results, frozen } = standing;
        let now = steps + timesteps;
        let episodes = episodes + games.sum_all();
        let results = Results {
            wins: results.wins + wins,
            draws: results.draws + draws,
            losses: results.losses + losses,
        };
        let Some(frozen) = frozen else {
            return (Standing { steps: now, episodes, results, frozen: None }, playing);
        };
        let first = self.itself() + 1;
        let met_now = games.slice(0, first..self.count()).gt(0);
        let last_met = select(met_now, episodes, frozen.last_met);
        let due = crossed(steps, now, self.settings.freeze_every as u64).gt(0);
        // An empty place if there is one.
        let slot = select(frozen.since.eq(0), int_u64(0), last_met + 1).argmin(0);
        let taken = arange(self.slots).eq(slot) & due;
        let params = rare(due, frozen.params, |params| update_tree(params, slot, &repeat_tree(agent, 1)));
        let at_place = |values: Int| select(taken, values, 0).sum_all();
        let count = |counts: Int| at_place(counts.slice(0, first..self.count()));
        let now_left = Left {
            since: at_place(frozen.since),
            wins: count(results.wins),
            draws: count(results.draws),
            losses: count(results.losses),
        };
        let frozen = Frozen {
            left: select_tree(due, now_left, frozen.left),
            params,
            since: select(taken, now, frozen.since),
            last_met: select(taken, episodes, last_met),
        };
        let anew = |count: Int| {
            let kept = select(taken, 0, count.slice(0, first..self.count()));
            concatenate(0, [count.slice(0, 0..first), kept])
        };
        let Results { wins, draws, losses } = results;
        let results = Results { wins: anew(wins), draws: anew(draws), losses: anew(losses) };
        let playing = select(due & playing.eq(slot + first), self.itself() as i32, playing);
        (Standing { steps: now, episodes, results, frozen: Some(frozen) }, playing)
    }

    /// Records what came of the games of an update.
    pub(super) fn record(&self, m: &mut Recorder, met: &Met) {
        for (name, count, about) in [
            ("train/win_rate", met.wins, "share of the episodes that the agent won"),
            ("train/draw_rate", met.draws, "share of the episodes that nobody won"),
        ] {
            m.episode_mean(name, count).describe("share", about);
        }
        let first = self.itself() + 1;
        let single = self.names().enumerate().map(|(i, name)| (name, i..i + 1));
        let frozen = (self.slots > 0).then(|| (FROZEN, first..self.count()));
        let is_met = |(name, range): &(&str, std::ops::Range<usize>)| {
            *name == FROZEN || self.slots > 0 || self.first_odds[range.start] > 0.0
        };
        for (name, range) in single.chain(frozen).filter(is_met) {
            for (what, count) in [("wins", met.wins), ("draws", met.draws), ("losses", met.losses)] {
                let about = format!("{what} of the agent against {name}");
                m.sum(format!("opponents/{name}/{what}"), count.slice(0, range.clone()))
                    .describe("games", about);
            }
        }
    }
}
