//! Kendall's tau-b: how alike two rankings are.

use std::cmp::Ordering;

/// `(concordant - discordant) / sqrt(pairs untied in a x pairs untied in b)`: 1 for the same order,
/// -1 for the reverse.
///
/// Values are compared, not their distances; infinite ones are allowed. `None` if there is a NaN, or
/// if one of the rankings is all ties.
///
/// # Panics
/// If the lengths differ.
pub fn tau_b(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "two rankings of the same things");
    let (mut balance, mut untied_a, mut untied_b) = (0_i64, 0_u64, 0_u64);
    for i in 0..a.len() {
        for j in 0..i {
            let in_a = a[i].partial_cmp(&a[j])?;
            let in_b = b[i].partial_cmp(&b[j])?;
            untied_a += u64::from(in_a != Ordering::Equal);
            untied_b += u64::from(in_b != Ordering::Equal);
            balance += in_a as i64 * in_b as i64;
        }
    }
    // Of the product, so that it is exact where both are equal.
    let pairs = (untied_a as f64 * untied_b as f64).sqrt();
    (pairs > 0.).then(|| balance as f64 / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let cases: &[(&[f64], &[f64], Option<f64>)] = &[
            (&[1., 2., 3.], &[10., 20., 99.], Some(1.)),
            (&[1., 2., inf], &[3., 2., 1.], Some(-1.)),
            (&[1., 2., 3., 4.], &[1., 3., 2., 4.], Some(2. / 3.)),
            (&[1., 1., 2.], &[1., 2., 3.], Some(2. / 6_f64.sqrt())),
            (&[1., 1.], &[1., 2.], None),
            (&[1., nan], &[1., 2.], None),
            (&[], &[], None),
        ];
        for &(a, b, expected) in cases {
            let tau = tau_b(a, b);
            let close = match (tau, expected) {
                (Some(tau), Some(expected)) => (tau - expected).abs() < 1e-12,
                (tau, expected) => tau == expected,
            };
            assert!(close, "{a:?} {b:?}: {tau:?}, expected {expected:?}");
        }
    }
}
