//! Everything that the rules leave to chance.
//!
//! An implementor gives [`Dice::below`] only; the other methods say how each draw is made from it. A
//! test that wants to dictate a draw overrides that method.

use super::board::{self, Site};
use crate::envs::hackmatrix::host::{Board, CELLS, Cell, EnemyType};

pub trait Dice {
    /// A uniform number below `n`, which is at least 1.
    fn below(&mut self, n: usize) -> usize;

    /// The order in which the enemies act in one half-step: a uniform permutation of `0..enemies`.
    fn order(&mut self, enemies: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..enemies).collect();
        for last in (1..enemies).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    /// Where a transmission appears: a uniform cell of `sheltered`, those free cells that are out of
    /// the line of fire, or if 100 tries hit none, of all `free` cells; nowhere if 100 more hit none.
    fn spawn_cell(&mut self, sheltered: &[Cell], free: &[Cell]) -> Option<Cell> {
        for wanted in [sheltered, free] {
            for _ in 0..100 {
                let cell = Cell::from_index(self.below(CELLS));
                if wanted.contains(&cell) {
                    return Some(cell);
                }
            }
        }
        None
    }

    fn spawn_type(&mut self) -> EnemyType {
        EnemyType::ALL[self.below(4)]
    }

    /// Which of the enemies and, after them, the transmissions WARP jumps to.
    fn warp_target(&mut self, targets: usize) -> usize {
        self.below(targets)
    }

    /// What POLY makes of an enemy: one of the three other types.
    fn poly_type(&mut self, old: EnemyType) -> EnemyType {
        let others: Vec<EnemyType> = EnemyType::ALL.into_iter().filter(|&kind| kind != old).collect();
        others[self.below(3)]
    }

    /// The board of a new stage, with its exit.
    fn board(&mut self, site: &Site) -> Board {
        board::generate(site, &mut |n| self.below(n))
    }

    fn start_corner(&mut self) -> Cell {
        Cell::CORNERS[self.below(4)]
    }

    fn bonus(&mut self) -> Bonus {
        [Bonus::Credits, Bonus::Energy, Bonus::DataSiphon][self.below(3)]
    }
}

/// What a new game begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bonus {
    Credits,
    Energy,
    DataSiphon,
}

/// Dice from a seed: SplitMix64, whose 64 bits are enough that a remainder is as good as uniform.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }
}

impl Dice for Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits % n as u64) as usize
    }
}
