//! A step of Adam along a clipped gradient: the types of the kernel and its twin.

use crate::array::ArrayType;
use crate::runtime::kernels::{BETA1, BETA2};

use super::super::{Binary, Build, Reduction, Unary, Var};

/// Vectors that a step changes.
const VECTORS: usize = 3;

/// The types of the results.
///
/// # Errors
/// What does not fit.
pub fn infer(name: &str, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    let (vectors, numbers) = inputs.split_at(VECTORS + 1);
    let fit = vectors.iter().all(|vector| *vector == vectors[0]) && vectors[0].rank() == 1;
    match fit && numbers.iter().all(|number| number.rank() == 0) {
        true => Ok(vectors[..VECTORS].iter().chain(&numbers[..1]).map(|&result| result.clone()).collect()),
        false => {
            Err(format!("{name} of {}", inputs.iter().map(|x| x.to_string()).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// The twin.
pub fn adam(b: &mut Build, inputs: &[Var]) -> Vec<Var> {
    let &[params, mean, square, gradient, max_norm, lr, mean_scale, square_scale, epsilon] = inputs else {
        unreachable!("the inputs were counted")
    };
    let shape = b.array_type(params).shape;
    let squares = b.mul(gradient, gradient);
    let sum = b.reduce(Reduction::Sum, squares, &[0]);
    let norm = b.unary(Unary::Sqrt, sum);
    let (share, one) = (b.div(max_norm, norm), b.full_like(norm, 1.0));
    let scale = b.binary(Binary::Min, share, one);
    let [scale, lr, mean_scale, square_scale, epsilon] =
        [scale, lr, mean_scale, square_scale, epsilon].map(|number| b.broadcast(number, &shape, &[]));
    let gradient = b.mul(gradient, scale);
    let squares = b.mul(gradient, gradient);
    let [mean, square] = [(mean, gradient, BETA1), (square, squares, BETA2)].map(|(before, new, beta)| {
        let [keep, take] = [beta, 1.0 - beta].map(|share| b.full_like(before, share));
        let (kept, taken) = (b.mul(before, keep), b.mul(new, take));
        b.add(kept, taken)
    });
    let (up, down) = (b.mul(mean, mean_scale), b.mul(square, square_scale));
    let (up, down) = (b.mul(lr, up), b.unary(Unary::Sqrt, down));
    let down = b.add(down, epsilon);
    let step = b.div(up, down);
    vec![b.sub(params, step), mean, square, norm]
}
