//! Buffers: arrays on a device.

use std::fmt;

use super::error::{Error, Result};
use super::ffi::BufferHandle;
use super::kernels::take_failure;
use crate::array::{ArrayType, HostArray};

/// An array on a device; dropping it frees the memory. The value may still be being computed.
pub struct Buffer {
    handle: BufferHandle,
    array_type: ArrayType,
}

impl Buffer {
    pub(super) fn new(handle: BufferHandle, array_type: ArrayType) -> Self {
        Buffer { handle, array_type }
    }

    pub fn array_type(&self) -> &ArrayType {
        &self.array_type
    }

    /// Waits until the value is computed. Errors: the program that computes it failed.
    pub fn wait(&self) -> Result<()> {
        self.handle.wait()?;
        checked(())
    }

    /// Copies the value to the host, once it is computed.
    pub fn to_host(&self) -> Result<HostArray> {
        checked(self.handle.download(&self.array_type)?)
    }

    pub(super) fn handle(&self) -> &BufferHandle {
        &self.handle
    }
}

/// What was computed, unless a kernel has failed meanwhile.
fn checked<T>(computed: T) -> Result<T> {
    match take_failure() {
        None => Ok(computed),
        Some(problem) => Err(Error::Kernel { problem }),
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.array_type)
    }
}
