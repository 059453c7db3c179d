//! CartPole: the cart on its track and the pole on it, from the side.

use crate::envs::Description;
use crate::envs::painter::{Color, Frame, Line, Painter, Picture, Span, Style, observation};
use crate::envs::scene::{Ink, Scene};

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

    fn scene(&self, frame: &Frame) -> Option<Scene> {
        Some(scene(frame.obs[0], frame.obs[2]))
    }

    fn direction(&self, action: usize) -> Option<[i32; 2]> {
        [[-1, 0], [1, 0]].get(action).copied()
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

/// The same as shapes, in metres: the track, the cart on it and the pole.
fn scene(x: f32, theta: f32) -> Scene {
    const GROUND: f32 = 1.5;
    const CART: [f32; 2] = [0.5, 0.25];
    const POLE: f32 = 1.0;
    let mut scene = Scene::new(2.0 * EDGE + 0.6, 2.0);
    let middle = EDGE + 0.3;
    scene.line([[0.3, GROUND], [middle + EDGE, GROUND]], 0.02, Ink::Quiet);
    for end in [-EDGE, 0.0, EDGE] {
        scene.line([[middle + end, GROUND], [middle + end, GROUND + 0.1]], 0.02, Ink::Quiet);
        scene.text([middle + end, GROUND + 0.26], 0.14, format!("{end}"), Ink::Quiet);
    }
    let [pivot, height] = [middle + x, GROUND - CART[1]];
    scene.block([pivot - CART[0] / 2.0, height], CART, 0.04, Ink::Blue);
    let top = [pivot + POLE * theta.sin(), height - POLE * theta.cos()];
    scene.line([[pivot, height], top], 0.07, Ink::Orange);
    scene.disc([pivot, height], 0.05, Ink::Text);
    scene.spot(0, [0.0, 0.0], [middle, 2.0], [0.5, 0.2]);
    scene.spot(1, [middle, 0.0], [middle, 2.0], [2.0 * middle - 0.5, 0.2]);
    scene
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
