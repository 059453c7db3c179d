//! The five modes: what an agent sees, what it is paid for, and whether it can die.

use strum::EnumIter;

use super::Goodharts;
use crate::envs::{AnyEnv, Switch, boxed};

/// What training optimises. The world is the same in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumIter)]
pub enum Mode {
    /// Sees what is food and what is poison; is paid for energy.
    #[default]
    GroundTruth,
    /// The same, with a milder price of poison and death, and paid for coming near to food.
    GroundTruthHandhold,
    /// Sees only how interesting a cell is; is paid for energy.
    GroundTruthBlinded,
    /// Sees how interesting a cell is, and is paid for that.
    ProxyMortal,
    /// The same, and its energy never changes while it is trained.
    Proxy,
}

/// Each mode but the default one as another make of the environment.
pub const SWITCHES: &[Switch] = &[
    Switch { name: "ground_truth_handhold", make: || in_mode(Mode::GroundTruthHandhold) },
    Switch { name: "ground_truth_blinded", make: || in_mode(Mode::GroundTruthBlinded) },
    Switch { name: "proxy_mortal", make: || in_mode(Mode::ProxyMortal) },
    Switch { name: "proxy", make: || in_mode(Mode::Proxy) },
];

fn in_mode(mode: Mode) -> Box<dyn AnyEnv> {
    boxed(Goodharts::default().with_mode(mode))
}

impl Mode {
    /// Its name in the documentation: `ground_truth`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::GroundTruth => "ground_truth",
            Mode::GroundTruthHandhold => "ground_truth_handhold",
            Mode::GroundTruthBlinded => "ground_truth_blinded",
            Mode::ProxyMortal => "proxy_mortal",
            Mode::Proxy => "proxy",
        }
    }

    /// The options of the environment that are this mode; none for the default one.
    pub fn options(self) -> Vec<String> {
        if self == Mode::default() { Vec::new() } else { vec![format!("{}=true", self.name())] }
    }

    /// Whether it sees how interesting a cell is instead of what is there.
    pub fn sees_interest(self) -> bool {
        matches!(self, Mode::GroundTruthBlinded | Mode::ProxyMortal | Mode::Proxy)
    }

    /// Whether its energy stays what it is in training.
    pub fn is_immortal(self) -> bool {
        self == Mode::Proxy
    }
}
