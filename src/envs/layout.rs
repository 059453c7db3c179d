//! The names and numbers of a small environment: the `layout.json` of its folder in `jax_env_spec`, compiled in. Larger environments have
//! layouts of their own, whose rewards are lists of [`Paid`] as well.

use serde::Deserialize;

use crate::lang::{Float, Int, float, int};

use super::Metric;
use super::description::{Action, Description, Group, Param, Reward};

/// What the file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    observation: Vec<Group>,
    actions: Vec<Action>,
    rewards: Vec<Paid>,
    params: Vec<Param>,
}

/// A part of the reward, as `layout.json` says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paid {
    name: String,
    pays: f64,
    per: String,
}

impl Paid {
    /// The metric that tells what the part has paid.
    pub fn metric(&self) -> Metric {
        Metric::reward(&self.name, &self.pays.to_string(), &self.per)
    }

    /// The part in names.
    pub fn described(&self) -> Reward {
        Reward { name: self.name.clone(), pays: self.pays.to_string(), per: self.per.clone() }
    }
}

/// What the part of that name pays.
///
/// # Panics
/// There is no such part.
pub fn pays(rewards: &[Paid], name: &str) -> f64 {
    let paid = rewards.iter().find(|paid| paid.name == name);
    paid.unwrap_or_else(|| panic!("layout.json has no reward {name}")).pays
}

impl Layout {
    /// Reads the text of a file that is part of the program.
    ///
    /// # Panics
    /// It is no layout.
    pub fn read(text: &str) -> Layout {
        serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("layout.json is part of the program: {error}"))
    }

    /// The observation, the actions, the rewards and the parameters in names.
    pub fn description(&self) -> Description {
        Description {
            observation: self.observation.clone(),
            actions: self.actions.clone(),
            rewards: self.rewards.iter().map(Paid::described).collect(),
            params: self.params.clone(),
        }
    }

    /// What a part of the reward pays.
    ///
    /// # Panics
    /// There is no such part.
    pub fn pays(&self, name: &str) -> f64 {
        pays(&self.rewards, name)
    }

    /// What a parameter is by default, as f32.
    ///
    /// # Panics
    /// There is no such parameter.
    #[track_caller]
    pub fn float(&self, name: &str) -> Float {
        float(self.param(name))
    }

    /// What a parameter is by default, as i32.
    ///
    /// # Panics
    /// There is no such parameter.
    #[track_caller]
    pub fn int(&self, name: &str) -> Int {
        int(self.param(name) as i32)
    }

    fn param(&self, name: &str) -> f64 {
        let param = self.params.iter().find(|param| param.name == name);
        param.unwrap_or_else(|| panic!("layout.json has no parameter {name}")).default
    }
}
