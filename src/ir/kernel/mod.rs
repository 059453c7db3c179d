//! Kernels: mathematics that a native function computes where there is one for the device, and plain ops elsewhere.
//!
//! The plain ops, the kernel's twin, say what it means: the oracle runs them, and a device without the native function gets
//! them. Gradient and vmap have rules of their own, which use kernels again.

mod adam;
mod conv;
mod mlp;
mod packed;
mod put_back;
mod recurrence;
mod recurrent;
mod rows;

use strum::{EnumDiscriminants, EnumIter};

use crate::array::{ArrayType, DType};
pub use crate::runtime::kernels::{Activation, CellKind};
pub use conv::{is_usual_conv, kernel_gradient, reversed_kernel};
pub use recurrence::shifted;
pub use rows::{as_tables, have_rows, of_rows};

use super::{Build, Graph, Location, Op, Var};

/// A kernel. Each has a native function (`runtime::kernels`), plain and packed products the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumDiscriminants)]
#[strum_discriminants(name(KernelKind), derive(EnumIter))]
pub enum Kernel {
    /// (x `[N, I]`, w `[I, W]`) -> `[N, W]`: the matrix product, where x is expected to be mostly zeros.
    SparseDot,
    /// (x `[N, I]`, g `[N, W]`) -> `[I, W]`: the product of x, transposed, and g; x as above.
    SparseDotTransposed,
    /// (x `[I, N]`, order i32`[I]`) -> (numbers `[N, F]`, flags u32`[N, B]`): the columns of x as rows, packed. In this order, the
    /// first F numbers of a column of x stay what they are; of each of the others a bit says whether it is not zero, the
    /// first in the lowest bit of the first of B words.
    Pack { numbers: usize },
    /// (numbers, flags, order, w `[I, W]`) -> `[N, W]`: the product of what was packed, a row for each of N, and w.
    PackedDot,
    /// (numbers, flags, order, g `[N, W]`) -> `[I, W]`: the product of what was packed, transposed, and g.
    PackedDotTransposed,
    /// (x `[N, I]`, then a kernel `[I, W]` and a bias `[W]` for each layer) -> the output `[N, W]` of each layer, which is the
    /// input of the next: `x kernel + bias`, with the activation after all but the last.
    Mlp { layers: usize, activation: Activation },
    /// (the inputs of an MLP, its outputs but for the last, the cotangent of the last) -> the cotangents of its inputs, that of x
    /// only with `input`.
    MlpGradient { layers: usize, activation: Activation, input: bool },
    /// (read `[T, N, G x H]`, starts bool`[T, N]`, kernel `[H, G x H]`, bias `[G x H]`, what is remembered: `[N, H]`, of an LSTM two of
    /// them) -> what is remembered after each of the T steps, as many `[T, N, H]`, the first of which is what the cell puts out; and
    /// what each step mixed of what was remembered before it, `[T, N, G x H]`. `read` is what the gates get of the input; where a
    /// step is a start, nothing was remembered before it.
    Recurrent { cell: CellKind },
    /// (the inputs of a recurrent cell, its outputs, the cotangents of all but the last) -> the cotangents of its inputs but for the
    /// starts.
    RecurrentGradient { cell: CellKind },
    /// (factors `[T, ..]`, terms `[T, ..]`, begin `[..]`) -> `[T, ..]`: each step is its factors times the step before, first `begin`, plus
    /// its terms; from the last step to the first if `reverse`.
    LinearRecurrence { reverse: bool },
    /// (images `[N, H, W, C]`, kernel `[3, 3, C, O]`) -> `[N, H, W, O]`: the convolution of the images with a zero all around.
    Conv,
    /// (images `[N, H, W, C]`, cotangent `[N, H, W, O]` of their convolution) -> the cotangent `[3, 3, C, O]` of the kernel.
    ConvGradient,
    /// (parameters, mean, square and gradient `[N]`, the largest norm, the learning rate, the scales of mean and square, and epsilon) -> the
    /// first three after a step of Adam along the gradient, which is clipped to that norm, and the norm before.
    Adam,
    /// (chosen bool`[B]`, places i32`[B]`, `arrays` arrays `[.., B]`, as many `[.., W]`) -> the arrays `[.., B]`, where each chosen
    /// column b is now column `places[b]` of the other array: what became of a group of columns, back where they came from.
    PutBack { arrays: usize },
    /// (tables `[S, .., B]`, places i32`[B]`, rows `[.., B]`) -> the tables, where row `places[b]` of table b is now row b; nothing is
    /// written where there is no such row.
    PutRow,
    /// (tables `[S, .., B]`, places i32`[B]`, rows `[.., B]`) -> the rows, where row b is now row `places[b]` of table b; it stays where
    /// there is no such row.
    TakeRow,
    /// (places i32`[W]`, `arrays` arrays `[.., B]`) -> as many `[.., W]`: their columns at these places; a place outside means the
    /// nearest one.
    TakeColumns { arrays: usize },
}

impl Kernel {
    pub fn name(self) -> &'static str {
        match self {
            Kernel::SparseDot => "sparse_dot",
            Kernel::SparseDotTransposed => "sparse_dot_transposed",
            Kernel::Pack { .. } => "pack",
            Kernel::PackedDot => "packed_dot",
            Kernel::PackedDotTransposed => "packed_dot_transposed",
            Kernel::Mlp { .. } => "mlp",
            Kernel::MlpGradient { .. } => "mlp_gradient",
            Kernel::Recurrent { .. } => "recurrent",
            Kernel::RecurrentGradient { .. } => "recurrent_gradient",
            Kernel::LinearRecurrence { .. } => "linear_recurrence",
            Kernel::Conv => "conv",
            Kernel::ConvGradient => "conv_gradient",
            Kernel::Adam => "adam",
            Kernel::PutBack { .. } => "put_back",
            Kernel::PutRow => "put_row",
            Kernel::TakeRow => "take_row",
            Kernel::TakeColumns { .. } => "take_columns",
        }
    }

    /// Whether numbers are only moved, whatever they are.
    pub fn moves(self) -> bool {
        matches!(self, Kernel::PutBack { .. } | Kernel::PutRow | Kernel::TakeRow | Kernel::TakeColumns { .. })
    }

    /// Whether the native function is for inputs of these types: f32, and for an MLP or a cell weights that are few enough to
    /// be read from the core's own cache; for a convolution channels and filters that fill vectors. Columns and rows of any type can be
    /// written.
    pub fn is_native_for(self, inputs: &[ArrayType]) -> bool {
        /// Numbers of a matrix of weights.
        const SMALL: usize = 1 << 18;
        let weights = match self {
            Kernel::Mlp { layers, .. } | Kernel::MlpGradient { layers, .. } => &inputs[1..1 + 2 * layers],
            Kernel::Recurrent { .. } | Kernel::RecurrentGradient { .. } => &inputs[2..4],
            Kernel::Conv | Kernel::ConvGradient => return conv::is_native_for(inputs),
            _ if self.moves() => return true,
            _ => &[],
        };
        inputs.iter().all(|input| !input.dtype.is_float() || input.dtype == DType::F32)
            && weights.iter().all(|part| (1..=SMALL).contains(&part.size()))
    }

    /// What comes out for inputs of these types.
    ///
    /// # Errors
    /// What does not fit.
    pub fn infer(self, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
        let name = self.name();
        let count = match self {
            Kernel::SparseDot | Kernel::SparseDotTransposed | Kernel::Pack { .. } => 2,
            Kernel::Conv | Kernel::ConvGradient => 2,
            Kernel::PackedDot | Kernel::PackedDotTransposed => 4,
            Kernel::Mlp { layers, .. } => 1 + 2 * layers,
            Kernel::MlpGradient { layers, .. } => 1 + 3 * layers,
            Kernel::Recurrent { cell } => 4 + cell.remembered(),
            Kernel::RecurrentGradient { cell } => 5 + 3 * cell.remembered(),
            Kernel::Adam => 9,
            Kernel::PutBack { arrays } => 2 + 2 * arrays,
            Kernel::PutRow | Kernel::TakeRow | Kernel::LinearRecurrence { .. } => 3,
            Kernel::TakeColumns { arrays } => 1 + arrays,
        };
        if inputs.len() != count {
            return Err(format!("{name} takes {count} inputs, not {}", inputs.len()));
        }
        let dtype = inputs[0].dtype;
        let may_be_int = |i: usize| match self {
            Kernel::Pack { .. } | Kernel::Recurrent { .. } | Kernel::RecurrentGradient { .. } => i == 1,
            Kernel::PackedDot | Kernel::PackedDotTransposed => i == 1 || i == 2,
            _ => self.moves(),
        };
        let wrong =
            |(i, x): &(usize, &&ArrayType)| !may_be_int(*i) && (!x.dtype.is_float() || x.dtype != dtype);
        if let Some((_, x)) = inputs.iter().enumerate().find(wrong) {
            return Err(format!("{name} of {x}"));
        }
        match self {
            Kernel::SparseDot | Kernel::SparseDotTransposed => {
                let [[rows, width], [height, other]] = [matrix(name, inputs[0])?, matrix(name, inputs[1])?];
                let (meets, out) = if self == Kernel::SparseDot { (width, rows) } else { (rows, width) };
                match meets == height {
                    true => Ok(vec![ArrayType::new(dtype, [out, other])]),
                    false => Err(format!("{name} of {} and {}", inputs[0], inputs[1])),
                }
            }
            Kernel::Pack { numbers } => packed::infer_pack(numbers, inputs),
            Kernel::PackedDot => packed::infer_dot(name, inputs),
            Kernel::PackedDotTransposed => packed::infer_dot_transposed(name, inputs),
            Kernel::Mlp { layers, .. } => mlp::infer(name, inputs, layers),
            Kernel::MlpGradient { layers, input, .. } => mlp::infer_gradient(name, inputs, layers, input),
            Kernel::Recurrent { cell } => recurrent::infer(name, inputs, cell),
            Kernel::RecurrentGradient { cell } => recurrent::infer_gradient(name, inputs, cell),
            Kernel::LinearRecurrence { .. } => recurrence::infer(name, inputs),
            Kernel::Conv => conv::infer(name, inputs),
            Kernel::ConvGradient => conv::infer_gradient(name, inputs),
            Kernel::Adam => adam::infer(name, inputs),
            Kernel::PutBack { arrays } => put_back::infer(name, inputs, arrays),
            Kernel::PutRow => rows::check(name, inputs).map(|()| vec![inputs[0].clone()]),
            Kernel::TakeRow => rows::check(name, inputs).map(|()| vec![inputs[2].clone()]),
            Kernel::TakeColumns { .. } => infer_columns(name, inputs),
        }
    }

    /// The twin, for inputs of these types.
    pub fn twin(self, inputs: &[ArrayType], location: Location) -> Graph {
        let mut graph = Graph::new();
        let inputs: Vec<Var> = inputs.iter().map(|array_type| graph.input(array_type.clone())).collect();
        let b = &mut Build::new(&mut graph, location);
        let outputs = match self {
            Kernel::SparseDot => vec![dot(b, inputs[0], inputs[1], 1, 0)],
            Kernel::SparseDotTransposed => vec![dot(b, inputs[0], inputs[1], 0, 0)],
            Kernel::Pack { numbers } => packed::pack(b, numbers, &inputs),
            Kernel::PackedDot => vec![packed::dot(b, &inputs)],
            Kernel::PackedDotTransposed => vec![packed::dot_transposed(b, &inputs)],
            Kernel::Mlp { activation, .. } => mlp::mlp(b, activation, &inputs),
            Kernel::MlpGradient { layers, activation, input } => {
                mlp::gradient(b, activation, layers, input, &inputs)
            }
            Kernel::Recurrent { cell } => recurrent::recurrent(b, cell, &inputs),
            Kernel::RecurrentGradient { cell } => recurrent::gradient(b, cell, &inputs),
            Kernel::LinearRecurrence { reverse } => {
                vec![recurrence::linear_recurrence(b, &inputs, reverse)]
            }
            Kernel::Conv => vec![conv::conv(b, &inputs)],
            Kernel::ConvGradient => vec![conv::gradient(b, &inputs)],
            Kernel::Adam => adam::adam(b, &inputs),
            Kernel::PutBack { arrays } => put_back::put_back(b, arrays, &inputs),
            Kernel::PutRow => vec![rows::put(b, &inputs)],
            Kernel::TakeRow => vec![rows::take(b, &inputs)],
            Kernel::TakeColumns { .. } => {
                let column = |&array: &Var| {
                    let axis = b.array_type(array).rank() - 1;
                    b.gather(array, inputs[0], axis)
                };
                inputs[1..].iter().map(column).collect()
            }
        };
        graph.outputs = outputs;
        graph
    }
}

/// The types of the columns that are taken.
fn infer_columns(name: &str, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    let [places, arrays @ ..] = inputs else { unreachable!("the inputs were counted") };
    let taken = |array: &&ArrayType| match array.shape.split_last() {
        Some((&columns, rest)) if columns > 0 && places.dtype == DType::I32 && places.rank() == 1 => {
            Ok(ArrayType::new(array.dtype, [rest, &places.shape].concat()))
        }
        _ => Err(format!("{name} {places} of {array}")),
    };
    arrays.iter().map(taken).collect()
}

/// The product over axis `i` of `a` and axis `j` of `b`.
fn dot(build: &mut Build, a: Var, b: Var, i: usize, j: usize) -> Var {
    build.one(Op::Dot { batch: (vec![], vec![]), contract: (vec![i], vec![j]) }, &[a, b])
}

/// Height and width.
fn matrix(name: &str, x: &ArrayType) -> Result<[usize; 2], String> {
    match x.shape[..] {
        [height, width] => Ok([height, width]),
        _ => Err(format!("{name} of {x}, which is no matrix")),
    }
}
