//! The error function.

/// Coefficients of `erf(x) / x` in `u = x^2 / 8 - 1`, highest power first: the Chebyshev interpolant of
/// degree 20 over `|x| <= 4`.
const ERF_OVER_X: [f64; 21] = [
    1.2873585826134119e-05,
    -3.668349630367569e-05,
    3.298166514361336e-05,
    -7.24620314889167e-05,
    0.00029513373401520896,
    -0.0006727965874649553,
    0.0012770781536441313,
    -0.0025306731595722844,
    0.004861253793852784,
    -0.008629832321591356,
    0.014347218437205343,
    -0.02246626395799292,
    0.03306107327080911,
    -0.045766463410655295,
    0.05988686028227138,
    -0.07472772838182547,
    0.09020899618649306,
    -0.10771044890915892,
    0.13167511686643962,
    -0.1765762332142437,
    0.3535309956434043,
];

/// `erf(x)`, off by at most one unit in the last place: the polynomial is within 2e-11 (relative), and
/// beyond 4 the nearest f32 is 1. NaN stays NaN.
pub(super) fn erf_f32(x: f32) -> f32 {
    let x = f64::from(x).clamp(-4., 4.);
    let u = x * x / 8. - 1.;
    (x * ERF_OVER_X.iter().fold(0., |sum, coefficient| sum * u + coefficient)) as f32
}

/// `erf(x)` within 1e-15 (relative), slowly: where `|x| < 2.5` by the series of positive terms
/// `2 / sqrt(pi) * exp(-x^2) * sum over n of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))`, and beyond by the
/// continued fraction of `1 - erf(x)`.
pub(super) fn erf_f64(x: f64) -> f64 {
    let z = x.abs();
    if x.is_nan() || 6. < z {
        return if x.is_nan() { x } else { x.signum() };
    }
    let scaled = (-z * z).exp() / std::f64::consts::PI.sqrt();
    if z < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 1.);
        while sum.abs() * 1e-17 < term.abs() {
            n += 2.;
            term *= 2. * x * x / n;
            sum += term;
        }
        return 2. * scaled * sum;
    }
    let fraction = (1..60).rev().fold(z, |fraction, k| z + f64::from(k) / 2. / fraction);
    (1. - scaled / fraction).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_known_values() {
        let known = [
            (0., 0.),
            (1e-3, 0.0011283787909692365),
            (0.5, 0.5204998778130465),
            (1., 0.8427007929497149),
            (2.4999, 0.9995928300996666),
            (2.5, 0.999593047982555),
            (4., 0.9999999845827421),
        ];
        for (x, expected) in known {
            let error = (erf_f64(x) - expected).abs();
            assert!(error <= 2e-16 + 1e-15 * expected, "erf({x}) is {}", erf_f64(x));
            assert_eq!(erf_f64(-x), -erf_f64(x));
        }
        assert_eq!(erf_f64(f64::NEG_INFINITY), -1.);
        assert!(erf_f64(f64::NAN).is_nan());
    }

    #[test]
    fn erf_f32_is_within_a_unit_in_the_last_place() {
        for step in -50_000..50_000 {
            let x = step as f32 / 10_000.;
            let exact = erf_f64(x.into());
            let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
            assert!((f64::from(erf_f32(x)) - exact).abs() <= unit.abs(), "erf({x})");
        }
        assert_eq!(erf_f32(f32::INFINITY), 1.);
        assert!(erf_f32(f32::NAN).is_nan());
    }
}
