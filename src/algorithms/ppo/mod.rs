//! Proximal policy optimization (Schulman et al. 2017) with masked categorical policies.
//!
//! Read it from top to bottom in the order of the paper: what is learned ([`State`]), one [update](Ppo::update)
//! (rollout, advantages, epochs of minibatches), the loss. Numbers that may change without compiling again are
//! [`Hyper`] parameters. A network that remembers is trained on the whole segments of environments: a minibatch is a choice of
//! environments then, each with all its steps and with what was remembered at their start.

mod losses;
mod recipe;
mod scaling;
mod settings;

pub use recipe::Recipe;
pub use scaling::{auto_scale, auto_tune};
pub use settings::{Hyper, Settings};

use std::rc::Rc;

use anyhow::Result;

use crate::algorithms::advantage::{gae, mean_and_std};
use crate::algorithms::curriculum::Schedule;
use crate::algorithms::gradient::{self, micro_batch_rows};
use crate::algorithms::learner::{Algorithm, Inputs, Shared, UpdateTrace, Updated};
use crate::algorithms::metrics::Recorder;
use crate::algorithms::minibatch::Permutation;
use crate::algorithms::opponents::{Opponents, Standing};
use crate::algorithms::optimizer::{Adam, clip_by_global_norm};
use crate::algorithms::policy::{Actor, Choice, NetworkActor};
use crate::algorithms::rollout::{Acting, Behavior, Envs, Memory, Totals, Transition, World};
use crate::algorithms::self_play::Opponent;
use crate::envs::AnyEnv;
use crate::envs::vector::View;
use crate::lang::{
    Bool, Float, Int, Key, Leaves, arange, float, merge_first_axes, ravel, scan, select, swap_first_axes,
    take_tree, unravel, vmap,
};
use crate::lower::Precision;
use crate::nn::{ActorCritic, Categorical, Network};

use losses::{LOSSES, Losses, no_losses, total_loss};

/// Most environments of the agents of a group that are worked on at once (measured on cartpole).
const ENVS_AT_ONCE: usize = 64;

/// Everything that an update changes.
pub struct State<P> {
    pub params: P,
    pub optimizer: Adam<P>,
    pub envs: Envs,
    /// In a game for two.
    pub standing: Option<Standing>,
    pub key: Key,
}
crate::tree!(State<P> { params, optimizer, envs, standing, key });

/// PPO with some network on one environment: what is fixed when the programs are compiled.
pub struct Ppo<N = ActorCritic> {
    settings: Settings,
    env: Rc<dyn AnyEnv>,
    network: N,
    opponents: Opponents,
}

/// What the loss needs, `[N, ...]`: of `N` transitions, or of the `T` transitions of `N` environments, `[N, T, ...]`.
struct Sample {
    view: View,
    action: Int,
    log_prob: Float,
    value: Float,
    advantage: Float,
    target: Float,
    /// Of environments: what was remembered before the first step `[N, ...]`, and where episodes began `[N, T]`.
    memory: Option<Memory>,
}
crate::tree!(Sample { view, action, log_prob, value, advantage, target, memory });

impl Ppo {
    /// With lockstep's own network.
    ///
    /// # Errors
    /// One line: a network that cannot read the environment's observations; opponents that the environment cannot have.
    pub fn new(settings: Settings, env: Rc<dyn AnyEnv>) -> Result<Ppo> {
        let network = ActorCritic::new(settings.network(), &env.spec())?;
        Ppo::with_network(settings, env, network)
    }
}

impl<N: Network + Clone + 'static> Algorithm for Ppo<N> {
    type State = State<N::Params>;
    type Hyper = Hyper;
    type Params = N::Params;

    fn name(&self) -> &'static str {
        "ppo"
    }

    fn env(&self) -> &dyn AnyEnv {
        &*self.env
    }

    fn timesteps_per_update(&self) -> u64 {
        self.settings.batch_size() as u64
    }

    fn hyper(&self) -> Hyper {
        self.settings.hyper()
    }

    fn schedule(&self) -> Option<Schedule> {
        self.settings.schedule()
    }

    fn precision(&self) -> Precision {
        self.settings.precision
    }

    fn check_devices(&self, num_devices: usize) -> Result<()> {
        self.settings.check_devices(num_devices)
    }

    fn agents_at_once(&self) -> usize {
        ENVS_AT_ONCE / self.settings.num_envs
    }

    fn init(&self, inputs: &Inputs<Hyper>, key: Key) -> State<N::Params> {
        let [params_key, envs_key, key] = key.split();
        let params = self.network.init(params_key);
        let agent = Leaves::of(&params);
        let standing = self.opponents.begin(&agent);
        let opponent = self.opponents.playing(&standing, &agent);
        let world = self.world(inputs, float(0.0), opponent.as_ref().map(|opponent| opponent as _));
        let envs = world.reset(envs_key, self.network.begin(world.num_envs));
        State { optimizer: Adam::new(&params), params, envs, standing, key }
    }

    /// Collect experience, estimate advantages, improve policy and value function.
    fn update(&self, inputs: &Inputs<Hyper>, state: State<N::Params>) -> Updated<State<N::Params>> {
        let [rollout_key, shuffle_key, key] = state.key.split();
        let policy = Acting { network: &self.network, params: &state.params };
        let (agent, standing) = (Leaves::of(&state.params), state.standing);
        let opponent = self.opponents.playing(&standing, &agent);
        let world = self.world(inputs, inputs.hyper.gamma, opponent.as_ref().map(|opponent| opponent as _));
        let memory = state.envs.memory.clone();
        let (mut envs, transitions, totals) =
            world.rollout(&policy, state.envs, rollout_key, self.settings.num_steps);
        let last_value = last_value(&policy, &envs);
        let Hyper { gamma, gae_lambda, .. } = inputs.hyper;
        let Transition { reward, value, done, .. } = transitions;
        let (advantage, target) = gae(reward, value, done, last_value, gamma, gae_lambda);
        let samples = samples(transitions, advantage, target, memory);

        let lr = inputs.hyper.lr * (1.0 - inputs.hyper.anneal_lr * inputs.done_share());
        let (params, optimizer, losses, grad_norm) =
            self.improve(inputs, lr, state.params, state.optimizer, samples, shuffle_key);

        let mean_losses = unravel(&no_losses(), losses.mean([0]));
        let Transition { view, log_prob, .. } = transitions;
        let most = self.max_entropy(view.mask, reward.size());
        let metrics = self.record(inputs, lr, mean_losses, most, grad_norm.mean_all(), &totals);
        let mut seen = vec![("obs", view.obs.numbers())];
        seen.extend(view.privileged.map(|privileged| ("privileged", privileged)));
        seen.extend([("value", value), ("log_prob", log_prob), ("reward", reward)]);
        let trace = UpdateTrace::new()
            .rollout(&seen)
            .end(&[("last_value", last_value)])
            .rollout(&[("advantage", advantage)])
            .rollout(&[("target", target)])
            .gradient(&[(&LOSSES, losses), (&["grad_norm"], grad_norm)]);
        let (agent, timesteps) = (Leaves::of(&params), self.settings.batch_size());
        let standing =
            self.opponents.after(standing, &totals, inputs.num_devices, timesteps, &agent, &mut envs);
        Updated { state: State { params, optimizer, envs, standing, key }, metrics, trace }
    }

    fn params<'a>(&self, state: &'a State<N::Params>) -> &'a N::Params {
        &state.params
    }

    fn key<'a>(&self, state: &'a State<N::Params>) -> &'a Key {
        &state.key
    }

    fn share(&self, state: &State<N::Params>, shared: &mut Shared) {
        state.envs.share(shared);
    }

    fn actor(&self) -> Rc<dyn Actor> {
        Rc::new(NetworkActor::of(self.network.clone()))
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.network.metadata()
    }
}

impl<N: Network + Clone + 'static> Ppo<N> {
    /// With a network of the caller's. Of the settings, those of lockstep's own network have no meaning then.
    ///
    /// # Errors
    /// One line: opponents that the environment cannot have.
    pub fn with_network(settings: Settings, env: Rc<dyn AnyEnv>, network: N) -> Result<Ppo<N>> {
        let actor = Rc::new(NetworkActor::of(network.clone()));
        let opponents = Opponents::new(&settings.opponents, &*env, actor, Choice::Sample)?;
        Ok(Ppo { settings, env, network, opponents })
    }

    /// The epochs of minibatches: new parameters and optimizer; of each gradient step the losses `[G, 5]` and the norm
    /// of the gradient `[G]`. Inside, all parameters are one vector, so that a step of the optimizer is a few operations however many
    /// layers there are.
    fn improve(
        &self,
        inputs: &Inputs<Hyper>,
        lr: Float,
        params: N::Params,
        optimizer: Adam<N::Params>,
        samples: Sample,
        key: Key,
    ) -> (N::Params, Adam<N::Params>, Float, Float) {
        let Settings { num_minibatches, update_epochs, .. } = self.settings;
        let rows = samples.action.shape()[0];
        // Devices hold different samples, so they shuffle apart.
        let shuffle = |epoch: Int| {
            Permutation::new(key.fold_in(inputs.device()).fold_in(epoch), rows).apply(arange(rows))
        };
        let shuffled = vmap(arange(update_epochs), shuffle);
        let count = update_epochs * num_minibatches;
        let minibatches = shuffled.reshape([count, rows / num_minibatches]);
        let advantages = samples.advantage.take(minibatches, 0);
        let (mean, std) =
            mean_and_std(advantages.reshape([count, advantages.size() / count]), inputs.num_devices);
        let flat =
            Adam { mean: ravel(&optimizer.mean), square: ravel(&optimizer.square), count: optimizer.count };
        let start = (ravel(&params), flat);
        let xs = (minibatches, mean, std);
        let ((vector, flat), (losses, norms)) =
            scan(start, xs, |(vector, optimizer), (chosen, mean, std)| {
                let params = unravel(&params, vector);
                let (losses, gradient) = self.gradient(inputs, &params, &samples, chosen, (mean, std));
                let (gradient, norm) = clip_by_global_norm(gradient, inputs.hyper.max_grad_norm);
                let (vector, optimizer) = optimizer.step(&vector, &gradient, lr, inputs.hyper.adam_epsilon);
                ((vector, optimizer), (losses, norm))
            });
        let optimizer = Adam {
            mean: unravel(&params, flat.mean),
            square: unravel(&params, flat.square),
            count: flat.count,
        };
        (unravel(&params, vector), optimizer, losses, norms)
    }

    /// The losses and the gradient, each as one vector, over the rows `chosen` of all devices, whose advantages have this mean
    /// and standard deviation.
    fn gradient(
        &self,
        inputs: &Inputs<Hyper>,
        params: &N::Params,
        samples: &Sample,
        chosen: Int,
        (mean, std): (Float, Float),
    ) -> (Float, Float) {
        let (rows, steps) = (chosen.shape()[0], samples.steps());
        let scale = 1.0 / (rows * steps * inputs.num_devices) as f64;
        let micro = micro_batch_rows(rows, steps * self.network.activations(params), params);
        gradient::sums(params, no_losses, chosen, micro, inputs.num_devices, |params, rows| {
            let mut sample = take_tree(samples, rows);
            sample.advantage = (sample.advantage - mean) / (std + 1e-8);
            self.loss(&inputs.hyper, &params, sample, scale)
        })
    }

    /// The clipped surrogate objective with value loss and entropy bonus, summed over the sample times `scale`.
    fn loss(&self, hyper: &Hyper, params: &N::Params, sample: Sample, scale: f64) -> (Float, Losses) {
        let (distribution, value, sample) = self.evaluate(params, sample);
        let log_ratio = distribution.log_prob(sample.action) - sample.log_prob;
        let ratio = log_ratio.exp();
        let (low, high) = (1.0 - hyper.clip_eps, 1.0 + hyper.clip_eps);
        let pg = (-sample.advantage * ratio).maximum(-sample.advantage * ratio.clamp(low, high));
        let mut vf = (value - sample.target).square();
        if self.settings.clip_vloss {
            let moved = (value - sample.value).clamp(-hyper.clip_eps, hyper.clip_eps);
            vf = vf.maximum((sample.value + moved - sample.target).square());
        }
        let mean = |x: Float| x.sum_all() * scale;
        let losses = Losses {
            pg_loss: mean(pg),
            vf_loss: mean(vf) * 0.5,
            entropy: mean(distribution.entropy()),
            approx_kl: mean(ratio - 1.0 - log_ratio),
            clip_frac: mean((ratio - 1.0).abs().gt(hyper.clip_eps).as_f32()),
        };
        (total_loss(hyper, &losses), losses)
    }

    /// What the network says of a sample now, and the sample as transitions in the same order.
    fn evaluate(&self, params: &N::Params, sample: Sample) -> (Categorical, Float, Sample) {
        match sample.memory.clone() {
            None => {
                let (_, outputs) = self.network.apply(params, Leaves::default(), &sample.view, None);
                (Categorical::new(outputs.logits, sample.view.mask), outputs.value, sample)
            }
            Some(Memory { carry, starts }) => {
                let (sample, starts) = swap_first_axes((Sample { memory: None, ..sample }, starts));
                let outputs = self.network.unroll(params, carry, sample.view, starts);
                let sample = merge_first_axes(sample);
                (Categorical::new(outputs.logits, sample.view.mask), outputs.value, sample)
            }
        }
    }

    /// The metrics of an update.
    fn record(
        &self,
        inputs: &Inputs<Hyper>,
        lr: Float,
        losses: Losses,
        max_entropy: Float,
        grad_norm: Float,
        totals: &Totals,
    ) -> Recorder {
        let steps = self.settings.batch_size();
        let mut m = Recorder::new(float(steps as f64));
        losses.record(&mut m, &inputs.hyper, max_entropy, steps);
        m.value("train/grad_norm", grad_norm).describe("", "norm of the gradient before it is clipped");
        m.value("train/lr", lr).describe("", "learning rate");
        totals.record(&mut m, &self.env.spec(), steps);
        self.opponents.record(&mut m, totals);
        m
    }

    /// The sum over this device's samples, of which there are `count`, of the logarithm of the number of valid actions.
    fn max_entropy(&self, mask: Option<Bool>, count: usize) -> Float {
        let num_actions = self.env.spec().num_actions as f64;
        match mask {
            None => float(count as f64 * num_actions.ln()),
            Some(mask) => {
                let valid = mask.as_f32().sum([mask.rank() - 1]);
                // A mask that allows nothing is read as one that allows all.
                select(valid.eq(0.0), num_actions, valid).ln().sum_all()
            }
        }
    }

    /// The world of a rollout.
    fn world<'a>(
        &'a self,
        inputs: &'a Inputs<Hyper>,
        gamma: Float,
        opponent: Option<&'a dyn Opponent>,
    ) -> World<'a> {
        World {
            reset_pool: Some(self.settings.reset_pool).filter(|&size| size > 0),
            opponent,
            ..World::of(inputs, &*self.env, self.settings.num_envs, gamma)
        }
    }
}

/// The values `[B]` of where the environments are.
fn last_value(policy: &dyn Behavior, envs: &Envs) -> Float {
    match envs.memory.clone() {
        None => policy.value(Leaves::default(), &envs.view, None),
        Some(Memory { carry, starts }) => policy.value(carry, &envs.view, Some(starts)),
    }
}

/// What the loss needs: one row per transition, or one per environment if there was something to remember.
fn samples(t: Transition, advantage: Float, target: Float, memory: Option<Memory>) -> Sample {
    let Transition { view, action, log_prob, value, starts, .. } = t;
    let sample = Sample { view, action, log_prob, value, advantage, target, memory: None };
    match memory.zip(starts) {
        None => merge_first_axes(sample),
        Some((Memory { carry, .. }, starts)) => {
            let (sample, starts): (Sample, Bool) = swap_first_axes((sample, starts));
            Sample { memory: Some(Memory { carry, starts }), ..sample }
        }
    }
}

impl Sample {
    /// Transitions in a row.
    fn steps(&self) -> usize {
        if self.memory.is_some() { self.action.shape()[1] } else { 1 }
    }
}
