//! The table of rules, one per op, and the rules of the ops that compute the same for every example.

use std::sync::Arc;

use super::{Batched, Placement, Rule};
use crate::array::{ArrayType, DType};
use crate::ir::{Build, Graph, Kernel, Native, Op, Var};

impl Rule<'_> {
    /// The outputs of the equation for the whole batch.
    pub(super) fn apply(&mut self, inputs: &[Batched]) -> Vec<Batched> {
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
            Op::Conv { .. } => self.conv(inputs),
            Op::Kernel(kernel) => self.kernel(*kernel, inputs),
            Op::Native(native) => self.native(*native, inputs),
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
            Op::Call { graph } => self.call(graph, inputs),
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

    pub(super) fn batched(&mut self, op: Op, inputs: &[Var]) -> Vec<Batched> {
        self.build.many(op, inputs).into_iter().map(|var| Batched { var, batched: true }).collect()
    }

    pub(super) fn force(&mut self, x: Batched) -> Var {
        self.batching.force(self.build.graph, x, self.equation.location)
    }

    /// The type of input `i` for one example.
    pub(super) fn example(&self, i: usize) -> ArrayType {
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

    /// More images are a longer batch, more kernels are more filters; with more of both, the examples are computed in turn.
    fn conv(&mut self, inputs: &[Batched]) -> Vec<Batched> {
        let (size, op) = (self.batching.size, self.equation.op.clone());
        let in_front = [self.in_front(inputs[0], 0), self.in_front(inputs[1], 1)];
        let [images, kernel] = [self.example(0).shape, self.example(1).shape];
        if !inputs[1].batched {
            let joined = self.build.reshape(in_front[0], &[&[size * images[0]], &images[1..]].concat());
            let output = self.build.one(op, &[joined, in_front[1]]);
            let shape = self.build.array_type(output).shape;
            let parts = self.build.reshape(output, &[&[size, images[0]], &shape[1..]].concat());
            return vec![self.behind(parts)];
        }
        if !inputs[0].batched {
            let side_by_side = self.build.move_axis(in_front[1], 0, 3);
            let joined = self.build.reshape(side_by_side, &[&kernel[..3], &[size * kernel[3]]].concat());
            let output = self.build.one(op, &[in_front[0], joined]);
            let shape = self.build.array_type(output).shape;
            let parts = self.build.reshape(output, &[&shape[..3], &[size, kernel[3]]].concat());
            let parts = self.build.move_axis(parts, 3, 0);
            return vec![self.behind(parts)];
        }
        self.in_turn(op, &in_front, &[true, true])
    }

    /// Kernels stay kernels: more rows of the matrix, or columns to pack, are one higher matrix, more columns of the other factor
    /// one wider matrix; with more of both, the examples are computed in turn.
    fn kernel(&mut self, kernel: Kernel, inputs: &[Batched]) -> Vec<Batched> {
        let size = self.batching.size;
        if let (Kernel::PutRow | Kernel::TakeRow, Placement::Last) = (kernel, self.batching.placement) {
            return self.rows_of_more_examples(kernel, inputs);
        }
        if let Kernel::LinearRecurrence { .. } = kernel {
            // Steps stay in front; the examples are more of what each step has.
            let mut operands = [0, 1, 2].map(|i| self.force(inputs[i]));
            let in_front = self.batching.placement == Placement::First;
            for operand in operands.iter_mut().take(2).filter(|_| in_front) {
                *operand = self.build.move_axis(*operand, 0, 1);
            }
            let result = self.build.one(Op::Kernel(kernel), &operands);
            let var = if in_front { self.build.move_axis(result, 1, 0) } else { result };
            return vec![Batched { var, batched: true }];
        }
        if kernel == Kernel::Conv {
            return self.conv(inputs);
        }
        if kernel.moves() {
            return self.twin(kernel, inputs);
        }
        let in_front: Vec<Var> = (0..inputs.len()).map(|i| self.in_front(inputs[i], i)).collect();
        let batched: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        // How many inputs hold the rows of the matrix.
        let parts = match kernel {
            Kernel::PackedDot | Kernel::PackedDotTransposed => 2,
            _ => 1,
        };
        let (of_matrix, others) = batched.split_at(parts);
        let rows_alone = !of_matrix.contains(&false) && !others.contains(&true);
        let last_alone = batched[..batched.len() - 1].iter().all(|batched| !batched);
        match kernel {
            Kernel::Pack { .. } if rows_alone => {
                let [columns, rows] = self.example(0).shape[..] else { unreachable!("x is a matrix") };
                let side_by_side = self.build.move_axis(in_front[0], 0, 1);
                let wide = self.build.reshape(side_by_side, &[columns, size * rows]);
                let packed = self.build.many(Op::Kernel(kernel), &[wide, in_front[1]]);
                packed.into_iter().map(|part| self.in_parts(part, rows)).collect()
            }
            Kernel::SparseDot | Kernel::PackedDot | Kernel::Mlp { .. } if rows_alone => {
                let height = self.example(0).shape[0];
                let mut operands = in_front.clone();
                for (i, operand) in operands.iter_mut().enumerate().take(parts) {
                    let width = self.example(i).shape[1];
                    *operand = self.build.reshape(*operand, &[size * height, width]);
                }
                let results = self.build.many(Op::Kernel(kernel), &operands);
                results.into_iter().map(|result| self.in_parts(result, height)).collect()
            }
            Kernel::SparseDot
            | Kernel::SparseDotTransposed
            | Kernel::PackedDot
            | Kernel::PackedDotTransposed
                if last_alone =>
            {
                let last = in_front.len() - 1;
                let [height, width] = self.example(last).shape[..] else { unreachable!("a matrix") };
                let side_by_side = self.build.move_axis(in_front[last], 0, 1);
                let wide = self.build.reshape(side_by_side, &[height, size * width]);
                let product = self.build.one(Op::Kernel(kernel), &[&in_front[..last], &[wide]].concat());
                let height = self.build.array_type(product).shape[0];
                let products = self.build.reshape(product, &[height, size, width]);
                let products = self.build.move_axis(products, 1, 0);
                vec![self.behind(products)]
            }
            // Large layers are products of XLA's, which take the examples as they are; a loop would copy the weights of each.
            Kernel::Mlp { .. } if !kernel.is_native_for(&self.examples()) => self.twin(kernel, inputs),
            _ => self.in_turn(Op::Kernel(kernel), &in_front, &batched),
        }
    }

    /// The kernel's ops in its place.
    fn twin(&mut self, kernel: Kernel, inputs: &[Batched]) -> Vec<Batched> {
        let twin = kernel.twin(&self.examples(), self.equation.location);
        self.batching.apply(self.build.graph, &twin, inputs)
    }

    /// The types of an example of each input.
    fn examples(&self) -> Vec<ArrayType> {
        (0..self.equation.inputs.len()).map(|i| self.example(i)).collect()
    }

    /// A kernel of rows in tables whose examples lie on the last axis: those of the batch are more of them.
    fn rows_of_more_examples(&mut self, kernel: Kernel, inputs: &[Batched]) -> Vec<Batched> {
        let size = self.batching.size;
        let joined = |rule: &mut Self, i: usize| {
            let shape = rule.example(i).shape;
            let (&examples, rest) = shape.split_last().expect("the examples");
            let forced = rule.force(inputs[i]);
            rule.build.reshape(forced, &[rest, &[examples * size]].concat())
        };
        let operands = [0, 1, 2].map(|i| joined(self, i));
        let result = self.build.one(Op::Kernel(kernel), &operands);
        let shape = self.build.array_type(result).shape;
        let (&joined, rest) = shape.split_last().expect("the examples");
        let var = self.build.reshape(result, &[rest, &[joined / size, size]].concat());
        vec![Batched { var, batched: true }]
    }

    /// More environments are further axes of the same call. Parameters that all of them share stay one row.
    fn native(&mut self, native: Native, inputs: &[Batched]) -> Vec<Batched> {
        let lead = native.lead + usize::from(self.batching.placement == Placement::First);
        let native = Native { lead, ..native };
        let several = self.example(0).rank() > 1;
        let operand = |rule: &mut Self, i: usize| {
            let (input, own) = (inputs[i], rule.example(i));
            let is_shared = native.is_params(i) && own.rank() == 1;
            match (is_shared, input.batched) {
                (true, false) => input.var,
                (true, true) if several => rule.rows_for_all(input.var, own.size(), lead, inputs[0]),
                _ => rule.force(input),
            }
        };
        let operands: Vec<Var> = (0..inputs.len()).map(|i| operand(self, i)).collect();
        self.batched(Op::Native(native), &operands)
    }

    /// Parameters of each example of this batch, `width` of them, for the environments that each example has.
    fn rows_for_all(&mut self, params: Var, width: usize, lead: usize, states: Batched) -> Var {
        let states = self.force(states);
        let mut shape = self.build.array_type(states).shape;
        shape[lead] = width;
        let axes = match self.batching.placement {
            Placement::First => [0, lead],
            Placement::Last => [lead, shape.len() - 1],
        };
        self.build.broadcast(params, &shape, &axes)
    }

    /// The parts of `height` rows of a matrix as examples.
    fn in_parts(&mut self, matrix: Var, height: usize) -> Batched {
        let width = self.build.array_type(matrix).shape[1];
        let parts = self.build.reshape(matrix, &[self.batching.size, height, width]);
        self.behind(parts)
    }

    /// A result whose batch axis is in front.
    fn behind(&mut self, result: Var) -> Batched {
        let rank = self.build.array_type(result).rank() - 1;
        Batched { var: self.build.move_axis(result, 0, self.batching.position(rank)), batched: true }
    }

    /// An input with the batch axis, if it has one, in front.
    fn in_front(&mut self, input: Batched, i: usize) -> Var {
        let rank = self.example(i).rank();
        if input.batched {
            self.build.move_axis(input.var, self.batching.position(rank), 0)
        } else {
            input.var
        }
    }

    /// An op on each example, with inputs whose batch axis is in front.
    fn in_turn(&mut self, op: Op, inputs: &[Var], batched: &[bool]) -> Vec<Batched> {
        // Captures first, as a scan's body takes them.
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| batched[i]);
        let mut body = Graph::new();
        let mut vars = vec![Var(0); inputs.len()];
        for &i in &order {
            vars[i] = body.input(self.example(i));
        }
        body.outputs = Build::new(&mut body, self.equation.location).many(op, &vars);
        let captures = batched.iter().filter(|batched| !**batched).count();
        let ordered: Vec<Var> = order.iter().map(|&i| inputs[i]).collect();
        let length = self.batching.size;
        let scan = Op::Scan { body: Arc::new(body), captures, carry: 0, length, reverse: false };
        self.build.many(scan, &ordered).into_iter().map(|result| self.behind(result)).collect()
    }
}
