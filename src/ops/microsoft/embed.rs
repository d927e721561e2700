//! `EmbedLayerNormalization`: the sum of up to three looked-up rows, and its norm.

use crate::ops::floats::{expect_float, expect_same};
use crate::ops::gather::picks;
use crate::ops::inputs::Named;
use crate::ops::microsoft::{apply, standard, value};
use crate::ops::take::take_axis;
use crate::ops::{
    AttrValue, Attrs, Bodies, Inputs, OpDef, OpError, Operator, OutputRange, QuantRole, Reads,
    Weight,
};
use crate::tensor::{DType, Tensor, TensorType};

pub(in crate::ops) const OPS: &[OpDef] =
    &[OpDef::microsoft("EmbedLayerNormalization", EmbedLayerNormalization::read)];

/// Rows of `[words, hidden]`, `[positions, hidden]` and perhaps `[segments, hidden]`.
#[derive(Debug)]
struct EmbedLayerNormalization {
    add: Box<dyn Operator>,
    norm: Box<dyn Operator>,
}

const INPUT_IDS: usize = 0;
const SEGMENT_IDS: usize = 1;
const WORD: usize = 2;
const POSITION: usize = 3;
const SEGMENT: usize = 4;
const GAMMA: usize = 5;
const BETA: usize = 6;
const MASK: usize = 7;
const POSITION_IDS: usize = 8;

impl EmbedLayerNormalization {
    fn read(attrs: &mut Attrs) -> Result<Box<dyn Operator>, OpError> {
        attrs.ignore("mask_index_type");
        let epsilon = AttrValue::Float(attrs.float("epsilon", 1e-12)?);
        let norm = standard("LayerNormalization", &[("epsilon", epsilon)])?;
        Ok(Box::new(EmbedLayerNormalization { add: standard("Add", &[])?, norm }))
    }
}

impl Operator for EmbedLayerNormalization {
    fn infer(&self, inputs: &Inputs<'_>) -> Result<Vec<TensorType>, OpError> {
        inputs.expect_at_most(9)?;
        let ids = inputs.require(INPUT_IDS, "input_ids")?;
        let [batch, length] = expect_ids(&ids)?;
        let words = inputs.require(WORD, "word_embedding")?;
        expect_float(&words)?;
        let [_, hidden] = words.expect_rank()?;
        let table = |table: Named<'_>| match *expect_same(&table, words.dtype(), "word_embedding")?
        {
            [rows, found] if found == hidden => Ok(rows),
            _ => Err(table.wrong_shape(format!("[rows, {hidden}]"))),
        };
        let n_positions = table(inputs.require(POSITION, "position_embedding")?)?;
        if let Some(segment_ids) = inputs.optional(SEGMENT_IDS, "segment_ids") {
            expect_ids_like(&segment_ids, [batch, length])?;
            table(inputs.require(SEGMENT, "segment_embedding")?)?;
        }
        for (position, name) in [(GAMMA, "gamma"), (BETA, "beta")] {
            let parameter = inputs.require(position, name)?;
            if expect_same(&parameter, words.dtype(), "word_embedding")? != [hidden] {
                return Err(parameter.wrong_shape(format!("[{hidden}]")));
            }
        }
        if let Some(mask) = inputs.optional(MASK, "mask") {
            expect_ids_like(&mask, [batch, length])?;
        }
        match inputs.optional(POSITION_IDS, "position_ids") {
            Some(positions) if positions.shape() == [1, length] => drop(expect_ids(&positions)?),
            Some(positions) => expect_ids_like(&positions, [batch, length])?,
            None if n_positions < length => {
                return Err(ids.wrong_shape(format!("at most {n_positions} positions")));
            }
            None => {}
        }
        let y = TensorType::new(words.dtype(), &[batch, length, hidden]);
        let mut types = vec![y.clone(), TensorType::new(DType::I32, &[batch]), y];
        types.truncate(inputs.n_outputs().max(1));
        Ok(types)
    }

    fn eval(&self, inputs: &Inputs<'_>, _bodies: &mut dyn Bodies) -> Result<Vec<Tensor>, OpError> {
        let types = self.infer(inputs)?;
        let shape = &types[0].shape;
        let (batch, length) = (shape[0], shape[1]);
        let rows = |name, table: usize, ids: &Tensor| {
            let table = inputs.tensor(table);
            let picks = picks(name, ids, table.shape()[0])?;
            let shape = [ids.shape()[0], length, shape[2]];
            Ok::<Tensor, OpError>(take_axis(table, 0, &picks).reshaped(&shape))
        };
        let words = rows("input_ids", WORD, inputs.tensor(INPUT_IDS))?;
        let positions = match value(inputs, POSITION_IDS) {
            Some(ids) => rows("position_ids", POSITION, ids)?,
            None => {
                let ids = (0..length as i64).collect();
                rows("position_ids", POSITION, &Tensor::from_vec(&[1, length], ids))?
            }
        };
        let mut sum = apply(&*self.add, &[Some(&words), Some(&positions)])?;
        if let Some(ids) = value(inputs, SEGMENT_IDS) {
            let segments = rows("segment_ids", SEGMENT, ids)?;
            sum = apply(&*self.add, &[Some(&sum), Some(&segments)])?;
        }
        let parameters = [Some(&sum), value(inputs, GAMMA), value(inputs, BETA)];
        let y = apply(&*self.norm, &parameters)?;
        let lengths = match value(inputs, MASK) {
            Some(mask) => mask.slice::<i32>().chunks(length.max(1)).map(count_ones).collect(),
            None => vec![0; batch],
        };
        let mask_index = Tensor::from_vec(&[batch], lengths);
        Ok([y, mask_index, sum].into_iter().take(types.len()).collect())
    }

    /// The tables are weights, chosen together with the output.
    fn quant(&self, _inputs: &Inputs<'_>) -> QuantRole {
        let table = |input| Weight { input, channel_axis: 0 };
        QuantRole {
            weights: [WORD, POSITION, SEGMENT].map(table).to_vec(),
            reads: Reads::Only(Vec::new()),
            output: OutputRange::SameAsInput(WORD),
            ..QuantRole::OWN_RANGE
        }
    }
}

fn expect_ids(ids: &Named<'_>) -> Result<[usize; 2], OpError> {
    ids.expect_dtype(DType::I32)?;
    ids.expect_rank()
}

fn expect_ids_like(ids: &Named<'_>, shape: [usize; 2]) -> Result<(), OpError> {
    if expect_ids(ids)? != shape {
        return Err(ids.wrong_shape(format!("{shape:?}, that of `input_ids`")));
    }
    Ok(())
}

fn count_ones(mask: &[i32]) -> i32 {
    mask.iter().filter(|&&x| x == 1).count() as i32
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use crate::ops::testing::{OpTest, op};

    fn embed(segments: bool) -> OpTest {
        let base = op("EmbedLayerNormalization").domain("com.microsoft").tensor(array![[0_i32, 1]]);
        let base = if segments { base.tensor(array![[1_i32, 0]]) } else { base.absent() };
        let base =
            base.input(&array![[1., 3.], [5., 1.]]).input(&array![[0., 0.], [0., 2.], [0., 0.]]);
        let base = if segments { base.input(&array![[0., 0.], [0., 4.]]) } else { base.absent() };
        base.input(&array![1., 2.]).input(&array![0., 1.])
    }

    #[test]
    fn rows_are_added() {
        embed(false).outputs(3).gives_tensors(&[
            array![[[-1_f32, 3.], [1., -1.]]].into(),
            array![0_i32].into(),
            array![[[1_f32, 3.], [5., 3.]]].into(),
        ]);
        embed(true).tensor(array![[1_i32, 0]]).tensor(array![[2_i32, 2]]).outputs(3).gives_tensors(
            &[
                array![[[-1_f32, 3.], [1., -1.]]].into(),
                array![1_i32].into(),
                array![[[1_f32, 7.], [5., 1.]]].into(),
            ],
        );
    }

    #[test]
    fn refuses() {
        embed(false)
            .absent()
            .tensor(array![[0_i32, 3]])
            .fails("input `position_ids` is 3, expected from -3 to 2");
        embed(true)
            .tensor(array![[1_i32]])
            .fails("input `mask` has shape [1, 1], expected [1, 2], that of `input_ids`");
    }

    #[test]
    fn tables_are_weights() {
        let role = embed(true).quant();
        let inputs: Vec<usize> = role.weights.iter().map(|weight| weight.input).collect();
        assert_eq!(inputs, [2, 3, 4]);
        assert!((0..9).all(|input| !role.reads(input)));
    }
}
