//! [`Fourier`]: the discrete Fourier transform of a sequence of complex numbers, in f64.
//!
//! `y[k] = sum over j of x[j] * exp(-2 pi i j k / n)`. A length is split by its prime factors, so the work
//! is n times their sum: a prime length costs n^2. No table of plans and no package: the lengths of audio
//! have small factors, and a prime length of 16,001 still takes only seconds.

/// Real and imaginary part.
pub(super) type Complex = [f64; 2];

/// Transforms of one length.
#[derive(Debug)]
pub(super) struct Fourier {
    /// `exp(-2 pi i k / n)` for `k` in `0..n`
    roots: Vec<Complex>,
}

impl Fourier {
    pub(super) fn new(n: usize) -> Fourier {
        let root = |k: usize| {
            let (sin, cos) = (std::f64::consts::TAU * k as f64 / n as f64).sin_cos();
            [cos, -sin]
        };
        Fourier { roots: (0..n).map(root).collect() }
    }

    /// # Panics
    /// If `x` is not of the length it was made for.
    pub(super) fn transform(&self, x: &[Complex]) -> Vec<Complex> {
        assert_eq!(x.len(), self.roots.len(), "of one length");
        self.every(x, 1)
    }

    /// The inverse, which divides by the length.
    pub(super) fn inverse(&self, y: &[Complex]) -> Vec<Complex> {
        let n = y.len() as f64;
        let conjugates: Vec<Complex> = y.iter().map(|&[re, im]| [re, -im]).collect();
        self.transform(&conjugates).into_iter().map(|[re, im]| [re / n, -im / n]).collect()
    }

    /// The transform of `x[0], x[stride], x[2 * stride], ...`
    fn every(&self, x: &[Complex], stride: usize) -> Vec<Complex> {
        let n = x.len().div_ceil(stride);
        if n <= 1 {
            return x.first().copied().into_iter().collect();
        }
        let p = least_factor(n);
        let parts: Vec<Vec<Complex>> =
            (0..p).map(|r| self.every(&x[r * stride..], stride * p)).collect();
        let element = |k: usize| {
            let mut sum = [0., 0.];
            for (r, part) in parts.iter().enumerate() {
                let [a, b] = part[k % part.len()];
                let [c, d] = self.roots[r * k % n * stride];
                sum = [sum[0] + a * c - b * d, sum[1] + a * d + b * c];
            }
            sum
        };
        (0..n).map(element).collect()
    }
}

/// The smallest prime factor of `n`, which is at least 2.
fn least_factor(n: usize) -> usize {
    (2..).take_while(|p| p * p <= n).find(|p| n.is_multiple_of(*p)).unwrap_or(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn sums(x: &[Complex]) -> Vec<Complex> {
        let n = x.len();
        let element = |k: usize| {
            let mut sum = [0., 0.];
            for (j, [a, b]) in x.iter().enumerate() {
                let (sin, cos) = (std::f64::consts::TAU * (j * k) as f64 / n as f64).sin_cos();
                sum = [sum[0] + a * cos + b * sin, sum[1] + b * cos - a * sin];
            }
            sum
        };
        (0..n).map(element).collect()
    }

    #[track_caller]
    fn assert_close(found: &[Complex], expected: &[Complex]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((a - b).abs() < 1e-11, "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn every_length_equals_the_definition() {
        for n in (0..40).chain([97, 120, 128]) {
            let x: Vec<Complex> =
                (0..n).map(|i| [(i * 7 % 11) as f64 - 4., (i * 5 % 13) as f64 - 6.]).collect();
            let fourier = Fourier::new(n);
            let y = fourier.transform(&x);
            assert_close(&y, &sums(&x));
            assert_close(&fourier.inverse(&y), &x);
        }
    }

    #[test]
    fn factors() {
        assert_eq!([2, 3, 4, 9, 15, 35, 97].map(least_factor), [2, 3, 2, 3, 3, 5, 97]);
    }
}
