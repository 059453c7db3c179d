//! Trained policies in another program: `lockstep::Policy` takes the actions that the same parameters take in play.

use std::path::Path;

use lockstep::Policy;
use lockstep::algorithms::builtin;
use lockstep::algorithms::playback::Playback;
use lockstep::algorithms::policy::Choice;
use lockstep::envs::{AnyEnv, Erased};
use lockstep::trainer::load_params;

use crate::common::client;
use crate::new_crate::{env::GridWorld, run};

/// A short run of the grid world, which has masks; gives its folder.
fn train(runs: &Path, flags: &str) -> std::path::PathBuf {
    let runs_flag = format!("--no-wandb --checkpoint-dir {}", runs.display());
    run(&format!(
        "train --num-envs 8 --num-steps 16 --total-timesteps 512 --lr 0.02 {runs_flag} --run-name a {flags}"
    ));
    runs.join("a")
}

/// What is seen in an episode, what is allowed there, and what is done.
type Step = (Vec<f32>, Vec<bool>, usize);

fn episode(params: &Path, number: usize) -> Vec<Step> {
    let env = Erased::new(GridWorld);
    let (params, metadata) = load_params(params).unwrap();
    let policy = (builtin()[0].policy)(params, &metadata, Choice::Greedy, &env.spec()).unwrap();
    let mut playback = Playback::new(client(), &env, &policy).unwrap();
    let mut moment = playback.begin(3, number).unwrap();
    let mut steps = Vec::new();
    loop {
        steps.push((moment.obs.clone(), moment.mask.clone().unwrap(), moment.action));
        let (outcome, next) = playback.step().unwrap();
        if outcome.terminated || outcome.truncated || steps.len() == 12 {
            return steps;
        }
        moment = next;
    }
}

/// A recurrent policy: what it does depends on all that it has seen of a game.
#[test]
fn a_policy_with_masks_and_memory_acts_as_in_play() {
    let dir = tempfile::tempdir().unwrap();
    let folder = train(dir.path(), "--rnn gru --rnn-dim 8");
    let params = folder.join("final_params.safetensors");
    let [a, b] = [0, 1].map(|number| episode(&params, number));
    let actions = |steps: &[Step]| steps.iter().map(|step| step.2).collect::<Vec<_>>();

    let mut policy = Policy::load(&params).unwrap();
    let mut play = |steps: &[Step]| {
        policy.begin();
        steps.iter().map(|(obs, mask, _)| policy.act_masked(obs, mask).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((play(&a), play(&b)), (actions(&a), actions(&b)));

    // Both beside each other, from the folder of the run; then the first again in the place of the second.
    let mut policy = Policy::load(&folder).unwrap();
    let both = |(a, b): (&Step, &Step)| ([&a.0[..], &b.0].concat(), [&a.1[..], &b.1].concat(), [a.2, b.2]);
    let length = a.len().min(b.len());
    for (obs, mask, expected) in a.iter().zip(&b).map(both) {
        assert_eq!(policy.act_in_all(&obs, &mask).unwrap(), expected);
    }
    policy.begin_one(1);
    for (index, step) in a.iter().take(2).enumerate() {
        let (obs, mask, _) = both((&a[(length + index).min(a.len() - 1)], step));
        assert_eq!(policy.act_in_all(&obs, &mask).unwrap()[1], step.2);
    }
    let error = policy.act(&a[0].0).unwrap_err().to_string();
    assert_eq!(error, "the policy remembers 2 games, not 1; call begin first");
    policy.begin();
    policy.act(&a[0].0).unwrap();
}

#[test]
fn an_image_is_read_in_its_shape_and_mistakes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let folder = train(dir.path(), "--conv 4");
    let steps = episode(&folder.join("final_params.safetensors"), 0);
    let mut policy = Policy::load(&folder).unwrap();
    assert_eq!((policy.obs_size(), policy.num_actions()), (49, 4));
    for (obs, mask, action) in &steps {
        assert_eq!(policy.act_masked(obs, mask).unwrap(), *action);
        assert!(mask[policy.act_masked(obs, mask).unwrap()]);
    }
    // Drawn actions are allowed, differ, and are the same ones for the same seed.
    let draws = || {
        let mut policy = Policy::load(&folder).unwrap().sampling(7);
        let (obs, mask, _) = &steps[0];
        let draws: Vec<usize> = (0..40).map(|_| policy.act_masked(obs, mask).unwrap()).collect();
        assert!(draws.iter().all(|&action| mask[action]));
        draws
    };
    assert_eq!(draws(), draws());
    let mut all = Policy::load(&folder).unwrap().sampling(7);
    let first: Vec<usize> = (0..40).map(|_| all.act(&steps[0].0).unwrap()).collect();
    assert!(first.iter().any(|&action| action != first[0]));

    let error = policy.act(&[0.0; 3]).unwrap_err().to_string();
    assert_eq!(error, "an observation has 3 values, not 49");
    let error = policy.act_masked(&steps[0].0, &[true; 5]).unwrap_err().to_string();
    assert_eq!(error, "the mask has 5 values, not 4");
    let error = Policy::load(dir.path().join("nothing.safetensors")).err().unwrap().to_string();
    assert!(error.starts_with("there are no parameters"), "{error}");
    std::fs::write(dir.path().join("x.safetensors"), "no such file").unwrap();
    let error = Policy::load(dir.path().join("x.safetensors")).err().unwrap().to_string();
    assert!(error.contains("is no safetensors file"), "{error}");
}
