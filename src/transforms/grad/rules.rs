//! The table of pullbacks: for each op, from the cotangents of its outputs to those of its inputs.

use crate::ir::{
    Binary, Build, Comparison, Equation, Kernel, Op, Reduction, ScatterKind, Unary, Var, Window, as_tables,
    have_rows, kernel_gradient, of_rows, reversed_kernel, shifted,
};

use super::{GradError, Point, control};

/// The cotangents of the inputs of one equation.
pub fn pullback(b: &mut Build, point: &Point) -> Result<Vec<Option<Var>>, GradError> {
    let Point { equation, x, y, kept: _, cotangents, wants } = *point;
    // Ops with one output: its cotangent.
    let g = cotangents.iter().copied().flatten().next().expect("the walk skips equations without one");
    let one = |cotangent: Var| Ok(vec![Some(cotangent)]);
    match &equation.op {
        Op::Constant(_) | Op::Iota { .. } | Op::ReplicaId => Ok(Vec::new()),
        Op::Compare(_) | Op::Threefry | Op::StopGradient | Op::Native(_) => Ok(vec![None; x.len()]),
        Op::Unary(op) => Ok(vec![unary(b, *op, g, x[0], y[0])]),
        Op::Binary(op) => Ok(binary(b, *op, g, x[0], x[1], y[0]).into()),
        Op::Select => {
            let zero = b.full_like(g, 0.0);
            Ok(vec![None, Some(b.select(x[0], g, zero)), Some(b.select(x[0], zero, g))])
        }
        Op::Convert(_) => {
            let dtype = b.array_type(x[0]).dtype;
            one(b.convert(g, dtype))
        }
        // Between floats a bitcast changes nothing, since each has a width of its own.
        Op::Bitcast(_) | Op::Reshape { .. } => {
            let shape = b.array_type(x[0]).shape;
            one(b.reshape(g, &shape))
        }
        Op::Broadcast { shape, axes } => {
            let new_axes: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
            one(b.reduce(Reduction::Sum, g, &new_axes))
        }
        Op::Transpose { permutation } => one(b.transpose(g, &inverse(permutation))),
        Op::Slice { start, stride, .. } => one(slice(b, g, x[0], start, stride)),
        Op::Pad { low, interior, .. } => Ok(pad(b, g, x[0], low, interior).into()),
        Op::Concatenate { axis } => Ok(concatenate(b, g, x, *axis)),
        Op::Reverse { axes } => one(b.one(Op::Reverse { axes: axes.clone() }, &[g])),
        Op::Dot { batch, contract } => Ok(dot(b, g, x, batch, contract, wants)),
        Op::Conv { windows } => Ok(conv(b, g, x, *windows, wants)),
        Op::Kernel(_) => kernel(b, point, g),
        Op::Reduce { kind, axes } => Ok(vec![reduce(b, *kind, axes, g, x[0], y[0])]),
        Op::DynamicSlice { .. } => {
            let zeros = b.full_like(x[0], 0.0);
            let cotangent = b.one(Op::DynamicUpdateSlice, &[&[zeros, g], &x[1..]].concat());
            let starts = x.len() - 1;
            Ok([vec![Some(cotangent)], vec![None; starts]].concat())
        }
        Op::DynamicUpdateSlice => {
            let sizes = b.array_type(x[1]).shape;
            let zeros = b.full_like(x[1], 0.0);
            let kept = b.one(Op::DynamicUpdateSlice, &[&[g, zeros], &x[2..]].concat());
            let update = b.one(Op::DynamicSlice { sizes }, &[&[g], &x[2..]].concat());
            let starts = x.len() - 2;
            Ok([vec![Some(kept), Some(update)], vec![None; starts]].concat())
        }
        Op::Gather { axis } => Ok(vec![Some(gather(b, g, x[0], x[1], *axis)), None]),
        Op::Scatter { axis, kind } => {
            let old = match kind {
                ScatterKind::Add => g,
                ScatterKind::Set => {
                    let zeros = b.full_like(x[2], 0.0);
                    b.scatter(ScatterKind::Set, g, x[1], zeros, *axis)
                }
            };
            Ok(vec![Some(old), None, Some(scattered(b, g, x[1], x[2], *axis))])
        }
        Op::Cond { on_true, on_false } => control::cond(b, on_true, on_false, point),
        Op::Scan { .. } => control::scan(b, point),
        Op::While { .. } => Err(no_rule(equation, "nobody knows its length; use scan, or stop_gradient")),
        Op::Rare { .. } => Err(no_rule(equation, "it is made for seldom events; use cond, or stop_gradient")),
        Op::Call { graph } => control::call(b, graph, point),
        Op::Barrier => Ok(cotangents.to_vec()),
        // Each replica's loss depends on every replica's x.
        Op::AllReduce => one(b.one(Op::AllReduce, &[g])),
    }
}

fn unary(b: &mut Build, op: Unary, g: Var, x: Var, y: Var) -> Option<Var> {
    Some(match op {
        Unary::Neg => b.neg(g),
        Unary::Abs => {
            let sign = b.unary(Unary::Sign, x);
            b.mul(g, sign)
        }
        Unary::Exp => b.mul(g, y),
        Unary::Log => b.div(g, x),
        Unary::Log1p => {
            let shifted = plus(b, x, 1.0);
            b.div(g, shifted)
        }
        Unary::Expm1 => {
            let exp = plus(b, y, 1.0);
            b.mul(g, exp)
        }
        Unary::Tanh => {
            let square = b.mul(y, y);
            let slope = one_minus(b, square);
            b.mul(g, slope)
        }
        Unary::Sin => {
            let cos = b.unary(Unary::Cos, x);
            b.mul(g, cos)
        }
        Unary::Cos => {
            let sin = b.unary(Unary::Sin, x);
            let product = b.mul(g, sin);
            b.neg(product)
        }
        Unary::Sqrt => {
            let half = times(b, g, 0.5);
            b.div(half, y)
        }
        Unary::Rsqrt => {
            let slope = b.div(y, x);
            let half = times(b, g, -0.5);
            b.mul(half, slope)
        }
        Unary::Logistic => {
            let rest = one_minus(b, y);
            let slope = b.mul(y, rest);
            b.mul(g, slope)
        }
        Unary::Sign
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::IsFinite
        | Unary::Not
        | Unary::PopulationCount
        | Unary::CountLeadingZeros => return None,
    })
}

fn binary(b: &mut Build, op: Binary, g: Var, x0: Var, x1: Var, y: Var) -> [Option<Var>; 2] {
    match op {
        Binary::Add => [Some(g), Some(g)],
        Binary::Sub => [Some(g), Some(b.neg(g))],
        Binary::Mul => [Some(b.mul(g, x1)), Some(b.mul(g, x0))],
        Binary::Div => {
            let left = b.div(g, x1);
            let product = b.mul(left, y);
            [Some(left), Some(b.neg(product))]
        }
        // x0 - n x1, with a whole number n.
        Binary::Rem => {
            let multiple = b.sub(y, x0);
            let quotient = b.div(multiple, x1);
            let minus_n = b.unary(Unary::Round, quotient);
            [Some(g), Some(b.mul(g, minus_n))]
        }
        Binary::Pow => pow(b, g, x0, x1, y).map(Some),
        Binary::Max => {
            [Some(winner(b, Comparison::Gt, g, x0, x1)), Some(winner(b, Comparison::Gt, g, x1, x0))]
        }
        Binary::Min => {
            [Some(winner(b, Comparison::Lt, g, x0, x1)), Some(winner(b, Comparison::Lt, g, x1, x0))]
        }
        Binary::And | Binary::Or | Binary::Xor | Binary::ShiftLeft | Binary::ShiftRight => [None, None],
    }
}

/// `x1 x0^(x1 - 1)`, which is 0 at exponent 0 whatever the base; `log(x0) x0^x1`, which is 0 at base 0.
fn pow(b: &mut Build, g: Var, x0: Var, x1: Var, y: Var) -> [Var; 2] {
    let (zero, one) = (b.full_like(x0, 0.0), b.full_like(x0, 1.0));
    let constant = b.compare(Comparison::Eq, x1, zero);
    let lower = b.sub(x1, one);
    let exponent = b.select(constant, one, lower);
    let power = b.binary(Binary::Pow, x0, exponent);
    let slope = b.mul(x1, power);
    let at_zero = b.compare(Comparison::Eq, x0, zero);
    let base = b.select(at_zero, one, x0);
    let log = b.unary(Unary::Log, base);
    let growth = b.mul(log, y);
    [b.mul(g, slope), b.mul(g, growth)]
}

/// `g` where `x` wins over `other`, half of it where they tie, else 0.
fn winner(b: &mut Build, wins: Comparison, g: Var, x: Var, other: Var) -> Var {
    let (won, tied) = (b.compare(wins, x, other), b.compare(Comparison::Eq, x, other));
    let (half, zero) = (times(b, g, 0.5), b.full_like(g, 0.0));
    let otherwise = b.select(tied, half, zero);
    b.select(won, g, otherwise)
}

fn reduce(b: &mut Build, kind: Reduction, axes: &[usize], g: Var, x: Var, y: Var) -> Option<Var> {
    let shape = b.array_type(x).shape;
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    match kind {
        Reduction::Sum => Some(b.broadcast(g, &shape, &kept)),
        // Ties share the cotangent.
        Reduction::Max | Reduction::Min => {
            let best = b.broadcast(y, &shape, &kept);
            let wins = b.compare(Comparison::Eq, x, best);
            let dtype = b.array_type(x).dtype;
            let weight = b.convert(wins, dtype);
            let count = b.reduce(Reduction::Sum, weight, axes);
            let share = b.div(g, count);
            let shares = b.broadcast(share, &shape, &kept);
            Some(b.mul(shares, weight))
        }
        Reduction::And | Reduction::Or => None,
    }
}

/// Puts the cotangent of a slice back to where the slice was taken from.
fn slice(b: &mut Build, g: Var, x: Var, start: &[usize], stride: &[usize]) -> Var {
    let (x, taken) = (b.array_type(x), b.array_type(g).shape);
    if taken.contains(&0) {
        return b.full(&x, 0.0);
    }
    let high = (0..x.rank()).map(|i| x.shape[i] - start[i] - (taken[i] - 1) * stride[i] - 1).collect();
    let interior = stride.iter().map(|stride| stride - 1).collect();
    let zero = b.scalar(0.0, x.dtype);
    b.one(Op::Pad { low: start.to_vec(), high, interior }, &[g, zero])
}

/// The elements that came from `x`; the sum of the others.
fn pad(b: &mut Build, g: Var, x: Var, low: &[usize], interior: &[usize]) -> [Option<Var>; 2] {
    let (shape, padded) = (b.array_type(x).shape, b.array_type(g));
    let all_axes: Vec<usize> = (0..shape.len()).collect();
    if shape.contains(&0) {
        return [None, Some(b.reduce(Reduction::Sum, g, &all_axes))];
    }
    let stride: Vec<usize> = interior.iter().map(|gap| gap + 1).collect();
    let limit: Vec<usize> = (0..shape.len()).map(|i| low[i] + (shape[i] - 1) * stride[i] + 1).collect();
    let from_x = b.one(Op::Slice { start: low.to_vec(), limit, stride: stride.clone() }, &[g]);
    let zeros = b.full_like(x, 0.0);
    let one = b.scalar(1.0, padded.dtype);
    let high = (0..shape.len()).map(|i| padded.shape[i] - low[i] - (shape[i] - 1) * stride[i] - 1).collect();
    let is_fill = b.one(Op::Pad { low: low.to_vec(), high, interior: interior.to_vec() }, &[zeros, one]);
    let from_fill = b.mul(g, is_fill);
    [Some(from_x), Some(b.reduce(Reduction::Sum, from_fill, &all_axes))]
}

fn concatenate(b: &mut Build, g: Var, x: &[Var], axis: usize) -> Vec<Option<Var>> {
    let shape = b.array_type(g).shape;
    let mut at = 0;
    let mut part = |&x: &Var| {
        let (mut start, mut limit) = (vec![0; shape.len()], shape.clone());
        start[axis] = at;
        at += b.array_type(x).shape[axis];
        limit[axis] = at;
        Some(b.one(Op::Slice { start, limit, stride: vec![1; shape.len()] }, &[g]))
    };
    x.iter().map(&mut part).collect()
}

/// Products are expensive, so only the wanted ones are written.
fn dot(
    b: &mut Build,
    g: Var,
    x: &[Var],
    batch: &(Vec<usize>, Vec<usize>),
    contract: &(Vec<usize>, Vec<usize>),
    wants: &[bool],
) -> Vec<Option<Var>> {
    let left = DotSide { batch: &batch.0, contract: &contract.0, rank: b.array_type(x[0]).rank() };
    let right = DotSide { batch: &batch.1, contract: &contract.1, rank: b.array_type(x[1]).rank() };
    // The axes of g: batch, free axes of the left side, free axes of the right side.
    let left_end = left.batch.len() + left.free().len();
    let left_axes: Vec<usize> = (left.batch.len()..left_end).collect();
    let right_axes: Vec<usize> = (left_end..left_end + right.free().len()).collect();
    vec![
        wants[0].then(|| dot_side(b, g, &right_axes, x[1], &left, &right)),
        wants[1].then(|| dot_side(b, g, &left_axes, x[0], &right, &left)),
    ]
}

/// How one side of a dot uses its axes.
struct DotSide<'a> {
    batch: &'a [usize],
    contract: &'a [usize],
    rank: usize,
}

impl DotSide<'_> {
    fn free(&self) -> Vec<usize> {
        (0..self.rank).filter(|axis| !self.batch.contains(axis) && !self.contract.contains(axis)).collect()
    }
}

/// The cotangent of the side `mine`: `g`, in which the free axes of the side `theirs` are `their_axes`,
/// times the array `other` of that side.
fn dot_side(
    b: &mut Build,
    g: Var,
    their_axes: &[usize],
    other: Var,
    mine: &DotSide,
    theirs: &DotSide,
) -> Var {
    let batch = ((0..mine.batch.len()).collect(), theirs.batch.to_vec());
    let contract = (their_axes.to_vec(), theirs.free());
    let product = b.one(Op::Dot { batch, contract }, &[g, other]);
    // The axes of the product: batch, my free axes, the contracted axes in their order on the other side.
    let mut order: Vec<usize> = (0..mine.contract.len()).collect();
    order.sort_by_key(|&i| theirs.contract[i]);
    let mut axes = mine.batch.to_vec();
    axes.extend(mine.free());
    axes.extend(order.iter().map(|&i| mine.contract[i]));
    b.transpose(product, &inverse(&axes))
}

/// Both are convolutions: see [`reversed_kernel`] and [`kernel_gradient`].
fn conv(b: &mut Build, g: Var, x: &[Var], windows: [Window; 2], wants: &[bool]) -> Vec<Option<Var>> {
    let (images, kernel) = (b.array_type(x[0]).shape, b.array_type(x[1]).shape);
    let of_images = wants[0].then(|| {
        let windows = [0, 1].map(|i| windows[i].of_images(images[i + 1], kernel[i]));
        let kernel = reversed_kernel(b, x[1]);
        b.one(Op::Conv { windows }, &[g, kernel])
    });
    let of_kernel = wants[1].then(|| kernel_gradient(b, x[0], g, windows, [kernel[0], kernel[1]]));
    vec![of_images, of_kernel]
}

/// The cotangents of a product with a sparse or packed matrix (its own is dense and a plain product, the other factor's is such
/// a product again), of an MLP, and of rows in tables.
fn kernel(b: &mut Build, point: &Point, g: Var) -> Result<Vec<Option<Var>>, GradError> {
    let Point { equation, x, y, cotangents, wants, .. } = *point;
    let Op::Kernel(kernel) = equation.op else { unreachable!("the rule of kernels") };
    let along_width = |b: &mut Build, left, right| {
        b.one(Op::Dot { batch: (vec![], vec![]), contract: (vec![1], vec![1]) }, &[left, right])
    };
    match kernel {
        Kernel::SparseDot => Ok(vec![
            wants[0].then(|| along_width(b, g, x[1])),
            wants[1].then(|| b.one(Op::Kernel(Kernel::SparseDotTransposed), &[x[0], g])),
        ]),
        Kernel::SparseDotTransposed => Ok(vec![
            wants[0].then(|| along_width(b, x[1], g)),
            wants[1].then(|| b.one(Op::Kernel(Kernel::SparseDot), &[x[0], g])),
        ]),
        Kernel::Conv => {
            let of_images = wants[0].then(|| {
                let kernel = reversed_kernel(b, x[1]);
                b.one(Op::Kernel(Kernel::Conv), &[g, kernel])
            });
            let of_kernel = wants[1].then(|| b.one(Op::Kernel(Kernel::ConvGradient), &[x[0], g]));
            Ok(vec![of_images, of_kernel])
        }
        Kernel::ConvGradient => {
            let of_images = wants[0].then(|| {
                let kernel = reversed_kernel(b, g);
                b.one(Op::Kernel(Kernel::Conv), &[x[1], kernel])
            });
            let of_cotangent = wants[1].then(|| b.one(Op::Kernel(Kernel::Conv), &[x[0], g]));
            Ok(vec![of_images, of_cotangent])
        }
        Kernel::Pack { .. } => {
            Err(no_rule(equation, "bits have none: differentiate by the weights, or do not pack"))
        }
        Kernel::PackedDot => {
            let w = wants[0].then(|| rows_of_numbers(b, x, x[3]));
            let op = Op::Kernel(Kernel::PackedDotTransposed);
            let by_w = wants[3].then(|| b.one(op, &[x[0], x[1], x[2], g]));
            Ok(vec![w.map(|w| along_width(b, g, w)), None, None, by_w])
        }
        Kernel::PackedDotTransposed => {
            let rows = wants[0].then(|| rows_of_numbers(b, x, g));
            let by_g = wants[3].then(|| b.one(Op::Kernel(Kernel::PackedDot), &[x[0], x[1], x[2], g]));
            Ok(vec![rows.map(|rows| along_width(b, x[3], rows)), None, None, by_g])
        }
        Kernel::Mlp { layers, activation } => {
            let (hidden, last) = (&y[..layers - 1], cotangents[layers - 1]);
            if cotangents[..layers - 1].iter().any(Option::is_some) || last.is_none() {
                return Err(no_rule(equation, "only the last output of an MLP has one"));
            }
            let op = Op::Kernel(Kernel::MlpGradient { layers, activation, input: wants[0] });
            let gradients = b.many(op, &[x, hidden, &[g]].concat()).into_iter().map(Some);
            let first = if wants[0] { None } else { Some(None) };
            Ok(first.into_iter().chain(gradients).collect())
        }
        Kernel::Recurrent { cell } => {
            let remembered = cell.remembered();
            if cotangents[remembered].is_some() {
                return Err(no_rule(equation, "only what a cell remembers has one"));
            }
            let known = y.iter().zip(cotangents).take(remembered);
            let cotangents: Vec<Var> =
                known.map(|(y, g)| g.unwrap_or_else(|| b.full_like(*y, 0.0))).collect();
            let op = Op::Kernel(Kernel::RecurrentGradient { cell });
            let mut gradients = b.many(op, &[x, y, &cotangents].concat()).into_iter().map(Some);
            let read = gradients.next().flatten();
            Ok([read, None].into_iter().chain(gradients).collect())
        }
        Kernel::LinearRecurrence { reverse } => {
            // The cotangent of a step goes on to the step before, by the factors of the step.
            let next = shifted(b, x[0], 1, 0.0, !reverse);
            let none = b.full_like(x[2], 0.0);
            let of_terms =
                b.one(Op::Kernel(Kernel::LinearRecurrence { reverse: !reverse }), &[next, g, none]);
            let steps = b.array_type(y[0]).shape[0];
            let first = if reverse { steps - 1 } else { 0 };
            let before = shifted(b, y[0], 1, 0.0, reverse);
            let shape = b.array_type(x[2]).shape;
            let of_first = |b: &mut Build, x: Var| {
                let entry = b.slice_axis(x, 0, first..first + 1);
                b.reshape(entry, &shape)
            };
            let (g_first, factor) = (of_first(b, of_terms), of_first(b, x[0]));
            let of_begin = b.mul(g_first, factor);
            let of_factors = wants[0].then(|| {
                let by_begin = b.mul(g_first, x[2]);
                let by_begin = b.reshape(by_begin, &[&[1], &shape[..]].concat());
                let others = b.mul(of_terms, before);
                let (after, ahead) = if reverse { (0, first) } else { (steps - 1, 0) };
                let by_begin = b.pad_axis(by_begin, 0, ahead, after);
                b.add(others, by_begin)
            });
            Ok(vec![of_factors, Some(of_terms), Some(of_begin)])
        }
        Kernel::MlpGradient { .. } | Kernel::RecurrentGradient { .. } => {
            Err(no_rule(equation, "it is a gradient itself"))
        }
        Kernel::Adam => Err(no_rule(equation, "it is a step along a gradient")),
        Kernel::PutBack { .. } | Kernel::TakeColumns { .. } => {
            Err(no_rule(equation, "it belongs to a loop, which has none"))
        }
        Kernel::PutRow => {
            let shape = b.array_type(g).shape;
            let (written, zeros) = (of_rows(b, &shape, x[1]), b.full_like(g, 0.0));
            let tables = wants[0].then(|| b.select(written, zeros, g));
            let rows = wants[2].then(|| {
                let of_rows = b.select(written, g, zeros);
                b.reduce(Reduction::Sum, of_rows, &[0])
            });
            Ok(vec![tables, None, rows])
        }
        Kernel::TakeRow => {
            let shape = b.array_type(x[0]).shape;
            let tables = wants[0].then(|| {
                let (read, g) = (of_rows(b, &shape, x[1]), as_tables(b, g, &shape));
                let zeros = b.full_like(g, 0.0);
                b.select(read, g, zeros)
            });
            let rows = wants[2].then(|| {
                let (there, zeros) = (have_rows(b, &shape, x[1]), b.full_like(g, 0.0));
                b.select(there, zeros, g)
            });
            Ok(vec![tables, None, rows])
        }
    }
}

/// The rows of `w` `[I, W]` that belong to the numbers of a packed matrix, whose parts are the first three of `x`.
fn rows_of_numbers(b: &mut Build, x: &[Var], w: Var) -> Var {
    let numbers = b.array_type(x[0]).shape[1];
    let columns = b.slice_axis(x[2], 0, 0..numbers);
    b.gather(w, columns, 0)
}

/// Adds the cotangent of each gathered entry to the entry that it was read from.
fn gather(b: &mut Build, g: Var, x: Var, indices: Var, axis: usize) -> Var {
    let last = b.array_type(x).shape[axis].saturating_sub(1);
    let (zero, last) = (b.full_like(indices, 0.0), b.full_like(indices, last as f64));
    let not_negative = b.binary(Binary::Max, indices, zero);
    let clamped = b.binary(Binary::Min, not_negative, last);
    let zeros = b.full_like(x, 0.0);
    b.scatter(ScatterKind::Add, zeros, clamped, g, axis)
}

/// The cotangents of the updates of a scatter: where they went to, and 0 for those that were dropped.
fn scattered(b: &mut Build, g: Var, indices: Var, updates: Var, axis: usize) -> Var {
    let size = b.array_type(g).shape[axis];
    let (zero, size) = (b.full_like(indices, 0.0), b.full_like(indices, size as f64));
    let (low, high) = (b.compare(Comparison::Ge, indices, zero), b.compare(Comparison::Lt, indices, size));
    let inside = b.binary(Binary::And, low, high);
    let read = b.gather(g, indices, axis);
    let (updates, rank) = (b.array_type(updates), b.array_type(indices).rank());
    let inside = b.broadcast(inside, &updates.shape, &(axis..axis + rank).collect::<Vec<_>>());
    let zeros = b.full(&updates, 0.0);
    b.select(inside, read, zeros)
}

fn no_rule(equation: &Equation, fix: &'static str) -> GradError {
    GradError::NoRule { op: equation.op.name(), location: equation.location, fix }
}

fn plus(b: &mut Build, x: Var, value: f64) -> Var {
    let value = b.full_like(x, value);
    b.add(x, value)
}

fn times(b: &mut Build, x: Var, value: f64) -> Var {
    let value = b.full_like(x, value);
    b.mul(x, value)
}

fn one_minus(b: &mut Build, x: Var) -> Var {
    let one = b.full_like(x, 1.0);
    b.sub(one, x)
}

/// The permutation that undoes `permutation`.
fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    for (i, &axis) in permutation.iter().enumerate() {
        inverse[axis] = i;
    }
    inverse
}
