//! The world around the agent: food, poison, and the window that it sees.

use crate::envs::painter::{Color, Frame, Line, Painter, Picture, Span, Style, arrow, half_blocks};
use crate::envs::scene::{Ink, Scene};

use super::grid::{Grid, RADIUS, VIEW};
use super::layout;

/// Columns and rows of the drawing: what lies further away is not shown. A column is two letters wide, about as much as a row is high.
const COLUMNS: usize = 39;
const ROWS: usize = 25;
/// The height of letters in the scene, and the side of the square that an arrow has there.
const LETTERS: f32 = 0.9;
const PETAL: f32 = 2.6;

const AGENT: Color = Color::White;
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
                item("@", AGENT, "the agent"),
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

    /// As much of the grid as fits, two cells in each letter, with what the agent sees beside the facts.
    fn paint_within(&self, frame: &Frame, columns: usize, rows: usize) -> Picture {
        let Picture { mut facts, .. } = self.paint(frame);
        let width = facts.iter().map(Line::width).max().unwrap_or(0) + 2;
        for (number, seen) in view(frame).into_iter().enumerate() {
            if number == facts.len() {
                facts.push(Line::default());
            }
            let room = " ".repeat(width - facts[number].width());
            facts[number].spans.push(Span::raw(room));
            facts[number].spans.extend(seen.spans);
        }
        let sign = |color, is: &'static str| {
            [Span::styled("■", Style::new().fg(color)), Span::raw(format!(" {is}  "))]
        };
        let signs = [sign(AGENT, "agent"), sign(FOOD, "food"), sign(POISON, "poison"), sign(SEEN, "sight")];
        Picture {
            board: map(frame, columns, rows.saturating_sub(1)),
            legend: vec![Line::from(signs.concat())],
            facts,
        }
    }

    fn scene(&self, frame: &Frame) -> Option<Scene> {
        Some(scene(frame))
    }

    fn direction(&self, action: usize) -> Option<[i32; 2]> {
        layout().actions.get(action).map(|action| [action.dx, action.dy])
    }

    fn pace(&self) -> f64 {
        12.0
    }
}

/// The cells around the agent as pixels, or each cell once if they are few.
fn map(frame: &Frame, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let world = World::of(frame);
    let (width, height) = (columns.min(world.grid.width), (2 * rows).min(world.grid.height));
    half_blocks(width, height, |x, y| {
        let (dx, dy) = (x as i64 - width as i64 / 2, y as i64 - height as i64 / 2);
        match world.at(dx, dy) {
            _ if (dx, dy) == (0, 0) => AGENT,
            Cell::Food => FOOD,
            Cell::Poison => POISON,
            Cell::Empty if dx.abs().max(dy.abs()) <= RADIUS as i64 => SEEN,
            Cell::Empty => GROUND,
        }
    })
}

/// What the agent sees, as pixels: kinds in their colours, or how interesting cells are where both channels say only that.
fn view(frame: &Frame) -> Vec<Line<'static>> {
    let (first, second) = frame.obs.split_at(frame.obs.len() / 2);
    let most = frame.obs.iter().copied().fold(1e-6f32, f32::max);
    half_blocks(VIEW, VIEW, |x, y| {
        let cell = y * VIEW + x;
        match (first[cell], second[cell]) {
            _ if (x, y) == (RADIUS, RADIUS) => AGENT,
            (a, b) if a == b => {
                let part = |least: u8, most: u8, share: f32| least + (f32::from(most - least) * share) as u8;
                let share = (a / most).clamp(0.0, 1.0);
                Color::Rgb(part(26, 200, share), part(26, 130, share), part(46, 255, share))
            }
            (a, b) if a > b => FOOD,
            _ => POISON,
        }
    })
}

/// The world as a picture is drawn of it.
struct World {
    grid: Grid,
    food: Vec<u32>,
    poison: Vec<u32>,
    x: i64,
    y: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Food,
    Poison,
    Empty,
}

impl World {
    fn of(frame: &Frame) -> World {
        let super::World { width, height } = layout().world;
        let words =
            |name: &str| -> Vec<u32> { frame.numbers(name).into_iter().map(|word| word as u32).collect() };
        World {
            grid: Grid { width, height },
            food: words("items.food"),
            poison: words("items.poison"),
            x: frame.number("x") as i64,
            y: frame.number("y") as i64,
        }
    }

    /// The cell so far to the right of and below the agent.
    fn at(&self, dx: i64, dy: i64) -> Cell {
        let column = (self.x + dx).rem_euclid(self.grid.width as i64) as usize;
        let row = (self.y + dy).rem_euclid(self.grid.height as i64) as usize;
        match (self.grid.has(&self.food, column, row), self.grid.has(&self.poison, column, row)) {
            (true, _) => Cell::Food,
            (_, true) => Cell::Poison,
            _ => Cell::Empty,
        }
    }
}

/// The cells around the agent with the window that it sees, and beside them that window as it sees it: food and poison, or how
/// interesting cells are where both channels say only that.
fn scene(frame: &Frame) -> Scene {
    let world = World::of(frame);
    let columns = COLUMNS.min(world.grid.width) as i64;
    let rows = ROWS.min(world.grid.height) as i64;
    let (width, height) = (columns as f32, rows as f32);
    let mut scene = Scene::new(width + 2.0 + VIEW as f32, height.max(ROWS as f32));
    scene.block([0.0, 0.0], [width, height], 0.0, Ink::Raised);
    let (left, top) = ((columns / 2 - RADIUS as i64) as f32, (rows / 2 - RADIUS as i64) as f32);
    scene.block([left, top], [VIEW as f32; 2], 0.0, Ink::Line).faint(0.6);
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let at = [column as f32 + 0.5, row as f32 + 0.5];
        match world.at(column - columns / 2, row - rows / 2) {
            Cell::Food => scene.disc(at, 0.42, Ink::Good),
            Cell::Poison => scene.area(diamond(at, 0.52), Ink::Bad),
            Cell::Empty => continue,
        };
    }
    scene.disc([(columns / 2) as f32 + 0.5, (rows / 2) as f32 + 0.5], 0.5, Ink::Accent);
    seen(frame, [width + 2.0, 1.5], &mut scene);
    for (number, name) in ["the agent", "food", "poison"].into_iter().enumerate() {
        let at = [width + 2.6, VIEW as f32 + 2.7 + 1.4 * number as f32];
        match number {
            0 => scene.disc(at, 0.5, Ink::Accent),
            1 => scene.disc(at, 0.42, Ink::Good),
            _ => scene.area(diamond(at, 0.52), Ink::Bad),
        };
        scene.text_from([at[0] + 1.0, at[1]], LETTERS, name, Ink::Quiet);
    }
    rose([width + 2.0 + (VIEW as f32 - 3.0 * PETAL) / 2.0, ROWS as f32 - 3.0 * PETAL], &mut scene);
    scene
}

/// The actions as arrows around the agent, from a corner on, each a spot to take it.
fn rose([left, top]: [f32; 2], scene: &mut Scene) {
    for (number, action) in layout().actions.iter().enumerate() {
        let direction = [action.dx, action.dy];
        let [x, y] = direction.map(|by| (by + 1) as f32 * PETAL);
        let (x, y) = (left + x, top + y);
        scene.text([x + PETAL / 2.0, y + 0.4 * PETAL], 1.5, arrow(direction).to_string(), Ink::Text);
        let label = [x + PETAL / 2.0, y + 0.82 * PETAL];
        scene.spot(number, [x, y], [PETAL; 2], label).letters = Some(0.8 * LETTERS);
    }
    scene.disc([left + 1.5 * PETAL, top + 1.5 * PETAL], 0.5, Ink::Accent);
}

/// A square on its corner.
fn diamond([x, y]: [f32; 2], half: f32) -> [[f32; 2]; 4] {
    [[x, y - half], [x + half, y], [x, y + half], [x - half, y]]
}

/// What the agent sees, from a corner on.
fn seen(frame: &Frame, [left, top]: [f32; 2], scene: &mut Scene) {
    scene.text([left + VIEW as f32 / 2.0, top - 0.8], LETTERS, "what it sees", Ink::Quiet);
    scene.block([left, top], [VIEW as f32; 2], 0.0, Ink::Line).faint(0.6);
    let (first, second) = frame.obs.split_at(frame.obs.len() / 2);
    let most = frame.obs.iter().copied().fold(1e-6f32, f32::max);
    for cell in 0..VIEW * VIEW {
        let at = [left + (cell % VIEW) as f32, top + (cell / VIEW) as f32];
        match (first[cell], second[cell]) {
            (a, b) if a <= 0.0 && b <= 0.0 => continue,
            (a, b) if a == b => scene.block(at, [1.0, 1.0], 0.0, Ink::Purple).faint(a / most),
            (a, b) if a > b => scene.disc(at.map(|x| x + 0.5), 0.42, Ink::Good),
            _ => scene.area(diamond(at.map(|x| x + 0.5), 0.52), Ink::Bad),
        };
    }
    scene.disc([left + RADIUS as f32 + 0.5, top + RADIUS as f32 + 0.5], 0.5, Ink::Accent);
}

/// The cells around the agent, which stands in the middle, or each cell once if they are few.
fn board(frame: &Frame) -> Vec<Line<'static>> {
    let world = World::of(frame);
    let columns = COLUMNS.min(world.grid.width) as i64;
    let rows = ROWS.min(world.grid.height) as i64;
    let cell = |dx: i64, dy: i64| {
        let seen = dx.abs().max(dy.abs()) <= RADIUS as i64;
        match world.at(dx, dy) {
            _ if (dx, dy) == (0, 0) => Span::styled("@ ", Style::new().fg(AGENT)),
            Cell::Food => Span::styled("o ", Style::new().fg(FOOD)),
            Cell::Poison => Span::styled("x ", Style::new().fg(POISON)),
            Cell::Empty => Span::styled("· ", Style::new().fg(if seen { SEEN } else { GROUND })),
        }
    };
    let line = |dy| Line::from((0..columns).map(|i| cell(i - columns / 2, dy)).collect::<Vec<_>>());
    (0..rows).map(|j| line(j - rows / 2)).collect()
}
