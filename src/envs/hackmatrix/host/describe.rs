//! The environment in names, for people: all of it comes from the layout.

use super::layout::{Feature, Layout, layout};
use crate::envs::description::{self, Action, Description, Group, Reward};

/// The observation, the actions and the reward.
pub fn description() -> Description {
    let layout = layout();
    let owned = layout.programs.iter().map(|program| description::Feature {
        name: format!("owned_{}", program.raw),
        is: "1 if owned".into(),
    });
    Description {
        observation: vec![
            Group { name: "player".into(), count: 1, features: features(&layout.player) },
            Group { name: "programs".into(), count: 1, features: owned.collect() },
            Group { name: "cell".into(), count: 36, features: features(&layout.cell) },
        ],
        actions: actions(layout),
        rewards: rewards(layout),
        params: Vec::new(),
    }
}

fn features(features: &[Feature]) -> Vec<description::Feature> {
    features
        .iter()
        .map(|feature| description::Feature { name: feature.name.clone(), is: scale(feature) })
        .collect()
}

/// The formula of a feature in words: `min(credits / 50, 1)`.
fn scale(feature: &Feature) -> String {
    let Feature { name, offset, divisor, cap } = feature;
    let mut formula = match *offset {
        0.0 => name.clone(),
        offset if offset < 0.0 => format!("({name} - {})", -offset),
        offset => format!("({name} + {offset})"),
    };
    if *divisor != 1.0 {
        formula = format!("{formula} / {divisor}");
    }
    cap.map_or(formula.clone(), |cap| format!("min({formula}, {cap})"))
}

fn actions(layout: &Layout) -> Vec<Action> {
    const MOVES: [&str; 5] = [
        "one cell up, or attacks along that line",
        "one cell down, or attacks along that line",
        "one cell to the left, or attacks along that line",
        "one cell to the right, or attacks along that line",
        "siphons the blocks around, for one data siphon",
    ];
    let programs = layout.programs.iter().map(|program| {
        let costs = [(program.credits, "credits"), (program.energy, "energy")];
        let costs: Vec<String> = costs
            .iter()
            .filter(|(amount, _)| *amount > 0)
            .map(|(amount, what)| format!("{amount} {what}"))
            .collect();
        format!("{} ({})", program.does, costs.join(", "))
    });
    let texts = MOVES.iter().map(|text| text.to_string()).chain(programs);
    let names = layout.action_names().into_iter();
    names.zip(texts).map(|(name, does)| Action { name: name.to_owned(), does }).collect()
}

fn rewards(layout: &Layout) -> Vec<Reward> {
    let reward = |reward: &super::layout::Reward| Reward {
        name: reward.name.clone(),
        pays: reward.pays(),
        per: reward.per.clone(),
    };
    layout.rewards.iter().map(reward).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::layout::{ACTIONS, OBS, REWARDS};

    #[test]
    fn every_number_has_a_name() {
        let description = description();
        let names = description.observation_names();
        assert_eq!(names.len(), OBS);
        assert_eq!((names[3].as_str(), names[14].as_str()), ("credits", "owned_poly"));
        assert_eq!(names[OBS - 2], "cell 35 exit");
        assert_eq!((description.actions.len(), description.rewards.len()), (ACTIONS, REWARDS));
        assert_eq!(description.action(5), "push");
        assert_eq!(description.actions[5].does, "every enemy moves one cell away from the player (2 energy)");
        let is = |index: usize| description.observation[0].features[index].is.as_str();
        assert_eq!((is(3), is(5), is(8)), ("min(credits / 50, 1)", "(stage - 1) / 7", "show"));
    }
}
