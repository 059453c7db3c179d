//! Programs: compiled modules, loaded on their devices.

use std::fmt;

use super::buffer::Buffer;
use super::cache::CacheOutcome;
use super::error::{Error, Result};
use super::ffi::ExecutableHandle;
use crate::array::ArrayType;

/// A compiled program. It may be run from several threads.
pub struct Program {
    executable: ExecutableHandle,
    num_replicas: usize,
    inputs: Vec<ArrayType>,
    outputs: Vec<ArrayType>,
    cache: CacheOutcome,
    compile_seconds: f64,
}

/// An argument of a program.
pub enum Arg<'a> {
    /// The buffer stays as it is and can be used again.
    Borrow(&'a Buffer),
    /// The buffer is given away: its memory becomes that of the output that the module aliases to this
    /// argument (`tf.aliasing_output`), or is freed.
    Donate(Buffer),
}

impl Arg<'_> {
    fn buffer(&self) -> &Buffer {
        match self {
            Arg::Borrow(buffer) => buffer,
            Arg::Donate(buffer) => buffer,
        }
    }
}

impl<'a> From<&'a Buffer> for Arg<'a> {
    fn from(buffer: &'a Buffer) -> Self {
        Arg::Borrow(buffer)
    }
}

impl From<Buffer> for Arg<'_> {
    fn from(buffer: Buffer) -> Self {
        Arg::Donate(buffer)
    }
}

impl Program {
    pub(super) fn new(
        executable: ExecutableHandle,
        num_replicas: usize,
        inputs: Vec<ArrayType>,
        cache: CacheOutcome,
        compile_seconds: f64,
    ) -> Result<Self> {
        let outputs = executable.output_types()?;
        Ok(Program { executable, num_replicas, inputs, outputs, cache, compile_seconds })
    }

    /// Types of the arguments, on one replica.
    pub fn input_types(&self) -> &[ArrayType] {
        &self.inputs
    }

    /// Types of the results, on one replica.
    pub fn output_types(&self) -> &[ArrayType] {
        &self.outputs
    }

    pub fn num_replicas(&self) -> usize {
        self.num_replicas
    }

    /// Whether the program came from the program cache.
    pub fn cache(&self) -> CacheOutcome {
        self.cache
    }

    /// How long it took to compile the program, or to load it from the cache.
    pub fn compile_seconds(&self) -> f64 {
        self.compile_seconds
    }

    /// Runs a program of one replica. The call may return before the results are computed; reading them
    /// waits. Errors that happen while computing are reported there.
    pub fn run(&self, args: Vec<Arg>) -> Result<Vec<Buffer>> {
        Ok(self.run_replicas(vec![args])?.remove(0))
    }

    /// Runs the program on all its replicas: from `args[replica][argument]` to `[replica][output]`. The
    /// arguments of replica `r` lie on device `r`. An argument is donated only if every replica donates it.
    pub fn run_replicas(&self, args: Vec<Vec<Arg>>) -> Result<Vec<Vec<Buffer>>> {
        if args.len() != self.num_replicas {
            return Err(Error::ReplicaCount { expected: self.num_replicas, given: args.len() });
        }
        for replica in &args {
            self.check(replica)?;
        }
        let is_borrowed = |&index: &usize| args.iter().any(|list| matches!(list[index], Arg::Borrow(_)));
        let borrowed: Vec<i64> =
            (0..self.inputs.len()).filter(is_borrowed).map(|index| index as i64).collect();
        let arguments: Vec<_> = args.iter().flatten().map(|arg| arg.buffer().handle()).collect();

        let results = self.executable.execute(&arguments, self.num_replicas, &borrowed)?;
        let typed = |handles: Vec<_>| {
            handles.into_iter().zip(&self.outputs).map(|(h, t)| Buffer::new(h, t.clone())).collect()
        };
        Ok(results.into_iter().map(typed).collect())
    }

    fn check(&self, args: &[Arg]) -> Result<()> {
        if args.len() != self.inputs.len() {
            return Err(Error::ArgumentCount { expected: self.inputs.len(), given: args.len() });
        }
        for (index, (arg, expected)) in args.iter().zip(&self.inputs).enumerate() {
            let given = arg.buffer().array_type();
            if given != expected {
                return Err(Error::ArgumentType { index, expected: expected.clone(), given: given.clone() });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({} inputs, {} outputs)", self.inputs.len(), self.outputs.len())
    }
}
