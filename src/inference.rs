//! Inference: a trained policy in a program of one's own.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! # let obs = [0.0, 0.0, 0.0, 0.0];
//! let mut policy = lockstep::Policy::load("checkpoints/cartpole-jan05-26-1")?;
//! let action = policy.act(&obs)?;
//! # Ok(())
//! # }
//! ```
//!
//! A parameter file says which algorithm and network it belongs to and how long observations are, so nothing of the environment is
//! needed: observations are numbers, actions are numbers. What is compiled is the acting half of the algorithm, for one game or for
//! any number of them beside each other. A recurrent policy remembers each of its games until it is told that another one begins.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::algorithms::policy::{Choice, Decision, Metadata, Policy as Actor};
use crate::algorithms::{self, NamedArrays};
use crate::array::{DType, HostArray};
use crate::envs::EnvSpec;
use crate::envs::vector::View;
use crate::lang::{Bool, Features, Float, Int, Jit, Key, Leaves, OnDevice, Tree, select_tree, structure_of};
use crate::lower;
use crate::runtime::{Client, plugin};
use crate::trainer::{load_params, params_of_run};

/// A trained policy on a device.
pub struct Policy {
    actor: Actor,
    client: Client,
    params: OnDevice<Leaves>,
    obs_size: usize,
    num_actions: usize,
    seed: u64,
    /// Decisions so far: each has random numbers of its own.
    steps: i32,
    games: Option<Games>,
}

/// Games that are played beside each other, and the program for so many of them.
struct Games {
    program: Jit<Input, (Leaves, Decision)>,
    /// What is remembered of them.
    carry: OnDevice<Leaves>,
    /// Where another game begins with the next decision.
    begins: Vec<bool>,
}

/// What the program takes for `N` games: the parameters, what is remembered, and [`Seen`].
type Input = (Leaves, Leaves, Seen);

/// What is seen of `N` games, and the random numbers.
struct Seen {
    /// f32`[N, I]`
    obs: Float,
    /// bool`[N, A]`
    mask: Bool,
    /// bool`[N]`
    begins: Bool,
    /// u32`[2]`
    seed: Int,
    step: Int,
}
crate::tree!(Seen { obs, mask, begins, seed, step });

impl Policy {
    /// The policy in a file of parameters, a checkpoint or the directory of a run that one of lockstep's own algorithms has trained,
    /// on the best device that is present. It takes the most probable actions.
    ///
    /// # Errors
    /// One line: nothing there, an algorithm of another program, arrays that are no such network, no device.
    pub fn load(path: impl AsRef<Path>) -> Result<Policy> {
        let path = path.as_ref();
        let (params, metadata) = read(path)?;
        let spec = spec_of(&metadata).with_context(|| format!("cannot play with {}", path.display()))?;
        let known = algorithms::Registry::from_iter(algorithms::builtin());
        let algorithm = match metadata.get("algorithm") {
            Some(name) => known.find(name).map_err(|_| {
                anyhow!(
                    "{} was trained by {name}, an algorithm of another program; that loads it with Policy::load_with",
                    path.display()
                )
            })?,
            None => known.entries()[0], // files of the first versions do not say it
        };
        Policy::new(path, params, &metadata, &algorithm, &spec)
    }

    /// As [`Policy::load`], for any algorithm and with the spec of the environment.
    ///
    /// # Errors
    /// As [`Policy::load`].
    pub fn load_with(
        path: impl AsRef<Path>,
        algorithm: &algorithms::Entry,
        spec: &EnvSpec,
    ) -> Result<Policy> {
        let (params, metadata) = read(path.as_ref())?;
        Policy::new(path.as_ref(), params, &metadata, algorithm, spec)
    }

    fn new(
        path: &Path,
        params: NamedArrays,
        metadata: &Metadata,
        algorithm: &algorithms::Entry,
        spec: &EnvSpec,
    ) -> Result<Policy> {
        // Observations come as plain numbers, however an environment packs them while it trains.
        let spec = EnvSpec { flags: Vec::new(), ..spec.clone() };
        let actor = (algorithm.policy)(params, metadata, Choice::Greedy, &spec)
            .with_context(|| format!("cannot play with {}", path.display()))?;
        let client = Client::open(&plugin::find(None, None)?, 1)?;
        let values = [actor.params().to_vec()];
        Ok(Policy {
            params: OnDevice::new(&client, &actor.structure(), &values)?,
            actor,
            client,
            obs_size: spec.obs_size(),
            num_actions: spec.num_actions,
            seed: 0,
            steps: 0,
            games: None,
        })
    }

    /// Draws actions with their probabilities from now on, with random numbers of that seed.
    #[must_use]
    pub fn sampling(mut self, seed: u64) -> Policy {
        self.actor = self.actor.with_choice(Choice::Sample);
        (self.seed, self.games) = (seed, None);
        self
    }

    /// Numbers in an observation.
    pub fn obs_size(&self) -> usize {
        self.obs_size
    }

    pub fn num_actions(&self) -> usize {
        self.num_actions
    }

    /// What to do where this is seen; all actions are allowed. The first call compiles.
    ///
    /// # Errors
    /// One line: an observation of another length, whatever the compiler or the device reports.
    pub fn act(&mut self, obs: &[f32]) -> Result<usize> {
        self.act_masked(obs, &vec![true; self.num_actions])
    }

    /// What to do where this is seen and these actions are allowed.
    ///
    /// # Errors
    /// As [`Policy::act`]; a mask of another length.
    pub fn act_masked(&mut self, obs: &[f32], mask: &[bool]) -> Result<usize> {
        self.check("an observation", obs.len(), self.obs_size)?;
        Ok(self.act_in_all(obs, mask)?[0])
    }

    /// What to do in each of any number of games. The observations follow each other, and so do the masks. A call with another
    /// number of games than the one before compiles again, and begins all of them.
    ///
    /// # Errors
    /// As [`Policy::act_masked`]; another number of games in the middle of those that a recurrent policy remembers.
    pub fn act_in_all(&mut self, obs: &[f32], mask: &[bool]) -> Result<Vec<usize>> {
        let count = obs.len() / self.obs_size;
        ensure!(count > 0, "there are no observations");
        self.check("the observations", obs.len(), count * self.obs_size)?;
        self.check("the mask", mask.len(), count * self.num_actions)?;
        let games = match self.games.take() {
            Some(games) if games.begins.len() == count => games,
            Some(Games { begins, carry, .. }) if !carry.names().is_empty() && begins.contains(&false) => {
                bail!("the policy remembers {} games, not {count}; call begin first", begins.len())
            }
            _ => self.compile(count)?,
        };
        let Games { program, carry, begins } = games;
        let given = [
            HostArray::new(&[count, self.obs_size], obs.to_vec()),
            HostArray::new(&[count, self.num_actions], mask.to_vec()),
            HostArray::new(&[count], begins),
            HostArray::new(&[2], vec![(self.seed >> 32) as u32, self.seed as u32]),
            HostArray::scalar(self.steps),
        ];
        let (carry, decision) =
            program.call([self.params.lend(), carry.give(), program.upload(&given)?])?.unzip();
        self.steps = self.steps.wrapping_add(1);
        let actions = decision.fetch(|decision| &decision.action)?.remove(0);
        self.games = Some(Games { program, carry, begins: vec![false; count] });
        Ok(actions.as_slice::<i32>().iter().map(|&action| action as usize).collect())
    }

    /// Other games begin: nothing is remembered of those before.
    pub fn begin(&mut self) {
        self.games.iter_mut().for_each(|games| games.begins.fill(true));
    }

    /// Another game begins in the place of this one of several.
    ///
    /// # Panics
    /// There is no such game.
    pub fn begin_one(&mut self, game: usize) {
        self.games.iter_mut().for_each(|games| games.begins[game] = true);
    }

    fn check(&self, what: &str, found: usize, expected: usize) -> Result<()> {
        ensure!(found == expected, "{what} has {found} values, not {expected}");
        Ok(())
    }

    fn compile(&self, count: usize) -> Result<Games> {
        let actor = &self.actor;
        let carry = structure_of(|| actor.begin(count));
        let seen = Seen {
            obs: Float::placeholder(DType::F32, [count, self.obs_size]),
            mask: Bool::placeholder(DType::Bool, [count, self.num_actions]),
            begins: Bool::placeholder(DType::Bool, [count]),
            seed: Int::placeholder(DType::U32, [2]),
            step: Int::placeholder(DType::I32, []),
        };
        let input = (actor.structure(), carry.duplicate(), seen);
        let options = lower::Options::default();
        let program = Jit::new(&self.client, "act", &options, &input, |(params, carry, seen)| {
            let Seen { obs, mask, begins, seed, step } = seen;
            let carry = select_tree(begins, actor.begin(count), carry);
            let view = View { obs: Features::Plain(obs), mask: Some(mask), privileged: None, to_move: None };
            actor.act(&params, carry, &view, Key::from_words(seed).fold_in(step).split_last(count))
        })?;
        let zeros = crate::lang::leaf_types(&carry).iter().map(HostArray::zeros).collect();
        let carry = OnDevice::new(&self.client, &carry, &[zeros])?;
        Ok(Games { program, carry, begins: vec![true; count] })
    }
}

/// The parameters in a file, or the last ones of a run.
fn read(path: &Path) -> Result<(NamedArrays, Metadata)> {
    if !path.is_dir() {
        return load_params(path);
    }
    let file =
        params_of_run(path).with_context(|| format!("there are no parameters in {}", path.display()))?;
    load_params(&file)
}

/// As much of the environment's spec as a network depends on.
fn spec_of(metadata: &Metadata) -> Result<EnvSpec> {
    let number = |key: &str| -> Result<usize> {
        let text =
            metadata.get(key).with_context(|| format!("it does not say its {key}; use Policy::load_with"))?;
        text.parse().with_context(|| format!("its {key} is {text:?}"))
    };
    let shape = match metadata.get("obs_shape") {
        Some(text) if text.is_empty() => Vec::new(),
        Some(text) => text
            .split('x')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("its obs_shape is {text:?}"))?,
        None => vec![number("obs_size")?],
    };
    let spec = EnvSpec::new("the environment", shape, number("num_actions")?);
    spec.check().map_err(|problem| anyhow!(problem))?;
    Ok(spec)
}
