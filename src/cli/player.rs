//! From what the command line names to an environment and a policy: what all commands share that let somebody play.
//!
//! A name is that of a player which the environment brings, `random`, or whatever has parameters.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::algorithms::policy::{Choice, Metadata, Policy};
use crate::algorithms::{self, NamedArrays, scripted};
use crate::config::UsageError;
use crate::envs::{self, Entry, EnvSpec};
use crate::output::tell;
use crate::trainer::{ENV_SET, find, load_params, status};

use super::App;

/// Who is to play, and where.
#[derive(Debug, Args)]
pub struct Request {
    /// What to take the parameters from: a run's name, its directory, "latest", a checkpoint or a file of parameters; or
    /// "random" for uniformly random valid actions, or another player that the environment brings (`envs NAME` lists them)
    #[arg(value_name = "RUN")]
    pub params: String,
    #[command(flatten)]
    pub place: Place,
}

/// Where players are looked for, and where they play.
#[derive(Debug, Args)]
pub struct Place {
    /// Directory that holds the run directories
    #[arg(
        long,
        value_name = "DIR",
        default_value = "checkpoints",
        env = "LOCKSTEP_CHECKPOINT_DIR",
        hide_env = true
    )]
    pub checkpoint_dir: PathBuf,
    /// Environment
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Parameters, switches and sizes of the environment other than by default, such as time_max=500 or rows=5 [default: those of the training]
    #[arg(long, value_name = "NAME=VALUE,..", value_delimiter = ',')]
    pub env_set: Vec<String>,
}

/// The player that every environment has.
pub const RANDOM: &str = "random";

/// A policy, and the environment it plays in.
pub struct Player {
    pub env: Entry,
    pub policy: Policy,
    pub origin: Origin,
    /// What the file of the parameters says of itself; nothing of other players.
    pub metadata: Metadata,
}

/// What a player is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Uniformly random valid actions.
    Random,
    /// A script of the environment, by name.
    Script(&'static str),
    /// What was trained, by its file of parameters.
    Params(PathBuf),
}

impl Player {
    /// The policy that chooses at random.
    pub fn random(env: Entry) -> Player {
        Player { env, policy: Policy::random(&env.spec()), origin: Origin::Random, metadata: Metadata::new() }
    }

    /// What the user names: `random`, a scripted player, or what [`find::params`] knows.
    ///
    /// # Errors
    /// As [`Player::load`]; nothing of that name.
    pub fn named(app: &App, name: &str, place: &Place, choice: Choice) -> Result<Player> {
        let env = place.env.as_deref().map(|name| app.catalog().env(name)).transpose()?; // a misspelt name is told first
        let chosen = |env: Entry| env.with(&place.env_set).map_err(UsageError);
        if name == RANDOM {
            let env = env.map_or_else(|| app.catalog().env(app.catalog().default_env()), Ok)?;
            return Ok(Player::random(chosen(env)?));
        }
        let envs = env.map_or(app.entries().to_vec(), |env| vec![env]);
        let scripts = scripts(&envs);
        if let Some(player) = Player::script(name, &scripts)? {
            let env = chosen(player.env)?;
            return Ok(player.moved(env));
        }
        let known: Vec<String> =
            scripts.iter().map(|(_, player)| player.name).chain([RANDOM]).map(str::to_owned).collect();
        let file = find::params(name, &place.checkpoint_dir, &known)?;
        if file != Path::new(name) {
            tell(&format!("the parameters are those in {}", file.display()));
        }
        Player::load(app, &file, place, choice)
    }

    /// A player that needs no parameters: `random`, or one that this environment brings.
    pub fn without_params(env: Entry, name: &str) -> Option<Player> {
        if name == RANDOM {
            return Some(Player::random(env));
        }
        Player::script(name, &scripts(&[env])).expect("there is one environment")
    }

    /// The same player in another make of its environment, which what was trained must fit.
    pub fn moved(self, env: Entry) -> Player {
        let policy = match self.origin {
            Origin::Random => Policy::random(&env.spec()),
            Origin::Script(name) => {
                let own = env.build().players().into_iter().find(|player| player.name == name);
                scripted::policy(own.expect("every make of an environment has its players"), &env.spec())
            }
            Origin::Params(_) => self.policy,
        };
        Player { env, policy, ..self }
    }

    /// The scripted player of that name, if there is one.
    ///
    /// # Errors
    /// One line: several environments have one.
    fn script(name: &str, scripts: &[(Entry, envs::Player)]) -> Result<Option<Player>> {
        let found: Vec<_> = scripts.iter().filter(|(_, player)| player.name == name).collect();
        match found[..] {
            [] => Ok(None),
            [(env, player)] => Ok(Some(Player {
                env: *env,
                policy: scripted::policy(player.clone(), &env.spec()),
                origin: Origin::Script(player.name),
                metadata: Metadata::new(),
            })),
            _ => {
                let names: Vec<&str> = found.iter().map(|(env, _)| env.name).collect();
                bail!(UsageError(format!("{name} plays in {}; add --env NAME", names.join(" and "))))
            }
        }
    }

    /// The policy in a file of parameters. The file says its environment; `place` is what the user says of it.
    ///
    /// # Errors
    /// One line: an unreadable file, or parameters of another environment or network.
    pub fn load(app: &App, path: &Path, place: &Place, choice: Choice) -> Result<Player> {
        let env = place.env.as_deref().map(|name| app.catalog().env(name)).transpose()?;
        let (params, metadata) = load_params(path)?;
        let (file, catalog) = (path.display(), app.catalog());
        let program = metadata.get(status::PROGRAM).map_or("that made it", String::as_str);
        let instead = format!("run that program instead of {}", app.name());
        let env = match (metadata.get("env"), env) {
            (Some(trained), Some(env)) if trained != env.name && !are_native([trained, env.name]) => bail!(
                "{file} was trained on {trained}, not on {}; leave out --env or choose another file",
                env.name
            ),
            (_, Some(env)) => env,
            (Some(trained), None) => catalog.env(trained).map_err(|error| {
                if are_native([trained]) {
                    return anyhow!("{file} was trained in a native library, {error}");
                }
                anyhow!("{file} was trained on {trained}, an environment of the program {program}; {instead}")
            })?,
            (None, None) => bail!("{file} does not say its environment; add --env NAME"),
        };
        let algorithm = algorithm_of(app, path, &metadata, &env)?;
        let options: Vec<String> =
            metadata.get(ENV_SET).map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect());
        env.with(&options).map_err(|problem| anyhow!("{file}: {problem}"))?;
        let env = env.with(&[options, place.env_set.clone()].concat()).map_err(UsageError)?;
        let params = algorithm.params_of(params);
        warn_of_non_finite(path, &params);
        let spec = env.build().spec();
        let policy = (algorithm.policy)(params, &metadata, choice, &spec)
            .with_context(|| format!("{file} cannot play {}", env.name))?;
        Ok(Player { env, policy, origin: Origin::Params(path.to_path_buf()), metadata })
    }

    /// The policy in a file of parameters that plays in `env`, made for observations of this spec.
    ///
    /// # Errors
    /// As [`Player::load`].
    pub fn policy_of(app: &App, path: &Path, env: &Entry, spec: &EnvSpec) -> Result<Policy> {
        let (params, metadata) = load_params(path)?;
        let algorithm = algorithm_of(app, path, &metadata, env)?;
        (algorithm.policy)(algorithm.params_of(params), &metadata, Choice::Greedy, spec)
            .with_context(|| format!("{} cannot play {}", path.display(), env.name))
    }

    /// Its name, or that of its file.
    pub fn name(&self) -> String {
        match &self.origin {
            Origin::Random => RANDOM.to_owned(),
            Origin::Script(name) => (*name).to_owned(),
            Origin::Params(file) => file.display().to_string(),
        }
    }

    /// How its actions are chosen, in a word, if what was trained is asked for this `choice`.
    pub fn chooses(&self, choice: Choice) -> &'static str {
        match (&self.origin, choice) {
            (Origin::Random, _) => RANDOM,
            (Origin::Script(_), _) => "scripted",
            (Origin::Params(_), Choice::Sample) => "stochastic",
            (Origin::Params(_), Choice::Greedy) => "greedy",
        }
    }
}

/// Whether all names are those of libraries. Where one lies may change, and what it is must fit what was trained anyway.
fn are_native<const N: usize>(names: [&str; N]) -> bool {
    names.iter().all(|name| name.starts_with(envs::native::PREFIX))
}

/// The algorithm that made a file of parameters with this metadata.
fn algorithm_of(app: &App, path: &Path, metadata: &Metadata, env: &Entry) -> Result<algorithms::Entry> {
    let Some(name) = metadata.get("algorithm") else {
        return Ok(app.catalog().algorithm_of(env)); // files of the first versions do not say it
    };
    app.catalog().algorithm(name).map_err(|_| {
        let program = metadata.get(status::PROGRAM).map_or("that made it", String::as_str);
        anyhow!(
            "{} was trained by {name}, an algorithm of the program {program}; run that program instead of {}",
            path.display(),
            app.name()
        )
    })
}

/// The scripted players of some environments.
fn scripts(envs: &[Entry]) -> Vec<(Entry, envs::Player)> {
    let of = |env: &Entry| env.build().players().into_iter().map(|player| (*env, player)).collect::<Vec<_>>();
    envs.iter().flat_map(of).collect()
}

/// The help of the flag --env where a file may name the environment; `env` is the default of random play.
pub fn env_help(env: &str) -> String {
    format!("Environment [default: the one that the parameters were trained in; {env} for \"random\"]")
}

/// Says that parameters are no result of training. A policy of them plays all the same, and its numbers look like others.
fn warn_of_non_finite(path: &Path, params: &NamedArrays) {
    let bad: Vec<&str> =
        params.iter().filter(|(_, array)| !array.is_finite()).map(|(name, _)| name.as_str()).collect();
    if let Some(first) = bad.first() {
        tell(&format!(
            "warning: {} of {} arrays in {} hold values that are not finite (the first is {first}): what follows is no \
             result of training",
            bad.len(),
            params.len(),
            path.display()
        ));
    }
}
