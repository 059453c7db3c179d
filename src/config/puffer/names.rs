//! What the names of PufferLib are here.

use Here::{Missing, Moot, Named, Setting};

/// What a name of PufferLib is here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Here {
    /// A setting, with the same values.
    Setting(&'static str),
    /// A setting whose values have other names, each with the one here.
    Named(&'static str, &'static [(&'static str, &'static str)]),
    /// What with the number of agents and the horizon gives a setting.
    Derived(Derived),
    /// About machinery that is not here: environments are compiled, and one program does everything.
    Moot,
    /// A part of the algorithm that is not here.
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Derived {
    /// The number of agents is the product of two.
    Envs,
    /// Steps of a gradient step.
    MinibatchSize,
    /// Updates of a run.
    Iterations,
}

/// Names of versions 2 to 5, and what they are here.
pub const NAMES: &[(&str, Here)] = &[
    ("base.env_name", Setting("env")),
    (
        "base.rnn_name",
        Named("rnn", &[("recurrent", "lstm"), ("lstm", "lstm"), ("gru", "gru"), ("mingru", "mingru")]),
    ),
    ("base.seed", Setting("seed")),
    ("base.wandb_project", Setting("project")),
    ("base.checkpoint_dir", Setting("checkpoint_dir")),
    ("train.total_timesteps", Setting("total_timesteps")),
    ("train.num_iterations", Here::Derived(Derived::Iterations)),
    ("train.learning_rate", Setting("lr")),
    ("train.anneal_lr", Setting("anneal_lr")),
    ("train.gamma", Setting("gamma")),
    ("train.gae_lambda", Setting("gae_lambda")),
    ("train.ent_coef", Setting("ent_coef")),
    ("train.vf_coef", Setting("vf_coef")),
    ("train.clip_coef", Setting("clip_eps")),
    ("train.clip_vloss", Setting("clip_vloss")),
    ("train.max_grad_norm", Setting("max_grad_norm")),
    ("train.update_epochs", Setting("update_epochs")),
    ("train.minibatch_size", Here::Derived(Derived::MinibatchSize)),
    ("train.horizon", Setting("num_steps")),
    ("train.bptt_horizon", Setting("num_steps")),
    ("train.seed", Setting("seed")),
    ("train.device", Setting("device")),
    ("train.checkpoint_interval", Setting("save_interval")),
    ("train.checkpoint_dir", Setting("checkpoint_dir")),
    ("train.data_dir", Setting("checkpoint_dir")),
    (
        "train.precision",
        Named("precision", &[("float32", "f32"), ("bfloat16", "bf16"), ("f32", "f32"), ("bf16", "bf16")]),
    ),
    ("vec.total_agents", Setting("num_envs")),
    ("vec.num_envs", Setting("num_envs")),
    ("env.num_envs", Here::Derived(Derived::Envs)),
    ("policy.hidden_size", Setting("hidden_dim")),
    ("policy.num_layers", Setting("num_layers")),
    ("rnn.hidden_size", Setting("rnn_dim")),
    ("base.package", Moot),
    ("base.policy_name", Moot),
    ("base.max_suggestion_cost", Moot),
    ("base.max_runs", Moot),
    ("base.wandb", Moot),
    ("base.wandb_group", Moot),
    ("base.no_model_upload", Moot),
    ("base.neptune", Moot),
    ("base.neptune_name", Moot),
    ("base.neptune_project", Moot),
    ("base.tag", Moot),
    ("base.load_model_path", Moot),
    ("base.load_id", Moot),
    ("base.render_mode", Moot),
    ("base.save_frames", Moot),
    ("base.gif_path", Moot),
    ("base.fps", Moot),
    ("base.local_rank", Moot),
    ("base.eval_episodes", Moot),
    ("base.eval_agents", Moot),
    ("base.log_dir", Moot),
    ("base.async", Moot),
    ("base.reset_every_horizon", Missing),
    ("vec.backend", Moot),
    ("vec.num_workers", Moot),
    ("vec.batch_size", Moot),
    ("vec.zero_copy", Moot),
    ("vec.seed", Moot),
    ("vec.num_buffers", Moot),
    ("vec.num_threads", Moot),
    ("rnn.input_size", Moot),
    ("train.name", Moot),
    ("train.project", Moot),
    ("train.batch_size", Moot),
    ("train.max_minibatch_size", Moot),
    ("train.torch_deterministic", Moot),
    ("train.cpu_offload", Moot),
    ("train.compile", Moot),
    ("train.compile_mode", Moot),
    ("train.compile_fullgraph", Moot),
    ("train.use_rnn", Moot),
    ("train.beta2", Moot),
    ("train.eps", Setting("adam_epsilon")),
    ("train.adam_beta2", Moot),
    ("train.adam_eps", Setting("adam_epsilon")),
    ("train.optimizer", Named("optimizer", &[("adam", "adam"), ("muon", "muon")])),
    ("train.adam_beta1", Setting("momentum")),
    ("train.beta1", Setting("momentum")),
    ("train.momentum", Setting("momentum")),
    ("train.min_lr_ratio", Missing),
    ("train.anneal_ent_coef", Missing),
    ("train.min_ent_coef_ratio", Missing),
    ("train.norm_adv", Missing),
    ("train.vf_clip_coef", Missing),
    ("train.vtrace", Missing),
    ("train.vtrace_rho_clip", Setting("vtrace_rho")),
    ("train.vtrace_c_clip", Setting("vtrace_c")),
    ("train.prio_alpha", Setting("prio_alpha")),
    ("train.prio_beta0", Setting("prio_beta")),
    ("train.replay_ratio", Setting("replay_ratio")),
    ("train.target_kl", Setting("target_kl")),
];

/// Sections of settings; those below `sweep` and `selfplay` are left out as a whole.
pub const SECTIONS: [&str; 6] = ["base", "train", "vec", "env", "policy", "rnn"];
