//! Native kernels: Rust functions that XLA programs call on cpu, where they are faster than what XLA makes of the
//! same mathematics; and the functions of native environments.
//!
//! The module is compiled into the crate as `runtime::kernels` (README.md beside it says how the parts meet). Each
//! kernel has a plain twin, a few ops that every device computes: `ir::Kernel` names it, and the tests hold the
//! two against each other. Only the functions of native environments have none: a library is code for the processor.

mod adam;
pub mod all_reduce;
mod call;
mod conv;
mod conv_calls;
mod dot_bf16;
mod dot_calls;
mod failure;
mod helpers;
mod join;
mod lanes;
mod matrices;
mod mlp;
mod mlp_calls;
mod native_env;
mod pack;
mod product;
mod put_back;
mod recurrence;
mod recurrent;
mod recurrent_calls;
mod rows;
mod sparse_calls;
mod sparse_dot;
mod take_columns;
mod tanh;
mod transpose;

use std::ffi::c_void;
use std::sync::{Mutex, OnceLock};

pub use adam::{BETA1, BETA2};
pub use call::Handler;
use call::{Call, Frame};
pub use conv::{TAPS as CONV_TAPS, WIDTH as CONV_WIDTH};
pub use dot_bf16::WIDTH as DOT_WIDTH;
pub use failure::take_failure;
pub use mlp::Activation;
pub use native_env::LIBRARY;
pub use recurrent::CellKind;

/// The name under which XLA programs call a kernel, and the function.
pub struct Entry {
    pub name: &'static str,
    pub handler: Handler,
}

/// Defines the names and [`KERNELS`], the list of all kernels: each name stands for the function after it.
macro_rules! kernels {
    ($($(#[$doc:meta])* $NAME:ident = $name:literal => $kernel:path;)*) => {
        $($(#[$doc])* pub const $NAME: &str = $name;)*

        /// All kernels.
        pub const KERNELS: &[Entry] = &[$({
            unsafe extern "C" fn handler(frame: *mut Frame) -> *mut c_void {
                // SAFETY: XLA calls it.
                unsafe { call::answer(frame, $kernel) }
            }
            Entry { name: $NAME, handler }
        }),*];
    };
}

kernels! {
    /// (x, w f32`[I, W]`) -> f32`[N, W]`: the product of x and w. Here and below x is f32`[N, I]`, or packed: the results
    /// of [`PACK`] and the order. A list i32`[N]` may follow it, of which rows are meant.
    SPARSE_DOT = "lockstep_sparse_dot" => sparse_calls::sparse_dot;
    /// (x, g f32`[N, W]`) -> f32`[I, W]`: the product of x, transposed, and g.
    SPARSE_DOT_TRANSPOSED = "lockstep_sparse_dot_transposed" => sparse_calls::sparse_dot_transposed;
    /// The operands of the kernel before, then sum f32`[I, W]` -> f32`[I, W]`, in the place of the sum: the product and the sum
    /// added.
    SPARSE_DOT_TRANSPOSED_ADD = "lockstep_sparse_dot_transposed_add" => sparse_calls::sparse_dot_transposed_add;
    /// (x f32`[I, N]`, order i32`[I]`) -> (f32`[N, F]`, u32`[N, B]`): in each row the numbers of the first F columns of x in this
    /// order, and for each of the others a bit: whether it is not zero.
    PACK = "lockstep_pack" => pack::pack;
    /// (x f32`[N, I]`, then for each layer its kernel and its bias) -> the output f32`[N, W]` of each layer, the last one without
    /// activation.
    MLP = "lockstep_mlp" => mlp_calls::mlp;
    /// (x, kernels and biases as above, the outputs of all layers but the last, the cotangent of the last) -> the gradient of x
    /// if there is one result more than kernels and biases, then those of each kernel and bias.
    MLP_GRADIENT = "lockstep_mlp_gradient" => mlp_calls::mlp_gradient;
    /// The operands of several calls of [`MLP`], one after the other, and their results; [`sizes_of`] says how many.
    MLPS = "lockstep_mlps" => mlp_calls::mlps;
    /// The same of [`MLP_GRADIENT`].
    MLP_GRADIENTS = "lockstep_mlp_gradients" => mlp_calls::mlp_gradients;
    /// (read f32`[T, N, G x H]`, starts bool`[T, N]`, kernel f32`[H, G x H]`, bias f32`[G x H]`, then arrays f32`[N, H]` that are
    /// remembered) -> what is remembered after each step, as many f32`[T, N, H]`, and what it mixed, f32`[T, N, G x H]`.
    RECURRENT = "lockstep_recurrent" => recurrent_calls::recurrent;
    /// (the operands above, the results above, the cotangents of all but the last) -> the gradients of what is read, the kernel, the bias and what was
    /// remembered at the beginning.
    RECURRENT_GRADIENT = "lockstep_recurrent_gradient" => recurrent_calls::recurrent_gradient;
    /// (factors f32`[T, ..]`, terms f32`[T, ..]`, begin f32`[..]`) -> f32`[T, ..]`: each step is its factors times the step before, first
    /// `begin`, plus its terms.
    LINEAR_RECURRENCE = "lockstep_linear_recurrence" => recurrence::linear_recurrence;
    /// (images f32`[N, H, W, C]`, kernel f32`[3, 3, C, O]`) -> f32`[N, H, W, O]`: the convolution of the images with a zero all around.
    CONV = "lockstep_conv" => conv_calls::conv;
    /// (images f32`[N, H, W, C]`, cotangent f32`[N, H, W, O]`) -> the gradient f32`[3, 3, C, O]` of the kernel.
    CONV_GRADIENT = "lockstep_conv_gradient" => conv_calls::conv_gradient;
    /// (x f32`[M, I]` or `[I, M]`, y f32`[I, W]` or `[W, I]`) -> f32`[M, W]`: the product of both, whose numbers are rounded to bf16.
    DOT_BF16 = "lockstep_dot_bf16" => dot_calls::dot_bf16;
    /// (parameters, mean, square and gradient f32`[N]`, the largest norm, the learning rate, the scales of mean and square, and epsilon f32) ->
    /// the first three, in place, after a step of Adam along the clipped gradient, and the norm f32.
    ADAM = "lockstep_adam" => adam::adam;
    /// (arrays f32) -> f32`[N]`: all their numbers, one array behind the other.
    JOIN = "lockstep_join" => join::join;
    /// (x f32`[H, W]`) -> f32`[W, H]`.
    TRANSPOSE = "lockstep_transpose" => transpose::transpose;
    /// (chosen bool`[B]`, places i32`[B]`, A arrays `[.., B]` of any types, A arrays `[.., W]`) -> the A arrays `[.., B]`, in place:
    /// each chosen column b becomes column `places[b]` of the other array.
    PUT_BACK = "lockstep_put_back" => put_back::put_back;
    /// (tables `[S, .., B]` of any type, places i32`[B]`, rows `[.., B]`) -> the tables, in place: row `places[b]` of table b becomes
    /// row b; nothing where there is no such row.
    PUT_ROW = "lockstep_put_row" => rows::put_row;
    /// (tables `[S, .., B]` of any type, places i32`[B]`, rows `[.., B]`) -> the rows, in place: row b becomes row `places[b]` of
    /// table b; it stays where there is no such row.
    TAKE_ROW = "lockstep_take_row" => rows::take_row;
    /// (places i32`[W]`, A arrays `[.., B]` of any types) -> A arrays `[.., W]`: the columns at these places; a place outside means the
    /// nearest one.
    TAKE_COLUMNS = "lockstep_take_columns" => take_columns::take_columns;
    /// First states of a native environment; `ir::NativeFunction` says the operands and results of this and the next three.
    NATIVE_RESET = "lockstep_native_reset" => native_env::reset;
    /// A step of each of them, in place.
    NATIVE_STEP = "lockstep_native_step" => native_env::step;
    /// What is seen of their states.
    NATIVE_OBSERVE = "lockstep_native_observe" => native_env::observe;
    /// Which actions are allowed in their states.
    NATIVE_MASK = "lockstep_native_mask" => native_env::mask;
    /// (x f32, replica u32, arrays of any types that come before) -> f32: the sum of x over the devices of all processes.
    ALL_REDUCE = "lockstep_all_reduce" => all_reduce::all_reduce;
    /// (replica u32) -> u32: the number of this device among those of all processes.
    REPLICA_ID = "lockstep_replica_id" => all_reduce::replica_id;
    /// (x of any type, arrays of any types that come before) -> x, in place.
    AFTER = "lockstep_after" => all_reduce::after;
}

/// `$work` with `$T` as a type whose values have the width that both of `$widths` are, in bytes.
macro_rules! of_width {
    ($widths:expr, $T:ident => $work:expr) => {
        match $widths {
            (1, 1) => {
                type $T = u8;
                $work
            }
            (2, 2) => {
                type $T = u16;
                $work
            }
            (4, 4) => {
                type $T = u32;
                $work
            }
            (8, 8) => {
                type $T = u64;
                $work
            }
            widths => Err(format!("elements of {widths:?} bytes")),
        }
    };
}
use of_width;

/// The i32 attribute of the calls of an MLP: which activation stands between the layers, as [`Activation`] numbers them.
pub const ACTIVATION: &str = "activation";

/// The i32 attribute of the calls of a recurrent cell: which one, as [`CellKind`] numbers them.
pub const CELL: &str = "cell";

/// The i32 attribute of linear recurrences: 1 if they run from the last step to the first.
pub const REVERSE: &str = "reverse";

/// The i32 attributes of a matrix product: along which axis of each factor the sums run.
pub const CONTRACTED: [&str; 2] = ["left_axis", "right_axis"];

/// The i32 attributes of a call that is several begin so: how many operands one of them has; its number follows.
const OPERANDS_OF: &str = "operands_";
/// The same of its results.
const RESULTS_OF: &str = "results_";

/// The i32 attributes that say how many operands and how many results number `call` of a call that is several has.
pub fn sizes_of(call: usize) -> [String; 2] {
    [OPERANDS_OF, RESULTS_OF].map(|kind| format!("{kind}{call}"))
}

/// The i32 attribute of every call: how many devices share the processor's cores.
pub const DEVICES: &str = "devices";

/// Rows of a part, of `count` rows that up to `threads` threads share with at least `least` each.
fn part_of(count: usize, threads: usize, least: usize) -> usize {
    count.div_ceil(threads.clamp(1, count.div_ceil(least).max(1))).max(1)
}

/// Works on each part, in as many threads as there are parts and helpers.
fn in_threads<T: Send>(parts: impl Iterator<Item = T>, work: impl Fn(T) + Sync) {
    let parts: Vec<Mutex<Option<T>>> = parts.map(|part| Mutex::new(Some(part))).collect();
    let take = |part: usize| parts[part].lock().ok().and_then(|mut part| part.take());
    helpers::share(parts.len(), &|part| take(part).into_iter().for_each(&work));
}

/// How many cores there are.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()))
}

/// How many threads a call may use: the cores of its device, shared with those that it is made together with.
fn threads(call: &Call) -> Result<usize, String> {
    let devices = call.attribute(DEVICES)?.max(1) as usize;
    Ok((cores() / devices / call.siblings()).max(1))
}
