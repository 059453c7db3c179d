//! HackMatrix: the board in colours, and the player's panel.

use super::Converter;
use super::drawing;
use super::host::view::{self, Piece, Shows};
use super::host::{EnemyType, Game};
use crate::envs::painter::{Color, Frame, Line, Modifier, Painter, Picture, Span, Style};
use crate::envs::scene::Scene;

pub struct HackMatrixPainter {
    converter: Converter,
}

impl HackMatrixPainter {
    pub fn new() -> Self {
        HackMatrixPainter { converter: Converter::new() }
    }
}

impl Painter for HackMatrixPainter {
    fn paint(&self, frame: &Frame) -> Picture {
        let game = self.converter.from_arrays(frame.state.to_vec()).remove(0);
        let dim = Style::new().fg(Color::DarkGray);
        Picture {
            board: board(&game),
            legend: view::LEGEND.iter().map(|line| Line::styled(*line, dim)).collect(),
            facts: view::panel(&game).into_iter().map(Line::from).collect(),
        }
    }

    fn scene(&self, frame: &Frame) -> Option<Scene> {
        let game = self.converter.from_arrays(frame.state.to_vec()).remove(0);
        Some(drawing::scene(&game))
    }

    fn direction(&self, action: usize) -> Option<[i32; 2]> {
        [[0, -1], [0, 1], [-1, 0], [1, 0]].get(action).copied()
    }

    fn pace(&self) -> f64 {
        4.0
    }
}

fn board(game: &Game) -> Vec<Line<'static>> {
    let lines = view::board(game);
    // The last line holds the numbers of the columns.
    let last_rule = lines.len() - 2;
    let line = |(i, pieces): (usize, Vec<Piece>)| {
        let corners = match i {
            0 => ['┌', '┬', '┐'],
            i if i == last_rule => ['└', '┴', '┘'],
            _ => ['├', '┼', '┤'],
        };
        Line::from(pieces.into_iter().map(|piece| span(piece, corners)).collect::<Vec<_>>())
    };
    lines.into_iter().enumerate().map(line).collect()
}

fn span(piece: Piece, corners: [char; 3]) -> Span<'static> {
    let style = style(piece.shows);
    match piece.shows {
        Shows::Frame => Span::styled(ruled(&piece.text, corners), style),
        _ => Span::styled(piece.text, style),
    }
}

/// A rule or a bar with drawn lines; `corners` are those at the left end, in between, and at the right end.
fn ruled(text: &str, corners: [char; 3]) -> String {
    let (first, last) = (text.find('+'), text.rfind('+'));
    let drawn = text.char_indices().map(|(at, c)| match c {
        '-' => '─',
        '|' => '│',
        '+' if Some(at) == first => corners[0],
        '+' if Some(at) == last => corners[2],
        '+' => corners[1],
        other => other,
    });
    drawn.collect()
}

fn style(shows: Shows) -> Style {
    let style = Style::new();
    match shows {
        Shows::Frame => style.fg(Color::DarkGray),
        Shows::Space => style,
        Shows::Player => style.fg(Color::White).bg(Color::Blue).add_modifier(Modifier::BOLD),
        Shows::Enemy(kind) => style.fg(color(kind)).add_modifier(Modifier::BOLD),
        Shows::Transmission(kind) => style.fg(color(kind)),
        Shows::Block => style.fg(Color::LightBlue),
        Shows::SiphonedBlock => style.fg(Color::Blue),
        Shows::Exit => style.fg(Color::Black).bg(Color::Green).add_modifier(Modifier::BOLD),
        Shows::Pickup => style.fg(Color::LightCyan).add_modifier(Modifier::BOLD),
        Shows::Credits => style.fg(Color::LightYellow),
        Shows::Energy => style.fg(Color::LightGreen),
        Shows::Mark => style.fg(Color::Gray),
    }
}

fn color(kind: EnemyType) -> Color {
    match kind {
        EnemyType::Virus => Color::LightRed,
        EnemyType::Daemon => Color::LightMagenta,
        EnemyType::Glitch => Color::Yellow,
        EnemyType::Cryptog => Color::Cyan,
    }
}
