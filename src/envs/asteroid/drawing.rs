//! The belt as shapes: a map of the nodes with the ship on it, gauges, the hold and the market, and the asteroids of the node.

use std::f32::consts::TAU;

use super::actions::{SELECT, TRAVEL};
use super::chart::{HAZARD, NODES, SLOTS, STATION};
use super::layout::layout;
use super::ship::{ALERT, CARGO, FUEL, HEAT, HULL, TOOL};
use super::site::{ASTEROIDS, COMMODITIES};
use crate::envs::painter::Frame;
use crate::envs::scene::{Ink, Point, Scene};

/// The side of the map, which is a square, and the width of what stands beside it.
const MAP: f32 = 10.0;
const BESIDE: f32 = 6.0;

pub fn scene(frame: &Frame) -> Scene {
    let mut scene = Scene::new(MAP + BESIDE, MAP + 2.2);
    map(frame, &mut scene);
    gauges(frame, &mut scene);
    market(frame, &mut scene);
    rocks(frame, &mut scene);
    scene
}

/// Where a node is drawn: the station in the middle, the others around it, the nearer the fewer edges are in between.
fn places(frame: &Frame) -> Vec<Point> {
    let count = frame.number("chart.count") as usize;
    let hops = frame.numbers("chart.hops");
    let farthest =
        hops[..count].iter().filter(|&&hops| hops < (NODES - 1) as f64).fold(1.0f64, |a, &b| a.max(b));
    let place = |node: usize| {
        let angle = TAU * node as f32 / (count - 1) as f32;
        let away = MAP * 0.44 * (hops[node] / farthest).min(1.0) as f32;
        // Of nodes that are equally far every second one lies a little further in.
        let away = if node.is_multiple_of(2) { away } else { away * 0.88 };
        [MAP / 2.0 + away * angle.sin(), MAP * 0.47 - away * angle.cos()]
    };
    (0..count).map(place).collect()
}

fn map(frame: &Frame, scene: &mut Scene) {
    let places = places(frame);
    let kinds = frame.numbers("chart.kind");
    let here = frame.number("site.node") as usize;
    let numbers = frame.numbers("chart.slots");
    let (from, to) = (frame.numbers("chart.edges.ends.0"), frame.numbers("chart.edges.ends.1"));
    let mut edges: Vec<usize> =
        numbers.iter().filter(|number| **number >= 0.0).map(|number| *number as usize).collect();
    edges.sort_unstable();
    edges.dedup();
    let ends = edges.into_iter().map(|edge| [from[edge] as usize, to[edge] as usize]);
    let (near, far): (Vec<_>, Vec<_>) =
        ends.filter(|ends| ends.iter().all(|end| *end < places.len())).partition(|ends| ends.contains(&here));
    scene.strokes(far.into_iter().map(|ends| ends.map(|end| places[end])), 0.04, Ink::Line);
    scene.strokes(near.into_iter().map(|ends| ends.map(|end| places[end])), 0.07, Ink::Accent);
    for (number, name) in ["station", "cluster", "hazard"].into_iter().enumerate() {
        let at = [0.5 + 2.0 * number as f32, MAP - 0.2];
        node_of(scene, number as i32, at);
        scene.text_from([at[0] + 0.4, at[1]], 0.3, name, Ink::Quiet);
    }
    for (node, &at) in places.iter().enumerate() {
        let [x, y] = at;
        node_of(scene, kinds[node] as i32, at);
        if node == here {
            scene.ring(at, 0.46, 0.08, Ink::Text);
        }
        scene.text([x, y + 0.5], 0.26, node.to_string(), Ink::Quiet);
    }
    let exits = frame.numbers("site.exits.to");
    for (slot, &to) in exits.iter().enumerate().take(SLOTS).filter(|(_, to)| **to >= 0.0) {
        let Some(&[x, y]) = places.get(to as usize) else { continue };
        scene.spot(TRAVEL.start + slot, [x - 0.5, y - 0.5], [1.0, 1.0], [x, y - 0.45]);
    }
}

/// A node by its kind.
fn node_of(scene: &mut Scene, kind: i32, [x, y]: Point) {
    let half = 0.24;
    match kind {
        STATION => scene.block([x - half, y - half], [2.0 * half; 2], 0.06, Ink::Sky),
        HAZARD => scene.area([[x, y - 0.32], [x + 0.3, y + 0.22], [x - 0.3, y + 0.22]], Ink::Bad),
        _ => scene.disc([x, y], half, Ink::Yellow),
    };
}

/// What the ship has of each, as bars.
fn gauges(frame: &Frame, scene: &mut Scene) {
    let left = MAP + 0.3;
    let gauges = [
        ("fuel", FUEL, true),
        ("hull", HULL, true),
        ("tool", TOOL, true),
        ("heat", HEAT, false),
        ("alert", ALERT, false),
    ];
    for (number, (name, most, is_good)) in gauges.into_iter().enumerate() {
        let top = 0.3 + 0.55 * number as f32;
        let share = (frame.number(&format!("ship.{name}")) / most).clamp(0.0, 1.0) as f32;
        let ink = match if is_good { share } else { 1.0 - share } {
            x if x > 0.5 => Ink::Good,
            x if x > 0.25 => Ink::Warn,
            _ => Ink::Bad,
        };
        scene.text_from([left, top + 0.16], 0.3, name, Ink::Quiet);
        scene.block([left + 1.2, top], [BESIDE - 1.8, 0.32], 0.1, Ink::Line);
        scene.block([left + 1.2, top], [(BESIDE - 1.8) * share, 0.32], 0.1, ink);
    }
    let credits = frame.number("ship.credits");
    scene.text_from([left, 3.35], 0.36, format!("{credits:.0} credits"), Ink::Text);
}

/// The hold as a bar of its goods, and what each is worth.
fn market(frame: &Frame, scene: &mut Scene) {
    const INKS: [Ink; COMMODITIES] = [Ink::Blue, Ink::Orange, Ink::Sky, Ink::Purple, Ink::Yellow, Ink::Green];
    let left = MAP + 0.3;
    let (cargo, price) = (frame.numbers("ship.cargo"), frame.numbers("market.price"));
    let before = frame.numbers("market.before");
    scene.text_from([left, 4.0], 0.3, "cargo and prices", Ink::Quiet);
    scene.block([left, 4.25], [BESIDE - 0.6, 0.4], 0.05, Ink::Line);
    let mut at = left;
    for (number, ink) in INKS.into_iter().enumerate() {
        let width = (BESIDE - 0.6) * (cargo[number] / CARGO).clamp(0.0, 1.0) as f32;
        if width > 0.005 {
            scene.block([at, 4.25], [width, 0.4], 0.0, ink);
            at += width;
        }
        let top = 5.05 + 0.48 * number as f32;
        let arrow = if price[number] < before[number] { "↓" } else { "↑" };
        scene.block([left, top - 0.13], [0.26, 0.26], 0.05, ink);
        let text = format!(
            "{} {:.0} at {:.0} {arrow}",
            layout().commodities[number].name,
            cargo[number],
            price[number]
        );
        scene.text_from([left + 0.4, top], 0.3, text, Ink::Text);
    }
}

/// The asteroids of the node: how much of each is left, and which one is selected.
fn rocks(frame: &Frame, scene: &mut Scene) {
    let count = (frame.number("site.count") as usize).min(ASTEROIDS);
    let selected = frame.number("ship.selected");
    let depletion = frame.numbers("site.marks.depletion");
    let confidence = frame.numbers("site.marks.confidence");
    let text = if count == 0 { "no asteroids here" } else { "asteroids here: what is left of each" };
    scene.text_from([0.2, MAP + 0.35], 0.3, text, Ink::Quiet);
    for rock in 0..count {
        let at = [0.6 + 0.95 * rock as f32, MAP + 1.1];
        let left = (1.0 - depletion[rock]).clamp(0.0, 1.0) as f32;
        scene.ring(at, 0.38, 0.03, Ink::Line);
        scene.disc(at, 0.38 * left.sqrt(), Ink::Quiet).faint(0.35 + 0.65 * confidence[rock] as f32);
        if rock as f64 == selected {
            scene.ring(at, 0.44, 0.07, Ink::Accent);
        }
        scene.text([at[0], at[1] + 0.68], 0.26, rock.to_string(), Ink::Quiet);
        scene.spot(SELECT.start + rock, [at[0] - 0.46, at[1] - 0.46], [0.92, 1.3], [at[0], at[1] - 0.3]);
    }
}
