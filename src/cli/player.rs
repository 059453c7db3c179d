//! From what the command line names to an environment and a policy: what `eval` and `watch` share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::algorithms::NamedArrays;
use crate::algorithms::policy::{Choice, Policy};
use crate::envs::Entry;
use crate::output::tell;
use crate::trainer::{find, load_params, status};

use super::App;

/// Who is to play, and where.
#[derive(Debug, Args)]
pub struct Request {
    /// What to take the parameters from: a run's name, its directory, "latest", a checkpoint or a file of parameters; or
    /// "random" for uniformly random valid actions
    #[arg(value_name = "RUN")]
    pub params: String,
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
}

/// A policy, and the environment it plays in.
pub struct Player {
    pub env: Entry,
    pub policy: Policy,
    /// Where the parameters are, if they are any.
    pub file: Option<PathBuf>,
}

impl Player {
    /// The policy that chooses at random.
    pub fn random(app: &App, env: &str) -> Result<Player> {
        let env = app.catalog().env(env)?;
        Ok(Player { env, policy: Policy::random(&env.spec()), file: None })
    }

    /// What the user names: `random`, or what [`find::params`] knows.
    ///
    /// # Errors
    /// As [`Player::load`]; nothing of that name.
    pub fn named(app: &App, request: &Request, choice: Choice) -> Result<Player> {
        let env = request.env.as_deref();
        if request.params == "random" {
            return Player::random(app, env.unwrap_or(app.catalog().default_env()));
        }
        let env = env.map(|name| app.catalog().env(name)).transpose()?.map(|entry| entry.name); // a misspelt name is told first
        let file = find::params(&request.params, &request.checkpoint_dir)?;
        if file != Path::new(&request.params) {
            tell(&format!("the parameters are those in {}", file.display()));
        }
        Player::load(app, &file, env, choice)
    }

    /// The policy in a file of parameters. The file says its environment; `env` is what the user says of it.
    ///
    /// # Errors
    /// One line: an unreadable file, or parameters of another environment or network.
    pub fn load(app: &App, path: &Path, env: Option<&str>, choice: Choice) -> Result<Player> {
        let env = env.map(|name| app.catalog().env(name)).transpose()?;
        let (params, metadata) = load_params(path)?;
        let (file, catalog) = (path.display(), app.catalog());
        let program = metadata.get(status::PROGRAM).map_or("that made it", String::as_str);
        let instead = format!("run that program instead of {}", app.name());
        let env = match (metadata.get("env"), env) {
            (Some(trained), Some(env)) if trained != env.name => bail!(
                "{file} was trained on {trained}, not on {}; leave out --env or choose another file",
                env.name
            ),
            (_, Some(env)) => env,
            (Some(trained), None) => catalog.env(trained).map_err(|_| {
                anyhow!("{file} was trained on {trained}, an environment of the program {program}; {instead}")
            })?,
            (None, None) => bail!("{file} does not say its environment; add --env NAME"),
        };
        let algorithm = match metadata.get("algorithm") {
            Some(name) => catalog.algorithm(name).map_err(|_| {
                anyhow!("{file} was trained by {name}, an algorithm of the program {program}; {instead}")
            })?,
            None => catalog.algorithm_of(&env), // files of the first versions do not say it
        };
        warn_of_non_finite(path, &params);
        let spec = (env.make)().spec();
        let policy = (algorithm.policy)(params, &metadata, choice, &spec)
            .with_context(|| format!("{file} cannot play {}", env.name))?;
        Ok(Player { env, policy, file: Some(path.to_path_buf()) })
    }
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
