//! A game as text, for `watch` and for logs: the board with row 5 on top, and a panel beside it.
//!
//! Plain ASCII lines that fit into 80 x 24. The top line of a cell shows who is there, the bottom line
//! what is there; [`LEGEND`] explains the signs. It shows the game, not what the player knows: a hidden
//! cryptog and the content of a question block appear with a question mark. Lines are made of [`Piece`]s that say
//! what they show, for those who have colours.

use super::layout::layout;
use super::{Board, Cell, EnemyType, Game, SIDE, block};

/// Columns inside a cell.
const WIDTH: usize = 8;
/// Lines between the rows of the board.
const RULE: &str = "  +--------+--------+--------+--------+--------+--------+";

/// The signs of the board.
pub const LEGEND: [&str; 3] = [
    "@ you  V2 enemy, its hp (? unseen  ~ stunned  ^ siphoned)",
    "*V1 arrives in 1  [5] [push] block  (5) siphoned  +spawn",
    "$ credits  & energy  S data siphon  o . siphoned cells",
];

/// A part of a line that shows one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub shows: Shows,
}

/// What a piece shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Lines and numbers of the board.
    Frame,
    Space,
    Player,
    Enemy(EnemyType),
    Transmission(EnemyType),
    Block,
    SiphonedBlock,
    Exit,
    Pickup,
    Credits,
    Energy,
    /// A cell that was siphoned.
    Mark,
}

impl Piece {
    fn new(shows: Shows, text: impl Into<String>) -> Piece {
        Piece { text: text.into(), shows }
    }
}

/// The lines of the board, the panel, and the legend.
pub fn lines(game: &Game) -> Vec<String> {
    let mut lines: Vec<String> = board(game).iter().map(|pieces| text(pieces)).collect();
    let panel = panel(game);
    let rows = lines.len().max(panel.len());
    lines.resize(rows, " ".repeat(RULE.len()));
    for (line, beside) in lines.iter_mut().zip(panel) {
        *line = format!("{line}  {beside}").trim_end().to_string();
    }
    lines.extend(LEGEND.map(String::from));
    lines
}

/// A line without what it shows.
pub fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

/// The lines of the board: a rule, then two lines and a rule for each row, then the numbers of the columns.
pub fn board(game: &Game) -> Vec<Vec<Piece>> {
    let rule = || vec![Piece::new(Shows::Frame, RULE)];
    let mut lines = vec![rule()];
    for row in (0..SIDE).rev() {
        let line = |label: String, cell_pieces: &dyn Fn(Cell) -> Vec<Piece>| {
            let mut pieces = vec![Piece::new(Shows::Frame, format!("{label} |"))];
            for col in 0..SIDE {
                pieces.extend(fitted(cell_pieces(Cell::new(row, col))));
                pieces.push(Piece::new(Shows::Frame, "|"));
            }
            pieces
        };
        lines.push(line(row.to_string(), &|cell| who(game, cell)));
        lines.push(line(" ".into(), &|cell| what(&game.board, cell)));
        lines.push(rule());
    }
    let columns: Vec<String> = (0..SIDE).map(|col| format!("{col:^WIDTH$}")).collect();
    lines.push(vec![Piece::new(Shows::Frame, format!("   {}", columns.join(" ")))]);
    lines
}

/// Cuts or fills pieces to the width of a cell.
fn fitted(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut room = WIDTH;
    let mut fitted = Vec::new();
    for Piece { text, shows } in pieces {
        let text: String = text.chars().take(room).collect();
        room -= text.len();
        fitted.push(Piece { text, shows });
    }
    fitted.push(Piece::new(Shows::Space, " ".repeat(room)));
    fitted
}

/// The player, enemies and transmissions of a cell.
pub fn who(game: &Game, cell: Cell) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if game.player == cell {
        pieces.push(Piece::new(Shows::Player, "@"));
    }
    for enemy in game.enemies.iter().filter(|enemy| enemy.at == cell) {
        let mark = |applies: bool, sign: &'static str| if applies { sign } else { "" };
        let text = format!(
            "{}{}{}{}{}",
            letter(enemy.kind),
            enemy.hp,
            mark(game.is_hidden(enemy), "?"),
            mark(enemy.stunned, "~"),
            mark(enemy.from_siphon, "^"),
        );
        pieces.push(Piece::new(Shows::Enemy(enemy.kind), text));
    }
    for transmission in game.transmissions.iter().filter(|transmission| transmission.at == cell) {
        let text = format!("*{}{}", letter(transmission.kind), transmission.turns);
        pieces.push(Piece::new(Shows::Transmission(transmission.kind), text));
    }
    pieces
}

fn letter(kind: EnemyType) -> char {
    ['V', 'D', 'G', 'C'][kind as usize]
}

/// The block, exit, pickup and resources of a cell.
pub fn what(board: &Board, cell: Cell) -> Vec<Piece> {
    if board.has_block(cell) {
        let shows = if board.siphoned[cell] { Shows::SiphonedBlock } else { Shows::Block };
        return vec![Piece::new(shows, block_text(board, cell))];
    }
    let mut parts = Vec::new();
    if board.exit_cell[cell] {
        parts.push(Piece::new(Shows::Exit, "EXIT"));
    }
    if board.data_siphon[cell] {
        parts.push(Piece::new(Shows::Pickup, "S"));
    }
    if board.res_credits[cell] > 0 {
        parts.push(Piece::new(Shows::Credits, format!("${}", board.res_credits[cell])));
    }
    if board.res_energy[cell] > 0 {
        parts.push(Piece::new(Shows::Energy, format!("&{}", board.res_energy[cell])));
    }
    if board.siphon_center[cell] {
        parts.push(Piece::new(Shows::Mark, "o"));
    } else if board.siphoned[cell] {
        parts.push(Piece::new(Shows::Mark, "."));
    }
    let mut spaced = Vec::new();
    for part in parts {
        if !spaced.is_empty() {
            spaced.push(Piece::new(Shows::Space, " "));
        }
        spaced.push(part);
    }
    spaced
}

fn block_text(board: &Board, cell: Cell) -> String {
    let content = match board.block_type[cell] {
        block::DATA => board.block_points[cell].to_string(),
        block::PROGRAM => layout().programs[board.block_program[cell] as usize].raw.clone(),
        _ if board.question_is_data[cell] => format!("?{}", board.block_points[cell]),
        _ => format!("?{}", layout().programs[board.block_program[cell] as usize].raw),
    };
    let spawn = match board.block_spawn[cell] {
        0 => String::new(),
        spawn => format!("+{spawn}"),
    };
    let closed = if board.siphoned[cell] { format!("({content})") } else { format!("[{content}]") };
    // The spawn count gives way to a long program name.
    if closed.len() + spawn.len() <= WIDTH { closed + &spawn } else { closed }
}

/// What the player has, and how far the game is.
pub fn panel(game: &Game) -> Vec<String> {
    let mut lines = vec![
        format!("stage {}/8   turn {}", game.stage, game.turn),
        format!("score {}", game.score),
        format!("hp {}/3  attack {}", game.hp, game.attack),
        format!("credits {}", game.credits),
        format!("energy {}", game.energy),
        format!("siphons {}", game.data_siphons),
        next_task(game),
        effects(game),
        "programs".to_string(),
    ];
    let programs: Vec<&str> =
        game.owned.iter().map(|&program| layout().programs[program].raw.as_str()).collect();
    lines.extend(programs.chunks(2).map(|pair| format!("  {:8}{}", pair[0], pair.get(1).unwrap_or(&""))));
    if programs.is_empty() {
        lines.push("  none".to_string());
    }
    lines
}

/// When the schedule adds its next transmission.
fn next_task(game: &Game) -> String {
    if game.scheduled_disabled {
        "no next task".into()
    } else {
        format!("next task turn {}", game.next_scheduled_turn)
    }
}

/// Programs in effect, and transmissions that wait for the next enemy turn.
fn effects(game: &Game) -> String {
    let active = [("SHOW", game.show), ("CALM", game.scheduled_disabled), ("STEP", game.step_active)];
    let mut parts: Vec<String> =
        active.iter().filter(|(_, active)| *active).map(|(name, _)| name.to_string()).collect();
    if game.pending_siphon > 0 {
        parts.push(format!("{} due", game.pending_siphon));
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::{Enemy, Transmission, golden};

    #[test]
    fn every_golden_state_fits_into_a_terminal() {
        for record in golden::built_in().unwrap() {
            let lines = lines(&record.before);
            assert!(lines.len() <= 24, "record {}: {} lines", record.id, lines.len());
            for line in &lines {
                assert!(line.is_ascii() && line.len() <= 80, "record {}: {line:?}", record.id);
            }
        }
    }

    #[test]
    fn the_signs_stand_where_they_belong() {
        let mut game = Game::empty(Cell::new(0, 1), Cell::new(5, 5));
        let mut enemies = golden::built_in().unwrap().into_iter().flat_map(|record| record.before.enemies);
        let mut enemy = |kind, row, col| {
            let enemy = enemies.next().unwrap();
            Enemy { kind, at: Cell::new(row, col), hp: 2, stunned: row == 0, from_siphon: row == 1, ..enemy }
        };
        game.enemies = vec![
            enemy(EnemyType::Virus, 0, 3),
            enemy(EnemyType::Cryptog, 1, 3),
            enemy(EnemyType::Cryptog, 2, 1),
        ];
        game.transmissions.push(Transmission {
            kind: EnemyType::Daemon,
            at: Cell::new(1, 5),
            turns: 4,
            from_siphon: false,
            from_scheduled: false,
        });
        game.owned = vec![9, 2, 18];
        game.pending_siphon = 3;
        let board = &mut game.board;
        for (col, kind, points, program, spawn) in
            [(0, block::DATA, 7, 0, 7), (1, block::PROGRAM, 0, 18, 4), (2, block::QUESTION, 0, 9, 3)]
        {
            let cell = Cell::new(5, col);
            (board.block_type[cell], board.block_points[cell]) = (kind, points);
            (board.block_program[cell], board.block_spawn[cell]) = (program, spawn);
        }
        board.siphoned[Cell::new(5, 1)] = true;
        board.siphoned[Cell::new(4, 1)] = true;
        board.siphon_center[Cell::new(4, 2)] = true;
        board.data_siphon[Cell::new(0, 0)] = true;
        board.res_credits[Cell::new(0, 0)] = 3;
        board.res_energy[Cell::new(4, 0)] = 1;
        let expected = r"
  +--------+--------+--------+--------+--------+--------+  stage 1/8   turn 0
5 |        |        |        |        |        |        |  score 0
  |[7]+7   |(anti-v)|[?undo] |        |        |EXIT    |  hp 3/3  attack 1
  +--------+--------+--------+--------+--------+--------+  credits 0
4 |        |        |        |        |        |        |  energy 0
  |&1      |.       |o       |        |        |        |  siphons 0
  +--------+--------+--------+--------+--------+--------+  next task turn 12
3 |        |        |        |        |        |        |  3 due
  |        |        |        |        |        |        |  programs
  +--------+--------+--------+--------+--------+--------+    undo    crash
2 |        |C2      |        |        |        |        |    anti-v
  |        |        |        |        |        |        |
  +--------+--------+--------+--------+--------+--------+
1 |        |        |        |C2?^    |        |*D4     |
  |        |        |        |        |        |        |
  +--------+--------+--------+--------+--------+--------+
0 |        |@       |        |V2~     |        |        |
  |S $3    |        |        |        |        |        |
  +--------+--------+--------+--------+--------+--------+
      0        1        2        3        4        5
";
        let shown = lines(&game);
        let (shown, legend) = shown.split_at(shown.len() - LEGEND.len());
        let shown: Vec<&str> = shown.iter().map(|line| line.trim_end()).collect();
        assert_eq!(format!("\n{}\n", shown.join("\n")), expected);
        assert_eq!(legend, LEGEND);
    }
}
