//! The compiled game at the table of the JSON protocol: one game at a time.

use anyhow::Result;

use crate::array::{DType, HostArray};
use crate::lang::{Backend, HostFunction, Int, Key, vmap_last};

use super::host::golden::Player;
use super::host::layout::ACTIONS;
use super::host::protocol::Table;
use super::host::{Game, StepResult};
use super::{CompiledPlayer, Converter, Env, HackMatrix};

/// Plays games that a [`Session`](super::host::protocol::Session) holds, with numbers from a seed.
pub struct CompiledTable {
    converter: Converter,
    player: CompiledPlayer,
    /// Begins a game.
    reset: HostFunction,
    seed: u64,
    /// Random numbers taken so far.
    count: u64,
}

impl CompiledTable {
    /// # Errors
    /// Whatever the compiler reports.
    pub fn new(backend: &Backend, seed: u64) -> Result<CompiledTable> {
        let words = Int::placeholder(DType::U32, [2]);
        let reset = HostFunction::new(backend, "reset", &words, |words| {
            let params = HackMatrix::default().default_params();
            vmap_last(Key::from_words(words).split_last(1), |key| HackMatrix::default().reset(&params, key))
        })?;
        let player = CompiledPlayer::new(1, backend)?;
        Ok(CompiledTable { converter: Converter::new(), player, reset, seed, count: 0 })
    }

    /// A new number for each use; those of two seeds begin far apart.
    fn next_seed(&mut self) -> u64 {
        const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
        self.count += 1;
        self.seed.wrapping_mul(GOLDEN_RATIO).wrapping_add(self.count)
    }
}

impl Table for CompiledTable {
    fn reset(&mut self) -> Result<Game> {
        let seed = self.next_seed();
        let words = HostArray::new(&[2], vec![(seed >> 32) as u32, seed as u32]);
        Ok(self.converter.from_arrays(self.reset.call(&[words])?.into_named()).remove(0))
    }

    fn step(&mut self, game: &Game, action: i32) -> Result<StepResult> {
        let seed = self.next_seed();
        Ok(self.player.step(std::slice::from_ref(game), &[action], seed)?.remove(0))
    }

    fn action_mask(&mut self, game: &Game) -> Result<[bool; ACTIONS]> {
        Ok(self.player.observe(std::slice::from_ref(game))?.remove(0).1)
    }
}
