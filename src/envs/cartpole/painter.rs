//! CartPole: the cart on its track and the pole on it, from the side.

use crate::envs::Description;
use crate::envs::painter::{Color, Frame, Line, Painter, Picture, Span, Style, observation};

/// Columns of the drawing; a column is 0.08 m.
const WIDTH: i32 = 61;
/// Lines above the cart. Lines are about twice as high as columns are wide, so the pole is this long in columns:
const POLE_ROWS: i32 = 8;
const COLUMNS_PER_ROW: f32 = 2.0;
/// The end of the track, in metres from its middle.
const EDGE: f32 = 2.4;

pub struct CartPolePainter {
    pub description: Description,
}

impl Painter for CartPolePainter {
    fn paint(&self, frame: &Frame) -> Picture {
        Picture {
            board: drawing(frame.obs[0], frame.obs[2]),
            legend: Vec::new(),
            facts: observation(&self.description, frame),
        }
    }

    fn pace(&self) -> f64 {
        50.0
    }
}

/// The cart at `x` metres with the pole at `theta` radians.
fn drawing(x: f32, theta: f32) -> Vec<Line<'static>> {
    let middle = WIDTH / 2;
    let cart = middle + (x / EDGE * (middle - 3) as f32).round() as i32;
    let column = |row: i32| cart + (row as f32 * COLUMNS_PER_ROW * theta.tan()).round() as i32;
    let mut lines = Vec::new();
    for row in (1..=POLE_ROWS).rev() {
        let sign = match (row, column(row) - column(row - 1)) {
            (POLE_ROWS, _) => "o",
            (_, 0) => "|",
            (_, lean) if lean > 0 => "/",
            _ => "\\",
        };
        lines.push(at(column(row), sign, Color::Yellow));
    }
    lines.push(at(cart - 3, "[=====]", Color::LightBlue));
    lines.push(Line::styled("=".repeat(WIDTH as usize), Style::new().fg(Color::DarkGray)));
    let ruler = format!("{:<30}0{:>30}", -EDGE, EDGE);
    lines.push(Line::styled(ruler, Style::new().fg(Color::DarkGray)));
    lines
}

/// A line with `text` from a column on; what is outside the drawing is cut off.
fn at(column: i32, text: &'static str, color: Color) -> Line<'static> {
    let hidden = (-column).clamp(0, text.len() as i32);
    let column = column.max(0);
    let visible = (WIDTH - column).clamp(0, text.len() as i32 - hidden);
    let text = &text[hidden as usize..(hidden + visible) as usize];
    let space = " ".repeat(column.min(WIDTH) as usize);
    Line::from(vec![Span::raw(space), Span::styled(text, Style::new().fg(color))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(x: f32, theta: f32) -> Vec<String> {
        drawing(x, theta).iter().map(|line| line.to_string()).collect()
    }

    #[test]
    fn an_upright_pole_stands_on_the_middle_of_the_cart() {
        let lines = text(0.0, 0.0);
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[0], format!("{}o", " ".repeat(30)));
        assert_eq!(lines[7], format!("{}|", " ".repeat(30)));
        assert_eq!(lines[8], format!("{}[=====]", " ".repeat(27)));
    }

    #[test]
    fn the_pole_leans_and_nothing_leaves_the_drawing() {
        assert!(text(0.0, 0.2).iter().any(|line| line.contains('/')));
        assert!(text(0.0, -0.2).iter().any(|line| line.contains('\\')));
        for x in [-9.0, -2.5, 2.5, 9.0] {
            assert!(text(x, 1.5 * x.signum()).iter().all(|line| line.chars().count() <= WIDTH as usize));
        }
    }
}
