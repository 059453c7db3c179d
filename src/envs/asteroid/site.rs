//! Where the ship is: the node, its edges and its asteroids; and what was found and changed at nodes that it left.
//!
//! A step reads and writes one node only, so the state holds this one in full. Of the others it holds the [`Marks`] of those that play
//! has changed; all else is made again from the [`Chart`] when the ship arrives.

use crate::lang::{Bool, Float, Int, arange, boolean, concatenate, int_u32, map2, select, take_tree};

use super::chart::{ASTEROID_DRAWS, Chart, NODES, SLOTS, STATION, asteroid_count};
use super::pcg::{between, exponential, normal};

/// Asteroids of a node, at most.
pub const ASTEROIDS: usize = 16;
pub const COMMODITIES: usize = 6;

/// A node.
#[derive(Clone, Copy)]
pub struct Site {
    /// Its number, i32.
    pub node: Int,
    /// i32: station, cluster or hazard.
    pub kind: Int,
    pub pirates: Float,
    pub hops: Int,
    pub exits: Exits,
    /// Asteroids, i32; they have the first places.
    pub count: Int,
    pub truth: Truth,
    pub marks: Marks,
    /// Whether the marks are no longer those of a new world.
    pub changed: Bool,
}
crate::tree!(Site { node, kind, pirates, hops, exits, count, truth, marks, changed });

/// Its edges, \[SLOTS\] each.
#[derive(Clone, Copy)]
pub struct Exits {
    /// The neighbour; -1 for none.
    pub to: Int,
    /// The kind of the neighbour.
    pub kind: Int,
    /// i32, ticks.
    pub time: Int,
    pub fuel: Float,
    pub threat: Float,
}
crate::tree!(Exits { to, kind, time, fuel, threat });

/// What the asteroids are, f32; zeros where there is none.
#[derive(Clone, Copy)]
pub struct Truth {
    /// \[ASTEROIDS, COMMODITIES\]: shares.
    pub composition: Float,
    /// \[ASTEROIDS\] each.
    pub richness: Float,
    pub stability: Float,
    pub noise: Float,
}
crate::tree!(Truth { composition, richness, stability, noise });

/// What play changes, f32.
#[derive(Clone, Copy)]
pub struct Marks {
    pub hazard: Float,
    /// \[SLOTS\]: how dangerous the edges are believed to be.
    pub threat: Float,
    /// \[ASTEROIDS, COMMODITIES\]: shares, as they are believed to be.
    pub composition: Float,
    /// \[ASTEROIDS\] each; the first two are beliefs.
    pub stability: Float,
    pub confidence: Float,
    pub depletion: Float,
}
crate::tree!(Marks { hazard, threat, composition, stability, confidence, depletion });

impl Site {
    /// A node of a new world.
    #[track_caller]
    pub fn new(chart: &Chart, node: Int) -> Site {
        let kind = chart.kind.at(node).get();
        let stream = take_tree(&chart.asteroids, node);
        let count = select(kind.eq(STATION), 0, asteroid_count(stream));
        let exists = arange(ASTEROIDS).lt(count);
        let units = stream.skip(1).units(ASTEROIDS * ASTEROID_DRAWS).reshape([ASTEROIDS, ASTEROID_DRAWS]);
        let waits = exponential(units);
        let only = |x: Float| select(exists, x, 0.0);
        let shares = |first: usize| {
            let parts = waits.slice(1, first..first + COMMODITIES);
            let whole = parts.sum([1]).broadcast(1, COMMODITIES);
            select(exists.broadcast(1, COMMODITIES), parts / whole, 0.0)
        };
        let richness = (normal(units.slice(1, 6..8)) * 0.65 - 0.2).exp().clamp(0.2, 4.0);
        let beta = waits.slice(1, 8..11).sum([1]) / waits.slice(1, 8..13).sum([1]);
        let truth = Truth {
            composition: shares(0),
            richness: only(richness),
            stability: only(beta),
            noise: only(between(units.index(1, 13), 0.04, 0.22)),
        };
        let everywhere = |value: f64| only(Float::full([ASTEROIDS], value));
        let marks = Marks {
            hazard: chart.hazard.at(node).get(),
            threat: Float::full([SLOTS], 0.5),
            composition: shares(14),
            stability: everywhere(0.5),
            confidence: everywhere(0.1),
            depletion: everywhere(0.0),
        };
        Site {
            node,
            kind,
            pirates: chart.pirates.at(node).get(),
            hops: chart.hops.at(node).get(),
            exits: Exits::new(chart, node),
            count,
            truth,
            marks,
            changed: boolean(false),
        }
    }

    #[track_caller]
    pub fn is_station(&self) -> Bool {
        self.kind.eq(STATION)
    }

    /// Which places hold an asteroid, bool\[ASTEROIDS\].
    #[track_caller]
    pub fn exists(&self) -> Bool {
        arange(ASTEROIDS).lt(self.count)
    }

    /// Which asteroids hold something still, bool\[ASTEROIDS\].
    #[track_caller]
    pub fn mineable(&self) -> Bool {
        self.exists() & self.marks.depletion.lt(1.0)
    }
}

impl Exits {
    #[track_caller]
    fn new(chart: &Chart, node: Int) -> Exits {
        let number = chart.slots.at(node).get();
        let exists = number.ge(0);
        let edges = chart.edges;
        let ends = edges.ends.map(|end| end.take(number, 0));
        let to = select(exists, ends[0] + ends[1] - node, -1);
        let only = |x: Float| select(exists, x.take(number, 0), 0.0);
        Exits {
            to,
            kind: chart.kind.take(to, 0),
            time: select(exists, edges.time.take(number, 0), 1),
            fuel: only(edges.fuel),
            threat: only(edges.threat),
        }
    }

    #[track_caller]
    pub fn exists(&self) -> Bool {
        self.to.ge(0)
    }
}

/// Marks of the nodes that were left, with an axis of \[NODES\] in front. Only the rows of those in `kept` have a meaning.
#[derive(Clone, Copy)]
pub struct Store {
    pub marks: Marks,
    /// Which nodes are kept here, as bits: u32.
    pub kept: Int,
}
crate::tree!(Store { marks, kept });

impl Store {
    #[track_caller]
    pub fn new() -> Store {
        let zeros = |shape: &[usize]| Float::full(shape, 0.0);
        let marks = Marks {
            hazard: zeros(&[NODES]),
            threat: zeros(&[NODES, SLOTS]),
            composition: zeros(&[NODES, ASTEROIDS, COMMODITIES]),
            stability: zeros(&[NODES, ASTEROIDS]),
            confidence: zeros(&[NODES, ASTEROIDS]),
            depletion: zeros(&[NODES, ASTEROIDS]),
        };
        Store { marks, kept: int_u32(0) }
    }

    /// An empty store in the memory of this one.
    #[track_caller]
    pub fn emptied(self) -> Store {
        Store { kept: self.kept.full_like(0), ..self }
    }

    #[track_caller]
    pub fn holds(&self, node: Int) -> Bool {
        ((self.kept >> node.as_u32()) & 1).ne(0)
    }

    /// Keeps the marks of the site that was left, and gives that of the site that was reached its own, if the ship `moved`.
    #[track_caller]
    pub fn exchange(self, moved: Bool, left: &Site, reached: Site) -> (Store, Site) {
        let keep = moved & left.changed;
        let known = moved & self.holds(reached.node);
        // A place out of bounds is not written. No way leads back to the node that was left, so what is read is not what was written.
        let place = select(keep, left.node, NODES);
        let stored = map2(&self.marks, &left.marks, |stored, marks| stored.at(place).set(marks));
        let node = select(known, reached.node, NODES);
        let marks = map2(&stored, &reached.marks, |stored, fresh| stored.at(node).get_or(fresh));
        let kept = self.kept | select(keep, int_u32(1) << left.node.as_u32(), 0);
        let site = Site { marks, changed: select(moved, known, reached.changed), ..reached };
        (Store { marks: stored, kept }, site)
    }
}

/// Shares of numbers along the last axis, none of which counts for less than 1e-8.
#[track_caller]
pub fn shares(x: Float) -> Float {
    let axis = x.rank() - 1;
    let x = x.maximum(1e-8);
    x / x.sum([axis]).broadcast(axis, x.shape()[axis])
}

/// The row of each array that is chosen, a one-hot bool\[ASTEROIDS\], without the axis.
#[track_caller]
pub fn chosen(of: Float, one_hot: Bool) -> Float {
    let hot = match of.rank() {
        1 => one_hot,
        _ => one_hot.broadcast(1, of.shape()[1]),
    };
    select(hot, of, 0.0).sum([0])
}

/// Columns side by side, f32\[N, ...\] as one f32\[N, width\].
#[track_caller]
pub fn columns(parts: impl AsRef<[Float]>) -> Float {
    let wide = |part: &Float| if part.rank() == 1 { part.expand_dims(1) } else { *part };
    concatenate(1, parts.as_ref().iter().map(wide).collect::<Vec<_>>())
}
