//! DQN (Mnih et al. 2015, "Human-level control through deep reinforcement learning"), with double Q-learning (van Hasselt et al. 2016).
//!
//! The environments step together, by the network and now and then at random; transitions go into a replay that lies on the device
//! and is part of the state; every step is followed by gradient steps on draws from it. From top to bottom: what is learned
//! ([`State`]), one [update](Dqn::update), which is many such steps, [one of them](Dqn::step), and [learning](Dqn::learn) from
//! a batch. What transitions are is said in [`experience`], targets and loss in [`loss`].

mod actor;
mod experience;
pub mod golden;
mod loss;
mod recipe;
mod settings;

pub use recipe::Recipe;
pub use settings::{Every, Hyper, Settings};

use std::rc::Rc;

use anyhow::{Context, Result};

use crate::algorithms::learner::{Algorithm, Fetch, Inputs, Shared, UpdateTrace, Updated};
use crate::algorithms::metrics::Recorder;
use crate::algorithms::opponents::{Opponents, Standing};
use crate::algorithms::optimizer::Adam;
use crate::algorithms::policy::{Actor, Choice};
use crate::algorithms::replay::{Priorities, Ring, importance_weights};
use crate::algorithms::rollout::{Envs, Totals, World};
use crate::algorithms::schedule::{Rates, crossed};
use crate::algorithms::self_play::{Faced, Opponent};
use crate::envs::{AnyEnv, EnvSpec, Mirror, random_action};
use crate::lang::{
    Bool, Float, Int, Key, Leaves, all_reduce, cond, float, int, int_u64, ravel, repeat_tree, scan,
    scan_range, select, select_tree, take_tree, unravel, vmap,
};
use crate::lower::Precision;
use crate::nn::{QNetwork, QParams};

use actor::{QActor, greedy};
use experience::{Experience, Pending, Seen, Step, Steps};
use loss::{Estimator, Losses, Scale, follow};

/// Adam's epsilon.
const ADAM_EPSILON: f64 = 1e-8;

/// The networks that are learned: a second one, if wanted, whose estimates keep those of the first from being too high (Fujimoto et
/// al. 2018, "Addressing function approximation error").
#[derive(Clone)]
pub struct Networks {
    /// It acts, and is exported.
    pub first: QParams,
    pub second: Option<QParams>,
}
crate::tree!(Networks { first, second });

/// Everything that an update changes.
pub struct State {
    pub online: Networks,
    /// What the targets are computed with.
    pub target: Networks,
    pub optimizer: Adam<Networks>,
    pub replay: Ring<Experience>,
    pub priorities: Option<Priorities>,
    pub pending: Option<Pending>,
    pub envs: Envs,
    /// In a game for two.
    pub standing: Option<Standing>,
    pub count: Count,
    pub key: Key,
}
crate::tree!(State { online, target, optimizer, replay, priorities, pending, envs, standing, count, key });

/// How much has happened, u64.
#[derive(Clone, Copy)]
pub struct Count {
    /// Steps of all environments.
    pub steps: Int,
    pub episodes: Int,
    /// Draws by priority, of a batch each.
    pub draws: Int,
}
crate::tree!(Count { steps, episodes, draws });

/// What of the sizes is a device's own: each has its environments, what they have come to in a replay of its own, and draws its part of each
/// batch from there.
#[derive(Clone, Copy)]
struct Share {
    num_envs: usize,
    batch_size: usize,
    /// Of the replay.
    capacity: usize,
}

/// DQN on one environment: what is fixed when the programs are compiled.
pub struct Dqn {
    settings: Settings,
    env: Rc<dyn AnyEnv>,
    spec: EnvSpec,
    estimator: Estimator,
    opponents: Opponents,
    /// If transitions are mirrored.
    mirror: Option<Mirror>,
}

/// What gradient steps change, all parameters as one vector, so that a step of the optimizer is a few operations.
struct Learning {
    online: Float,
    target: Float,
    optimizer: Adam<Float>,
    priorities: Option<Priorities>,
    draws: Int,
}
crate::tree!(Learning { online, target, optimizer, priorities, draws });

/// What goes from step to step within an update.
struct Running {
    learning: Learning,
    replay: Ring<Experience>,
    pending: Option<Pending>,
    envs: Envs,
    totals: Totals,
    steps: Int,
    episodes: Int,
}
crate::tree!(Running { learning, replay, pending, envs, totals, steps, episodes });

/// What is told of a step.
#[derive(Clone, Copy)]
struct Told {
    reward: Float,
    /// Of each gradient step, `[U]`; zeros if there was none.
    losses: Losses,
    /// Whether there were gradient steps, and whether the target was changed after them: 0 or 1.
    learned: Float,
    synced: Float,
}
crate::tree!(Told { reward, losses, learned, synced });

impl Told {
    /// The same of a step of `num_envs` environments without gradient steps.
    fn none(settings: &Settings, num_envs: usize) -> Told {
        let losses = repeat_tree(&Losses::none(), settings.updates_per_step);
        Told { reward: Float::full([num_envs], 0.0), losses, learned: float(0.0), synced: float(0.0) }
    }
}

impl Dqn {
    /// # Errors
    /// One line: convolutions over observations that are no images; opponents that the environment cannot have; no
    /// mirror where transitions are to be mirrored.
    pub fn new(settings: Settings, env: Rc<dyn AnyEnv>) -> Result<Dqn> {
        let spec = env.spec();
        let estimator = Estimator {
            network: QNetwork::new(settings.network(), &spec)?,
            num_actions: spec.num_actions,
            target_q_clip: settings.target_q_clip,
        };
        let actor = Rc::new(QActor::new(estimator.network.clone()));
        let opponents = Opponents::new(&settings.opponents, &*env, actor, Choice::Greedy)?;
        let mirror = settings.augment.then(|| {
            let none = || format!("{} is not the same in the mirror; leave out --augment", spec.name);
            env.mirror().with_context(none)
        });
        Ok(Dqn { mirror: mirror.transpose()?, settings, env, spec, estimator, opponents })
    }
}

impl Algorithm for Dqn {
    type State = State;
    type Hyper = Hyper;
    type Params = QParams;

    fn name(&self) -> &'static str {
        "dqn"
    }

    fn env(&self) -> &dyn AnyEnv {
        &*self.env
    }

    fn timesteps_per_update(&self) -> u64 {
        (self.settings.num_envs * self.settings.num_steps) as u64
    }

    fn hyper(&self) -> Hyper {
        self.settings.hyper()
    }

    fn precision(&self) -> Precision {
        self.settings.precision
    }

    fn rates(&self, timesteps: u64, episodes: u64) -> Rates {
        self.settings.rates(timesteps, episodes)
    }

    fn faced(&self, state: &State, fetch: Fetch) -> Result<Option<Vec<Faced>>> {
        self.opponents.faced(&state.standing, fetch)
    }

    fn freeze_every(&self) -> Option<u64> {
        self.opponents.freeze_every()
    }

    fn check_devices(&self, num_devices: usize) -> Result<()> {
        <Recipe as crate::algorithms::Recipe>::check_devices(&self.settings, num_devices)
    }

    fn init(&self, inputs: &Inputs<Hyper>, key: Key) -> State {
        let [first, second, envs, key] = key.split();
        let second = self.settings.twin_q.then(|| self.estimator.network.init(second));
        let online = Networks { first: self.estimator.network.init(first), second };
        let agent = Leaves::of(&online.first);
        let standing = self.opponents.begin(&agent);
        let opponent = self.opponents.playing(&standing, &agent);
        let world = self.world(inputs, opponent.as_ref().map(|opponent| opponent as _));
        let envs = world.reset(envs, Leaves::default());
        let seen = Seen::of(&envs.view);
        let Share { capacity, .. } = self.share_of(inputs);
        let priorities = self.settings.prioritized.then(|| Priorities::new(capacity));
        let none = int_u64(0);
        State {
            target: online.clone(),
            optimizer: Adam::new(&online),
            online,
            replay: Ring::new(self.memory(&seen, capacity)),
            priorities,
            pending: self.steps(&inputs.hyper).begin(&self.remembered(seen)),
            envs,
            standing,
            count: Count { steps: none, episodes: none, draws: none },
            key,
        }
    }

    /// Many steps of the environments, each followed by gradient steps.
    fn update(&self, inputs: &Inputs<Hyper>, state: State) -> Updated<State> {
        let Settings { num_envs, num_steps, .. } = self.settings;
        let State { online, target, optimizer, replay, priorities, pending, envs, standing, count, key } =
            state;
        let [steps_key, key] = key.split();
        let flat = |networks: &Networks| ravel(networks);
        let learning = Learning {
            online: flat(&online),
            target: flat(&target),
            optimizer: Adam {
                mean: flat(&optimizer.mean),
                square: flat(&optimizer.square),
                count: optimizer.count,
            },
            priorities,
            draws: count.draws,
        };
        let (totals, first_states) = {
            let opponent = self.opponents.playing(&standing, &Leaves::of(&online.first));
            let world = self.world(inputs, opponent.as_ref().map(|opponent| opponent as _));
            (world.no_totals(num_steps), world.first_states(steps_key.fold_in(num_steps as i32)))
        };
        let Count { steps, episodes, .. } = count;
        let running = Running { learning, replay, pending, envs, totals, steps, episodes };
        // What is told of a step is one row, so that a step stores one array and not ten.
        let like = Told::none(&self.settings, self.share_of(inputs).num_envs);
        let (running, rows) = scan(running, steps_key.split_many(num_steps), |running, key| {
            let (running, told) = self.step(inputs, &online, &standing, first_states.as_ref(), running, key);
            (running, ravel(&told))
        });
        let told = vmap(rows, |row| unravel(&like, row));
        let Running { learning, replay, pending, mut envs, totals, steps, episodes } = running;
        let metrics = self.record(inputs, &told, &totals, &replay, steps, episodes);
        let Losses { loss, grad_norm, .. } = told.losses;
        let trace = UpdateTrace::new()
            .rollout(&[("reward", told.reward)])
            .gradient(&[(&["loss"], loss.flatten()), (&["grad_norm"], grad_norm.flatten())]);
        let tree = |vector: Float| unravel(&online, vector);
        let (agent, timesteps) = (Leaves::of(&tree(learning.online).first), num_envs * num_steps);
        let standing =
            self.opponents.after(standing, &totals, inputs.num_devices, timesteps, &agent, &mut envs);
        let state = State {
            optimizer: Adam {
                mean: tree(learning.optimizer.mean),
                square: tree(learning.optimizer.square),
                count: learning.optimizer.count,
            },
            target: tree(learning.target),
            online: tree(learning.online),
            replay,
            priorities: learning.priorities,
            pending,
            envs,
            standing,
            count: Count { steps, episodes, draws: learning.draws },
            key,
        };
        Updated { state, metrics, trace }
    }

    fn params<'a>(&self, state: &'a State) -> &'a QParams {
        &state.online.first
    }

    fn copies<'a>(&self, state: &'a State) -> Vec<&'a QParams> {
        vec![&state.target.first]
    }

    fn key<'a>(&self, state: &'a State) -> &'a Key {
        &state.key
    }

    fn share(&self, state: &State, shared: &mut Shared) {
        state.envs.share(shared);
        shared.first(&state.replay.rows);
        shared.first(&state.priorities);
    }

    fn actor(&self) -> Rc<dyn Actor> {
        Rc::new(QActor::new(self.estimator.network.clone()))
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.settings.network().metadata()
    }
}

impl Dqn {
    fn share_of(&self, inputs: &Inputs<Hyper>) -> Share {
        let Settings { num_envs, batch_size, .. } = self.settings;
        let of = |whole: usize| whole / inputs.num_devices;
        Share { num_envs: of(num_envs), batch_size: of(batch_size), capacity: of(self.settings.capacity()) }
    }

    /// One step of all environments, then gradient steps if the replay holds enough. `like` has the structure of the networks.
    fn step(
        &self,
        inputs: &Inputs<Hyper>,
        like: &Networks,
        standing: &Option<Standing>,
        first_states: Option<&Leaves>,
        running: Running,
        key: Key,
    ) -> (Running, Told) {
        let [act_key, env_key, learn_key] = key.split();
        let Running { mut learning, replay, pending, envs, totals, steps, episodes } = running;
        let agent = unravel(like, learning.online).first;
        let opponent = self.opponents.playing(standing, &Leaves::of(&agent));
        let world = self.world(inputs, opponent.as_ref().map(|opponent| opponent as _));
        let before = Seen::of(&envs.view);
        let mask = envs.view.mask;
        let values = self.estimator.network.values(&agent, envs.view.obs, mask);
        let epsilon = self.settings.epsilon_after(&inputs.hyper, steps, episodes);
        let action = self.explore(epsilon, greedy(values, mask), mask, world.env_keys(act_key));

        let (envs, outcome, totals) = world.advance(envs, action, env_key, totals, first_states);
        let cut = outcome.truncated;
        let terminated = cut.as_ref().map_or(outcome.done, |(truncated, _)| outcome.done & !*truncated);
        let after = Seen::of(&envs.view);
        let next = cut.map_or(after, |(truncated, view)| select_tree(truncated, Seen::of(&view), after));
        let step = Step {
            seen: self.remembered(before),
            action,
            reward: outcome.reward,
            done: outcome.done,
            terminated,
            next,
        };
        let (pending, rows, chosen) = self.steps(&inputs.hyper).complete(pending, step);
        let Share { capacity, num_envs: own_envs, .. } = self.share_of(inputs);
        let (replay, places) = match chosen {
            None => replay.push(&rows, capacity, own_envs),
            Some(chosen) => replay.push_chosen(&rows, chosen, capacity),
        };
        let alpha = inputs.hyper.per_alpha;
        learning.priorities = learning
            .priorities
            .map(|priorities| priorities.with(places, priorities.of_new().fill(&places.shape()), alpha));

        let lr = self.lr(inputs, steps);
        let held = replay.size * inputs.num_devices;
        let enough = held.ge(self.settings.batch_size.max(self.settings.learning_starts));
        let (learning, losses) = scan_range(self.settings.updates_per_step, learning, |learning, i| {
            self.learn(inputs, like, lr, enough, learning, &replay, learn_key.fold_in(i))
        });
        let now = steps + self.settings.num_envs;
        let due = crossed(steps, now, self.settings.target_update_freq as u64).gt(0) & enough;
        let tau = self.settings.soft_update.then_some(inputs.hyper.tau);
        let target = follow(learning.target, learning.online, tau, due);
        let learning = Learning { target, ..learning };
        let told = Told { reward: outcome.reward, losses, learned: enough.as_f32(), synced: due.as_f32() };
        let ended = match inputs.num_devices {
            1 => outcome.done.as_u64().sum_all(),
            _ => all_reduce(outcome.done.as_f32().sum_all()).as_u64(),
        };
        let episodes = episodes + ended;
        (Running { learning, replay, pending, envs, totals, steps: now, episodes }, told)
    }

    /// A random valid action with the probability epsilon, else the given one; `keys` is an array of keys `[2, B]`.
    fn explore(&self, epsilon: Float, greedy: Int, mask: Option<Bool>, keys: Key) -> Int {
        let keys = Key::from_words(keys.into_words().transpose([1, 0]));
        vmap((keys, mask, greedy), |(key, mask, greedy)| {
            let [chance, choice] = key.split();
            let random = random_action(choice, mask, self.spec.num_actions);
            if self.settings.greedy {
                return greedy;
            }
            select(chance.uniform([], 0.0..1.0).lt(epsilon), random, greedy)
        })
    }

    /// A gradient step on a draw from the replay, if it holds `enough`.
    #[allow(clippy::too_many_arguments)]
    fn learn(
        &self,
        inputs: &Inputs<Hyper>,
        like: &Networks,
        lr: Float,
        enough: Bool,
        learning: Learning,
        replay: &Ring<Experience>,
        key: Key,
    ) -> (Learning, Losses) {
        let hyper = &inputs.hyper;
        let size = self.share_of(inputs).batch_size;
        let key = if inputs.num_devices == 1 { key } else { key.fold_in(inputs.device()) };
        let turned = self.mirror.as_ref().map(|_| key.fold_in(1).bernoulli([size], 0.5));
        let (places, weights) = match &learning.priorities {
            None => (replay.draw(key, size), None),
            Some(priorities) => {
                let rows = replay.size.maximum(1);
                let (places, probabilities) = priorities.draw(key, size, rows, hyper.per_alpha);
                let beta = self.settings.beta(hyper, learning.draws);
                (places, Some(importance_weights(probabilities, rows, beta)))
            }
        };
        let batch = match self.mirror.as_ref().zip(turned) {
            Some((mirror, turned)) => replay.take(places).mirrored(mirror, turned, &self.spec),
            None => replay.take(places),
        };
        let Learning { online, target, optimizer, priorities, draws } = learning;
        let nothing = (Losses::none(), Float::full([size], 0.0));
        let ((online, optimizer), (losses, error)) = cond(
            enough,
            (online, optimizer),
            |(online, optimizer)| {
                let networks = [online, target].map(|vector| unravel(like, vector));
                let scale = Scale { gamma: hyper.gamma, huber_delta: hyper.huber_delta };
                let (gradient, losses, error) =
                    self.estimator.gradient(scale, &networks[0], &networks[1], &batch, weights);
                let (gradient, losses) = losses.over_devices(gradient, inputs.num_devices, inputs.device());
                let (online, optimizer, grad_norm) =
                    descend(online, optimizer, gradient, lr, hyper.max_grad_norm);
                ((online, optimizer), (Losses { grad_norm, ..losses }, error))
            },
            |unchanged| (unchanged, nothing),
        );
        let priorities = priorities.map(|priorities| {
            let places = select(enough, places, i32::MAX);
            priorities.with(places, error + self.settings.per_eps, hyper.per_alpha)
        });
        let draws = draws + enough.as_u64();
        (Learning { online, target, optimizer, priorities, draws }, losses)
    }

    /// What a transition keeps of the situation that it begins in: masks only for networks that read them.
    fn remembered(&self, seen: Seen) -> Seen {
        Seen { valid: seen.valid.filter(|_| self.settings.dueling), ..seen }
    }

    /// The memory of the replay. What it holds at first has no meaning.
    fn memory(&self, seen: &Seen, capacity: usize) -> Experience {
        let row = |seen: Seen| take_tree(&seen, int(0));
        let one = Experience {
            seen: row(self.remembered(*seen)),
            action: int(0).cast(experience::action_type(&self.spec)),
            reward: float(0.0),
            steps: int(0).as_u8(),
            next: row(*seen),
        };
        repeat_tree(&one, capacity)
    }

    /// The learning rate after so many steps (u64).
    fn lr(&self, inputs: &Inputs<Hyper>, steps: Int) -> Float {
        let left = 1.0 - inputs.hyper.anneal_lr * inputs.done_share();
        self.settings.lr_after(&inputs.hyper, steps) * left
    }

    fn steps<'a>(&'a self, hyper: &Hyper) -> Steps<'a> {
        Steps { n: self.settings.n_step, gamma: hyper.gamma, spec: &self.spec }
    }

    fn world<'a>(&'a self, inputs: &'a Inputs<Hyper>, opponent: Option<&'a dyn Opponent>) -> World<'a> {
        let opening = self.opponents.opening();
        World {
            opponent,
            opening,
            ..World::of(inputs, &*self.env, self.settings.num_envs, inputs.hyper.gamma)
        }
    }

    fn record(
        &self,
        inputs: &Inputs<Hyper>,
        told: &Told,
        totals: &Totals,
        replay: &Ring<Experience>,
        steps: Int,
        episodes: Int,
    ) -> Recorder {
        let count = self.settings.num_envs * self.settings.num_steps;
        // Each device takes part in all gradient steps.
        let devices = inputs.num_devices as f64;
        let mut m = Recorder::new(float(count as f64));
        told.losses.record(&mut m, told.learned);
        m.sum("train/gradient_steps", told.learned * (self.settings.updates_per_step as f64 / devices))
            .describe("gradient steps", "gradient steps, each on a batch of its own");
        m.sum("train/target_updates", told.synced / devices)
            .describe("", "how often the target network took over from the online one");
        m.value("train/epsilon", self.settings.epsilon_after(&inputs.hyper, steps, episodes))
            .describe("share", "probability of a random action, at the end");
        m.value("train/lr", self.lr(inputs, steps)).describe("", "learning rate");
        let held = replay.size.as_f32() * devices;
        m.value("replay/size", held).describe("transitions", "transitions in the replay");
        m.value("replay/fill", held / self.settings.capacity() as f64)
            .describe("share", "how full the replay is");
        totals.record(&mut m, &self.spec, count);
        self.opponents.record(&mut m, totals);
        m
    }
}

/// A step of Adam along a gradient whose norm is clipped: the parameters, the optimizer, and the norm before.
fn descend(
    params: Float,
    optimizer: Adam<Float>,
    gradient: Float,
    lr: Float,
    max_norm: Float,
) -> (Float, Adam<Float>, Float) {
    optimizer.clipped_step(params, gradient, lr, float(ADAM_EPSILON), max_norm)
}
