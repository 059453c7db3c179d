//! A step of Adam along a clipped gradient, over one vector of parameters.
//!
//! Of plain ops it is a sum in some stages and four passes over arrays that are started one by one; a step of a small network costs less
//! than the starts.

use super::call::Call;
use super::lanes::{Lanes, best_lanes};

/// How much of the running mean of the gradient stays in a step.
pub const BETA1: f64 = 0.9;
/// The same of the mean of its square.
pub const BETA2: f64 = 0.999;

pub fn adam(call: &mut Call) -> Result<(), String> {
    let gradient = call.operand::<f32>(3)?;
    let mut numbers = [0.0; 5];
    for (i, number) in numbers.iter_mut().enumerate() {
        let [found] = call.operand::<f32>(4 + i)?.data else {
            return Err(format!("operand {} is no number", 4 + i));
        };
        *number = *found;
    }
    let [params, mean, square] = call.results_in_place::<f32, 3>()?;
    let [norm] = call.result_at::<f32>(3)? else { return Err("the norm is no number".into()) };
    if [params.len(), mean.len(), square.len()] != [gradient.data.len(); 3] {
        return Err(format!("{} parameters with a gradient {:?}", params.len(), gradient.shape));
    }
    step(params, mean, square, gradient.data, numbers, norm);
    Ok(())
}

best_lanes! {
    /// Moves the parameters and the means. The numbers are the largest norm of the gradient, the learning rate, what makes up for the
    /// beginnings of the mean and of that of squares, and epsilon; `norm` is that of the gradient before it was clipped.
    fn step = step_with(
        params: &mut [f32],
        mean: &mut [f32],
        square: &mut [f32],
        gradient: &[f32],
        numbers: [f32; 5],
        norm: &mut f32,
    )
}

// The compiler makes vectors of the loops, as wide as the instruction set that it compiles for.
#[inline(always)]
unsafe fn step_with<L: Lanes>(
    params: &mut [f32],
    mean: &mut [f32],
    square: &mut [f32],
    gradient: &[f32],
    numbers: [f32; 5],
    norm: &mut f32,
) {
    const SUMS: usize = 64;
    let [max_norm, lr, mean_scale, square_scale, epsilon] = numbers;
    let mut sums = [0.0f32; SUMS];
    let chunks = gradient.chunks_exact(SUMS);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, g) in sums.iter_mut().zip(chunk) {
            *sum += g * g;
        }
    }
    for (sum, g) in sums.iter_mut().zip(rest) {
        *sum += g * g;
    }
    *norm = sums.iter().sum::<f32>().sqrt();
    let share = max_norm / *norm;
    let scale = if share > 1.0 { 1.0 } else { share }; // a number that is none stays so
    let [(keep1, take1), (keep2, take2)] = [BETA1, BETA2].map(|beta| (beta as f32, (1.0 - beta) as f32));
    let places = params.iter_mut().zip(mean).zip(square).zip(gradient);
    for (((param, mean), square), &g) in places {
        let g = g * scale;
        *mean = *mean * keep1 + g * take1;
        *square = *square * keep2 + g * g * take2;
        *param -= lr * (*mean * mean_scale) / ((*square * square_scale).sqrt() + epsilon);
    }
}
