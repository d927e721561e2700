//! [`Multiply`]: a stack of matrix products, whose factors and results may lie with their axes in
//! another order, so that the heads of an attention need not be copied.

use crate::exec::fast::chain::{Chain, Floats};
use crate::exec::fast::pass::Pass;
use crate::exec::fast::plan::{Head, Step};
use crate::exec::prepared::Form;
use crate::exec::values::Layout;
use crate::graph::ValueId;
use crate::kernels::{self, Buffer, Gemm};
use crate::ops::Product;

#[derive(Debug)]
pub(super) struct Multiply {
    pub(super) product: Product,
    /// A row that the sums begin with.
    pub(super) bias: Option<ValueId>,
    /// How the factors lie.
    pub(super) layouts: [Layout; 2],
    factors: [Matrices; 2],
    results: Matrices,
}

/// Matrices of one size within a value.
#[derive(Debug)]
struct Matrices {
    /// Where each begins.
    starts: Vec<usize>,
    /// Distances of neighbors in a column, and in a row.
    strides: [usize; 2],
}

impl Matrices {
    /// One after the other.
    fn dense(count: usize, rows: usize, columns: usize, is_transposed: bool) -> Matrices {
        let starts = (0..count).map(|i| i * rows * columns).collect();
        Matrices { starts, strides: if is_transposed { [1, rows] } else { [columns, 1] } }
    }

    /// Those over the last two axes.
    fn within(shape: &[usize], layout: Layout) -> Matrices {
        let strides = layout.strides(shape);
        let (stack, [row, column]) = strides.split_last_chunk().expect("at least two axes");
        let mut starts = vec![0];
        for (&dim, stride) in shape.iter().zip(stack) {
            let inside = |start: usize| (0..dim).map(move |i| start + i * stride);
            starts = starts.into_iter().flat_map(inside).collect();
        }
        Matrices { starts, strides: [*row, *column] }
    }
}

impl Multiply {
    /// Of factors and a result of these shapes; `None` if there is no kernel for it.
    pub(super) fn new(
        product: Product,
        bias: Option<ValueId>,
        shapes: [&[usize]; 3],
        layouts: [Layout; 3],
    ) -> Option<Multiply> {
        let Product { m, k, n, ref stack, is_transposed, alpha, beta } = product;
        let fits = alpha == 1. && beta.is_none_or(|beta| beta == 1.) && !is_transposed[0];
        let count = |side: usize| stack.iter().map(|pair| pair[side] + 1).max().unwrap_or(0);
        let matrices = |side: usize, dense: Matrices| match layouts[side] {
            Layout::Permuted(_) if side == 1 && is_transposed[1] => None,
            Layout::Permuted(_) => Some(Matrices::within(shapes[side], layouts[side])),
            Layout::Plain | Layout::Blocked => Some(dense),
        };
        let a = matrices(0, Matrices::dense(count(0), m, k, false))?;
        let b = matrices(1, Matrices::dense(count(1), k, n, is_transposed[1]))?;
        let results = matrices(2, Matrices::dense(stack.len(), m, n, false))?;
        let layouts = [0, 1].map(|side| match layouts[side] {
            Layout::Blocked => Layout::Plain,
            other => other,
        });
        // Elements of a row have to be neighbors.
        let fits = fits && a.strides[1] == 1 && results.strides[1] == 1;
        fits.then_some(Multiply { product, bias, layouts, factors: [a, b], results })
    }

    /// Elements of all packed right factors.
    fn packed_len(&self) -> usize {
        kernels::packed_len(self.product.k, self.product.n) * self.factors[1].starts.len()
    }

    fn pack(&self, b: &[f32], packed: &mut [f32]) {
        let Product { k, n, .. } = self.product;
        let Matrices { starts, strides } = &self.factors[1];
        let packed = packed.chunks_exact_mut(kernels::packed_len(k, n));
        for (&start, packed) in starts.iter().zip(packed) {
            kernels::pack(&b[start..], k, n, *strides, packed);
        }
    }
}

impl Pass<'_> {
    /// Elements of memory that a product needs besides its result.
    pub(super) fn product_scratch_len(&self, step: &Step, multiply: &Multiply) -> usize {
        if self.constant(step.reads[1]).is_some() { 0 } else { multiply.packed_len() }
    }

    /// The right factors of a product, packed; in `scratch` if they are no constants.
    fn right_factors<'s>(
        &'s self,
        step: &Step,
        multiply: &Multiply,
        scratch: &'s mut Buffer,
    ) -> Floats<'s> {
        let b = step.reads[1];
        if self.constant(b).is_none() {
            multiply.pack(&self.floats(b, multiply.layouts[1]), scratch);
            return Floats::Borrowed(scratch);
        }
        let form = Form::Factor(multiply.product.is_transposed[1]);
        Floats::Shared(self.packed(b, form, |b| {
            let mut packed = vec![0.; multiply.packed_len()];
            multiply.pack(b, &mut packed);
            packed
        }))
    }

    fn product_bias(&self, multiply: &Multiply) -> Floats<'_> {
        let bias = multiply.bias.map(|bias| Floats::Shared(self.filled_up(bias)));
        bias.unwrap_or(Floats::Borrowed(&[]))
    }

    pub(super) fn multiply(
        &self,
        step: &Step,
        multiply: &Multiply,
        clamp: [f32; 2],
        chain: &mut Chain<'_>,
        y: &mut [f32],
        scratch: &mut Buffer,
    ) {
        if let Some(row) = &self.row {
            y.copy_from_slice(row);
            return chain.apply(y, 0);
        }
        let Multiply { product, factors: [left, _], results, .. } = multiply;
        let Product { m, k, n, ref stack, .. } = *product;
        let a = self.floats(step.reads[0], multiply.layouts[0]);
        let b = self.right_factors(step, multiply, scratch);
        let bias = self.product_bias(multiply);
        let is_chained = !chain.is_empty();
        let [x_step, y_step] = [left.strides[0], results.strides[0]];
        let gemm = Gemm { rows: m, depth: k, columns: n, x_step, y_step };
        let packed_len = kernels::packed_len(k, n);
        for ([i, j], &start) in stack.iter().zip(&results.starts) {
            let (a, b) = (&a[left.starts[*i]..], &b[j * packed_len..][..packed_len]);
            let mut finish = |part: &mut [f32], row: usize, column: usize, width: usize| {
                chain.apply_rows(part, start + row * y_step + column, width, y_step);
            };
            let finish: Option<kernels::Finish<'_>> =
                if is_chained { Some(&mut finish) } else { None };
            gemm.run(a, b, &bias, clamp, &mut y[start..], finish);
        }
    }
}

/// Multiplies the rows of passes under the same changes with their matrix at once, so that it is read
/// once, where a step is the product of a single row and a constant.
pub(super) fn multiply_rows<'a, 'p: 'a>(
    passes: impl Iterator<Item = &'a mut Pass<'p>>,
    index: usize,
) {
    let mut passes: Vec<&mut Pass<'_>> = passes.collect();
    let Some(step) = passes.first().map(|pass| &pass.plan.steps[index]) else { return };
    let Head::Product(multiply) = &step.head else { return };
    let Product { m, k, n, ref stack, .. } = multiply.product;
    if m != 1 || stack.len() != 1 || passes[0].constant(step.reads[1]).is_none() {
        return;
    }
    let mut rows = Buffer::zeros(passes.len() * k);
    for (pass, row) in passes.iter_mut().zip(rows.chunks_exact_mut(k)) {
        let (a, layout) = (step.reads[0], multiply.layouts[0]);
        pass.ensure(a, layout);
        row.copy_from_slice(&pass.floats(a, layout));
    }
    let mut y = Buffer::zeros(passes.len() * n);
    let first = &passes[0];
    let mut scratch = Buffer::default();
    let (b, bias) =
        (first.right_factors(step, multiply, &mut scratch), first.product_bias(multiply));
    let gemm = Gemm { rows: passes.len(), depth: k, columns: n, x_step: k, y_step: n };
    gemm.run(&rows, &b, &bias, first.clamp(step).0, &mut y, None);
    for (pass, y) in passes.into_iter().zip(y.chunks_exact(n)) {
        pass.row = Some(Buffer::from(y));
    }
}
