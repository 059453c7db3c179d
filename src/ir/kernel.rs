//! Kernels: mathematics that a native function computes where there is one for the device, and plain ops elsewhere.
//!
//! The plain ops, the kernel's twin, say what it means: the oracle runs them, and a device without the native function gets
//! them. Gradient and vmap have rules of their own, which use kernels again.

use crate::array::{ArrayType, DType};

use super::{Build, Graph, Location, Op};

/// A kernel. Each has a native function of the same name (`runtime::kernels`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// (x `[N, I]`, w `[I, W]`) -> `[N, W]`: the matrix product, where x is expected to be mostly zeros.
    SparseDot,
    /// (x `[N, I]`, g `[N, W]`) -> `[I, W]`: the product of x, transposed, and g; x as above.
    SparseDotTransposed,
    /// (x `[N, I]`) -> `[N, I]`: x as the two products read it fastest, and only they can read it. The twin leaves x as it is.
    Squeeze,
}

impl Kernel {
    pub const ALL: [Kernel; 3] = [Kernel::SparseDot, Kernel::SparseDotTransposed, Kernel::Squeeze];

    pub fn name(self) -> &'static str {
        match self {
            Kernel::SparseDot => "sparse_dot",
            Kernel::SparseDotTransposed => "sparse_dot_transposed",
            Kernel::Squeeze => "squeeze",
        }
    }

    /// Whether the native function computes with arrays of this dtype.
    pub fn is_native_for(self, dtype: DType) -> bool {
        match self {
            Kernel::SparseDot | Kernel::SparseDotTransposed | Kernel::Squeeze => dtype == DType::F32,
        }
    }

    pub(super) fn num_inputs(self) -> usize {
        match self {
            Kernel::SparseDot | Kernel::SparseDotTransposed => 2,
            Kernel::Squeeze => 1,
        }
    }

    /// The op of the twin, if it is not x itself.
    pub(super) fn plain(self) -> Option<Op> {
        let contract = match self {
            Kernel::SparseDot => (vec![1], vec![0]),
            Kernel::SparseDotTransposed => (vec![0], vec![0]),
            Kernel::Squeeze => return None,
        };
        Some(Op::Dot { batch: (vec![], vec![]), contract })
    }

    /// The twin, for inputs of these types.
    pub fn twin(self, inputs: &[ArrayType], location: Location) -> Graph {
        let mut graph = Graph::new();
        let inputs: Vec<_> = inputs.iter().map(|array_type| graph.input(array_type.clone())).collect();
        graph.outputs = match self.plain() {
            Some(op) => Build::new(&mut graph, location).many(op, &inputs),
            None => inputs,
        };
        graph
    }
}
