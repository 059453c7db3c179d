//! A panel of a figure: axes with a column for each kind, and what stands in the columns.

use crate::cli::chart;
use crate::cli::picture::{Anchor, Ink, Picture, Point};
use crate::envs::survival::Kind;

/// Colours of a figure.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    pub name: &'static str,
    pub ground: [u8; 3],
    pub ink: [u8; 3],
    faint: [u8; 3],
    grid: [u8; 3],
}

pub const LIGHT: Theme =
    Theme { name: "light", ground: [0xff; 3], ink: [0x22; 3], faint: [0x77; 3], grid: [0xdd; 3] };
pub const DARK: Theme = Theme {
    name: "dark",
    ground: [0x1a, 0x1a, 0x2e],
    ink: [0xee; 3],
    faint: [0xa0, 0xa0, 0xb0],
    grid: [0x33, 0x38, 0x55],
};

impl Theme {
    pub fn colour(&self, kind: &Kind) -> [u8; 3] {
        if self.name == DARK.name { kind.dark } else { kind.light }
    }
}

/// The vertical axis.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    Linear {
        low: f64,
        high: f64,
        percent: bool,
    },
    /// Powers of ten.
    Log {
        low: f64,
        high: f64,
    },
}

impl Scale {
    pub const PERCENT: Scale = Scale::Linear { low: 0.0, high: 1.1, percent: true };

    /// A linear one that holds 0 and these numbers, with room for what is written at them.
    pub fn around(values: impl Iterator<Item = f64>) -> Scale {
        let (low, high) =
            values.fold((0.0f64, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
        let room = 0.12 * (high - low).max(1e-9);
        Scale::Linear { low: if low < 0.0 { low - room } else { 0.0 }, high: high + room, percent: false }
    }

    /// Where a number is, from 0 at the bottom to 1 at the top.
    fn place(&self, value: f64) -> f64 {
        let share = match *self {
            Scale::Linear { low, high, .. } => (value - low) / (high - low),
            Scale::Log { low, high } => (value.max(1e-300).log10() - low) / (high - low),
        };
        share.clamp(0.0, 1.0)
    }

    /// Where bars begin.
    fn base(&self) -> f64 {
        match *self {
            Scale::Linear { .. } => 0.0,
            Scale::Log { low, .. } => 10f64.powf(low),
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match *self {
            Scale::Linear { percent: true, .. } => (0..=4)
                .map(|i| f64::from(i) / 4.0)
                .map(|tick| (tick, format!("{:.0}%", 100.0 * tick)))
                .collect(),
            Scale::Linear { low, high, .. } => {
                let ticks = chart::ticks((low, high), 6).into_iter();
                ticks
                    .filter(|tick| (low..=high).contains(tick))
                    .map(|tick| (tick, chart::short(tick)))
                    .collect()
            }
            Scale::Log { low, high } => (low as i32..=high as i32)
                .map(|power| 10f64.powi(power))
                .map(|tick| (tick, chart::short(tick)))
                .collect(),
        }
    }
}

/// Room around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [62.0, 30.0, 18.0, 46.0];

pub struct Panel<'a> {
    picture: &'a mut Picture,
    pub theme: &'a Theme,
    scale: Scale,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    columns: usize,
}

impl<'a> Panel<'a> {
    /// Draws the axes between two corners, with a name under each column.
    pub fn open(
        picture: &'a mut Picture,
        theme: &'a Theme,
        [(x0, y0), (x1, y1)]: [Point; 2],
        title: &str,
        scale: Scale,
        names: &[&str],
    ) -> Panel<'a> {
        let [left, top, right, bottom] = MARGIN;
        let (left, top, right, bottom) = (x0 + left, y0 + top, x1 - right, y1 - bottom);
        let mut panel = Panel { picture, theme, scale, left, top, right, bottom, columns: names.len() };
        panel.text((left, top - 12.0), Anchor::Start, theme.faint, title);
        for (value, text) in scale.ticks() {
            let y = panel.y(value);
            panel.line(&[(left, y), (right, y)], theme.grid, 1.0);
            panel.text((left - 7.0, y + 4.0), Anchor::End, theme.faint, &text);
        }
        let y = panel.y(scale.base());
        panel.line(&[(left, y), (right, y)], theme.faint, 1.0);
        for (column, name) in names.iter().enumerate() {
            for (i, line) in in_two_lines(name).iter().enumerate() {
                let at = (panel.x(column, 0.5), bottom + 17.0 + 15.0 * i as f64);
                panel.text(at, Anchor::Middle, theme.ink, line);
            }
        }
        panel
    }

    /// A place in a column, from 0 at its left to 1 at its right.
    fn x(&self, column: usize, place: f64) -> f64 {
        self.left + (self.right - self.left) * (column as f64 + place) / self.columns as f64
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.scale.place(value)
    }

    fn line(&mut self, points: &[Point], colour: [u8; 3], width: f64) {
        self.picture.line(points.to_vec(), Ink { colour, opacity: 1.0, width });
    }

    fn text(&mut self, at: Point, anchor: Anchor, colour: [u8; 3], text: &str) {
        self.picture.text(at, anchor, false, colour, text);
    }

    fn area(&mut self, points: Vec<Point>, colour: [u8; 3], opacity: f64) {
        self.picture.area(points, Ink { colour, opacity, width: 0.0 });
    }

    /// A line across the panel.
    pub fn rule(&mut self, value: f64) {
        let (y, colour) = (self.y(value), self.theme.faint);
        let mut x = self.left;
        while x < self.right {
            self.line(&[(x, y), ((x + 6.0).min(self.right), y)], colour, 1.2);
            x += 11.0;
        }
    }

    /// A bar from the base to a value, around a place in a column, of a share of its width.
    pub fn bar(
        &mut self,
        column: usize,
        (place, width): (f64, f64),
        value: f64,
        colour: [u8; 3],
        hatched: bool,
    ) {
        let (left, right) = (self.x(column, place - width / 2.0), self.x(column, place + width / 2.0));
        let (a, b) = (self.y(self.scale.base()), self.y(value));
        let (top, bottom) = (a.min(b), a.max(b));
        let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom)];
        self.area(corners.clone(), colour, if hatched { 0.25 } else { 1.0 });
        if hatched {
            let (wide, high) = (right - left, bottom - top);
            let mut along = 7.0;
            while along < wide + high {
                let (from, to) = (along.min(wide), along.min(high));
                let ends = [(left + from, top + along - from), (left + along - to, top + to)];
                self.line(&ends, colour, 1.5);
                along += 7.0;
            }
            let outline: Vec<Point> = corners.iter().chain(&corners[..1]).copied().collect();
            self.line(&outline, colour, 1.2);
        }
    }

    /// A text at the end of a bar.
    pub fn label(&mut self, column: usize, place: f64, value: f64, text: &str) {
        let is_below = value < self.scale.base();
        let y = self.y(value) + if is_below { 15.0 } else { -6.0 };
        let at = (self.x(column, place), y);
        self.text(at, Anchor::Middle, self.theme.ink, text);
    }

    /// An interval.
    pub fn whisker(&mut self, column: usize, place: f64, [low, high]: [f64; 2]) {
        let (x, ink) = (self.x(column, place), self.theme.ink);
        let (low, high) = (self.y(low), self.y(high));
        self.line(&[(x, low), (x, high)], ink, 1.5);
        for y in [low, high] {
            self.line(&[(x - 6.0, y), (x + 6.0, y)], ink, 1.5);
        }
    }

    /// A bracket over two columns, near the top.
    pub fn bracket(&mut self, from: usize, to: usize, text: &str) {
        let (a, b) = (self.x(from, 0.5), self.x(to, 0.5));
        let (y, ink) = (self.top + 18.0, self.theme.ink);
        self.line(&[(a, y + 8.0), (a, y), (b, y), (b, y + 8.0)], ink, 1.3);
        self.text(((a + b) / 2.0, y - 6.0), Anchor::Middle, ink, text);
    }

    /// A box from the first quartile to the third with the median; whiskers; a dot at the mean.
    pub fn quartiles(
        &mut self,
        column: usize,
        [least, first, median, third, most]: [f64; 5],
        mean: f64,
        colour: [u8; 3],
    ) {
        let (left, middle, right) = (self.x(column, 0.25), self.x(column, 0.5), self.x(column, 0.75));
        let [least, first, median, third, most] =
            [least, first, median, third, most].map(|value| self.y(value));
        let ink = self.theme.ink;
        for (end, quartile) in [(least, first), (most, third)] {
            self.line(&[(middle, quartile), (middle, end)], ink, 1.3);
            self.line(&[(middle - 12.0, end), (middle + 12.0, end)], ink, 1.3);
        }
        let corners = vec![(left, third), (right, third), (right, first), (left, first)];
        self.area(corners.clone(), colour, 0.65);
        let outline: Vec<Point> = corners.iter().chain(&corners[..1]).copied().collect();
        self.line(&outline, colour, 1.5);
        self.line(&[(left, median), (right, median)], ink, 2.2);
        let at = (middle, self.y(mean));
        self.dot(at, 4.5, self.theme.ground);
        self.dot(at, 3.2, ink);
    }

    fn dot(&mut self, (x, y): Point, radius: f64, colour: [u8; 3]) {
        let angles = (0..16).map(|i| f64::from(i) * std::f64::consts::TAU / 16.0);
        let points = angles.map(|angle| (x + radius * angle.cos(), y + radius * angle.sin())).collect();
        self.area(points, colour, 1.0);
    }

    /// A density: from, to, and how wide, 1 at the most. A line at the median.
    pub fn violin(&mut self, column: usize, slices: &[(f64, f64, f64)], median: f64, colour: [u8; 3]) {
        let half = |width: f64| 0.42 * width;
        let side = |panel: &Panel, sign: f64| -> Vec<Point> {
            let middle = |(low, high, width): &(f64, f64, f64)| {
                (panel.x(column, 0.5 + sign * half(*width)), panel.y((low * high).sqrt()))
            };
            let ends = [slices.first().map(|slice| slice.0), slices.last().map(|slice| slice.1)];
            let [bottom, top] = ends.map(|end| (panel.x(column, 0.5), panel.y(end.unwrap_or(1.0))));
            [bottom].into_iter().chain(slices.iter().map(middle)).chain([top]).collect()
        };
        let outline: Vec<Point> =
            side(self, -1.0).into_iter().chain(side(self, 1.0).into_iter().rev()).collect();
        self.area(outline, colour, 0.8);
        let (left, right, y) = (self.x(column, 0.35), self.x(column, 0.65), self.y(median));
        self.line(&[(left, y), (right, y)], self.theme.ink, 2.2);
    }
}

/// The words of a name in two lines that are about as long.
fn in_two_lines(name: &str) -> Vec<String> {
    let text = name.replace('_', " ");
    let middle = |at: &usize| (2 * at).abs_diff(text.len());
    let space = text.match_indices(' ').map(|(at, _)| at).min_by_key(middle);
    match space.filter(|_| text.len() > 12) {
        Some(at) => vec![text[..at].to_owned(), text[at + 1..].to_owned()],
        None => vec![text],
    }
}
