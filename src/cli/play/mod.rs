//! `lockstep play`: a person against an agent, in a game for two.
//!
//! [`game`] holds the game and its moves. It is shown on the full [`screen`] where there is a terminal with a keyboard; elsewhere
//! moves are read from the lines of stdin and the board is [`plain`] text.

pub mod game;
mod plain;
mod screen;

use std::io::{self, IsTerminal};

use anyhow::{Result, bail};
use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::algorithms::playback::Playback;
use crate::algorithms::policy::Choice;
use crate::config::UsageError;
use crate::output::can_draw;

use super::App;
use super::device::Device;
use super::player::{Place, Player, RANDOM};
use game::Game;

/// Who plays what.
#[derive(Debug, Args)]
struct Play {
    #[command(flatten)]
    place: Place,
    /// The opponent: the name of a scripted player (`envs NAME` lists them), "random", or whatever has parameters (a run, a
    /// checkpoint, a file) [default: the strongest scripted player]
    #[arg(value_name = "PLAYER", index = 2)]
    player: Option<String>,
    /// Let the opponent begin
    #[arg(long)]
    second: bool,
    /// Let the opponent draw its actions with their probabilities instead of taking the most probable one
    #[arg(long)]
    stochastic: bool,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: Device,
}

pub fn command() -> Command {
    let command = Play::augment_args(Command::new("play"));
    let command = command.mut_arg("env", |arg| {
        arg.long(Resettable::Reset).index(1).required(true).help("Environment: a game for two players")
    });
    command.about("Play a game for two against an agent").after_help(
        "Keys: arrows choose a move and enter plays it, v shows what the agent thinks of the moves, u takes a move back, n begins a new game, \
         q quits. Where there is no terminal, each line of stdin is a move (its number or its name), or values, undo, new \
         or quit.",
    )
}

/// Plays until the person leaves.
///
/// # Errors
/// One line; a [`UsageError`] if the environment is no game for two.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let play = Play::from_arg_matches(matches)?;
    let env = app.catalog().env(play.place.env.as_deref().expect("it is required"))?;
    let players = env.spec().players;
    if players != 2 {
        let count = if players == 1 { "one player".to_owned() } else { format!("{players} players") };
        bail!(UsageError(format!("{} is for {count}; a person plays games for two; see `watch`", env.name)));
    }
    let choice = if play.stochastic { Choice::Sample } else { Choice::Greedy };
    let strongest = env.build().players().last().map_or(RANDOM, |player| player.name);
    let player = Player::named(app, play.player.as_deref().unwrap_or(strongest), &play.place, choice)?;
    let env = player.env; // with what is chosen of it
    let (client, stage) = play.device.open(&format!("tracing {}", env.name))?;
    let person = usize::from(play.second);
    let playback = Playback::new(&client, &*env.build(), &player.policy)?;
    let mut game = Game::new(playback, &env, player.name(), person, play.seed)?;
    let painter = env.painter();
    drop(stage);
    match can_draw(&io::stdout()) && io::stdin().is_terminal() {
        true => screen::run(&mut game, &*painter),
        false => plain::run(&mut game, &*painter, io::stdin().lock()),
    }
}
