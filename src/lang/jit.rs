//! Compiled functions: the way from a Rust function over trees to a program, and what it takes and gives.
//!
//! There is one such way. A function is traced for a target, the graph is checked and lowered ([`Lowered`]), and
//! the text is compiled for the devices of a client ([`Jit`]). Calling it turns the leaves of trees that lie on devices
//! ([`OnDevice`]) into those of another tree. Clusters are only there for speed, so a program that XLA refuses is tried once
//! more without them. What only has host arrays to offer, such as a test or a game's referee, asks for a
//! [`HostFunction`], which may also run in the interpreter.

use std::marker::PhantomData;

use anyhow::{Context, Result, anyhow, ensure};

use crate::array::HostArray;
use crate::interpret::interpret;
use crate::ir::{Graph, Op, check, flops};
use crate::lower::{self, lower};
use crate::output::tell;
use crate::runtime::native::Library;
use crate::runtime::{self, Arg, Buffer, CacheOutcome, Client, CompileOptions, DeviceKind, Program, Target};
use crate::transforms::simplify::without_dead_equations;

use super::outputs::Outputs;
use super::program::{Signature, trace};
use super::trace::{Handle, traced_for};
use super::tree::{Leaves, Tree, leaf_paths, leaves, rebuild};

/// A function of a tree `X` that gives a tree `Y`, traced and lowered.
pub struct Lowered<X, Y> {
    /// StableHLO.
    pub module: String,
    /// The structure of the result.
    pub output: Y,
    input_names: Vec<String>,
    output_names: Vec<String>,
    /// What it was lowered from, and how.
    graph: Graph,
    options: lower::Options,
    target: Target,
    takes: PhantomData<fn(X)>,
}

impl<X: Tree, Y: Tree> Lowered<X, Y> {
    /// Traces `function` and lowers it for that target. `input` only describes the structure of what it takes.
    ///
    /// Panics where the function makes a mistake, at its line.
    #[track_caller]
    pub fn new(
        target: Target,
        options: &lower::Options,
        input: &X,
        function: impl FnOnce(X) -> Y,
    ) -> Lowered<X, Y> {
        let Signature { graph, output, input_names, output_names, .. } =
            traced_for(target.kind, || trace(input, function));
        if cfg!(debug_assertions) {
            check(&graph).expect("tracing gives a graph that is sound");
        }
        let options = options.clone();
        let module = lower(&graph, &options, target);
        Lowered { module, output, input_names, output_names, graph, options, target, takes: PhantomData }
    }

    /// Floating-point operations of its products on one device, as [`ir::flops`](flops) counts them.
    pub fn flops(&self) -> u64 {
        flops(&without_dead_equations(&self.graph))
    }

    /// Compiles it, or loads the program from the cache. `name` is for messages.
    ///
    /// # Errors
    /// Whatever the compiler says, and the name.
    pub fn compile(self, client: &Client, name: &str) -> Result<Jit<X, Y>> {
        let program = self.source().compile(client, name)?;
        Ok(self.with(client, name, program))
    }

    /// As [`Lowered::compile`], without the trees: any thread may do it.
    ///
    /// # Errors
    /// Whatever the compiler says, and the name.
    pub fn compile_routine(self, client: &Client, name: &str) -> Result<Routine> {
        let program = self.source().compile(client, name)?;
        let Lowered { input_names, output_names: outputs, .. } = self;
        Ok(Routine { client: client.clone(), name: name.to_owned(), program, input_names, outputs })
    }

    fn source(&self) -> Source<'_> {
        Source { module: &self.module, graph: &self.graph, options: &self.options, target: self.target }
    }

    fn with(self, client: &Client, name: &str, program: Program) -> Jit<X, Y> {
        let Lowered { output, input_names, takes, .. } = self;
        Jit { client: client.clone(), name: name.to_owned(), program, output, input_names, takes }
    }
}

/// What is compiled.
#[derive(Clone, Copy)]
struct Source<'a> {
    module: &'a str,
    graph: &'a Graph,
    options: &'a lower::Options,
    target: Target,
}

impl Source<'_> {
    fn compile(self, client: &Client, name: &str) -> Result<Program> {
        if let Some(library) = native_library(self.graph) {
            let path = library.path.display();
            let (kind, kernels) = (self.target.kind, self.target.kernels);
            ensure!(
                kind == DeviceKind::Cpu,
                "{path} is a library for the processor, not for {kind}; add --device cpu"
            );
            ensure!(
                kernels,
                "{path} is called as native kernels are; leave out --no-kernels, and a plugin must know XLA's foreign functions"
            );
        }
        let num_replicas = self.options.num_replicas.max(1);
        let options = CompileOptions { num_replicas, ..Default::default() };
        let (program, refusal) = self
            .try_with(|module| client.compile(module, &options))
            .with_context(|| format!("compiling the program `{name}`"))?;
        if let Some(refusal) = refusal {
            tell(&format!(
                "warning: XLA refuses `{name}` with clusters, so it has none and is slower: {refusal}"
            ));
        }
        Ok(program)
    }

    /// What `compile` makes of the module; if XLA refuses that, what it makes of the module without clusters, and the refusal.
    fn try_with<T>(
        self,
        compile: impl Fn(&str) -> runtime::Result<T>,
    ) -> runtime::Result<(T, Option<runtime::Error>)> {
        match compile(self.module) {
            Ok(program) => Ok((program, None)),
            Err(refusal @ runtime::Error::Compile { .. }) if self.target.clusters => {
                let plain = lower(self.graph, self.options, Target { clusters: false, ..self.target });
                if plain == self.module {
                    return Err(refusal);
                }
                compile(&plain).map(|program| (program, Some(refusal)))
            }
            Err(error) => Err(error),
        }
    }
}

/// The library whose functions a graph or a body in it calls, if there is one.
fn native_library(graph: &Graph) -> Option<&'static Library> {
    graph.equations.iter().find_map(|equation| match &equation.op {
        Op::Native(native) => Some(native.library),
        op => op.bodies().into_iter().find_map(native_library),
    })
}

/// Compiles two functions, each with its name, at the same time: much of a compilation runs on one core.
///
/// # Errors
/// Whatever the compiler says.
pub fn compile_both<A: Tree, B: Tree, C: Tree, D: Tree>(
    client: &Client,
    (first, first_name): (Lowered<A, B>, &str),
    (second, second_name): (Lowered<C, D>, &str),
) -> Result<(Jit<A, B>, Jit<C, D>)> {
    let source = first.source();
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(move || source.compile(client, first_name));
        let other = second.source().compile(client, second_name);
        (one.join().expect("compiling does not panic"), other)
    });
    Ok((first.with(client, first_name, one?), second.with(client, second_name, other?)))
}

/// A function of a tree `X` that gives a tree `Y`, compiled for the devices of a client.
pub struct Jit<X, Y> {
    client: Client,
    name: String,
    program: Program,
    output: Y,
    input_names: Vec<String>,
    takes: PhantomData<fn(X)>,
}

impl<X: Tree, Y: Tree> Jit<X, Y> {
    /// Traces, lowers and compiles `function` for the client's target. `input` only describes the structure of what it takes,
    /// `name` is for messages.
    ///
    /// # Errors
    /// Whatever the compiler says.
    #[track_caller]
    pub fn new(
        client: &Client,
        name: &str,
        options: &lower::Options,
        input: &X,
        function: impl FnOnce(X) -> Y,
    ) -> Result<Jit<X, Y>> {
        Lowered::new(client.target(), options, input, function).compile(client, name)
    }

    /// The structure of the result.
    pub fn output(&self) -> &Y {
        &self.output
    }

    /// Whether the program came from the cache.
    pub fn cache(&self) -> CacheOutcome {
        self.program.cache()
    }

    /// Copies of host arrays, in the order of the leaves that they stand for, on each device.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn upload<'a>(&self, values: impl IntoIterator<Item = &'a HostArray>) -> Result<Input<'static>> {
        let values: Vec<&HostArray> = values.into_iter().collect();
        let shard = |device| upload(&self.client, values.iter().copied(), device);
        Ok(Input::Give((0..self.program.num_replicas()).map(shard).collect::<Result<_>>()?))
    }

    /// Runs the program on all its devices. The inputs together are the leaves of an `X`, in order. The call may return before the
    /// results are computed.
    ///
    /// # Errors
    /// Leaves that are no `X`, by name; whatever the device reports.
    pub fn call<'a>(&self, inputs: impl IntoIterator<Item = Input<'a>>) -> Result<OnDevice<Y>> {
        let mut args: Vec<Vec<Arg>> = (0..self.program.num_replicas()).map(|_| Vec::new()).collect();
        for input in inputs {
            match input {
                Input::Lend(shards) => {
                    for (args, shard) in args.iter_mut().zip(shards) {
                        args.extend(shard.into_iter().map(Arg::Borrow));
                    }
                }
                Input::Give(shards) => {
                    for (args, shard) in args.iter_mut().zip(shards) {
                        args.extend(shard.into_iter().map(Arg::Donate));
                    }
                }
            }
        }
        let shards = self.program.run_replicas(args).map_err(|error| self.explain(error))?;
        Ok(OnDevice { tree: numbered(self.output.duplicate()), shards })
    }

    fn explain(&self, error: runtime::Error) -> anyhow::Error {
        explain(error, &self.name, &self.input_names)
    }
}

/// Says which input is meant.
fn explain(error: runtime::Error, name: &str, input_names: &[String]) -> anyhow::Error {
    let input = match &error {
        runtime::Error::ArgumentType { index, .. } => input_names.get(*index).cloned(),
        _ => None,
    };
    let error = anyhow!(error).context(format!("running the program `{name}`"));
    match input {
        Some(input) => error.context(format!("its input `{input}` does not fit")),
        None => error,
    }
}

/// A compiled function of one device without its trees, for these belong to the thread that traced it, and any thread may call this.
/// Leaves are known by their places.
pub struct Routine {
    client: Client,
    name: String,
    program: Program,
    input_names: Vec<String>,
    outputs: Vec<String>,
}

impl Routine {
    /// The paths of the leaves that it gives.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Copies of host arrays on its device.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn upload<'a>(&self, values: impl IntoIterator<Item = &'a HostArray>) -> Result<Vec<Buffer>> {
        upload(&self.client, values, 0)
    }

    /// Runs it with the leaves that it takes, in order. The call may return before the results are computed.
    ///
    /// # Errors
    /// Leaves that do not fit, by name; whatever the device reports.
    pub fn call(&self, args: Vec<Arg>) -> Result<Vec<Buffer>> {
        self.program.run(args).map_err(|error| explain(error, &self.name, &self.input_names))
    }
}

/// What a program is called with: leaves on each of its devices, `[device][leaf]`.
pub enum Input<'a> {
    /// They stay as they are.
    Lend(Vec<Vec<&'a Buffer>>),
    /// They are used up: their memory becomes that of results, or is freed.
    Give(Vec<Vec<Buffer>>),
}

/// The leaves of a tree on the devices that hold it.
pub struct OnDevice<T> {
    /// With numbered leaves.
    tree: T,
    /// `[device][leaf]`
    shards: Vec<Vec<Buffer>>,
}

impl<T: Tree> OnDevice<T> {
    /// Host arrays as the leaves of a tree with the given structure: for each device its own.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new(client: &Client, structure: &T, shards: &[Vec<HostArray>]) -> Result<OnDevice<T>> {
        let tree = numbered(structure.duplicate());
        let shards = shards.iter().enumerate().map(|(device, values)| upload(client, values, device));
        Ok(OnDevice { tree, shards: shards.collect::<Result<_>>()? })
    }

    /// Paths of the leaves.
    pub fn names(&self) -> Vec<String> {
        leaf_paths(&self.tree)
    }

    /// The leaves for a program, which stay as they are.
    pub fn lend(&self) -> Input<'_> {
        Input::Lend(self.shards.iter().map(|shard| shard.iter().collect()).collect())
    }

    /// The leaves of a part of the tree.
    pub fn lend_part<P: Tree>(&self, part: impl FnOnce(&T) -> &P) -> Input<'_> {
        let chosen = positions(part(&self.tree));
        let of = |shard| chosen.iter().map(|&leaf| &(shard as &'_ Vec<Buffer>)[leaf]).collect();
        Input::Lend(self.shards.iter().map(of).collect())
    }

    /// The leaves for a program, which may use them up.
    pub fn give(self) -> Input<'static> {
        Input::Give(self.shards)
    }

    /// The buffers of each device, by the number of the leaf.
    pub fn shards(&self) -> &[Vec<Buffer>] {
        &self.shards
    }

    /// The leaves of a part of the tree, as the first device holds them.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn fetch<P: Tree>(&self, part: impl FnOnce(&T) -> &P) -> Result<Vec<HostArray>> {
        let chosen = positions(part(&self.tree)).into_iter();
        chosen.map(|leaf| Ok(self.shards[0][leaf].to_host()?)).collect()
    }

    /// All leaves, as the first device holds them.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn fetch_all(&self) -> Result<Outputs<HostArray>> {
        Ok(Outputs::new(&self.names(), self.fetch(|tree| tree)?))
    }

    /// Waits until the last leaf is computed.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn wait(&self) -> Result<()> {
        self.shards.iter().filter_map(|shard| shard.last()).try_for_each(|leaf| Ok(leaf.wait()?))
    }
}

impl<A: Tree, B: Tree> OnDevice<(A, B)> {
    pub fn unzip(self) -> (OnDevice<A>, OnDevice<B>) {
        let (a, b) = self.tree;
        let mut first = self.shards;
        let second = first.iter_mut().map(|shard| shard.split_off(leaves(&a).len())).collect();
        (OnDevice { tree: numbered(a), shards: first }, OnDevice { tree: numbered(b), shards: second })
    }
}

fn upload<'a>(
    client: &Client,
    values: impl IntoIterator<Item = &'a HostArray>,
    device: usize,
) -> Result<Vec<Buffer>> {
    values.into_iter().map(|value| Ok(client.to_device(value, device)?)).collect()
}

/// The structure of a tree whose leaves know their numbers, so that [`positions`] finds any part of it again.
pub fn numbered<T: Tree>(tree: T) -> T {
    let number = |(i, leaf): (usize, Handle)| Handle::numbered(i as u32, &leaf.array_type());
    let leaves: Vec<Handle> = leaves(&tree).into_iter().enumerate().map(number).collect();
    rebuild(tree, &leaves)
}

/// The numbers of the leaves of a part of a [`numbered`] tree.
pub fn positions<T: Tree>(part: &T) -> Vec<usize> {
    leaves(part).into_iter().map(|leaf| leaf.number() as usize).collect()
}

/// Where functions of host arrays run.
#[derive(Clone)]
pub enum Backend {
    /// On the first device of a client.
    Device(Client),
    /// In the interpreter: slowly and obviously.
    Oracle,
}

impl From<&Client> for Backend {
    fn from(client: &Client) -> Self {
        Backend::Device(client.clone())
    }
}

/// A function from host arrays, the leaves of a tree in order, to host arrays that are read by name.
pub struct HostFunction {
    runner: Runner,
    outputs: Vec<String>,
}

enum Runner {
    Device(Box<Jit<Leaves, Leaves>>),
    Oracle(Graph),
}

impl HostFunction {
    /// Traces `function`, whose input `input` only describes, for where it is to run.
    ///
    /// # Errors
    /// Whatever the compiler says.
    #[track_caller]
    pub fn new<X: Tree, Y: Tree>(
        backend: &Backend,
        name: &str,
        input: &X,
        function: impl FnOnce(X) -> Y,
    ) -> Result<HostFunction> {
        let structure = input.duplicate();
        let function = |given: Leaves| Leaves::of(&function(rebuild(structure, &leaves(&given))));
        let input = Leaves::of(input);
        Ok(match backend {
            Backend::Oracle => {
                let Signature { graph, output_names, .. } = trace(&input, function);
                HostFunction { runner: Runner::Oracle(graph), outputs: output_names }
            }
            Backend::Device(client) => {
                let jit = Jit::new(client, name, &lower::Options::default(), &input, function)?;
                HostFunction { outputs: leaf_paths(jit.output()), runner: Runner::Device(Box::new(jit)) }
            }
        })
    }

    /// # Errors
    /// Inputs that do not fit, or whatever the device reports.
    pub fn call(&self, inputs: &[HostArray]) -> Result<Outputs<HostArray>> {
        let values = match &self.runner {
            Runner::Oracle(graph) => interpret(graph, inputs),
            Runner::Device(jit) => jit.call([jit.upload(inputs)?])?.fetch(|output| output)?,
        };
        Ok(Outputs::new(&self.outputs, values))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::lang::Float;
    use crate::runtime::DeviceKind;

    /// How often a compiler was asked that refuses what `refuses` says, and what came of it.
    fn compiled(clusters: bool, refuses: impl Fn(&str) -> bool) -> (usize, Result<bool, String>) {
        let target = Target { clusters, ..Target::plain(DeviceKind::Cpu) };
        let input = Float::placeholder(crate::array::DType::F32, [4]);
        let lowered = Lowered::new(target, &lower::Options::default(), &input, |x: Float| {
            (0..6).fold(x, |x, _| x.sin() * x.cos())
        });
        assert_eq!(lowered.module.contains("@cluster_0"), clusters);
        let asked = RefCell::new(0);
        let compile = |module: &str| {
            *asked.borrow_mut() += 1;
            match refuses(module) {
                true => Err(runtime::Error::Compile { message: "no".into() }),
                false => Ok(module.contains("@cluster_0")),
            }
        };
        let result = lowered.source().try_with(compile);
        let result = result.map_err(|error| error.to_string()).map(|(has_clusters, refusal)| {
            assert_eq!(refusal.is_some(), asked.borrow().eq(&2));
            has_clusters
        });
        (asked.take(), result)
    }

    #[test]
    fn a_program_that_is_refused_is_tried_without_clusters() {
        let of_clusters = |module: &str| module.contains("@cluster_0");
        assert_eq!(compiled(true, |_| false), (1, Ok(true)));
        assert_eq!(compiled(true, of_clusters), (2, Ok(false)));
        assert_eq!(compiled(false, of_clusters), (1, Ok(false)));
        let (asked, refused) = compiled(true, |_| true);
        assert!(asked == 2 && refused.is_err(), "{refused:?}");
        assert_eq!(compiled(false, |_| true).0, 1);
    }
}
