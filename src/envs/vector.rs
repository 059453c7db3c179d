//! Many environments in lockstep, with automatic reset.
//!
//! All functions here take a batch whose examples stand on the last axis of every leaf of the state, so that
//! the arithmetic of the games runs over neighbouring memory. What leaves for the networks (observations, masks)
//! has the environments first: `[B, ...]`.

use crate::lang::{
    Bool, Features, Float, Int, Key, Leaves, Tree, leaf_types, rare, select_tree, take_tree, vmap, vmap_last,
};

use super::{AnyEnv, Observation, Step};

/// What networks read of all environments.
#[derive(Clone, Copy)]
pub struct View {
    /// Observations of the players to move, flat, and packed if the spec names flags.
    pub obs: Features,
    /// For environments where actions can be invalid: bool`[B, A]`.
    pub mask: Option<Bool>,
    /// For environments that have them: the privileged observations, flat, f32`[B, P]`. Only value functions may read them.
    pub privileged: Option<Float>,
    /// With several players: the number of the one to move, i32`[B]`.
    pub to_move: Option<Int>,
}
crate::tree!(View { obs, mask, privileged, to_move });

/// One step of all environments.
pub struct VectorStep {
    /// After the reset of those that are done.
    pub state: Leaves,
    /// f32`[B]`; with several players f32`[players, B]`.
    pub reward: Float,
    /// bool`[B]`: terminated or truncated.
    pub done: Bool,
    /// For environments that can be cut off: bool`[B]`, and what was seen before any reset.
    pub truncated: Option<(Bool, View)>,
    /// f32`[B]` each, in the order of the spec.
    pub metrics: Vec<Float>,
}
crate::tree!(VectorStep { state, reward, done, truncated, metrics });

/// The first states; `keys` is an array of keys `[2, B]`.
#[track_caller]
pub fn reset(env: &dyn AnyEnv, params: &Leaves, keys: Key) -> Leaves {
    vmap_last(keys, |key| env.reset(params, key))
}

/// What is seen of one environment; after a vmap, of all, with the environments on the last axis.
struct Seen {
    obs: Float,
    mask: Option<Bool>,
    privileged: Option<Float>,
    to_move: Option<Int>,
}
crate::tree!(Seen { obs, mask, privileged, to_move });

impl Seen {
    #[track_caller]
    fn of(env: &dyn AnyEnv, params: &Leaves, state: &Leaves) -> Seen {
        let Observation { actor, privileged } = env.observe(params, state);
        Seen {
            obs: actor.flatten(),
            mask: env.action_mask(params, state),
            privileged: privileged.map(Float::flatten),
            to_move: (env.spec().players > 1).then(|| env.to_move(params, state)),
        }
    }

    /// With the environments first.
    #[track_caller]
    fn view(self, env: &dyn AnyEnv) -> View {
        View {
            obs: features(env, self.obs),
            mask: self.mask.map(|mask| mask.transpose([1, 0])),
            privileged: self.privileged.map(|privileged| privileged.transpose([1, 0])),
            to_move: self.to_move,
        }
    }
}

/// What is seen of all environments.
#[track_caller]
pub fn view(env: &dyn AnyEnv, params: &Leaves, state: &Leaves) -> View {
    vmap_last(state.duplicate(), |state| Seen::of(env, params, &state)).view(env)
}

/// Observations `[O, B]` as networks read them.
#[track_caller]
fn features(env: &dyn AnyEnv, obs: Float) -> Features {
    match env.spec().packing() {
        Some(packing) => packing.pack(obs),
        None => Features::Plain(obs.transpose([1, 0])),
    }
}

/// First states to share, one for each of `size` keys, for [`step`].
#[track_caller]
pub fn pool(env: &dyn AnyEnv, params: &Leaves, key: Key, size: usize) -> Leaves {
    vmap(key.split_many(size), |key| env.reset(params, key))
}

/// Steps all environments with actions i32`[B]`, then resets those that are done. The reset costs what the
/// environments that are done cost; with a `pool`, it is one of the states in it.
#[track_caller]
pub fn step(
    env: &dyn AnyEnv,
    params: &Leaves,
    keys: Key,
    state: Leaves,
    actions: Int,
    pool: Option<&Leaves>,
) -> VectorStep {
    step_where(None, env, params, keys, state, actions, pool)
}

/// As [`step`], but only where `moving`, bool`[B]`, or everywhere if it is `None`. The others stand still and are not done; the rest of
/// what is told of them has no meaning.
#[track_caller]
pub fn step_where(
    moving: Option<Bool>,
    env: &dyn AnyEnv,
    params: &Leaves,
    keys: Key,
    state: Leaves,
    actions: Int,
    pool: Option<&Leaves>,
) -> VectorStep {
    let first = |done: Bool, key: Key, state: Leaves| match pool {
        None => env.restart_where(done, params, key, state),
        Some(pool) => {
            let size = leaf_types(pool)[0].shape[0];
            rare(done, state, |_| take_tree(pool, key.fold_in(0).integers([], 0..size as i32)))
        }
    };
    let (stepped, truncated) = vmap_last((keys, state, actions, moving), |(key, state, action, moving)| {
        let [step_key, reset_key] = env.step_keys(key);
        let step = env.step(params, step_key, state.clone(), action);
        let done = match step.truncated {
            Some(truncated) => step.terminated | truncated,
            None => step.terminated,
        };
        let (step, done) = match moving {
            None => (step, done),
            Some(moving) => (Step { state: select_tree(moving, step.state, state), ..step }, done & moving),
        };
        let truncated = step
            .truncated
            .map(|truncated| (truncated & !step.terminated, Seen::of(env, params, &step.state)));
        let state = first(done, reset_key, step.state);
        let stepped = VectorStep { state, reward: step.reward, done, truncated: None, metrics: step.metrics };
        (stepped, truncated)
    });
    VectorStep { truncated: truncated.map(|(cut, seen)| (cut, seen.view(env))), ..stepped }
}

impl VectorStep {
    /// What the step pays one player, f32`[B]`.
    #[track_caller]
    pub fn reward_of(&self, player: usize) -> Float {
        if self.reward.rank() == 1 { self.reward } else { self.reward.index(0, player) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::{default_params, registry};
    use crate::interpret::interpret;
    use crate::lang::{scan_range, trace};

    #[test]
    fn with_a_pool_all_episodes_begin_with_a_state_of_it() {
        const ENVS: usize = 16;
        let env = registry::find("cartpole").unwrap().build();
        let values = default_params(&*env);
        let first = |leaves: &Leaves| Float::from_handle(leaves.0[0].1);
        let traced = trace(&Leaves::placeholders(&values), |params| {
            let pool = pool(&*env, &params, Key::new(1), 3);
            let state = reset(&*env, &params, Key::new(2).split_last(ENVS));
            let (_, seen) = scan_range(30, state, |state, i| {
                let keys = Key::new(3).fold_in(i).split_last(ENVS);
                let right = Int::full([ENVS], 1);
                let step = step(&*env, &params, keys, state, right, Some(&pool));
                let x = first(&step.state);
                (step.state, (step.done, x))
            });
            (first(&pool), seen)
        });
        let values: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
        let found = interpret(&traced.graph, &values);
        let [pool, done, x] = [0, 1, 2].map(|i| found[i].to_f64());
        let begun: Vec<f64> = x.iter().zip(&done).filter(|(_, done)| **done > 0.0).map(|(x, _)| *x).collect();
        assert!(begun.len() > ENVS, "pushed to the right a pole falls within 30 steps");
        assert!(begun.iter().all(|x| pool.contains(x)), "{begun:?} from {pool:?}");
        assert!(pool.iter().all(|x| begun.contains(x)), "each is used");
    }
}
