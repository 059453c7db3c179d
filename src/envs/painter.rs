//! Painters: from the state of an environment to lines of text with colours, for `watch` and whoever else shows play.
//!
//! A painter sees host arrays by name and knows nothing of the policy that plays. Lines and styles are those of `ratatui`, given on
//! from here so that an environment of another crate needs no version of its own.

use crate::array::HostArray;

use super::Description;
use super::scene::Scene;

pub use ratatui::style::{Color, Modifier, Style};
pub use ratatui::text::{Line, Span};

/// What a painter sees: one environment at one moment.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// The leaves of the environment's state by name, with an axis of size 1 at the end.
    pub state: &'a [(String, HostArray)],
    /// The observation, flattened.
    pub obs: &'a [f32],
}

impl Frame<'_> {
    /// The value of a scalar of the state: `cell`, `player.energy`.
    ///
    /// # Panics
    /// The state has no scalar of that name.
    #[track_caller]
    pub fn number(&self, name: &str) -> f64 {
        match self.numbers(name)[..] {
            [number] => number,
            ref numbers => panic!("`{name}` holds {} numbers; read it with numbers()", numbers.len()),
        }
    }

    /// The values of an array of the state, its last axis running fastest.
    ///
    /// # Panics
    /// The state has no array of that name.
    #[track_caller]
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        match self.state.iter().find(|(other, _)| other == name) {
            Some((_, array)) => array.to_f64(),
            None => {
                let names: Vec<&str> = self.state.iter().map(|(name, _)| name.as_str()).collect();
                panic!("the state has no array `{name}`; it has {}", names.join(", "))
            }
        }
    }
}

/// What a state looks like.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The scene itself.
    pub board: Vec<Line<'static>>,
    /// How to read it.
    pub legend: Vec<Line<'static>>,
    /// What else there is to know.
    pub facts: Vec<Line<'static>>,
}

/// Draws the states of one environment.
pub trait Painter {
    fn paint(&self, frame: &Frame) -> Picture;

    /// The same on a screen with room for so many columns and rows: as much of a scene that is larger as fits.
    fn paint_within(&self, frame: &Frame, columns: usize, rows: usize) -> Picture {
        let _ = (columns, rows);
        self.paint(frame)
    }

    /// The same as shapes, for those who show more than letters; nothing where letters are all there is.
    fn scene(&self, frame: &Frame) -> Option<Scene> {
        let _ = frame;
        None
    }

    /// Large leaves of the state that it never looks at, by the beginnings of their names: replays do not keep them.
    fn unseen(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where an action leads if it is a step on a grid: columns to the right and rows down, -1 to 1 each.
    fn direction(&self, action: usize) -> Option<[i32; 2]> {
        let _ = action;
        None
    }

    /// The column of the picture above which an action is shown, in games where actions are places on top of the board.
    fn column_of(&self, action: usize) -> Option<u16> {
        let _ = action;
        None
    }

    /// Steps per second at speed 1.
    fn pace(&self) -> f64 {
        10.0
    }
}

/// The sign of a step on a grid: columns to the right and rows down, -1 to 1 each.
pub fn arrow(direction: [i32; 2]) -> char {
    match direction.map(i32::signum) {
        [-1, -1] => '↖',
        [0, -1] => '↑',
        [1, -1] => '↗',
        [-1, 0] => '←',
        [1, 0] => '→',
        [-1, 1] => '↙',
        [0, 1] => '↓',
        [1, 1] => '↘',
        _ => '·',
    }
}

/// A picture of pixels, two of them in each letter, one above the other. A pixel of the colour `Reset` is the ground.
pub fn half_blocks(width: usize, height: usize, color: impl Fn(usize, usize) -> Color) -> Vec<Line<'static>> {
    let letter = |x: usize, y: usize| {
        let upper = color(x, 2 * y);
        let lower = if 2 * y + 1 < height { color(x, 2 * y + 1) } else { Color::Reset };
        match (upper, lower) {
            (Color::Reset, Color::Reset) => Span::raw(" "),
            (Color::Reset, lower) => Span::styled("▄", Style::new().fg(lower)),
            (upper, lower) => Span::styled("▀", Style::new().fg(upper).bg(lower)),
        }
    };
    let line = |y: usize| Line::from((0..width).map(|x| letter(x, y)).collect::<Vec<_>>());
    (0..height.div_ceil(2)).map(line).collect()
}

/// A painter that is one function.
pub struct Sketch {
    pace: f64,
    paint: fn(&Frame) -> Picture,
    moves: &'static [[i32; 2]],
}

impl Sketch {
    /// So many steps per second at speed 1.
    pub fn new(pace: f64, paint: fn(&Frame) -> Picture) -> Sketch {
        Sketch { pace, paint, moves: &[] }
    }

    /// The same in a box.
    pub fn boxed(pace: f64, paint: fn(&Frame) -> Picture) -> Box<dyn Painter> {
        Box::new(Sketch::new(pace, paint))
    }

    /// Where the actions lead, if they are steps on a grid: columns to the right and rows down, -1 to 1 each.
    pub fn with_moves(self, moves: &'static [[i32; 2]]) -> Sketch {
        Sketch { moves, ..self }
    }
}

impl Painter for Sketch {
    fn paint(&self, frame: &Frame) -> Picture {
        (self.paint)(frame)
    }

    fn direction(&self, action: usize) -> Option<[i32; 2]> {
        self.moves.get(action).copied()
    }

    fn pace(&self) -> f64 {
        self.pace
    }
}

/// Words in a row, each in its colour.
pub fn tiles(words: impl IntoIterator<Item = (String, Color)>) -> Line<'static> {
    let tile = |(word, color): (String, Color)| Span::styled(format!(" {word}"), Style::new().fg(color));
    Line::from(words.into_iter().map(tile).collect::<Vec<_>>())
}

/// Lists the numbers of the observation: the painter of an environment that brings none.
pub struct ObservationPainter {
    pub description: Description,
}

impl Painter for ObservationPainter {
    fn paint(&self, frame: &Frame) -> Picture {
        Picture { board: observation(&self.description, frame), legend: Vec::new(), facts: Vec::new() }
    }
}

/// The numbers of the observation with their names, one a line.
pub fn observation(description: &Description, frame: &Frame) -> Vec<Line<'static>> {
    /// More do not fit on any screen.
    const MOST: usize = 60;
    let names = description.observation_names().into_iter().zip(frame.obs);
    names.take(MOST).map(|(name, value)| Line::from(format!("{name:<16}{value:>9.4}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_the_state_are_read_by_name() {
        let state = [
            ("cell".to_owned(), HostArray::new(&[1], vec![3i32])),
            ("walls".to_owned(), HostArray::new(&[2, 1], vec![true, false])),
        ];
        let frame = Frame { state: &state, obs: &[] };
        assert_eq!(frame.number("cell"), 3.0);
        assert_eq!(frame.numbers("walls"), [1.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "the state has no array `time`; it has cell")]
    fn an_unknown_name_is_told_with_those_there_are() {
        let state = [("cell".to_owned(), HostArray::new(&[1], vec![3i32]))];
        Frame { state: &state, obs: &[] }.number("time");
    }
}
