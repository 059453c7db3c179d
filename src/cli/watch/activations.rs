//! What each layer of a policy makes of what is seen, as pictures of half blocks.
//!
//! A convolution is shown by its first channels side by side, another layer as one near-square picture; what actions are weighed by is a
//! compass where all actions are directions. Colours are relative to the largest number of a layer: bright for above 0, blue for below.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::algorithms::NamedArrays;
use crate::array::HostArray;
use crate::envs::painter::{Painter, arrow, half_blocks};

/// Channels of a convolution that are shown at most.
const CHANNELS: usize = 16;

/// What is between the channels.
const GROUND: Color = Color::Reset;

/// Draws layers from one of them on, as many as there is room for.
pub fn draw(frame: &mut Frame, layers: &NamedArrays, first: usize, painter: &dyn Painter, area: Rect) {
    let mut rest = area;
    for (place, (name, values)) in layers.iter().enumerate().skip(first) {
        if rest.height < 3 {
            return;
        }
        let room = (usize::from(rest.width), usize::from(rest.height) - 1);
        let numbers = values.as_slice::<f32>();
        let is_last = place + 1 == layers.len();
        let compass = if is_last { compass(numbers, painter) } else { None };
        let Shown { lines, what } = match (compass, values.shape()) {
            (Some(lines), _) => Shown { lines, what: String::new() },
            (None, &[height, width, channels]) => tiles(values, [height, width, channels], room),
            (None, _) => square(numbers, room),
        };
        let height = lines.len() as u16 + 1;
        if place > first && height > rest.height {
            return; // it is shown whole, or not at all
        }
        let title = headline(name, values, place, layers.len(), &what);
        let lines: Vec<Line> = [vec![title], lines].concat();
        frame.render_widget(Paragraph::new(lines), rest);
        let used = (height + 1).min(rest.height);
        rest = Rect { y: rest.y + used, height: rest.height - used, ..rest };
    }
}

/// A picture, and how much of a layer it is if that is not all.
struct Shown {
    lines: Vec<Line<'static>>,
    what: String,
}

fn headline(name: &str, values: &HostArray, place: usize, count: usize, what: &str) -> Line<'static> {
    let numbers = values.as_slice::<f32>();
    let by = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let largest = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = numbers.iter().copied().fold(f32::INFINITY, f32::min);
    let strong = Style::new().add_modifier(Modifier::BOLD);
    let rest = format!(" {}/{count} {} {least:.2}..{largest:.2}{what}", place + 1, by(values.shape()));
    Line::from(vec![Span::styled(format!(" {name}"), strong), Span::raw(rest)])
}

/// The first channels of `[height, width, channels]` beside each other.
fn tiles(values: &HostArray, [height, width, channels]: [usize; 3], room: (usize, usize)) -> Shown {
    // A column is a pixel, a row two of them, and a pixel is left free between tiles.
    let (across, down) = ((room.0 + 1) / (width + 1), (2 * room.1 + 1) / (height + 1));
    let shown = channels.min(CHANNELS).min(across * down);
    let what = if shown == channels { String::new() } else { format!(", {shown} channels") };
    if shown == 0 {
        return Shown { lines: Vec::new(), what };
    }
    let columns = (shown as f64).sqrt().ceil().max((shown as f64 / down as f64).ceil()) as usize;
    let rows = shown.div_ceil(columns);
    let numbers = values.as_slice::<f32>();
    let scale = scale(numbers);
    let lines = half_blocks(columns * (width + 1) - 1, rows * (height + 1) - 1, |x, y| {
        let (tile, column, row) =
            (y / (height + 1) * columns + x / (width + 1), x % (width + 1), y % (height + 1));
        if column == width || row == height || tile >= shown {
            return GROUND;
        }
        color(numbers[(row * width + column) * channels + tile] / scale)
    });
    Shown { lines, what }
}

/// All numbers in rows of about equal length.
fn square(numbers: &[f32], room: (usize, usize)) -> Shown {
    let mut width = (numbers.len() as f64).sqrt().ceil() as usize;
    if numbers.len().div_ceil(width) > 2 * room.1 {
        width = numbers.len().div_ceil(2 * room.1);
    }
    let width = width.clamp(1, room.0.max(1));
    let height = numbers.len().div_ceil(width).min(2 * room.1);
    let scale = scale(numbers);
    let lines = half_blocks(width, height, |x, y| {
        numbers.get(y * width + x).map_or(GROUND, |number| color(number / scale))
    });
    let shown = (width * height).min(numbers.len());
    let what = if shown == numbers.len() { String::new() } else { format!(", {shown} of them") };
    Shown { lines, what }
}

/// What actions are weighed by where they lead; nothing if one leads nowhere.
fn compass(numbers: &[f32], painter: &dyn Painter) -> Option<Vec<Line<'static>>> {
    let directions: Vec<[i32; 2]> =
        (0..numbers.len()).map(|action| painter.direction(action)).collect::<Option<_>>()?;
    let scale = scale(numbers);
    let cell = |place: [i32; 2]| match directions.iter().position(|direction| *direction == place) {
        None => Span::raw(" ".repeat(10)),
        Some(action) => {
            let (text, share) =
                (format!(" {} {:>6.2} ", arrow(place), numbers[action]), numbers[action] / scale);
            let ink = if share > 0.5 { Color::Black } else { Color::White };
            Span::styled(text, Style::new().fg(ink).bg(color(share)))
        }
    };
    Some((-1..=1).map(|y| Line::from((-1..=1).map(|x| cell([x, y])).collect::<Vec<_>>())).collect())
}

fn scale(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0f32, |most, number| most.max(number.abs())).max(1e-12)
}

/// The colour of a share from -1 to 1.
fn color(share: f32) -> Color {
    let part = |most: f32| (most * share.abs().clamp(0.0, 1.0)) as u8;
    match share >= 0.0 {
        true => Color::Rgb(18 + part(237.0), 18 + part(192.0), 28 + part(80.0)),
        false => Color::Rgb(18 + part(30.0), 18 + part(110.0), 28 + part(227.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shown: &[Line]) -> Vec<String> {
        shown.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn channels_are_tiled_as_there_is_room() {
        let values = HostArray::new(&[3, 4, 20], vec![0.5f32; 240]);
        let of = |room| {
            let Shown { lines, what } = tiles(&values, [3, 4, 20], room);
            (lines.first().map_or(0, Line::width), lines.len(), what)
        };
        // Tiles of 4 x 3 with a pixel between them: 4 x 4 tiles are 19 columns and 15 pixels, which are 8 rows.
        assert_eq!(of((80, 20)), (19, 8, ", 16 channels".into()));
        assert_eq!(of((80, 4)), (39, 4, ", 16 channels".into()));
        assert_eq!(of((14, 4)), (14, 4, ", 6 channels".into()));
        assert_eq!(of((3, 4)), (0, 0, ", 0 channels".into()));
    }

    #[test]
    fn other_layers_are_near_square() {
        let of = |count: usize, room| {
            let Shown { lines, what } = square(&vec![1.0; count], room);
            (lines.first().map_or(0, Line::width), lines.len(), what)
        };
        assert_eq!(of(512, (80, 20)), (23, 12, String::new()));
        assert_eq!(of(512, (80, 4)), (64, 4, String::new()));
        assert_eq!(of(512, (10, 4)), (10, 4, ", 80 of them".into()));
        assert_eq!(of(1, (80, 20)), (1, 1, String::new()));
    }

    #[test]
    fn actions_that_are_directions_are_a_compass() {
        let painter = crate::envs::registry::find("goodharts").unwrap().painter();
        let logits: Vec<f32> = (0..8).map(|i| i as f32 - 2.0).collect();
        let lines = text(&compass(&logits, &*painter).unwrap());
        assert_eq!(lines[0], " ↖  -2.00  ↑   1.00  ↗   3.00 ");
        assert_eq!(lines[1], " ←  -1.00            →   4.00 ");
        assert_eq!(lines[2], " ↙   0.00  ↓   2.00  ↘   5.00 ");
        let painter = crate::envs::registry::find("connect4").unwrap().painter();
        assert!(compass(&[1.0; 7], &*painter).is_none());
    }
}
