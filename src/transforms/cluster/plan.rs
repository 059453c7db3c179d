//! Which equations become a cluster, and in which order everything is written.
//!
//! A cluster is a maximal run of small equations between matrix products, scatters, reductions over devices and large arrays.
//! The equations between two of these form a stage. What one cluster hands to another is written to memory, so an equation
//! moves to a later stage where that hands over less, and long clusters are cut where little is handed over.

use std::collections::{HashMap, HashSet};

use crate::array::DType;
use crate::ir::{Binary, Equation, Graph, Op, Var};

use super::known::folded_outputs;
use super::rules::{Role, role};

/// Most elements of an array in a cluster. Larger ones are worth a kernel each, which XLA fuses better.
const MAX_ELEMENTS: usize = 1500;
/// The same for an array of u32, the words of random keys: the rounds of their generator are small kernels, and many.
const MAX_WORDS: usize = 4000;
/// Least bytes of a result for which its equation is moved to the stage that reads it. A smaller one waits in the first level
/// of the cache.
const MIN_BYTES_TO_MOVE: usize = 4096;
/// Least equations of a cluster, but for those that choose a little of a large array.
const MIN_EQUATIONS: usize = 4;
/// Most equations of a cluster, those of bodies included: the time to compile it grows faster than its length.
pub const MAX_EQUATIONS: usize = 400;

/// What to write next, by the numbers of equations.
pub enum Step {
    /// An equation by itself.
    Alone(usize),
    Cluster(Members),
}

/// The equations of a cluster, and the variables of the outer graph that it reads and makes.
pub struct Members {
    pub equations: Vec<usize>,
    pub inputs: Vec<Var>,
    pub outputs: Vec<Var>,
}

/// The order in which to write the equations of a graph. `folded` says of each variable that is an input whether it depends
/// on constants alone.
pub fn steps(graph: &Graph, folded: &[bool]) -> Vec<Step> {
    let plan = Plan::of(graph, folded);
    let mut steps = Vec::new();
    for stage in 0..plan.stages {
        for group in plan.groups(plan.placed(stage, Place::Clustered)) {
            match plan.length(&group) < MIN_EQUATIONS && !plan.chooses_little_of_much(&group) {
                true => steps.extend(group.into_iter().map(Step::Alone)),
                false => steps.push(Step::Cluster(plan.members(&group))),
            }
        }
        steps.extend(plan.placed(stage, Place::Alone).into_iter().map(Step::Alone));
    }
    plan.with_views(steps)
}

/// Where an equation is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Again wherever it is used, since it costs nothing there.
    View,
    Clustered,
    Alone,
}

/// The place of each equation and its stage: in a stage the clusters come first, then what stands alone.
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
    fn of(graph: &'a Graph, folded: &[bool]) -> Self {
        let mut plan = Plan {
            graph,
            place: places(graph, folded),
            stage: Vec::new(),
            stages: 0,
            maker: vec![None; graph.num_vars()],
            readers: vec![Vec::new(); graph.num_vars()],
            results: graph.outputs.iter().copied().collect(),
        };
        for (e, equation) in graph.equations.iter().enumerate() {
            let own = equation.inputs.iter().map(|&input| plan.ready(input, plan.place[e])).max();
            let own = own.unwrap_or(0);
            plan.stage.push(own);
            plan.stages = plan.stages.max(own + 1);
            equation.outputs.iter().for_each(|output| plan.maker[output.0 as usize] = Some(e));
            equation.inputs.iter().for_each(|input| plan.readers[input.0 as usize].push(e));
        }
        plan.postpone();
        plan
    }

    /// Moves an equation that only later stages read to the first of these, if no more bytes are handed from stage to stage
    /// then. (What many equations make of one array would otherwise all be written to memory, to wait there.)
    fn postpone(&mut self) {
        for e in (0..self.stage.len()).rev() {
            let equation = &self.graph.equations[e];
            let readers = equation.outputs.iter().flat_map(|&output| self.reading_stages(output, None));
            let first = readers.min().unwrap_or(0);
            let bytes = |var: &Var| self.graph.array_type(*var).byte_size();
            let own: usize = equation.outputs.iter().map(bytes).sum();
            if self.place[e] != Place::Clustered || own < MIN_BYTES_TO_MOVE || first <= self.stage[e] {
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
                Place::Clustered | Place::Alone => stages.push(self.stage[e]),
            }
        }
        stages
    }

    /// `var` itself, or what it is a view of.
    fn origins(&self, var: Var) -> Vec<Var> {
        match self.maker[var.0 as usize] {
            Some(e) if self.place[e] == Place::View => {
                self.graph.equations[e].inputs.iter().flat_map(|&input| self.origins(input)).collect()
            }
            _ => vec![var],
        }
    }

    /// The first stage in which an equation at `place` can read `var`: what stands alone comes last in its stage, one after
    /// the other; a view of it is as late as itself.
    fn ready(&self, var: Var, place: Place) -> usize {
        let Some(e) = self.maker[var.0 as usize] else { return 0 };
        let after = self.place[e] == Place::Alone && place != Place::Alone;
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
                length <= MAX_EQUATIONS || *end == start + 1
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
                let size = self.graph.array_type(output).byte_size();
                bytes[i + 1..=last].iter_mut().for_each(|sum| *sum += size);
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
            Place::Clustered | Place::Alone => place.get(&e).copied(),
        };
        self.readers[var.0 as usize].iter().filter_map(reader).max()
    }

    /// Whether some equation chooses a little of a large array. XLA goes by the size of the array and gives a kernel of its own parts for
    /// several threads, and to wake these takes longer than to read.
    fn chooses_little_of_much(&self, equations: &[usize]) -> bool {
        let is_large = |var: &Var| self.graph.array_type(*var).size() > MAX_WORDS;
        let chooses = |e: &usize| {
            let equation = &self.graph.equations[*e];
            matches!(equation.op, Op::Gather { .. }) && is_large(&equation.inputs[0])
        };
        equations.iter().any(chooses)
    }

    /// Equations, those of bodies included.
    fn length(&self, equations: &[usize]) -> usize {
        let of_bodies = |e: &usize| -> usize {
            self.graph.equations[*e].op.bodies().into_iter().map(Graph::total_equations).sum()
        };
        equations.len() + equations.iter().map(of_bodies).sum::<usize>()
    }

    /// The cluster of a group, with the views that it reads.
    fn members(&self, group: &[usize]) -> Members {
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
        Members { equations, inputs, outputs }
    }

    /// Whether anything but the equations `inside` reads `var`, directly or through views.
    fn is_read_outside(&self, var: Var, inside: &HashSet<usize>) -> bool {
        self.results.contains(&var)
            || self.readers[var.0 as usize].iter().any(|&e| match self.place[e] {
                Place::View => {
                    let views = &self.graph.equations[e].outputs;
                    views.iter().any(|&view| self.is_read_outside(view, inside))
                }
                Place::Clustered | Place::Alone => !inside.contains(&e),
            })
    }

    /// Adds the views that equations read which stand alone, and those that are results.
    fn with_views(&self, steps: Vec<Step>) -> Vec<Step> {
        let (mut written, mut all) = (HashSet::new(), Vec::new());
        for step in steps {
            if let Step::Alone(e) = step {
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
                steps.push(Step::Alone(e));
            }
        }
    }
}

fn places(graph: &Graph, folded: &[bool]) -> Vec<Place> {
    let place = |equation: &Equation| match is_view(&equation.op) {
        true => Place::View,
        false if fits(graph, equation) && !changes_in_place(graph, equation) => Place::Clustered,
        false => Place::Alone,
    };
    let mut places: Vec<Place> = graph.equations.iter().map(place).collect();
    keep_folded_out(graph, folded.to_vec(), &mut places);
    places
}

/// Whether a loop carries what an equation changes where it lies: a row that is stored, or the step number, whose number of
/// steps XLA knows then. A cluster would make a copy of it.
fn changes_in_place(graph: &Graph, equation: &Equation) -> bool {
    let is_kind = match equation.op {
        Op::DynamicUpdateSlice => true,
        Op::Binary(Binary::Add) => graph.array_type(equation.outputs[0]).rank() == 0,
        _ => false,
    };
    let is_read = |var: &Var| graph.equations.iter().any(|other| other.inputs.contains(var));
    is_kind
        && graph.inputs.contains(&equation.inputs[0])
        && graph.outputs.contains(&equation.outputs[0])
        && !is_read(&equation.outputs[0])
}

/// What reads a value that XLA folds (see `rules`) stands alone, too.
fn keep_folded_out(graph: &Graph, mut folded: Vec<bool>, places: &mut [Place]) {
    let mut constant = folded.clone();
    for (equation, place) in graph.equations.iter().zip(places) {
        let reads_folded = equation.inputs.iter().any(|x| folded[x.0 as usize]);
        if *place == Place::Clustered && reads_folded {
            *place = Place::Alone;
        }
        let inputs: Vec<bool> = equation.inputs.iter().map(|x| constant[x.0 as usize]).collect();
        let from_constants = folded_outputs(equation, &inputs);
        let stays = match place {
            Place::Alone => true,
            Place::View => reads_folded,
            Place::Clustered => false,
        };
        for (output, from_constants) in equation.outputs.iter().zip(from_constants) {
            constant[output.0 as usize] = from_constants;
            folded[output.0 as usize] = from_constants && stays;
        }
    }
}

fn is_view(op: &Op) -> bool {
    role(op) == Role::View
}

/// Whether an equation can be a part of a cluster.
pub fn fits(graph: &Graph, equation: &Equation) -> bool {
    let size = |var: &Var| graph.array_type(*var).size();
    let small = |var: &Var| {
        let most = if graph.array_type(*var).dtype == DType::U32 { MAX_WORDS } else { MAX_ELEMENTS };
        (1..=most).contains(&size(var))
    };
    let mut arrays = equation.inputs.iter().chain(&equation.outputs);
    match role(&equation.op) {
        Role::View | Role::Small => arrays.all(small),
        Role::Reader => equation.outputs.iter().all(small),
        Role::Bodies => {
            let mut bodies = equation.op.bodies().into_iter();
            arrays.all(|var| size(var) > 0)
                && bodies.all(|body| body.equations.iter().all(|equation| fits(body, equation)))
        }
        Role::NeedsOwnKernel => false,
    }
}
