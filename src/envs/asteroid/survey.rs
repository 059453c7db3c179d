//! Scans of asteroids, and listening for threats: what the ship believes comes nearer to what is.

use crate::lang::{Bool, Float, arange, rare, select, select_tree};

use super::State;
use super::chart::SLOTS;
use super::pcg::{Pcg, normal};
use super::site::{ASTEROIDS, COMMODITIES, Marks, Site, Truth, shares};

/// Draws of the scan of one asteroid: two for each commodity and for the stability. A direction that is listened to takes two.
const SCAN_DRAWS: usize = 2 * (COMMODITIES + 1);
const LISTEN_DRAWS: usize = 2;
/// The spread of what is heard, and how far it is believed.
const HEARD_SPREAD: f64 = 0.08;
const BELIEVED: f64 = 0.75;

/// What is done, one of these or none.
#[derive(Clone, Copy)]
pub struct Kind {
    pub wide: Bool,
    pub focused: Bool,
    pub deep: Bool,
    pub listens: Bool,
}

impl Kind {
    #[track_caller]
    fn scans(&self) -> Bool {
        self.wide | self.focused | self.deep
    }

    /// A number that differs between the scans.
    #[track_caller]
    fn number(&self, wide: f64, focused: f64, deep: f64) -> Float {
        let of_target = select(self.deep, self.deep.as_f32().full_like(deep), focused);
        select(self.wide, wide, of_target)
    }
}

/// Scans or listens, if it is one of these.
#[track_caller]
pub fn look(mut state: State, kind: Kind) -> State {
    let selected = state.ship.selection();
    let Site { truth, exits, count, .. } = state.site;
    let exists = state.site.exists();
    let looked = (state.site.marks, state.rng);
    (state.site.marks, state.rng) = rare(kind.scans() | kind.listens, looked, |(marks, rng)| {
        let target = select(kind.wide.fill(&[ASTEROIDS]), exists, selected);
        let scanned = scan(kind, rng, &marks, &truth, target);
        let degree = exits.exists().as_i32().sum([0]);
        let draws = select(kind.wide, count * SCAN_DRAWS, SCAN_DRAWS as i32);
        let draws = select(kind.listens, degree * LISTEN_DRAWS, draws);
        let heard = listen(rng, marks.threat, exits.threat);
        let hears = kind.listens & exits.exists();
        let seen = select_tree(kind.scans(), scanned, marks);
        (Marks { threat: select(hears, heard, marks.threat), ..seen }, rng.skip_by(draws))
    });
    state.site.changed = state.site.changed | kind.scans() | kind.listens;
    state.tally.scans = state.tally.scans + kind.scans().as_i32();
    state
}

/// The marks after the asteroids `target`, bool\[ASTEROIDS\], were scanned.
#[track_caller]
fn scan(kind: Kind, rng: Pcg, marks: &Marks, truth: &Truth, target: Bool) -> Marks {
    let blend = kind.number(0.22, 0.42, 0.80);
    let gain = kind.number(0.10, 0.20, 0.45);
    let noise = kind.number(1.35, 1.00, 0.55);
    // Each asteroid has draws of its own in a wide scan, in their order; else there is one alone.
    let place = arange(ASTEROIDS) * SCAN_DRAWS;
    let start = Pcg { state: rng.state.fill(&[ASTEROIDS]) }.skip_by(select(kind.wide, place, 0));
    let spread = truth.noise * (1.1 - marks.confidence) * noise;
    let normals = normal(start.units(SCAN_DRAWS).reshape([ASTEROIDS, COMMODITIES + 1, 2]));
    let errors = normals * spread.broadcast(1, COMMODITIES + 1);
    let blended = |old: Float, new: Float| old * (1.0 - blend) + new * blend;
    let seen = shares(truth.composition + errors.slice(1, 0..COMMODITIES));
    let stability = (truth.stability + errors.index(1, COMMODITIES)).clamp(0.0, 1.0);
    let wide_target = target.broadcast(1, COMMODITIES);
    Marks {
        composition: select(wide_target, shares(blended(marks.composition, seen)), marks.composition),
        stability: select(target, blended(marks.stability, stability).clamp(0.0, 1.0), marks.stability),
        confidence: select(target, (marks.confidence + gain).minimum(1.0), marks.confidence),
        ..*marks
    }
}

/// What is believed of each edge after listening, f32\[SLOTS\].
#[track_caller]
fn listen(rng: Pcg, believed: Float, threat: Float) -> Float {
    let noise = normal(rng.units(SLOTS * LISTEN_DRAWS).reshape([SLOTS, LISTEN_DRAWS]));
    let heard = (threat + noise * HEARD_SPREAD).clamp(0.0, 1.0);
    believed * (1.0 - BELIEVED) + heard * BELIEVED
}
