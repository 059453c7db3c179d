//! Replies: what a game looks like to a client.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::envs::hackmatrix::host::layout::{FIRST_PROGRAM, layout};
use crate::envs::hackmatrix::host::{Board, Cell, Enemy, Game, SIDE, StepResult, block};

/// The observation: all that the player can see.
pub(super) fn observation(game: &Game) -> Value {
    let cells: Vec<Vec<CellReply>> =
        (0..SIDE).map(|row| (0..SIDE).map(|col| cell_reply(game, Cell::new(row, col))).collect()).collect();
    json!({
        "playerRow": game.player.row,
        "playerCol": game.player.col,
        "playerHP": game.hp,
        "credits": game.credits,
        "energy": game.energy,
        "stage": game.stage,
        "turn": game.turn,
        "dataSiphons": game.data_siphons,
        "baseAttack": game.attack,
        "score": game.score,
        "showActivated": game.show,
        "scheduledTasksDisabled": game.scheduled_disabled,
        "ownedPrograms": game.owned.iter().map(|program| program + FIRST_PROGRAM).collect::<Vec<_>>(),
        "cells": cells,
        "cryptogHints": cryptog_hints(game),
    })
}

/// Where hidden cryptogs were last seen, in the order of the cells they really stand on.
fn cryptog_hints(game: &Game) -> Vec<Value> {
    let first = |cell| game.enemies.iter().find(|enemy| enemy.at == cell && enemy.hp > 0);
    let hidden = Cell::all().filter_map(first).filter(|enemy| game.is_hidden(enemy));
    hidden.filter_map(|enemy| enemy.hint).map(|hint| json!({ "row": hint.row, "col": hint.col })).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CellReply {
    row: i32,
    col: i32,
    is_data_siphon: bool,
    is_exit: bool,
    siphon_center: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    enemy: Option<EnemyReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<BlockReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transmission: Option<TransmissionReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    energy: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnemyReply {
    #[serde(rename = "type")]
    kind: &'static str,
    hp: i32,
    is_stunned: bool,
    spawned_from_siphon: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockReply {
    block_type: &'static str,
    is_siphoned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    program_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    program_action_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transmission_spawn_count: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransmissionReply {
    turns_until_spawn: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    enemy_type: Option<&'static str>,
}

fn cell_reply(game: &Game, cell: Cell) -> CellReply {
    let board = &game.board;
    let visible = |amount: i32| Some(amount).filter(|&amount| amount != 0 && board.resource_visible(cell));
    CellReply {
        row: cell.row,
        col: cell.col,
        is_data_siphon: board.data_siphon[cell],
        is_exit: board.exit_cell[cell],
        siphon_center: board.siphon_center[cell],
        enemy: game.visible_enemy(cell).map(enemy_reply),
        block: block_reply(board, cell),
        transmission: game.transmission_at(cell).map(|transmission| TransmissionReply {
            turns_until_spawn: transmission.turns,
            enemy_type: game.show.then(|| transmission.kind.name()),
        }),
        credits: visible(board.res_credits[cell]),
        energy: visible(board.res_energy[cell]),
    }
}

fn enemy_reply(enemy: &Enemy) -> EnemyReply {
    EnemyReply {
        kind: enemy.kind.name(),
        hp: enemy.hp,
        is_stunned: enemy.stunned,
        spawned_from_siphon: enemy.from_siphon,
    }
}

fn block_reply(board: &Board, cell: Cell) -> Option<BlockReply> {
    let program = board.block_program[cell] as usize;
    let hidden = BlockReply {
        block_type: "question",
        is_siphoned: board.siphoned[cell],
        points: None,
        program_type: None,
        program_action_index: None,
        transmission_spawn_count: None,
    };
    let open = BlockReply {
        points: Some(board.block_points[cell]),
        transmission_spawn_count: Some(board.block_spawn[cell]),
        ..hidden
    };
    match board.block_type[cell] {
        block::NONE => None,
        block::DATA => Some(BlockReply { block_type: "data", ..open }),
        block::PROGRAM => Some(BlockReply {
            block_type: "program",
            program_type: Some(&layout().programs[program].raw),
            program_action_index: Some(program + FIRST_PROGRAM),
            ..open
        }),
        _ => Some(BlockReply { points: None, transmission_spawn_count: None, ..open }),
    }
}

/// The reply to a step.
pub(super) fn step(result: &StepResult) -> Value {
    let mut info = Map::new();
    let death = !result.invalid_action && result.hp == 0;
    for (name, applies) in [
        ("invalid_action", result.invalid_action),
        ("stage_complete", result.stage_complete),
        ("death", death),
    ] {
        if applies {
            info.insert(name.into(), true.into());
        }
    }
    let parts = layout().rewards.iter().zip(result.rewards);
    let breakdown: Map<String, Value> = parts.map(|(part, paid)| (part.key.clone(), paid.into())).collect();
    info.insert("reward_breakdown".into(), breakdown.into());
    json!({
        "observation": observation(&result.state),
        "reward": result.reward(),
        "done": result.done,
        "info": info,
    })
}

/// What a client can ask for although the player cannot see it; zeros before there is a game.
pub(super) fn internal_state(game: Option<&Game>) -> Value {
    let number = |read: fn(&Game) -> i32| game.map_or(0, read);
    let enemies = game.map_or(&[][..], |game| &game.enemies);
    json!({
        "scheduledTaskInterval": number(|game| game.scheduled_interval),
        "nextScheduledTaskTurn": number(|game| game.next_scheduled_turn),
        "pendingSiphonTransmissions": number(|game| game.pending_siphon),
        "turnCount": number(|game| game.turn),
        "enemies": enemies.iter().map(internal_enemy).collect::<Vec<_>>(),
    })
}

fn internal_enemy(enemy: &Enemy) -> Value {
    json!({
        "row": enemy.at.row,
        "col": enemy.at.col,
        "type": enemy.kind.name(),
        "hp": enemy.hp,
        "disabledTurns": enemy.disabled_turns,
        "isStunned": enemy.stunned,
        "spawnedFromSiphon": enemy.from_siphon,
        "isFromScheduledTask": enemy.from_scheduled,
    })
}
