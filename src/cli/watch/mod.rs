//! `lockstep watch`: a policy at play, in the terminal.
//!
//! [`session`] plays and keeps what there is to see, a [`Painter`](crate::envs::painter::Painter) turns the state of an environment into a picture, and
//! that is shown on the full [`screen`], or as [`plain`] text where there is none. A [`replay`] is shown in the same way, without game
//! and policy.

mod activations;
mod control;
mod plain;
mod replay;
mod screen;
mod session;

use std::io;

use anyhow::{Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::algorithms::playback::Playback;
use crate::algorithms::policy::Choice;
use crate::config::UsageError;
use crate::output::can_draw;

use super::App;
use super::device::Device;
use super::player::{Player, Request, env_help};
use session::Session;

/// What to watch, and how.
#[derive(Debug, Args)]
struct Watch {
    #[command(flatten)]
    request: Request,
    /// The same as the name "latest"
    #[arg(long)]
    latest: bool,
    /// Episodes to play
    #[arg(long, value_name = "N", default_value_t = 3)]
    episodes: usize,
    /// Speed; 1 is the environment's own pace
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
    /// Seed of all random numbers; `eval` with it plays the same episodes
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Steps after which an episode is cut off
    #[arg(long, value_name = "N", default_value_t = 500)]
    max_steps: usize,
    /// Draw actions with their probabilities instead of taking the most probable one
    #[arg(long)]
    stochastic: bool,
    #[command(flatten)]
    device: Device,
}

pub fn command(env: &str) -> Command {
    let command = Watch::augment_args(Command::new("watch")).mut_arg("env", |arg| arg.help(env_help(env)));
    // `--latest` stands for the name.
    let command =
        command.mut_arg("params", |arg| arg.required(false).default_value_if("latest", "true", "latest"));
    let command =
        command.mut_arg("params", |arg| arg.required_unless_present("latest").conflicts_with("latest"));
    command.about("Watch a policy play, or a recorded episode, in the terminal").after_help(
        "RUN may also be a replay (RUN/replays/NAME.jsonl.gz), a recorded episode of a run with --replays-per-window. Keys: space \
         pauses, n or the right arrow does one step, + and - change the speed, s changes between the most probable actions and drawn \
         ones, a shows what the layers of the network make of what is seen (again: from the next layer on, and in the end the \
         board), q quits; in a replay b or the left arrow goes one \
         step back, and 0 to 9 go to that tenth of it. Where the output is no terminal, every step is a block of plain text.",
    )
}

/// Plays and shows.
///
/// # Errors
/// One line; a [`UsageError`] if the numbers make no sense.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let watch = Watch::from_arg_matches(matches)?;
    watch.check().map_err(|error| UsageError(error.to_string()))?;
    if let Some(file) = replay::named(&watch.request) {
        return replay::run(&file, watch.speed);
    }
    let player = watch.player(app)?;
    let env = player.env.build();
    let (client, stage) = watch.device.open(&format!("tracing {}", player.env.name))?;
    let on_screen = can_draw(&io::stdout());
    let playback = match on_screen {
        true => Playback::in_depth(&client, &*env, &player.policy),
        false => Playback::new(&client, &*env, &player.policy),
    }?;
    let mut session = Session::new(playback, &player.env, watch.seed, watch.episodes, watch.max_steps)?;
    let painter = player.env.painter();
    drop(stage);
    if on_screen {
        screen::run(&mut session, &*painter, watch.speed)?;
        super::print(&plain::summary(&session))
    } else {
        plain::run(&mut session, &*painter)
    }
}

impl Watch {
    fn check(&self) -> Result<()> {
        ensure!(
            (1..=1_000_000).contains(&self.episodes),
            "episodes is {}; it must be from 1 to 1000000",
            self.episodes
        );
        ensure!(
            (1..=1 << 24).contains(&self.max_steps),
            "max_steps is {}; it must be from 1 to {}",
            self.max_steps,
            1 << 24
        );
        ensure!(
            (0.01..=1000.0).contains(&self.speed),
            "speed is {}; it must be from 0.01 to 1000",
            self.speed
        );
        Ok(())
    }

    fn player(&self, app: &App) -> Result<Player> {
        let choice = if self.stochastic { Choice::Sample } else { Choice::Greedy };
        Player::named(app, &self.request.params, &self.request.place, choice)
    }
}
