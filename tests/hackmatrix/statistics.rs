//! What the traced game draws at random, against the recorded statistics, with fixed keys: nothing may be more than
//! four standard errors away.

use lockstep::envs::Env;
use lockstep::envs::hackmatrix::host::golden::Player;
use lockstep::envs::hackmatrix::host::rules::{Dice, Seeded};
use lockstep::envs::hackmatrix::host::stats::{Episode, Statistics, before_stage};
use lockstep::envs::hackmatrix::host::{Cell, Game};
use lockstep::envs::hackmatrix::{CompiledPlayer, Converter, HackMatrix};
use lockstep::lang::{Key, trace, vmap_last};

use crate::common::{client, run_on_device};

/// New games.
fn reset(count: usize, seed: u64) -> Vec<Game> {
    let traced = trace(&(), |()| {
        let params = HackMatrix::default().default_params();
        vmap_last(Key::new(seed).split_last(count), |key| HackMatrix::default().reset(&params, key))
    });
    let arrays = run_on_device(&traced.graph, &[]);
    Converter::new().from_arrays(traced.output_names.into_iter().zip(arrays).collect())
}

#[track_caller]
fn assert_as_recorded(statistics: &Statistics) {
    let deviations: Vec<String> = statistics.compare(4.0).iter().map(|d| d.to_string()).collect();
    assert!(deviations.is_empty(), "{}", deviations.join("\n"));
}

#[test]
fn new_games_are_distributed_as_recorded() {
    let games = reset(2000, 21);
    let mut player = CompiledPlayer::new(1000, &client().into()).unwrap();
    let mut statistics = Statistics::default();
    for (game, (_, mask)) in games.iter().zip(player.observe(&games).unwrap()) {
        statistics.add_reset(game, mask.iter().filter(|&&valid| valid).count());
    }
    assert_as_recorded(&statistics);
}

#[test]
fn new_stages_are_distributed_as_recorded() {
    let mut player = CompiledPlayer::new(1000, &client().into()).unwrap();
    let mut statistics = Statistics::default();
    for stage in 2..=8 {
        let corners = Cell::CORNERS.iter().cycle().take(400);
        let (games, actions): (Vec<Game>, Vec<i32>) =
            corners.map(|&corner| before_stage(stage, corner)).unzip();
        for result in player.step(&games, &actions, stage as u64).unwrap() {
            assert!(result.stage_complete && result.stage == stage);
            statistics.add_stage(&result.state);
        }
    }
    assert_as_recorded(&statistics);
}

#[test]
fn random_episodes_are_distributed_as_recorded() {
    const EPISODES: usize = 200;
    let mut player = CompiledPlayer::new(EPISODES, &client().into()).unwrap();
    let mut dice = Seeded::new(22);
    let mut statistics = Statistics::default();
    let mut running: Vec<(Game, Episode)> =
        reset(EPISODES, 23).into_iter().map(|game| (game, Episode::default())).collect();
    for step in 0.. {
        let games: Vec<Game> = running.iter().map(|(game, _)| game.clone()).collect();
        let views = player.observe(&games).unwrap();
        let choose = |(_, mask): &(Vec<f32>, [bool; 28])| {
            let valid: Vec<i32> = (0..28).filter(|&action| mask[action as usize]).collect();
            valid[dice.below(valid.len())]
        };
        let actions: Vec<i32> = views.iter().map(choose).collect();
        let results = player.step(&games, &actions, step).unwrap();
        let mut next = Vec::new();
        for (((game, mut episode), (obs, mask)), (action, result)) in
            running.into_iter().zip(views).zip(actions.into_iter().zip(results))
        {
            episode.add_step(&game, &obs, &mask, action as usize, &result);
            match result.done {
                true => statistics.add_episode(&episode),
                false => next.push((result.state, episode)),
            }
        }
        if next.is_empty() {
            break;
        }
        running = next;
    }
    assert_as_recorded(&statistics);
}
