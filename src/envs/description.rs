//! What people want to know of an environment: the meaning of its numbers.
//!
//! An environment reads it from its data in `jax_env_spec/`, which is what its program computes with.

use serde::{Deserialize, Serialize};

use super::EnvSpec;

/// The observation, the actions and the reward in names.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// In the order of the observation.
    pub observation: Vec<Group>,
    pub actions: Vec<Action>,
    /// The reward is their sum.
    pub rewards: Vec<Reward>,
    /// Parameters whose meaning and range are known.
    pub params: Vec<Param>,
}

/// Numbers of the observation that belong together.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    /// How many of them follow each other, each with all the features: the cells of a board.
    #[serde(default = "one")]
    pub count: usize,
    pub features: Vec<Feature>,
}

/// One number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub name: String,
    /// Its meaning, unit or scale.
    pub is: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    pub name: String,
    pub does: String,
}

/// A part of the reward.
#[derive(Clone, Debug, Serialize)]
pub struct Reward {
    pub name: String,
    /// What it pays, a number or the name of a parameter.
    pub pays: String,
    /// For what.
    pub per: String,
}

/// A parameter: a number that may be another one in each run, without compiling anything again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    pub name: String,
    /// Its meaning and unit.
    pub is: String,
    pub default: f64,
    /// The least and the largest value that it may have.
    pub range: [f64; 2],
}

fn one() -> usize {
    1
}

impl Group {
    /// Numbers in the observation.
    pub fn size(&self) -> usize {
        self.count * self.features.len()
    }
}

impl Description {
    /// Numbers in place of names, for an environment that brings none.
    pub fn numbered(spec: &EnvSpec) -> Description {
        let feature = |i| Feature { name: format!("obs {i}"), is: String::new() };
        let action = |i| Action { name: format!("action {i}"), does: String::new() };
        let reward = |metric: &super::Metric| {
            let name = metric.name.strip_prefix("reward/")?.to_owned();
            Some(Reward { name, pays: "?".into(), per: "step".into() })
        };
        Description {
            observation: vec![Group {
                name: "observation".into(),
                count: 1,
                features: (0..spec.obs_size()).map(feature).collect(),
            }],
            actions: (0..spec.num_actions).map(action).collect(),
            rewards: spec.metrics.iter().filter_map(reward).collect(),
            params: Vec::new(),
        }
    }

    /// The name of an action.
    pub fn action(&self, index: usize) -> &str {
        self.actions.get(index).map_or("?", |action| &action.name)
    }

    /// The names of all numbers of an observation, in order: `cell 3 enemy_hp`.
    pub fn observation_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for group in &self.observation {
            for i in 0..group.count {
                names.extend(group.features.iter().map(|feature| match group.count {
                    1 => feature.name.clone(),
                    _ => format!("{} {i} {}", group.name, feature.name),
                }));
            }
        }
        names
    }
}
