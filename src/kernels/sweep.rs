//! [`Sweep`]: which taps meet which positions when a window slides over an input, prepared once.
//!
//! Outputs whose windows have the same taps inside the input share a list of taps, so that the loops
//! over them test nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Axis;
use super::simd::LANES;
use super::tile::{Run, Tap};

/// What is summed over besides the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// As many channels, `[C, D, H, W]`.
    Plain(usize),
    /// As many channels in blocks, `[ceil(C / 16), D, H, W, 16]`.
    Blocked(usize),
    /// Nothing: one block of 16 channels, each on its own.
    Lanes,
}

/// The geometry of a sweep over one input.
#[derive(Debug)]
pub(super) struct Sweep {
    axes: [Axis; 3],
    depth: Depth,
    /// Positions from one block of input channels to the next.
    plane: usize,
    pub(super) taps: Vec<Tap>,
    pub(super) bands: Vec<Band>,
}

/// Output rows that are computed together, so that what they read stays in cache.
#[derive(Debug)]
pub(super) struct Band {
    /// Output positions.
    pub(super) positions: Range<usize>,
    /// Taps, and the runs that meet them.
    pub(super) parts: Vec<(Range<usize>, Vec<Run>)>,
}

/// Input that a band may span: a quarter of a usual second-level cache.
const BAND_BYTES: usize = 1 << 18;

/// Edges narrower than this are walked down, not along.
const NARROW: usize = 3;

/// Where the weights of a block of input channels and a tap of the window begin.
pub(super) fn first_weight(channels: usize, window: usize, block: usize, tap: usize) -> usize {
    let width = (channels - block * LANES).min(LANES);
    block * LANES * window + tap * width
}

impl Sweep {
    pub(super) fn new(axes: &[Axis; 3], depth: Depth) -> Sweep {
        Sweep::within(axes, depth, axes.iter().map(|axis| axis.input).product())
    }

    /// Over an input whose channels, or blocks of them, are `plane` positions apart.
    pub(super) fn within(axes: &[Axis; 3], depth: Depth, plane: usize) -> Sweep {
        let mut sweep = Sweep { axes: *axes, depth, plane, taps: Vec::new(), bands: Vec::new() };
        if axes.iter().any(|axis| axis.output == 0) {
            return sweep;
        }
        if axes.iter().all(Axis::is_pointwise) {
            sweep.plan_plane();
        } else {
            sweep.plan_rows();
        }
        sweep
    }

    /// Elements of one position.
    fn lanes(&self) -> usize {
        if matches!(self.depth, Depth::Plain(_)) { 1 } else { LANES }
    }

    fn channels(&self) -> usize {
        match self.depth {
            Depth::Plain(channels) | Depth::Blocked(channels) => channels,
            Depth::Lanes => LANES,
        }
    }

    /// One run along the plane.
    fn plan_plane(&mut self) {
        let plane: usize = self.axes.iter().map(|axis| axis.output).product();
        let taps = self.taps(&mut BTreeMap::new(), [0..1, 0..1, 0..1]);
        let position_bytes = (4 * self.channels()).max(1);
        let n_bands = plane.div_ceil((BAND_BYTES / position_bytes).max(64));
        for i in 0..n_bands {
            let positions = i * plane / n_bands..(i + 1) * plane / n_bands;
            let (x_step, count) = (self.lanes(), positions.len());
            let (x, y) = (positions.start * x_step, positions.start * LANES);
            let run = Run { x, x_step, y, y_step: LANES, count };
            let run = if taps.is_empty() { without_input(run) } else { run };
            self.bands.push(Band { positions, parts: vec![(taps.clone(), vec![run])] });
        }
    }

    fn plan_rows(&mut self) {
        let [a, b, c] = self.axes;
        let row_bytes = (4 * self.channels() * c.input * b.stride).max(1);
        let most = (BAND_BYTES / row_bytes).clamp(1, 64);
        let mut known = BTreeMap::new();
        for depth in 0..a.output {
            for first in (0..b.output).step_by(most) {
                let rows = first..(first + most).min(b.output);
                let start = (depth * b.output + first) * c.output;
                let positions = start..start + rows.len() * c.output;
                let parts = self.parts(&mut known, depth, &rows);
                self.bands.push(Band { positions, parts });
            }
        }
    }

    /// The runs over some rows, by their taps.
    fn parts(
        &mut self,
        known: &mut BTreeMap<[usize; 6], Range<usize>>,
        depth: usize,
        rows: &Range<usize>,
    ) -> Vec<(Range<usize>, Vec<Run>)> {
        let [a, b, c] = self.axes;
        let mut parts: BTreeMap<(usize, usize), Vec<Run>> = BTreeMap::new();
        for (lines, tap_line) in stretches(&b) {
            let lines = lines.start.max(rows.start)..lines.end.min(rows.end);
            if lines.is_empty() {
                continue;
            }
            for (columns, tap_column) in stretches(&c) {
                let window = [inside(&a, depth), tap_line.clone(), tap_column];
                let taps = self.taps(known, window.clone());
                let runs = self.runs(depth, &lines, &columns, window.map(|taps| taps.start));
                let part = parts.entry((taps.start, taps.end)).or_default();
                match taps.is_empty() {
                    true => part.extend(runs.into_iter().map(without_input)),
                    false => part.extend(runs),
                }
            }
        }
        parts.into_iter().map(|((start, end), runs)| (start..end, runs)).collect()
    }

    /// Runs over the outputs of some lines and columns that have the same taps.
    fn runs(
        &self,
        depth: usize,
        lines: &Range<usize>,
        columns: &Range<usize>,
        first_taps: [usize; 3],
    ) -> Vec<Run> {
        let [a, b, c] = self.axes;
        let lanes = self.lanes();
        // Without taps there is nothing to read, wherever it would be.
        let source = |axis: &Axis, o: usize, tap: usize| axis.source(o, tap).unwrap_or(0);
        let at = |line: usize, column: usize| {
            let (i, j) = (source(&a, depth, first_taps[0]), source(&b, line, first_taps[1]));
            let k = source(&c, column, first_taps[2]);
            let x = ((i * b.input + j) * c.input + k) * lanes;
            (x, ((depth * b.output + line) * c.output + column) * LANES)
        };
        if columns.len() < NARROW.min(lines.len()) {
            let (x_step, y_step) = (b.stride * c.input * lanes, c.output * LANES);
            let down = |column: usize| {
                let (x, y) = at(lines.start, column);
                Run { x, x_step, y, y_step, count: lines.len() }
            };
            columns.clone().map(down).collect()
        } else {
            let along = |line: usize| {
                let (x, y) = at(line, columns.start);
                Run { x, x_step: c.stride * lanes, y, y_step: LANES, count: columns.len() }
            };
            lines.clone().map(along).collect()
        }
    }

    /// The taps of a part of the window, from its first on; made when they are first asked for.
    fn taps(
        &mut self,
        known: &mut BTreeMap<[usize; 6], Range<usize>>,
        window: [Range<usize>; 3],
    ) -> Range<usize> {
        let [a, b, c] = window;
        let key = [a.start, a.end, b.start, b.end, c.start, c.end];
        if let Some(taps) = known.get(&key) {
            return taps.clone();
        }
        let begin = self.taps.len();
        let axes = self.axes;
        let plane = self.plane;
        let n_taps: usize = axes.iter().map(|axis| axis.kernel).product();
        let at = |i: usize, j: usize, k: usize| {
            let [i, j, k] = [(i, &a, 0), (j, &b, 1), (k, &c, 2)]
                .map(|(tap, range, axis)| (tap - range.start) * axes[axis].dilation);
            (i * axes[1].input + j) * axes[2].input + k
        };
        let tap = |i: usize, j: usize, k: usize| (i * axes[1].kernel + j) * axes[2].kernel + k;
        // Taps side by side are one, but for those of blocks, which have channels in between.
        let is_joined = axes[2].dilation == 1 || c.len() <= 1;
        let (last, len) =
            if is_joined { (c.start..c.end.min(c.start + 1), c.len()) } else { (c.clone(), 1) };
        let mut taps = Vec::new();
        match self.depth {
            Depth::Lanes => {
                for (i, j, k) in triples(&a, &b, &last) {
                    taps.push(Tap { x: at(i, j, k) * LANES, w: tap(i, j, k), len });
                }
            }
            Depth::Blocked(channels) => {
                for block in 0..channels.div_ceil(LANES) {
                    let len = (channels - block * LANES).min(LANES);
                    for (i, j, k) in triples(&a, &b, &c) {
                        let x = (block * plane + at(i, j, k)) * LANES;
                        taps.push(Tap {
                            x,
                            w: first_weight(channels, n_taps, block, tap(i, j, k)),
                            len,
                        });
                    }
                }
            }
            Depth::Plain(channels) => {
                for channel in 0..channels {
                    for (i, j, k) in triples(&a, &b, &last) {
                        let x = channel * plane + at(i, j, k);
                        let w = channel * n_taps + tap(i, j, k);
                        taps.push(Tap { x, w, len });
                    }
                }
            }
        }
        self.taps.extend(taps);
        let range = begin..self.taps.len();
        known.insert(key, range.clone());
        range
    }
}

/// A run of positions that read nothing, wherever in the padding they are.
fn without_input(run: Run) -> Run {
    Run { x: 0, x_step: 0, ..run }
}

fn triples(
    a: &Range<usize>,
    b: &Range<usize>,
    c: &Range<usize>,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let (b, c) = (b.clone(), c.clone());
    a.clone().flat_map(move |i| {
        let c = c.clone();
        b.clone().flat_map(move |j| c.clone().map(move |k| (i, j, k)))
    })
}

/// The taps of output `o` that read the input.
fn inside(axis: &Axis, o: usize) -> Range<usize> {
    let mut taps = (0..axis.kernel).filter(|&tap| axis.source(o, tap).is_some());
    match (taps.next(), taps.next_back()) {
        (Some(first), last) => first..last.unwrap_or(first) + 1,
        (None, _) => 0..0,
    }
}

/// Stretches of outputs whose windows have the same taps inside the input.
fn stretches(axis: &Axis) -> Vec<(Range<usize>, Range<usize>)> {
    let mut stretches: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for o in 0..axis.output {
        let taps = inside(axis, o);
        match stretches.last_mut() {
            Some((outputs, same)) if *same == taps => outputs.end = o + 1,
            _ => stretches.push((o..o + 1, taps)),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::window::tests::geometries;

    /// Products of every output: elements of `x` and of the filter, in any order.
    fn products(axes: &[Axis; 3], depth: Depth) -> Vec<Vec<(usize, usize)>> {
        let [a, b, c] = axes;
        let plane = a.input * b.input * c.input;
        let window = a.kernel * b.kernel * c.kernel;
        let mut products = Vec::new();
        for o in 0..a.output * b.output * c.output {
            let o = [o / c.output / b.output, o / c.output % b.output, o % c.output];
            let mut of_output = Vec::new();
            for tap in 0..window {
                let k = [tap / c.kernel / b.kernel, tap / c.kernel % b.kernel, tap % c.kernel];
                let [Some(i), Some(j), Some(k)] = [0, 1, 2].map(|n| axes[n].source(o[n], k[n]))
                else {
                    continue;
                };
                let x = (i * b.input + j) * c.input + k;
                match depth {
                    Depth::Lanes => of_output.push((x * LANES, tap)),
                    Depth::Plain(channels) => {
                        of_output.extend((0..channels).map(|c| (c * plane + x, c * window + tap)))
                    }
                    Depth::Blocked(channels) => of_output.extend((0..channels).map(|c| {
                        let (block, lane) = (c / LANES, c % LANES);
                        let w = first_weight(channels, window, block, tap) + lane;
                        ((block * plane + x) * LANES + lane, w)
                    })),
                }
            }
            of_output.sort_unstable();
            products.push(of_output);
        }
        products
    }

    #[test]
    fn every_output_meets_its_products_once() {
        let depths = [0, 1, 3, 16, 40].map(|n| [Depth::Plain(n), Depth::Blocked(n)]);
        let depths: Vec<Depth> = depths.into_iter().flatten().chain([Depth::Lanes]).collect();
        for (axes, depth) in
            geometries().iter().flat_map(|axes| depths.iter().map(move |d| (axes, *d)))
        {
            let step = if depth == Depth::Lanes { LANES } else { 1 };
            let sweep = Sweep::new(axes, depth);
            let expected = products(axes, depth);
            let mut found = vec![None; expected.len()];
            let mut next = 0;
            for band in &sweep.bands {
                assert_eq!(band.positions.start, next, "bands follow each other, {axes:?}");
                next = band.positions.end;
                for (taps, runs) in &band.parts {
                    let taps = &sweep.taps[taps.clone()];
                    for (run, k) in
                        runs.iter().flat_map(|run| (0..run.count).map(move |k| (run, k)))
                    {
                        let (x, y) = (run.x + k * run.x_step, (run.y + k * run.y_step) / LANES);
                        assert!(band.positions.contains(&y), "output {y} in {:?}", band.positions);
                        let elements = |tap: &Tap| {
                            (0..tap.len)
                                .map(|i| (x + tap.x + i * step, tap.w + i))
                                .collect::<Vec<_>>()
                        };
                        let mut products: Vec<_> = taps.iter().flat_map(elements).collect();
                        products.sort_unstable();
                        assert_eq!(found[y].replace(products), None, "output {y} once, {axes:?}");
                    }
                }
            }
            assert_eq!(next, expected.len(), "bands cover the output, {axes:?}");
            for (o, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                assert_eq!(found, Some(expected), "output {o}, {depth:?}, {axes:?}");
            }
        }
    }

    #[test]
    fn joins_taps_side_by_side() {
        let lens = |depth, dilation: usize| {
            let axis = Axis { input: 9, output: 5, kernel: 3, stride: 1, dilation, pads: [0, 0] };
            let sweep = Sweep::new(&[Axis::UNIT, axis, axis], depth);
            sweep.taps.iter().map(|tap| tap.len).collect::<Vec<_>>()
        };
        assert_eq!(lens(Depth::Plain(2), 1), [3; 6]);
        assert_eq!(lens(Depth::Plain(2), 2), [1; 18]);
        assert_eq!(lens(Depth::Lanes, 1), [3; 3]);
        assert_eq!(lens(Depth::Lanes, 2), [1; 9]);
    }
}
