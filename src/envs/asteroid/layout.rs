//! Names and numbers that people may want to read or change: `jax_env_spec/asteroid/layout.json`, compiled in.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::envs::layout::Paid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Ticks of an episode.
    pub time_max: f32,
    pub commodities: Vec<Commodity>,
    pub actions: Vec<Action>,
    /// Numbers of the observation, group by group.
    pub observation: Vec<Group>,
    pub rewards: Vec<Paid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commodity {
    pub name: String,
    pub price: f32,
    pub least: f32,
    pub most: f32,
}

/// An action, and what it costs or adds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    pub name: String,
    pub does: String,
    #[serde(default = "one")]
    pub ticks: i32,
    /// What it burns; of a purchase, what is bought.
    #[serde(default)]
    pub fuel: f32,
    #[serde(default)]
    pub alert: f32,
    #[serde(default)]
    pub heat: f32,
    /// Credits.
    #[serde(default)]
    pub price: f32,
}

fn one() -> i32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub count: usize,
    /// Names and meanings.
    pub features: Vec<(String, String)>,
}

/// The layout, read once.
pub fn layout() -> &'static Layout {
    const TEXT: &str = include_str!("../../../jax_env_spec/asteroid/layout.json");
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    LAYOUT.get_or_init(|| serde_json::from_str(TEXT).expect("layout.json is part of the program"))
}
