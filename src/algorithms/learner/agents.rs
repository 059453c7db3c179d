//! Who is trained: one agent or many, and the inputs of their programs that no update changes.

use anyhow::{Result, ensure};

use crate::algorithms::curriculum::{self, side_by_side};
use crate::array::{ArrayType, HostArray};
use crate::envs::phases;
use crate::interpret::interpret;
use crate::lang::{Float, Handle, Leaves, Path, Tree, float, leaves, rebuild, trace};

use super::Algorithm;

/// The inputs of an agent's programs that no update changes.
pub(super) struct Given<H> {
    pub hyper: H,
    /// f32 scalar.
    pub total_updates: Float,
    /// The environment's parameters. With a curriculum they are what it needs and those of all phases side by side, and so are the
    /// hyperparameters.
    pub env: Leaves,
}

impl<H: Tree> Tree for Given<H> {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        self.hyper.walk(&path.join("hyper"), visit);
        self.total_updates.walk(&path.join("total_updates"), visit);
        self.env.walk(&path.join("env"), visit);
    }
    fn duplicate(&self) -> Self {
        Given { hyper: self.hyper.duplicate(), total_updates: self.total_updates, env: self.env.duplicate() }
    }
}

/// Who is trained.
pub(super) enum Agents<'a, A> {
    /// One agent, with the state as it is.
    One(&'a A),
    /// Agents that differ in nothing that a program is compiled from, along a first axis of everything in the state, each with its
    /// seed.
    Group(&'a [A], &'a [u64]),
}

impl<A: Algorithm> Agents<'_, A> {
    pub fn first(&self) -> &A {
        match self {
            Agents::One(agent) => agent,
            Agents::Group(agents, _) => &agents[0],
        }
    }

    /// Devices that share the environments of each agent.
    pub fn sharers(&self, num_devices: usize) -> usize {
        if matches!(self, Agents::One(_)) { num_devices } else { 1 }
    }

    /// The axis of the agents in every array, for each of `num_devices` devices; without it there is one.
    pub fn axis(&self, num_devices: usize) -> Option<usize> {
        match self {
            Agents::One(_) => None,
            Agents::Group(agents, _) => Some(agents.len() / num_devices),
        }
    }

    pub fn check(&self, num_devices: usize) -> Result<()> {
        match self {
            Agents::One(agent) => agent.check_devices(num_devices),
            Agents::Group(agents, _) => {
                let count = agents.len();
                ensure!(
                    count > 0 && count.is_multiple_of(num_devices),
                    "{count} agents cannot be split evenly over {num_devices} devices"
                );
                Ok(())
            }
        }
    }

    /// The seeds that each device begins with: u32`[2]`, that of the one agent, or `[agents per device, 2]`.
    pub fn seeds(&self, of_one: u64, num_devices: usize) -> Vec<HostArray> {
        let words = |seed: u64| [(seed >> 32) as u32, seed as u32];
        match self {
            Agents::One(_) => vec![HostArray::new(&[2], words(of_one).to_vec()); num_devices],
            Agents::Group(_, seeds) => {
                let part = seeds.len() / num_devices;
                let words_of = |seeds: &[u64]| seeds.iter().copied().flat_map(words).collect();
                seeds.chunks(part).map(|seeds| HostArray::new(&[part, 2], words_of(seeds))).collect()
            }
        }
    }

    /// The values of [`Given`], where agents differ with those of all of them along a first axis, and which ones these are.
    pub fn given(&self, total_updates: u64) -> Result<GivenValues<A::Hyper>> {
        let (structure, mut values) = given(self.first(), total_updates)?;
        let Agents::Group(agents, _) = self else { return Ok((structure, values, Vec::new())) };
        let all =
            agents.iter().map(|agent| Ok(given(agent, total_updates)?.1)).collect::<Result<Vec<_>>>()?;
        let differ = |&leaf: &usize| all.iter().any(|own| own[leaf] != values[leaf]);
        let varying: Vec<usize> = (0..values.len()).filter(differ).collect();
        for &leaf in &varying {
            let column: Vec<HostArray> = all.iter().map(|own| with_first_axis(&own[leaf])).collect();
            values[leaf] = HostArray::concatenate(0, &column);
        }
        Ok((structure, values, varying))
    }
}

/// The structure of the inputs, their values, and the places of those in which agents differ.
pub type GivenValues<H> = (Given<H>, Vec<HostArray>, Vec<usize>);

/// The inputs of one agent and their values.
pub(super) fn given<A: Algorithm>(
    algorithm: &A,
    total_updates: u64,
) -> Result<(Given<A::Hyper>, Vec<HostArray>)> {
    let schedule = algorithm.schedule();
    let env = curriculum::inputs(algorithm.env(), schedule.as_ref())?;
    let hyper_in = |phase| trace(&(), |()| algorithm.hyper_in(phase));
    let first = hyper_in(0);
    let mut values = interpret(&first.graph, &[]);
    if schedule.is_some() {
        let rest = (1..phases(algorithm.env()).len()).map(|phase| interpret(&hyper_in(phase).graph, &[]));
        values = side_by_side(&[values].into_iter().chain(rest).collect::<Vec<_>>());
    }
    let hyper = typed_as(first.output, &values);
    let total = trace(&(), |()| float(total_updates as f64));
    values.extend(interpret(&total.graph, &[]));
    let structure = Given { hyper, total_updates: total.output, env: Leaves::placeholders(&env) };
    values.extend(env.into_iter().map(|(_, value)| value));
    Ok((structure, values))
}

fn with_first_axis(value: &HostArray) -> HostArray {
    let array_type = ArrayType::new(value.dtype(), [&[1], value.shape()].concat());
    HostArray::from_bytes(&array_type, &value.to_bytes()).expect("as many as before")
}

/// For each device its values: of what varies the part of its agents.
pub(super) fn for_devices(
    values: &[HostArray],
    varying: &[usize],
    num_devices: usize,
) -> Vec<Vec<HostArray>> {
    let of = |device: usize| {
        let value = |(leaf, value): (usize, &HostArray)| match varying.contains(&leaf) {
            false => value.clone(),
            true => {
                let size = value.shape()[0] / num_devices;
                value.slice(0, device * size..(device + 1) * size)
            }
        };
        values.iter().enumerate().map(value).collect()
    };
    (0..num_devices).map(of).collect()
}

/// The structure of a tree whose leaves have the types of these values.
pub(super) fn typed_as<T: Tree>(tree: T, values: &[HostArray]) -> T {
    let handles: Vec<Handle> = values.iter().map(|value| Handle::placeholder(&value.array_type())).collect();
    rebuild(tree, &handles)
}

/// Some leaves of a tree.
pub(super) fn part<T: Tree>(tree: &T, chosen: &[usize]) -> Leaves {
    let leaves = leaves(tree);
    Leaves(chosen.iter().map(|&leaf| (leaf.to_string(), leaves[leaf])).collect())
}

/// The tree with some leaves replaced.
pub(super) fn with_part<T: Tree>(tree: &T, chosen: &[usize], part: &Leaves) -> T {
    let mut all = leaves(tree);
    chosen.iter().zip(leaves(part)).for_each(|(&leaf, own)| all[leaf] = own);
    rebuild(tree.duplicate(), &all)
}
