//! The parts of PPO that are off by default, each by what must follow from it.

use std::rc::Rc;

use lockstep::algorithms::learner::{One, Start};
use lockstep::algorithms::ppo::{Form, Optimizer, Options, Ppo, Settings};
use lockstep::algorithms::{Learner, metrics};
use lockstep::envs::{AnyEnv, registry};
use lockstep::nn::Rnn;

use crate::common::client;

const UPDATES: usize = 10;

fn env(name: &str, options: &[&str]) -> Rc<dyn AnyEnv> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    registry::find(name).unwrap().with(&options).unwrap().build().into()
}

fn settings(options: Options) -> Settings {
    Settings {
        num_envs: 8,
        num_steps: 8,
        num_minibatches: 2,
        update_epochs: 2,
        lr: 0.01,
        hidden_dim: 8,
        num_layers: 1,
        options,
        ..Settings::default()
    }
}

fn options() -> Options {
    Settings::default().options
}

/// A run of some updates: its rows of metrics by name, and the parameters at the end.
struct Trained {
    learner: One<Ppo>,
    rows: Vec<Vec<f32>>,
}

impl Trained {
    fn new(env: Rc<dyn AnyEnv>, settings: Settings) -> Trained {
        let total = UPDATES as u64;
        let start = Start {
            seed: 3,
            total_updates: total,
            max_updates: UPDATES,
            num_devices: 1,
            record: Default::default(),
        };
        let mut learner = One::new(client(), Ppo::new(settings, env).unwrap(), &start).unwrap();
        let rows = learner.run(UPDATES).unwrap();
        Trained { learner, rows }
    }

    fn column(&self, name: &str) -> Vec<f64> {
        let column = metrics::column(self.learner.metrics(), name).unwrap();
        self.rows.iter().map(|row| f64::from(row[column])).collect()
    }

    fn params(&self) -> Vec<f64> {
        self.learner.params().unwrap().iter().flat_map(|(_, array)| array.to_f64()).collect()
    }
}

/// The largest distance of two numbers at the same place.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The sums of a gradient are taken in another order, so that they may differ in their last digits.
#[test]
fn a_gradient_in_parts_is_that_of_the_whole_minibatch() {
    for rnn in [None, Some(Rnn::MinGru)] {
        let trained = |accumulate| {
            let settings = Settings { rnn, rnn_dim: 4, ..settings(Options { accumulate, ..options() }) };
            Trained::new(env("memory", &[]), settings).params()
        };
        let (whole, parts) = (trained(1), trained(4));
        assert!(distance(&whole, &parts) < 1e-3, "{rnn:?}: {}", distance(&whole, &parts));
    }
}

/// The first gradient step of an update starts from the policy of the rollout, so its divergence is 0; that of the second is not.
#[test]
fn a_target_of_the_divergence_ends_the_gradient_steps_of_an_update() {
    let trained = |update_epochs, target_kl, lr| {
        let settings = Settings { update_epochs, lr, ..settings(Options { target_kl, ..options() }) };
        Trained::new(env("memory", &[]), settings).params()
    };
    let (few, first) = (trained(1, Some(1e-6), 0.01), trained(1, None, 1e-20));
    assert!(distance(&few, &trained(3, Some(1e-6), 0.01)) < 1e-5);
    assert!(distance(&few, &first) > 0.01, "the first step of each update is taken");
    let all = trained(3, None, 0.01);
    assert!(distance(&few, &all) > 0.01);
    assert!(distance(&all, &trained(3, Some(1e9), 0.01)) < 1e-3);
}

#[test]
fn rewards_are_clamped_for_learning_only() {
    let trained = |scale: &str, reward_clamp| {
        let settings = settings(Options { reward_clamp, ..options() });
        Trained::new(env("bandit", &[&format!("reward_scale={scale}")]), settings)
    };
    let (large, one, other) = (trained("500", Some(1.0)), trained("1", None), trained("500", None));
    assert!(distance(&large.params(), &one.params()) < 1e-3);
    assert!(distance(&other.params(), &one.params()) > 1e-2);
    let [large, one] = [large, one].map(|trained| trained.column(metrics::EPISODE_RETURN));
    assert!(
        large.iter().zip(&one).all(|(large, one)| (large - 500.0 * one).abs() < 1e-2),
        "{large:?} {one:?}"
    );
    assert!(one.iter().any(|one| *one > 0.0));
}

#[test]
fn rates_fall_by_half_a_cosine() {
    let rates = |change: fn(&mut Settings)| {
        let mut settings = settings(Options { schedule: Form::Cosine, ..options() });
        change(&mut settings);
        Trained::new(env("bandit", &[]), settings).column("train/lr")
    };
    let cosine = |share: f64| (1.0 + (std::f64::consts::PI * share).cos()) / 2.0;
    let to_zero = rates(|settings| settings.anneal_lr = true);
    let to_another = rates(|settings| settings.lr_final = Some(0.002));
    for update in 0..UPDATES {
        let [done, after] = [update, update + 1].map(|count| count as f64 / UPDATES as f64);
        assert!((to_zero[update] - 0.01 * cosine(done)).abs() < 1e-7, "{to_zero:?}");
        assert!((to_another[update] - (0.002 + 0.008 * cosine(after))).abs() < 1e-7, "{to_another:?}");
    }
}

/// The last update of a policy that has learned it; with Adam such a rate is far too large.
#[test]
fn muon_learns() {
    let options = Options { optimizer: Optimizer::Muon, ..options() };
    let settings = Settings { lr: 0.05, ent_coef: 0.0, num_steps: 32, ..settings(options) };
    let perf = Trained::new(env("bandit", &[]), settings).column("stats/perf");
    assert!(perf[0] < 0.5 && perf[UPDATES - 1] > 0.9, "{perf:?}");
}

/// Advantages that are estimated anew from ratios of 1 are those of the rollout, but for the unbiased deviation they are divided by.
#[test]
fn segments_of_the_policy_of_the_rollout_are_its_samples() {
    for rnn in [None, Some(Rnn::MinGru)] {
        let trained = |options: Options| {
            let settings =
                Settings { rnn, rnn_dim: 4, num_minibatches: 1, update_epochs: 1, ..settings(options) };
            Trained::new(env("memory", &[]), settings).params()
        };
        let samples = trained(options());
        let clips = Options { vtrace_rho: Some(1.0), vtrace_c: Some(1.0), ..options() };
        let unclipped = distance(&samples, &trained(clips.clone()));
        assert!(unclipped < 0.01, "{rnn:?}: {unclipped}");
        // Values that are not those of the rollout would change the advantages.
        let values = distance(&samples, &trained(Options { value_update: true, ..clips }));
        assert!(values < 0.01, "{rnn:?}: {values}");
    }
}
