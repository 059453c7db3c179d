//! Networks that see images and networks that remember: each on a probe that needs it. As with the other probes, eight agents learn in
//! one program, and six of them must succeed. All have learned it after a third of their updates.

use std::rc::Rc;

use lockstep::algorithms::evaluation::{Evaluator, Plan};
use lockstep::algorithms::learner::{Group as Agents, One, Start};
use lockstep::algorithms::policy::{Choice, Metadata, Policy};
use lockstep::algorithms::ppo::{Ppo, Settings};
use lockstep::algorithms::{Group, Learner, metrics};
use lockstep::envs::{AnyEnv, EnvSpec, Erased, registry, vector};
use lockstep::interpret::interpret;
use lockstep::lang::{Key, Outputs, trace};
use lockstep::nn::{Convs, Init, Rnn};

use crate::common::{client, plain_client};
use crate::probes::environments::{Blind, BrightQuadrant, HiddenCoin};

const AGENTS: usize = 8;

/// One digit is shown in the first step, and must be said in the fourth one.
fn memory() -> Rc<dyn AnyEnv> {
    let options = ["length=1", "delay=3"].map(str::to_owned);
    registry::find("memory").unwrap().with(&options).unwrap().build().into()
}

fn settings(rnn: Option<Rnn>) -> Settings {
    Settings {
        num_envs: 32,
        num_steps: 15, // no multiple of the length: segments begin in the middle of episodes
        num_minibatches: 2,
        lr: 5e-3,
        gamma: 0.9,
        ent_coef: 0.0,
        hidden_dim: 32,
        num_layers: 1,
        rnn,
        rnn_dim: 16,
        init: Init::Orthogonal,
        ..Settings::default()
    }
}

/// Agents after `updates` updates, and the mean of a metric in the last ten of them, for each.
fn train(
    env: &Rc<dyn AnyEnv>,
    settings: &Settings,
    (updates, num_devices): (usize, usize),
    metric: &str,
) -> (Agents<Ppo>, Vec<f32>) {
    let start = Start {
        seed: 1,
        total_updates: updates as u64,
        max_updates: updates,
        num_devices,
        record: Default::default(),
    };
    let agents = (0..AGENTS).map(|_| Ppo::new(settings.clone(), env.clone()).unwrap()).collect();
    let mut group = Agents::new(&plain_client(), agents, &start).unwrap();
    let rows = group.run(updates).unwrap();
    let column = metrics::column(group.members()[0].metrics(), metric).unwrap();
    let mean = |rows: &Vec<Vec<f32>>| rows[updates - 10..].iter().map(|row| row[column]).sum::<f32>() / 10.0;
    let means = rows.iter().map(mean).collect();
    (group, means)
}

/// Requires a return above `least` of at least six of the eight agents.
#[track_caller]
fn most_have(least: f32, returns: &[f32], whose: impl std::fmt::Debug) {
    let count = returns.iter().filter(|&&mean| mean > least).count();
    assert!(count + 2 >= AGENTS, "{whose:?}: only {count} of {AGENTS} agents have {least}: {returns:?}");
}

#[test]
fn only_what_remembers_solves_memory() {
    let env = memory();
    let (_, without) = train(&env, &settings(None), (30, 1), metrics::EPISODE_RETURN);
    assert!(
        without.iter().all(|mean| (mean - 0.5).abs() < 0.2),
        "networks that remember nothing have {without:?}"
    );
    for (rnn, num_devices) in [(Rnn::Gru, 1), (Rnn::Lstm, 2), (Rnn::MinGru, 1)] {
        let (mut group, with) = train(&env, &settings(Some(rnn)), (30, num_devices), metrics::EPISODE_RETURN);
        most_have(0.95, &with, rnn);
        // Evaluations carry what is remembered, with the learner and from a file.
        let plan = Plan { episodes: 64, max_steps: 100, seed: 3 };
        group.prepare_evaluation(Choice::Greedy, plan.episodes).unwrap();
        let agent = &group.members()[0];
        let episodes = agent.evaluate(&plan, &mut || true).unwrap().expect("nothing stops it");
        let metadata = agent.params_metadata().into_iter().collect();
        let mut params = agent.params().unwrap();
        params.sort_by(|(a, _), (b, _)| a.cmp(b)); // as a file has them
        let policy = Policy::of_network(params, &metadata, Choice::Greedy, &env.spec()).unwrap();
        let loaded = Evaluator::new(&plain_client(), &*env, &policy, plan.episodes).unwrap();
        assert_eq!(loaded.run(&plan).unwrap(), episodes, "{rnn}");
        if with[0] > 0.95 {
            let mean = episodes.iter().map(|episode| episode.episode_return).sum::<f64>() / 64.0;
            assert!(mean > 0.95, "{rnn}: {mean}");
        }
    }
}

/// With one gradient step per update the policy is that of the rollout, so that all ratios are 1; they are only if what was
/// remembered at the start of a segment, and where episodes began, are those of the rollout.
#[test]
fn segments_begin_with_what_was_remembered() {
    let settings = Settings { num_minibatches: 1, update_epochs: 1, ..settings(Some(Rnn::Lstm)) };
    let start =
        Start { seed: 1, total_updates: 20, max_updates: 20, num_devices: 1, record: Default::default() };
    let ppo = Ppo::new(settings, memory()).unwrap();
    let mut learner = One::new(client(), ppo, &start).unwrap();
    let rows = learner.run(20).unwrap();
    let column = metrics::column(learner.metrics(), "train/approx_kl").unwrap();
    assert!(rows.iter().all(|row| row[column].abs() < 1e-6), "{rows:?}");
}

#[test]
fn a_critic_that_sees_more_knows_the_value_and_the_policy_acts_without() {
    let with = |rnn, separate_trunks| Settings { gamma: 0.5, separate_trunks, ..settings(rnn) };
    let settings = with(None, false);
    let remembering = with(Some(Rnn::Gru), true);
    // Whatever is predicted of a coin that is not seen, half the mean squared error is at least 1/2.
    let blind: Rc<dyn AnyEnv> = Rc::new(Erased::new(Blind(HiddenCoin)));
    let seeing: Rc<dyn AnyEnv> = Rc::new(Erased::new(HiddenCoin));
    let (_, losses) = train(&blind, &settings, (20, 1), "train/vf_loss");
    assert!(losses.iter().all(|&loss| loss > 0.4), "{losses:?}");
    for settings in [settings, remembering] {
        let (group, losses) = train(&seeing, &settings, (20, 1), "train/vf_loss");
        let count = losses.iter().filter(|&&loss| loss < 0.02).count();
        assert!(count + 2 >= AGENTS, "only {count} of {AGENTS} agents know the value: {losses:?}");

        let agent = &group.members()[0];
        let metadata: Metadata = agent.params_metadata().into_iter().collect();
        assert_eq!(metadata["privileged_size"], "1");
        // Where there is a coin to see, the policy says what it is worth; else it acts all the same, by the same probabilities.
        let decide = |env: &dyn AnyEnv| {
            let params = agent.params().unwrap();
            let policy = Policy::of_network(params, &metadata, Choice::Greedy, &env.spec()).unwrap();
            let traced = trace(&policy.structure(), |params| {
                let state = vector::reset(env, &env.default_params(), Key::new(3).split_last(5));
                let view = vector::view(env, &env.default_params(), &state);
                policy.act(&params, policy.begin(5), &view, Key::new(4).split_last(5)).1
            });
            Outputs::new(&traced.output_names, interpret(&traced.graph, policy.params()))
        };
        let (mut with, mut without) = (decide(&*seeing), decide(&*blind));
        assert_eq!(with.take("probs"), without.take("probs"));
        assert!(with.take_if_any("value").is_some() && without.take_if_any("value").is_none());
    }
}

/// Layers as users write them.
fn conv(text: &str) -> Convs {
    text.parse().unwrap()
}

#[test]
fn a_convolution_finds_the_bright_quadrant() {
    let env: Rc<dyn AnyEnv> = Rc::new(Erased::new(BrightQuadrant));
    let settings =
        Settings { num_steps: 8, num_envs: 64, gamma: 0.5, conv: conv("8/2,8:2/2v"), ..settings(None) };
    let (group, returns) = train(&env, &settings, (25, 1), metrics::EPISODE_RETURN);
    most_have(0.9, &returns, "conv");
    let kernels = |name: &str| name.starts_with("params.conv.") && name.ends_with(".kernel");
    let agent = &group.members()[0];
    let params = agent.params().unwrap();
    let shapes: Vec<_> =
        params.iter().filter(|(name, _)| kernels(name)).map(|(_, array)| array.shape()).collect();
    assert_eq!(shapes, [[3, 3, 1, 8], [2, 2, 8, 8]]);

    // A file says how its network is built; what is another network's is refused.
    let metadata: Metadata = agent.params_metadata().into_iter().collect();
    assert_eq!(metadata["conv"], "8/2,8:2/2v");
    let load = |metadata: &Metadata, spec: &EnvSpec| {
        Policy::of_network(params.clone(), metadata, Choice::Greedy, spec)
    };
    load(&metadata, &env.spec()).unwrap();
    let message = |key: &str, value: &str| {
        let mut other = metadata.clone();
        other.insert(key.to_owned(), value.to_owned());
        load(&other, &env.spec()).err().unwrap().to_string()
    };
    assert_eq!(
        message("conv", "8/2,16:2/2v"),
        "these arrays are no network: params.conv.1.kernel is f32[2,2,8,8], not f32[2,2,8,16]"
    );
    assert!(message("conv_channels", "middle").contains("conv_channels is middle, which lockstep does not"));
    assert!(message("conv", "8/").starts_with("its network's conv is 8/: `8/` is no convolution; "));
    let flat = EnvSpec::new("flat", [100], 4);
    assert_eq!(
        load(&metadata, &flat).err().unwrap().to_string(),
        "conv needs observations that are images, of 2 or 3 axes; those of flat have the shape [100]"
    );
}

#[test]
fn convolutions_need_images() {
    let settings = Settings { conv: conv("8"), ..Settings::default() };
    let env = registry::find("cartpole").unwrap().build();
    assert_eq!(
        Ppo::new(settings, env.into()).err().unwrap().to_string(),
        "conv needs observations that are images, of 2 or 3 axes; those of cartpole have the shape [4]"
    );
}
