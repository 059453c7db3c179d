//! vmap against a loop of the oracle: every case, either placement of the batch axis, several choices of
//! batched inputs.

use std::panic::Location;

use lockstep::array::{ArrayType, HostArray};
use lockstep::interpret::interpret;
use lockstep::ir::{Graph, check};
use lockstep::transforms::batch::{Batched, Batching, Placement};

use super::cases::{Case, cases};
use super::{cases_and_gradients, compare, for_each};

#[test]
fn vmap_is_a_loop() {
    for_each(&cases_and_gradients(), |case| compare_all(case, 5, true));
}

/// In a large batch a group is several rows; the last group is not full. Without groups the result is the same.
#[test]
fn vmap_of_rare_is_a_loop_in_large_batches() {
    let rare: Vec<Case> = cases().into_iter().filter(|case| case.name.starts_with("rare")).collect();
    for_each(&rare, |case| compare_all(case, 37, true));
    for_each(&rare, |case| compare_all(case, 37, false));
}

fn compare_all(case: &Case, size: usize, groups: bool) {
    for batched in choices(case.graph.inputs.len()) {
        for placement in [Placement::First, Placement::Last] {
            compare_with_loop(case, &batched, Batching { size, placement, groups });
        }
    }
}

/// Which inputs to batch: all, each alone, all but each.
fn choices(inputs: usize) -> Vec<Vec<bool>> {
    let mut choices = Vec::new();
    if inputs > 0 {
        choices.push(vec![true; inputs]);
    }
    for chosen in 0..inputs {
        choices.push((0..inputs).map(|i| i == chosen).collect());
        if inputs > 2 {
            choices.push((0..inputs).map(|i| i != chosen).collect());
        }
    }
    choices
}

fn compare_with_loop(case: &Case, batched: &[bool], batching: Batching) {
    let name = format!("{} with {:?} batched {batched:?}", case.name, batching.placement);
    let shared = case.sample(0);
    let rows: Vec<Vec<HostArray>> = (0..batching.size as u64)
        .map(|row| {
            let own = case.sample(100 + row);
            (0..own.len()).map(|i| if batched[i] { own[i].clone() } else { shared[i].clone() }).collect()
        })
        .collect();

    let graph = batched_graph(case, batched, batching);
    check(&graph).unwrap_or_else(|message| panic!("{name}: {message}\n{graph}"));
    let inputs: Vec<HostArray> = (0..shared.len())
        .map(|i| {
            if !batched[i] {
                return shared[i].clone();
            }
            let column: Vec<&HostArray> = rows.iter().map(|row| &row[i]).collect();
            stack(&column, batching)
        })
        .collect();
    let found = interpret(&graph, &inputs);

    let looped: Vec<Vec<HostArray>> = rows.iter().map(|row| interpret(&case.graph, row)).collect();
    for (i, found) in found.iter().enumerate() {
        let column: Vec<&HostArray> = looped.iter().map(|row| &row[i]).collect();
        compare(&name, found, &stack(&column, batching), case.tolerance);
    }
}

fn batched_graph(case: &Case, batched: &[bool], batching: Batching) -> Graph {
    let location = Location::caller();
    let mut graph = Graph::new();
    let inputs: Vec<Batched> = case
        .graph
        .input_types()
        .iter()
        .zip(batched)
        .map(|(one, &batched)| {
            let array_type = if batched { many(one, batching) } else { one.clone() };
            Batched { var: graph.input(array_type), batched }
        })
        .collect();
    let outputs = batching.apply(&mut graph, &case.graph, &inputs);
    graph.outputs = outputs.into_iter().map(|output| batching.force(&mut graph, output, location)).collect();
    graph
}

/// The type of a whole batch.
fn many(one: &ArrayType, batching: Batching) -> ArrayType {
    let mut shape = one.shape.clone();
    match batching.placement {
        Placement::First => shape.insert(0, batching.size),
        Placement::Last => shape.push(batching.size),
    }
    ArrayType::new(one.dtype, shape)
}

/// The rows of a batch in one array.
fn stack(rows: &[&HostArray], batching: Batching) -> HostArray {
    let array_type = many(&rows[0].array_type(), batching);
    let rows: Vec<Vec<u8>> = rows.iter().map(|row| row.to_bytes().into_owned()).collect();
    let bytes = match batching.placement {
        Placement::First => rows.concat(),
        Placement::Last => {
            let size = array_type.dtype.size();
            let elements = (0..rows[0].len()).step_by(size);
            elements.flat_map(|at| rows.iter().flat_map(move |row| &row[at..at + size])).copied().collect()
        }
    };
    HostArray::from_bytes(&array_type, &bytes).unwrap()
}
