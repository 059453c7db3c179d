//! A run by hand: it trains until the agent is good enough, keeps the moment, tries something, and goes back.

use std::path::Path;

use lockstep::Trainer;
use lockstep::trainer::Outcome;

/// A run below this directory. Its settings are lines of a configuration file.
pub fn train(runs: &Path) -> anyhow::Result<Outcome> {
    let settings = "
        env = 'cartpole'
        num_envs = 16
        num_steps = 32
        hidden_dim = 32
        total_timesteps = 51_200
        eval_episodes = 8
        wandb = 'disabled'
        run_name = 'by-hand'
    ";
    let mut trainer = Trainer::new(&format!("checkpoint_dir = '{}'\n{settings}", runs.display()))?;
    let mut good = None;
    while !trainer.is_done() && good.is_none() {
        let row = trainer.train(10)?;
        let trained = row.get("train/mean_episode_return").unwrap_or(0.0);
        if trained > 30.0 {
            let score = trainer.evaluate()?.episode_return.mean;
            good = Some(trainer.save_checkpoint(&[("score", &score.to_string())])?);
        }
    }
    if let Some(checkpoint) = good {
        trainer.train(5)?; // whatever comes of it,
        trainer.log();
        trainer.load_checkpoint(checkpoint)?; // it is taken back
    }
    if !trainer.is_done() {
        trainer.train(u64::MAX)?; // the rest of the run
    }
    trainer.finish()
}
