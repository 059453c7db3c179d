//! The statistics of a new game and of a board.

use super::estimate::Unit;
use crate::envs::hackmatrix::host::layout::layout;
use crate::envs::hackmatrix::host::rules::walking_distance;
use crate::envs::hackmatrix::host::{Cell, EnemyType, Game, SIDE, block};

fn cell_name(cell: &Cell) -> String {
    format!("({}, {})", cell.row, cell.col)
}

const KINDS: [&str; 4] = ["none", "data", "program", "question"];
pub(super) const DIGITS: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];

/// A new game and the number of its valid actions.
pub(super) fn describe_reset(unit: &mut Unit, game: &Game, valid_actions: usize) {
    describe_board(unit, "reset", game);
    let corners: Vec<String> = Cell::CORNERS.iter().map(cell_name).collect();
    let corners: Vec<&str> = corners.iter().map(String::as_str).collect();
    unit.share("reset/start_corner", &corners, &cell_name(&game.player));
    unit.share("reset/exit_corner", &corners, &cell_name(&game.exit));
    let bonuses = ["credits 10", "energy 11", "data_siphons 1"];
    let given = [game.credits == 10, game.energy == 11, game.data_siphons == 1];
    let bonus = given.iter().position(|&given| given).map_or("none", |index| bonuses[index]);
    unit.share("reset/start_bonus", &bonuses, bonus);
    for cell in Cell::all() {
        let path = format!("reset/block_on_cell_given_exit/{}/{}", cell_name(&game.exit), cell_name(&cell));
        unit.mean(path, game.board.has_block(cell) as i32 as f64);
    }
    unit.mean("reset/valid_actions".into(), valid_actions as f64);
}

/// What new games and later stages have in common: exit, blocks, resources, transmissions.
pub(super) fn describe_board(unit: &mut Unit, group: &str, game: &Game) {
    let board = &game.board;
    let path = |name: &str| format!("{group}/{name}");
    let exit = match (game.exit.row == game.player.row, game.exit.col == game.player.col) {
        (true, _) => "same_row",
        (_, true) => "same_col",
        _ => "opposite",
    };
    unit.share(&path("exit_relative_to_player"), &["opposite", "same_row", "same_col"], exit);
    let distance = walking_distance(board, game.player, game.exit).unwrap_or(0);
    unit.mean(path("walking_distance_to_exit"), distance as f64);

    let mut counts = [0, 0];
    for cell in Cell::all() {
        if board.has_block(cell) {
            counts[0] += 1;
            describe_block(unit, group, game, cell);
        }
        let amount = board.res_credits[cell] + board.res_energy[cell];
        if amount > 0 {
            counts[1] += 1;
            unit.share(&path("resource_amount"), &DIGITS[1..=3], &amount.to_string());
            let kind = if board.res_credits[cell] > 0 { "credits" } else { "energy" };
            unit.share(&path("resource_kind"), &["credits", "energy"], kind);
        }
    }
    unit.share(&path("block_count"), &DIGITS, &counts[0].to_string());
    unit.mean(path("resource_cells"), counts[1] as f64);
    unit.mean(path("transmissions"), game.transmissions.len() as f64);
    game.transmissions.iter().for_each(|new| describe_spawn(unit, group, game, new.at, new.kind));
}

fn describe_block(unit: &mut Unit, group: &str, game: &Game, cell: Cell) {
    let board = &game.board;
    let path = |name: &str| format!("{group}/{name}");
    let kind = board.block_type[cell];
    unit.share(&path("block_kind"), &KINDS[1..], KINDS[kind as usize]);
    unit.mean(path("block_spawn_mean"), board.block_spawn[cell] as f64);
    let data = board.holds_data(cell);
    if kind == block::QUESTION {
        unit.mean(path("question_hides_data/1"), data as i32 as f64);
    }
    if data {
        unit.share(&path("data_points"), &DIGITS[1..=9], &board.block_points[cell].to_string());
    } else {
        let names: Vec<&str> = layout().programs.iter().map(|program| program.raw.as_str()).collect();
        unit.share(&path("program"), &names, names[board.block_program[cell] as usize]);
    }
}

fn describe_spawn(unit: &mut Unit, group: &str, game: &Game, at: Cell, kind: EnemyType) {
    let path = |name: &str| format!("{group}/{name}");
    let on_edge = |coordinate: i32| coordinate == 0 || coordinate == SIDE - 1;
    let class = match (on_edge(at.row), on_edge(at.col)) {
        (true, true) => "corner",
        (false, false) => "interior",
        _ => "edge",
    };
    unit.share(&path("spawn_cell_class"), &["interior", "edge", "corner"], class);
    let content = match (game.board.exit_cell[at], game.board.data_siphon[at]) {
        (true, _) => "exit",
        (_, true) => "pickup",
        _ => "other",
    };
    unit.share(&path("spawn_content"), &["exit", "pickup", "other"], content);
    unit.mean(path("spawn_in_player_row_or_col"), at.in_line_with(game.player) as i32 as f64);
    unit.mean(path("spawn_distance_to_player"), at.distance(game.player) as f64);
    unit.share(&path("spawn_type"), &EnemyType::ALL.map(EnemyType::name), kind.name());
}
