//! A game as text, for `watch` and for logs: the board with row 5 on top, and a panel beside it.
//!
//! Plain ASCII lines that fit into 80 x 24. The top line of a cell shows who is there, the bottom line
//! what is there; [`LEGEND`] explains the signs. It shows the game, not what the player knows: a hidden
//! cryptog and the content of a question block appear with a question mark.

use super::game::{Board, Cell, EnemyType, Game, SIDE, block};
use super::layout::layout;

/// Columns inside a cell.
const WIDTH: usize = 8;
/// Lines between the rows of the board.
const RULE: &str = "  +--------+--------+--------+--------+--------+--------+";

/// The signs of the board.
pub const LEGEND: [&str; 2] = [
    "@ you  V2 D3 G2 C2 enemy, hp (? unseen ~ stunned ^ siphon)  *V1 arrives in 1",
    "[5] [push] block  (5) siphoned  +spawn  $ credits  & energy  S pickup  o . used",
];

/// The lines of the board, the panel, and the legend.
pub fn lines(game: &Game) -> Vec<String> {
    let mut lines = board(game);
    let panel = panel(game);
    let rows = lines.len().max(panel.len());
    lines.resize(rows, " ".repeat(RULE.len()));
    for (line, beside) in lines.iter_mut().zip(panel) {
        *line = format!("{line}  {beside}").trim_end().to_string();
    }
    lines.extend(LEGEND.map(String::from));
    lines
}

fn board(game: &Game) -> Vec<String> {
    let mut lines = vec![RULE.to_string()];
    for row in (0..SIDE).rev() {
        let cells: Vec<Cell> = (0..SIDE).map(|col| Cell::new(row, col)).collect();
        let join = |label: String, parts: Vec<String>| format!("{label} |{}|", parts.join("|"));
        lines.push(join(row.to_string(), cells.iter().map(|&cell| who(game, cell)).collect()));
        lines.push(join(" ".into(), cells.iter().map(|&cell| what(&game.board, cell)).collect()));
        lines.push(RULE.to_string());
    }
    let columns: Vec<String> = (0..SIDE).map(|col| format!("{col:^WIDTH$}")).collect();
    lines.push(format!("   {}", columns.join(" ")));
    lines
}

/// Pads or cuts to the width of a cell.
fn fit(text: &str) -> String {
    format!("{text:WIDTH$.WIDTH$}")
}

/// The player, enemies and transmissions of a cell.
fn who(game: &Game, cell: Cell) -> String {
    let mut text = String::new();
    if game.player == cell {
        text.push('@');
    }
    for enemy in game.enemies.iter().filter(|enemy| enemy.at == cell) {
        let mark = |applies: bool, sign: &'static str| if applies { sign } else { "" };
        text += &format!(
            "{}{}{}{}{}",
            letter(enemy.kind),
            enemy.hp,
            mark(game.is_hidden(enemy), "?"),
            mark(enemy.stunned, "~"),
            mark(enemy.from_siphon, "^"),
        );
    }
    for transmission in game.transmissions.iter().filter(|transmission| transmission.at == cell) {
        text += &format!("*{}{}", letter(transmission.kind), transmission.turns);
    }
    fit(&text)
}

fn letter(kind: EnemyType) -> char {
    ['V', 'D', 'G', 'C'][kind as usize]
}

/// The block, exit, pickup and resources of a cell.
fn what(board: &Board, cell: Cell) -> String {
    if board.has_block(cell) {
        return fit(&block_text(board, cell));
    }
    let mut parts = Vec::new();
    if board.exit_cell[cell] {
        parts.push("EXIT".to_string());
    }
    if board.data_siphon[cell] {
        parts.push("S".to_string());
    }
    if board.res_credits[cell] > 0 {
        parts.push(format!("${}", board.res_credits[cell]));
    }
    if board.res_energy[cell] > 0 {
        parts.push(format!("&{}", board.res_energy[cell]));
    }
    if board.siphon_center[cell] {
        parts.push("o".to_string());
    } else if board.siphoned[cell] {
        parts.push(".".to_string());
    }
    fit(&parts.join(" "))
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

fn panel(game: &Game) -> Vec<String> {
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
