//! Proximal policy optimization (Schulman et al. 2017) with masked categorical policies.
//!
//! Read it from top to bottom in the order of the paper: what is learned ([`State`]), one [update](Ppo::update)
//! (rollout, advantages, epochs of minibatches), the loss. Numbers that may change without compiling again are
//! [`Hyper`] parameters. A network that remembers is trained on the whole segments of environments: a minibatch is a choice of
//! environments then, each with all its steps and with what was remembered at their start.

mod choices;
pub mod golden;
mod losses;
mod options;
mod popart;
mod recipe;
mod samples;
mod scaling;
mod schedules;
mod segments;
mod settings;
#[cfg(test)]
mod tests;

pub use choices::{NormAdv, ObsStorage, TruncBootstrap};
pub use options::{Form, Optimizer, Options};
pub use recipe::Recipe;
pub use scaling::{auto_scale, auto_tune};
pub use settings::{Hyper, Settings};

use std::rc::Rc;

use anyhow::{Result, ensure};

use crate::algorithms::advantage::{explained_variance, gae, mean_and_std, mean_and_unbiased_std};
use crate::algorithms::curriculum::Schedule;
use crate::algorithms::gradient::{self, micro_batch_rows};
use crate::algorithms::learner::{Algorithm, Fetch, Inputs, Shared, UpdateTrace, Updated};
use crate::algorithms::metrics::Recorder;
use crate::algorithms::muon;
use crate::algorithms::opponents::{Opponents, Standing};
use crate::algorithms::optimizer::{Adam, clip_by_global_norm, clip_parts_by_norm};
use crate::algorithms::policy::{Actor, Choice, NetworkActor};
use crate::algorithms::rollout::{Acting, Behavior, Envs, Memory, Totals, Transition, World};
use crate::algorithms::self_play::{Faced, Opponent};
use crate::envs::AnyEnv;
use crate::lang::{
    Bool, Float, Int, Key, Leaves, boolean, float, leaf_types, merge_first_axes, numbered, positions, ravel,
    scan, select, select_tree, structure_of, swap_first_axes, take_tree, unravel, while_loop,
};
use crate::lower::Precision;
use crate::nn::{ActorCritic, Categorical, Network};

use losses::{LOSSES, Losses, Sides, no_losses};
use samples::{Sample, as_stored};
use segments::Segments;

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

/// What gradient steps improve.
#[derive(Clone)]
struct Learned<P> {
    params: P,
    optimizer: Adam<P>,
}
crate::tree!(Learned<P> { params, optimizer });

/// Whether the policy of the gradient steps is still near that of the rollout, where that matters.
type Near = Option<Bool>;

/// What gradient steps learn from.
enum Experience {
    Samples(Sample),
    Segments(Segments),
}

/// PPO with some network on one environment: what is fixed when the programs are compiled.
pub struct Ppo<N = ActorCritic> {
    settings: Settings,
    env: Rc<dyn AnyEnv>,
    network: N,
    opponents: Opponents,
}

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

    fn faced(&self, state: &Self::State, fetch: Fetch) -> Result<Option<Vec<Faced>>> {
        self.opponents.faced(&state.standing, fetch)
    }

    fn freeze_every(&self) -> Option<u64> {
        self.opponents.freeze_every()
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
        let (params, optimizer) = (state.params, state.optimizer);
        let (params, optimizer) =
            popart::follow(&self.network, &self.settings, params, optimizer, target, inputs.num_devices);
        let popart = self.network.popart(&params);
        let stored = as_stored(&self.settings, transitions, &envs);
        let experience = match self.settings.options.in_segments() {
            false => Experience::Samples(Sample::of(stored, advantage, target, memory, popart)),
            true => Experience::Segments(Segments::of(stored, advantage, target, memory, last_value)),
        };

        let hyper = self.settings.scheduled(inputs);
        let learned = Learned { params, optimizer };
        let (Learned { params, optimizer }, losses, grad_norm) =
            self.improve(inputs, &hyper, learned, experience, shuffle_key);

        let mean_losses = unravel(&no_losses(&self.settings), losses.mean([0]));
        let Transition { view, log_prob, .. } = transitions;
        let most = self.max_entropy(view.mask, reward.size());
        let mut metrics = self.record(&hyper, mean_losses, most, grad_norm.mean_all(), &totals);
        let explained = explained_variance(target, value, inputs.num_devices);
        metrics.value("train/explained_variance", explained).describe(
            "share",
            "how much of the variance of their targets the values of the rollout explained",
        );
        if let Some(popart) = self.network.popart(&params) {
            popart::record(&mut metrics, popart);
        }
        let mut seen = vec![("obs", view.obs.numbers())];
        seen.extend(view.privileged.map(|privileged| ("privileged", privileged)));
        seen.extend([("value", value), ("log_prob", log_prob), ("reward", reward)]);
        let trace = UpdateTrace::new()
            .rollout(&seen)
            .end(&[("last_value", last_value)])
            .rollout(&[("advantage", advantage)])
            .rollout(&[("target", target)])
            .gradient(&[(&LOSSES[..losses.shape()[1]], losses), (&["grad_norm"], grad_norm)]);
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
    /// One line: opponents that the environment cannot have; a setting about the critic that the network cannot follow.
    pub fn with_network(settings: Settings, env: Rc<dyn AnyEnv>, network: N) -> Result<Ppo<N>> {
        let actor = Rc::new(NetworkActor::of(network.clone()));
        let opponents = Opponents::new(&settings.opponents, &*env, actor, Choice::Sample)?;
        let mut params = structure_of(|| network.init(Key::new(0)));
        ensure!(
            !settings.clip_parts || network.critic(&mut params).is_some(),
            "clip_parts needs a network that tells its critic apart from the rest, which this one does not"
        );
        Ok(Ppo { settings, env, network, opponents })
    }

    /// The epochs of minibatches: new parameters and optimizer; of each gradient step the losses `[G, L]` and the norm
    /// of the gradient `[G]`. Inside, all parameters are one vector, so that a step of the optimizer is a few operations however many
    /// layers there are.
    fn improve(
        &self,
        inputs: &Inputs<Hyper>,
        hyper: &Hyper,
        learned: Learned<N::Params>,
        experience: Experience,
        key: Key,
    ) -> (Learned<N::Params>, Float, Float) {
        let Learned { params, optimizer } = learned;
        let flat =
            Adam { mean: ravel(&optimizer.mean), square: ravel(&optimizer.square), count: optimizer.count };
        let start = Learned { params: ravel(&params), optimizer: flat };
        let near = self.settings.options.target_kl.map(|_| boolean(true));
        let start = (start, Sides::guess(&self.settings), near);
        let (Learned { params: vector, optimizer: flat }, losses, norms) = match &experience {
            Experience::Samples(samples) => self.improve_samples(inputs, hyper, &params, start, samples, key),
            Experience::Segments(segments) => {
                self.improve_segments(inputs, hyper, &params, start, segments, key)
            }
        };
        let optimizer = Adam {
            mean: unravel(&params, flat.mean),
            square: unravel(&params, flat.square),
            count: flat.count,
        };
        (Learned { params: unravel(&params, vector), optimizer }, losses, norms)
    }

    /// The epochs of minibatches of samples, with parameters and optimizer as vectors. `like` has the structure of the parameters.
    fn improve_samples(
        &self,
        inputs: &Inputs<Hyper>,
        hyper: &Hyper,
        like: &N::Params,
        start: (Learned<Float>, Sides, Near),
        samples: &Sample,
        key: Key,
    ) -> (Learned<Float>, Float, Float) {
        let Settings { num_minibatches, norm_adv, .. } = self.settings;
        let rows = samples.action.shape()[0];
        // Devices hold different samples, so they shuffle apart.
        let shuffled = self.shuffled(key.fold_in(inputs.device()), rows);
        let all = self.settings.passes() * num_minibatches;
        let count = self.settings.gradient_steps();
        let minibatches = shuffled.reshape([all, rows / num_minibatches]);
        let minibatches = if count == all { minibatches } else { minibatches.slice(0, 0..count) };
        let (mean, std) = match norm_adv {
            NormAdv::Minibatch => {
                let advantages = samples.advantage.take(minibatches, 0);
                mean_and_std(advantages.reshape([count, advantages.size() / count]), inputs.num_devices)
            }
            NormAdv::Batch => {
                let (mean, std) = mean_and_unbiased_std(samples.advantage, inputs.num_devices);
                (mean.fill(&[count]), std.fill(&[count]))
            }
        };
        let ((learned, ..), (losses, norms)) =
            scan(start, (minibatches, mean, std), |now, (chosen, mean, std)| {
                self.descend_while_near(inputs, hyper, like, now, (samples, chosen), (mean, std))
            });
        (learned, losses, norms)
    }

    /// As [`Ppo::descend`]; nothing changes any more once the policy is too far from that of the rollout.
    fn descend_while_near(
        &self,
        inputs: &Inputs<Hyper>,
        hyper: &Hyper,
        like: &N::Params,
        (learned, sides, near): (Learned<Float>, Sides, Near),
        batch: (&Sample, Int),
        moments: (Float, Float),
    ) -> ((Learned<Float>, Sides, Near), (Float, Float)) {
        let before = near.map(|_| learned.clone());
        let ((after, sides), (losses, norm)) =
            self.descend(inputs, hyper, like, (learned, sides), batch, moments);
        let near = near.map(|near| near & self.is_near(losses));
        let learned = match near.zip(before) {
            Some((near, before)) => select_tree(near, after, before),
            None => after,
        };
        ((learned, sides, near), (losses, norm))
    }

    /// Whether the policy is still near that of the rollout, by the losses of a gradient step, as `target_kl` says.
    fn is_near(&self, losses: Float) -> Bool {
        let Losses { approx_kl, .. } = unravel(&no_losses(&self.settings), losses);
        approx_kl.le(self.settings.options.target_kl.unwrap_or(f64::INFINITY))
    }

    /// One gradient step on the rows `chosen` of the samples, whose advantages have this mean and standard deviation: what was
    /// learned and the sides of the loss, then the losses and the norm of the gradient. `like` has the structure of the parameters.
    fn descend(
        &self,
        inputs: &Inputs<Hyper>,
        hyper: &Hyper,
        like: &N::Params,
        (Learned { params: vector, optimizer }, sides): (Learned<Float>, Sides),
        (samples, chosen): (&Sample, Int),
        moments: (Float, Float),
    ) -> ((Learned<Float>, Sides), (Float, Float)) {
        let params = unravel(like, vector);
        let (losses, gradient, sides) =
            self.gradient(inputs, hyper, &params, (samples, chosen), moments, sides);
        let Options { optimizer: kind, momentum, .. } = self.settings.options;
        let (params, optimizer, norm) = match kind {
            Optimizer::Adam if !self.settings.clip_parts => {
                let Hyper { lr, adam_epsilon, max_grad_norm, .. } = *hyper;
                optimizer.clipped_step(vector, gradient, lr, adam_epsilon, max_grad_norm)
            }
            _ => {
                let (gradient, norm) = self.clip(hyper, like, gradient);
                let (params, optimizer) = match kind {
                    Optimizer::Adam => optimizer.step(&vector, &gradient, hyper.lr, hyper.adam_epsilon),
                    Optimizer::Muon => muon::step(like, optimizer, vector, gradient, hyper.lr, momentum),
                };
                (params, optimizer, norm)
            }
        };
        ((Learned { params, optimizer }, sides), (losses, norm))
    }

    /// The losses and the gradient, each as one vector, over the rows `chosen` of all devices, whose advantages have this mean
    /// and standard deviation. `guess` is the side of its kinks that the loss is guessed to be on; where it turns out to be on
    /// another one, the gradient is computed once more.
    fn gradient(
        &self,
        inputs: &Inputs<Hyper>,
        hyper: &Hyper,
        params: &N::Params,
        (samples, chosen): (&Sample, Int),
        (mean, std): (Float, Float),
        guess: Sides,
    ) -> (Float, Float, Sides) {
        let (rows, steps) = (chosen.shape()[0], samples.steps());
        let scale = 1.0 / (rows * steps * inputs.num_devices) as f64;
        let part = rows / self.settings.options.accumulate;
        let micro = micro_batch_rows(part, steps * self.network.activations(params), params);
        let none = || no_losses(&self.settings);
        let on = |sides: Sides| {
            gradient::sums(params, none, chosen, micro, inputs.num_devices, |params, rows| {
                let mut sample = take_tree(samples, rows);
                sample.advantage = (sample.advantage - mean) / (std + 1e-8);
                let losses = self.losses(hyper, &params, sample, scale);
                (sides.contribution(hyper, &losses), losses)
            })
        };
        if guess.is_plain() {
            let (losses, gradient) = on(guess);
            return (losses, gradient, guess);
        }
        let size = ravel(params).size();
        let nothing = (ravel(&none()), Float::full([size], 0.0), guess, boolean(true));
        let (losses, gradient, sides, _) = while_loop(
            nothing,
            |(.., again)| *again,
            |(_, _, sides, _)| {
                let (losses, gradient) = on(sides);
                let found = Sides::of(hyper, &unravel(&none(), losses));
                (losses, gradient, found, found.differ(&sides))
            },
        );
        (ravel(&sides.chosen(&unravel(&none(), losses))), gradient, sides)
    }

    /// The gradient, as one vector, clipped as the settings say, and its norm before. `like` has the structure of the parameters.
    fn clip(&self, hyper: &Hyper, like: &N::Params, gradient: Float) -> (Float, Float) {
        if !self.settings.clip_parts {
            return clip_by_global_norm(gradient, hyper.max_grad_norm);
        }
        let (gradient, [others, critic]) =
            clip_parts_by_norm(gradient, &self.parts(like), hyper.max_grad_norm);
        (gradient, (others.square() + critic.square()).sqrt())
    }

    /// How many numbers each array of the parameters has, and whether it is the critic's own: 1, else 0.
    fn parts(&self, like: &N::Params) -> Vec<(usize, usize)> {
        let mut numbers = numbered(like.clone());
        let critic = self.network.critic(&mut numbers).map(|critic| positions(critic.layers));
        let is_critics = |leaf: &usize| critic.as_ref().is_some_and(|critic| critic.contains(leaf));
        let sizes = leaf_types(like).into_iter().map(|array_type| array_type.size());
        sizes.enumerate().map(|(leaf, size)| (size, usize::from(is_critics(&leaf)))).collect()
    }

    /// The parts of the loss, summed over the sample times `scale`: the clipped surrogate objective, value loss and entropy.
    fn losses(&self, hyper: &Hyper, params: &N::Params, sample: Sample, scale: f64) -> Losses {
        let (distribution, value, sample) = self.evaluate(params, sample);
        let log_ratio = distribution.log_prob(sample.action) - sample.log_prob;
        let ratio = log_ratio.exp();
        let (low, high) = (1.0 - hyper.clip_eps, 1.0 + hyper.clip_eps);
        let pg = (-sample.advantage * ratio).maximum(-sample.advantage * ratio.clamp(low, high));
        let Settings { clip_vloss, clip_vloss_of_means, .. } = self.settings;
        let mut vf = (value - sample.target).square();
        let clipped_vf = (clip_vloss || clip_vloss_of_means).then(|| {
            let moved = (value - sample.value).clamp(-hyper.clip_eps, hyper.clip_eps);
            (sample.value + moved - sample.target).square()
        });
        if let (Some(clipped), false) = (clipped_vf, clip_vloss_of_means) {
            vf = vf.maximum(clipped);
        }
        let mean = |x: Float| x.sum_all() * scale;
        Losses {
            pg_loss: mean(pg),
            vf_loss: mean(vf) * 0.5,
            entropy: mean(distribution.entropy()),
            approx_kl: mean(ratio - 1.0 - log_ratio),
            clip_frac: mean((ratio - 1.0).abs().gt(hyper.clip_eps).as_f32()),
            importance: mean(ratio),
            clipped_vf_loss: clipped_vf.filter(|_| clip_vloss_of_means).map(|clipped| mean(clipped) * 0.5),
        }
    }

    /// What the network says of a sample now, and the sample as transitions in the same order.
    fn evaluate(&self, params: &N::Params, sample: Sample) -> (Categorical, Float, Sample) {
        match sample.memory.clone() {
            None => {
                let in_segments = sample.action.rank() == 2;
                let sample = if in_segments { merge_first_axes(sample) } else { sample };
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
        hyper: &Hyper,
        losses: Losses,
        max_entropy: Float,
        grad_norm: Float,
        totals: &Totals,
    ) -> Recorder {
        let steps = self.settings.batch_size();
        let mut m = Recorder::new(float(steps as f64));
        losses.record(&mut m, hyper, max_entropy, steps);
        m.value("train/grad_norm", grad_norm).describe("", "norm of the gradient before it is clipped");
        m.value("train/lr", hyper.lr).describe("", "learning rate");
        totals.record(&mut m, &self.env.spec(), steps);
        self.opponents.record(&mut m, totals);
        Losses::record_scheduled(&mut m, hyper);
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
            cut_off_ends: self.settings.trunc_bootstrap == TruncBootstrap::FinalObs,
            reward_clamp: self.settings.options.reward_clamp,
            opponent,
            opening: self.opponents.opening(),
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
