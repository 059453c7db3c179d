//! An algorithm of one's own: REINFORCE (Williams 1992) with a baseline that is learned.

use std::rc::Rc;

use lockstep::algorithms::learner::{Algorithm, Inputs, Shared, UpdateTrace, Updated};
use lockstep::algorithms::policy::{Actor, Choice, Metadata, NetworkActor, Policy};
use lockstep::algorithms::rollout::{Acting, Envs, World};
use lockstep::algorithms::{NamedArrays, Recipe, advantage::gae, metrics::Recorder, optimizer::Adam};
use lockstep::envs::{AnyEnv, EnvSpec};
use lockstep::lang::{Key, Leaves, all_reduce, float, merge_first_axes, ravel, unravel, value_and_grad};
use lockstep::nn::{Categorical, Network};

use super::network::{Small, SmallParams};

/// Each field is a flag, an environment variable and a key of configuration files.
#[derive(clap::Args, serde::Serialize, serde::Deserialize)]
#[command(next_help_heading = "REINFORCE")]
pub struct Settings {
    /// Environments that step in lockstep
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub num_envs: usize,
    /// Steps of each environment per update
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub horizon: usize,
    /// Learning rate of Adam
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub lr: f64,
    /// Discount per step
    #[arg(long, value_name = "X", default_value_t = 0.99)]
    pub gamma: f64,
}
lockstep::traced!(Hyper of Settings { lr, gamma });

/// What is fixed when the programs are compiled.
pub struct Reinforce {
    settings: Settings,
    env: Rc<dyn AnyEnv>,
    network: Small,
}

/// Everything that an update changes.
pub struct State {
    params: SmallParams,
    adam: Adam<SmallParams>,
    envs: Envs,
    key: Key,
}
lockstep::tree!(State { params, adam, envs, key });

impl Algorithm for Reinforce {
    type State = State;
    type Hyper = Hyper;
    type Params = SmallParams;

    fn name(&self) -> &'static str {
        Self::NAME
    }
    fn env(&self) -> &dyn AnyEnv {
        &*self.env
    }
    fn timesteps_per_update(&self) -> u64 {
        (self.settings.num_envs * self.settings.horizon) as u64
    }
    fn hyper(&self) -> Hyper {
        self.settings.hyper()
    }

    fn init(&self, inputs: &Inputs<Hyper>, key: Key) -> State {
        let [params_key, envs_key, key] = key.split();
        let params = self.network.init(params_key);
        let world = World::of(inputs, &*self.env, self.settings.num_envs, inputs.hyper.gamma);
        let envs = world.reset(envs_key, Leaves::default());
        State { adam: Adam::new(&params), params, envs, key }
    }

    fn update(&self, inputs: &Inputs<Hyper>, State { params, adam, envs, key }: State) -> Updated<State> {
        let [rollout_key, key] = key.split();
        let policy = Acting { network: &self.network, params: &params };
        let world = World::of(inputs, &*self.env, self.settings.num_envs, inputs.hyper.gamma);
        let (envs, steps, totals) = world.rollout(&policy, envs, rollout_key, self.settings.horizon);
        // Sums of discounted rewards, which the baseline continues after the last step.
        let last = params.value.broadcast(0, envs.returns.size());
        let (_, returns) = gae(steps.reward, steps.value, steps.done, last, inputs.hyper.gamma, float(1.0));
        let (steps, returns) = merge_first_axes((steps, returns));
        let count = self.timesteps_per_update() as usize;
        let (loss, (), gradient) = value_and_grad(&params, |params| {
            let (_, outputs) = self.network.apply(&params, Leaves::default(), &steps.view, None);
            let log_prob = Categorical::new(outputs.logits, steps.view.mask).log_prob(steps.action);
            let surprise = returns - outputs.value;
            let loss = surprise.square() * 0.5 - surprise.stop_gradient() * log_prob;
            (loss.sum_all() / count as f64, ())
        });
        let gradient = unravel(&gradient, all_reduce(ravel(&gradient)));
        let (params, adam) = adam.step(&params, &gradient, inputs.hyper.lr, float(1e-8));
        let mut m = Recorder::new(float(count as f64));
        m.mean("train/loss", loss, 1).describe("", "loss of policy and baseline");
        totals.record(&mut m, &self.env.spec(), count);
        Updated { state: State { params, adam, envs, key }, metrics: m, trace: UpdateTrace::new() }
    }

    fn params<'a>(&self, state: &'a State) -> &'a SmallParams {
        &state.params
    }
    fn key<'a>(&self, state: &'a State) -> &'a Key {
        &state.key
    }
    fn share(&self, state: &State, shared: &mut Shared) {
        state.envs.share(shared);
    }
    fn actor(&self) -> Rc<dyn Actor> {
        Rc::new(NetworkActor::of(self.network.clone()))
    }
}

impl Recipe for Reinforce {
    type Settings = Settings;
    type Algorithm = Reinforce;

    const NAME: &'static str = "reinforce";
    const SUMMARY: &'static str = "policy gradient with a baseline (Williams 1992)";
    const FIXED: &'static [&'static str] = &["num_envs", "horizon"];
    const TRACED: &'static [&'static str] = Settings::TRACED;

    fn num_envs(settings: &Settings) -> usize {
        settings.num_envs
    }
    fn make(settings: Settings, env: Rc<dyn AnyEnv>) -> anyhow::Result<Reinforce> {
        let EnvSpec { name, players, .. } = env.spec();
        anyhow::ensure!(players == 1, "{name} is a game for {players}; reinforce learns those for one");
        let network = Small::new(&env.spec());
        Ok(Reinforce { settings, env, network })
    }
    fn policy(params: NamedArrays, _: &Metadata, how: Choice, spec: &EnvSpec) -> anyhow::Result<Policy> {
        Policy::with_network(Small::new(spec), params, how)
    }
}
