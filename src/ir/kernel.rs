//! Kernels: mathematics that a native function computes where there is one for the device, and plain ops elsewhere.
//!
//! The plain ops, the kernel's twin, say what it means: the oracle runs them, and a device without the native function gets
//! them. Gradient and vmap have rules of their own, which use kernels again.

use crate::array::{ArrayType, DType};
pub use crate::runtime::kernels::Activation;

use super::{Binary, Build, Comparison, Graph, Location, Op, Reduction, Unary, Var};

/// A kernel. Each has a native function of the same name (`runtime::kernels`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// (x `[N, I]`, w `[I, W]`) -> `[N, W]`: the matrix product, where x is expected to be mostly zeros.
    SparseDot,
    /// (x `[N, I]`, g `[N, W]`) -> `[I, W]`: the product of x, transposed, and g; x as above.
    SparseDotTransposed,
    /// (x `[N, I]`) -> `[N, I]`: x as the two products read it fastest, and only they can read it. The twin leaves x as it is.
    Squeeze,
    /// (x `[N, I]`, then a kernel `[I, W]` and a bias `[W]` for each layer) -> the output `[N, W]` of each layer, which is the
    /// input of the next: `x kernel + bias`, with the activation after all but the last.
    Mlp { layers: usize, activation: Activation },
    /// (the inputs of an MLP, its outputs but for the last, the cotangent of the last) -> the cotangents of its inputs, that of x
    /// only with `input`.
    MlpGradient { layers: usize, activation: Activation, input: bool },
    /// (chosen bool`[B]`, places i32`[B]`, `arrays` arrays `[.., B]`, as many `[.., W]`) -> the arrays `[.., B]`, where each chosen
    /// column b is now column `places[b]` of the other array: what became of a group of columns, back where they came from.
    PutBack { arrays: usize },
}

impl Kernel {
    /// One of each kind, the MLPs with two layers.
    pub const ALL: [Kernel; 7] = [
        Kernel::SparseDot,
        Kernel::SparseDotTransposed,
        Kernel::Squeeze,
        Kernel::Mlp { layers: 2, activation: Activation::Tanh },
        Kernel::MlpGradient { layers: 2, activation: Activation::Tanh, input: false },
        Kernel::MlpGradient { layers: 2, activation: Activation::Relu, input: true },
        Kernel::PutBack { arrays: 1 },
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kernel::SparseDot => "sparse_dot",
            Kernel::SparseDotTransposed => "sparse_dot_transposed",
            Kernel::Squeeze => "squeeze",
            Kernel::Mlp { .. } => "mlp",
            Kernel::MlpGradient { .. } => "mlp_gradient",
            Kernel::PutBack { .. } => "put_back",
        }
    }

    /// Whether the native function is for inputs of these types: f32, and for an MLP layers that are small enough to be
    /// read from the core's own cache. Columns of any type can be put back.
    pub fn is_native_for(self, inputs: &[ArrayType]) -> bool {
        if let Kernel::PutBack { .. } = self {
            return true;
        }
        /// Numbers of a matrix of weights.
        const SMALL: usize = 1 << 18;
        let weights = match self {
            Kernel::Mlp { layers, .. } | Kernel::MlpGradient { layers, .. } => &inputs[1..1 + 2 * layers],
            _ => &[],
        };
        inputs.iter().all(|input| input.dtype == DType::F32)
            && weights.iter().all(|part| (1..=SMALL).contains(&part.size()))
    }

    /// What comes out for inputs of these types.
    ///
    /// # Errors
    /// What does not fit.
    pub fn infer(self, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
        let name = self.name();
        let count = match self {
            Kernel::Squeeze => 1,
            Kernel::SparseDot | Kernel::SparseDotTransposed => 2,
            Kernel::Mlp { layers, .. } => 1 + 2 * layers,
            Kernel::MlpGradient { layers, .. } => 1 + 3 * layers,
            Kernel::PutBack { arrays } => 2 + 2 * arrays,
        };
        if inputs.len() != count {
            return Err(format!("{name} takes {count} inputs, not {}", inputs.len()));
        }
        if let Kernel::PutBack { arrays } = self {
            return put_back_types(name, inputs, arrays);
        }
        if let Some(x) = inputs.iter().find(|x| !x.dtype.is_float() || x.dtype != inputs[0].dtype) {
            return Err(format!("{name} of {x}"));
        }
        let matrix = |x: &ArrayType| match x.shape[..] {
            [height, width] => Ok([height, width]),
            _ => Err(format!("{name} of {x}, which is no matrix")),
        };
        let one = |shape: [usize; 2]| Ok(vec![ArrayType::new(inputs[0].dtype, shape)]);
        let [rows, width] = matrix(inputs[0])?;
        match self {
            Kernel::Squeeze => one([rows, width]),
            Kernel::SparseDot | Kernel::SparseDotTransposed => {
                let [height, other] = matrix(inputs[1])?;
                let (meets, out) = if self == Kernel::SparseDot { (width, rows) } else { (rows, width) };
                match meets == height {
                    true => one([out, other]),
                    false => Err(format!("{name} of {} and {}", inputs[0], inputs[1])),
                }
            }
            Kernel::Mlp { layers, .. } => {
                let outputs = layer_outputs(name, inputs, layers)?;
                Ok(outputs.iter().map(|&w| ArrayType::new(inputs[0].dtype, [rows, w])).collect())
            }
            Kernel::MlpGradient { layers, input, .. } => {
                let outputs = layer_outputs(name, inputs, layers)?;
                for (&width, output) in outputs.iter().zip(&inputs[1 + 2 * layers..]) {
                    if output.shape != [rows, width] {
                        return Err(format!("{name}: {output} where {rows} rows of {width} are expected"));
                    }
                }
                let first = if input { 0 } else { 1 };
                Ok(inputs[first..1 + 2 * layers].iter().map(|&part| part.clone()).collect())
            }
            Kernel::PutBack { .. } => unreachable!("see above"),
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
            Kernel::Squeeze => inputs,
            Kernel::Mlp { activation, .. } => mlp(b, activation, &inputs),
            Kernel::MlpGradient { layers, activation, input } => {
                mlp_gradient(b, activation, layers, input, &inputs)
            }
            Kernel::PutBack { arrays } => put_back(b, arrays, &inputs),
        };
        graph.outputs = outputs;
        graph
    }
}

/// The types of the arrays that columns are put back into, if everything fits them.
fn put_back_types(name: &str, inputs: &[&ArrayType], arrays: usize) -> Result<Vec<ArrayType>, String> {
    let (rows, (all, groups)) = (&inputs[..2], inputs[2..].split_at(arrays));
    for (&array, &group) in all.iter().zip(groups) {
        let Some((&count, shape)) = array.shape.split_last() else {
            return Err(format!("{name} into {array}, which has no columns"));
        };
        let fits =
            group.dtype == array.dtype && group.rank() > 0 && group.shape[..group.rank() - 1] == *shape;
        if !fits
            || *rows[0] != ArrayType::new(DType::Bool, [count])
            || *rows[1] != ArrayType::new(DType::I32, [count])
        {
            return Err(format!("{name}: {group} into {array} by {} and {}", rows[0], rows[1]));
        }
    }
    Ok(all.iter().map(|&array| array.clone()).collect())
}

fn put_back(b: &mut Build, arrays: usize, inputs: &[Var]) -> Vec<Var> {
    let (chosen, places) = (inputs[0], inputs[1]);
    let (all, groups) = inputs[2..].split_at(arrays);
    let one = |(&array, &group): (&Var, &Var)| {
        let shape = b.array_type(array).shape;
        let axis = shape.len() - 1;
        let moved = b.gather(group, places, axis);
        let chosen = b.broadcast(chosen, &shape, &[axis]);
        b.select(chosen, moved, array)
    };
    all.iter().zip(groups).map(one).collect()
}

/// The widths of the outputs of an MLP's layers, if they fit each other.
fn layer_outputs(name: &str, inputs: &[&ArrayType], layers: usize) -> Result<Vec<usize>, String> {
    let mut width = inputs[0].shape[1];
    let mut outputs = Vec::new();
    for (l, layer) in inputs[1..1 + 2 * layers].chunks(2).enumerate() {
        match (&layer[0].shape[..], &layer[1].shape[..]) {
            (&[i, o], &[b]) if i == width && o == b => width = o,
            _ => {
                return Err(format!(
                    "{name}: layer {l} is {} and {}, its input {width} wide",
                    layer[0], layer[1]
                ));
            }
        }
        outputs.push(width);
    }
    Ok(outputs)
}

/// The product over axis `i` of `a` and axis `j` of `b`.
fn dot(build: &mut Build, a: Var, b: Var, i: usize, j: usize) -> Var {
    build.one(Op::Dot { batch: (vec![], vec![]), contract: (vec![i], vec![j]) }, &[a, b])
}

fn mlp(b: &mut Build, activation: Activation, inputs: &[Var]) -> Vec<Var> {
    let mut outputs = Vec::new();
    let mut x = inputs[0];
    let layers: Vec<&[Var]> = inputs[1..].chunks(2).collect();
    for (l, layer) in layers.iter().enumerate() {
        let product = dot(b, x, layer[0], 1, 0);
        let shape = b.array_type(product).shape;
        let bias = b.broadcast(layer[1], &shape, &[1]);
        x = b.add(product, bias);
        if l + 1 < layers.len() {
            x = match activation {
                Activation::Tanh => b.unary(Unary::Tanh, x),
                Activation::Relu => {
                    let zero = b.full_like(x, 0.0);
                    b.binary(Binary::Max, x, zero)
                }
            };
        }
        outputs.push(x);
    }
    outputs
}

fn mlp_gradient(
    b: &mut Build,
    activation: Activation,
    layers: usize,
    input: bool,
    inputs: &[Var],
) -> Vec<Var> {
    let (given, rest) = inputs.split_at(1 + 2 * layers);
    let (hidden, cotangent) = rest.split_at(layers - 1);
    let mut cotangent = cotangent[0];
    let mut gradients = Vec::new();
    for l in (0..layers).rev() {
        let x = if l == 0 { given[0] } else { hidden[l - 1] };
        gradients.push(b.reduce(Reduction::Sum, cotangent, &[0]));
        gradients.push(dot(b, x, cotangent, 0, 0));
        if l == 0 && !input {
            break;
        }
        cotangent = dot(b, cotangent, given[1 + 2 * l], 1, 1);
        if l > 0 {
            cotangent = match activation {
                Activation::Tanh => {
                    let (one, square) = (b.full_like(x, 1.0), b.mul(x, x));
                    let derivative = b.sub(one, square);
                    b.mul(cotangent, derivative)
                }
                Activation::Relu => {
                    let zero = b.full_like(x, 0.0);
                    let passes = b.compare(Comparison::Gt, x, zero);
                    b.select(passes, cotangent, zero)
                }
            };
        }
    }
    if input {
        gradients.push(cotangent);
    }
    gradients.reverse();
    gradients
}
