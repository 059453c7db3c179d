//! HackMatrix, a turn-based game on a 6x6 board.

pub mod host;
