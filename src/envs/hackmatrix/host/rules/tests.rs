//! Worked examples and properties of the rules. Golden records check the rest.

use super::*;
use crate::envs::hackmatrix::host::golden;
use crate::envs::hackmatrix::host::layout::{FIRST_PROGRAM, SIPHON, layout};
use crate::envs::hackmatrix::host::{Enemy, EnemyType, Transmission, block};

const SIPHON_ACTION: i32 = SIPHON as i32;

fn at(row: i32, col: i32) -> Cell {
    Cell::new(row, col)
}

/// An empty board with the exit in the far corner.
fn game(row: i32, col: i32) -> Game {
    Game::empty(at(row, col), at(5, 5))
}

fn add_enemy(game: &mut Game, kind: EnemyType, cell: Cell, hp: i32) {
    game.enemies.push(Enemy {
        kind,
        at: cell,
        hp,
        disabled_turns: 0,
        stunned: false,
        from_siphon: false,
        from_scheduled: false,
        hint: None,
    });
}

fn add_block(game: &mut Game, cell: Cell, points: i32) {
    game.board.block_type[cell] = block::DATA;
    game.board.block_points[cell] = points;
    game.board.block_spawn[cell] = points;
}

/// The action that runs a program, which the game then owns and can pay.
fn program(game: &mut Game, name: &str) -> i32 {
    let program = layout().program_named(name).unwrap();
    if !game.owned.contains(&program) {
        game.owned.push(program);
    }
    game.credits = game.credits.max(layout().programs[program].credits);
    game.energy = game.energy.max(layout().programs[program].energy);
    (FIRST_PROGRAM + program) as i32
}

fn step(game: &Game, action: i32) -> StepResult {
    let result = Rules::default().step(game, action, &mut Seeded::new(0));
    assert!(!result.invalid_action);
    result
}

/// Where the daemons on `cells` are after a program.
fn moved_by(name: &str, player: (i32, i32), cells: &[(i32, i32)]) -> Vec<[i32; 2]> {
    let mut game = game(player.0, player.1);
    cells.iter().for_each(|&(row, col)| add_enemy(&mut game, EnemyType::Daemon, at(row, col), 3));
    let action = program(&mut game, name);
    step(&game, action).state.enemies.iter().map(|enemy| enemy.at.into()).collect()
}

#[test]
fn push_and_pull_resolve_collisions_in_list_order() {
    assert_eq!(moved_by("push", (3, 3), &[(4, 4), (5, 5)]), [[5, 5], [5, 5]]);
    assert_eq!(moved_by("push", (3, 3), &[(5, 4)]), [[5, 5]]);
    assert_eq!(moved_by("pull", (0, 0), &[(2, 1), (2, 0)]), [[1, 0], [2, 0]]);
    assert_eq!(moved_by("pull", (0, 0), &[(2, 0), (2, 1)]), [[1, 0], [2, 1]]);
    assert_eq!(moved_by("pull", (3, 3), &[(4, 4)]), [[3, 4]]);
    assert_eq!(moved_by("pull", (3, 3), &[(3, 4)]), [[3, 4]], "it never pulls onto the player");
}

#[test]
fn poly_keeps_the_damage() {
    let mut game = game(0, 0);
    add_enemy(&mut game, EnemyType::Daemon, at(3, 3), 1);
    add_enemy(&mut game, EnemyType::Daemon, at(3, 4), 2);
    let action = program(&mut game, "poly");
    let result = step(&game, action);
    assert_eq!(result.state.enemies.len(), 1, "two hp lost kill an enemy of two");
    assert_eq!((result.state.enemies[0].hp, result.rewards[3]), (1, 0.3));
}

#[test]
fn a_siphon_collects_from_five_cells() {
    let mut game = game(2, 2);
    game.data_siphons = 1;
    add_block(&mut game, at(3, 2), 5);
    game.board.block_type[at(2, 3)] = block::PROGRAM;
    game.board.block_program[at(2, 3)] = 5;
    game.board.block_spawn[at(2, 3)] = 1;
    game.board.res_credits[at(2, 2)] = 2;
    game.board.res_energy[at(2, 1)] = 1;
    let result = step(&game, SIPHON_ACTION);
    let state = &result.state;
    assert_eq!((state.score, state.credits, state.energy, state.data_siphons), (5, 2, 1, 0));
    assert_eq!((state.scheduled_interval, state.next_scheduled_turn, state.pending_siphon), (11, 17, 0));
    assert_eq!(state.owned, [5]);
    assert_eq!(state.board.siphoned.0.iter().filter(|&&siphoned| siphoned).count(), 5);
    assert!(state.transmissions.iter().all(|new| new.turns == 1 && new.from_siphon));
    assert_eq!(state.transmissions.len(), 6);
    assert!((result.reward() - 2.64).abs() < 1e-5);
}

#[test]
fn siphoned_transmissions_are_idle_enemies_for_a_turn() {
    let mut game = game(2, 2);
    game.data_siphons = 1;
    add_block(&mut game, at(3, 2), 3);
    let state = step(&game, SIPHON_ACTION).state;
    assert_eq!((state.transmissions.len(), state.enemies.len()), (3, 0));
    let mut state = state;
    state.energy = 2;
    let wait = program(&mut state, "wait");
    let next = step(&state, wait).state;
    assert_eq!((next.transmissions.len(), next.enemies.len(), next.hp), (0, 3, 3));
    let arrived: Vec<Cell> = state.transmissions.iter().map(|transmission| transmission.at).collect();
    assert!(next.enemies.iter().map(|enemy| enemy.at).eq(arrived));
}

#[test]
fn step_holds_pending_transmissions_back() {
    let mut game = game(2, 2);
    (game.data_siphons, game.energy) = (1, 4);
    add_block(&mut game, at(3, 2), 4);
    let action = program(&mut game, "step");
    let held = step(&step(&game, action).state, SIPHON_ACTION).state;
    assert_eq!((held.turn, held.pending_siphon, held.transmissions.len(), held.history.len()), (0, 4, 0, 0));
    let released = step(&held, 1).state;
    assert_eq!((released.pending_siphon, released.transmissions.len(), released.history.len()), (0, 4, 1));
}

#[test]
fn undo_goes_back_turn_by_turn() {
    let mut start = game(0, 0);
    start.owned = vec![9, 11];
    start.credits = 6;
    let (undo, siphon_plus) = (14, 16);
    let first = step(&start, 0).state;
    let second = step(&first, 0).state;
    let richer = step(&second, siphon_plus).state;
    assert_eq!((richer.credits, richer.data_siphons), (1, 1));
    let back = step(&richer, undo).state;
    assert_eq!((back.player, back.credits, back.data_siphons), (at(2, 0), 6, 0));
    let back = step(&back, undo).state;
    assert_eq!((back.player, back.turn), (at(1, 0), 1));
    assert!(!action_mask(&back)[undo as usize]);
}

#[test]
fn undo_across_stages_separates_the_two_exits() {
    let mut game = game(5, 3);
    (game.credits, game.owned) = (1, vec![9]);
    let before = step(&game, 3).state;
    let next = step(&before, 3).state;
    assert_eq!((next.stage, next.board.exit_cell[next.exit]), (2, true));
    let back = step(&next, 14).state;
    assert_eq!((back.stage, back.player, back.exit), (2, at(5, 4), next.exit));
    assert!(back.board.exit_cell[at(5, 5)]);
    assert_eq!(step(&back, 3).state.stage, 3);
}

#[test]
fn the_schedule_adds_a_transmission_at_its_turn() {
    let mut state = game(2, 2);
    state.energy = 30;
    let wait = program(&mut state, "wait");
    for turn in 1..=12 {
        state = step(&state, wait).state;
        assert_eq!(state.transmissions.len(), (turn == 12) as usize, "turn {turn}");
    }
    assert_eq!(state.next_scheduled_turn, 24);
    assert!(state.transmissions[0].from_scheduled);
}

#[test]
fn entities_outlive_a_stage() {
    let mut game = game(5, 4);
    add_enemy(&mut game, EnemyType::Virus, at(2, 2), 1);
    game.transmissions.push(Transmission {
        kind: EnemyType::Glitch,
        at: at(3, 3),
        turns: 2,
        from_siphon: true,
        from_scheduled: false,
    });
    let next = step(&game, 3).state;
    assert_eq!((&next.enemies, &next.transmissions[0]), (&game.enemies, &game.transmissions[0]));
    assert_eq!(next.transmissions.len(), 3);
    assert!(!next.board.has_block(at(2, 2)) && !next.board.has_block(at(3, 3)));
}

#[test]
fn a_better_position_to_siphon_is_charged() {
    let missed = |game: &mut Game| {
        game.data_siphons = 1;
        step(game, SIPHON_ACTION).rewards[14]
    };
    let mut same_block = game(2, 1);
    add_block(&mut same_block, at(2, 2), 5);
    same_block.board.res_credits[at(2, 4)] = 10;
    assert!((missed(&mut same_block) + 0.25).abs() < 1e-6);

    let mut only_here = game(2, 2);
    add_block(&mut only_here, at(1, 2), 3);
    add_block(&mut only_here, at(3, 2), 7);
    only_here.board.res_credits[at(0, 1)] = 20;
    assert_eq!(missed(&mut only_here), 0.0);

    let mut used = game(2, 2);
    add_block(&mut used, at(1, 2), 3);
    used.board.siphoned[at(1, 2)] = true;
    assert_eq!(missed(&mut used), 0.0);
}

#[test]
fn rewards_add_up_to_the_worked_totals() {
    let total = |game: &Game, action: i32, expected: f32| {
        let reward = step(game, action).reward();
        assert!((reward - expected).abs() < 2e-4, "expected {expected}, got {reward}");
    };
    total(&game(2, 2), 1, -0.01);
    total(&game(2, 2), 0, 0.04);
    let mut pickup = game(2, 2);
    pickup.board.data_siphon[at(1, 2)] = true;
    total(&pickup, 1, 0.99);
    let mut kill = game(2, 2);
    add_enemy(&mut kill, EnemyType::Daemon, at(0, 2), 1);
    total(&kill, 1, 0.29);
    for (hp, expected) in [(2, 0.49), (1, 1.79)] {
        let mut hurt = game(2, 2);
        hurt.hp = hp;
        let reset = program(&mut hurt, "reset");
        total(&hurt, reset, expected);
    }
    let mut siphon_plus = game(2, 2);
    let action = program(&mut siphon_plus, "siph+");
    total(&siphon_plus, action, -0.26);
    let mut stage = game(5, 4);
    (stage.stage, stage.hp, stage.credits, stage.energy) = (3, 2, 12, 7);
    total(&stage, 3, 5.23);
    let mut victory = game(5, 4);
    (victory.stage, victory.score) = (8, 10);
    total(&victory, 3, 1600.04);
    let mut death = game(2, 2);
    (death.stage, death.hp) = (4, 1);
    add_enemy(&mut death, EnemyType::Daemon, at(2, 1), 3);
    death.enemies[0].from_siphon = true;
    let wait = program(&mut death, "wait");
    // The wait itself costs one energy.
    total(&death, wait, -14.51 - 0.05);
}

#[test]
fn distances_go_around_blocks() {
    let distance = |blocks: &[(i32, i32)], start: Cell, goal: Cell| {
        let mut game = game(0, 0);
        blocks.iter().for_each(|&(row, col)| add_block(&mut game, at(row, col), 1));
        walking_distance(&game.board, start, goal)
    };
    let row = |row: i32, from: i32| -> Vec<(i32, i32)> { (from..6).map(|col| (row, col)).collect() };
    assert_eq!(distance(&[], at(0, 0), at(5, 5)), Some(10));
    assert_eq!(distance(&row(3, 1), at(2, 3), at(4, 3)), Some(8));
    assert_eq!(distance(&row(1, 0), at(0, 0), at(5, 5)), None);
    assert_eq!(distance(&[(2, 2)], at(2, 1), at(2, 2)), Some(1), "the goal is open");
}

#[test]
fn the_mask_tells_which_actions_can_be_done() {
    let (rules, mut dice) = (Rules::default(), Seeded::new(31));
    let mut state = rules.reset(&mut dice);
    (state.owned, state.credits, state.energy) = ((0..23).collect(), 40, 40);
    for _ in 0..300 {
        let mask = action_mask(&state);
        let mut next = None;
        for action in 0..28 {
            let result = rules.step(&state, action, &mut dice);
            assert_eq!(mask[action as usize], !result.invalid_action, "action {action} in {state:?}");
            let step_penalty = if result.invalid_action { 0.0 } else { -0.01 };
            assert_eq!(result.rewards[0], step_penalty);
            if !result.done && dice.below(3) == 0 {
                next = Some(result.state);
            }
        }
        state = next.unwrap_or_else(|| rules.reset(&mut dice));
    }
    assert!(Rules::default().step(&state, 28, &mut dice).invalid_action);
}

#[test]
fn the_oracle_passes_the_golden_records() {
    let records = golden::built_in().unwrap();
    let mut out = Vec::new();
    let report = golden::verify(&records, &mut Oracle::default(), 64, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("3000 passed, 0 failed\n"), "{text}");
    // The rest are orders of many enemies, and spawns in the line of fire, with tiny probabilities.
    assert!(report.outcomes_reached > 6100 && report.outcomes_listed == 6555, "{text}");
}
