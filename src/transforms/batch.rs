//! vmap: from a graph for one example to equations for many.
//!
//! Every batched variable carries the batch axis at the same end: first (as in JAX), or last, where the
//! examples lie side by side in memory, so that scalar code over many environments becomes vector code
//! ([`Placement`]). What does not depend on a batched input stays unbatched. Predicates need care: a
//! batched `while_loop` runs until the last example is done and keeps the finished ones as they are, a
//! batched `cond` becomes a select, and a batched `rare` runs on groups of the rows that need it.

use crate::array::{ArrayType, DType};
use crate::ir::{
    Binary, Build, Comparison, Equation, Graph, Kernel, Location, Op, Reduction, ScatterKind, Unary, Var,
};

/// Where the batch axis stands in every batched array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    First,
    Last,
}

/// One vmap: the size of the batch and where its axis stands.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    pub size: usize,
    pub placement: Placement,
}

/// A variable of the outer graph, with or without the batch axis.
#[derive(Clone, Copy, Debug)]
pub struct Batched {
    pub var: Var,
    pub batched: bool,
}

/// Longest axis along which a write at a batched index becomes a one-hot select instead of a scatter.
const ONE_HOT_LIMIT: usize = 1024;

/// A batched `rare` works on groups of this fraction of the batch.
const RARE_GROUPS: usize = 16;

/// A batched `while_loop` over at least so many examples, with a body of at least so many equations, leaves its
/// last examples to a narrower loop: their number is often far below that of the batch.
const NARROWED_BATCH: usize = 512;
const NARROWED_BODY: usize = 64;

impl Batching {
    /// Appends the equations of `body` to `outer` for the whole batch; returns its outputs.
    pub fn apply(self, outer: &mut Graph, body: &Graph, inputs: &[Batched]) -> Vec<Batched> {
        let mut map: Vec<Option<Batched>> = vec![None; body.num_vars()];
        for (&inner, &input) in body.inputs.iter().zip(inputs) {
            map[inner.0 as usize] = Some(input);
        }
        let look_up = |map: &[Option<Batched>], var: Var| map[var.0 as usize].expect("undefined variable");
        for equation in &body.equations {
            let inputs: Vec<Batched> = equation.inputs.iter().map(|&var| look_up(&map, var)).collect();
            let outputs = if inputs.iter().any(|input| input.batched) {
                Rule { batching: self, body, equation, build: Build::new(outer, equation.location) }
                    .apply(&inputs)
            } else {
                let inputs: Vec<Var> = inputs.iter().map(|input| input.var).collect();
                let outputs = Build::new(outer, equation.location).many(equation.op.clone(), &inputs);
                outputs.into_iter().map(|var| Batched { var, batched: false }).collect()
            };
            for (inner, output) in equation.outputs.iter().zip(outputs) {
                map[inner.0 as usize] = Some(output);
            }
        }
        body.outputs.iter().map(|&var| look_up(&map, var)).collect()
    }

    /// `x` with a batch axis, along which it repeats if it had none.
    pub fn force(self, outer: &mut Graph, x: Batched, location: Location) -> Var {
        if x.batched {
            return x.var;
        }
        let array_type = outer.array_type(x.var).clone();
        let axes: Vec<usize> = (0..array_type.rank()).map(|axis| self.shift(axis)).collect();
        Build::new(outer, location).broadcast(x.var, &self.shape(&array_type.shape), &axes)
    }

    /// The batched version of `body` as a graph of its own; outputs are forced where asked.
    fn graph(self, body: &Graph, inputs: &[bool], force: &[bool], location: Location) -> Graph {
        let mut graph = Graph::new();
        let inputs: Vec<Batched> = body
            .inputs
            .iter()
            .zip(inputs)
            .map(|(&var, &batched)| {
                let array_type = body.array_type(var);
                let array_type = if batched { self.array_type(array_type) } else { array_type.clone() };
                Batched { var: graph.input(array_type), batched }
            })
            .collect();
        let outputs = self.apply(&mut graph, body, &inputs);
        graph.outputs = outputs
            .into_iter()
            .zip(force)
            .map(|(output, &force)| {
                assert!(force || !output.batched, "a batched output was expected to be unbatched");
                if force { self.force(&mut graph, output, location) } else { output.var }
            })
            .collect();
        graph
    }

    /// How many examples the batched [`Op::Rare`] works on at once.
    fn group_width(self) -> usize {
        (self.size / RARE_GROUPS).max(1)
    }

    /// The examples `indices` (i32, a vector) of `x`. For examples on the last axis the elements are taken one by one from
    /// the flattened array: a gather of whole columns would be followed by a transposition.
    fn take_rows(self, build: &mut Build, x: Var, indices: Var) -> Var {
        let shape = build.array_type(x).shape;
        let axis = self.position(shape.len() - 1);
        if self.placement == Placement::First || shape.len() == 1 {
            return build.gather(x, indices, axis);
        }
        let (rows, elements) = (shape[axis], shape[..axis].iter().product());
        let width = build.array_type(indices).shape[0];
        let flat = build.reshape(x, &[elements * rows]);
        let element = build.iota(DType::I32, &[elements, width], 0);
        let stride = build.full_like(element, rows as f64);
        let start = build.mul(element, stride);
        let row = build.broadcast(indices, &[elements, width], &[1]);
        let limit = build.full_like(row, rows as f64 - 1.0);
        let zero = build.full_like(row, 0.0);
        let row = build.binary(Binary::Min, row, limit);
        let row = build.binary(Binary::Max, row, zero);
        let place = build.add(start, row);
        let taken = build.gather(flat, place, 0);
        build.reshape(taken, &[&shape[..axis], &[width]].concat())
    }

    /// Where axis `axis` of one example stands in the batched array.
    fn shift(self, axis: usize) -> usize {
        match self.placement {
            Placement::First => axis + 1,
            Placement::Last => axis,
        }
    }

    fn shift_all(self, axes: &[usize]) -> Vec<usize> {
        axes.iter().map(|&axis| self.shift(axis)).collect()
    }

    /// `extra` at the place of the batch axis among one value per axis.
    fn with<T: Clone>(self, per_axis: &[T], extra: T) -> Vec<T> {
        let mut out = per_axis.to_vec();
        out.insert(self.position(per_axis.len()), extra);
        out
    }

    /// Where the batch axis stands in a batched array whose examples have `rank` axes.
    fn position(self, rank: usize) -> usize {
        match self.placement {
            Placement::First => 0,
            Placement::Last => rank,
        }
    }

    fn shape(self, shape: &[usize]) -> Vec<usize> {
        self.with(shape, self.size)
    }

    fn array_type(self, array_type: &ArrayType) -> ArrayType {
        ArrayType::new(array_type.dtype, self.shape(&array_type.shape))
    }
}

/// Which outputs of `graph` depend on batched inputs.
fn batched_outputs(graph: &Graph, inputs: &[bool]) -> Vec<bool> {
    let mut batched = vec![false; graph.num_vars()];
    for (var, &input) in graph.inputs.iter().zip(inputs) {
        batched[var.0 as usize] = input;
    }
    for equation in &graph.equations {
        let inputs: Vec<bool> = equation.inputs.iter().map(|var| batched[var.0 as usize]).collect();
        let outputs = equation_outputs(equation, &inputs);
        for (var, output) in equation.outputs.iter().zip(outputs) {
            batched[var.0 as usize] = output;
        }
    }
    graph.outputs.iter().map(|var| batched[var.0 as usize]).collect()
}

fn equation_outputs(equation: &Equation, inputs: &[bool]) -> Vec<bool> {
    match &equation.op {
        Op::While { cond, body, cond_captures, body_captures } => {
            while_carry(cond, body, *cond_captures, *body_captures, inputs).0
        }
        Op::Cond { on_true, on_false } => {
            let split = 1 + on_true.inputs.len();
            let on_true = batched_outputs(on_true, &inputs[1..split]);
            let on_false = batched_outputs(on_false, &inputs[split..]);
            on_true.iter().zip(&on_false).map(|(a, b)| inputs[0] || *a || *b).collect()
        }
        Op::Scan { body, captures, carry, .. } => {
            let carry = scan_carry(body, *captures, *carry, inputs);
            batched_outputs(body, &[&inputs[..*captures], &carry, &inputs[captures + carry.len()..]].concat())
        }
        Op::Rare { body, captures } => rare_operand(body, *captures, inputs),
        _ => vec![inputs.iter().any(|&input| input); equation.outputs.len()],
    }
}

/// Which carries of a while_loop are batched, and whether its condition is.
fn while_carry(
    cond: &Graph,
    body: &Graph,
    conds: usize,
    bodies: usize,
    inputs: &[bool],
) -> (Vec<bool>, bool) {
    let (cond_inputs, rest) = inputs.split_at(conds);
    let (body_inputs, carry) = rest.split_at(bodies);
    let mut carry = carry.to_vec();
    loop {
        let ends_apart = batched_outputs(cond, &[cond_inputs, &carry].concat())[0];
        let after = batched_outputs(body, &[body_inputs, &carry].concat());
        let next: Vec<bool> = carry.iter().zip(&after).map(|(a, b)| *a || *b || ends_apart).collect();
        if next == carry {
            return (carry, ends_apart);
        }
        carry = next;
    }
}

fn scan_carry(body: &Graph, captures: usize, carry: usize, inputs: &[bool]) -> Vec<bool> {
    let mut batched = inputs[captures..captures + carry].to_vec();
    loop {
        let inputs = [&inputs[..captures], &batched, &inputs[captures + carry..]].concat();
        let after = batched_outputs(body, &inputs);
        let next: Vec<bool> = batched.iter().zip(&after).map(|(a, b)| *a || *b).collect();
        if next == batched {
            return batched;
        }
        batched = next;
    }
}

fn rare_operand(body: &Graph, captures: usize, inputs: &[bool]) -> Vec<bool> {
    let mut operand = inputs[1 + captures..].to_vec();
    loop {
        let after = batched_outputs(body, &[&inputs[1..1 + captures], &operand].concat());
        let next: Vec<bool> = operand.iter().zip(&after).map(|(a, b)| *a || *b || inputs[0]).collect();
        if next == operand {
            return operand;
        }
        operand = next;
    }
}

/// The batching of one equation of `body` that has at least one batched input.
struct Rule<'a> {
    batching: Batching,
    body: &'a Graph,
    equation: &'a Equation,
    build: Build<'a>,
}

impl Rule<'_> {
    fn apply(&mut self, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let op = &self.equation.op;
        match op {
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Select
            | Op::Convert(_)
            | Op::Bitcast(_)
            | Op::StopGradient
            | Op::Threefry
            | Op::AllReduce => self.all_forced(op.clone(), inputs),
            Op::Barrier => {
                let vars: Vec<Var> = inputs.iter().map(|input| input.var).collect();
                let outputs = self.build.many(Op::Barrier, &vars);
                let batched = inputs.iter().map(|input| input.batched);
                outputs.into_iter().zip(batched).map(|(var, batched)| Batched { var, batched }).collect()
            }
            Op::Broadcast { shape, axes } => {
                let rank = shape.len();
                let mut all_axes = batching.shift_all(axes);
                all_axes.insert(batching.position(axes.len()), batching.position(rank));
                self.all_forced(Op::Broadcast { shape: batching.shape(shape), axes: all_axes }, inputs)
            }
            Op::Reshape { shape } => self.all_forced(Op::Reshape { shape: batching.shape(shape) }, inputs),
            Op::Transpose { permutation } => {
                let shifted = batching.shift_all(permutation);
                let permutation = batching.with(&shifted, batching.position(permutation.len()));
                self.all_forced(Op::Transpose { permutation }, inputs)
            }
            Op::Slice { start, limit, stride } => {
                let op = Op::Slice {
                    start: batching.with(start, 0),
                    limit: batching.with(limit, batching.size),
                    stride: batching.with(stride, 1),
                };
                self.all_forced(op, inputs)
            }
            Op::Pad { low, high, interior } => {
                let op = Op::Pad {
                    low: batching.with(low, 0),
                    high: batching.with(high, 0),
                    interior: batching.with(interior, 0),
                };
                if inputs[1].batched {
                    self.pad_with_own_fill(op, inputs)
                } else {
                    self.batched(op, &[inputs[0].var, inputs[1].var])
                }
            }
            Op::Concatenate { axis } => {
                self.all_forced(Op::Concatenate { axis: batching.shift(*axis) }, inputs)
            }
            Op::Reverse { axes } => self.all_forced(Op::Reverse { axes: batching.shift_all(axes) }, inputs),
            Op::Reduce { kind, axes } => {
                self.all_forced(Op::Reduce { kind: *kind, axes: batching.shift_all(axes) }, inputs)
            }
            Op::Dot { batch, contract } => self.dot(batch, contract, inputs),
            Op::Kernel(kernel) => self.kernel(*kernel, inputs),
            Op::DynamicSlice { sizes } => self.dynamic_slice(sizes, inputs),
            Op::DynamicUpdateSlice => self.dynamic_update_slice(inputs),
            Op::Gather { axis } => self.gather(*axis, inputs),
            Op::Scatter { axis, kind } => self.scatter(*axis, *kind, inputs),
            Op::While { cond, body, cond_captures, body_captures } => {
                self.while_loop(cond, body, *cond_captures, *body_captures, inputs)
            }
            Op::Cond { on_true, on_false } => self.cond(on_true, on_false, inputs),
            Op::Scan { body, captures, carry, length, reverse } => {
                self.scan(body, *captures, *carry, *length, *reverse, inputs)
            }
            Op::Rare { body, captures } => self.rare(body, *captures, inputs),
            Op::Constant(_) | Op::Iota { .. } | Op::ReplicaId => {
                unreachable!("an op without inputs is never batched")
            }
        }
    }

    /// The op on inputs that all have the batch axis.
    fn all_forced(&mut self, op: Op, inputs: &[Batched]) -> Vec<Batched> {
        let vars: Vec<Var> = inputs.iter().map(|&input| self.force(input)).collect();
        self.batched(op, &vars)
    }

    fn batched(&mut self, op: Op, inputs: &[Var]) -> Vec<Batched> {
        self.build.many(op, inputs).into_iter().map(|var| Batched { var, batched: true }).collect()
    }

    fn force(&mut self, x: Batched) -> Var {
        self.batching.force(self.build.graph, x, self.equation.location)
    }

    /// The type of input `i` for one example.
    fn example(&self, i: usize) -> ArrayType {
        self.body.array_type(self.equation.inputs[i]).clone()
    }

    /// A pad, already with the batch axis, whose fill differs between the examples: each example's own fill
    /// where a mask says that the element is new.
    fn pad_with_own_fill(&mut self, op: Op, inputs: &[Batched]) -> Vec<Batched> {
        let x = self.force(inputs[0]);
        let ArrayType { dtype, shape } = self.build.array_type(x);
        let zero = self.build.scalar(0.0, dtype);
        let padded = self.build.one(op.clone(), &[x, zero]);
        let old = self.build.full(&ArrayType::new(DType::Bool, shape), 1.0);
        let new = self.build.scalar(0.0, DType::Bool);
        let is_old = self.build.one(op, &[old, new]);
        let shape = self.build.array_type(padded).shape;
        let fill = self.build.broadcast(inputs[1].var, &shape, &[self.batching.position(shape.len() - 1)]);
        vec![Batched { var: self.build.select(is_old, padded, fill), batched: true }]
    }

    fn dot(
        &mut self,
        batch: &(Vec<usize>, Vec<usize>),
        contract: &(Vec<usize>, Vec<usize>),
        inputs: &[Batched],
    ) -> Vec<Batched> {
        let batching = self.batching;
        let free = |rank: usize| rank - batch.0.len() - contract.0.len();
        let (left_free, right_free) = (free(self.example(0).rank()), free(self.example(1).rank()));
        let shifted = |axes: &[usize], batched: bool| {
            if batched { batching.shift_all(axes) } else { axes.to_vec() }
        };
        let (left, right) = (inputs[0].batched, inputs[1].batched);
        let contract = (shifted(&contract.0, left), shifted(&contract.1, right));
        let mut batch = (shifted(&batch.0, left), shifted(&batch.1, right));
        let num_batch = batch.0.len();
        // Where the batch axis comes out.
        let from = match (left, right) {
            (true, true) => {
                batch.0.insert(0, batching.position(self.example(0).rank()));
                batch.1.insert(0, batching.position(self.example(1).rank()));
                0
            }
            (true, false) => num_batch + batching.position(left_free),
            (false, _) => num_batch + left_free + batching.position(right_free),
        };
        let product = self.build.one(Op::Dot { batch, contract }, &[inputs[0].var, inputs[1].var]);
        let to = batching.position(num_batch + left_free + right_free);
        vec![Batched { var: self.build.move_axis(product, from, to), batched: true }]
    }

    /// Kernels stay kernels, since the twins cannot read squeezed rows: more rows of the sparse matrix are one higher
    /// matrix, more columns of the other factor one wider matrix; with more of both, the examples are computed in turn.
    fn kernel(&mut self, kernel: Kernel, inputs: &[Batched]) -> Vec<Batched> {
        let size = self.batching.size;
        let in_front: Vec<Var> = (0..inputs.len()).map(|i| self.in_front(inputs[i], i)).collect();
        let batched: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let [height, width] = self.example(0).shape[..] else { unreachable!("x is a matrix") };
        let result = match (kernel, &batched[..]) {
            (Kernel::Squeeze | Kernel::SparseDot, [true, rest @ ..]) if !rest.contains(&true) => {
                let rows = self.build.reshape(in_front[0], &[size * height, width]);
                let results = self.build.one(Op::Kernel(kernel), &[&[rows], &in_front[1..]].concat());
                let width = self.build.array_type(results).shape[1];
                self.build.reshape(results, &[size, height, width])
            }
            (_, [false, _]) => {
                let [height, width] = self.example(1).shape[..] else { unreachable!("a matrix") };
                let side_by_side = self.build.move_axis(in_front[1], 0, 1);
                let wide = self.build.reshape(side_by_side, &[height, size * width]);
                let product = self.build.one(Op::Kernel(kernel), &[in_front[0], wide]);
                let height = self.build.array_type(product).shape[0];
                let products = self.build.reshape(product, &[height, size, width]);
                self.build.move_axis(products, 1, 0)
            }
            _ => self.kernel_in_turn(kernel, &in_front, &batched),
        };
        vec![Batched { var: self.build.move_axis(result, 0, self.batching.position(2)), batched: true }]
    }

    /// A matrix with the batch axis, if it has one, in front.
    fn in_front(&mut self, input: Batched, i: usize) -> Var {
        let rank = self.example(i).rank();
        if input.batched {
            self.build.move_axis(input.var, self.batching.position(rank), 0)
        } else {
            input.var
        }
    }

    /// A kernel on each example, with inputs whose batch axis is in front; so is the result's.
    fn kernel_in_turn(&mut self, kernel: Kernel, inputs: &[Var], batched: &[bool]) -> Var {
        // Captures first, as a scan's body takes them.
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| batched[i]);
        let mut body = Graph::new();
        let mut vars = vec![Var(0); inputs.len()];
        for &i in &order {
            vars[i] = body.input(self.example(i));
        }
        body.outputs = Build::new(&mut body, self.equation.location).many(Op::Kernel(kernel), &vars);
        let captures = batched.iter().filter(|batched| !**batched).count();
        let ordered: Vec<Var> = order.iter().map(|&i| inputs[i]).collect();
        let length = self.batching.size;
        let scan = Op::Scan { body: Box::new(body), captures, carry: 0, length, reverse: false };
        self.build.one(scan, &ordered)
    }

    fn dynamic_slice(&mut self, sizes: &[usize], inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        if inputs[1..].iter().all(|start| !start.batched) {
            let starts = self.starts_with_zero(&inputs[1..]);
            let op = Op::DynamicSlice { sizes: batching.with(sizes, batching.size) };
            return self.batched(op, &[vec![inputs[0].var], starts].concat());
        }
        let (flat, indices) = self.flat_window(inputs[0], sizes, &inputs[1..]);
        let taken = self.build.gather(flat, indices, 0);
        vec![Batched { var: taken, batched: true }]
    }

    fn dynamic_update_slice(&mut self, inputs: &[Batched]) -> Vec<Batched> {
        if inputs[2..].iter().all(|start| !start.batched) {
            let starts = self.starts_with_zero(&inputs[2..]);
            let (x, update) = (self.force(inputs[0]), self.force(inputs[1]));
            return self.batched(Op::DynamicUpdateSlice, &[vec![x, update], starts].concat());
        }
        let shape = self.batching.shape(&self.example(0).shape);
        let window = self.example(1).shape;
        let (flat, indices) = self.flat_window(inputs[0], &window, &inputs[2..]);
        let update = self.force(inputs[1]);
        let written = self.build.scatter(ScatterKind::Set, flat, indices, update, 0);
        vec![Batched { var: self.build.reshape(written, &shape), batched: true }]
    }

    /// Unbatched starts, with a zero for the batch axis.
    fn starts_with_zero(&mut self, starts: &[Batched]) -> Vec<Var> {
        let zero = self.build.scalar(0.0, DType::I32);
        let starts: Vec<Var> = starts.iter().map(|start| start.var).collect();
        self.batching.with(&starts, zero)
    }

    /// `x` as one axis, and the indices in it of a window at batched starts.
    fn flat_window(&mut self, x: Batched, window: &[usize], starts: &[Batched]) -> (Var, Var) {
        let batching = self.batching;
        let example = self.example(0);
        let batched_shape = batching.shape(&example.shape);
        let indices_shape = batching.shape(window);
        let x = self.force(x);
        let flat = self.build.reshape(x, &[batched_shape.iter().product()]);
        let stride_of = |axis: usize| batched_shape[axis + 1..].iter().product::<usize>();
        let batch_axis = batching.position(window.len());
        let lane = self.build.iota(DType::I32, &indices_shape, batch_axis);
        let mut indices = self.times(lane, stride_of(batch_axis));
        for (axis, &start) in starts.iter().enumerate() {
            let start = self.clamp(start, example.shape[axis] - window[axis]);
            let start = self.force(start);
            let start = self.build.broadcast(start, &indices_shape, &[batch_axis]);
            let offset = self.build.iota(DType::I32, &indices_shape, batching.shift(axis));
            let place = self.build.add(start, offset);
            let place = self.times(place, stride_of(batching.shift(axis)));
            indices = self.build.add(indices, place);
        }
        (flat, indices)
    }

    fn times(&mut self, x: Var, factor: usize) -> Var {
        let factor = self.build.full_like(x, factor as f64);
        self.build.mul(x, factor)
    }

    /// Into `0..=high`.
    fn clamp(&mut self, x: Batched, high: usize) -> Batched {
        let low = self.build.full_like(x.var, 0.0);
        let high = self.build.full_like(x.var, high as f64);
        let var = self.build.binary(Binary::Max, x.var, low);
        Batched { var: self.build.binary(Binary::Min, var, high), ..x }
    }

    fn gather(&mut self, axis: usize, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let [x, indices] = [inputs[0], inputs[1]];
        let (x_rank, indices_rank) = (self.example(0).rank(), self.example(1).rank());
        let out_rank = x_rank - 1 + indices_rank;
        if !indices.batched {
            return self.batched(Op::Gather { axis: batching.shift(axis) }, &[x.var, indices.var]);
        }
        if !x.batched {
            let taken = self.build.gather(x.var, indices.var, axis);
            let from = axis + batching.position(indices_rank);
            let taken = self.build.move_axis(taken, from, batching.position(out_rank));
            return vec![Batched { var: taken, batched: true }];
        }
        let indices = self.clamp(indices, self.example(0).shape[axis] - 1);
        let (flat, indices) = self.flat_rows(axis, x.var, indices.var);
        let taken = self.build.gather(flat, indices, 0);
        vec![Batched { var: self.rows_in_place(axis, indices_rank, x_rank, taken), batched: true }]
    }

    /// For indices and `x` that are both batched: `x` with `axis` and the batch axis joined as axis 0, and the
    /// indices into it.
    fn flat_rows(&mut self, axis: usize, x: Var, indices: Var) -> (Var, Var) {
        let batching = self.batching;
        let example = self.example(0);
        let size = example.shape[axis];
        let batch_axis = batching.position(example.rank());
        let mut rows = self.build.move_axis(x, batching.shift(axis), 0);
        let batch_axis = if batch_axis == 0 { 1 } else { batch_axis };
        rows = self.build.move_axis(rows, batch_axis, 1);
        let indices_shape = self.build.array_type(indices).shape;
        let lane_axis = batching.position(indices_shape.len() - 1);
        let lane = self.build.iota(DType::I32, &indices_shape, lane_axis);
        // Rows are [size, batch, ...] when the batch is last, [batch, size, ...] when it is first: no copy
        // is needed where `axis` is the only one.
        let indices = match batching.placement {
            Placement::Last => {
                let scaled = self.times(indices, batching.size);
                self.build.add(scaled, lane)
            }
            Placement::First => {
                rows = self.build.move_axis(rows, 0, 1);
                let scaled = self.times(lane, size);
                self.build.add(indices, scaled)
            }
        };
        let mut shape = vec![size * batching.size];
        shape.extend((0..example.rank()).filter(|&i| i != axis).map(|i| example.shape[i]));
        (self.build.reshape(rows, &shape), indices)
    }

    /// From [indices (batched), axes before `axis`, axes after] to the order of a batched gather.
    fn rows_in_place(&mut self, axis: usize, indices_rank: usize, x_rank: usize, taken: Var) -> Var {
        let batching = self.batching;
        let batch_axis = batching.position(indices_rank);
        let indices = (0..=indices_rank).filter(|&i| i != batch_axis);
        let before = (0..axis).map(|i| indices_rank + 1 + i);
        let after = (axis..x_rank - 1).map(|i| indices_rank + 1 + i);
        let order: Vec<usize> = before.chain(indices).chain(after).collect();
        let permutation = batching.with(&order, batch_axis);
        self.build.transpose(taken, &permutation)
    }

    /// The inverse of [`Rule::rows_in_place`].
    fn rows_in_front(&mut self, axis: usize, indices_rank: usize, x_rank: usize, updates: Var) -> Var {
        let batching = self.batching;
        let rank = indices_rank + x_rank - 1;
        let batch_axis = batching.position(rank);
        let place = |i: usize| if batch_axis == 0 { i + 1 } else { i };
        let indices: Vec<usize> = (axis..axis + indices_rank).map(place).collect();
        let mut permutation = batching.with(&indices, batch_axis);
        permutation.extend((0..axis).chain(axis + indices_rank..rank).map(place));
        self.build.transpose(updates, &permutation)
    }

    fn scatter(&mut self, axis: usize, kind: ScatterKind, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let (x_type, indices_rank) = (self.example(0), self.example(1).rank());
        let x = self.force(inputs[0]);
        let updates = self.force(inputs[2]);
        if !inputs[1].batched {
            let op = Op::Scatter { axis: batching.shift(axis), kind };
            return self.batched(op, &[x, inputs[1].var, updates]);
        }
        let size = x_type.shape[axis];
        if indices_rank == 0 && size <= ONE_HOT_LIMIT {
            return self.one_hot_write(axis, kind, x, inputs[1].var, updates);
        }
        let outside = self.outside(inputs[1].var, size);
        let clamped = self.clamp(inputs[1], size - 1);
        let (flat, indices) = self.flat_rows(axis, x, clamped.var);
        let nowhere = self.build.full_like(indices, (size * batching.size) as f64);
        let indices = self.build.select(outside, nowhere, indices);
        let updates = self.rows_in_front(axis, indices_rank, x_type.rank(), updates);
        let written = self.build.scatter(kind, flat, indices, updates, 0);
        vec![Batched { var: self.unflatten_rows(axis, &x_type, written), batched: true }]
    }

    /// The inverse of [`Rule::flat_rows`].
    fn unflatten_rows(&mut self, axis: usize, x_type: &ArrayType, flat: Var) -> Var {
        let batching = self.batching;
        let size = x_type.shape[axis];
        let rest = (0..x_type.rank()).filter(|&i| i != axis).map(|i| x_type.shape[i]);
        let front = match batching.placement {
            Placement::First => [batching.size, size],
            Placement::Last => [size, batching.size],
        };
        let shape: Vec<usize> = front.into_iter().chain(rest).collect();
        let rows = self.build.reshape(flat, &shape);
        match batching.placement {
            Placement::First => self.build.move_axis(rows, 1, axis + 1),
            Placement::Last => {
                let rows = self.build.move_axis(rows, 1, x_type.rank());
                self.build.move_axis(rows, 0, axis)
            }
        }
    }

    /// Whether an index is outside `0..size`.
    fn outside(&mut self, indices: Var, size: usize) -> Var {
        let zero = self.build.full_like(indices, 0.0);
        let size = self.build.full_like(indices, size as f64);
        let below = self.build.compare(Comparison::Lt, indices, zero);
        let above = self.build.compare(Comparison::Ge, indices, size);
        self.build.binary(Binary::Or, below, above)
    }

    /// A write of one entry per example along a short axis: a select by position instead of a scatter.
    fn one_hot_write(
        &mut self,
        axis: usize,
        kind: ScatterKind,
        x: Var,
        index: Var,
        update: Var,
    ) -> Vec<Batched> {
        let batching = self.batching;
        let shape = self.build.array_type(x).shape;
        let rank = shape.len() - 1;
        let positions = self.build.iota(DType::I32, &shape, batching.shift(axis));
        let index = self.build.broadcast(index, &shape, &[batching.position(rank)]);
        let here = self.build.compare(Comparison::Eq, positions, index);
        let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != batching.shift(axis)).collect();
        let update = self.build.broadcast(update, &shape, &axes);
        let value = match kind {
            ScatterKind::Set => update,
            ScatterKind::Add => self.build.add(x, update),
        };
        vec![Batched { var: self.build.select(here, value, x), batched: true }]
    }

    fn while_loop(
        &mut self,
        cond: &Graph,
        body: &Graph,
        conds: usize,
        bodies: usize,
        inputs: &[Batched],
    ) -> Vec<Batched> {
        let batching = self.batching;
        let location = self.equation.location;
        let flags: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let (carry, ends_apart) = while_carry(cond, body, conds, bodies, &flags);
        let captures = &inputs[..conds + bodies];
        let initial: Vec<Var> = inputs[conds + bodies..]
            .iter()
            .zip(&carry)
            .map(|(&input, &batched)| if batched { self.force(input) } else { input.var })
            .collect();
        let capture_vars: Vec<Var> = captures.iter().map(|capture| capture.var).collect();
        let cond_flags = [&flags[..conds], &carry].concat();
        let body_flags = [&flags[conds..conds + bodies], &carry].concat();
        let cond_graph = batching.graph(cond, &cond_flags, &[ends_apart], location);
        let body_graph = batching.graph(body, &body_flags, &carry, location);
        if !ends_apart {
            let op = Op::While {
                cond: Box::new(cond_graph),
                body: Box::new(body_graph),
                cond_captures: conds,
                body_captures: bodies,
            };
            let outputs = self.build.many(op, &[capture_vars, initial].concat());
            return pair(outputs, &carry);
        }
        // The carry gets one more array: which examples still run.
        let cond_inputs = [&capture_vars[..conds], &initial].concat();
        let running = self.build.graph.inline(&cond_graph, &cond_inputs)[0];
        let carry_types: Vec<ArrayType> =
            initial.iter().map(|&var| self.build.graph.array_type(var).clone()).collect();
        let running_type = self.build.array_type(running);
        // Once few examples still run, they go on alone.
        let narrows = batching.size >= NARROWED_BATCH && body.total_equations() >= NARROWED_BODY;
        let enough_run = if narrows {
            more_of_first_than(batching.group_width(), &running_type, &carry_types, location)
        } else {
            any_of_first(&running_type, &carry_types, location)
        };
        let mut step = Graph::new();
        let captures_in: Vec<Var> =
            capture_vars.iter().map(|&var| step.input(self.build.graph.array_type(var).clone())).collect();
        let running_in = step.input(running_type);
        let carry_in: Vec<Var> = carry_types.iter().map(|t| step.input(t.clone())).collect();
        let after = step.inline(&body_graph, &[&captures_in[conds..], &carry_in].concat());
        let kept: Vec<Var> = carry_in
            .iter()
            .zip(after)
            .map(|(&before, after)| select_examples(&mut step, batching, running_in, after, before, location))
            .collect();
        let goes_on = step.inline(&cond_graph, &[&captures_in[..conds], &kept].concat())[0];
        let still = Build::new(&mut step, location).binary(Binary::And, running_in, goes_on);
        step.outputs = [vec![still], kept].concat();
        let op = Op::While {
            cond: Box::new(enough_run),
            body: Box::new(step),
            cond_captures: 0,
            body_captures: conds + bodies,
        };
        let outputs = self.build.many(op, &[capture_vars, vec![running], initial].concat());
        let wide = pair(outputs[1..].to_vec(), &carry);
        if !narrows {
            return wide;
        }
        let mut rest = Graph::new();
        let inner = |var: &Var, graph: &Graph| graph.array_type(*var).clone();
        let mut inputs: Vec<Var> = cond.inputs[..conds].iter().map(|v| rest.input(inner(v, cond))).collect();
        inputs.extend(body.inputs.iter().map(|v| rest.input(inner(v, body))));
        let op = Op::While {
            cond: Box::new(cond.clone()),
            body: Box::new(body.clone()),
            cond_captures: conds,
            body_captures: bodies,
        };
        rest.outputs = Build::new(&mut rest, location).many(op, &inputs);
        let changed: Vec<bool> =
            body.outputs.iter().zip(&body.inputs[bodies..]).map(|(output, input)| output != input).collect();
        let running = Batched { var: outputs[0], batched: true };
        self.rare_rows(&rest, conds + bodies, &changed, &[&[running], captures, &wide].concat())
    }

    fn cond(&mut self, on_true: &Graph, on_false: &Graph, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let location = self.equation.location;
        let (pred, rest) = (inputs[0], &inputs[1..]);
        let (true_inputs, false_inputs) = rest.split_at(on_true.inputs.len());
        if pred.batched {
            let yes = batching.apply(self.build.graph, on_true, true_inputs);
            let no = batching.apply(self.build.graph, on_false, false_inputs);
            return yes
                .into_iter()
                .zip(no)
                .map(|(yes, no)| {
                    let (yes, no) = (self.force(yes), self.force(no));
                    let var = select_examples(self.build.graph, batching, pred.var, yes, no, location);
                    Batched { var, batched: true }
                })
                .collect();
        }
        let flags = |inputs: &[Batched]| inputs.iter().map(|input| input.batched).collect::<Vec<_>>();
        let (true_flags, false_flags) = (flags(true_inputs), flags(false_inputs));
        let outputs: Vec<bool> = batched_outputs(on_true, &true_flags)
            .iter()
            .zip(batched_outputs(on_false, &false_flags))
            .map(|(&a, b)| a || b)
            .collect();
        let op = Op::Cond {
            on_true: Box::new(batching.graph(on_true, &true_flags, &outputs, location)),
            on_false: Box::new(batching.graph(on_false, &false_flags, &outputs, location)),
        };
        let vars: Vec<Var> = inputs.iter().map(|input| input.var).collect();
        pair(self.build.many(op, &vars), &outputs)
    }

    fn scan(
        &mut self,
        body: &Graph,
        captures: usize,
        carry: usize,
        length: usize,
        reverse: bool,
        inputs: &[Batched],
    ) -> Vec<Batched> {
        let batching = self.batching;
        let mut flags: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let carry_flags = scan_carry(body, captures, carry, &flags);
        flags[captures..captures + carry].copy_from_slice(&carry_flags);
        let mut outputs = batched_outputs(body, &flags);
        outputs[..carry].copy_from_slice(&carry_flags);
        let graph = batching.graph(body, &flags, &outputs, self.equation.location);
        let mut vars = Vec::new();
        for (i, &input) in inputs.iter().enumerate() {
            let is_x = i >= captures + carry;
            vars.push(match (flags[i], is_x) {
                (false, _) => input.var,
                (true, false) => self.force(input),
                // The axis of the steps has to stay in front of the batch axis.
                (true, true) if batching.placement == Placement::First => {
                    self.build.move_axis(input.var, 0, 1)
                }
                (true, true) => input.var,
            });
        }
        let op = Op::Scan { body: Box::new(graph), captures, carry, length, reverse };
        let mut results = self.build.many(op, &vars);
        if batching.placement == Placement::First {
            for (result, _) in results.iter_mut().zip(&outputs).skip(carry).filter(|(_, batched)| **batched) {
                *result = self.build.move_axis(*result, 1, 0);
            }
        }
        pair(results, &outputs)
    }

    fn rare(&mut self, body: &Graph, captures: usize, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let flags: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let operand = rare_operand(body, captures, &flags);
        if inputs[0].batched {
            let changed: Vec<bool> = body
                .outputs
                .iter()
                .zip(&body.inputs[captures..])
                .map(|(output, input)| output != input)
                .collect();
            return self.rare_rows(body, captures, &changed, inputs);
        }
        let vars: Vec<Var> = inputs
            .iter()
            .enumerate()
            .map(|(i, &input)| {
                let forced = i > captures && operand[i - 1 - captures];
                if forced { self.force(input) } else { input.var }
            })
            .collect();
        let body_flags = [&flags[1..1 + captures], &operand].concat();
        let graph = batching.graph(body, &body_flags, &operand, self.equation.location);
        pair(self.build.many(Op::Rare { body: Box::new(graph), captures }, &vars), &operand)
    }

    /// The operand after `body` has run where the predicate, the first of `inputs`, holds: in a loop over groups of
    /// these rows. Only the operand's `changed` leaves are written back.
    fn rare_rows(
        &mut self,
        body: &Graph,
        captures: usize,
        changed: &[bool],
        inputs: &[Batched],
    ) -> Vec<Batched> {
        // Leaves that stay are read like captures. The order is: captures, leaves that stay, leaves that change.
        let operands = &inputs[1 + captures..];
        let order: Vec<usize> = [false, true]
            .into_iter()
            .flat_map(|change| (0..operands.len()).filter(move |&i| changed[i] == change))
            .collect();
        let staying = changed.iter().filter(|&&changed| !changed).count();
        let mut graph = body.clone();
        graph.inputs = body.inputs[..captures].to_vec();
        graph.inputs.extend(order.iter().map(|&i| body.inputs[captures + i]));
        graph.outputs = order[staying..].iter().map(|&i| body.outputs[i]).collect();
        let mut reads: Vec<Batched> = inputs[1..1 + captures].to_vec();
        reads.extend(order[..staying].iter().map(|&i| operands[i]));
        let writes: Vec<Var> = order[staying..].iter().map(|&i| self.force(operands[i])).collect();
        let written = self.rare_groups(&graph, inputs[0].var, &reads, &writes);
        let mut outputs = operands.to_vec();
        for (&i, var) in order[staying..].iter().zip(written) {
            outputs[i] = Batched { var, batched: true };
        }
        outputs
    }

    /// `body` maps (reads, writes) to new writes. A conditional first: most often no row is true at all, and then
    /// even the counting is skipped.
    fn rare_groups(&mut self, body: &Graph, pred: Var, reads: &[Batched], writes: &[Var]) -> Vec<Var> {
        let location = self.equation.location;
        let any = self.build.reduce(Reduction::Or, pred, &[0]);
        let read_vars: Vec<Var> = reads.iter().map(|read| read.var).collect();
        let vars = [&[pred], &read_vars[..], writes].concat();
        let types: Vec<ArrayType> = vars.iter().map(|&var| self.build.array_type(var)).collect();
        let mut some = Graph::new();
        let inputs: Vec<Var> = types.iter().map(|t| some.input(t.clone())).collect();
        let flags: Vec<bool> = reads.iter().map(|read| read.batched).collect();
        some.outputs = self.groups_loop(&mut Build::new(&mut some, location), body, &flags, &inputs);
        let mut none = Graph::new();
        none.outputs = types[1 + reads.len()..].iter().map(|t| none.input(t.clone())).collect();
        let op = Op::Cond { on_true: Box::new(some), on_false: Box::new(none) };
        self.build.many(op, &[&[any], &vars[..], writes].concat())
    }

    /// The loop over groups; `vars` are predicate, reads and writes.
    fn groups_loop(&self, outer: &mut Build, body: &Graph, flags: &[bool], vars: &[Var]) -> Vec<Var> {
        let batching = self.batching;
        let location = self.equation.location;
        let reads = flags.len();
        let rows = batching.size;
        let width = batching.group_width();
        let group = Batching { size: width, ..batching };
        let written = vars.len() - 1 - reads;
        let all = vec![true; written];
        let group_body = group.graph(body, &[flags, &all[..]].concat(), &all, location);

        let pred = vars[0];
        let ranks = inclusive_counts(outer, pred);
        let last =
            outer.one(Op::Slice { start: vec![rows - 1], limit: vec![rows], stride: vec![1] }, &[ranks]);
        let total = outer.reshape(last, &[]);
        let types: Vec<ArrayType> = vars.iter().map(|&var| outer.array_type(var)).collect();
        let start = outer.scalar(0.0, DType::I32);

        let mut go_on = Graph::new();
        let limit = go_on.input(ArrayType::scalar(DType::I32));
        let done = go_on.input(ArrayType::scalar(DType::I32));
        for array_type in &types[1 + reads..] {
            go_on.input(array_type.clone());
        }
        go_on.outputs = vec![Build::new(&mut go_on, location).compare(Comparison::Lt, done, limit)];

        let mut step = Graph::new();
        let ranks_type = outer.array_type(ranks);
        let pred_in = step.input(types[0].clone());
        let ranks_in = step.input(ranks_type);
        let reads_in: Vec<Var> = types[1..1 + reads].iter().map(|t| step.input(t.clone())).collect();
        let done_in = step.input(ArrayType::scalar(DType::I32));
        let writes_in: Vec<Var> = types[1 + reads..].iter().map(|t| step.input(t.clone())).collect();
        let mut build = Build::new(&mut step, location);
        let indices = rows_of_group(&mut build, ranks_in, done_in, width);
        let mut group_inputs = Vec::new();
        for (&read, &batched) in reads_in.iter().zip(flags) {
            group_inputs.push(if batched { batching.take_rows(&mut build, read, indices) } else { read });
        }
        for &write in &writes_in {
            group_inputs.push(batching.take_rows(&mut build, write, indices));
        }
        let results = build.graph.inline(&group_body, &group_inputs);
        let (position, in_group) = positions_in_group(&mut build, pred_in, ranks_in, done_in, width);
        let mut outputs = Vec::new();
        for (&before, result) in writes_in.iter().zip(results) {
            let spread = batching.take_rows(&mut build, result, position);
            outputs.push(select_examples(build.graph, batching, in_group, spread, before, location));
        }
        let one_group = build.scalar(width as f64, DType::I32);
        let next = build.add(done_in, one_group);
        step.outputs = [vec![next], outputs].concat();

        let op = Op::While {
            cond: Box::new(go_on),
            body: Box::new(step),
            cond_captures: 1,
            body_captures: 2 + reads,
        };
        let (reads, writes) = vars[1..].split_at(reads);
        let inputs = [&[total, pred, ranks][..], reads, &[start], writes].concat();
        outer.many(op, &inputs)[1..].to_vec()
    }
}

fn pair(vars: Vec<Var>, batched: &[bool]) -> Vec<Batched> {
    vars.into_iter().zip(batched).map(|(var, &batched)| Batched { var, batched }).collect()
}

/// The condition "more than `limit` examples still run" over a carry that starts with the running flags.
fn more_of_first_than(limit: usize, running: &ArrayType, rest: &[ArrayType], location: Location) -> Graph {
    let mut graph = Graph::new();
    let flags = graph.input(running.clone());
    for array_type in rest {
        graph.input(array_type.clone());
    }
    let mut build = Build::new(&mut graph, location);
    let ones = build.convert(flags, DType::I32);
    let count = build.reduce(Reduction::Sum, ones, &[0]);
    let limit = build.scalar(limit as f64, DType::I32);
    let more = build.compare(Comparison::Gt, count, limit);
    graph.outputs = vec![more];
    graph
}

/// The condition "any example still runs" over a carry that starts with the running flags.
fn any_of_first(running: &ArrayType, rest: &[ArrayType], location: Location) -> Graph {
    let mut graph = Graph::new();
    let flags = graph.input(running.clone());
    for array_type in rest {
        graph.input(array_type.clone());
    }
    let any = Build::new(&mut graph, location).reduce(Reduction::Or, flags, &[0]);
    graph.outputs = vec![any];
    graph
}

/// `on_true` for the examples whose flag in `cond` [batch] is set, else `on_false`.
fn select_examples(
    graph: &mut Graph,
    batching: Batching,
    cond: Var,
    on_true: Var,
    on_false: Var,
    location: Location,
) -> Var {
    if on_true == on_false {
        return on_true;
    }
    let mut build = Build::new(graph, location);
    let shape = build.array_type(on_true).shape;
    let cond = build.broadcast(cond, &shape, &[batching.position(shape.len() - 1)]);
    build.select(cond, on_true, on_false)
}

/// For a bool vector: how many are set up to and including each place, as i32.
///
/// The flags are packed into words of 64, whose bits are counted. (Sums of the vector with itself, shifted by 1, 2, 4, ...
/// would be fused into one kernel that computes every element again and again.)
fn inclusive_counts(build: &mut Build, flags: Var) -> Var {
    let size = build.array_type(flags).shape[0];
    let words = size.div_ceil(64);
    let shape = [words, 64];
    let no = build.scalar(0.0, DType::Bool);
    let op = Op::Pad { low: vec![0], high: vec![words * 64 - size], interior: vec![0] };
    let padded = build.one(op, &[flags, no]);
    let bits = build.reshape(padded, &shape);
    let bits = build.convert(bits, DType::U64);
    let place = build.iota(DType::U64, &shape, 1);
    let bits = build.binary(Binary::ShiftLeft, bits, place);
    let word = build.reduce(Reduction::Sum, bits, &[1]);

    // Within a word: the bits up to and including the place.
    let two = build.full_like(place, 2.0);
    let one = build.full_like(place, 1.0);
    let above = build.binary(Binary::ShiftLeft, two, place);
    let up_to = build.sub(above, one);
    let words_of = build.broadcast(word, &shape, &[0]);
    let masked = build.binary(Binary::And, words_of, up_to);
    let inside = build.unary(Unary::PopulationCount, masked);
    let inside = build.convert(inside, DType::I32);

    // Before the word: all bits of the words before it.
    let pairs = [words, words];
    let (own, other) = (build.iota(DType::I32, &pairs, 0), build.iota(DType::I32, &pairs, 1));
    let earlier = build.compare(Comparison::Lt, other, own);
    let counts = build.unary(Unary::PopulationCount, word);
    let counts = build.convert(counts, DType::I32);
    let counts = build.broadcast(counts, &pairs, &[1]);
    let none = build.full_like(counts, 0.0);
    let counts = build.select(earlier, counts, none);
    let before = build.reduce(Reduction::Sum, counts, &[1]);
    let before = build.broadcast(before, &shape, &[0]);

    let all = build.add(before, inside);
    let all = build.reshape(all, &[words * 64]);
    build.one(Op::Slice { start: vec![0], limit: vec![size], stride: vec![1] }, &[all])
}

/// The indices of the `width` set rows after the first `done` ones (past the last: some valid index), by
/// binary search in the counts.
fn rows_of_group(build: &mut Build, ranks: Var, done: Var, width: usize) -> Var {
    let rows = build.array_type(ranks).shape[0];
    let ordinal = build.iota(DType::I32, &[width], 0);
    let done = build.broadcast(done, &[width], &[]);
    let ordinal = build.add(ordinal, done);
    // The row with rank k + 1 is preceded by exactly the rows with rank at most k.
    let mut before = build.full_like(ordinal, 0.0);
    let mut step = rows.next_power_of_two();
    while step > 0 {
        let offset = build.full_like(before, step as f64 - 1.0);
        let last = build.add(before, offset);
        let rank = build.gather(ranks, last, 0);
        let skip = build.compare(Comparison::Le, rank, ordinal);
        let amount = build.full_like(before, step as f64);
        let further = build.add(before, amount);
        before = build.select(skip, further, before);
        step /= 2;
    }
    before
}

/// For every row: its place in the group that starts after `done` set rows, and whether it is in it.
fn positions_in_group(build: &mut Build, pred: Var, ranks: Var, done: Var, width: usize) -> (Var, Var) {
    let shape = build.array_type(ranks).shape;
    let done = build.broadcast(done, &shape, &[]);
    let position = build.sub(ranks, done);
    let one = build.full_like(position, 1.0);
    let position = build.sub(position, one);
    let zero = build.full_like(position, 0.0);
    let width = build.full_like(position, width as f64);
    let after_start = build.compare(Comparison::Ge, position, zero);
    let before_end = build.compare(Comparison::Lt, position, width);
    let inside = build.binary(Binary::And, after_start, before_end);
    (position, build.binary(Binary::And, inside, pred))
}
