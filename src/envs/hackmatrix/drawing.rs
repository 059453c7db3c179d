//! HackMatrix as shapes: the board with row 5 on top, for those who show more than letters.

use super::host::view::{self, Piece, Shows};
use super::host::{Cell, EnemyType, Game, SIDE};
use crate::envs::scene::{Ink, Point, Scene};

/// The room around a cell.
const GAP: f32 = 0.04;
/// The legend: the height of its rows, and of their letters.
const ROW: f32 = 0.33;
const LETTERS: f32 = 0.19;

/// The board, and the cells beside the player on which a move leads.
pub fn scene(game: &Game) -> Scene {
    let side = SIDE as f32;
    let mut scene = Scene::new(side, side + 4.0 * ROW + 0.15);
    scene.block([0.0, 0.0], [side, side], 0.1, Ink::Line);
    legend(&mut scene, side);
    for cell in Cell::all() {
        let corner = corner(cell);
        let ink = if game.board.siphoned[cell] { Ink::Ground } else { Ink::Raised };
        scene.block(moved(corner, [GAP, GAP]), [1.0 - 2.0 * GAP; 2], 0.08, ink);
        what(&mut scene, corner, &view::what(&game.board, cell));
        who(&mut scene, corner, &view::who(game, cell));
    }
    for (action, next) in [[1, 0], [-1, 0], [0, -1], [0, 1]].into_iter().enumerate() {
        let Some(cell) = game.player.offset(next[0], next[1]) else { continue };
        let at = corner(cell);
        scene.spot(action, at, [1.0, 1.0], moved(at, [0.5, 0.12]));
    }
    scene
}

/// How to read it, below the board, in rows of three.
fn legend(scene: &mut Scene, below: f32) {
    let place = |number: usize| {
        let (row, column) = ((number / 3) as f32, (number % 3) as f32);
        [0.2 + 1.95 * column, below + 0.24 + ROW * row]
    };
    let say = |scene: &mut Scene, at: Point, indent: f32, text: &str| {
        scene.text_from(moved(at, [indent, 0.0]), LETTERS, text, Ink::Quiet);
    };
    for (number, (kind, name)) in
        EnemyType::ALL.into_iter().zip(["V virus", "D daemon", "G glitch", "C cryptog"]).enumerate()
    {
        body(scene, kind, place(number), 0.1);
        say(scene, place(number), 0.2, name);
    }
    scene.ring(place(4), 0.1, 0.03, Ink::Text);
    say(scene, place(4), 0.2, "arrives");
    let signs = [
        "S siphon",
        "$ credits",
        "& energy",
        "[5] block",
        "+4 its enemies",
        "number: hp, or turns to arrive",
    ];
    for (number, sign) in signs.into_iter().enumerate() {
        say(scene, moved(place(5 + number), [-0.1, 0.0]), 0.0, sign);
    }
}

/// The upper left corner of a cell.
fn corner(cell: Cell) -> Point {
    [cell.col as f32, (SIDE - 1 - cell.row) as f32]
}

fn moved([x, y]: Point, [right, down]: Point) -> Point {
    [x + right, y + down]
}

/// The player, enemies and transmissions: those that are there as filled shapes, one for each kind, those that arrive as outlines.
fn who(scene: &mut Scene, corner: Point, pieces: &[Piece]) {
    let step = 1.0 / (pieces.len() + 1) as f32;
    let radius = (0.9 * step / 2.0).clamp(0.12, 0.24);
    for (number, Piece { text, shows }) in pieces.iter().enumerate() {
        let at = moved(corner, [step * (number + 1) as f32, 0.34]);
        let letters = match shows {
            Shows::Player => {
                scene.disc(at, radius, Ink::Accent);
                scene.ring(at, radius * 0.6, 0.04, Ink::Raised);
                continue;
            }
            Shows::Enemy(kind) => {
                body(scene, *kind, at, radius);
                Ink::Ground
            }
            Shows::Transmission(kind) => {
                scene.ring(at, radius, 0.03, ink(*kind)).faint(0.8);
                Ink::Text
            }
            _ => Ink::Text,
        };
        scene.text(at, radius * 1.15, text.trim_start_matches('*'), letters);
    }
}

/// An enemy: a disc, a square, a lozenge and a disc with a rim.
fn body(scene: &mut Scene, kind: EnemyType, at: Point, radius: f32) {
    match kind {
        EnemyType::Virus => scene.disc(at, radius, ink(kind)),
        EnemyType::Daemon => scene.block(moved(at, [-radius, -radius]), [2.0 * radius; 2], 0.03, ink(kind)),
        EnemyType::Glitch => {
            let corners = [[0.0, -1.25], [1.25, 0.0], [0.0, 1.25], [-1.25, 0.0]];
            scene.area(corners.map(|by| moved(at, by.map(|part: f32| part * radius))), ink(kind))
        }
        EnemyType::Cryptog => {
            scene.ring(at, radius * 1.15, 0.03, ink(kind));
            scene.disc(at, radius, ink(kind))
        }
    };
}

fn ink(kind: EnemyType) -> Ink {
    match kind {
        EnemyType::Virus => Ink::Bad,
        EnemyType::Daemon => Ink::Purple,
        EnemyType::Glitch => Ink::Yellow,
        EnemyType::Cryptog => Ink::Sky,
    }
}

/// A block, which fills the cell, or exit, pickup and resources below whoever is there.
fn what(scene: &mut Scene, corner: Point, pieces: &[Piece]) {
    let pieces = pieces.iter().filter(|piece| piece.shows != Shows::Space);
    let pieces: Vec<&Piece> = pieces.collect();
    let step = 1.0 / (pieces.len() + 1) as f32;
    for (number, Piece { text, shows }) in pieces.into_iter().enumerate() {
        let at = moved(corner, [step * (number + 1) as f32, 0.76]);
        let ink = match shows {
            Shows::Block | Shows::SiphonedBlock => {
                let ink = if *shows == Shows::Block { Ink::Blue } else { Ink::Quiet };
                scene.block(moved(corner, [0.1, 0.1]), [0.8, 0.8], 0.1, ink).faint(0.25);
                Ink::Text
            }
            Shows::Exit => {
                scene.block(moved(corner, [0.12, 0.62]), [0.76, 0.3], 0.08, Ink::Good);
                Ink::Ground
            }
            Shows::Credits => Ink::Warn,
            Shows::Energy => Ink::Good,
            Shows::Pickup => Ink::Accent,
            _ => Ink::Quiet,
        };
        let size = if text.len() > 6 { 0.15 } else { 0.22 };
        scene.text(at, size, text.clone(), ink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::golden;

    #[test]
    fn every_golden_state_is_drawn_inside_its_scene() {
        for record in golden::built_in().unwrap() {
            let scene = scene(&record.before);
            let discs = scene.shapes.iter().filter(|shape| shape.ink == Ink::Accent).count();
            assert!(discs >= 1, "record {}: no player", record.id);
            assert!((2..=4).contains(&scene.spots.len()), "record {}", record.id);
            for spot in &scene.spots {
                let [x, y] = spot.at;
                assert!((0.0..6.0).contains(&x) && (0.0..6.0).contains(&y), "record {}", record.id);
            }
        }
    }
}
