//! A recurrent cell over a whole sequence in one call: forwards through all steps, and backwards through them.
//!
//! A step of a cell is a product of a few rows and some elementwise mathematics, too little work for a loop of general operations
//! around it: those spend their time on launches. Here the weights are arranged once for all steps, and a row stays in the cache
//! from step to step. Backwards, only the cotangent of what is remembered goes step by step; the gradient of the weights is summed
//! for several steps at a time, as a product of many rows.
//!
//! In this module the columns of each gate are padded to whole vectors; `wide` is the padded number of units.

use std::ops::Range;

use super::call::Flag;
use super::lanes::{Lanes, best_lanes};
use super::matrices::{Memory, Padded, Right, Scratch, add_up_rows, copy_rows, is_large, padded};
use super::product::{Left, Numbers, Start, panel, product};
use super::tanh::{sigmoid, tanh};

/// The cells whose steps hang on each other by a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    Lstm,
    Gru,
}

impl CellKind {
    /// Gates, that is columns of the weights for each unit.
    pub fn gates(self) -> usize {
        match self {
            CellKind::Lstm => 4,
            CellKind::Gru => 3,
        }
    }

    /// Numbers that a unit remembers: what it puts out, and an LSTM its memory.
    pub fn remembered(self) -> usize {
        match self {
            CellKind::Lstm => 2,
            CellKind::Gru => 1,
        }
    }
}

/// A cell of `H` units and `G` gates.
pub struct Cell<'a> {
    pub kind: CellKind,
    pub units: usize,
    /// `[H, G x H]`
    pub kernel: &'a [f32],
    /// `[G x H]`
    pub bias: &'a [f32],
}

/// What `N` cells with the same weights read in `T` steps.
pub struct Sequence<'a> {
    pub steps: usize,
    pub rows: usize,
    /// What the gates get of the input, `[T, N, G x H]`.
    pub read: &'a [f32],
    /// Where nothing was remembered before the step, `[T, N]`.
    pub starts: &'a [Flag],
    /// What was remembered at the beginning, each `[N, H]`.
    pub begin: Vec<&'a [f32]>,
}

/// Where the gradients of some rows of a sequence go.
pub struct Gradient<'a> {
    /// For each step the rows' `[.., G x H]`.
    pub read: Vec<&'a mut [f32]>,
    pub kernel: &'a mut [f32],
    pub bias: &'a mut [f32],
    /// The rows' `[.., H]` of each array that was remembered at the beginning.
    pub begin: Vec<&'a mut [f32]>,
}

best_lanes! {
    /// Runs some rows of the sequence through the cell. `outputs` gets what is remembered after each step: for each array of it,
    /// and each step, the rows' `[.., H]`; and last what the step mixed of it, `[.., G x H]`.
    pub fn forward = forward_with(
        cell: &Cell,
        sequence: &Sequence,
        rows: Range<usize>,
        outputs: &mut [Vec<&mut [f32]>],
    )
}

best_lanes! {
    /// The gradients of some rows of the sequence, from the `cotangents` `[T, N, H]` of what was remembered after each step. `outputs` are
    /// those of all rows.
    pub fn backward = backward_with(
        cell: &Cell,
        sequence: &Sequence,
        outputs: &[&[f32]],
        cotangents: &[&[f32]],
        rows: Range<usize>,
        gradient: &mut Gradient,
    )
}

/// Rows of a product that pay for a copy of the right factor; steps backwards are taken together until they have so many.
const BLOCK: usize = 48;

impl Sequence<'_> {
    /// Numbers of an array `[T, N, width]`.
    pub fn size(&self, width: usize) -> usize {
        self.steps * self.rows * width
    }

    /// Some rows of a step in an array `[T, N, width]`.
    fn of_step<'a, T>(&self, array: &'a [T], step: usize, rows: &Range<usize>, width: usize) -> &'a [T] {
        &array[(step * self.rows + rows.start) * width..][..rows.len() * width]
    }
}

impl Cell<'_> {
    fn wide(&self) -> usize {
        padded(self.units)
    }

    /// The padded columns of all gates.
    fn width(&self) -> usize {
        self.kind.gates() * self.wide()
    }
}

/// The right factor `numbers` of a product, in panels if it is large and has uses enough.
#[inline(always)]
fn factor<'a, L: Lanes>(
    numbers: &'a [f32],
    width: usize,
    uses: usize,
    scratch: &mut Scratch<'a>,
) -> Right<'a> {
    match uses >= BLOCK && is_large(numbers.len()) {
        true => Right::panels(numbers, width, panel::<L>(), scratch),
        false => Right::plain(Padded { numbers, width }, panel::<L>()),
    }
}

/// Zeros in the rows of `matrix` whose flag is set.
fn forget(starts: &[Flag], matrix: &mut [f32], wide: usize) {
    for (start, row) in starts.iter().zip(matrix.chunks_exact_mut(wide)) {
        if start.holds() {
            row.fill(0.0);
        }
    }
}

#[inline(always)]
unsafe fn forward_with<L: Lanes>(
    cell: &Cell,
    sequence: &Sequence,
    rows: Range<usize>,
    outputs: &mut [Vec<&mut [f32]>],
) {
    let (count, units, wide, width) = (rows.len(), cell.units, cell.wide(), cell.width());
    let remembered = sequence.begin.len();
    let in_panels = width.next_multiple_of(panel::<L>());
    let mut memory =
        Memory::of((units + 1) * width + units * in_panels + count * (2 * width + remembered * wide));
    let mut scratch = memory.scratch();
    let [kernel, bias] =
        [cell.kernel, cell.bias].map(|weights| Padded::new(weights, units, &mut scratch).numbers);
    let kernel = factor::<L>(kernel, width, sequence.steps * count, &mut scratch);
    let mixed = scratch.take(count * width);
    let mut carry: Vec<&mut [f32]> = (0..remembered).map(|_| scratch.take(count * wide)).collect();
    for (carry, begin) in carry.iter_mut().zip(&sequence.begin) {
        copy_rows(sequence.of_step(begin, 0, &rows, units), units, carry, wide);
    }
    for step in 0..sequence.steps {
        let starts = sequence.of_step(sequence.starts, step, &rows, 1);
        carry.iter_mut().for_each(|carry| forget(starts, carry, wide));
        let read = sequence.of_step(sequence.read, step, &rows, cell.kind.gates() * units);
        let read = Padded::new(read, units, &mut scratch.part()).numbers;
        let left = Left { numbers: carry[0], row_step: wide, inner_step: 1 };
        // SAFETY: the caller's instruction set is that of `L`.
        unsafe {
            product::<L, Numbers>(left, count, units, kernel, Start::Row(bias), mixed);
            match &mut carry[..] {
                [hidden] => gru_step::<L>(read, mixed, hidden, wide),
                [hidden, memory] => lstm_step::<L>(read, mixed, hidden, memory, wide),
                _ => unreachable!("a cell remembers one or two arrays"),
            }
        }
        let results = carry.iter().map(|carry| &**carry).chain([&*mixed]);
        for (result, outputs) in results.zip(&mut *outputs) {
            copy_rows(result, wide, outputs[step], units);
        }
    }
}

#[inline(always)]
unsafe fn backward_with<L: Lanes>(
    cell: &Cell,
    sequence: &Sequence,
    outputs: &[&[f32]],
    cotangents: &[&[f32]],
    rows: Range<usize>,
    gradient: &mut Gradient,
) {
    let (count, units, wide, width) = (rows.len(), cell.units, cell.wide(), cell.width());
    let columns = cell.kind.gates() * units;
    let at_once = (BLOCK / count.max(1)).clamp(1, sequence.steps.max(1));
    let remembered = sequence.begin.len();
    let block = at_once * count;
    let in_panels = |width: usize| width.next_multiple_of(panel::<L>());
    let mut memory = Memory::of(
        (2 * units + 1) * width
            + width * in_panels(wide)
            + block * (wide + width + in_panels(width))
            + count * (2 * width + (remembered + 2) * wide),
    );
    let mut scratch = memory.scratch();
    let kernel = Padded::new(cell.kernel, units, &mut scratch).numbers;
    let transposed = Right::transposed(kernel, width, panel::<L>(), &mut scratch);
    let mut zeros = |size: usize| {
        let part = scratch.take(size);
        part.fill(0.0);
        part
    };
    let (kernel_sums, bias_sums) = (zeros(units * width), zeros(width));
    let mut carry: Vec<&mut [f32]> = (0..remembered).map(|_| zeros(count * wide)).collect();
    let (before, mixed) = (scratch.take(block * wide), scratch.take(block * width));
    let of_read = scratch.take(count * width);
    // Some rows before a step of array `index` of what is remembered.
    let copy_before = |index: usize, step: usize, to: &mut [f32]| {
        let from = match step {
            0 => sequence.of_step(sequence.begin[index], 0, &rows, units),
            _ => sequence.of_step(outputs[index], step - 1, &rows, units),
        };
        copy_rows(from, units, to, wide);
        forget(sequence.of_step(sequence.starts, step, &rows, 1), to, wide);
    };
    let mut last = sequence.steps;
    while last > 0 {
        let first = last.saturating_sub(at_once);
        let block = (last - first) * count;
        let (before, mixed) = (&mut before[..block * wide], &mut mixed[..block * width]);
        for (step, before) in (first..last).zip(before.chunks_exact_mut((count * wide).max(1))) {
            copy_before(0, step, before);
        }
        for step in (first..last).rev() {
            let at = step - first;
            let mixed = &mut mixed[at * count * width..][..count * width];
            copy_rows(sequence.of_step(outputs[remembered], step, &rows, columns), units, mixed, wide);
            let mut scratch = scratch.part();
            for (carry, cotangents) in carry.iter_mut().zip(cotangents) {
                add_rows(sequence.of_step(cotangents, step, &rows, units), units, carry, wide);
            }
            let read = sequence.of_step(sequence.read, step, &rows, columns);
            let read = Padded::new(read, units, &mut scratch).numbers;
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe {
                match &mut carry[..] {
                    [hidden] => {
                        let before = &before[at * count * wide..][..count * wide];
                        gru_back::<L>(read, before, mixed, of_read, hidden, wide);
                    }
                    [hidden, memory] => {
                        let (old, new) = (scratch.take(count * wide), scratch.take(count * wide));
                        copy_before(1, step, old);
                        copy_rows(sequence.of_step(outputs[1], step, &rows, units), units, new, wide);
                        lstm_back::<L>(read, [old, new], mixed, of_read, [hidden, memory], wide);
                    }
                    _ => unreachable!("a cell remembers one or two arrays"),
                }
                let left = Left { numbers: mixed, row_step: width, inner_step: 1 };
                product::<L, Numbers>(left, count, width, transposed, Start::Sum, carry[0]);
            }
            let starts = sequence.of_step(sequence.starts, step, &rows, 1);
            carry.iter_mut().for_each(|carry| forget(starts, carry, wide));
            copy_rows(of_read, wide, gradient.read[step], units);
        }
        let factor = factor::<L>(mixed, width, units, &mut scratch.part());
        let left = Left { numbers: before, row_step: 1, inner_step: wide };
        // SAFETY: as above.
        unsafe {
            add_up_rows::<L>(Padded { numbers: mixed, width }, bias_sums);
            product::<L, Numbers>(left, units, block, factor, Start::Sum, kernel_sums);
        }
        last = first;
    }
    copy_rows(kernel_sums, wide, gradient.kernel, units);
    copy_rows(bias_sums, wide, gradient.bias, units);
    for (carry, begin) in carry.iter().zip(&mut gradient.begin) {
        copy_rows(carry, wide, begin, units);
    }
}

/// Adds rows of `width` numbers to rows that are `wide`.
#[inline(always)]
fn add_rows(from: &[f32], width: usize, to: &mut [f32], wide: usize) {
    for (from, to) in from.chunks_exact(width).zip(to.chunks_exact_mut(wide)) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    }
}

/// Part `gate` of a row of gates, at the vector that begins at unit `at`.
#[inline(always)]
unsafe fn load<L: Lanes>(row: &[f32], gate: usize, wide: usize, at: usize) -> L {
    debug_assert!(gate * wide + at + L::WIDTH <= row.len());
    // SAFETY: the row has all vectors of its gates.
    unsafe { L::load(row.as_ptr().add(gate * wide + at)) }
}

#[inline(always)]
unsafe fn store<L: Lanes>(vector: L, row: &mut [f32], gate: usize, wide: usize, at: usize) {
    debug_assert!(gate * wide + at + L::WIDTH <= row.len());
    // SAFETY: as above.
    unsafe { vector.store(row.as_mut_ptr().add(gate * wide + at)) };
}

/// `1 - x`
#[inline(always)]
unsafe fn rest<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe { L::splat(1.0).sub(x) }
}

/// The derivative of the sigmoid that had the result `y`.
#[inline(always)]
unsafe fn slope<L: Lanes>(y: L) -> L {
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe { y.mul(rest(y)) }
}

/// The gates of a GRU at some units: reset, update and proposal.
#[inline(always)]
unsafe fn gru_gates<L: Lanes>(read: &[f32], mixed: &[f32], wide: usize, at: usize) -> [L; 3] {
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe {
        let sum = |gate| load::<L>(read, gate, wide, at).add(load(mixed, gate, wide, at));
        let reset = sigmoid(sum(0));
        let proposal = tanh(reset.mul_add(load(mixed, 2, wide, at), load(read, 2, wide, at)));
        [reset, sigmoid(sum(1)), proposal]
    }
}

/// A step of a GRU: `hidden` becomes what is put out.
#[inline(always)]
unsafe fn gru_step<L: Lanes>(read: &[f32], mixed: &[f32], hidden: &mut [f32], wide: usize) {
    let rows = read.chunks_exact(3 * wide).zip(mixed.chunks_exact(3 * wide));
    for ((read, mixed), hidden) in rows.zip(hidden.chunks_exact_mut(wide)) {
        for at in (0..wide).step_by(L::WIDTH) {
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe {
                let [_, update, proposal] = gru_gates::<L>(read, mixed, wide, at);
                let old: L = load(hidden, 0, wide, at);
                store(update.mul_add(old.sub(proposal), proposal), hidden, 0, wide, at);
            }
        }
    }
}

/// Backwards through a step of a GRU that had `before` in mind. `mixed` becomes its cotangent, `of_read` that of what was read, and
/// `cotangent`, that of the output, the cotangent of `before` but for its way through `mixed`.
#[inline(always)]
unsafe fn gru_back<L: Lanes>(
    read: &[f32],
    before: &[f32],
    mixed: &mut [f32],
    of_read: &mut [f32],
    cotangent: &mut [f32],
    wide: usize,
) {
    let width = 3 * wide;
    let inputs = read.chunks_exact(width).zip(before.chunks_exact(wide)).zip(mixed.chunks_exact_mut(width));
    let outputs = of_read.chunks_exact_mut(width).zip(cotangent.chunks_exact_mut(wide));
    for (((read, before), mixed), (of_read, cotangent)) in inputs.zip(outputs) {
        for at in (0..wide).step_by(L::WIDTH) {
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe {
                let [reset, update, proposal] = gru_gates::<L>(read, mixed, wide, at);
                let g: L = load(cotangent, 0, wide, at);
                let of_proposal = g.mul(rest(update)).mul(rest(proposal.mul(proposal)));
                let of_reset = of_proposal.mul(load(mixed, 2, wide, at)).mul(slope(reset));
                let of_update = g.mul(load::<L>(before, 0, wide, at).sub(proposal)).mul(slope(update));
                for (gate, of_gate) in [of_reset, of_update, of_proposal].into_iter().enumerate() {
                    store(of_gate, of_read, gate, wide, at);
                }
                for (gate, of_gate) in [of_reset, of_update, of_proposal.mul(reset)].into_iter().enumerate() {
                    store(of_gate, mixed, gate, wide, at);
                }
                store(g.mul(update), cotangent, 0, wide, at);
            }
        }
    }
}

/// The gates of an LSTM at some units: input, forget, candidate and output. A new cell remembers: its forget gate is open.
#[inline(always)]
unsafe fn lstm_gates<L: Lanes>(read: &[f32], mixed: &[f32], wide: usize, at: usize) -> [L; 4] {
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe {
        let sum = |gate| load::<L>(read, gate, wide, at).add(load(mixed, gate, wide, at));
        [sigmoid(sum(0)), sigmoid(sum(1).add(L::splat(1.0))), tanh(sum(2)), sigmoid(sum(3))]
    }
}

/// A step of an LSTM: `hidden` becomes what is put out, `memory` the new memory.
#[inline(always)]
unsafe fn lstm_step<L: Lanes>(
    read: &[f32],
    mixed: &[f32],
    hidden: &mut [f32],
    memory: &mut [f32],
    wide: usize,
) {
    let rows = read.chunks_exact(4 * wide).zip(mixed.chunks_exact(4 * wide));
    let remembered = hidden.chunks_exact_mut(wide).zip(memory.chunks_exact_mut(wide));
    for ((read, mixed), (hidden, memory)) in rows.zip(remembered) {
        for at in (0..wide).step_by(L::WIDTH) {
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe {
                let [input, forget, candidate, output] = lstm_gates::<L>(read, mixed, wide, at);
                let new = forget.mul_add(load(memory, 0, wide, at), input.mul(candidate));
                store(new, memory, 0, wide, at);
                store(output.mul(tanh(new)), hidden, 0, wide, at);
            }
        }
    }
}

/// Backwards through a step of an LSTM with these memories before and after it. `mixed` becomes its cotangent, `of_read` that of what was
/// read, which is the same; `cotangents`, those of what it put out and of the new memory, become zero and that of the old memory.
#[inline(always)]
unsafe fn lstm_back<L: Lanes>(
    read: &[f32],
    memories: [&[f32]; 2],
    mixed: &mut [f32],
    of_read: &mut [f32],
    cotangents: [&mut [f32]; 2],
    wide: usize,
) {
    let width = 4 * wide;
    let [hidden, memory] = cotangents;
    let inputs = read.chunks_exact(width).zip(mixed.chunks_exact_mut(width));
    let memories = memories[0].chunks_exact(wide).zip(memories[1].chunks_exact(wide));
    let outputs = hidden.chunks_exact_mut(wide).zip(memory.chunks_exact_mut(wide));
    let rows = inputs.zip(memories).zip(of_read.chunks_exact_mut(width).zip(outputs));
    for (((read, mixed), (old, new)), (of_read, (hidden, memory))) in rows {
        for at in (0..wide).step_by(L::WIDTH) {
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe {
                let [input, forget, candidate, output] = lstm_gates::<L>(read, mixed, wide, at);
                let g: L = load(hidden, 0, wide, at);
                let shown = tanh(load::<L>(new, 0, wide, at));
                let of_new = g.mul(output).mul_add(rest(shown.mul(shown)), load(memory, 0, wide, at));
                let of_gates = [
                    of_new.mul(candidate).mul(slope(input)),
                    of_new.mul(load(old, 0, wide, at)).mul(slope(forget)),
                    of_new.mul(input).mul(rest(candidate.mul(candidate))),
                    g.mul(shown).mul(slope(output)),
                ];
                for (gate, of_gate) in of_gates.into_iter().enumerate() {
                    store(of_gate, of_read, gate, wide, at);
                    store(of_gate, mixed, gate, wide, at);
                }
                store(L::splat(0.0), hidden, 0, wide, at);
                store(of_new.mul(forget), memory, 0, wide, at);
            }
        }
    }
}
