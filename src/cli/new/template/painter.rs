//! What __ENV__ looks like in the terminal: `watch` shows it.

use lockstep::envs::painter::{Color, Frame, Line, Painter, Picture, Span, Style};

use super::env::{MAP, WIDTH};

pub struct GridPainter;

impl Painter for GridPainter {
    fn paint(&self, frame: &Frame) -> Picture {
        let agent = frame.number("cell") as usize;
        let cell = |(column, sign): (usize, char), row: usize| match (row * WIDTH + column == agent, sign) {
            (true, _) => Span::styled("@ ", Style::new().fg(Color::Yellow)),
            (_, '#') => Span::styled("██", Style::new().fg(Color::DarkGray)),
            (_, 'G') => Span::styled("★ ", Style::new().fg(Color::Green)),
            _ => Span::raw("· "),
        };
        let line = |(row, text): (usize, &&str)| {
            Line::from(text.chars().enumerate().map(|at| cell(at, row)).collect::<Vec<_>>())
        };
        Picture {
            board: MAP.iter().enumerate().map(line).collect(),
            legend: vec![Line::from("@ agent   ★ goal")],
            facts: vec![Line::from(format!("time {}", frame.number("time")))],
        }
    }

    fn pace(&self) -> f64 {
        5.0
    }
}
