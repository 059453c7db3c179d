//! Choice, loops, and the transforms as functions: `select`, `cond`, `rare`, `while_loop`, `scan`, `vmap`.
//!
//! A body is traced once, in a block of its own. What runs many times takes an `Fn`, what runs once an
//! `FnOnce`; a carry that changes its structure or types is an error at the caller's line that names the leaf.

use std::sync::Arc;

use crate::array::ArrayType;
use crate::ir::{Graph, Op, ScatterKind, Var};
use crate::runtime::DeviceKind;
use crate::transforms::batch::{Batched, Batching, Placement};
use crate::transforms::grad;

use super::array::{Array, Bool, Float, Int, IntoOperand, Kind, arange};
use super::trace::{Handle, Traced, emit, emit_with, target, trace_block};
use super::tree::{Tree, leaf_paths, leaf_types, leaves, rebuild};

/// Elementwise `on_true` where `cond` holds, else `on_false`; both are computed. Scalars (also a scalar
/// condition) meet arrays.
#[track_caller]
pub fn select<K: Kind>(cond: Bool, on_true: impl IntoOperand<K>, on_false: impl IntoOperand<K>) -> Array<K> {
    let [on_true, on_false] = super::array::meet("select", on_true.operand(), on_false.operand());
    let shape = if cond.rank() == 0 { on_true.shape() } else { cond.shape() };
    let mut fitted = [on_true, on_false];
    for array in &mut fitted {
        if array.rank() == 0 {
            *array = array.fill(&shape);
        }
    }
    let cond = if cond.rank() == 0 { cond.fill(&shape) } else { cond };
    Array::from_handle(emit(Op::Select, &[cond.handle(), fitted[0].handle(), fitted[1].handle()])[0])
}

/// [`select`] for every leaf of two trees of one structure. `cond` is a scalar, or meets the first axes of the
/// leaves.
#[track_caller]
pub fn select_tree<T: Tree>(cond: Bool, on_true: T, on_false: T) -> T {
    let yes = leaves(&on_true);
    let no = leaves(&on_false);
    same_types("select_tree", &on_true, &yes, &no);
    let mut chosen = Vec::new();
    for (yes, no) in yes.into_iter().zip(no) {
        let shape = yes.array_type().shape;
        let mut mask = cond;
        for axis in cond.rank()..shape.len() {
            mask = if cond.rank() == 0 { cond.fill(&shape) } else { mask.broadcast(axis, shape[axis]) };
        }
        let mask = if mask.rank() == 0 { mask.fill(&shape) } else { mask };
        chosen.push(emit(Op::Select, &[mask.handle(), yes, no])[0]);
    }
    rebuild(on_false, &chosen)
}

/// `on_true(operand)` if `cond` (a scalar) holds, else `on_false(operand)`; only one is run. Under vmap
/// with a condition that differs between examples, both are.
#[track_caller]
pub fn cond<T: Tree, Y: Tree>(
    cond: Bool,
    operand: T,
    on_true: impl FnOnce(T) -> Y,
    on_false: impl FnOnce(T) -> Y,
) -> Y {
    let mut result = None;
    let second = operand.duplicate();
    let yes = trace_block(&[], |_| keep(&mut result, on_true(operand)));
    let mut other = None;
    let no = trace_block(&[], |_| keep(&mut other, on_false(second)));
    let (result, other) = (result.expect("traced"), other.expect("traced"));
    same_types("cond: the branches", &result, &leaves(&result), &leaves(&other));
    let inputs = [vec![cond.handle()], yes.captures, no.captures].concat();
    let op = Op::Cond { on_true: Arc::new(yes.graph), on_false: Arc::new(no.graph) };
    rebuild(result, &emit(op, &inputs))
}

/// `body(operand)` if `cond` (a scalar) holds, else `operand`. Means the same as [`cond`](fn@cond) with an
/// identity, but under vmap the cost follows the number of examples whose condition holds (on a GPU only if `body` has
/// loops): use it for expensive, seldom events.
#[track_caller]
pub fn rare<T: Tree>(cond: Bool, operand: T, body: impl Fn(T) -> T) -> T {
    let types = leaf_types(&operand);
    let handles = leaves(&operand);
    let mut result = None;
    let shape = operand.duplicate();
    let traced = trace_block(&types, |parameters| keep(&mut result, body(rebuild(shape, &parameters))));
    let result = result.expect("traced");
    same_types("rare: the operand", &operand, &handles, &leaves(&result));
    let count = traced.captures.len();
    let inputs = [vec![cond.handle()], traced.captures.clone(), handles].concat();
    let op = Op::Rare { body: Arc::new(captures_first(traced, types.len())), captures: count };
    rebuild(result, &emit(op, &inputs))
}

/// Runs `body` on the carry while `go_on` (a bool scalar) holds.
#[track_caller]
pub fn while_loop<C: Tree>(init: C, go_on: impl Fn(&C) -> Bool, body: impl Fn(C) -> C) -> C {
    let types = leaf_types(&init);
    let handles = leaves(&init);
    let cond =
        trace_block(&types, |parameters| vec![go_on(&rebuild(init.duplicate(), &parameters)).handle()]);
    let mut result = None;
    let step =
        trace_block(&types, |parameters| keep(&mut result, body(rebuild(init.duplicate(), &parameters))));
    let result = result.expect("traced");
    same_types("while_loop: the carry", &init, &handles, &leaves(&result));
    let inputs = [cond.captures.clone(), step.captures.clone(), handles].concat();
    let op = Op::While {
        cond_captures: cond.captures.len(),
        body_captures: step.captures.len(),
        cond: Arc::new(captures_first(cond, types.len())),
        body: Arc::new(captures_first(step, types.len())),
    };
    rebuild(result, &emit(op, &inputs))
}

/// Runs `body` on the carry and on each entry of axis 0 of `xs`, from first to last; returns the last carry
/// and the results along a new axis 0. One entry makes no loop: its body is a part of the program around it.
#[track_caller]
pub fn scan<C: Tree, X: Tree, Y: Tree>(init: C, xs: X, body: impl Fn(C, X) -> (C, Y)) -> (C, Y) {
    let length = leading_size("scan", &xs);
    scan_steps(init, xs, length, false, body)
}

/// [`scan`] from the last entry to the first; results stand at the places of their entries.
#[track_caller]
pub fn scan_reverse<C: Tree, X: Tree, Y: Tree>(init: C, xs: X, body: impl Fn(C, X) -> (C, Y)) -> (C, Y) {
    let length = leading_size("scan_reverse", &xs);
    scan_steps(init, xs, length, true, body)
}

/// [`scan`] over the step numbers 0, 1, ..., `length` - 1 (i32).
#[track_caller]
pub fn scan_range<C: Tree, Y: Tree>(length: usize, init: C, body: impl Fn(C, Int) -> (C, Y)) -> (C, Y) {
    scan_steps(init, super::arange(length), length, false, body)
}

#[track_caller]
fn scan_steps<C: Tree, X: Tree, Y: Tree>(
    init: C,
    xs: X,
    length: usize,
    reverse: bool,
    body: impl Fn(C, X) -> (C, Y),
) -> (C, Y) {
    let carry_handles = leaves(&init);
    if length == 1 {
        // A loop of one step is no loop: nothing is carried, nothing is copied into places of results.
        let (carry, y) = body(init.duplicate(), first_of(xs));
        same_types("scan: the carry", &init, &carry_handles, &leaves(&carry));
        return (carry, repeat_tree(&y, 1));
    }
    let carry_types = leaf_types(&init);
    let xs_handles = leaves(&xs);
    let mut types = carry_types.clone();
    for array_type in leaf_types(&xs) {
        types.push(ArrayType::new(array_type.dtype, &array_type.shape[1..]));
    }
    let mut result = None;
    let carry_shape = init.duplicate();
    let traced = trace_block(&types, |parameters| {
        let (carry, x) = parameters.split_at(carry_types.len());
        let (carry, y) = body(rebuild(carry_shape, carry), rebuild(xs, x));
        let handles = [leaves(&carry), leaves(&y)].concat();
        result = Some((carry, y));
        handles
    });
    let (carry, y) = result.expect("traced");
    same_types("scan: the carry", &init, &carry_handles, &leaves(&carry));
    let captures = traced.captures.clone();
    let inputs = [captures.clone(), carry_handles, xs_handles].concat();
    let op = Op::Scan {
        captures: captures.len(),
        carry: carry_types.len(),
        length,
        reverse,
        body: Arc::new(captures_first(traced, types.len())),
    };
    let outputs = emit(op, &inputs);
    let (carry_out, ys) = outputs.split_at(carry_types.len());
    (rebuild(carry, carry_out), rebuild(y, ys))
}

/// Every leaf, of which axis 0 has one entry, as that entry.
#[track_caller]
fn first_of<T: Tree>(tree: T) -> T {
    let first = |leaf: Handle| emit(Op::Reshape { shape: leaf.array_type().shape[1..].to_vec() }, &[leaf])[0];
    let firsts: Vec<Handle> = leaves(&tree).into_iter().map(first).collect();
    rebuild(tree, &firsts)
}

/// `body`, written for one example, for all entries of axis 0 of `xs` at once.
#[track_caller]
pub fn vmap<X: Tree, Y: Tree>(xs: X, body: impl Fn(X) -> Y) -> Y {
    vmap_at(Placement::First, xs, body)
}

/// [`vmap`] over the last axis: the examples lie side by side in memory, which is the fast form for code made of
/// scalars and short vectors, such as environments.
#[track_caller]
pub fn vmap_last<X: Tree, Y: Tree>(xs: X, body: impl Fn(X) -> Y) -> Y {
    vmap_at(Placement::Last, xs, body)
}

#[track_caller]
fn vmap_at<X: Tree, Y: Tree>(placement: Placement, xs: X, body: impl Fn(X) -> Y) -> Y {
    let handles = leaves(&xs);
    let mut size = None;
    let mut types = Vec::new();
    for (path, array_type) in leaf_paths(&xs).iter().zip(leaf_types(&xs)) {
        let mut shape = array_type.shape.clone();
        let found = match placement {
            _ if shape.is_empty() => {
                panic!("vmap: the leaf `{path}` is a scalar and has no axis to map over")
            }
            Placement::First => shape.remove(0),
            Placement::Last => shape.pop().expect("not a scalar"),
        };
        let expected = *size.get_or_insert(found);
        assert!(found == expected, "vmap: the leaf `{path}` has {found} entries, another leaf {expected}");
        types.push(ArrayType::new(array_type.dtype, shape));
    }
    let size = size.expect("vmap: needs at least one array to map over");
    let mut result = None;
    let traced = trace_block(&types, |parameters| keep(&mut result, body(rebuild(xs, &parameters))));
    let batching = Batching { size, placement, groups: target() != DeviceKind::Cuda };
    let inputs = [handles, traced.captures].concat();
    let mapped = types.len();
    let outputs = emit_with(&inputs, |graph, vars, location| {
        let inputs: Vec<Batched> =
            vars.iter().enumerate().map(|(i, &var)| Batched { var, batched: i < mapped }).collect();
        let outputs = batching.apply(graph, &traced.graph, &inputs);
        Ok(outputs.into_iter().map(|output| batching.force(graph, output, location)).collect::<Vec<Var>>())
    });
    rebuild(result.expect("traced"), &outputs)
}

/// The scalar f32 or f64 loss of `params`, what else the function returns, and the gradient of the loss by every leaf
/// of `params`, all of which must be floats.
#[track_caller]
pub fn value_and_grad<P: Tree, A: Tree>(params: &P, loss: impl FnOnce(P) -> (Float, A)) -> (Float, A, P) {
    let handles = leaves(params);
    let types = leaf_types(params);
    let shape = params.duplicate();
    let mut aux = None;
    let traced = trace_block(&types, |parameters| {
        let (loss, other) = loss(rebuild(shape, &parameters));
        let handles = [vec![loss.handle()], leaves(&other)].concat();
        aux = Some(other);
        handles
    });
    let aux = aux.expect("traced");
    let inputs = [handles, traced.captures].concat();
    let wrt: Vec<bool> = (0..inputs.len()).map(|i| i < types.len()).collect();
    let mut results = emit_with(&inputs, |graph, vars, location| {
        let (outputs, gradients) = grad::value_and_grad(graph, &traced.graph, vars, &wrt, location)
            .map_err(|error| error.to_string())?;
        Ok([outputs, gradients].concat())
    });
    let gradients = results.split_off(results.len() - types.len());
    let loss = Array::from_handle(results[0]);
    (loss, rebuild(aux, &results[1..]), rebuild(params.duplicate(), &gradients))
}

/// All elements of a tree of floats of one dtype as one vector.
#[track_caller]
pub fn ravel<T: Tree>(tree: &T) -> Float {
    let flat: Vec<Float> = leaves(tree).into_iter().map(|leaf| Float::from_handle(leaf).flatten()).collect();
    super::concatenate(0, flat)
}

/// The inverse of [`ravel`], for a tree of the structure of `like`.
#[track_caller]
pub fn unravel<T: Tree>(like: &T, vector: Float) -> T {
    let mut parts = Vec::new();
    let mut start = 0;
    for array_type in leaf_types(like) {
        let part = vector.slice(0, start..start + array_type.size());
        parts.push(part.reshape(&array_type.shape).handle());
        start += array_type.size();
    }
    assert!(start == vector.size(), "unravel: {} does not fill the tree of {start}", vector.array_type());
    rebuild(like.duplicate(), &parts)
}

/// The sum over all devices that run the program.
#[track_caller]
pub fn all_reduce(x: Float) -> Float {
    Array::from_handle(emit(Op::AllReduce, &[x.handle()])[0])
}

/// `x` of each of the `num_devices` devices that run the program, `[num_devices, ...]`.
#[track_caller]
pub fn all_gather(x: Float, num_devices: usize) -> Float {
    let all = x.broadcast(0, num_devices);
    if num_devices == 1 {
        return all;
    }
    let own = arange(num_devices).eq(replica_id());
    all_reduce(select_tree(own, all, all.full_like(0.0)))
}

/// The number of the device that runs this replica of the program, an i32 scalar.
#[track_caller]
pub fn replica_id() -> Int {
    Array::<super::kind::Int>::from_handle(emit(Op::ReplicaId, &[])[0]).as_i32()
}

/// Every leaf reshaped from `[a, b, ...]` to `[a * b, ...]`.
#[track_caller]
pub fn merge_first_axes<T: Tree>(tree: T) -> T {
    let mut merged = Vec::new();
    for leaf in leaves(&tree) {
        let shape = leaf.array_type().shape;
        let shape = [&[shape[0] * shape[1]], &shape[2..]].concat();
        merged.push(emit(Op::Reshape { shape }, &[leaf])[0]);
    }
    rebuild(tree, &merged)
}

/// The inverse of [`merge_first_axes`]: every leaf reshaped from `[parts * b, ...]` to `[parts, b, ...]`.
#[track_caller]
pub fn split_first_axis<T: Tree>(tree: T, parts: usize) -> T {
    let mut split = Vec::new();
    for leaf in leaves(&tree) {
        let shape = leaf.array_type().shape;
        let shape = [&[parts, shape[0] / parts], &shape[1..]].concat();
        split.push(emit(Op::Reshape { shape }, &[leaf])[0]);
    }
    rebuild(tree, &split)
}

/// Every leaf transposed from `[a, b, ...]` to `[b, a, ...]`.
#[track_caller]
pub fn swap_first_axes<T: Tree>(tree: T) -> T {
    let mut swapped = Vec::new();
    for leaf in leaves(&tree) {
        let permutation = [1, 0].into_iter().chain(2..leaf.array_type().rank()).collect();
        swapped.push(emit(Op::Transpose { permutation }, &[leaf])[0]);
    }
    rebuild(tree, &swapped)
}

/// The entries `indices` (i32) of axis 0 of every leaf.
#[track_caller]
pub fn take_tree<T: Tree>(tree: &T, indices: Int) -> T {
    let mut taken = Vec::new();
    for leaf in leaves(tree) {
        taken.push(emit(Op::Gather { axis: 0 }, &[leaf, indices.handle()])[0]);
    }
    rebuild(tree.duplicate(), &taken)
}

/// Every leaf `count` times along a new axis 0.
#[track_caller]
pub fn repeat_tree<T: Tree>(tree: &T, count: usize) -> T {
    let mut repeated = Vec::new();
    for leaf in leaves(tree) {
        let shape = leaf.array_type().shape;
        let op = Op::Broadcast { axes: (1..=shape.len()).collect(), shape: [&[count], &shape[..]].concat() };
        repeated.push(emit(op, &[leaf])[0]);
    }
    rebuild(tree.duplicate(), &repeated)
}

/// Every leaf with the entries `indices` (i32`[N]`) of axis 0 replaced by those of `entries`, `[N, ...]`. An index out of bounds does
/// nothing; of an index that stands there twice, either entry may stay.
#[track_caller]
pub fn put_tree<T: Tree>(tree: T, indices: Int, entries: &T) -> T {
    let op = Op::Scatter { axis: 0, kind: ScatterKind::Set };
    let mut put = Vec::new();
    for (leaf, entries) in leaves(&tree).into_iter().zip(leaves(entries)) {
        put.push(emit(op.clone(), &[leaf, indices.handle(), entries])[0]);
    }
    rebuild(tree, &put)
}

/// Every leaf with the entries of axis 0 from `start` (i32) on replaced by those of `entries`, `[N, ...]`.
#[track_caller]
pub fn update_tree<T: Tree>(tree: T, start: Int, entries: &T) -> T {
    let mut updated = Vec::new();
    for (leaf, entries) in leaves(&tree).into_iter().zip(leaves(entries)) {
        let first = super::int(0).handle();
        let starts = (0..leaf.array_type().rank()).map(|axis| if axis == 0 { start.handle() } else { first });
        let inputs: Vec<Handle> = [leaf, entries].into_iter().chain(starts).collect();
        updated.push(emit(Op::DynamicUpdateSlice, &inputs)[0]);
    }
    rebuild(tree, &updated)
}

/// The same values, all computed before any of them is used: keeps the compiler from computing an expensive
/// value again in each of its uses.
#[track_caller]
pub fn barrier<T: Tree>(tree: T) -> T {
    let handles = emit(Op::Barrier, &leaves(&tree));
    rebuild(tree, &handles)
}

/// Stores the tree and returns its leaves.
fn keep<T: Tree>(slot: &mut Option<T>, tree: T) -> Vec<Handle> {
    let handles = leaves(&tree);
    *slot = Some(tree);
    handles
}

/// The traced graph with its captures in front of its parameters, as the control-flow ops want it.
fn captures_first(mut traced: Traced, parameters: usize) -> Graph {
    traced.graph.inputs.rotate_left(parameters);
    traced.graph
}

#[track_caller]
fn leading_size<X: Tree>(name: &str, xs: &X) -> usize {
    let mut size = None;
    for (path, array_type) in leaf_paths(xs).iter().zip(leaf_types(xs)) {
        match (array_type.shape.first(), size) {
            (None, _) => panic!("{name}: the leaf `{path}` of xs is a scalar and has no axis to run over"),
            (Some(&found), Some(expected)) if found != expected => {
                panic!("{name}: the leaf `{path}` of xs has {found} entries, another leaf {expected}")
            }
            (Some(&found), _) => size = Some(found),
        }
    }
    size.unwrap_or_else(|| panic!("{name}: xs has no arrays; use scan_range"))
}

/// Panics, naming the leaf, unless both lists of leaves have the same types.
#[track_caller]
fn same_types<T: Tree>(what: &str, tree: &T, before: &[Handle], after: &[Handle]) {
    if before.len() != after.len() {
        panic!("{what} has {} leaves before and {} after", before.len(), after.len());
    }
    for (i, (before, after)) in before.iter().zip(after).enumerate() {
        let (before, after) = (before.array_type(), after.array_type());
        if before != after {
            let paths = leaf_paths(tree);
            let path = paths.get(i).map_or("", String::as_str);
            let fix = if before.shape == after.shape { "convert the result" } else { "keep the shape" };
            panic!("{what}: the leaf `{path}` is {before} before and {after} after; {fix}");
        }
    }
}
