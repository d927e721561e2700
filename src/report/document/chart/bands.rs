//! [`Bands`]: many columns, wrapped like the words of a text.

/// How columns are spread over bands of equal width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report::document) struct Bands {
    pub(in crate::report::document) n_bands: usize,
    /// Columns of each band but the last.
    pub(in crate::report::document) per_band: usize,
    /// From one column to the next.
    pub(in crate::report::document) pitch: f64,
}

impl Bands {
    /// Spreads `n` columns evenly over as few bands as a least pitch allows.
    pub(in crate::report::document) fn new(n: usize, width: f64, [least, most]: [f64; 2]) -> Bands {
        let n = n.max(1);
        let fit = ((width / least).floor() as usize).max(1);
        let n_bands = n.div_ceil(fit);
        let per_band = n.div_ceil(n_bands);
        Bands { n_bands, per_band, pitch: (width / per_band as f64).min(most) }
    }

    /// Band and place within it of a column.
    pub(in crate::report::document) fn place(&self, column: usize) -> (usize, f64) {
        let (band, at) = (column / self.per_band, column % self.per_band);
        (band, at as f64 * self.pitch)
    }

    /// How many of `n` columns a band has.
    pub(in crate::report::document) fn len(&self, band: usize, n: usize) -> usize {
        n.saturating_sub(band * self.per_band).min(self.per_band)
    }

    /// Whether a column is numbered: every one for which there is room.
    pub(in crate::report::document) fn is_numbered(&self, column: usize) -> bool {
        let every = self.every();
        (column + 1).is_multiple_of(every) || (column == 0 && 2 < every)
    }

    fn every(&self) -> usize {
        const ROOM: f64 = 36.;
        let fits = |n: &usize| ROOM <= self.pitch * *n as f64;
        [1, 2, 5, 10, 20, 50].into_iter().find(fits).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_wrap_evenly() {
        let few = Bands::new(20, 880., [14., 44.]);
        assert_eq!(few, Bands { n_bands: 1, per_band: 20, pitch: 44. });
        let many = Bands::new(400, 800., [8., 44.]);
        assert_eq!((many.n_bands, many.per_band), (4, 100));
        assert_eq!(many.place(250), (2, 400.));
        assert_eq!((many.len(3, 400), many.every()), (100, 5));
        assert_eq!(Bands::new(0, 880., [8., 44.]).n_bands, 1);
        assert_eq!(Bands::new(5, 1., [8., 44.]).n_bands, 5);
    }
}
