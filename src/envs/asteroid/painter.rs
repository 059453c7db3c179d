//! The map of the nodes, the ship, the node with its asteroids, the hold, the market, and what happened.

use crate::envs::painter::{Color, Frame, Line, Painter, Picture, Span, Style};
use crate::envs::scene::Scene;

use super::chart::SLOTS;
use super::drawing;
use super::layout::layout;
use super::site::{ASTEROIDS, COMMODITIES};

const KINDS: [(&str, &str, Color); 3] =
    [("S", "station", Color::Cyan), ("o", "cluster", Color::Yellow), ("!", "hazard", Color::Red)];
/// Letters of a gauge.
const GAUGE: usize = 20;
/// Nodes in a line of the map.
const ROW: usize = 8;

pub struct AsteroidPainter;

impl Painter for AsteroidPainter {
    fn paint(&self, frame: &Frame) -> Picture {
        let board = [map(frame), vec![Line::default()], edges(frame), vec![Line::default()], rocks(frame)];
        let kind = |(sign, is, color): (&'static str, &'static str, Color)| {
            Line::from(vec![Span::styled(sign, Style::new().fg(color)), Span::raw(format!(" {is}"))])
        };
        Picture {
            board: board.into_iter().flatten().collect(),
            legend: KINDS.into_iter().map(kind).collect(),
            facts: [ship(frame), goods(frame), events(frame)].into_iter().flatten().collect(),
        }
    }

    fn scene(&self, frame: &Frame) -> Option<Scene> {
        Some(drawing::scene(frame))
    }

    /// What was found at nodes that the ship has left.
    fn unseen(&self) -> &'static [&'static str] {
        &["store."]
    }
}

/// The nodes by number; the ship's in brackets.
fn map(frame: &Frame) -> Vec<Line<'static>> {
    let kinds = frame.numbers("chart.kind");
    let count = frame.number("chart.count") as usize;
    let here = frame.number("site.node") as usize;
    let near: Vec<usize> =
        frame.numbers("site.exits.to").iter().filter(|to| **to >= 0.0).map(|to| *to as usize).collect();
    let node = |i: usize| {
        let (sign, _, color) = KINDS[kinds[i] as usize];
        let text = match i {
            _ if i == here => format!("[{sign}{i:>2}] "),
            _ if near.contains(&i) => format!("<{sign}{i:>2}> "),
            _ => format!(" {sign}{i:>2}  "),
        };
        Span::styled(text, Style::new().fg(color))
    };
    let nodes: Vec<usize> = (0..count).collect();
    nodes.chunks(ROW).map(|row| Line::from(row.iter().map(|&i| node(i)).collect::<Vec<_>>())).collect()
}

/// The edges of the node.
fn edges(frame: &Frame) -> Vec<Line<'static>> {
    let column = |name: &str| frame.numbers(&format!("site.{name}"));
    let (to, kind, time) = (column("exits.to"), column("exits.kind"), column("exits.time"));
    let (fuel, threat) = (column("exits.fuel"), column("marks.threat"));
    let edge = |i: usize| {
        let (sign, _, color) = KINDS[kind[i] as usize];
        Line::styled(
            format!(
                "edge {i} to {sign}{:<3}{} ticks {:>4.0} fuel  threat {:.2}",
                to[i], time[i], fuel[i], threat[i]
            ),
            Style::new().fg(color),
        )
    };
    (0..SLOTS).filter(|&i| to[i] >= 0.0).map(edge).collect()
}

/// The asteroids of the node as they are believed to be: shares in percent.
fn rocks(frame: &Frame) -> Vec<Line<'static>> {
    let column = |name: &str| frame.numbers(&format!("site.marks.{name}"));
    let (shares, stability) = (column("composition"), column("stability"));
    let (confidence, depletion) = (column("confidence"), column("depletion"));
    let selected = frame.number("ship.selected");
    let names: String = layout().commodities.iter().map(|c| format!("{:>6.5}", c.name)).collect();
    let head = Line::from(format!("asteroid {names}  stable known mined"));
    let rock = |i: usize| {
        let parts: String =
            shares[i * COMMODITIES..][..COMMODITIES].iter().map(|x| format!("{:>6.0}", x * 100.0)).collect();
        let style = match (i as f64 == selected, depletion[i] >= 1.0) {
            (_, true) => Style::new().fg(Color::DarkGray),
            (true, _) => Style::new().fg(Color::Green),
            _ => Style::new(),
        };
        let sign = if i as f64 == selected { ">" } else { " " };
        let text =
            format!("{sign}{i:>7} {parts}{:>8.2}{:>6.2}{:>6.2}", stability[i], confidence[i], depletion[i]);
        Line::styled(text, style)
    };
    let count = (frame.number("site.count") as usize).min(ASTEROIDS);
    if count == 0 { Vec::new() } else { [head].into_iter().chain((0..count).map(rock)).collect() }
}

/// Gauges and supplies.
fn ship(frame: &Frame) -> Vec<Line<'static>> {
    let gauge = |(name, most, good): (&str, f64, bool)| {
        let value = frame.number(&format!("ship.{name}"));
        let share = (value / most).clamp(0.0, 1.0);
        let color = match if good { share } else { 1.0 - share } {
            x if x > 0.5 => Color::Green,
            x if x > 0.25 => Color::Yellow,
            _ => Color::Red,
        };
        let bar = "#".repeat((share * GAUGE as f64).round() as usize);
        Line::from(vec![
            Span::raw(format!("{name:<7}{value:>6.0} ")),
            Span::styled(format!("{bar:<GAUGE$}"), Style::new().fg(color)),
        ])
    };
    let number = |name: &str| frame.number(name);
    let text = |name: &str, value: String| Line::from(format!("{name:<16}{value:>10}"));
    let gauges = [
        ("fuel", 1000.0, true),
        ("hull", 100.0, true),
        ("tool", 100.0, true),
        ("heat", 100.0, false),
        ("alert", 100.0, false),
    ];
    let supplies = ["kits", "stabilizers", "decoys"].map(|name| number(&format!("ship.{name}")));
    let facts = [
        text("credits", format!("{:.0}", number("ship.credits"))),
        text("net profit", format!("{:.0}", number("ship.credits") - number("ship.spent"))),
        text("time left", format!("{:.0}", number("ship.time_remaining"))),
        text("kits stab decoy", format!("{} {} {}", supplies[0], supplies[1], supplies[2])),
    ];
    gauges.map(gauge).into_iter().chain(facts).collect()
}

/// Hold and market.
fn goods(frame: &Frame) -> Vec<Line<'static>> {
    let (cargo, price) = (frame.numbers("ship.cargo"), frame.numbers("market.price"));
    let before = frame.numbers("market.before");
    let line = |i: usize| {
        let change = price[i] - before[i];
        let color = if change < 0.0 { Color::Red } else { Color::Green };
        Line::from(vec![
            Span::raw(format!("{:<13}{:>7.1} at {:>6.1} ", layout().commodities[i].name, cargo[i], price[i])),
            Span::styled(format!("{change:+.1}"), Style::new().fg(color)),
        ])
    };
    (0..COMMODITIES).map(line).collect()
}

/// What is counted of the episode.
fn events(frame: &Frame) -> Vec<Line<'static>> {
    let count = |name: &str, leaf: &str| {
        Line::from(format!("{name:<16}{:>10.0}", frame.number(&format!("tally.{leaf}"))))
    };
    vec![
        count("pirates met", "encounters"),
        count("lost to pirates", "lost"),
        count("ticks too hot", "overheated"),
        count("scans", "scans"),
        count("mined", "mined"),
    ]
}
