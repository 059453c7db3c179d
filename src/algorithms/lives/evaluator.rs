//! The program that lets agents live on, and adds up the lives that end.

use std::time::Instant;

use anyhow::Result;

use crate::algorithms::evaluation::params_of;
use crate::algorithms::policy::Policy;
use crate::array::{DType, HostArray};
use crate::envs::AnyEnv;
use crate::envs::vector::{self, View};
use crate::lang::{
    Bool, Int, Jit, Key, Leaves, Lowered, OnDevice, Outputs, Tree, compile_both, int, int_u64, leaf_paths,
    merge_first_axes, scan, select, select_tree, split_first_axis, vmap, while_loop,
};
use crate::lower;
use crate::nn::Categorical;
use crate::runtime::Client;

use super::bins::{NUM_STEPS, num_shares, share_bins, steps_bins};
use super::{Lives, Sums, UNIT, UNIT_BITS};

/// Bounds that keep a slip of the finger from running for days, or out of memory.
pub const MAX_ENVS: usize = 1 << 20;
pub const MAX_STEPS: usize = 1 << 24;

/// How long a slice of steps should take, in seconds.
const SLICE_SECONDS: f64 = 1.0;
/// The steps of the first slice, which shows how long one takes.
const FIRST_SLICE: usize = 4;
/// Slices that there are at least, as far as there are steps: who watches wants to see how it goes on, however fast it is.
const LEAST_SLICES: usize = 100;

/// Which metrics of a step, by their columns, say that the good and that the bad thing happened: 1 if it did, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub good: usize,
    pub bad: usize,
}

/// What all steps came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Living {
    /// Lives that ended.
    pub ended: Lives,
    /// Those that went on when the steps were over, if they had begun.
    pub unfinished: Lives,
    /// How often the good and the bad thing happened in all steps.
    pub good: u64,
    pub bad: u64,
}

/// A compiled evaluation of one policy in one environment.
pub struct Evaluator {
    begin: Jit<(Leaves, Int), Progress>,
    live: Jit<Inputs, Progress>,
    params: OnDevice<Leaves>,
    env_params: OnDevice<Leaves>,
}

/// Parameters of the policy and of the environment, the words of a seed, the step before which the call ends, and how far it has come.
type Inputs = (Leaves, Leaves, Int, Int, Progress);

/// What has happened so far.
struct Progress {
    step: Int,
    state: Leaves,
    /// What the policy remembers.
    carry: Leaves,
    life: Life,
    total: Total,
}
crate::tree!(Progress { step, state, carry, life, total });

/// The lives that go on: i32`[N]` each.
#[derive(Clone, Copy)]
struct Life {
    steps: Int,
    good: Int,
    bad: Int,
}
crate::tree!(Life { steps, good, bad });

/// Sums over the lives that ended: u64 scalars, and histograms.
#[derive(Clone, Copy)]
struct Total {
    count: Int,
    steps: Squared,
    good: Squared,
    bad: Squared,
    efficiency: Squared,
    product: Int,
    shortest: Int,
    longest: Int,
    steps_histogram: Int,
    efficiency_histogram: Int,
    /// Of all steps, not of lives.
    all_good: Int,
    all_bad: Int,
}
crate::tree!(Total {
    count,
    steps,
    good,
    bad,
    efficiency,
    product,
    shortest,
    longest,
    steps_histogram,
    efficiency_histogram,
    all_good,
    all_bad
});

/// A sum and the sum of the squares.
#[derive(Clone, Copy)]
struct Squared {
    sum: Int,
    squares: Int,
}
crate::tree!(Squared { sum, squares });

impl Evaluator {
    /// Compiles the program for so many environments. Actions are drawn with the probabilities of the policy at a `temperature`, or
    /// as the policy chooses at 1.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn new(
        client: &Client,
        env: &dyn AnyEnv,
        policy: &Policy,
        counted: Counted,
        envs: usize,
        temperature: f64,
    ) -> Result<Evaluator> {
        let (structure, values) = params_of(env);
        let options = lower::Options::default();
        let seed = Int::placeholder(DType::U32, [2]);
        let world =
            |params, env_params| World { env, policy, params, env_params, counted, envs, temperature };
        let input = (structure.clone(), seed);
        let begin = Lowered::new(client.target(), &options, &input, |(env_params, seed)| {
            world(Leaves::default(), env_params).begin(Key::from_words(seed))
        });
        let until = Int::placeholder(DType::I32, []);
        let input = (policy.structure(), structure.clone(), seed, until, begin.output.duplicate());
        let live =
            Lowered::new(client.target(), &options, &input, |(params, env_params, seed, until, now)| {
                world(params, env_params).live(Key::from_words(seed), until, now)
            });
        let (begin, live) = compile_both(client, (begin, "start of lives"), (live, "lives"))?;
        Ok(Evaluator {
            begin,
            live,
            params: OnDevice::new(client, &policy.structure(), &[policy.params().to_vec()])?,
            env_params: OnDevice::new(client, &structure, &[values])?,
        })
    }

    /// Lets the agents live. Says now and then how many steps are done, and what they came to.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn run(&self, steps: usize, seed: u64, told: &mut dyn FnMut(usize, &Living)) -> Result<Living> {
        let seed = HostArray::new(&[2], vec![(seed >> 32) as u32, seed as u32]);
        let given = self.begin.upload([&seed])?;
        let mut now = self.begin.call([self.env_params.lend(), given])?;
        let (mut done, mut slice) = (0, FIRST_SLICE);
        let longest = steps.div_ceil(LEAST_SLICES);
        loop {
            let begin = Instant::now();
            slice = slice.min(longest);
            done = (done + slice).min(steps);
            let given = self.live.upload([&seed, &HostArray::scalar(done as i32)])?;
            now = self.live.call([self.params.lend(), self.env_params.lend(), given, now.give()])?;
            now.wait()?;
            let share = SLICE_SECONDS / begin.elapsed().as_secs_f64().max(1e-9);
            slice = (slice as f64 * share.min(4.0)).max(1.0) as usize;
            let living = self.living(&now)?;
            told(done, &living);
            if done == steps {
                return Ok(living);
            }
        }
    }

    /// What has become of the agents so far.
    fn living(&self, now: &OnDevice<Progress>) -> Result<Living> {
        let Progress { total, life, .. } = self.live.output();
        let fetched = |names: Vec<String>, values| Outputs::<HostArray>::new(&names, values);
        let total = fetched(leaf_paths(total), now.fetch(|now| &now.total)?);
        let life = fetched(leaf_paths(life), now.fetch(|now| &now.life)?);
        Ok(living(total, life))
    }
}

/// What the leaves of a [`Total`] and of a [`Life`] say.
fn living(mut total: Outputs<HostArray>, mut life: Outputs<HostArray>) -> Living {
    let mut list = |name: &str| total.take(name).as_slice::<u64>().to_vec();
    let histograms = [list("steps_histogram"), list("efficiency_histogram")];
    let mut number = |name: &str| list(name)[0];
    let mut sums = |name: &str| Sums {
        sum: number(&format!("{name}.sum")).into(),
        squares: number(&format!("{name}.squares")).into(),
    };
    let [steps, good, bad, efficiency] = ["steps", "good", "bad", "efficiency"].map(&mut sums);
    let [count, product, longest, shortest] = ["count", "product", "longest", "shortest"].map(&mut number);
    let [steps_histogram, efficiency_histogram] = histograms.map(without_empty_end);
    let ended = Lives {
        count,
        steps,
        shortest: if count == 0 { 0 } else { shortest },
        longest,
        good,
        bad,
        product: product.into(),
        efficiency,
        steps_histogram,
        efficiency_histogram,
    };
    let [all_good, all_bad] = ["all_good", "all_bad"].map(&mut number);
    let mut column = |name: &str| life.take(name).as_slice::<i32>().to_vec();
    let [steps, good, bad] = ["steps", "good", "bad"].map(&mut column);
    let mut unfinished = Lives::default();
    for ((steps, good), bad) in steps.into_iter().zip(good).zip(bad).filter(|((steps, _), _)| *steps > 0) {
        unfinished.add(steps as u64, good as u64, bad as u64);
    }
    Living { ended, unfinished, good: all_good, bad: all_bad }
}

/// As [`Lives::add`] makes a histogram: it ends with the last bin that anything is in.
fn without_empty_end(mut histogram: Vec<u64>) -> Vec<u64> {
    let end = histogram.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
    histogram.truncate(end);
    histogram
}

/// What the programs are traced from.
struct World<'a> {
    env: &'a dyn AnyEnv,
    policy: &'a Policy,
    params: Leaves,
    env_params: Leaves,
    counted: Counted,
    envs: usize,
    temperature: f64,
}

impl World<'_> {
    #[track_caller]
    fn begin(&self, seed: Key) -> Progress {
        let [first, _] = seed.split();
        let zero = int_u64(0);
        let none = Squared { sum: zero, squares: zero };
        Progress {
            step: int(0),
            state: vector::reset(self.env, &self.env_params, first.split_last(self.envs)),
            carry: self.policy.begin(self.envs),
            life: self.no_life(),
            total: Total {
                count: zero,
                steps: none,
                good: none,
                bad: none,
                efficiency: none,
                product: zero,
                shortest: int_u64(u64::MAX),
                longest: zero,
                steps_histogram: zero.fill(&[NUM_STEPS]),
                efficiency_histogram: zero.fill(&[num_shares()]),
                all_good: zero,
                all_bad: zero,
            },
        }
    }

    #[track_caller]
    fn no_life(&self) -> Life {
        let zeros = Int::full([self.envs], 0);
        Life { steps: zeros, good: zeros, bad: zeros }
    }

    /// The lives some steps later.
    #[track_caller]
    fn live(&self, seed: Key, until: Int, now: Progress) -> Progress {
        let [_, keys] = seed.split();
        let words = keys.into_words();
        while_loop(now, |now| now.step.lt(until), |now| self.step(now, Key::from_words(words)))
    }

    #[track_caller]
    fn step(&self, now: Progress, keys: Key) -> Progress {
        let Progress { step, state, carry, life, total } = now;
        let [action_key, env_key] = keys.fold_in(step).split();
        let (carry, action) = self.act(carry, &state, action_key);
        let env_keys = env_key.split_last(self.envs);
        let stepped = vector::step(self.env, &self.env_params, env_keys, state, action, None);
        let [good, bad] =
            [self.counted.good, self.counted.bad].map(|column| stepped.metrics[column].as_i32());
        let life = Life { steps: life.steps + 1, good: life.good + good, bad: life.bad + bad };
        let done = stepped.done;
        Progress {
            step: step + 1,
            total: Total {
                all_good: total.all_good + good.as_u64().sum_all(),
                all_bad: total.all_bad + bad.as_u64().sum_all(),
                ..ended(total, &life, done)
            },
            life: select_tree(done, self.no_life(), life),
            carry: select_tree(done, self.policy.begin(self.envs), carry),
            state: stepped.state,
        }
    }

    /// What the policy remembers and does in all environments: in blocks of them, so that what lies between the layers of a network
    /// stays small.
    #[track_caller]
    fn act(&self, carry: Leaves, state: &Leaves, key: Key) -> (Leaves, Int) {
        let view = View { privileged: None, ..vector::view(self.env, &self.env_params, state) };
        let seen = (carry, view, key.split_many(self.envs));
        let (_, acted) = scan((), split_first_axis(seen, blocks(self.envs)), |(), (carry, view, keys)| {
            ((), self.act_in_block(carry, &view, keys.into_words()))
        });
        merge_first_axes(acted)
    }

    /// What the policy remembers and does where it sees `view`; `words` are keys, u32`[N, 2]`.
    #[track_caller]
    fn act_in_block(&self, carry: Leaves, view: &View, words: Int) -> (Leaves, Int) {
        let own = Key::from_words(words.transpose([1, 0]));
        let (carry, decision) = self.policy.act(&self.params, carry, view, own);
        if self.temperature == 1.0 {
            return (carry, decision.action);
        }
        let logits = decision.probs.maximum(f64::from(f32::MIN_POSITIVE)).ln() / self.temperature;
        let draws = vmap(Key::from_words(words), |key| key.fold_in(1));
        (carry, Categorical::new(logits, view.mask).sample(draws))
    }
}

/// The most environments of a block, and the most blocks.
const MAX_ROWS: usize = 1024;
const MAX_BLOCKS: usize = 1024;

/// The fewest equal blocks that are small enough; one if they would be too many.
fn blocks(envs: usize) -> usize {
    let fits = |&blocks: &usize| envs.is_multiple_of(blocks) && envs / blocks <= MAX_ROWS;
    (1..=MAX_BLOCKS).find(fits).unwrap_or(1)
}

/// The sums with the lives that are `done`, bool`[N]`.
#[track_caller]
fn ended(total: Total, life: &Life, done: Bool) -> Total {
    let count = |numbers: Int| select(done, numbers.as_u64(), 0u64);
    let squared = |sums: Squared, numbers: Int| Squared {
        sum: sums.sum + numbers.sum_all(),
        squares: sums.squares + (numbers * numbers).sum_all(),
    };
    let [steps, good, bad] = [life.steps, life.good, life.bad].map(count);
    let all = good + bad;
    let share = select(all.gt(0u64), (good << UNIT_BITS) / all.maximum(1u64), UNIT);
    let share = select(done, share, 0u64);
    let in_bin = |histogram: Int, bin: Int| histogram.at(select(done, bin, i32::MAX)).add(1u64);
    Total {
        count: total.count + done.as_u64().sum_all(),
        steps: squared(total.steps, steps),
        good: squared(total.good, good),
        bad: squared(total.bad, bad),
        efficiency: Squared {
            sum: total.efficiency.sum + share.sum_all(),
            squares: total.efficiency.squares + ((share * share) >> UNIT_BITS).sum_all(),
        },
        product: total.product + (good * bad).sum_all(),
        shortest: total.shortest.minimum(select(done, steps, u64::MAX).min_all()),
        longest: total.longest.maximum(steps.max_all()),
        steps_histogram: in_bin(total.steps_histogram, steps_bins(life.steps)),
        efficiency_histogram: in_bin(total.efficiency_histogram, share_bins(good, all)),
        ..total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::registry;
    use crate::lang::{Backend, HostFunction, scan_range};
    use crate::runtime::{Client, plugin};

    const ENVS: usize = 24;
    const STEPS: usize = 330;
    const SEED: u64 = 5 << 33 | 1;

    fn world() -> Box<dyn AnyEnv> {
        // Short of food, so that lives are long and short, eat much and nothing.
        let options = ["max_food=900", "min_food=700"].map(String::from);
        registry::find("goodharts").unwrap().with(&options).unwrap().build()
    }

    fn counted(env: &dyn AnyEnv) -> Counted {
        let column = |name: &str| env.spec().metrics.iter().position(|metric| metric.name == name).unwrap();
        Counted { good: column("stats/food_eaten"), bad: column("stats/poison_eaten") }
    }

    /// What happened in each step, told one by one and added up on the host.
    fn told(client: &Client, env: &dyn AnyEnv) -> Living {
        let policy = Policy::random(&env.spec());
        let counted = counted(env);
        let steps = HostFunction::new(&Backend::from(client), "steps", &params_of(env).0, |env_params| {
            let params = Leaves::default();
            let world =
                World { env, policy: &policy, params, env_params, counted, envs: ENVS, temperature: 1.0 };
            let Progress { state, .. } = world.begin(Key::new(SEED));
            let (_, told) = scan_range(STEPS, state, |state, step| {
                let [_, keys] = Key::new(SEED).split();
                let [action_key, env_key] = keys.fold_in(step).split();
                let (_, action) = world.act(Leaves::default(), &state, action_key);
                let keys = env_key.split_last(ENVS);
                let stepped = vector::step(env, &world.env_params, keys, state, action, None);
                let metrics = [counted.good, counted.bad].map(|column| stepped.metrics[column]);
                (stepped.state, (stepped.done, metrics[0], metrics[1]))
            });
            told
        });
        let found = steps.unwrap().call(&params_of(env).1).unwrap().into_named();
        let [done, good, bad]: [Vec<f64>; 3] =
            found.iter().map(|(_, array)| array.to_f64()).collect::<Vec<_>>().try_into().unwrap();
        let mut living = Living { ended: Lives::default(), unfinished: Lives::default(), good: 0, bad: 0 };
        for env in 0..ENVS {
            let mut life = [0; 3];
            for at in (0..STEPS).map(|step| step * ENVS + env) {
                let (good, bad) = (good[at] as u64, bad[at] as u64);
                life = [life[0] + 1, life[1] + good, life[2] + bad];
                (living.good, living.bad) = (living.good + good, living.bad + bad);
                if done[at] != 0.0 {
                    living.ended.add(life[0], life[1], life[2]);
                    life = [0; 3];
                }
            }
            if life[0] > 0 {
                living.unfinished.add(life[0], life[1], life[2]);
            }
        }
        living
    }

    #[test]
    fn the_sums_are_those_of_the_lives() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let env = world();
        let policy = Policy::random(&env.spec());
        let evaluator = Evaluator::new(&client, &*env, &policy, counted(&*env), ENVS, 1.0).unwrap();
        let mut done = Vec::new();
        let found = evaluator.run(STEPS, SEED, &mut |steps, living| {
            let all = living.ended.clone().merge(&living.unfinished);
            assert_eq!(all.steps.sum, (ENVS * steps) as u128);
            done.push(steps);
        });
        let found = found.unwrap();
        assert_eq!(found, told(&client, &*env));
        assert!(done.len() > 50 && done.is_sorted() && done.last() == Some(&STEPS), "{done:?}");

        // Every step belongs to one life, and so does whatever happened.
        let all = found.ended.clone().merge(&found.unfinished);
        assert_eq!(all.steps.sum, (ENVS * STEPS) as u128);
        assert_eq!((all.good.sum, all.bad.sum), (found.good.into(), found.bad.into()));
        assert!(found.ended.count > 10 && found.unfinished.count <= ENVS as u64, "{found:?}");
        assert_eq!(all.steps_histogram.iter().sum::<u64>(), all.count);
        assert_eq!(all.efficiency_histogram.iter().sum::<u64>(), all.count);
        assert_ne!(evaluator.run(STEPS, 7, &mut |_, _| ()).unwrap(), found);
    }

    #[test]
    fn blocks_are_equal_and_small() {
        let found = [1, 24, 1024, 1025, 8192, 8191, 3000].map(blocks);
        assert_eq!(found, [1, 1, 1, 5, 8, 1, 3]);
    }

    #[test]
    fn at_a_high_temperature_all_actions_are_alike() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let env = world();
        let greedy = env.players().into_iter().find(|player| player.name == "omniscient_seeker").unwrap();
        let policy = crate::algorithms::scripted::policy(greedy, &env.spec());
        let good = |temperature| {
            let evaluator =
                Evaluator::new(&client, &*env, &policy, counted(&*env), ENVS, temperature).unwrap();
            evaluator.run(40, SEED, &mut |_, _| ()).unwrap().good
        };
        let (own, hot) = (good(1.0), good(1e4));
        assert!(own > 2 * hot && hot > 0, "{own} {hot}");
    }
}
