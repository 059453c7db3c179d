//! The table: for every op, graphs that use it and ways to draw its inputs.

use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use half::bf16;
use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::ir::{
    Activation, Binary, Build, CellKind, Comparison, Graph, Kernel, Op, Reduction, ScatterKind, Unary, Var,
    Window,
};
use strum::IntoEnumIterator;

use DType::{BF16, Bool, F32, F64, I32, U8, U32, U64};

/// A graph and how to draw inputs for it.
pub struct Case {
    pub name: String,
    pub graph: Graph,
    inputs: Vec<Input>,
    /// How far from the oracle the device may be, relative to 1 + the magnitude, where results are floats.
    pub tolerance: f64,
    /// Whether the graph is differentiable, by its float inputs, at almost all points that are drawn.
    pub smooth: bool,
}

#[derive(Clone)]
struct Input {
    array_type: ArrayType,
    values: Values,
}

#[derive(Clone)]
enum Values {
    Uniform(Range<f64>),
    /// Any bits at all.
    Bits,
    /// Any of these.
    OneOf(Vec<f64>),
    /// All different: the numbers 0, 1, ... in a random order, of which the array takes the first.
    Distinct(usize),
}

impl Case {
    fn new(
        name: impl Into<String>,
        inputs: &[Input],
        build: impl FnOnce(&mut Build, &[Var]) -> Vec<Var>,
    ) -> Self {
        let mut graph = Graph::new();
        let vars: Vec<Var> = inputs.iter().map(|input| graph.input(input.array_type.clone())).collect();
        let outputs = build(&mut Build::new(&mut graph, Location::caller()), &vars);
        graph.outputs = outputs;
        Case { name: name.into(), graph, inputs: inputs.to_vec(), tolerance: 1e-5, smooth: true }
    }

    /// A case of one op with one output.
    fn of(op: Op, note: &str, inputs: &[Input]) -> Self {
        let name = format!("{} {note}", op.name());
        Case::new(name, inputs, |b, x| b.many(op, x)).with_tolerance_of(inputs)
    }

    fn with_tolerance_of(mut self, inputs: &[Input]) -> Self {
        if inputs.iter().any(|input| input.array_type.dtype == BF16) {
            self.tolerance = 0.02;
        }
        self
    }

    fn rough(mut self) -> Self {
        self.smooth = false;
        self
    }

    /// Another graph with inputs like those of this case.
    pub fn with_graph(&self, name: String, graph: Graph) -> Self {
        Case { name, graph, inputs: self.inputs.clone(), ..*self }
    }

    /// Inputs of the case; the same for the same seed.
    pub fn sample(&self, seed: u64) -> Vec<HostArray> {
        let mut random = Random(seed);
        self.inputs.iter().map(|input| input.sample(&mut random)).collect()
    }

    pub fn input_types(&self) -> Vec<ArrayType> {
        self.graph.input_types()
    }
}

impl Input {
    fn sample(&self, random: &mut Random) -> HostArray {
        let count = self.array_type.size();
        let numbers: Vec<f64> = match &self.values {
            Values::Bits => {
                let bytes: Vec<u8> = (0..self.array_type.byte_size()).map(|_| random.bits() as u8).collect();
                return HostArray::from_bytes(&self.array_type, &bytes).unwrap();
            }
            Values::Uniform(range) => (0..count).map(|_| random.uniform(range)).collect(),
            Values::OneOf(choices) => {
                (0..count).map(|_| choices[random.bits() as usize % choices.len()]).collect()
            }
            Values::Distinct(bound) => {
                let mut order: Vec<usize> = (0..*bound).collect();
                order.sort_by_cached_key(|_| random.bits());
                order[..count].iter().map(|&v| v as f64).collect()
            }
        };
        from_f64(&self.array_type, &numbers)
    }
}

/// splitmix64
#[derive(Clone, Default)]
pub struct Random(pub u64);

impl Random {
    /// A number in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn uniform(&mut self, range: &Range<f64>) -> f64 {
        range.start + (range.end - range.start) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// An array of `array_type` from numbers, rounded toward zero for integers.
pub fn from_f64(array_type: &ArrayType, numbers: &[f64]) -> HostArray {
    let shape = &array_type.shape;
    match array_type.dtype {
        Bool => HostArray::new(shape, numbers.iter().map(|&v| v != 0.0).collect()),
        U8 => HostArray::new(shape, numbers.iter().map(|&v| v as u8).collect()),
        I32 => HostArray::new(shape, numbers.iter().map(|&v| v as i32).collect()),
        U32 => HostArray::new(shape, numbers.iter().map(|&v| v as u32).collect()),
        U64 => HostArray::new(shape, numbers.iter().map(|&v| v as u64).collect()),
        BF16 => HostArray::new(shape, numbers.iter().map(|&v| bf16::from_f64(v)).collect()),
        F32 => HostArray::new(shape, numbers.iter().map(|&v| v as f32).collect()),
        F64 => HostArray::new(shape, numbers.to_vec()),
    }
}

fn input(dtype: DType, shape: &[usize], values: Values) -> Input {
    Input { array_type: ArrayType::new(dtype, shape), values }
}

fn uniform(dtype: DType, shape: &[usize], range: Range<f64>) -> Input {
    input(dtype, shape, Values::Uniform(range))
}

/// Ordinary values of any dtype: floats around 0, small integers, coins.
fn plain(dtype: DType, shape: &[usize]) -> Input {
    match dtype {
        Bool => input(dtype, shape, Values::OneOf(vec![0.0, 1.0])),
        U8 | U32 | U64 => uniform(dtype, shape, 0.0..100.0),
        I32 => uniform(dtype, shape, -100.0..100.0),
        BF16 | F32 | F64 => uniform(dtype, shape, -2.0..2.0),
    }
}

/// The whole range of an integer dtype, the ordinary one of a float.
fn wide(dtype: DType, shape: &[usize]) -> Input {
    if dtype.is_float() || dtype == Bool { plain(dtype, shape) } else { input(dtype, shape, Values::Bits) }
}

/// Values at which implementations differ.
fn corners(dtype: DType) -> Input {
    let choices = match dtype {
        Bool => vec![0.0, 1.0],
        U8 => vec![0.0, 1.0, 2.0, 8.0, 127.0, 128.0, 255.0],
        I32 => vec![0.0, 1.0, -1.0, 2.0, 32.0, i32::MAX.into(), i32::MIN.into()],
        U32 => vec![0.0, 1.0, 2.0, 32.0, (1u32 << 31).into(), u32::MAX.into()],
        U64 => vec![0.0, 1.0, 2.0, 64.0, (1u64 << 63) as f64, u64::MAX as f64],
        BF16 | F32 | F64 => {
            let far = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e20, -1e20, 1e-20];
            let near = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, 2.0, 3.0, -3.0];
            [&far[..], &near].concat()
        }
    };
    input(dtype, &[150], Values::OneOf(choices))
}

fn index(shape: &[usize], range: Range<i32>) -> Input {
    input(I32, shape, Values::OneOf(range.map(f64::from).collect()))
}

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        elementwise(),
        movement(),
        contractions(),
        convolutions(),
        kernels(),
        indexing(),
        control_flow(),
        devices(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn elementwise() -> Vec<Case> {
    let mut cases = Vec::new();
    let shape = [2, 3];
    for op in Unary::iter() {
        for dtype in DType::ALL.into_iter().filter(|&dtype| op.accepts(dtype)) {
            let x = match op {
                Unary::Log | Unary::Sqrt | Unary::Rsqrt => uniform(dtype, &shape, 0.2..3.0),
                Unary::Log1p => uniform(dtype, &shape, -0.6..3.0),
                _ => wide(dtype, &shape),
            };
            cases.push(Case::of(Op::Unary(op), dtype.name(), &[x]));
            let corner = Case::of(Op::Unary(op), &format!("{dtype} corners"), &[corners(dtype)]);
            cases.push(corner.rough());
        }
    }
    for op in Binary::iter() {
        for dtype in DType::ALL.into_iter().filter(|&dtype| op.accepts(dtype)) {
            let [a, b] = match op {
                Binary::Div | Binary::Rem if dtype.is_float() => {
                    [uniform(dtype, &shape, -5.0..5.0), uniform(dtype, &shape, 0.5..2.0)]
                }
                Binary::Div | Binary::Rem => {
                    let divisors =
                        if dtype == I32 { vec![-7.0, -1.0, 0.0, 5.0] } else { vec![0.0, 5.0, 200.0] };
                    [wide(dtype, &shape), input(dtype, &shape, Values::OneOf(divisors))]
                }
                Binary::Pow => [uniform(dtype, &shape, 0.2..2.0), plain(dtype, &shape)],
                Binary::ShiftLeft | Binary::ShiftRight => {
                    let width = 8.0 * dtype.size() as f64;
                    let shifts = vec![0.0, 1.0, 3.0, width - 1.0, width, width + 1.0];
                    [wide(dtype, &shape), input(dtype, &shape, Values::OneOf(shifts))]
                }
                _ => [wide(dtype, &shape), wide(dtype, &shape)],
            };
            cases.push(Case::of(Op::Binary(op), dtype.name(), &[a, b]));
            let corner = corners(dtype);
            let inputs = [corner.clone(), corner];
            cases.push(Case::of(Op::Binary(op), &format!("{dtype} corners"), &inputs).rough());
        }
    }
    for op in Comparison::iter() {
        for dtype in DType::ALL {
            let few = match dtype {
                Bool => vec![0.0, 1.0],
                U8 | U32 | U64 => vec![0.0, 1.0, 200.0],
                I32 => vec![-1.0, 0.0, 1.0],
                BF16 | F32 | F64 => vec![-1.0, 0.0, f64::NAN, f64::INFINITY],
            };
            let x = input(dtype, &[20], Values::OneOf(few));
            cases.push(Case::of(Op::Compare(op), dtype.name(), &[x.clone(), x]).rough());
        }
    }
    for from in DType::ALL {
        let x = plain(from, &shape);
        cases.push(Case::of(Op::Select, from.name(), &[plain(Bool, &shape), x.clone(), x.clone()]));
        cases.push(Case::of(Op::StopGradient, from.name(), std::slice::from_ref(&x)).rough());
        for to in DType::ALL {
            let mut case = Case::of(Op::Convert(to), &format!("from {from}"), std::slice::from_ref(&x));
            // A step function has no finite difference to compare with, and a detour over bf16 has one of zero.
            case.smooth = from == F64 && to == F64;
            case.tolerance = if to == BF16 { 0.02 } else { case.tolerance };
            cases.push(case);
            if from.is_float() && !to.is_float() {
                let far =
                    vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e20, -1e20, 300.7, -300.7, -1.5, -0.5];
                let x = input(from, &[40], Values::OneOf(far));
                cases.push(Case::of(Op::Convert(to), &format!("from {from} far outside"), &[x]).rough());
            }
            if from.size() == to.size() && from != Bool && to != Bool {
                cases.push(Case::of(Op::Bitcast(to), &format!("from {from}"), &[plain(from, &shape)]));
            }
        }
    }
    let words = [(); 4].map(|()| input(U32, &[5], Values::Bits));
    cases.push(Case::of(Op::Threefry, "u32", &words));
    cases
}

fn movement() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        let name = dtype.name();
        let note = |text: &str| format!("{dtype} {text}");
        let x = plain(dtype, &[2, 3]);
        let x = std::slice::from_ref(&x);
        let constant = from_f64(&ArrayType::new(dtype, [2, 2]), &[0.0, 1.0, 1.0, 3.0]);
        cases.push(Case::of(Op::Constant(constant), name, &[]));
        if dtype != Bool {
            cases.push(Case::of(Op::Iota { dtype, shape: vec![2, 3, 2], axis: 1 }, name, &[]));
        }
        cases.push(Case::of(Op::Broadcast { shape: vec![4, 2, 1, 3], axes: vec![1, 3] }, name, x));
        cases.push(Case::of(
            Op::Broadcast { shape: vec![2], axes: vec![] },
            &note("of a scalar"),
            &[plain(dtype, &[])],
        ));
        cases.push(Case::of(Op::Reshape { shape: vec![3, 1, 2] }, name, x));
        cases.push(Case::of(Op::Transpose { permutation: vec![1, 0] }, name, x));
        cases.push(Case::of(
            Op::Transpose { permutation: vec![2, 0, 1] },
            &note("of three axes"),
            &[plain(dtype, &[2, 3, 4])],
        ));
        let slice = Op::Slice { start: vec![0, 1], limit: vec![2, 6], stride: vec![1, 2] };
        cases.push(Case::of(slice, name, &[plain(dtype, &[3, 7])]));
        let nothing = Op::Slice { start: vec![1, 0], limit: vec![1, 3], stride: vec![1, 1] };
        cases.push(Case::of(nothing, &note("of nothing"), x));
        let pad = Op::Pad { low: vec![1, 0], high: vec![0, 2], interior: vec![0, 2] };
        cases.push(Case::of(pad.clone(), name, &[x[0].clone(), plain(dtype, &[])]));
        cases.push(Case::of(pad, &note("of nothing"), &[plain(dtype, &[0, 3]), plain(dtype, &[])]));
        let parts = [plain(dtype, &[2, 1]), plain(dtype, &[2, 3]), plain(dtype, &[2, 2])];
        cases.push(Case::of(Op::Concatenate { axis: 1 }, name, &parts));
        cases.push(Case::of(
            Op::Concatenate { axis: 0 },
            &note("with itself"),
            &[x[0].clone(), x[0].clone()],
        ));
        if dtype != Bool {
            let long = [plain(dtype, &[2, 20, 2])];
            let sums = Case::new(note("cumsum"), &long, |b, x| vec![b.cumsum(x[0], 1)]);
            cases.push(sums.with_tolerance_of(&long));
        }
        cases.push(Case::of(Op::Reverse { axes: vec![1] }, name, x));
        cases.push(Case::of(Op::Reverse { axes: vec![0, 1] }, &note("of both axes"), x));
    }
    cases
}

fn contractions() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        for kind in Reduction::iter().filter(|kind| kind.accepts(dtype)) {
            for axes in [vec![1], vec![0, 2], vec![0, 1, 2]] {
                let note = format!("{dtype} over {axes:?}");
                cases.push(Case::of(Op::Reduce { kind, axes }, &note, &[plain(dtype, &[2, 3, 4])]));
            }
        }
        if dtype == Bool {
            continue;
        }
        for (note, a, b, batch, contract) in [
            ("matrix by matrix", vec![2, 3], vec![3, 4], (vec![], vec![]), (vec![1], vec![0])),
            ("vector by vector", vec![3], vec![3], (vec![], vec![]), (vec![0], vec![0])),
            ("outer", vec![2], vec![3], (vec![], vec![]), (vec![], vec![])),
            ("batched", vec![2, 3, 4], vec![4, 2, 5], (vec![0], vec![1]), (vec![2], vec![0])),
            ("last axis is batch", vec![2, 3, 4], vec![3, 5, 4], (vec![2], vec![2]), (vec![1], vec![0])),
            ("two crossed pairs", vec![2, 3, 4], vec![4, 5, 2], (vec![], vec![]), (vec![0, 2], vec![2, 0])),
            ("nothing free", vec![2, 3], vec![3, 2], (vec![1], vec![0]), (vec![0], vec![1])),
        ] {
            let inputs = [plain(dtype, &a), plain(dtype, &b)];
            cases.push(Case::of(Op::Dot { batch, contract }, &format!("{dtype} {note}"), &inputs));
        }
    }
    cases
}

fn convolutions() -> Vec<Case> {
    let window = |stride, padding, input_dilation, kernel_dilation| Window {
        stride,
        padding,
        input_dilation,
        kernel_dilation,
    };
    let mut cases = Vec::new();
    for dtype in [BF16, F32, F64] {
        for (note, images, kernel, windows) in [
            ("plain", [2, 5, 6, 3], [3, 2, 3, 4], [Window::default(); 2]),
            ("point by point", [2, 2, 3, 3], [1, 1, 3, 2], [Window::default(); 2]),
            ("one number per image", [3, 4, 3, 2], [4, 3, 2, 5], [Window::default(); 2]),
            // The last row is not read: strides do not meet it.
            ("strides", [2, 8, 7, 1], [3, 2, 1, 2], [window(2, [0, 0], 1, 1), window(3, [0, 0], 1, 1)]),
            ("padding", [2, 4, 3, 2], [3, 2, 2, 2], [window(1, [1, 1], 1, 1), window(2, [3, 2], 1, 1)]),
            ("cut", [2, 5, 6, 2], [2, 2, 2, 2], [window(1, [-1, 1], 1, 1), window(2, [2, -3], 1, 1)]),
            (
                "input dilation",
                [1, 3, 4, 2],
                [2, 3, 2, 2],
                [window(1, [1, 0], 2, 1), window(2, [0, -1], 3, 1)],
            ),
            (
                "kernel dilation",
                [1, 6, 7, 2],
                [2, 3, 2, 2],
                [window(1, [0, 1], 1, 3), window(2, [1, 0], 1, 2)],
            ),
            ("everything", [2, 4, 3, 2], [2, 2, 2, 3], [window(2, [2, 1], 3, 2), window(3, [-1, 4], 2, 3)]),
            ("no images", [0, 3, 3, 2], [2, 2, 2, 3], [Window::default(); 2]),
        ] {
            let inputs = [plain(dtype, &images), plain(dtype, &kernel)];
            cases.push(Case::of(Op::Conv { windows }, &format!("{dtype} {note}"), &inputs));
        }
    }
    cases
}

fn kernels() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [F32, F64] {
        let sparse = |shape: &[usize]| input(dtype, shape, Values::OneOf(vec![0.0, 0.0, 0.0, 1.0, -0.5]));
        // The width has parts of every kind of vector and a rest.
        for (rows, inputs, width) in [(3, 5, 2), (4, 37, 91), (1, 16, 256)] {
            let note = format!("{dtype} {rows} x {inputs} x {width}");
            let (x, w, g) =
                (sparse(&[rows, inputs]), plain(dtype, &[inputs, width]), plain(dtype, &[rows, width]));
            let numbers = inputs / 6;
            let flags = input(U32, &[rows, (inputs - numbers).div_ceil(32)], Values::Bits);
            let order = input(I32, &[inputs], Values::Distinct(inputs));
            let columns = input(dtype, &[inputs, rows], x.values.clone());
            let pack = Op::Kernel(Kernel::Pack { numbers });
            cases.push(Case {
                smooth: false,
                ..Case::new(format!("pack {note}"), &[columns, order.clone()], |b, x| b.many(pack, x))
            });
            let packed = [plain(dtype, &[rows, numbers]), flags, order];
            for (kernel, other) in [(Kernel::PackedDot, &w), (Kernel::PackedDotTransposed, &g)] {
                cases.push(Case::of(
                    Op::Kernel(kernel),
                    &note,
                    &[&packed[..], std::slice::from_ref(other)].concat(),
                ));
            }
            cases.push(Case::of(Op::Kernel(Kernel::SparseDot), &note, &[x.clone(), w]));
            cases.push(Case::of(Op::Kernel(Kernel::SparseDotTransposed), &note, &[x, g]));
        }
        for activation in [Activation::Tanh, Activation::Relu] {
            for widths in [&[3, 5, 2][..], &[4, 2], &[2, 17, 33, 1]] {
                let layers = widths.len() - 1;
                let mut inputs = vec![plain(dtype, &[3, widths[0]])];
                for pair in widths.windows(2) {
                    inputs.extend([plain(dtype, &[pair[0], pair[1]]), plain(dtype, &[pair[1]])]);
                }
                let mut with_cotangent = inputs.clone();
                with_cotangent.push(plain(dtype, &[3, widths[layers]]));
                let name = format!("mlp_gradient {activation} {widths:?} {dtype}");
                let gradient = Case::new(name, &with_cotangent, |b, x| {
                    let (inputs, cotangent) = x.split_at(x.len() - 1);
                    let outputs = b.many(Op::Kernel(Kernel::Mlp { layers, activation }), inputs);
                    let op = Op::Kernel(Kernel::MlpGradient { layers, activation, input: layers > 1 });
                    b.many(op, &[inputs, &outputs[..layers - 1], cotangent].concat())
                });
                // XLA's tanh is exact to some bits less than the oracle's, and that adds up through the layers.
                cases.push(Case { tolerance: 1e-4, ..gradient.rough() });
                // Only the last output: the others have no gradient.
                let name = format!("mlp {activation} {widths:?} {dtype}");
                cases.push(Case::new(name, &inputs, move |b, x| {
                    let op = Op::Kernel(Kernel::Mlp { layers, activation });
                    vec![*b.many(op, x).last().expect("there is a layer")]
                }));
            }
        }
        for (cell, steps) in
            [(CellKind::Gru, 4), (CellKind::Gru, 1), (CellKind::Lstm, 4), (CellKind::Lstm, 1)]
        {
            let (rows, units) = (3, 5);
            let columns = cell.gates() * units;
            let mut inputs = vec![
                plain(dtype, &[steps, rows, columns]),
                plain(Bool, &[steps, rows]),
                plain(dtype, &[units, columns]),
                plain(dtype, &[columns]),
            ];
            inputs.extend(vec![plain(dtype, &[rows, units]); cell.remembered()]);
            let note = format!("{cell:?} {steps} steps {dtype}");
            // What is mixed has no gradient of its own.
            cases.push(Case::new(format!("recurrent {note}"), &inputs, move |b, x| {
                let mut outputs = b.many(Op::Kernel(Kernel::Recurrent { cell }), x);
                outputs.truncate(cell.remembered());
                outputs
            }));
            let given = inputs.len();
            inputs.extend(vec![plain(dtype, &[steps, rows, units]); cell.remembered()]);
            let gradient = Case::new(format!("recurrent_gradient {note}"), &inputs, move |b, x| {
                let outputs = b.many(Op::Kernel(Kernel::Recurrent { cell }), &x[..given]);
                let op = Op::Kernel(Kernel::RecurrentGradient { cell });
                b.many(op, &[&x[..given], &outputs, &x[given..]].concat())
            });
            // As for an MLP, through the steps.
            cases.push(Case { tolerance: 1e-4, ..gradient.rough() });
        }
        // Native where channels and filters fill vectors.
        for [height, width, channels, filters] in [[2, 3, 2, 3], [5, 3, 16, 16], [3, 6, 16, 32]] {
            let image = |numbers: usize| plain(dtype, &[2, height, width, numbers]);
            let taps = plain(dtype, &[3, 3, channels, filters]);
            let note = format!("{height} x {width} x {channels}, {filters} filters, {dtype}");
            for (kernel, inputs) in [
                (Kernel::Conv, [image(channels), taps]),
                (Kernel::ConvGradient, [image(channels), image(filters)]),
            ] {
                // A transformed tile is off by a share of its largest numbers, which are sums of up to 144 terms.
                let case = Case::of(Op::Kernel(kernel), &note, &inputs);
                cases.push(Case { tolerance: case.tolerance.max(2e-4), ..case });
            }
        }
        for size in [1, 100] {
            // Squares are not below zero, and epsilon keeps the step away from a division by zero.
            let of = |shape: &[usize], range| input(dtype, shape, Values::Uniform(range));
            let vector = plain(dtype, &[size]);
            let inputs = [
                [vector.clone(), vector.clone(), of(&[size], 0.1..2.0), vector],
                [(); 4].map(|()| of(&[], 0.1..2.0)),
            ];
            let inputs = [&inputs.concat()[..], &[of(&[], 0.1..0.2)]].concat();
            cases.push(Case::of(Op::Kernel(Kernel::Adam), &format!("{size} {dtype}"), &inputs).rough());
        }
        for (reverse, step) in [(false, &[5, 4][..]), (true, &[3]), (true, &[])] {
            for steps in [1, 6] {
                let whole = plain(dtype, &[&[steps], step].concat());
                let op = Op::Kernel(Kernel::LinearRecurrence { reverse });
                cases.push(Case::of(
                    op,
                    &format!("{reverse} {dtype} {steps} steps of {step:?}"),
                    &[whole.clone(), whole, plain(dtype, step)],
                ));
            }
        }
        let inputs = [sparse(&[4, 19]), index(&[6], -2..6), plain(dtype, &[19, 3])];
        let case = Case::new(format!("sparse_dot of chosen rows {dtype}"), &inputs, |b, x| {
            let rows = b.gather(x[0], x[1], 0);
            b.many(Op::Kernel(Kernel::SparseDot), &[rows, x[2]])
        });
        cases.push(case);
        let flags = input(U32, &[4, 2], Values::Bits);
        let order = input(I32, &[55], Values::Distinct(55));
        let inputs = [plain(dtype, &[4, 7]), flags, order, index(&[6], -2..6), plain(dtype, &[6, 3])];
        cases.push(Case::new(format!("packed_dot_transposed of chosen rows {dtype}"), &inputs, |b, x| {
            let (numbers, flags) = (b.gather(x[0], x[3], 0), b.gather(x[1], x[3], 0));
            let product = b.one(Op::Kernel(Kernel::PackedDotTransposed), &[numbers, flags, x[2], x[4]]);
            // Added in place where there is a native function.
            let sum = b.full_like(product, 1.0);
            vec![b.add(sum, product)]
        }));
    }
    // Places beyond the group are clamped; they are chosen here, unlike in its use.
    let inputs = [
        plain(Bool, &[7]),
        index(&[7], -1..4),
        input(U64, &[2, 3, 7], Values::Bits),
        plain(F32, &[7]),
        plain(Bool, &[2, 7]),
        input(U64, &[2, 3, 3], Values::Bits),
        plain(F32, &[3]),
        plain(Bool, &[2, 3]),
    ];
    cases.push(Case::of(Op::Kernel(Kernel::PutBack { arrays: 3 }), "", &inputs).rough());
    let inputs =
        [index(&[3], -1..9), plain(F32, &[7]), input(U64, &[2, 3, 7], Values::Bits), plain(Bool, &[2, 7])];
    cases.push(Case::of(Op::Kernel(Kernel::TakeColumns { arrays: 3 }), "", &inputs).rough());
    for dtype in [F32, Bool, U64] {
        let inputs = [plain(dtype, &[4, 2, 3]), index(&[3], -2..6), plain(dtype, &[2, 3])];
        cases.push(Case::of(Op::Kernel(Kernel::PutRow), dtype.name(), &inputs));
        cases.push(Case::of(Op::Kernel(Kernel::TakeRow), dtype.name(), &inputs));
    }
    cases
}

fn indexing() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        let name = dtype.name();
        let x = plain(dtype, &[4, 5]);
        let [row, column] = [(); 2].map(|()| index(&[], -2..6));
        let slice = Op::DynamicSlice { sizes: vec![2, 3] };
        cases.push(Case::of(slice, name, &[x.clone(), row.clone(), column.clone()]));
        let update = plain(dtype, &[2, 3]);
        cases.push(Case::of(Op::DynamicUpdateSlice, name, &[x.clone(), update, row, column]));
        for (axis, indices) in [(0, vec![]), (0, vec![3]), (1, vec![3]), (1, vec![2, 2])] {
            let note = format!("{dtype} axis {axis} indices {indices:?}");
            let entries = [&[4, 5][..axis], &indices, &[4, 5][axis + 1..]].concat();
            let (x, updates) = (x.clone(), plain(dtype, &entries));
            cases.push(Case::of(Op::Gather { axis }, &note, &[x.clone(), index(&indices, -1..7)]));
            if dtype != Bool {
                let anywhere = index(&indices, -1..7);
                let add = Op::Scatter { axis, kind: ScatterKind::Add };
                cases.push(Case::of(add, &note, &[x.clone(), anywhere, updates.clone()]));
            }
            // Some of the distinct indices lie beyond the axis.
            let distinct = input(I32, &indices, Values::Distinct(7));
            let set = Op::Scatter { axis, kind: ScatterKind::Set };
            cases.push(Case::of(set, &note, &[x, distinct, updates]));
        }
    }
    cases
}

fn control_flow() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [F32, F64] {
        let (scalar, vector) = (plain(dtype, &[]), plain(dtype, &[3]));
        let name = dtype.name();

        // (limit, factor, count, x): multiply x by factor as often as limit says.
        let (cond, body) = (count_below(dtype), multiply_and_count(dtype));
        let op = Op::While { cond: Arc::new(cond), body: Arc::new(body), cond_captures: 1, body_captures: 1 };
        let inputs = [index(&[], 0..5), vector.clone(), index(&[], 0..2), vector.clone()];
        cases.push(Case::of(op, name, &inputs).rough());

        let op = Op::Cond { on_true: Arc::new(product(dtype)), on_false: Arc::new(sine(dtype)) };
        let inputs = [plain(Bool, &[]), vector.clone(), vector.clone(), vector.clone()];
        cases.push(Case::of(op, name, &inputs));

        for reverse in [false, true] {
            let op =
                Op::Scan { body: Arc::new(recurrence(dtype)), captures: 1, carry: 2, length: 4, reverse };
            let inputs = [vector.clone(), vector.clone(), index(&[], 0..3), plain(dtype, &[4, 3])];
            cases.push(Case::of(op, &format!("{dtype} reverse={reverse}"), &inputs));
        }
        cases.push(nested_scan(dtype));
        cases.push(forgetful_scan(dtype));
        let op =
            Op::Scan { body: Arc::new(recurrence(dtype)), captures: 1, carry: 2, length: 0, reverse: false };
        let inputs = [vector.clone(), vector.clone(), index(&[], 0..3), plain(dtype, &[0, 3])];
        cases.push(Case::of(op, &format!("{dtype} of no steps"), &inputs));

        let body = multiply_and_count(dtype);
        let op = Op::Rare { body: Arc::new(body), captures: 1 };
        let inputs = [plain(Bool, &[]), vector.clone(), index(&[], 0..9), vector.clone()];
        cases.push(Case::of(op, name, &inputs).rough());

        let op = Op::Call { graph: Arc::new(recurrence(dtype)) };
        let inputs = [vector.clone(), vector.clone(), index(&[], 0..3), vector.clone()];
        cases.push(Case::of(op, name, &inputs));
        cases.push(Case::of(Op::Barrier, name, &[scalar, vector]));
    }
    cases
}

fn devices() -> Vec<Case> {
    let mut cases = vec![Case::of(Op::ReplicaId, "u32", &[])];
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != Bool) {
        cases.push(Case::of(Op::AllReduce, dtype.name(), &[plain(dtype, &[3])]));
    }
    cases
}

/// A body with inputs of the given types.
fn body(types: &[ArrayType], build: impl FnOnce(&mut Build, &[Var]) -> Vec<Var>) -> Graph {
    let inputs: Vec<Input> =
        types.iter().map(|t| Input { array_type: t.clone(), values: Values::Bits }).collect();
    Case::new("body", &inputs, build).graph
}

/// (limit, count, x) -> count < limit
fn count_below(dtype: DType) -> Graph {
    let int = ArrayType::scalar(I32);
    let types = [int.clone(), int, ArrayType::new(dtype, [3])];
    body(&types, |b, x| vec![b.compare(Comparison::Lt, x[1], x[0])])
}

/// (factor, count, x) -> (count + 1, factor x)
fn multiply_and_count(dtype: DType) -> Graph {
    let vector = ArrayType::new(dtype, [3]);
    body(&[vector.clone(), ArrayType::scalar(I32), vector], |b, x| {
        let one = b.scalar(1.0, I32);
        vec![b.add(x[1], one), b.mul(x[0], x[2])]
    })
}

/// (x, y) -> x y
fn product(dtype: DType) -> Graph {
    let vector = ArrayType::new(dtype, [3]);
    body(&[vector.clone(), vector], |b, x| vec![b.mul(x[0], x[1])])
}

/// x -> sin x
fn sine(dtype: DType) -> Graph {
    body(&[ArrayType::new(dtype, [3])], |b, x| vec![b.unary(Unary::Sin, x[0])])
}

/// (weight, state, count, x) -> (tanh(weight state + x), count + 1, weight x count)
fn recurrence(dtype: DType) -> Graph {
    let vector = ArrayType::new(dtype, [3]);
    body(&[vector.clone(), vector.clone(), ArrayType::scalar(I32), vector], |b, x| {
        let [weight, state, count, x] = *x else { unreachable!() };
        let kept = b.mul(weight, state);
        let sum = b.add(kept, x);
        let one = b.scalar(1.0, I32);
        let float_count = b.convert(count, dtype);
        let counts = b.broadcast(float_count, &[3], &[]);
        let weighted = b.mul(weight, x);
        vec![b.unary(Unary::Tanh, sum), b.add(count, one), b.mul(weighted, counts)]
    })
}

/// A scan whose steps run a scan that puts zeros in the place of its carry: for each example the same, but the carry
/// has been its own.
fn forgetful_scan(dtype: DType) -> Case {
    let vector = ArrayType::new(dtype, [3]);
    let forget = body(std::slice::from_ref(&vector), |b, x| vec![b.full_like(x[0], 0.0)]);
    let step = body(&[vector], |b, x| {
        let inner = Op::Scan { body: Arc::new(forget), captures: 0, carry: 1, length: 2, reverse: false };
        let forgotten = b.many(inner, x)[0];
        vec![x[0], forgotten]
    });
    let op = Op::Scan { body: Arc::new(step), captures: 0, carry: 1, length: 3, reverse: false };
    Case::of(op, &format!("{dtype} of a scan that forgets"), &[plain(dtype, &[3])])
}

/// A scan whose steps run a scan and a cond.
fn nested_scan(dtype: DType) -> Case {
    let vector = ArrayType::new(dtype, [3]);
    let matrix = ArrayType::new(dtype, [2, 3]);
    // (weight, state, flag, rows) -> (state, last count)
    let step = body(&[vector.clone(), vector, ArrayType::scalar(Bool), matrix], |b, x| {
        let [weight, state, flag, rows] = *x else { unreachable!() };
        let zero = b.scalar(0.0, I32);
        let inner =
            Op::Scan { body: Arc::new(recurrence(dtype)), captures: 1, carry: 2, length: 2, reverse: true };
        let scanned = b.many(inner, &[weight, state, zero, rows]);
        let branches = Op::Cond { on_true: Arc::new(product(dtype)), on_false: Arc::new(sine(dtype)) };
        let next = b.one(branches, &[flag, weight, scanned[0], state]);
        vec![next, scanned[2]]
    });
    let op = Op::Scan { body: Arc::new(step), captures: 1, carry: 1, length: 3, reverse: false };
    let inputs = [plain(dtype, &[3]), plain(dtype, &[3]), plain(Bool, &[3]), plain(dtype, &[3, 2, 3])];
    Case::of(op, &format!("{dtype} of scan and cond"), &inputs)
}
