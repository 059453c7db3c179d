use std::rc::Rc;

use lockstep::algorithms::policy::{Choice, Metadata, Policy};
use lockstep::algorithms::ppo::{self, Ppo};
use lockstep::algorithms::{Entry, NamedArrays, Recipe};
use lockstep::envs::{AnyEnv, EnvSpec};
use network::Small;

/// PPO with that network.
enum SmallPpo {}

impl Recipe for SmallPpo {
    type Settings = ppo::Settings;
    type Algorithm = Ppo<Small>;

    const NAME: &'static str = ppo::Recipe::NAME;
    const SUMMARY: &'static str = "PPO with a small network";
    const FIXED: &'static [&'static str] = ppo::Recipe::FIXED;
    const TRACED: &'static [&'static str] = ppo::Recipe::TRACED;

    fn num_envs(settings: &ppo::Settings) -> usize {
        settings.num_envs
    }
    fn check(settings: &ppo::Settings) -> anyhow::Result<()> {
        settings.check()
    }
    fn make(settings: ppo::Settings, env: Rc<dyn AnyEnv>) -> anyhow::Result<Ppo<Small>> {
        let network = Small::new(&env.spec());
        Ppo::with_network(settings, env, network)
    }
    fn policy(params: NamedArrays, _: &Metadata, how: Choice, spec: &EnvSpec) -> anyhow::Result<Policy> {
        Policy::with_network(Small::new(spec), params, how)
    }
}

fn main() -> std::process::ExitCode {
    lockstep::App::new("own").algorithm(Entry::of::<SmallPpo>()).envs(lockstep::envs::builtin()).main()
}
