//! The state of one game as arrays, and the stack that UNDO pops.

use crate::lang::{Bool, Int, arange, int, int_u64, select, stack};

use super::board::{Board, Place};
use super::entities::{Enemies, Roster, Transmissions};
use super::host::digits;

/// Snapshots that the history keeps. The rules know no limit; with this one the fifth UNDO in a row is missing.
pub const HISTORY: usize = 4;

/// Everything that UNDO restores.
#[derive(Clone, Copy)]
pub struct World {
    /// The set of the player's cell alone.
    pub player: Int,
    // i32:
    pub hp: Int,
    pub credits: Int,
    pub energy: Int,
    pub data_siphons: Int,
    /// Damage of one attack.
    pub attack: Int,
    pub score: Int,
    /// Enemy turns in this stage.
    pub turn: Int,
    pub atk_plus_uses: Int,
    /// SHOW and CALM are in effect.
    pub show: Bool,
    pub scheduled_disabled: Bool,
    /// The set of owned programs.
    pub owned: Int,
    pub board: Board,
    pub enemies: Enemies,
    pub transmissions: Transmissions,
}
crate::tree!(World {
    player,
    hp,
    credits,
    energy,
    data_siphons,
    attack,
    score,
    turn,
    atk_plus_uses,
    show,
    scheduled_disabled,
    owned,
    board,
    enemies,
    transmissions
});

#[derive(Clone, Copy)]
pub struct State {
    pub world: World,
    // i32:
    /// 1..=8; stays 8 after a victory.
    pub stage: Int,
    pub scheduled_interval: Int,
    pub next_scheduled_turn: Int,
    /// Siphon transmissions that wait for the end of the next enemy turn.
    pub pending_siphon: Int,
    /// Steps from the player to the logical exit, 0 if it is cut off: follows from the rest of the state.
    pub distance: Int,
    /// Enemies that found no slot since the game began.
    pub dropped: Int,
    /// STEP is in effect.
    pub step_active: Bool,
    /// The logical exit, as a set: what WARP and the distance mean.
    pub exit: Int,
    pub history: History,
}
crate::tree!(State {
    world,
    stage,
    scheduled_interval,
    next_scheduled_turn,
    pending_siphon,
    distance,
    dropped,
    step_active,
    exit,
    history
});

impl World {
    /// A player with nothing, on an empty board.
    #[track_caller]
    pub fn empty(player: Int) -> World {
        let none = int_u64(0);
        let board = Board {
            blocks: none,
            data: none,
            question: none,
            value: [none; digits::VALUE],
            spawn: [none; digits::SPAWN],
            siphoned: none,
            centers: none,
            credits: [none; digits::RESOURCE],
            energy: [none; digits::RESOURCE],
            pickups: none,
            exit: none,
        };
        World {
            player,
            hp: int(3),
            credits: int(0),
            energy: int(0),
            data_siphons: int(0),
            attack: int(1),
            score: int(0),
            turn: int(0),
            atk_plus_uses: int(0),
            show: crate::lang::boolean(false),
            scheduled_disabled: crate::lang::boolean(false),
            owned: none,
            board,
            enemies: Enemies::empty(),
            transmissions: Transmissions::empty(),
        }
    }

    /// As words, u64 [[`World::WORDS`]]. Origins of enemies and transmissions and stunned enemies are not kept: a snapshot is
    /// taken when nobody is stunned, and UNDO forgets the origins.
    #[track_caller]
    pub fn to_words(&self) -> Int {
        let pair = |low: Int, high: Int| low.as_u64() | (high.as_u64() << 32);
        let flags = (self.atk_plus_uses << 2) | (self.scheduled_disabled.as_i32() << 1) | self.show.as_i32();
        let mut words = vec![
            self.player,
            pair(self.credits, self.energy),
            pair(self.data_siphons, self.attack),
            pair(self.score, self.turn),
            pair(self.owned.as_i32(), flags | (self.hp << 16)),
        ];
        let board = &self.board;
        words.extend([board.blocks, board.data, board.question]);
        words.extend(board.value);
        words.extend(board.spawn);
        words.extend([board.siphoned, board.centers]);
        words.extend(board.credits);
        words.extend(board.energy);
        words.extend([board.pickups, board.exit]);
        for list in [&self.enemies.list, &self.transmissions.list] {
            words.push(list.alive);
            words.extend(list.row);
            words.extend(list.col);
            words.extend(list.kind);
        }
        words.extend(self.enemies.hp);
        words.push(self.enemies.disabled);
        words.extend(self.transmissions.turns);
        stack(&words)
    }

    pub const WORDS: usize = 5 + 20 + 2 * 9 + 3 + digits::TURNS;

    /// The inverse of [`World::to_words`].
    #[track_caller]
    pub fn from_words(words: Int) -> World {
        let mut next = 0;
        let mut take = || {
            next += 1;
            words.index(0, next - 1)
        };
        macro_rules! many {
            () => {
                std::array::from_fn(|_| take())
            };
        }
        let low = |word: Int| (word & 0xffff_ffffu64).as_i32();
        let high = |word: Int| (word >> 32).as_i32();
        let player = take();
        let [money, gear, progress, rest]: [Int; 4] = many!();
        let flags = high(rest) & 0xffff;
        let board = Board {
            blocks: take(),
            data: take(),
            question: take(),
            value: many!(),
            spawn: many!(),
            siphoned: take(),
            centers: take(),
            credits: many!(),
            energy: many!(),
            pickups: take(),
            exit: take(),
        };
        let none = int_u64(0);
        let [enemy_list, transmission_list] = [(); 2].map(|()| Roster {
            alive: take(),
            row: many!(),
            col: many!(),
            kind: many!(),
            from_siphon: none,
            from_scheduled: none,
        });
        World {
            player,
            hp: high(rest) >> 16,
            credits: low(money),
            energy: high(money),
            data_siphons: low(gear),
            attack: high(gear),
            score: low(progress),
            turn: high(progress),
            atk_plus_uses: flags >> 2,
            show: (flags & 1).as_bool(),
            scheduled_disabled: (flags & 2).as_bool(),
            owned: low(rest).as_u64(),
            board,
            enemies: Enemies { list: enemy_list, hp: many!(), disabled: take(), stunned: none },
            transmissions: Transmissions { list: transmission_list, turns: many!() },
        }
    }
}

/// The newest snapshots, in a ring.
#[derive(Clone, Copy)]
pub struct History {
    /// Snapshots to pop, i32 0..=4.
    pub count: Int,
    /// The place of the newest, i32 0..4.
    pub newest: Int,
    /// u64 [4, words].
    pub ring: Int,
}
crate::tree!(History { count, newest, ring });

impl History {
    #[track_caller]
    pub fn empty() -> History {
        History { count: int(0), newest: int(0), ring: Int::full([HISTORY, World::WORDS], 0).as_u64() }
    }

    /// Adds a snapshot where `flag` holds; the oldest of four is forgotten.
    #[track_caller]
    pub fn pushed(self, flag: Bool, world: &World) -> History {
        let place = (self.newest + 1) & (HISTORY as i32 - 1);
        let here = (arange(HISTORY).eq(place) & flag).broadcast(1, World::WORDS);
        History {
            count: select(flag, (self.count + 1).minimum(HISTORY), self.count),
            newest: select(flag, place, self.newest),
            ring: select(here, world.to_words().broadcast(0, HISTORY), self.ring),
        }
    }

    /// The newest snapshot.
    #[track_caller]
    pub fn top(&self) -> World {
        let rows: [Int; HISTORY] = self.ring.unstack();
        let chosen = rows.into_iter().enumerate().reduce(|(_, chosen), (place, row)| {
            let here = self.newest.eq(place as i32);
            (place, select(here, row, chosen))
        });
        World::from_words(chosen.expect("four rows").1)
    }

    /// Without the newest snapshot where `flag` holds.
    #[track_caller]
    pub fn popped(self, flag: Bool) -> History {
        let before = (self.newest + (HISTORY as i32 - 1)) & (HISTORY as i32 - 1);
        History {
            count: self.count - flag.as_i32(),
            newest: select(flag, before, self.newest),
            ring: self.ring,
        }
    }
}

/// What many rules ask of a state.
#[derive(Clone, Copy)]
pub struct Scene {
    pub player: Place,
    pub enemy_cells: Int,
    pub transmission_cells: Int,
}

impl Scene {
    #[track_caller]
    pub fn of(world: &World) -> Scene {
        Scene {
            player: Place::of(world.player),
            enemy_cells: world.enemies.list.cells(),
            transmission_cells: world.transmissions.list.cells(),
        }
    }
}
