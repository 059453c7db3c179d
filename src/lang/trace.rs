//! The ambient trace: a thread-local stack of blocks that array operations append equations to.
//!
//! Why ambient: `x + y` must work on plain `Copy` handles, so the graph under construction is found
//! through the thread, not through the values. A block is opened for the whole program and for every
//! body of a loop, branch, vmap or gradient; its guard closes it again, also when tracing panics. A handle
//! of an outer block used in an inner one becomes an explicit input of the inner graph (a capture);
//! a scalar constant is written again instead.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::array::{ArrayType, HostArray};
use crate::ir::{Graph, Location, Op, Var, check_appended, checked};
use crate::runtime::DeviceKind;

/// A variable of some block, with its type and the line that made it. Only means something while that
/// block is open; afterwards it still tells its type (see [`Handle::placeholder`]).
#[derive(Clone, Copy, Debug)]
pub struct Handle {
    block: u64,
    var: Var,
    array_type: TypeId,
    made: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TypeId(u32);

impl Handle {
    /// A handle that has a type but no value: the leaf of a tree that only describes a structure.
    #[track_caller]
    pub fn placeholder(array_type: &ArrayType) -> Self {
        Handle { block: 0, var: Var(0), array_type: intern(array_type), made: std::panic::Location::caller() }
    }

    /// A placeholder that knows the number of its leaf in a tree.
    #[track_caller]
    pub(super) fn numbered(number: u32, array_type: &ArrayType) -> Self {
        Handle { var: Var(number), ..Handle::placeholder(array_type) }
    }

    /// The number of a leaf that was made by [`Handle::numbered`].
    pub(super) fn number(self) -> u32 {
        debug_assert_eq!(self.block, 0, "only placeholders are numbered");
        self.var.0
    }

    pub fn array_type(self) -> ArrayType {
        TYPES.with_borrow(|types| types.list[self.array_type.0 as usize].clone())
    }
}

/// A body that was traced: its graph, whose inputs are the parameters and then the captures.
pub struct Traced {
    pub graph: Graph,
    pub captures: Vec<Handle>,
}

struct Block {
    serial: u64,
    /// A root sees nothing of the blocks below it.
    root: bool,
    graph: Graph,
    captures: Vec<Handle>,
    captured: HashMap<(u64, Var), Var>,
    constants: HashMap<Var, HostArray>,
    /// Scalar constants already written here, by dtype and bytes.
    written: HashMap<(crate::array::DType, Vec<u8>), Var>,
}

#[derive(Default)]
struct Stack {
    blocks: Vec<Block>,
    serials: u64,
}

#[derive(Default)]
struct Types {
    list: Vec<ArrayType>,
    ids: HashMap<ArrayType, TypeId>,
}

thread_local! {
    static STACK: RefCell<Stack> = RefCell::default();
    static TYPES: RefCell<Types> = RefCell::default();
    static TARGET: Cell<DeviceKind> = const { Cell::new(DeviceKind::Cpu) };
}

/// Runs `build`, which traces programs for devices of that kind. They mean the same on every device; what differs is
/// the form of a few things that are cheap on one kind and dear on another.
pub fn traced_for<R>(kind: DeviceKind, build: impl FnOnce() -> R) -> R {
    struct Restore(DeviceKind);
    impl Drop for Restore {
        fn drop(&mut self) {
            TARGET.set(self.0);
        }
    }
    let _restore = Restore(TARGET.replace(kind));
    build()
}

/// Whether a program is being traced on this thread.
pub fn is_tracing() -> bool {
    STACK.with(|stack| stack.try_borrow().map_or(true, |stack| !stack.blocks.is_empty()))
}

/// The kind of device that is traced for: cpu, unless [`traced_for`] says otherwise.
pub fn target() -> DeviceKind {
    TARGET.get()
}

fn intern(array_type: &ArrayType) -> TypeId {
    TYPES.with_borrow_mut(|types| {
        if let Some(&id) = types.ids.get(array_type) {
            return id;
        }
        let id = TypeId(types.list.len() as u32);
        types.list.push(array_type.clone());
        types.ids.insert(array_type.clone(), id);
        id
    })
}

/// Appends an equation to the innermost block. Panics at the caller's line if the inputs do not fit.
#[track_caller]
pub(super) fn emit(op: Op, inputs: &[Handle]) -> Vec<Handle> {
    let location = std::panic::Location::caller();
    match STACK.with_borrow_mut(|stack| stack.emit(op, inputs, location)) {
        Ok(outputs) => outputs,
        Err(message) => panic!("{message}"),
    }
}

/// Appends equations through a pass that writes into graphs itself: `write` gets the innermost graph and
/// the inputs as its variables.
#[track_caller]
pub(super) fn emit_with(
    inputs: &[Handle],
    write: impl FnOnce(&mut Graph, &[Var], Location) -> Result<Vec<Var>, String>,
) -> Vec<Handle> {
    let location = std::panic::Location::caller();
    let result = STACK.with_borrow_mut(|stack| {
        let vars = stack.resolve_all(inputs)?;
        let block = stack.top()?;
        let before = block.graph.equations.len();
        let outputs = write(&mut block.graph, &vars, location)?;
        check_appended("a pass", &block.graph, before);
        Ok(outputs.into_iter().map(|var| block.handle(var, location)).collect())
    });
    match result {
        Ok(outputs) => outputs,
        Err(message) => {
            let message: String = message;
            panic!("{message}")
        }
    }
}

/// Traces `body` in a block of its own and returns its graph with the handles that it captured.
#[track_caller]
pub(super) fn trace_block(parameters: &[ArrayType], body: impl FnOnce(Vec<Handle>) -> Vec<Handle>) -> Traced {
    trace_in(parameters, false, body)
}

/// Traces a whole program: nothing of an enclosing trace can be captured.
#[track_caller]
pub(super) fn trace_root(parameters: &[ArrayType], body: impl FnOnce(Vec<Handle>) -> Vec<Handle>) -> Graph {
    checked("tracing", trace_in(parameters, true, body).graph)
}

#[track_caller]
fn trace_in(parameters: &[ArrayType], root: bool, body: impl FnOnce(Vec<Handle>) -> Vec<Handle>) -> Traced {
    let location = std::panic::Location::caller();
    let (guard, parameters) = BlockGuard::open(parameters, root, location);
    let outputs = body(parameters);
    let closed = STACK.with_borrow_mut(|stack| {
        let outputs = stack.resolve_all(&outputs)?;
        let block = stack.top()?;
        block.graph.outputs = outputs;
        Ok((std::mem::take(&mut block.graph), std::mem::take(&mut block.captures)))
    });
    drop(guard);
    match closed {
        Ok((graph, captures)) => Traced { graph, captures },
        Err(message) => {
            let message: String = message;
            panic!("{message}")
        }
    }
}

/// Closes its block when dropped, also during a panic.
struct BlockGuard {
    serial: u64,
}

impl BlockGuard {
    fn open(parameters: &[ArrayType], root: bool, location: Location) -> (Self, Vec<Handle>) {
        STACK.with_borrow_mut(|stack| {
            stack.serials += 1;
            let mut block = Block {
                serial: stack.serials,
                root,
                graph: Graph::new(),
                captures: Vec::new(),
                captured: HashMap::new(),
                constants: HashMap::new(),
                written: HashMap::new(),
            };
            let handles = parameters
                .iter()
                .map(|array_type| {
                    let var = block.graph.input(array_type.clone());
                    block.handle(var, location)
                })
                .collect();
            let serial = block.serial;
            stack.blocks.push(block);
            (BlockGuard { serial }, handles)
        })
    }
}

impl Drop for BlockGuard {
    fn drop(&mut self) {
        STACK.with_borrow_mut(
            |stack| {
                while stack.blocks.pop().is_some_and(|block| block.serial != self.serial) {}
            },
        );
    }
}

impl Block {
    fn handle(&self, var: Var, made: Location) -> Handle {
        Handle { block: self.serial, var, array_type: intern(self.graph.array_type(var)), made }
    }

    /// Writes a scalar constant once per block.
    fn constant(&mut self, value: HostArray, location: Location) -> Result<Var, String> {
        let key = (value.dtype(), value.to_bytes().into_owned());
        if let Some(&var) = self.written.get(&key) {
            return Ok(var);
        }
        let var = self.graph.push(Op::Constant(value.clone()), &[], location)?[0];
        self.written.insert(key, var);
        self.constants.insert(var, value);
        Ok(var)
    }
}

impl Stack {
    fn top(&mut self) -> Result<&mut Block, String> {
        self.blocks
            .last_mut()
            .ok_or_else(|| "no trace is active: arrays exist only inside a traced function".into())
    }

    fn emit(&mut self, op: Op, inputs: &[Handle], location: Location) -> Result<Vec<Handle>, String> {
        let vars = self.resolve_all(inputs)?;
        let block = self.top()?;
        let outputs = match op {
            Op::Constant(value) if value.shape().is_empty() => vec![block.constant(value, location)?],
            op => block.graph.push(op, &vars, location)?,
        };
        Ok(outputs.into_iter().map(|var| block.handle(var, location)).collect())
    }

    fn resolve_all(&mut self, handles: &[Handle]) -> Result<Vec<Var>, String> {
        handles.iter().map(|&handle| self.resolve(handle)).collect()
    }

    /// The variable of the innermost block that stands for `handle`, captured through all blocks between.
    fn resolve(&mut self, handle: Handle) -> Result<Var, String> {
        let first_visible = self.blocks.iter().rposition(|b| b.root).unwrap_or(0);
        let home = self.blocks[first_visible.min(self.blocks.len())..]
            .iter()
            .rposition(|block| block.serial == handle.block)
            .map(|position| position + first_visible)
            .ok_or_else(|| {
                format!(
                    "an array made at {} belongs to a trace that has ended (or to a body that was left); \
                     pass it out as a result instead",
                    handle.made
                )
            })?;
        let mut current = handle;
        if let Some(value) = self.blocks[home].constants.get(&handle.var).cloned() {
            return self.top()?.constant(value, handle.made);
        }
        for level in home + 1..self.blocks.len() {
            let block = &mut self.blocks[level];
            let key = (handle.block, handle.var);
            let var = match block.captured.get(&key) {
                Some(&var) => var,
                None => {
                    let var = block.graph.input(handle.array_type());
                    block.captures.push(current);
                    block.captured.insert(key, var);
                    var
                }
            };
            current = block.handle(var, handle.made);
        }
        Ok(current.var)
    }
}
