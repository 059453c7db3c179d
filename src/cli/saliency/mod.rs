//! `lockstep saliency`: pictures of what a trained policy looks at, for environments whose observations are images.

mod draw;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::algorithms::attribution::{Attribution, Attributor, POINTS, plain};
use crate::algorithms::playback::{Moment, Playback};
use crate::algorithms::policy::{Choice, Policy};
use crate::config::UsageError;
use crate::output::tell;
use crate::runtime::Client;

use super::App;
use super::device::Device;
use super::player::{Origin, Player, Request, env_help};
use draw::{Images, Row};

/// Whom to explain, in what it sees, and where the pictures go.
#[derive(Debug, Args)]
struct Saliency {
    #[command(flatten)]
    request: Request,
    /// Another policy of the same environment, explained beside the first one in what that sees
    #[arg(long, value_name = "RUN")]
    compare: Option<String>,
    /// Directory of the pictures
    #[arg(short, long, value_name = "DIR", default_value = "saliency")]
    output: PathBuf,
    /// Pictures to draw
    #[arg(long, value_name = "N", default_value_t = 5)]
    samples: usize,
    /// Steps from one picture to the next
    #[arg(long, value_name = "N", default_value_t = 10)]
    steps: usize,
    /// Seed of the episodes; `watch` with it plays the same ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: Device,
}

pub fn command(env: &str) -> Command {
    let command =
        Saliency::augment_args(Command::new("saliency")).mut_arg("env", |arg| arg.help(env_help(env)));
    command.about("Draw which parts of an observation a policy's action hangs on").after_help(format!(
        "A picture has what is seen, the gradient of the chosen action's logit (red above 0, blue below), and integrated gradients \
         over {POINTS} points from an observation of zeros, which sum to the difference of both logits. Observations must be images, \
         of 2 or 3 axes."
    ))
}

/// Plays, explains and draws.
///
/// # Errors
/// One line; a [`UsageError`] if there is nothing to draw.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let saliency = Saliency::from_arg_matches(matches)?;
    saliency.check().map_err(|error| UsageError(error.to_string()))?;
    let player = Player::named(app, &saliency.request.params, &saliency.request.place, Choice::Greedy)?;
    let others = saliency.compare.iter().map(|name| {
        let other = Player::named(app, name, &saliency.request.place, Choice::Greedy)?;
        let (one, two) = (player.env.name, other.env.name);
        ensure!(one == two, UsageError(format!("{name} plays {two}, not {one}; both must see the same")));
        Ok(other)
    });
    let others = others.collect::<Result<Vec<_>>>()?;
    let images = Images::of(&player.env.spec()).ok_or_else(|| {
        let shape = player.env.spec().obs_shape;
        UsageError(format!(
            "the observations of {} have the shape {shape:?} and are no images",
            player.env.name
        ))
    })?;
    let (client, stage) = saliency.device.open(&format!("tracing {}", player.env.name))?;
    let explain = |player: &Player| Explainer::new(app, &client, player);
    let explainers = std::iter::once(&player).chain(&others).map(explain).collect::<Result<Vec<_>>>()?;
    let playback = Playback::new(&client, &*player.env.build(), &player.policy)?;
    drop(stage);
    fs::create_dir_all(&saliency.output)
        .with_context(|| format!("cannot make the directory {}", saliency.output.display()))?;
    for (number, moment) in saliency.moments(playback)?.iter().enumerate() {
        let file = saliency.output.join(format!("saliency_{}.png", number + 1));
        saliency.draw(&player, &explainers, &images, moment, &file)?;
    }
    tell(&format!("drew {} pictures into {}", saliency.samples, saliency.output.display()));
    Ok(())
}

/// A policy that explains itself.
struct Explainer {
    name: String,
    attributor: Attributor,
}

impl Explainer {
    fn new(app: &App, client: &Client, player: &Player) -> Result<Explainer> {
        let name = player.name();
        let Origin::Params(file) = &player.origin else {
            bail!(UsageError(format!("{name} is no network; saliency explains what was trained")));
        };
        let spec = plain(&player.env.spec());
        let policy: Policy = Player::policy_of(app, file, &player.env, &spec)?;
        let attributor =
            Attributor::new(client, &spec, &policy).with_context(|| format!("cannot explain {name}"))?;
        Ok(Explainer { name, attributor })
    }
}

impl Saliency {
    fn check(&self) -> Result<()> {
        for (name, value) in [("samples", self.samples), ("steps", self.steps)] {
            ensure!((1..=10_000).contains(&value), "{name} is {value}; it must be from 1 to 10000");
        }
        Ok(())
    }

    /// What is seen every so many steps of episodes that follow each other.
    fn moments(&self, mut playback: Playback) -> Result<Vec<Moment>> {
        let mut episode = 0;
        let mut moment = playback.begin(self.seed, episode)?;
        let mut moments = Vec::new();
        loop {
            moments.push(moment);
            if moments.len() == self.samples {
                return Ok(moments);
            }
            moment = self.move_on(&mut playback, &mut episode)?;
        }
    }

    /// So many steps on, in the next episode where one ends.
    fn move_on(&self, playback: &mut Playback, episode: &mut usize) -> Result<Moment> {
        let mut last = None;
        for _ in 0..self.steps {
            let (outcome, mut moment) = playback.step()?;
            if outcome.terminated || outcome.truncated {
                *episode += 1;
                moment = playback.begin(self.seed, *episode)?;
            }
            last = Some(moment);
        }
        Ok(last.expect("at least one step"))
    }

    /// Explains one moment, says how, and draws it.
    fn draw(
        &self,
        player: &Player,
        explainers: &[Explainer],
        images: &Images,
        moment: &Moment,
        file: &Path,
    ) -> Result<()> {
        let description = player.env.description();
        let mask = moment.mask.clone().unwrap_or_else(|| vec![true; moment.probs.len()]);
        let mut rows = Vec::new();
        for Explainer { name, attributor } in explainers {
            let attribution = attributor.explain(&moment.obs, &mask)?;
            let Attribution { action, logit, baseline_logit, .. } = attribution;
            let action = description.action(action);
            let says = format!("{action}: logit {logit:.3}, of zeros {baseline_logit:.3}");
            let error = 100.0 * attribution.error();
            super::print_line(format!(
                "{}: {name}: {says}; integrated gradients miss the difference by {error:.2} % of their size",
                file.display()
            ))?;
            rows.push(Row { title: format!("{name}: {says}"), attribution });
        }
        let png = images.picture(&moment.obs, &rows).to_png()?;
        fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }
}
