//! The Cholesky factor of a symmetric positive definite matrix, and what a Gaussian process needs of it.

/// A lower triangular matrix L with K = L Lᵀ, row by row.
#[derive(Clone, Debug)]
pub struct Cholesky {
    size: usize,
    lower: Vec<f64>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Cholesky {
    /// Factorises K (`size` x `size`, row by row; only its lower triangle is read). A matrix that is not positive definite in f64 is
    /// tried with 1e-8, 1e-6 and 1e-4 added to its diagonal; nothing if none of them is.
    pub fn new(size: usize, matrix: &[f64]) -> Option<Cholesky> {
        [0.0, 1e-8, 1e-6, 1e-4].into_iter().find_map(|jitter| Cholesky::with_jitter(size, matrix, jitter))
    }

    fn with_jitter(size: usize, matrix: &[f64], jitter: f64) -> Option<Cholesky> {
        let mut lower = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let (above, row) = lower.split_at_mut(i * size);
                let known = if i == j { &row[..j] } else { &above[j * size..j * size + j] };
                let rest = matrix[i * size + j] - dot(&row[..j], known);
                row[j] = if i == j {
                    let pivot = rest + jitter;
                    (pivot > 0.0 && pivot.is_finite()).then(|| pivot.sqrt())?
                } else {
                    rest / above[j * size + j]
                };
            }
        }
        Some(Cholesky { size, lower })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.size..][..=i]
    }

    /// x with L x = b.
    pub fn solve_lower(&self, b: &[f64]) -> Vec<f64> {
        let mut x: Vec<f64> = Vec::with_capacity(self.size);
        for (i, b) in b.iter().enumerate() {
            let row = self.row(i);
            x.push((b - dot(&row[..i], &x)) / row[i]);
        }
        x
    }

    /// x with K x = b.
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = self.solve_lower(b);
        for i in (0..self.size).rev() {
            let row = self.row(i);
            x[i] /= row[i];
            let solved = x[i];
            x[..i].iter_mut().zip(row).for_each(|(x, l)| *x -= l * solved);
        }
        x
    }

    /// The sum of the logarithms of L's diagonal: half the log determinant of K.
    pub fn half_log_determinant(&self) -> f64 {
        (0..self.size).map(|i| self.row(i)[i].ln()).sum()
    }

    /// K⁻¹, row by row.
    pub fn inverse(&self) -> Vec<f64> {
        let size = self.size;
        // Column j of L⁻¹, which is 0 above its j-th number.
        let column = |j: usize| {
            let mut x = vec![0.0; size];
            x[j] = 1.0 / self.row(j)[j];
            for i in j + 1..size {
                let row = self.row(i);
                x[i] = -dot(&row[j..i], &x[j..i]) / row[i];
            }
            x
        };
        let columns: Vec<Vec<f64>> = (0..size).map(column).collect();
        let mut inverse = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let value = dot(&columns[i][i..], &columns[j][i..]);
                inverse[i * size + j] = value;
                inverse[j * size + i] = value;
            }
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_factorised_solved_and_inverted() {
        let matrix = [4.0, 2.0, 0.6, 2.0, 3.0, -0.5, 0.6, -0.5, 2.0];
        let factor = Cholesky::new(3, &matrix).unwrap();
        let inverse = factor.inverse();
        for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let product: f64 = (0..3).map(|k| matrix[i * 3 + k] * inverse[k * 3 + j]).sum();
            assert!((product - f64::from(u8::from(i == j))).abs() < 1e-14, "{product}");
        }
        let b = [1.0, -2.0, 0.5];
        for (i, value) in factor.solve(&b).iter().enumerate() {
            assert!((value - dot(&inverse[i * 3..][..3], &b)).abs() < 1e-14);
        }
        // 4 (6 - 0.25) - 2 (4 + 0.3) + 0.6 (-1 - 1.8)
        let determinant: f64 = 12.72;
        assert!((2.0 * factor.half_log_determinant() - determinant.ln()).abs() < 1e-14);
    }

    #[test]
    fn a_singular_matrix_gets_a_jitter_and_an_indefinite_one_has_no_factor() {
        let equal = [1.0; 4];
        assert!(Cholesky::with_jitter(2, &equal, 0.0).is_none());
        let factor = Cholesky::new(2, &equal).unwrap();
        assert!((factor.solve(&[1.0, 1.0])[0] - 0.5).abs() < 1e-6);
        assert!(Cholesky::new(2, &[1.0, 2.0, 2.0, 1.0]).is_none());
        assert!(Cholesky::new(1, &[f64::NAN]).is_none());
    }
}
