//! The graph of an episode: nodes, edges between them, and where the asteroids of each node begin in the stream of draws.
//!
//! The reference draws one thing after another, and whether an edge is accepted decides where the next draw stands. Only this is a
//! loop here; all that is drawn *of* the nodes and edges is computed at once afterwards. Asteroids are not made at all before the
//! ship comes to their node: they are a function of the place in the stream, and a world has up to 496 of them, of which few are seen.

use crate::array::DType;
use crate::lang::{
    Bool, Float, Int, arange, boolean, concatenate, int, int_u32, iota, scan_range, select, while_loop,
};

use super::pcg::{Pcg, below, between, normal, unit};

pub const NODES: usize = 32;
/// Edges of a node, at most.
pub const SLOTS: usize = 6;
/// The least number of nodes, and how many numbers there are.
const FEWEST: usize = 8;
const SIZES: u32 = 25;
/// Draws of a node, of an edge and of an asteroid.
const NODE_DRAWS: usize = 3;
const EDGE_DRAWS: usize = 4;
pub const ASTEROID_DRAWS: usize = 20;
/// The least number of asteroids at a node that is no station, and how many numbers there are.
const FEWEST_ASTEROIDS: usize = 5;
const ASTEROID_COUNTS: u32 = 12;

/// Kinds of nodes.
pub const STATION: i32 = 0;
pub const CLUSTER: i32 = 1;
pub const HAZARD: i32 = 2;

/// What never changes in an episode.
#[derive(Clone, Copy)]
pub struct Chart {
    /// Nodes, i32: 8 to 32. The rows of other nodes have no meaning.
    pub count: Int,
    /// i32\[NODES\]
    pub kind: Int,
    /// f32\[NODES\]: at the start.
    pub hazard: Float,
    pub pirates: Float,
    /// Steps to the station, i32\[NODES\]; 31 if there is no way.
    pub hops: Int,
    /// Numbers of the edges of each node, i32\[NODES, SLOTS\]; -1 for none.
    pub slots: Int,
    pub edges: Edges,
    /// Where in the stream the asteroids of each node begin: u64\[NODES\].
    pub asteroids: Pcg,
}
crate::tree!(Chart { count, kind, hazard, pirates, hops, slots, edges, asteroids });

/// Edges by the numbers of their tries: \[2 * NODES - 1\] each. Those that were not accepted have no meaning.
#[derive(Clone, Copy)]
pub struct Edges {
    pub ends: [Int; 2],
    /// i32, ticks.
    pub time: Int,
    pub fuel: Float,
    pub threat: Float,
}
crate::tree!(Edges { ends, time, fuel, threat });

/// How many asteroids begin there, i32: the first draw says it.
#[track_caller]
pub fn asteroid_count(start: Pcg) -> Int {
    below(start.next(), ASTEROID_COUNTS) + FEWEST_ASTEROIDS
}

impl Chart {
    /// The chart that the stream begins with, and what follows in the stream.
    #[track_caller]
    pub fn draw(rng: Pcg) -> (Chart, Pcg) {
        let count = below(rng.next(), SIZES) + FEWEST;
        let rng = rng.skip(1);
        let (kind, hazard, pirates) = nodes(rng);
        let rng = rng.skip_by((count - 1) * NODE_DRAWS);
        let (network, tried) = Network::grow(rng, count);
        let edges = tried.edges(hazard, pirates);
        let (rng, asteroids) = scan_range(NODES - 1, network.rng, |rng, i| {
            let exists = (i + 1).lt(count);
            let after = rng.skip_by(asteroid_count(rng) * ASTEROID_DRAWS + 1);
            (Pcg { state: select(exists, after.state, rng.state) }, rng)
        });
        let asteroids = Pcg { state: asteroids.state.pad(0, 1, 0, 0) };
        let slots = network.slots.reshape([NODES, SLOTS]);
        let hops = hops(network.adjacent);
        (Chart { count, kind, hazard, pirates, hops, slots, edges, asteroids }, rng)
    }
}

/// Kinds, hazards and pirates of all nodes.
#[track_caller]
fn nodes(rng: Pcg) -> (Int, Float, Float) {
    let units = rng.units(NODE_DRAWS * (NODES - 1)).reshape([NODES - 1, NODE_DRAWS]);
    let column = |i: usize| units.index(1, i);
    let dangerous = column(0).lt(0.25);
    let kind = select(dangerous, Int::full([NODES - 1], HAZARD), CLUSTER);
    let hazard = between(column(1), 0.05, 0.35) + select(dangerous, column(1).full_like(0.25), 0.0);
    let pirates = between(column(2), 0.05, 0.30) + select(dangerous, column(2).full_like(0.12), 0.0);
    (kind.pad(0, 1, 0, STATION), hazard.pad(0, 1, 0, 0.0), pirates.pad(0, 1, 0, 0.0))
}

/// The edges so far.
#[derive(Clone, Copy)]
struct Network {
    rng: Pcg,
    /// Slots of each node that are taken: i32\[NODES\].
    degree: Int,
    /// The neighbours of each node as bits: u32\[NODES\].
    adjacent: Int,
    /// i32\[NODES * SLOTS\]
    slots: Int,
}
crate::tree!(Network { rng, degree, adjacent, slots });

/// An attempt to join two nodes.
#[derive(Clone, Copy)]
struct Try {
    ends: [Int; 2],
    /// Where its draws begin if it is accepted.
    rng: Pcg,
}
crate::tree!(Try { ends, rng });

/// The entry of a vector, by one-hot: for short vectors cheaper than a gather.
#[track_caller]
fn entry(vector: Int, index: Int) -> Int {
    let size = vector.size();
    select(arange(size).eq(index), vector, 0).sum([0])
}

/// The u32 with one bit.
#[track_caller]
fn bit(index: Int) -> Int {
    int_u32(1) << index.as_u32()
}

impl Network {
    /// A tree that holds all nodes (unless a parent is full), then as many tries as there are nodes.
    #[track_caller]
    fn grow(rng: Pcg, count: Int) -> (Network, Try) {
        let empty = Network {
            rng,
            degree: Int::full([NODES], 0),
            adjacent: Int::full([NODES], int_u32(0)),
            slots: Int::full([NODES * SLOTS], -1),
        };
        let (tree, joined) = scan_range(NODES - 1, empty, |network: Network, i| {
            let (node, parent) = (i + 1, below(network.rng.next(), (i + 1).as_u32()));
            network.join(i, 1, [node, parent], node.lt(count))
        });
        let (network, more) = scan_range(NODES, tree, |network: Network, i| {
            let end = |place: usize| below(network.rng.skip(place).next(), count.as_u32());
            network.join(i + (NODES - 1), 2, [end(0), end(1)], i.lt(count))
        });
        let both = |a: Int, b: Int| concatenate(0, [a, b]);
        let tried = Try {
            ends: [0, 1].map(|end: usize| both(joined.ends[end], more.ends[end])),
            rng: Pcg { state: both(joined.rng.state, more.rng.state) },
        };
        (network, tried)
    }

    /// Joins two nodes by the edge `number` if it can be; `draws` said which. Nothing happens if it is not `wanted`.
    #[track_caller]
    fn join(self, number: Int, draws: usize, ends: [Int; 2], wanted: Bool) -> (Network, Try) {
        let [u, v] = ends;
        let rng = self.rng.skip_if(wanted, draws);
        let taken = ends.map(|end| entry(self.degree, end));
        let known = (entry(self.adjacent, u) & bit(v)).ne(0) | u.eq(v);
        let accepted = wanted & !known & taken[0].lt(SLOTS) & taken[1].lt(SLOTS);
        let is = ends.map(|end| arange(NODES).eq(end) & accepted.fill(&[NODES]));
        let place = |i: usize| select(accepted, ends[i] * SLOTS + taken[i], NODES * SLOTS);
        let network = Network {
            rng: rng.skip_if(accepted, EDGE_DRAWS),
            degree: self.degree + (is[0] | is[1]).as_i32(),
            adjacent: self.adjacent | select(is[0], bit(v), 0) | select(is[1], bit(u), 0),
            slots: self.slots.at(place(0)).set(number).at(place(1)).set(number),
        };
        (network, Try { ends, rng })
    }
}

impl Try {
    /// What the edges are like.
    #[track_caller]
    fn edges(self, hazard: Float, pirates: Float) -> Edges {
        let draws = self.rng.draws(EDGE_DRAWS);
        let danger = (hazard + pirates) * 0.5;
        let at_ends = self.ends.map(|end| danger.take(end, 0));
        let noise = normal(unit(draws.slice(1, 2..4))) * 0.05;
        Edges {
            ends: self.ends,
            time: below(draws.index(1, 0), 8) + 1,
            fuel: between(unit(draws.index(1, 1)), 20.0, 112.0),
            threat: (at_ends[0] + at_ends[1] + noise).clamp(0.0, 1.0),
        }
    }
}

/// A search from the station outwards.
#[derive(Clone, Copy)]
struct Search {
    /// As bits, u32.
    reached: Int,
    hops: Int,
    distance: Int,
    goes_on: Bool,
}
crate::tree!(Search { reached, hops, distance, goes_on });

/// How far each node is from the station, i32\[NODES\]; 31 if there is no way.
#[track_caller]
fn hops(adjacent: Int) -> Int {
    let place = iota(DType::U32, [NODES], 0);
    let first = Search {
        reached: int_u32(1),
        hops: place.ne(0).as_i32() * (NODES as i32 - 1),
        distance: int(0),
        goes_on: boolean(true),
    };
    let found = while_loop(
        first,
        |search| search.goes_on,
        |search| {
            let near = (adjacent & search.reached).ne(0);
            let new = near & ((search.reached.fill(&[NODES]) >> place) & 1).eq(0);
            let distance = search.distance + 1;
            Search {
                reached: search.reached | (new.as_u32() << place).sum([0]),
                hops: select(new, distance, search.hops),
                distance,
                goes_on: new.any_all(),
            }
        },
    );
    found.hops
}
