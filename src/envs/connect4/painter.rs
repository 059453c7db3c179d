//! Connect four: the board, the first player's stones as X.

use crate::envs::painter::{Color, Frame, Line, Modifier, Painter, Picture, Span, Style};
use crate::envs::scene::{Ink, Scene};

use super::Board;

pub struct Connect4Painter {
    pub board: Board,
}

impl Painter for Connect4Painter {
    fn paint(&self, frame: &Frame) -> Picture {
        let dim = Style::new().fg(Color::DarkGray);
        let game = Game::of(self.board, frame.obs);
        let numbers = (0..self.board.cols).map(|c| format!(" {c}")).collect::<String>();
        let mut board = vec![Line::styled(numbers, dim)];
        board.extend((0..self.board.rows).map(|row| game.line(row)));
        Picture {
            board,
            legend: vec![Line::styled("X moves first", dim)],
            facts: vec![Line::from(format!("stones {:>8}", game.stones)), Line::from(game.standing())],
        }
    }

    fn scene(&self, frame: &Frame) -> Option<Scene> {
        Some(Game::of(self.board, frame.obs).scene())
    }

    fn column_of(&self, action: usize) -> Option<u16> {
        Some(1 + 2 * action as u16)
    }

    fn pace(&self) -> f64 {
        2.0
    }
}

/// A position on the host, as it is drawn.
struct Game {
    board: Board,
    /// 0, 1 for the first player's stone, 2 for the second one's; row by row from the top.
    cells: Vec<u8>,
    stones: usize,
    /// The cells of a line of four.
    line: Vec<usize>,
}

impl Game {
    /// The game that an observation shows.
    fn of(board: Board, obs: &[f32]) -> Game {
        let size = board.rows * board.cols;
        let stones = obs.iter().filter(|x| **x > 0.0).count();
        // The first plane is that of the player to move.
        let [own, other] = if stones.is_multiple_of(2) { [1, 2] } else { [2, 1] };
        let cell = |i: usize| match (obs[i] > 0.0, obs[size + i] > 0.0) {
            (true, _) => own,
            (_, true) => other,
            _ => 0,
        };
        let mut game = Game { board, cells: (0..size).map(cell).collect(), stones, line: Vec::new() };
        game.line = game.four().unwrap_or_default();
        game
    }

    /// The cells of a line of four stones of one player.
    fn four(&self) -> Option<Vec<usize>> {
        let Board { rows, cols } = self.board;
        let from = |start: usize, (down, right): (isize, isize)| {
            let [row, col] = [start / cols, start % cols].map(|x| x as isize);
            let cells = (0..4).map(|i| (row + i * down, col + i * right));
            let inside = |&(row, col): &(isize, isize)| {
                (0..rows as isize).contains(&row) && (0..cols as isize).contains(&col)
            };
            let cells: Vec<usize> =
                cells.filter(inside).map(|(row, col)| row as usize * cols + col as usize).collect();
            let player = self.cells[start];
            let is_line = player > 0 && cells.len() == 4 && cells.iter().all(|&c| self.cells[c] == player);
            is_line.then_some(cells)
        };
        let starts = 0..rows * cols;
        starts.into_iter().find_map(|start| {
            [(0, 1), (1, 0), (1, 1), (1, -1)].into_iter().find_map(|direction| from(start, direction))
        })
    }

    fn standing(&self) -> String {
        let player = |cell: u8| if cell == 1 { "X" } else { "O" };
        match self.line.first() {
            Some(&cell) => format!("{} has won", player(self.cells[cell])),
            None if self.stones == self.cells.len() => "drawn".into(),
            None => format!("{} to move", player(1 + (self.stones % 2) as u8)),
        }
    }

    fn line(&self, row: usize) -> Line<'static> {
        let places = row * self.board.cols..(row + 1) * self.board.cols;
        Line::from(places.flat_map(|place| [Span::raw(" "), self.span(place)]).collect::<Vec<_>>())
    }

    /// The board as it hangs, below a row in which there is room for what is said of the columns. The stones of the first player have
    /// an X and those of the second one an O, so that they differ in more than their colour.
    fn scene(&self) -> Scene {
        let Board { rows, cols } = self.board;
        let (width, height) = (cols as f32, rows as f32);
        let mut scene = Scene::new(width, height + 1.5);
        scene.block([0.0, 1.0], [width, height], 0.2, Ink::Blue);
        for (place, &player) in self.cells.iter().enumerate() {
            let at = [(place % cols) as f32 + 0.5, (place / cols) as f32 + 1.5];
            let ink = [Ink::Ground, Ink::Red, Ink::Yellow][usize::from(player)];
            scene.disc(at, 0.42, ink);
            match player {
                1 => {
                    for (down, up) in [(-0.16, 0.16), (0.16, -0.16)] {
                        scene.line(
                            [[at[0] - 0.16, at[1] + down], [at[0] + 0.16, at[1] + up]],
                            0.07,
                            Ink::Ground,
                        );
                    }
                }
                2 => {
                    scene.ring(at, 0.2, 0.07, Ink::Ground);
                }
                _ => {}
            }
            if self.line.contains(&place) {
                scene.ring(at, 0.42, 0.1, Ink::Text);
            }
        }
        for col in 0..cols {
            let left = col as f32;
            scene.text([left + 0.5, height + 1.28], 0.36, col.to_string(), Ink::Quiet);
            scene.spot(col, [left, 0.0], [1.0, height + 1.5], [left + 0.5, 0.5]);
        }
        scene
    }

    fn span(&self, place: usize) -> Span<'static> {
        let (sign, color) = [(".", Color::DarkGray), ("X", Color::LightRed), ("O", Color::LightYellow)]
            [usize::from(self.cells[place])];
        let style = Style::new().fg(color);
        let in_line = self.line.contains(&place);
        Span::styled(sign, if in_line { style.add_modifier(Modifier::REVERSED) } else { style })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_won_game_is_drawn_with_its_line() {
        let board = Board::new(4, 4).unwrap();
        // O on the diagonal; X is to move.
        let rows = ["...O", "..OX", ".OXX", "OXXO"].concat();
        let plane = |sign: char| rows.chars().map(move |c| f32::from(u8::from(c == sign)));
        let obs: Vec<f32> = plane('X').chain(plane('O')).collect();
        let picture = Connect4Painter { board }.paint(&Frame { state: &[], obs: &obs });
        let text: Vec<String> = picture.board.iter().map(|line| line.to_string()).collect();
        assert_eq!(text, [" 0 1 2 3", " . . . O", " . . O X", " . O X X", " O X X O"]);
        assert_eq!(picture.facts[1].to_string(), "O has won");
        let scene = Connect4Painter { board }.scene(&Frame { state: &[], obs: &obs }).unwrap();
        let rings = scene.shapes.iter().filter(|shape| shape.ink == Ink::Text).count();
        assert_eq!((rings, scene.spots.len(), scene.width), (4, 4, 4.0));
    }
}
