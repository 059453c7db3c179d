//! What the replay holds: transitions over one step or several, as small as they can be stored.
//!
//! Flags of observations and masks are bits. Over several steps (Sutton 1988; Hessel et al. 2018, "Rainbow") a transition leads from
//! a decision to the n-th one after it, or to the end of the episode if that comes before, and its reward is the discounted sum on
//! the way.

use crate::array::DType;
use crate::envs::vector::View;
use crate::envs::{EnvSpec, Mirror};
use crate::lang::{
    Bool, Features, Float, Int, arange, concatenate, constant, int, int_u32, iota, merge_first_axes,
    repeat_tree, select, take_tree, update_tree,
};

/// What is seen in `N` situations.
#[derive(Clone, Copy)]
pub struct Seen {
    pub obs: Features,
    /// The valid actions as bits, where there is a mask: u8`[N, W]` if they fit one byte, else u32`[N, W]`.
    pub valid: Option<Int>,
}
crate::tree!(Seen { obs, valid });

impl Seen {
    #[track_caller]
    pub fn of(view: &View) -> Seen {
        Seen::of_parts(view.obs, view.mask)
    }

    /// Observations and masks bool`[N, A]`.
    #[track_caller]
    pub fn of_parts(obs: Features, mask: Option<Bool>) -> Seen {
        Seen { obs, valid: mask.map(bits) }
    }

    /// With those of the `N` situations in the mirror that are `turned`, bool`[N]`.
    #[track_caller]
    fn mirrored(self, mirror: &Mirror, turned: Bool, spec: &EnvSpec) -> Seen {
        let swap = |x: Float, places: &[usize]| {
            let other = x.take(constant(to_i32(places)), 1);
            select(turned.broadcast(1, places.len()), other, x)
        };
        let obs = Features::Plain(swap(self.obs.unpacked(spec.packing().as_ref()), &mirror.obs));
        let mask = self.mask(spec.num_actions);
        Seen::of_parts(obs, mask.map(|mask| swap(mask.as_f32(), &mirror.actions).gt(0.5)))
    }

    /// The mask, bool`[N, A]`, of so many actions.
    #[track_caller]
    pub fn mask(&self, num_actions: usize) -> Option<Bool> {
        self.valid.map(|valid| flags(valid, num_actions))
    }
}

/// Bits in a word of flags.
fn width(num_flags: usize) -> usize {
    if num_flags <= 8 { 8 } else { 32 }
}

/// Flags `[N, A]` as bits.
#[track_caller]
fn bits(flags: Bool) -> Int {
    let num_flags = flags.shape()[1];
    let width = width(num_flags);
    let word = |start: usize| {
        let part = flags.slice(1, start..num_flags.min(start + width)).as_u32();
        (part << iota(DType::U32, part.shape(), 1)).sum([1]).expand_dims(1)
    };
    let words = concatenate(1, (0..num_flags).step_by(width).map(word).collect::<Vec<_>>());
    if width == 8 { words.as_u8() } else { words }
}

/// The inverse of [`bits`].
#[track_caller]
fn flags(words: Int, num_flags: usize) -> Bool {
    let width = width(num_flags);
    let words = words.as_u32();
    let part = |word: usize| {
        let size = width.min(num_flags - word * width);
        let column = words.slice(1, word..word + 1).squeeze(1).broadcast(1, size);
        (column >> iota(DType::U32, column.shape(), 1)) & 1
    };
    let parts: Vec<Int> = (0..words.shape()[1]).map(part).collect();
    concatenate(1, parts).ne(int_u32(0))
}

/// `N` transitions.
#[derive(Clone, Copy)]
pub struct Experience {
    /// The mask is kept only for a network that reads it.
    pub seen: Seen,
    /// u8 if there are not more actions, else i32.
    pub action: Int,
    /// The discounted sum of the rewards on the way.
    pub reward: Float,
    /// Steps on the way, u8; 0 if the episode was over then, so that nothing of what follows counts.
    pub steps: Int,
    pub next: Seen,
}
crate::tree!(Experience { seen, action, reward, steps, next });

impl Experience {
    /// With those transitions in the mirror that are `turned`, bool`[N]`.
    #[track_caller]
    pub fn mirrored(self, mirror: &Mirror, turned: Bool, spec: &EnvSpec) -> Experience {
        let Experience { seen, action, next, .. } = self;
        let places: Int = constant(to_i32(&mirror.actions));
        let other = places.take(action.as_i32(), 0).cast(action_type(spec));
        Experience {
            seen: seen.mirrored(mirror, turned, spec),
            action: select(turned, other, action),
            next: next.mirrored(mirror, turned, spec),
            ..self
        }
    }
}

fn to_i32(places: &[usize]) -> Vec<i32> {
    places.iter().map(|&place| place as i32).collect()
}

/// A step of `N` environments.
pub struct Step {
    pub seen: Seen,
    /// i32`[N]`
    pub action: Int,
    pub reward: Float,
    /// Whether the episode ended, for good or because it was cut off.
    pub done: Bool,
    pub terminated: Bool,
    /// What is seen after it; of an episode that was cut off the last that was seen of it.
    pub next: Seen,
}

impl Step {
    /// Transitions over one step.
    #[track_caller]
    fn alone(self, spec: &EnvSpec) -> Experience {
        let Step { seen, action, reward, terminated, next, .. } = self;
        let steps = select(terminated, int(0).as_u8(), int(1).as_u8());
        Experience { seen, action: action.cast(action_type(spec)), reward, steps, next }
    }
}

/// How an action is stored.
pub fn action_type(spec: &EnvSpec) -> DType {
    if spec.num_actions <= 256 { DType::U8 } else { DType::I32 }
}

/// The newest decisions of each environment's episode, at most `n` of them: a ring of which each decision is the newest one first,
/// then the second newest, and leaves when `n` steps have followed.
#[derive(Clone, Copy)]
pub struct Pending {
    /// `[n, N, ...]`
    seen: Seen,
    action: Int,
    /// The discounted sum of the rewards since then.
    reward: Float,
    /// The slot of the next decision, i32.
    next: Int,
    /// How many decisions there are, i32`[N]`.
    count: Int,
}
crate::tree!(Pending { seen, action, reward, next, count });

/// How transitions come about.
pub struct Steps<'a> {
    pub n: usize,
    pub gamma: Float,
    pub spec: &'a EnvSpec,
}

impl Steps<'_> {
    /// Before the first step of environments that show `seen`, `[N, ...]`; nothing where every step is a transition.
    #[track_caller]
    pub fn begin(&self, seen: &Seen) -> Option<Pending> {
        let num_envs = seen.obs.num_rows();
        (self.n > 1).then(|| Pending {
            seen: repeat_tree(seen, self.n),
            action: Int::full([self.n, num_envs], 0).cast(action_type(self.spec)),
            reward: Float::full([self.n, num_envs], 0.0),
            next: int(0),
            count: Int::full([num_envs], 0),
        })
    }

    /// The transitions that a step completes, `[M, ...]`, and which of them there are, bool`[M]`; `None` for all.
    #[track_caller]
    pub fn complete(
        &self,
        pending: Option<Pending>,
        step: Step,
    ) -> (Option<Pending>, Experience, Option<Bool>) {
        let Some(pending) = pending else { return (None, step.alone(self.spec), None) };
        let (n, slot, num_envs) = (self.n, pending.next, step.action.size());
        let Step { seen, action, reward, done, terminated, next } = step;
        let action = action.cast(action_type(self.spec));
        let (seen, action, zero) = update_tree(
            (pending.seen, pending.action, pending.reward),
            slot,
            &repeat_tree(&(seen, action, reward.full_like(0.0)), 1),
        );
        // Steps since the decision in each slot, [n].
        let age = (slot - arange(n) + n) % n;
        let over_envs = |x: Float| x.broadcast(1, num_envs);
        let reward = zero + over_envs(self.gamma.fill(&[n]).pow(age.as_f32())) * reward.broadcast(0, n);

        let count = pending.count + 1;
        let by_age = arange(n).broadcast(1, num_envs);
        let age_of = (n as i32 - 1) - by_age; // of the rows below, the oldest decision first
        let there = age_of.lt(count.broadcast(0, n));
        let chosen = there & (done.broadcast(0, n) | age_of.eq(n - 1));
        let steps = select(terminated.broadcast(0, n), 0, age_of + 1).as_u8();
        let oldest_first = (slot + 1 + arange(n)) % n;
        let (seen_then, action_then, reward_then) = take_tree(&(seen, action, reward), oldest_first);
        let rows = Experience {
            seen: seen_then,
            action: action_then,
            reward: reward_then,
            steps,
            next: repeat_tree(&next, n),
        };
        let count = select(done, 0, count.minimum(n - 1));
        let pending = Pending { seen, action, reward, next: (slot + 1) % n, count };
        (Some(pending), merge_first_axes(rows), Some(chosen.flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::trace;

    /// Column 1 of the left half is column 5 of the right one, and so are its stones.
    #[test]
    fn transitions_in_the_mirror_have_left_and_right_exchanged() {
        let env = crate::envs::registry::find("connect4").unwrap().build();
        let (spec, mirror) = (env.spec(), env.mirror().unwrap());
        let traced = trace(&(), |()| {
            let obs = (arange(2 * 84) * 7 % 5).lt(2).as_f32().reshape([2, 84]);
            let mask = (arange(14) % 3).lt(2).reshape([2, 7]);
            let packing = spec.packing().unwrap();
            let seen = || Seen::of_parts(packing.pack(obs.transpose([1, 0])), Some(mask));
            let batch = Experience {
                seen: Seen { valid: None, ..seen() },
                action: Int::full([2], 1).as_u8(),
                reward: constant([1.0f32, 2.0]),
                steps: Int::full([2], 1).as_u8(),
                next: seen(),
            };
            let turned = arange(2).eq(1);
            let found = batch.mirrored(&mirror, turned, &spec);
            let numbers = |seen: &Seen| seen.obs.unpacked(Some(&packing));
            let valid = found.next.mask(7).unwrap().as_i32();
            (obs, mask.as_i32(), numbers(&found.seen), numbers(&found.next), valid, found.action.as_i32())
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        let (obs, mask) = (&found[0], &found[1]);
        let turned = |x: &[f64], i: usize| x[i - i % 7 + 6 - i % 7];
        for seen in [&found[2], &found[3]] {
            assert_eq!(seen[..84], obs[..84]);
            (84..168).for_each(|i| assert_eq!(seen[i], turned(obs, i), "{i}"));
        }
        assert_eq!(found[4][..7], mask[..7]);
        (7..14).for_each(|i| assert_eq!(found[4][i], turned(mask, i), "{i}"));
        assert_eq!(found[5], [1.0, 5.0]);
    }

    #[test]
    fn masks_are_kept_as_bits() {
        for num_flags in [3, 8, 9, 32, 70] {
            let traced = trace(&(), |()| {
                let mask = ((arange(2 * num_flags) * 7 + 3) % 5).lt(2).reshape([2, num_flags]);
                (mask.as_i32(), flags(bits(mask), num_flags).as_i32(), bits(mask))
            });
            let found = interpret(&traced.graph, &[]);
            assert_eq!(found[0], found[1], "{num_flags}");
            let bytes =
                [(3, 1), (8, 1), (9, 4), (32, 4), (70, 12)].into_iter().find(|(n, _)| *n == num_flags);
            assert_eq!(found[2].array_type().size() * found[2].dtype().size(), 2 * bytes.unwrap().1);
        }
    }
}
