//! Gaussian process regression, exact and in f64 (Rasmussen and Williams 2006, chapters 2 and 5).
//!
//! The prior has mean zero and the kernel of Protein:
//!
//! k(x, x') = s (x·x' + o + (1 + √3 r) exp(-√3 r)),  r² = Σ ((x_d - x'_d) / l_d)²
//!
//! a linear trend and a Matérn 3/2 part with a length scale for each feature (automatic relevance determination), under a common output
//! scale s; observations have Gaussian noise of variance n. The hyperparameters maximise the posterior density: the marginal likelihood
//! times a log-normal prior on the noise. PufferLib carries them from one suggestion to the next and moves them a little each time; here
//! each fit begins afresh with longer steps, so that a suggestion follows from the data alone.

use super::cholesky::Cholesky;

/// All noise is at least about this; the same floor for every hyperparameter.
const FLOOR: f64 = 1e-4;
/// The prior of the logarithm of the noise: its mean is that of this variance, and its standard deviation.
const NOISE: f64 = 0.01;
const NOISE_DEVIATION: f64 = 0.5;
/// Steps of Adam, and how long they are.
const STEPS: usize = 60;
const RATE: f64 = 0.1;

/// Hyperparameters, each as the softplus of a number that may have any sign.
#[derive(Clone, Debug, PartialEq)]
struct Raw(Vec<f64>);

/// Hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyper {
    /// The length scale of each feature.
    pub lengths: Vec<f64>,
    /// The output scale s.
    pub scale: f64,
    /// The offset o of the linear part.
    pub offset: f64,
    /// The variance n of the noise.
    pub noise: f64,
}

fn softplus(x: f64) -> f64 {
    if x > 30.0 { x } else { x.exp().ln_1p() }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Raw {
    fn of(hyper: &Hyper) -> Raw {
        let raw = |value: &f64| (value - FLOOR).exp_m1().ln();
        Raw(hyper.lengths.iter().chain([&hyper.scale, &hyper.offset, &hyper.noise]).map(raw).collect())
    }

    fn hyper(&self) -> Hyper {
        let values: Vec<f64> = self.0.iter().map(|&raw| softplus(raw) + FLOOR).collect();
        let (lengths, rest) = values.split_at(values.len() - 3);
        Hyper { lengths: lengths.to_vec(), scale: rest[0], offset: rest[1], noise: rest[2] }
    }
}

impl Hyper {
    /// Where every fit begins.
    pub fn start(features: usize) -> Hyper {
        Hyper { lengths: vec![1.0; features], scale: 1.0, offset: 1.0, noise: NOISE }
    }

    /// The distance r of two inputs.
    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let square = |((a, b), l): ((&f64, &f64), &f64)| ((a - b) / l).powi(2);
        a.iter().zip(b).zip(&self.lengths).map(square).sum::<f64>().sqrt()
    }

    /// The covariance of the values at two inputs, without noise.
    fn kernel(&self, a: &[f64], b: &[f64]) -> f64 {
        let root = 3f64.sqrt() * self.distance(a, b);
        let linear: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        self.scale * (linear + self.offset + (1.0 + root) * (-root).exp())
    }

    /// The covariance matrix of observations at the inputs.
    fn covariance(&self, inputs: &[Vec<f64>]) -> Vec<f64> {
        let size = inputs.len();
        let mut matrix = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                matrix[i * size + j] = self.kernel(&inputs[i], &inputs[j]);
                matrix[j * size + i] = matrix[i * size + j];
            }
            matrix[i * size + i] += self.noise;
        }
        matrix
    }

    /// The logarithm of the noise's prior density, and its derivative by the noise.
    fn log_prior(&self) -> (f64, f64) {
        let z = (self.noise.ln() - NOISE.ln()) / NOISE_DEVIATION;
        let value = -z * z / 2.0 - self.noise.ln() - NOISE_DEVIATION.ln();
        (value, (-z / NOISE_DEVIATION - 1.0) / self.noise)
    }
}

/// A Gaussian process that has seen observations.
#[derive(Clone, Debug)]
pub struct Gp {
    inputs: Vec<Vec<f64>>,
    values: Vec<f64>,
    pub hyper: Hyper,
    factor: Cholesky,
    /// K⁻¹ y.
    weights: Vec<f64>,
}

impl Gp {
    /// The process with these hyperparameters. Nothing if its covariance is not positive definite, or a value is not finite.
    pub fn new(inputs: Vec<Vec<f64>>, values: Vec<f64>, hyper: Hyper) -> Option<Gp> {
        let factor = Cholesky::new(inputs.len(), &hyper.covariance(&inputs))?;
        let weights = factor.solve(&values);
        weights.iter().all(|w| w.is_finite()).then_some(Gp { inputs, values, hyper, factor, weights })
    }

    /// The process with the hyperparameters of the largest posterior density that Adam finds (Kingma and Ba 2015).
    pub fn fit(inputs: Vec<Vec<f64>>, values: Vec<f64>) -> Option<Gp> {
        let start = Raw::of(&Hyper::start(inputs.first()?.len()));
        let mut gp = Gp::new(inputs, values, start.hyper())?;
        let (mut raw, mut best) = (start, (f64::NEG_INFINITY, gp.hyper.clone()));
        let (mut first, mut second) = (vec![0.0; raw.0.len()], vec![0.0; raw.0.len()]);
        for step in 1..=STEPS as i32 {
            let (density, gradient) = gp.log_posterior(&raw);
            if density > best.0 {
                best = (density, gp.hyper.clone());
            }
            for (i, slope) in gradient.into_iter().enumerate() {
                first[i] = 0.9 * first[i] + 0.1 * slope;
                second[i] = 0.999 * second[i] + 0.001 * slope * slope;
                let (mean, square) =
                    (first[i] / (1.0 - 0.9f64.powi(step)), second[i] / (1.0 - 0.999f64.powi(step)));
                raw.0[i] += RATE * mean / (square.sqrt() + 1e-8);
            }
            match Gp::new(gp.inputs.clone(), gp.values.clone(), raw.hyper()) {
                Some(next) => gp = next,
                None => break, // the step went where nothing can be computed
            }
        }
        Gp::new(gp.inputs, gp.values, best.1)
    }

    /// The logarithm of the marginal likelihood of the observations.
    pub fn log_likelihood(&self) -> f64 {
        let fit: f64 = self.values.iter().zip(&self.weights).map(|(y, w)| y * w).sum();
        let constant = self.values.len() as f64 / 2.0 * std::f64::consts::TAU.ln();
        -fit / 2.0 - self.factor.half_log_determinant() - constant
    }

    /// The logarithm of the posterior density of the hyperparameters for each observation, up to a constant, and its gradient by the raw
    /// numbers.
    fn log_posterior(&self, raw: &Raw) -> (f64, Vec<f64>) {
        let (count, hyper) = (self.inputs.len(), &self.hyper);
        let features = hyper.lengths.len();
        let inverse = self.factor.inverse();
        let mut slopes = vec![0.0; features + 3];
        for i in 0..count {
            for j in 0..=i {
                // The matrix is symmetric: what is beside the diagonal counts twice, and all of it half.
                let pair = if i == j { 0.5 } else { 1.0 };
                let weight = pair * (self.weights[i] * self.weights[j] - inverse[i * count + j]);
                let (a, b) = (&self.inputs[i], &self.inputs[j]);
                let root = 3f64.sqrt() * hyper.distance(a, b);
                let decay = (-root).exp();
                let linear: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                for feature in 0..features {
                    let gap = a[feature] - b[feature];
                    let slope = 3.0 * hyper.scale * gap * gap / hyper.lengths[feature].powi(3) * decay;
                    slopes[feature] += weight * slope;
                }
                slopes[features] += weight * (linear + hyper.offset + (1.0 + root) * decay);
                slopes[features + 1] += weight * hyper.scale;
                slopes[features + 2] += if i == j { weight } else { 0.0 };
            }
        }
        let (prior, prior_slope) = hyper.log_prior();
        slopes[features + 2] += prior_slope;
        let gradient = slopes.iter().zip(&raw.0).map(|(slope, &raw)| slope * sigmoid(raw) / count as f64);
        ((self.log_likelihood() + prior) / count as f64, gradient.collect())
    }

    fn covariances(&self, at: &[f64]) -> Vec<f64> {
        self.inputs.iter().map(|input| self.hyper.kernel(input, at)).collect()
    }

    /// The posterior mean of the value at an input.
    pub fn mean(&self, at: &[f64]) -> f64 {
        self.covariances(at).iter().zip(&self.weights).map(|(k, w)| k * w).sum()
    }

    /// The posterior variance of the value at an input, without noise.
    pub fn variance(&self, at: &[f64]) -> f64 {
        let explained: f64 = self.factor.solve_lower(&self.covariances(at)).iter().map(|x| x * x).sum();
        (self.hyper.kernel(at, at) - explained).max(0.0)
    }

    /// The process that believes to have seen its own posterior means at these inputs (the kriging believer of Ginsbourger, Le Riche and
    /// Carraro 2010): its means stay, its variances there fall.
    pub fn believing(&self, at: &[Vec<f64>]) -> Option<Gp> {
        let values = self.values.iter().copied().chain(at.iter().map(|at| self.mean(at))).collect();
        Gp::new([&self.inputs[..], at].concat(), values, self.hyper.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five() -> (Vec<Vec<f64>>, Vec<f64>, Hyper) {
        let inputs = [[-0.9, 0.3], [-0.2, -0.7], [0.1, 0.4], [0.6, -0.1], [0.8, 0.9]].map(Vec::from).to_vec();
        let hyper = Hyper { lengths: vec![0.7, 1.3], scale: 0.8, offset: 0.5, noise: 0.02 };
        (inputs, vec![0.1, 0.5, 0.35, 0.9, 0.2], hyper)
    }

    /// The numbers are those of the dense formulas, computed elsewhere: k·K⁻¹y, k(x, x) - k·K⁻¹k and log det K by Gauss and Jordan's elimination.
    #[test]
    fn predictions_are_those_of_dense_formulas() {
        let (inputs, values, hyper) = five();
        let gp = Gp::new(inputs, values, hyper).unwrap();
        let near =
            |value: f64, expected: f64| assert!((value - expected).abs() < 1e-10, "{value} {expected}");
        near(gp.log_likelihood(), LIKELIHOOD);
        for (at, mean, variance) in PREDICTIONS {
            near(gp.mean(&at), mean);
            near(gp.variance(&at), variance);
        }
    }

    const LIKELIHOOD: f64 = -5.26790816594712;
    const PREDICTIONS: [([f64; 2], f64, f64); 3] = [
        ([0.0, 0.0], 0.44881008916867, 0.11088644199358),
        ([0.5, -0.9], 0.93497583470699, 0.44545504690761),
        ([-0.9, 0.3], 0.09733797381515, 0.01968165612111),
    ];

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (inputs, values, hyper) = five();
        let raw = Raw::of(&hyper);
        assert!(raw.0.iter().zip(&Raw::of(&raw.hyper()).0).all(|(a, b)| (a - b).abs() < 1e-12));
        let density =
            |raw: &Raw| Gp::new(inputs.clone(), values.clone(), raw.hyper()).unwrap().log_posterior(raw);
        for (i, slope) in density(&raw).1.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut raw = raw.clone();
                raw.0[i] += by;
                density(&raw).0
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - difference).abs() < 1e-8, "{i}: {slope} {difference}");
        }
    }

    #[test]
    fn a_fit_finds_the_feature_that_matters() {
        let inputs: Vec<Vec<f64>> =
            (0..36).map(|i| vec![f64::from(i % 9) / 4.0 - 1.0, f64::from(i / 9) / 1.5 - 1.0]).collect();
        let values: Vec<f64> = inputs.iter().map(|x| (3.0 * x[0]).sin()).collect();
        let gp = Gp::fit(inputs, values).unwrap();
        assert!(gp.hyper.lengths[1] > 3.0 * gp.hyper.lengths[0], "{:?}", gp.hyper);
        assert!((gp.mean(&[0.375, 0.1]) - 1.125f64.sin()).abs() < 0.1, "{}", gp.mean(&[0.375, 0.1]));
    }

    #[test]
    fn believing_keeps_the_means_and_lowers_the_variances() {
        let (inputs, values, hyper) = five();
        let gp = Gp::new(inputs, values, hyper).unwrap();
        let running = vec![vec![0.3, -0.5]];
        let believer = gp.believing(&running).unwrap();
        assert!((gp.mean(&[0.0, 0.2]) - believer.mean(&[0.0, 0.2])).abs() < 1e-12);
        assert!(believer.variance(&running[0]) < 0.3 * gp.variance(&running[0]));
    }
}
