//! What a library says of its environment, as Rust has it. Nothing behind this module has to check it again.

use std::collections::HashSet;
use std::ffi::c_char;

use super::{abi, text};

/// What is fixed about an environment.
#[derive(Clone, Debug)]
pub struct Facts {
    pub name: String,
    pub summary: String,
    /// Bytes.
    pub state_size: usize,
    pub num_actions: usize,
    pub obs_shape: Vec<usize>,
    /// A name for each number of an observation, if there are names.
    pub obs_names: Option<Vec<String>>,
    pub action_names: Option<Vec<String>>,
    pub params: Vec<Param>,
    pub metrics: Vec<Metric>,
    /// Lines of a configuration file.
    pub defaults: String,
    /// Whether steps cut episodes off.
    pub truncates: bool,
    /// Whether steps need random numbers.
    pub random_steps: bool,
    pub has_mask: bool,
    pub has_picture: bool,
}

#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub meaning: String,
    pub value: f32,
    pub range: [f32; 2],
}

#[derive(Clone, Debug)]
pub struct Metric {
    pub name: String,
    pub meaning: String,
    pub unit: String,
    pub aggregate: Aggregate,
}

/// How a metric is put together over steps and environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Mean,
    Max,
    Episode,
    Running,
}

/// The most that a library may say, against numbers that are none.
const MOST_STATE: i64 = 1 << 28;
const MOST_NUMBERS: i64 = 1 << 24;
const MOST_ACTIONS: i64 = 1 << 16;
const MOST_ENTRIES: i64 = 1 << 10;
const MOST_AXES: i64 = 4;

impl Facts {
    /// Reads and checks a description.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub(super) fn read(env: &abi::Env) -> Result<Facts, String> {
        let name = named("name", env.name)?;
        let state_size = within("state_size", env.state_size, 1, MOST_STATE)?;
        let num_actions = within("num_actions", env.num_actions, 1, MOST_ACTIONS)?;
        let rank = within("obs_rank", env.obs_rank, 1, MOST_AXES)?;
        // SAFETY: the header wants so many numbers there.
        let sizes = unsafe { list("obs_shape", env.obs_shape, rank) }?;
        let shape = sizes.iter().map(|&size| within("a size in obs_shape", size, 1, MOST_NUMBERS));
        let obs_shape = shape.collect::<Result<Vec<usize>, String>>()?;
        let numbers = obs_shape.iter().try_fold(1_i64, |all, &size| all.checked_mul(size as i64));
        let numbers = within("the product of obs_shape", numbers.unwrap_or(i64::MAX), 1, MOST_NUMBERS)?;
        let known = abi::TRUNCATES | abi::RANDOM_STEPS;
        if env.flags & !known != 0 {
            return Err(format!("flags is {}, which has flags that this version does not know", env.flags));
        }
        Ok(Facts {
            name,
            summary: text(env.summary).unwrap_or_else(|| "an environment of a native library".into()),
            state_size,
            num_actions,
            obs_shape,
            obs_names: names("obs_names", env.obs_names, numbers)?,
            action_names: names("action_names", env.action_names, num_actions)?,
            params: params(env)?,
            metrics: metrics(env)?,
            defaults: text(env.defaults).unwrap_or_default(),
            truncates: env.flags & abi::TRUNCATES != 0,
            random_steps: env.flags & abi::RANDOM_STEPS != 0,
            has_mask: env.mask.is_some(),
            has_picture: env.picture.is_some(),
        })
    }

    /// Numbers in an observation.
    pub fn obs_size(&self) -> usize {
        self.obs_shape.iter().product()
    }
}

fn params(env: &abi::Env) -> Result<Vec<Param>, String> {
    let count = within("num_params", env.num_params, 0, MOST_ENTRIES)?;
    // SAFETY: the header wants so many structs there.
    let params = unsafe { list("params", env.params, count) }?;
    let param = |param: &abi::Param| {
        let name = named("the name of a parameter", param.name)?;
        let &abi::Param { value, least, most, .. } = param;
        if !(least..=most).contains(&value) || !least.is_finite() || !most.is_finite() {
            return Err(format!("the parameter {name} is {value}; it must be from {least} to {most}"));
        }
        Ok(Param { name, meaning: text(param.meaning).unwrap_or_default(), value, range: [least, most] })
    };
    let params = params.iter().map(param).collect::<Result<Vec<_>, _>>()?;
    unique("parameters", params.iter().map(|param| &*param.name)).map(|()| params)
}

fn metrics(env: &abi::Env) -> Result<Vec<Metric>, String> {
    let count = within("num_metrics", env.num_metrics, 0, MOST_ENTRIES)?;
    // SAFETY: as above.
    let metrics = unsafe { list("metrics", env.metrics, count) }?;
    let metric = |metric: &abi::Metric| {
        let name = named("the name of a metric", metric.name)?;
        let aggregate = match metric.aggregate {
            0 => Aggregate::Mean,
            1 => Aggregate::Max,
            2 => Aggregate::Episode,
            3 => Aggregate::Running,
            other => {
                return Err(format!("the aggregate of the metric {name} is {other}; it must be from 0 to 3"));
            }
        };
        let [meaning, unit] = [metric.meaning, metric.unit].map(|at| text(at).unwrap_or_default());
        Ok(Metric { name, meaning, unit, aggregate })
    };
    let metrics = metrics.iter().map(metric).collect::<Result<Vec<_>, _>>()?;
    unique("metrics", metrics.iter().map(|metric| &*metric.name)).map(|()| metrics)
}

fn within(what: &str, number: i64, least: i64, most: i64) -> Result<usize, String> {
    match (least..=most).contains(&number) {
        true => Ok(number as usize),
        false => Err(format!("{what} is {number}; it must be from {least} to {most}")),
    }
}

/// The `count` values at a place.
///
/// # Safety
/// There are so many, and they live as long as the library, unless the pointer is null.
unsafe fn list<T>(what: &str, at: *const T, count: usize) -> Result<&'static [T], String> {
    match (count, at.is_null()) {
        (0, _) => Ok(&[]),
        (_, true) => Err(format!("{what} is NULL; there must be {count}")),
        // SAFETY: by contract.
        (_, false) => Ok(unsafe { std::slice::from_raw_parts(at, count) }),
    }
}

/// So many texts; nothing for NULL.
fn names(what: &str, at: *const *const c_char, count: usize) -> Result<Option<Vec<String>>, String> {
    if at.is_null() {
        return Ok(None);
    }
    // SAFETY: the header wants so many texts there.
    let texts = unsafe { list(what, at, count) }?;
    let texts: Option<Vec<String>> = texts.iter().map(|&at| text(at)).collect();
    texts.map(Some).ok_or_else(|| format!("{what} has a NULL; there must be {count} names"))
}

/// A name that files, flags and logs can have.
fn named(what: &str, at: *const c_char) -> Result<String, String> {
    let name = text(at).unwrap_or_default();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.len() <= 64 && name.chars().all(is_part) {
        true => Ok(name),
        false => Err(format!("{what} is \"{name}\"; it must be 1 to 64 letters, digits, _ and -")),
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    let mut names = names;
    match names.find(|name| !seen.insert(*name)) {
        Some(name) => Err(format!("two {what} are called {name}")),
        None => Ok(()),
    }
}
