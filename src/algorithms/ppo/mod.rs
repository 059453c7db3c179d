//! Proximal policy optimization (Schulman et al. 2017) with masked categorical policies.
//!
//! Read it from top to bottom in the order of the paper: what is learned ([`State`]), one [`Ppo::update`]
//! (rollout, advantages, epochs of minibatches), the loss. Numbers that may change without compiling again are
//! [`Hyper`] parameters. On cpu a minibatch is processed in micro-batches whose activations stay in the
//! processor's cache; their gradients are summed, which is the same mathematics.

mod course;
mod engine;
mod group;
mod learner;
mod settings;

pub use course::{Course, Place, Trouble};
pub use engine::{Start, Timing, modules};
pub use group::{Member, PpoGroup};
pub use learner::PpoLearner;
pub use settings::{Settings, divisor_at_most};

use crate::algorithms::advantage::gae;
use crate::algorithms::curriculum::{self, Begins, Climb, Curriculum, Phase};
use crate::algorithms::metrics::{self, Metric, Metrics, Recorder};
use crate::algorithms::minibatch::Permutation;
use crate::algorithms::optimizer::{Adam, clip_by_global_norm};
use crate::algorithms::policy::style;
use crate::algorithms::rollout::{Envs, Policy, Totals, Transition, World};
use crate::array::ArrayType;
use crate::envs::health::Range;
use crate::envs::vector::View;
use crate::envs::{AnyEnv, phases};
use crate::lang::{
    Float, Int, Key, Leaves, Tree, all_gather, all_reduce, arange, concatenate, float, int, leaves, map2,
    merge_first_axes, ravel, replica_id, scan, select, stack, take_tree, target, trace, unravel,
    value_and_grad, vmap,
};
use crate::nn::{ActorCritic, Architecture, Categorical, Style};
use crate::runtime::DeviceKind;

/// Adam's epsilon (HackMatrix trainer, section 12.4).
const ADAM_EPSILON: f64 = 1e-8;

/// What to do when the policy changes too fast.
const RATE_ADVICE: &str =
    "lower --lr, --update-epochs or the gradient steps (twice the epochs, half the rate)";

/// Everything that an update changes.
pub struct State {
    pub params: ActorCritic,
    pub optimizer: Adam<ActorCritic>,
    pub envs: Envs,
    pub key: Key,
    /// Updates done, i32.
    pub update: Int,
    /// With a curriculum whose phases end by return.
    pub curriculum: Option<Climb>,
}
crate::tree!(State { params, optimizer, envs, key, update, curriculum });

/// Settings that are inputs of the program, f32 scalars.
#[derive(Clone, Copy)]
pub struct Hyper {
    pub lr: Float,
    /// Share of the learning rate that is lost over the whole run: 0 or 1.
    pub anneal: Float,
    /// Updates of the whole run.
    pub total_updates: Float,
    pub gamma: Float,
    pub gae_lambda: Float,
    pub clip_eps: Float,
    pub vf_coef: Float,
    pub ent_coef: Float,
    pub max_grad_norm: Float,
}
crate::tree!(Hyper {
    lr,
    anneal,
    total_updates,
    gamma,
    gae_lambda,
    clip_eps,
    vf_coef,
    ent_coef,
    max_grad_norm
});

/// PPO on one environment: what is fixed when the program is compiled.
pub struct Ppo<'a> {
    pub settings: &'a Settings,
    pub env: &'a dyn AnyEnv,
    /// Devices that share the environments.
    pub num_devices: usize,
}

/// What the loss needs of one transition, `[N, ...]`.
struct Sample {
    view: View,
    action: Int,
    log_prob: Float,
    value: Float,
    advantage: Float,
    target: Float,
}
crate::tree!(Sample { view, action, log_prob, value, advantage, target });

/// Sums over the samples of a minibatch (then means).
#[derive(Clone, Copy)]
struct Losses {
    pg_loss: Float,
    vf_loss: Float,
    entropy: Float,
    approx_kl: Float,
    clip_frac: Float,
}
crate::tree!(Losses { pg_loss, vf_loss, entropy, approx_kl, clip_frac });

/// What the metrics of an update are made of.
struct Measured {
    lr: Float,
    losses: Losses,
    total_loss: Float,
    grad_norm: Float,
    /// As of [`Ppo::max_entropy`].
    max_entropy: Float,
    totals: Totals,
    phase: Option<Int>,
}

/// The network at some parameters.
struct Network<'a> {
    params: &'a ActorCritic,
    style: Style,
}

impl Policy for Network<'_> {
    fn decide(&self, view: &View) -> (Categorical, Float) {
        let (logits, value) = self.params.apply(&self.style, view.obs);
        (Categorical::new(logits, view.mask), value)
    }

    fn value(&self, view: &View) -> Float {
        self.params.value(&self.style, view.obs)
    }
}

impl Ppo<'_> {
    pub fn architecture(&self) -> Architecture {
        let spec = self.env.spec();
        Architecture {
            obs_size: spec.obs_size(),
            num_actions: spec.num_actions,
            hidden_dim: self.settings.hidden_dim,
            num_layers: self.settings.num_layers,
            activation: self.settings.activation,
            separate_trunks: self.settings.separate_trunks,
            init: self.settings.init,
        }
    }

    fn network<'a>(&self, params: &'a ActorCritic) -> Network<'a> {
        Network { params, style: style(&self.env.spec(), self.settings.activation) }
    }

    /// The environment's parameters in an update, and the number of their phase in a curriculum. `inputs` are those of
    /// [`curriculum::inputs`].
    fn env_params(&self, inputs: &Leaves, update: Int, climb: Option<Climb>) -> (Leaves, Option<Int>) {
        match self.settings.schedule() {
            None => (inputs.clone(), None),
            Some(_) => {
                let Phase { number, params } = curriculum::phase(inputs, update, climb);
                (params, Some(number))
            }
        }
    }

    /// The state before the first update.
    pub fn init(&self, env_inputs: &Leaves, key: Key) -> State {
        let by_return =
            self.settings.schedule().is_some_and(|schedule| matches!(schedule.begins, Begins::Returns(_)));
        let curriculum = by_return.then(|| Climb::begin(env_inputs));
        let (env_params, _) = self.env_params(env_inputs, int(0), curriculum);
        let [params_key, envs_key, key] = key.split();
        let params = self.architecture().init(params_key);
        State {
            optimizer: Adam::new(&params),
            params,
            envs: self.world(&env_params, float(0.0)).reset(envs_key),
            key,
            update: int(0),
            curriculum,
        }
    }

    /// One update: collect experience, estimate advantages, improve policy and value function. Returns
    /// the new state, the metrics and what was computed on the way.
    pub fn update(&self, hyper: &Hyper, env_inputs: &Leaves, state: State) -> (State, Metrics, Course) {
        let (env_params, phase) = self.env_params(env_inputs, state.update, state.curriculum);
        let [rollout_key, shuffle_key, key] = state.key.split();
        let world = self.world(&env_params, hyper.gamma);
        let network = self.network(&state.params);
        let (envs, transitions, totals) =
            world.rollout(&network, state.envs, rollout_key, self.settings.num_steps);
        let last_value = network.value(&envs.view);
        let (advantage, target) = self.advantages(hyper, transitions, last_value);
        let samples = samples(transitions, advantage, target);

        let done_share = state.update.as_f32() / hyper.total_updates;
        let lr = hyper.lr * (1.0 - hyper.anneal * done_share);
        let (params, optimizer, losses, grad_norm) =
            self.improve(hyper, lr, state.params, state.optimizer, samples, shuffle_key);

        let mean_losses = unravel(&no_losses(), losses.mean([0]));
        let total_loss = total_loss(hyper, &mean_losses);
        let metrics = self.record(&Measured {
            lr,
            losses: mean_losses,
            total_loss,
            grad_norm: grad_norm.mean_all(),
            max_entropy: self.max_entropy(&transitions),
            totals,
            phase,
        });
        let course = Course { rollout: transitions, last_value, advantage, target, losses, grad_norm };
        let update = state.update + 1;
        let climb = |climb: Climb| {
            let [episodes, mean_return] =
                [metrics::EPISODES, metrics::EPISODE_RETURN].map(|name| metrics.get(name));
            climb.after(env_inputs, update, episodes, mean_return)
        };
        let curriculum = state.curriculum.map(climb);
        (State { params, optimizer, envs, key, update, curriculum }, metrics, course)
    }

    /// Advantages and value targets, `[T, B]` each.
    fn advantages(&self, hyper: &Hyper, t: Transition, last_value: Float) -> (Float, Float) {
        gae(t.reward, t.value, t.done, last_value, hyper.gamma, hyper.gae_lambda)
    }

    /// The epochs of minibatches: new parameters and optimizer; of each gradient step the losses `[G, 5]` and the norm
    /// of the gradient `[G]`. Inside, all parameters are one vector, so that a step of the optimizer is a few operations however many
    /// layers there are.
    fn improve(
        &self,
        hyper: &Hyper,
        lr: Float,
        params: ActorCritic,
        optimizer: Adam<ActorCritic>,
        samples: Sample,
        key: Key,
    ) -> (ActorCritic, Adam<ActorCritic>, Float, Float) {
        let Settings { num_minibatches, update_epochs, .. } = *self.settings;
        let rows = samples.action.shape()[0];
        // Devices hold different samples, so they shuffle apart.
        let shuffle = |epoch: Int| {
            Permutation::new(key.fold_in(self.device()).fold_in(epoch), rows).apply(arange(rows))
        };
        let shuffled = vmap(arange(update_epochs), shuffle);
        let minibatches = shuffled.reshape([update_epochs * num_minibatches, rows / num_minibatches]);
        let (mean, std) = self.mean_and_std(samples.advantage.take(minibatches, 0));
        let flat =
            Adam { mean: ravel(&optimizer.mean), square: ravel(&optimizer.square), count: optimizer.count };
        let start = (ravel(&params), flat);
        let xs = (minibatches, mean, std);
        let ((vector, flat), (losses, norms)) =
            scan(start, xs, |(vector, optimizer), (chosen, mean, std)| {
                let params = unravel(&params, vector);
                let (losses, gradient) = self.gradient(hyper, &params, &samples, chosen, (mean, std));
                let (gradient, norm) = clip_by_global_norm(gradient, hyper.max_grad_norm);
                let (vector, optimizer) = optimizer.step(&vector, &gradient, lr, ADAM_EPSILON);
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
        hyper: &Hyper,
        params: &ActorCritic,
        samples: &Sample,
        chosen: Int,
        (mean, std): (Float, Float),
    ) -> (Float, Float) {
        let size = chosen.shape()[0];
        let scale = 1.0 / (size * self.num_devices) as f64;
        let part = |rows: Int| {
            let mut sample = take_tree(samples, rows);
            sample.advantage = (sample.advantage - mean) / (std + 1e-8);
            let (_, losses, gradient) =
                value_and_grad(params, |params| self.loss(hyper, &params, &sample, scale));
            Packed::new(&(losses, gradient))
        };
        let micro = micro_batch_rows(size, params);
        let sums = if micro == size {
            part(chosen)
        } else {
            let nothing = Packed::new(&(no_losses(), map2(params, params, |p, _| p.full_like(0.0))));
            let groups = chosen.reshape([size / micro, micro]);
            scan(nothing, groups, |sums, rows| (map2(&sums, &part(rows), |a, b| a + b), ())).0
        };
        let sums = sums.ravel(&(no_losses(), params.clone()));
        let sums = if self.num_devices == 1 { sums } else { all_reduce(sums) };
        let count = leaves(&no_losses()).len();
        (sums.slice(0, 0..count), sums.slice(0, count..sums.size()))
    }

    /// The clipped surrogate objective with value loss and entropy bonus, summed over the sample times `scale`.
    fn loss(&self, hyper: &Hyper, params: &ActorCritic, sample: &Sample, scale: f64) -> (Float, Losses) {
        let network = self.network(params);
        let (distribution, value) = network.decide(&sample.view);
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

    /// Mean and population standard deviation, `[M]` each, of the rows of x `[M, N]` and those of the other devices.
    fn mean_and_std(&self, x: Float) -> (Float, Float) {
        let size = x.shape()[1];
        let own_mean = x.mean([1]);
        let own_variance = (x - own_mean.broadcast(1, size)).square().mean([1]);
        let all = all_gather(stack([own_mean, own_variance]), self.num_devices);
        pooled(all.index(1, 0), all.index(1, 1))
    }

    /// The list of the metrics of an update.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut list = Vec::new();
        trace(&(), |()| {
            let zero = float(0.0);
            let measured = Measured {
                lr: zero,
                losses: no_losses(),
                total_loss: zero,
                grad_norm: zero,
                max_entropy: zero,
                totals: Totals::none(&self.env.spec(), 1),
                phase: self.settings.schedule().map(|_| int(0)),
            };
            list = self.record(&measured).list;
        });
        list
    }

    /// The metrics of an update.
    fn record(&self, measured: &Measured) -> Metrics {
        let Measured { lr, losses, total_loss, grad_norm, max_entropy, totals, phase } = measured;
        let steps = self.settings.batch_size();
        let mut m = Recorder::new(float(steps as f64));
        m.value("train/pg_loss", losses.pg_loss)
            .describe("", "policy loss: the clipped surrogate objective, negated");
        m.value("train/vf_loss", losses.vf_loss)
            .describe("", "value loss: half the mean squared error of the value");
        m.value("train/ent_loss", -losses.entropy)
            .describe("nats", "the entropy negated, as it enters the loss");
        m.value("train/entropy", losses.entropy)
            .describe("nats", "mean entropy of the policy over the actions");
        m.mean("train/max_entropy", *max_entropy, steps)
            .describe("nats", "mean logarithm of the number of valid actions: the entropy of random play");
        m.value("train/total_loss", *total_loss)
            .describe("", "pg_loss + vf_coef * vf_loss + ent_coef * ent_loss: what is minimized");
        m.value("train/approx_kl", losses.approx_kl)
            .describe("nats", "estimate of the KL divergence from the policy that collected the experience")
            .healthy(Range::new(f64::NEG_INFINITY, 0.06, "the policy changes too fast", RATE_ADVICE));
        m.value("train/clip_frac", losses.clip_frac)
            .describe("share", "samples whose probability ratio is further from 1 than clip_eps")
            .healthy(Range::new(f64::NEG_INFINITY, 0.30, "too much is clipped", RATE_ADVICE));
        m.value("train/grad_norm", *grad_norm).describe("", "norm of the gradient before it is clipped");
        m.value("train/lr", *lr).describe("", "learning rate");
        totals.record(&mut m, &self.env.spec(), steps);
        if let Some(number) = *phase {
            m.largest(curriculum::METRIC, (number + 1).as_f32())
                .describe("", "phase of the curriculum, from 1");
        }
        m.gather(self.num_devices)
    }

    /// The sum over the samples of this device of the logarithm of the number of valid actions.
    fn max_entropy(&self, transitions: &Transition) -> Float {
        let num_actions = self.env.spec().num_actions as f64;
        match transitions.view.mask {
            None => float(transitions.action.size() as f64 * num_actions.ln()),
            Some(mask) => {
                let valid = mask.as_f32().sum([mask.rank() - 1]);
                // A mask that allows nothing is read as one that allows all.
                select(valid.eq(0.0), num_actions, valid).ln().sum_all()
            }
        }
    }

    /// The number of this device among those that share the environments. A device that shares agents has all
    /// environments of each.
    fn device(&self) -> Int {
        if self.num_devices == 1 { int(0) } else { replica_id() }
    }

    fn world<'a>(&'a self, env_params: &'a Leaves, gamma: Float) -> World<'a> {
        World {
            env: self.env,
            params: env_params,
            num_envs: self.settings.num_envs / self.num_devices,
            device: self.device(),
            gamma,
            reset_pool: Some(self.settings.reset_pool).filter(|&size| size > 0),
        }
    }
}

/// The metrics of PPO in an environment, those of a curriculum included where there is one: for those who only want to
/// know which there are.
pub fn metrics_in(env: &dyn AnyEnv) -> Vec<Metric> {
    let curriculum = if phases(env).is_empty() { Curriculum::Off } else { Curriculum::Return };
    let settings = Settings { curriculum, ..Settings::default() };
    Ppo { settings: &settings, env, num_devices: 1 }.metrics()
}

/// Mean and standard deviation, `[M]` each, of samples of equal size that have these means and variances, `[D, M]` each.
fn pooled(means: Float, variances: Float) -> (Float, Float) {
    let mean = means.mean([0]);
    let between = (means - mean.broadcast(0, means.shape()[0])).square();
    (mean, (variances + between).mean([0]).sqrt())
}

/// A tree of floats for adding up: the large arrays as they are, so that a kernel can add to them in place, and the small
/// ones as one vector, since each operation costs something however small it is.
struct Packed {
    large: Vec<Float>,
    small: Float,
}
crate::tree!(Packed { large, small });

impl Packed {
    /// Least number of elements of a large array.
    const LARGE: usize = 1 << 16;

    fn new<T: Tree>(tree: &T) -> Packed {
        let (large, small): (Vec<Float>, Vec<Float>) =
            leaves(tree).into_iter().map(Float::from_handle).partition(Packed::is_large);
        Packed { large, small: concatenate(0, small.into_iter().map(Float::flatten).collect::<Vec<_>>()) }
    }

    /// All numbers in the order of the tree `like`, whose shapes are those of the tree that was packed.
    fn ravel<T: Tree>(&self, like: &T) -> Float {
        let (mut large, mut start) = (self.large.iter(), 0);
        let part = |leaf| {
            let leaf = Float::from_handle(leaf);
            if Packed::is_large(&leaf) {
                return large.next().expect("as many as were packed").flatten();
            }
            start += leaf.size();
            self.small.slice(0, start - leaf.size()..start)
        };
        concatenate(0, leaves(like).into_iter().map(part).collect::<Vec<_>>())
    }

    fn is_large(array: &Float) -> bool {
        array.size() >= Packed::LARGE
    }
}

/// What the loss needs, one row per transition.
fn samples(t: Transition, advantage: Float, target: Float) -> Sample {
    let Transition { view, action, log_prob, value, .. } = t;
    merge_first_axes(Sample { view, action, log_prob, value, advantage, target })
}

/// What is minimized.
fn total_loss(hyper: &Hyper, losses: &Losses) -> Float {
    losses.pg_loss + hyper.vf_coef * losses.vf_loss - hyper.ent_coef * losses.entropy
}

/// The sums of no samples.
fn no_losses() -> Losses {
    let zero = float(0.0);
    Losses { pg_loss: zero, vf_loss: zero, entropy: zero, approx_kl: zero, clip_frac: zero }
}

/// Rows of a micro-batch: a divisor of the minibatch whose activations stay in a core's cache, but with more of them
/// than the weights whose gradients are added up after each. Other devices have thousands of cores to keep busy and start
/// every kernel at a price, so there only memory is a limit, and a micro-batch is mostly the whole minibatch.
fn micro_batch_rows(minibatch: usize, params: &ActorCritic) -> usize {
    /// Floats of activations and their cotangents that the cache holds.
    const CACHE: usize = 1 << 20;
    /// Least floats of activations for each weight.
    const PER_WEIGHT: usize = 14;
    /// Floats of activations that a device can spare: 1 GB.
    const MEMORY: usize = 1 << 28;
    let types: Vec<ArrayType> = leaves(params).into_iter().map(|leaf| leaf.array_type()).collect();
    let widths: usize = types.iter().map(|array_type| array_type.shape[0]).sum();
    let weights: usize = types.iter().map(ArrayType::size).sum();
    let floats = match target() {
        DeviceKind::Cpu => CACHE.max(PER_WEIGHT * weights),
        DeviceKind::Cuda | DeviceKind::Tpu => MEMORY,
    };
    divisor_at_most(minibatch, floats / widths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::constant;

    #[test]
    fn moments_of_parts_make_those_of_the_whole() {
        // 1, 3 and 4, 8: means 2 and 6, variances 1 and 4; together the mean 4 and the variance 26 / 4.
        let parts = |values: [f32; 2]| constant(values).reshape([2, 1]);
        let traced = trace(&(), |()| pooled(parts([2.0, 6.0]), parts([1.0, 4.0])));
        let moments = interpret(&traced.graph, &[]);
        assert_eq!(moments[0].to_f64(), [4.0]);
        assert!((moments[1].to_f64()[0] - 6.5f64.sqrt()).abs() < 1e-6);
    }
}
