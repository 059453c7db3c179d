//! The world around the agent: food, poison, and the window that it sees.

use crate::envs::painter::{Color, Frame, Line, Painter, Picture, Span, Style};

use super::grid::{Grid, RADIUS};
use super::layout;

/// Columns and rows of the drawing: what lies further away is not shown. A column is two letters wide, about as much as a row is high.
const COLUMNS: usize = 39;
const ROWS: usize = 25;

const FOOD: Color = Color::Rgb(22, 199, 154);
const POISON: Color = Color::Rgb(255, 107, 107);
/// The ground in the window, and elsewhere.
const SEEN: Color = Color::Rgb(60, 60, 90);
const GROUND: Color = Color::Rgb(26, 26, 46);

pub struct GoodhartsPainter;

impl Painter for GoodhartsPainter {
    fn paint(&self, frame: &Frame) -> Picture {
        let number = |name: &str| format!("{:.0}", frame.number(name));
        let fact = |name: &str, value: String| Line::from(format!("{name:<10}{value:>8}"));
        let item = |letter: &'static str, color, is: &'static str| {
            Line::from(vec![Span::styled(letter, Style::new().fg(color)), Span::raw(format!(" {is}"))])
        };
        Picture {
            board: board(frame),
            legend: vec![
                item("@", Color::White, "the agent"),
                item("o", FOOD, "food"),
                item("x", POISON, "poison"),
                item("·", SEEN, "what the agent sees"),
            ],
            facts: vec![
                fact("energy", format!("{:.2}", frame.number("energy"))),
                fact("steps", number("life.steps")),
                fact("food", number("life.food")),
                fact("poison", number("life.poison")),
                fact("place", format!("{},{}", frame.number("x"), frame.number("y"))),
            ],
        }
    }

    fn pace(&self) -> f64 {
        12.0
    }
}

/// The cells around the agent, which stands in the middle, or each cell once if they are few.
fn board(frame: &Frame) -> Vec<Line<'static>> {
    let world = layout().world;
    let grid = Grid { width: world.width, height: world.height };
    let words =
        |name: &str| -> Vec<u32> { frame.numbers(name).into_iter().map(|word| word as u32).collect() };
    let (food, poison) = (words("items.food"), words("items.poison"));
    let (x, y) = (frame.number("x") as i64, frame.number("y") as i64);
    let columns = COLUMNS.min(grid.width) as i64;
    let rows = ROWS.min(grid.height) as i64;
    let cell = |dx: i64, dy: i64| {
        let column = (x + dx).rem_euclid(grid.width as i64) as usize;
        let row = (y + dy).rem_euclid(grid.height as i64) as usize;
        let seen = dx.abs().max(dy.abs()) <= RADIUS as i64;
        match (grid.has(&food, column, row), grid.has(&poison, column, row)) {
            _ if (dx, dy) == (0, 0) => Span::styled("@ ", Style::new().fg(Color::White)),
            (true, _) => Span::styled("o ", Style::new().fg(FOOD)),
            (_, true) => Span::styled("x ", Style::new().fg(POISON)),
            _ => Span::styled("· ", Style::new().fg(if seen { SEEN } else { GROUND })),
        }
    };
    let line = |dy| Line::from((0..columns).map(|i| cell(i - columns / 2, dy)).collect::<Vec<_>>());
    (0..rows).map(|j| line(j - rows / 2)).collect()
}
