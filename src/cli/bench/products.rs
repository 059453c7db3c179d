//! The rate at which this machine multiplies large matrices, measured by the plugin's own products. It is what the products of a
//! training step could reach at best, so the two are shown side by side.

use anyhow::Result;

use crate::lang::{Float, Jit, OnDevice, scan_range};
use crate::lower::{self, Precision};
use crate::runtime::Client;

/// Rows and columns of a matrix: large enough that moving numbers costs little beside multiplying them.
const SIZE: usize = 1024;
/// Products of one run, on each device.
const PRODUCTS: usize = 8;

/// The product of matrices again and again, on all devices of a client at the same time.
pub struct Products {
    multiply: Jit<Float, Float>,
    matrix: OnDevice<Float>,
    devices: usize,
}

impl Products {
    /// Compiles the program.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn new(client: &Client, precision: Precision) -> Result<Products> {
        let devices = client.devices();
        let options = lower::Options { num_replicas: devices, precision, ..Default::default() };
        // All elements are 1 / SIZE, and so are those of every product.
        let init =
            Jit::new(client, "matrix", &options, &(), |()| Float::full([SIZE, SIZE], 1.0 / SIZE as f64))?;
        let matrix = init.call([])?;
        let multiply = Jit::new(client, "matrix products", &options, init.output(), |matrix: Float| {
            scan_range(PRODUCTS, matrix, |product, _| (product.matmul(matrix), ())).0
        })?;
        Ok(Products { multiply, matrix, devices })
    }

    /// Multiplies once and waits for the end.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn run(&self) -> Result<()> {
        self.multiply.call([self.matrix.lend()])?.wait()
    }

    /// Floating-point operations of a run.
    pub fn flops(&self) -> f64 {
        (self.devices * PRODUCTS * 2 * SIZE.pow(3)) as f64
    }
}
