//! Random environments: a seed decides what the state is made of and which ops step, reset and observe are made of.
//!
//! All floats are multiples of 1/4 between -32 and 32, made so by rounding after each op. So sums and products are exact in any
//! order, and the rounding of `tanh`, `sin`, ... is the same on every processor: of these numbers none has a `tanh` (...) that is
//! nearer than 9e-5 to the middle between two multiples. The device must equal the oracle in every bit.

use lockstep::lang::{
    Array, Bool, Conv2d, Float, Int, IntoOperand, Key, Kind, Leaves, Padding, arange, boolean, concatenate,
    cond, constant, conv2d, float, int, rare, scan, select, stack, vmap, while_loop,
};

use crate::ops::cases::Random;

/// Shapes of the state; of some nobody has an element.
const SHAPES: [&[usize]; 11] =
    [&[], &[], &[2], &[3], &[8], &[2, 3], &[5, 4], &[7, 7], &[3, 2, 4], &[0], &[0, 3]];
/// Deepest nesting of loops, branches and inner vmaps.
const MAX_DEPTH: usize = 2;

/// An environment that its seed decides.
pub struct World {
    seed: u64,
    kinds: Vec<(Type, &'static [usize])>,
    /// Ops of a step.
    length: usize,
    pub batch: usize,
}

#[derive(Clone, Copy)]
enum Type {
    Float,
    Int,
    Bool,
}

/// What a step gives.
pub struct Outcome {
    pub state: Leaves,
    pub reward: Float,
    pub done: Bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let leaf = |random: &mut Random| {
            let kind = [Type::Float, Type::Float, Type::Int, Type::Bool][random.below(4)];
            (kind, SHAPES[random.below(SHAPES.len())])
        };
        let kinds = (0..2 + random.below(4)).map(|_| leaf(&mut random)).collect();
        World { seed, kinds, length: 5 + random.below(15), batch: [1, 3, 16, 40][random.below(4)] }
    }

    pub fn reset(&self, key: Key) -> Leaves {
        let mut maker = Maker { random: Random(self.seed ^ 1), depth: 0, ..Maker::default() };
        maker.draw(key);
        maker.run(3);
        self.state(&mut maker)
    }

    pub fn step(&self, state: &Leaves, action: Int, key: Key) -> Outcome {
        let mut maker = self.maker(2, state);
        maker.ints.push(action);
        maker.draw(key);
        maker.run(self.length);
        let (reward, done) = (maker.float(&[]), maker.bool(&[]));
        Outcome { state: self.state(&mut maker), reward, done }
    }

    /// Everything that is seen, in one vector.
    pub fn observe(&self, state: &Leaves) -> Float {
        let mut maker = self.maker(3, state);
        maker.run(4);
        let seen = maker.float(&[6]);
        let all: Vec<Float> = [seen].into_iter().chain(maker.floats).map(Float::flatten).collect();
        concatenate(0, all)
    }

    fn maker(&self, purpose: u64, state: &Leaves) -> Maker {
        let mut maker = Maker { random: Random(self.seed ^ (purpose << 32)), ..Maker::default() };
        for ((kind, _), (_, leaf)) in self.kinds.iter().zip(&state.0) {
            match kind {
                Type::Float => maker.floats.push(Float::from_handle(*leaf)),
                Type::Int => maker.ints.push(Int::from_handle(*leaf)),
                Type::Bool => maker.bools.push(Bool::from_handle(*leaf)),
            }
        }
        maker
    }

    fn state(&self, maker: &mut Maker) -> Leaves {
        let leaf = |(i, (kind, shape)): (usize, &(Type, &'static [usize]))| {
            let handle = match kind {
                Type::Float => maker.float(shape).handle(),
                Type::Int => maker.int(shape).handle(),
                Type::Bool => maker.bool(shape).handle(),
            };
            (i.to_string(), handle)
        };
        Leaves(self.kinds.iter().enumerate().map(leaf).collect())
    }
}

/// Values to choose from, and the ops that make more of them.
#[derive(Clone, Default)]
struct Maker {
    random: Random,
    depth: usize,
    floats: Vec<Float>,
    ints: Vec<Int>,
    bools: Vec<Bool>,
}

impl Maker {
    fn run(&mut self, ops: usize) {
        for _ in 0..ops {
            match self.random.below(if self.depth < MAX_DEPTH { 12 } else { 9 }) {
                0..4 => self.float_op(),
                4..6 => self.int_op(),
                6 => self.bool_op(),
                7 => self.index_op(),
                8 => self.shape_op(),
                _ => self.nested_op(),
            }
        }
    }

    /// Random numbers.
    fn draw(&mut self, key: Key) {
        let [a, b, c] = key.split();
        let shape = self.shape();
        let number = a.integers(shape, -20..20);
        self.floats.push(number.as_f32() * 0.25);
        self.ints.extend([number, b.integers([], 0..6)]);
        self.bools.push(c.bernoulli(shape, 0.5));
    }

    fn shape(&mut self) -> &'static [usize] {
        SHAPES[self.random.below(SHAPES.len())]
    }

    fn pick<K: Kind>(random: &mut Random, from: &[Array<K>]) -> Option<Array<K>> {
        if from.is_empty() { None } else { Some(from[random.below(from.len())]) }
    }

    fn any_float(&mut self) -> Float {
        match Self::pick(&mut self.random, &self.floats) {
            Some(x) if self.random.below(8) > 0 => x,
            _ => float(self.random.below(9) as f64 * 0.5 - 2.0),
        }
    }

    fn any_int(&mut self) -> Int {
        match Self::pick(&mut self.random, &self.ints) {
            Some(x) if self.random.below(8) > 0 => x,
            _ => int(self.random.below(7) as i32 - 2),
        }
    }

    fn any_bool(&mut self) -> Bool {
        match Self::pick(&mut self.random, &self.bools) {
            Some(x) => x,
            None => boolean(self.random.below(2) == 0),
        }
    }

    /// Some value in another shape.
    fn float(&mut self, shape: &[usize]) -> Float {
        fit(self.any_float(), shape, 0.0)
    }

    fn int(&mut self, shape: &[usize]) -> Int {
        fit(self.any_int(), shape, 0)
    }

    fn bool(&mut self, shape: &[usize]) -> Bool {
        fit(self.any_bool(), shape, false)
    }

    fn scalar(&mut self) -> Int {
        self.int(&[])
    }

    fn float_op(&mut self) {
        let x = self.any_float();
        let y = self.float(&x.shape());
        let made = match self.random.below(26) {
            0 => x + y,
            1 => x - y,
            2 => x * y,
            3 => x.maximum(y),
            4 => x.minimum(y),
            5 => -x,
            6 => x.abs(),
            7 => x.sign(),
            8 => x.floor() + y.ceil(),
            9 => x.tanh(),
            10 => x.sin() * 2.0,
            11 => x.cos() + y,
            12 => x.minimum(3.0).exp(),
            13 => (x.abs() + 1.0).ln(),
            14 => x.abs().sqrt(),
            15 => x.sigmoid() * 4.0,
            16 => x.relu() / 2.0,
            17 => x.square(),
            18 => {
                let chosen = self.bool(&x.shape());
                select(chosen, x, y)
            }
            19 => self.int(&x.shape()).as_f32() + x,
            20 => self.bool(&x.shape()).as_f32() * 3.0 - x,
            21 => x.sum_all() + float(0.25),
            22 if x.size() > 0 => x.max_all() - x.min_all(),
            23 if x.rank() > 0 => x.cumsum(self.random.below(x.rank())),
            24 if x.rank() > 0 => x.sum([self.random.below(x.rank())]),
            25 => self.product(x),
            _ => x + 0.75,
        };
        self.floats.push(quarters(made));
    }

    /// A matrix product, a product of many zeros, or a convolution, exact all of them.
    fn product(&mut self, x: Float) -> Float {
        let rows = self.float(&[3, 4]);
        match self.random.below(4) {
            0 => rows.matmul(self.float(&[4, 2])),
            1 => rows.relu().sparse_matmul(self.float(&[4, 5])),
            2 => {
                let (images, kernel) = (self.float(&[1, 5, 4, 2]), self.float(&[2, 2, 2, 3]));
                let padding = [Padding::Valid, Padding::Same][self.random.below(2)];
                conv2d(images, kernel, Conv2d { padding, ..Conv2d::default() }).flatten()
            }
            _ => x.flatten().dot(self.float(&[x.size()]), &[0], &[0]),
        }
    }

    fn int_op(&mut self) {
        let x = self.any_int();
        let y = self.int(&x.shape());
        let made = match self.random.below(20) {
            0 => x + y,
            1 => x - y,
            2 => x * y,
            3 => x / y,
            4 => x % y,
            5 => x.maximum(y),
            6 => x.minimum(y),
            7 => x.abs() - y.sign(),
            8 => x.as_u32().count_ones().as_i32(),
            9 => (x.as_u32() << 3u32 ^ y.as_u32() >> 2u32).as_i32(),
            10 => (x.as_u64() * 3 + y.as_u64()).leading_zeros().as_i32(),
            11 => x.as_u8().as_i32() & y,
            12 => self.float(&x.shape()).as_i32(),
            13 => self.bool(&x.shape()).as_i32() | x,
            14 => {
                let chosen = self.bool(&x.shape());
                select(chosen, x, y)
            }
            15 => x.sum_all(),
            16 if x.rank() > 0 => x.cumsum(x.rank() - 1),
            17 => {
                let vector = self.float(&[5]);
                vector.argmax(0) + vector.argmin(0)
            }
            18 => Key::from_words(stack([x.sum_all().as_u32(), y.sum_all().as_u32()])).integers([3], -9..9),
            19 => arange(6) * self.scalar(),
            _ => !x,
        };
        self.ints.push(made.clamp(-999, 999));
    }

    fn bool_op(&mut self) {
        let x = self.any_bool();
        let y = self.bool(&x.shape());
        let made = match self.random.below(9) {
            0 => x & y,
            1 => x | y,
            2 => x ^ y,
            3 => !x,
            4 => x.any_all(),
            5 => x.all_all(),
            6 => {
                let a = self.any_float();
                a.le(self.float(&a.shape()))
            }
            7 => {
                let a = self.any_int();
                a.eq(self.int(&a.shape()))
            }
            _ => self.scalar().one_hot(4),
        };
        self.bools.push(made);
    }

    /// Reading and writing by index, also beyond the ends, and tables.
    fn index_op(&mut self) {
        let (x, places) = (self.any_float(), self.int(&[3]));
        let place = self.scalar();
        let numbers = |count: usize| -> Float {
            constant((0..count).map(|i| (i % 50) as f32 * 0.25).collect::<Vec<_>>())
        };
        let made = match self.random.below(9) {
            0 if x.rank() > 0 && x.shape()[0] > 0 => x.take(place, 0),
            1 if x.rank() > 0 && x.shape()[0] > 0 => x.take(places, 0),
            2 if x.rank() > 0 && x.shape()[0] > 0 => x.at(place).set(1.5),
            3 if x.rank() > 0 && x.shape()[0] > 0 => x.at(places).add(0.5),
            4 if x.rank() > 0 && x.shape()[0] > 1 => x.dynamic_slice(place, 2),
            5 if x.rank() > 0 && x.shape()[0] > 1 => x.dynamic_update(place, x.slice(0, 0..1)),
            6 => numbers(5000).take(places * 7, 0),
            7 => numbers(12).take(place, 0) + numbers(4).sum_all(),
            _ => (numbers(3000) * 0.5 + 0.25).take(place, 0),
        };
        self.floats.push(quarters(made));
    }

    fn shape_op(&mut self) {
        let x = self.any_float();
        let rank = x.rank();
        let made = match self.random.below(9) {
            0 => x.flatten(),
            1 => x.transpose((0..rank).rev().collect::<Vec<_>>()),
            2 if rank > 0 => x.flip(0),
            3 if rank > 0 => x.pad(rank - 1, 1, 2, 0.25),
            4 if rank > 0 => x.slice(0, 0..x.shape()[0] / 2),
            5 if rank > 0 => x.slice_step(0, 0..x.shape()[0], 2),
            6 if rank > 0 => concatenate(0, [x, x]),
            7 if rank < 3 => x.broadcast(0, 2),
            _ => stack([x.sum_all(), self.float(&[])]),
        };
        if made.size() < 400 {
            self.floats.push(made);
        }
    }

    /// Loops and branches.
    fn nested_op(&mut self) {
        let (x, condition) = (self.any_float(), self.bool(&[]));
        let inner = Maker { random: Random(self.random.bits()), depth: self.depth + 1, ..self.clone() };
        // One value after a few ops that may use everything from outside.
        let body = |x: Float, salt: u64| {
            let mut maker = Maker { random: Random(inner.random.0 ^ salt), ..inner.clone() };
            maker.floats.push(x);
            maker.run(3);
            maker.float(&x.shape())
        };
        let made = match self.random.below(6) {
            0 => cond(condition, x, |x| body(x, 1), |x| body(x, 2)),
            1 => rare(condition, x, |x| body(x, 3)),
            2 => {
                let limit = self.scalar().abs() % 4;
                while_loop((x, int(0)), |(_, count)| count.lt(limit), |(x, count)| (body(x, 4), count + 1)).0
            }
            3 => {
                let rows = self.float(&[4, 2]);
                let (last, seen) = scan(x, rows, |x, row| {
                    let next = quarters(body(x, 5) + row.sum_all());
                    (next, next.sum_all())
                });
                self.floats.push(quarters(seen));
                last
            }
            4 => vmap(self.float(&[3, 2]), |row| body(row, 6)),
            // A table that is the same in every step is carried by nobody.
            _ => {
                let (last, _) = scan(x, arange(3), |x, i| (quarters(body(x, 7) * i.as_f32()), ()));
                last
            }
        };
        self.floats.push(made);
    }
}

/// To the nearest multiple of 1/4 in -32..=32.
fn quarters(x: Float) -> Float {
    ((x * 4.0).round() / 4.0).clamp(-32.0, 32.0)
}

/// The elements of `x`, over and over, in another shape.
fn fit<K: Kind>(x: Array<K>, shape: &[usize], none: impl IntoOperand<K>) -> Array<K> {
    let size = shape.iter().product::<usize>();
    match x.size() {
        _ if x.shape() == shape => x,
        0 => Array::full([1], none).cast(x.dtype()).take(0, 0).fill(shape),
        1 => x.reshape([]).fill(shape),
        have if have >= size => x.flatten().slice(0, 0..size).reshape(shape),
        have => x.flatten().take(arange(size) % have as i32, 0).reshape(shape),
    }
}
