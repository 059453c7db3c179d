//! Which equations become one kernel.
//!
//! XLA's compiler for cpu starts a kernel for each fusion. Where arrays are as small as a batch of environments, the starts
//! cost more than the work: a step of CartPole took 70 of them. XLA can also compile a whole function into one kernel, its
//! loops and branches included. So the equations on small arrays are gathered into such functions, here called clusters:
//! as many equations as do not wait for something that must be a kernel of its own, which is a matrix product, a scatter, a
//! sum over devices, or anything large. What a function hands to the next is written to memory, so equations wait for the
//! function that reads them where that hands over less, and long functions are cut where little is handed over. On other devices
//! the functions are inlined and mean nothing.

use std::collections::{HashMap, HashSet};

use crate::array::DType;
use crate::ir::{Binary, Build, Equation, Graph, Op, Var};

/// Most elements of an array in a cluster. Larger ones are worth a kernel each, which XLA fuses better.
const SMALL: usize = 1500;
/// The same for an array of u32, the words of random keys: the rounds of their generator are small kernels, and many.
const SMALL_WORDS: usize = 4000;
/// Bytes from which on it pays to keep the result of an equation out of memory.
const HEAVY: usize = 4096;
/// Least equations that are worth a function.
const WORTH: usize = 4;
/// Most equations of one function, those of bodies included: the time to compile it grows faster than its length.
const MOST: usize = 400;

/// What to write next, by the numbers of equations.
pub enum Step {
    /// An equation where it stands.
    One(usize),
    Cluster(Cluster),
}

/// Equations that become a function.
pub struct Cluster {
    /// The function. Its last result means nothing: see [`use_all`].
    pub graph: Graph,
    /// What it is called with.
    pub inputs: Vec<Var>,
    /// What its results are, but for the last.
    pub outputs: Vec<Var>,
}

/// The order in which to write the equations of a graph; those that nothing needs are left out. `folded` are inputs that depend
/// on constants alone.
pub fn steps(graph: &Graph, folded: &[Var]) -> Vec<Step> {
    let plan = Plan::of(graph, folded);
    let mut steps = Vec::new();
    for stage in 0..plan.stages {
        for group in plan.groups(plan.placed(stage, Place::Inside)) {
            match plan.length(&group) < WORTH {
                true => steps.extend(group.into_iter().map(Step::One)),
                false => steps.push(Step::Cluster(plan.cluster(&group))),
            }
        }
        steps.extend(plan.placed(stage, Place::Outside).into_iter().map(Step::One));
    }
    plan.with_views(steps)
}

/// Where an equation is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// Again wherever it is used, since it costs nothing there.
    View,
    /// In a cluster.
    Inside,
    /// By itself.
    Outside,
}

/// The place of each equation, and the stage in which it runs: in a stage first what is inside, then what is outside.
struct Plan<'a> {
    graph: &'a Graph,
    place: Vec<Place>,
    stage: Vec<usize>,
    stages: usize,
    /// The equation that makes a variable.
    maker: Vec<Option<usize>>,
    /// The equations that read a variable.
    readers: Vec<Vec<usize>>,
    results: HashSet<Var>,
}

impl<'a> Plan<'a> {
    fn of(graph: &'a Graph, folded: &[Var]) -> Self {
        let place = places(graph, folded);
        let mut plan = Plan {
            graph,
            stage: Vec::new(),
            stages: 0,
            maker: vec![None; graph.num_vars()],
            readers: vec![Vec::new(); graph.num_vars()],
            results: graph.outputs.iter().copied().collect(),
            place,
        };
        for (e, equation) in graph.equations.iter().enumerate() {
            let own = equation.inputs.iter().map(|&input| plan.ready(input, plan.place[e])).max();
            let own = own.unwrap_or(0);
            plan.stage.push(own);
            if plan.place[e] == Place::Nowhere {
                continue;
            }
            plan.stages = plan.stages.max(own + 1);
            equation.outputs.iter().for_each(|output| plan.maker[output.0 as usize] = Some(e));
            equation.inputs.iter().for_each(|input| plan.readers[input.0 as usize].push(e));
        }
        plan.postpone();
        plan
    }

    /// Moves an equation that only later stages read to the first of these, if no more bytes are handed from stage to stage
    /// then. (What many equations make of one array would otherwise all be written to memory, to wait there.) What is light stays:
    /// it waits in the first level of the cache.
    fn postpone(&mut self) {
        for e in (0..self.stage.len()).rev() {
            let equation = &self.graph.equations[e];
            let readers = equation.outputs.iter().flat_map(|&output| self.reading_stages(output, None));
            let first = readers.min().unwrap_or(0);
            let bytes = |var: &Var| self.graph.array_type(*var).byte_size();
            let own: usize = equation.outputs.iter().map(bytes).sum();
            if self.place[e] != Place::Inside || own < HEAVY || first <= self.stage[e] {
                continue;
            }
            let inputs: HashSet<Var> =
                equation.inputs.iter().flat_map(|&input| self.origins(input)).collect();
            let waits =
                |var: &&Var| self.reading_stages(**var, Some(e)).into_iter().all(|stage| stage < first);
            let more: usize = inputs.iter().filter(waits).map(bytes).sum();
            if more <= own {
                self.stage[e] = first;
            }
        }
    }

    /// The stages in which equations but for `without` read `var`, directly or through views; a result counts as read in
    /// the first.
    fn reading_stages(&self, var: Var, without: Option<usize>) -> Vec<usize> {
        let mut stages = if self.results.contains(&var) { vec![0] } else { vec![] };
        for &e in self.readers[var.0 as usize].iter().filter(|&&e| Some(e) != without) {
            match self.place[e] {
                Place::View => {
                    let views = &self.graph.equations[e].outputs;
                    stages.extend(views.iter().flat_map(|&view| self.reading_stages(view, without)));
                }
                _ => stages.push(self.stage[e]),
            }
        }
        stages
    }

    /// What `var` is, or is a view of.
    fn origins(&self, var: Var) -> Vec<Var> {
        match self.maker[var.0 as usize] {
            Some(e) if self.place[e] == Place::View => {
                self.graph.equations[e].inputs.iter().flat_map(|&input| self.origins(input)).collect()
            }
            _ => vec![var],
        }
    }

    /// The first stage in which an equation at `place` can read `var`: what is outside comes last in its stage, one after
    /// the other; a view of it is as late as itself.
    fn ready(&self, var: Var, place: Place) -> usize {
        let Some(e) = self.maker[var.0 as usize] else { return 0 };
        let after = self.place[e] == Place::Outside && place != Place::Outside;
        self.stage[e] + usize::from(after)
    }

    fn placed(&self, stage: usize, place: Place) -> Vec<usize> {
        (0..self.place.len()).filter(|&e| self.stage[e] == stage && self.place[e] == place).collect()
    }

    /// Parts of a list of equations, none too long, cut where the fewest bytes are handed from one part to the next.
    fn groups(&self, equations: Vec<usize>) -> Vec<Vec<usize>> {
        let lengths: Vec<usize> = equations.iter().map(|&e| self.length(&[e])).collect();
        let handed = self.handed_over(&equations);
        let mut groups = Vec::new();
        let mut start = 0;
        while start < equations.len() {
            let mut length = 0;
            let fits = |end: &usize| {
                length += lengths[end - 1];
                length <= MOST || *end == start + 1
            };
            let ends: Vec<usize> = (start + 1..=equations.len()).take_while(fits).collect();
            let late = ends[ends.len() / 2..].iter().rev();
            let end = match ends.last() {
                Some(&last) if last == equations.len() => last,
                _ => *late.min_by_key(|&&end| handed[end]).expect("one equation fits always"),
            };
            groups.push(equations[start..end].to_vec());
            start = end;
        }
        groups
    }

    /// For each place in a list of equations, the bytes that equations before it make and equations from there on read.
    fn handed_over(&self, equations: &[usize]) -> Vec<usize> {
        let place: HashMap<usize, usize> = equations.iter().enumerate().map(|(i, &e)| (e, i)).collect();
        let mut bytes = vec![0; equations.len() + 1];
        for (i, &e) in equations.iter().enumerate() {
            for &output in &self.graph.equations[e].outputs {
                let last = self.last_reader(output, &place).unwrap_or(i);
                let array_type = self.graph.array_type(output);
                bytes[i + 1..=last]
                    .iter_mut()
                    .for_each(|sum| *sum += array_type.size() * array_type.dtype.size());
            }
        }
        bytes
    }

    /// The last of the equations in `place` that reads `var`, directly or through views.
    fn last_reader(&self, var: Var, place: &HashMap<usize, usize>) -> Option<usize> {
        let reader = |&e: &usize| match self.place[e] {
            Place::View => {
                let views = &self.graph.equations[e].outputs;
                views.iter().filter_map(|&view| self.last_reader(view, place)).max()
            }
            _ => place.get(&e).copied(),
        };
        self.readers[var.0 as usize].iter().filter_map(reader).max()
    }

    /// Equations, those of bodies included.
    fn length(&self, equations: &[usize]) -> usize {
        let of_bodies = |e: &usize| -> usize {
            self.graph.equations[*e].op.bodies().into_iter().map(Graph::total_equations).sum()
        };
        equations.len() + equations.iter().map(of_bodies).sum::<usize>()
    }

    /// The cluster of a group, with the views that it reads.
    fn cluster(&self, group: &[usize]) -> Cluster {
        let inside: HashSet<usize> = group.iter().copied().collect();
        let mut members = inside.clone();
        let mut pending = group.to_vec();
        let mut inputs = Vec::new();
        while let Some(e) = pending.pop() {
            for &input in &self.graph.equations[e].inputs {
                match self.maker[input.0 as usize] {
                    Some(maker) if members.contains(&maker) => {}
                    Some(maker) if self.place[maker] == Place::View => {
                        members.insert(maker);
                        pending.push(maker);
                    }
                    _ => inputs.push(input),
                }
            }
        }
        inputs.sort_unstable();
        inputs.dedup();
        let made = group.iter().flat_map(|&e| &self.graph.equations[e].outputs);
        let outputs = made.copied().filter(|&var| self.is_read_outside(var, &inside)).collect();
        let mut equations: Vec<usize> = members.into_iter().collect();
        equations.sort_unstable();
        self.function(&equations, inputs, outputs)
    }

    fn function(&self, equations: &[usize], inputs: Vec<Var>, outputs: Vec<Var>) -> Cluster {
        let mut graph = Graph::new();
        let mut inner: HashMap<Var, Var> = HashMap::new();
        for &input in &inputs {
            inner.insert(input, graph.input(self.graph.array_type(input).clone()));
        }
        for &e in equations {
            let equation = &self.graph.equations[e];
            let read: Vec<Var> = equation.inputs.iter().map(|input| inner[input]).collect();
            let mut build = Build::new(&mut graph, equation.location);
            inner.extend(equation.outputs.iter().copied().zip(build.many(equation.op.clone(), &read)));
        }
        graph.outputs = outputs.iter().map(|output| inner[output]).collect();
        let location = self.graph.equations[equations[0]].location;
        let last = use_all(&mut Build::new(&mut graph, location));
        graph.outputs.push(last);
        Cluster { graph, inputs, outputs }
    }

    /// Whether anything but the equations `inside` reads `var`, directly or through views.
    fn is_read_outside(&self, var: Var, inside: &HashSet<usize>) -> bool {
        self.results.contains(&var)
            || self.readers[var.0 as usize].iter().any(|&e| match self.place[e] {
                Place::View => {
                    let views = &self.graph.equations[e].outputs;
                    views.iter().any(|&view| self.is_read_outside(view, inside))
                }
                _ => !inside.contains(&e),
            })
    }

    /// Adds the views that single equations read and those that are results.
    fn with_views(&self, steps: Vec<Step>) -> Vec<Step> {
        let (mut written, mut all) = (HashSet::new(), Vec::new());
        for step in steps {
            if let Step::One(e) = step {
                self.add_views(&self.graph.equations[e].inputs, &mut written, &mut all);
            }
            all.push(step);
        }
        self.add_views(&self.graph.outputs, &mut written, &mut all);
        all
    }

    fn add_views(&self, vars: &[Var], written: &mut HashSet<usize>, steps: &mut Vec<Step>) {
        for var in vars {
            if let Some(e) = self.maker[var.0 as usize]
                && self.place[e] == Place::View
                && written.insert(e)
            {
                self.add_views(&self.graph.equations[e].inputs, written, steps);
                steps.push(Step::One(e));
            }
        }
    }
}

/// A number that depends on all inputs of the graph. XLA aborts the process if a parameter of the function is not read, as may
/// come about by its own simplifications.
fn use_all(build: &mut Build) -> Var {
    let mut all = build.scalar(0.0, DType::U32);
    for input in build.graph.inputs.clone() {
        let array_type = build.array_type(input);
        if array_type.size() == 0 {
            continue;
        }
        let ones = vec![1; array_type.rank()];
        let op = Op::Slice { start: vec![0; ones.len()], limit: ones.clone(), stride: ones };
        let first = if array_type.rank() == 0 { input } else { build.one(op, &[input]) };
        let first = build.reshape(first, &[]);
        let bits = if array_type.dtype.is_float() {
            let float = build.convert(first, DType::F32);
            build.one(Op::Bitcast(DType::U32), &[float])
        } else {
            build.convert(first, DType::U32)
        };
        all = build.binary(Binary::Xor, all, bits);
    }
    all
}

fn places(graph: &Graph, folded: &[Var]) -> Vec<Place> {
    let mut needed: HashSet<Var> = graph.outputs.iter().copied().collect();
    let mut places = vec![Place::Nowhere; graph.equations.len()];
    for (equation, place) in graph.equations.iter().zip(&mut places).rev() {
        if equation.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(&equation.inputs);
            *place = match is_view(&equation.op) {
                true => Place::View,
                false if fits(graph, equation) => Place::Inside,
                false => Place::Outside,
            };
        }
    }
    let folded = (0..graph.num_vars()).map(|var| folded.contains(&Var(var as u32))).collect();
    keep_folded_out(graph, folded, &mut places);
    places
}

/// What depends on constants alone and stands outside, XLA computes while it compiles, and it aborts the process if a function is
/// then called with a constant. So what reads such a value stands outside, too.
fn keep_folded_out(graph: &Graph, mut folded: Vec<bool>, places: &mut [Place]) {
    let mut constant = folded.clone();
    for (equation, place) in graph.equations.iter().zip(places) {
        let reads_folded = equation.inputs.iter().any(|x| folded[x.0 as usize]);
        if *place == Place::Inside && reads_folded {
            *place = Place::Outside;
        }
        let from_constants =
            is_foldable(&equation.op) && equation.inputs.iter().all(|x| constant[x.0 as usize]);
        let stays = match place {
            Place::Outside => true,
            Place::View => reads_folded,
            Place::Inside | Place::Nowhere => false,
        };
        for output in &equation.outputs {
            constant[output.0 as usize] = from_constants;
            folded[output.0 as usize] = from_constants && stays;
        }
    }
}

/// Whether XLA computes it while compiling if its inputs are known.
pub fn is_foldable(op: &Op) -> bool {
    !matches!(op, Op::Barrier | Op::AllReduce | Op::ReplicaId)
}

fn is_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Constant(_) | Op::Iota { .. } | Op::Reshape { .. } | Op::Broadcast { .. } | Op::StopGradient
    )
}

/// Whether an equation can be a part of a cluster. Arrays without elements cannot: nothing reads them, and XLA aborts.
fn fits(graph: &Graph, equation: &Equation) -> bool {
    let small = |var: &Var| {
        let array_type = graph.array_type(*var);
        let most = if array_type.dtype == DType::U32 { SMALL_WORDS } else { SMALL };
        (1..=most).contains(&array_type.size())
    };
    match &equation.op {
        Op::Dot { .. }
        | Op::Conv { .. }
        | Op::Kernel(_)
        | Op::Scatter { .. }
        | Op::AllReduce
        | Op::ReplicaId
        | Op::Barrier => false,
        Op::While { .. } | Op::Scan { .. } | Op::Cond { .. } | Op::Rare { .. } => {
            let mut bodies = equation.op.bodies().into_iter();
            bodies.all(|body| body.equations.iter().all(|equation| fits(body, equation)))
        }
        Op::Gather { .. } | Op::Slice { .. } | Op::DynamicSlice { .. } => equation.outputs.iter().all(small),
        _ => equation.inputs.iter().chain(&equation.outputs).all(small),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::ArrayType;
    use crate::ir::Unary;

    /// What is written, clusters in brackets.
    fn written(graph: &Graph) -> String {
        let steps = steps(graph, &[]).into_iter().map(|step| match step {
            Step::One(e) => graph.equations[e].op.name(),
            Step::Cluster(cluster) => {
                let (inputs, outputs) = (cluster.inputs.len(), cluster.outputs.len());
                // What uses all inputs is left out: the zero and, for each input, four equations.
                let own = cluster.graph.equations.len() - 1 - 4 * inputs;
                let names: Vec<String> =
                    cluster.graph.equations[..own].iter().map(|equation| equation.op.name()).collect();
                format!("[{}: {inputs} -> {outputs}]", names.join(" "))
            }
        });
        steps.collect::<Vec<String>>().join(" ")
    }

    fn graph(size: usize) -> (Graph, Var) {
        let mut graph = Graph::new();
        let x = graph.input(ArrayType::new(DType::F32, [size, size]));
        (graph, x)
    }

    fn location() -> crate::ir::Location {
        std::panic::Location::caller()
    }

    #[test]
    fn small_equations_gather_around_a_matrix_product() {
        let (mut graph, x) = graph(8);
        let mut build = Build::new(&mut graph, location());
        let mut chain = |mut x: Var| {
            for _ in 0..4 {
                x = build.unary(Unary::Sin, x);
            }
            x
        };
        let before = chain(x);
        let contract = (vec![1], vec![0]);
        let aside = chain(x);
        let mut build = Build::new(&mut graph, location());
        let product = build.one(Op::Dot { batch: (vec![], vec![]), contract }, &[before, before]);
        let flat = build.reshape(product, &[64]);
        let wide = build.reshape(aside, &[64]);
        let mut sum = build.add(flat, wide);
        for _ in 0..3 {
            sum = build.unary(Unary::Cos, sum);
        }
        build.unary(Unary::Exp, sum); // nothing needs it
        graph.outputs = vec![sum, flat];
        let expected = "[sin sin sin sin sin sin sin sin: 1 -> 2] dot \
                        [reshape reshape add cos cos cos: 2 -> 1] reshape";
        assert_eq!(written(&graph), expected);
    }

    #[test]
    fn what_is_heavy_waits_until_it_is_read_if_that_hands_over_no_more() {
        let (mut graph, z) = graph(32);
        let [x, y] = [(); 2].map(|()| graph.input(ArrayType::new(DType::I32, [32, 32])));
        let mut build = Build::new(&mut graph, location());
        // A sum of two arrays is less than both; what is made of it waits.
        let mut sum = build.add(x, y);
        for _ in 0..3 {
            sum = build.add(sum, sum);
        }
        let contract = (vec![1], vec![0]);
        let product = build.one(Op::Dot { batch: (vec![], vec![]), contract }, &[z, z]);
        let product = build.convert(product, DType::I32);
        let all = build.add(product, sum);
        graph.outputs = vec![build.add(all, all)];
        assert_eq!(written(&graph), "add dot [add add add convert_i32 add add: 2 -> 1]");
    }

    #[test]
    fn what_is_large_or_too_little_stays_by_itself() {
        for (size, times, expected) in [(8, 3, "sin sin sin"), (80, 5, "sin sin sin sin sin")] {
            let (mut graph, mut x) = graph(size);
            for _ in 0..times {
                x = Build::new(&mut graph, location()).unary(Unary::Sin, x);
            }
            graph.outputs = vec![x];
            assert_eq!(written(&graph), expected);
        }
    }

    #[test]
    fn a_long_cluster_is_cut() {
        let (mut graph, mut x) = graph(2);
        for _ in 0..MOST + 10 {
            x = Build::new(&mut graph, location()).unary(Unary::Sin, x);
        }
        graph.outputs = vec![x];
        let lengths: Vec<usize> = steps(&graph, &[])
            .into_iter()
            .map(|step| match step {
                Step::Cluster(cluster) => cluster.graph.equations.len() - 5,
                Step::One(_) => 0,
            })
            .collect();
        assert_eq!(lengths, [MOST, 10]);
    }

    #[test]
    fn a_long_cluster_is_cut_where_little_is_handed_over() {
        let (mut graph, mut x) = graph(2);
        let mut build = Build::new(&mut graph, location());
        let narrow = MOST - 30;
        for _ in 0..narrow {
            x = build.unary(Unary::Sin, x);
        }
        let many: Vec<Var> = (0..50).map(|_| build.unary(Unary::Cos, x)).collect();
        graph.outputs = vec![many.into_iter().reduce(|sum, y| build.add(sum, y)).unwrap()];
        let Step::Cluster(first) = &steps(&graph, &[])[0] else { panic!("a cluster") };
        assert_eq!(first.graph.equations.len() - 5, narrow);
    }
}
