//! The keys of play on the full screen: pause, single steps, speed, and where there is a record, back and anywhere.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli::terminal::{Key, Terminal};

/// Longest time between two looks at the keys.
const TICK: Duration = Duration::from_millis(50);

/// How it is played.
pub struct Control {
    pub paused: bool,
    pub speed: f64,
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
pub enum Wish {
    Quit,
    Step,
    /// One step back.
    Back,
    /// To the other way of choosing actions.
    Choose,
    /// To what the layers make of what is seen, or on from the next of them.
    Layers,
    /// To this share of the whole.
    Seek(f64),
    Nothing,
}

impl Control {
    /// Waits for a key until `due`, or for a tick.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn wait(&mut self, screen: &Terminal, due: Instant) -> Result<Option<Wish>> {
        let left = due.saturating_duration_since(Instant::now());
        let timeout = if self.paused { TICK } else { left.min(TICK) };
        Ok(screen.key(timeout)?.map(|key| self.press(key)))
    }

    fn press(&mut self, key: Key) -> Wish {
        match key {
            Key::Char('q') | Key::Escape | Key::Interrupt => return Wish::Quit,
            Key::Char('n') | Key::Right => {
                self.paused = true;
                return Wish::Step;
            }
            Key::Char('b') | Key::Left => {
                self.paused = true;
                return Wish::Back;
            }
            Key::Char(digit) if digit.is_ascii_digit() => {
                return Wish::Seek(f64::from(digit as u32 - '0' as u32) / 10.0);
            }
            Key::Char('s') => return Wish::Choose,
            Key::Char('a') => return Wish::Layers,
            Key::Char(' ') => self.paused = !self.paused,
            Key::Char('+' | '=') => self.speed = (self.speed * 1.5).min(1000.0),
            Key::Char('-') => self.speed = (self.speed / 1.5).max(0.01),
            _ => {}
        }
        Wish::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_control_the_play() {
        let mut control = Control { paused: false, speed: 1.0 };
        assert_eq!(control.press(Key::Char(' ')), Wish::Nothing);
        assert!(control.paused);
        assert_eq!(control.press(Key::Char(' ')), Wish::Nothing);
        assert_eq!(control.press(Key::Right), Wish::Step);
        assert!(control.paused, "a single step pauses");
        control.press(Key::Char('+'));
        assert_eq!(control.speed, 1.5);
        control.press(Key::Char('-'));
        assert_eq!(control.speed, 1.0);
        assert_eq!(control.press(Key::Char('s')), Wish::Choose);
        assert_eq!(control.press(Key::Char('a')), Wish::Layers);
        assert_eq!(control.press(Key::Char('q')), Wish::Quit);
        assert_eq!(control.press(Key::Interrupt), Wish::Quit);
    }

    #[test]
    fn keys_go_back_and_anywhere() {
        let mut control = Control { paused: false, speed: 1.0 };
        assert_eq!(control.press(Key::Char('7')), Wish::Seek(0.7));
        assert!(!control.paused);
        assert_eq!(control.press(Key::Left), Wish::Back);
        assert!(control.paused);
    }
}
