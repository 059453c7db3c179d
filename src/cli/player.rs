//! From what the command line names to an environment and a policy: what `eval` and `watch` share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;

use crate::algorithms::NamedArrays;
use crate::algorithms::policy::{Choice, Policy};
use crate::envs::Entry;
use crate::nn::Activation;
use crate::trainer::{find_params, load_params, status, tell};

use super::App;

/// A policy, and the environment it plays in.
pub struct Player {
    pub env: Entry,
    pub policy: Policy,
}

impl Player {
    /// The policy that chooses at random.
    pub fn random(app: &App, env: &str) -> Result<Player> {
        Ok(Player { env: app.find_env(env)?, policy: Policy::random() })
    }

    /// What the user names: `random`, a file of parameters, or a directory with some.
    ///
    /// # Errors
    /// As [`Player::load`]; nothing of that name.
    pub fn named(app: &App, request: &Path, env: Option<&str>, choice: Choice) -> Result<Player> {
        if request == Path::new("random") {
            return Player::random(app, env.unwrap_or(app.default_env()));
        }
        let env = env.map(|name| app.find_env(name)).transpose()?.map(|entry| entry.name); // a misspelt name is told first
        Player::load(app, &params_file(request)?, env, choice)
    }

    /// The policy in a file of parameters. The file says its environment; `env` is what the user says of it.
    ///
    /// # Errors
    /// One line: an unreadable file, or parameters of another environment or network.
    pub fn load(app: &App, path: &Path, env: Option<&str>, choice: Choice) -> Result<Player> {
        let env = env.map(|name| app.find_env(name)).transpose()?;
        let (params, metadata) = load_params(path)?;
        let file = path.display();
        let env = match (metadata.get("env"), env) {
            (Some(trained), Some(env)) if trained != env.name => bail!(
                "{file} was trained on {trained}, not on {}; leave out --env or choose another file",
                env.name
            ),
            (_, Some(env)) => env,
            (Some(trained), None) => {
                let program = metadata.get(status::PROGRAM).map_or("another program", String::as_str);
                app.find_env(trained).map_err(|_| {
                    anyhow!(
                        "{file} was trained on {trained}, an environment of the program {program}; \
                         run that program instead of {}",
                        app.name()
                    )
                })?
            }
            (None, None) => bail!("{file} does not say its environment; add --env NAME"),
        };
        let said = metadata.get("activation").map(String::as_str);
        let activation = said.and_then(|name| Activation::from_str(name, false).ok()).with_context(|| {
            format!("{file} does not say its network's activation: it is no file of parameters that lockstep saved")
        })?;
        warn_of_non_finite(path, &params);
        let policy = Policy::of_network(params, activation, choice, &(env.make)().spec())
            .with_context(|| format!("{file} cannot play {}", env.name))?;
        Ok(Player { env, policy })
    }
}

/// The help of the flag --env where a file may name the environment; `env` is the default of random play.
pub fn env_help(env: &str) -> String {
    format!("Environment [default: the one that the file names; {env} for `random`]")
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

/// The newest parameters in a directory of runs.
///
/// # Errors
/// There are none.
pub fn newest_params(directory: &Path) -> Result<PathBuf> {
    let newest = find_params(directory).into_iter().next();
    newest.with_context(|| {
        format!("there are no parameters in {}; `lockstep train` makes some", directory.display())
    })
}

/// The file itself, or the newest in a directory.
fn params_file(request: &Path) -> Result<PathBuf> {
    if request.is_dir() {
        return newest_params(request);
    }
    if request.is_file() {
        return Ok(request.to_path_buf());
    }
    bail!("there are no parameters {}; {}", request.display(), what_there_is(request))
}

/// The parameters beside a file that is missing, else those of all runs: in words.
fn what_there_is(missing: &Path) -> String {
    const MOST: usize = 4;
    let beside = missing.parent().filter(|parent| !parent.as_os_str().is_empty());
    let found = [beside.unwrap_or(Path::new(".")), Path::new("checkpoints")].map(find_params);
    let Some(found) = found.into_iter().find(|found| !found.is_empty()) else {
        return "`lockstep train` makes some in checkpoints/<run>".to_owned();
    };
    let names: Vec<String> = found.iter().take(MOST).map(|path| path.display().to_string()).collect();
    let more = if found.len() > MOST { format!(" and {} more", found.len() - MOST) } else { String::new() };
    format!("there are {}{more}", names.join(", "))
}
