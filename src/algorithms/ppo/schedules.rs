//! What changes over a run: learning rate, clip and entropy coefficient go to their last values in a line or by half a
//! cosine, the entropy floor falls.

use crate::algorithms::learner::Inputs;
use crate::algorithms::schedule::linear;
use crate::lang::Float;

use super::choices::Floor;
use super::{Hyper, Settings};

impl Settings {
    /// The numbers of an update. The last update has the last values; an annealed learning rate would be 0 after it.
    #[track_caller]
    pub(super) fn scheduled(&self, inputs: &Inputs<Hyper>) -> Hyper {
        let hyper = inputs.hyper;
        let form = self.options.schedule;
        let after = || form.share(inputs.share_after());
        let lr = match hyper.ends.lr {
            None => hyper.lr * (1.0 - hyper.anneal_lr * form.share(inputs.done_share())),
            Some(end) => linear(hyper.lr, end, after()),
        };
        Hyper {
            lr,
            clip_eps: (hyper.ends.clip_eps)
                .map_or(hyper.clip_eps, |end| linear(hyper.clip_eps, end, after())),
            ent_coef: (hyper.ends.ent_coef)
                .map_or(hyper.ent_coef, |end| linear(hyper.ent_coef, end, self.entropy_share(inputs))),
            floor: hyper.floor.map(|floor| self.lowered(floor, inputs)),
            ..hyper
        }
    }

    /// The share of the entropy coefficient's way that is behind it after the update.
    fn entropy_share(&self, inputs: &Inputs<Hyper>) -> Float {
        self.options.schedule.share((inputs.share_after() / self.ent_decay_fraction).minimum(1.0))
    }

    /// The floor falls to 0 from when the entropy coefficient is at its end. If that is the end of the run, it stays.
    fn lowered(&self, floor: Floor, inputs: &Inputs<Hyper>) -> Floor {
        let rest = 1.0 - self.ent_decay_fraction;
        if rest == 0.0 {
            return floor;
        }
        let fallen = ((inputs.share_after() - self.ent_decay_fraction) / rest).clamp(0.0, 1.0);
        Floor { entropy: floor.entropy * (1.0 - fallen), ..floor }
    }
}
