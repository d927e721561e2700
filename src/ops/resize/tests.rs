//! Each mode by hand, the older forms, refusals.

use ndarray::array;

use crate::ops::QuantRole;
use crate::ops::testing::{OpTest, counting, op};
use crate::tensor::Tensor;

/// Of a `[3, 4]` map, by scales.
fn scaled(mode: &str, scales: &[f32]) -> OpTest {
    let scales = Tensor::from_vec(&[scales.len()], scales.to_vec());
    op("Resize").tensor(counting(&[1, 1, 3, 4])).absent().tensor(scales).string("mode", mode)
}

/// Of a `[3, 4]` map, by sizes.
fn sized(mode: &str, sizes: &[i64]) -> OpTest {
    let base = op("Resize").tensor(counting(&[1, 1, 3, 4])).absent().absent();
    base.i64s(sizes).string("mode", mode)
}

/// The expected rows differ by 4, as those of the input do.
fn rows(first: &[f32]) -> Tensor {
    let rows = [0., 4., 8.].iter().flat_map(|y| first.iter().map(move |x| x + y));
    Tensor::from_vec(&[1, 1, 3, first.len()], rows.collect())
}

#[test]
fn nearest() {
    let x2 = || scaled("nearest", &[1., 1., 1., 2.]);
    x2().macs(0).gives_tensor(rows(&[0., 0., 1., 1., 2., 2., 3., 3.]));
    scaled("nearest", &[1., 1., 1., 0.6]).gives_tensor(rows(&[0., 2.]));
    scaled("nearest", &[1., 1., 1., 1.5])
        .string("nearest_mode", "ceil")
        .string("coordinate_transformation_mode", "asymmetric")
        .gives_tensor(rows(&[0., 1., 2., 2., 3., 3.]));
    sized("nearest", &[1, 1, 3, 7])
        .string("nearest_mode", "round_prefer_ceil")
        .string("coordinate_transformation_mode", "align_corners")
        .gives_tensor(rows(&[0., 1., 1., 2., 2., 3., 3.]));
    assert_eq!(x2().quant(), QuantRole::passes(0));
}

#[test]
fn nearest_takes_any_type() {
    let scales = Tensor::from_vec(&[1], vec![2_f32]);
    op("Resize")
        .tensor(Tensor::from_vec(&[2], vec![true, false]))
        .absent()
        .tensor(scales)
        .gives_tensor(Tensor::from_vec(&[4], vec![true, true, false, false]));
}

#[test]
fn linear() {
    let x2 = || scaled("linear", &[1., 1., 1., 2.]);
    x2().gives_tensor(rows(&[0., 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.]));
    let by = |base: OpTest, mode| base.string("coordinate_transformation_mode", mode);
    by(x2(), "asymmetric").gives_tensor(rows(&[0., 0.5, 1., 1.5, 2., 2.5, 3., 3.]));
    by(sized("linear", &[1, 1, 3, 7]), "align_corners")
        .gives_tensor(rows(&[0., 0.5, 1., 1.5, 2., 2.5, 3.]));
    by(sized("linear", &[1, 1, 1, 2]), "pytorch_half_pixel").gives(array![[[[0.5, 2.5]]]]);
    by(scaled("linear", &[1., 1., 1., 1.4]), "half_pixel_symmetric").gives_tensor(rows(&[
        0.071_428_6,
        0.785_714_3,
        1.5,
        2.214_285_9,
        2.928_571_5,
    ]));
    scaled("linear", &[1., 1., 1., 0.5]).int("antialias", 1).gives_tensor(rows(&[0.625, 2.375]));
    // One axis grows, the other shrinks.
    let both = [0_f32, 1., 3., 5., 7., 8.].iter().flat_map(|y| [0.5 + y, 2.5 + y]);
    sized("linear", &[1, 1, 6, 2]).gives_tensor(Tensor::from_vec(&[1, 1, 6, 2], both.collect()));
    assert_eq!(x2().quant(), QuantRole::reads_only(0));
}

/// Truncated as a cast does, rounded where a filter averages.
#[test]
fn integers() {
    let resize = |x: [u8; 4], scale: f32| {
        let base = op("Resize").tensor(Tensor::from_vec(&[4], x.to_vec())).absent();
        base.tensor(Tensor::from_vec(&[1], vec![scale])).string("mode", "linear")
    };
    let gives = |resize: OpTest, y: &[u8]| {
        resize.gives_tensor(Tensor::from_vec(&[y.len()], y.to_vec()));
    };
    gives(resize([0, 3, 3, 9], 2.), &[0, 0, 2, 3, 3, 4, 7, 9]);
    gives(resize([7; 4], 1.3), &[7; 5]);
    gives(resize([0, 8, 8, 9], 0.5).int("antialias", 1), &[4, 9]);
    // Beyond the type's range there is nothing.
    gives(resize([0, 0, 255, 255], 2.).string("mode", "cubic"), &[0, 0, 0, 57, 197, 255, 255, 255]);
}

/// The sum of the two would be 0 in float32.
#[test]
fn float64() {
    op("Resize")
        .tensor(Tensor::from_vec(&[2], vec![16_777_217_f64, -16_777_216.]))
        .absent()
        .absent()
        .i64s(&[3])
        .string("mode", "linear")
        .string("coordinate_transformation_mode", "align_corners")
        .gives_tensor(Tensor::from_vec(&[3], vec![16_777_217_f64, 0.5, -16_777_216.]));
}

/// The corners are those of 0.6 x 4 = 2.4 elements: the last is at 3 / 1.4.
#[test]
fn aligned_corners_of_a_rounded_length() {
    scaled("linear", &[1., 1., 1., 0.6])
        .string("coordinate_transformation_mode", "align_corners")
        .gives_tensor(rows(&[0., 3. / 1.4]));
}

/// `tf_half_pixel_for_nn` would shift even the axes that are not resized.
#[test]
fn what_is_not_resized_stays() {
    scaled("nearest", &[1., 1., 1., 2.])
        .string("nearest_mode", "ceil")
        .string("coordinate_transformation_mode", "tf_half_pixel_for_nn")
        .gives_tensor(rows(&[1., 1., 2., 2., 3., 3., 3., 3.]));
}

#[test]
fn crop() {
    let roi = array![0., 0., 0., 0.5, 1., 1., 1., 1.25];
    op("Resize")
        .tensor(counting(&[1, 1, 3, 4]))
        .input(&roi)
        .absent()
        .i64s(&[1, 1, 2, 4])
        .string("mode", "linear")
        .string("coordinate_transformation_mode", "tf_crop_and_resize")
        .float("extrapolation_value", 9.)
        .gives(array![[[[1.5, 2.25, 3., 9.], [9.5, 10.25, 11., 9.]]]]);
}

#[test]
fn cubic() {
    let x2 = || scaled("cubic", &[1., 1., 1., 2.]);
    x2().gives_tensor(rows(&[
        -0.105_468_75,
        0.191_406_25,
        0.667_968_75,
        1.296_875,
        1.703_125,
        2.332_031_3,
        2.808_593_8,
        3.105_468_8,
    ]));
    x2().int("exclude_outside", 1).float("cubic_coeff_a", -0.5).gives_tensor(rows(&[
        -0.088_235_3,
        0.167_883_22,
        0.709_923_7,
        1.25,
        1.75,
        2.290_076_3,
        2.832_116_8,
        3.088_235_1,
    ]));
    scaled("cubic", &[1., 1., 1., 0.5])
        .int("antialias", 1)
        .gives_tensor(rows(&[0.490_234_38, 2.509_765_6]));
}

#[test]
fn some_axes() {
    scaled("linear", &[0.5, 2.]).ints("axes", &[3, -2]).gives(array![[[
        [0.5, 2.5],
        [1.5, 3.5],
        [3.5, 5.5],
        [5.5, 7.5],
        [7.5, 9.5],
        [8.5, 10.5]
    ]]]);
    let row = |start: f32| [0., 0., 1., 2., 2., 3.].map(|x| x + start);
    let y = [row(0.), row(0.), row(4.), row(8.), row(8.)].concat();
    sized("nearest", &[6, 6])
        .ints("axes", &[2, 3])
        .string("keep_aspect_ratio_policy", "not_larger")
        .gives_tensor(Tensor::from_vec(&[1, 1, 5, 6], y));
    let row = |start: f32| [0., 0., 1., 1., 2., 2., 3., 3.].map(|x| x + start);
    let y = [row(0.), row(0.), row(4.), row(4.), row(8.), row(8.)].concat();
    sized("nearest", &[6, 6])
        .ints("axes", &[2, 3])
        .string("keep_aspect_ratio_policy", "not_smaller")
        .gives_tensor(Tensor::from_vec(&[1, 1, 6, 8], y));
}

#[test]
fn older_forms() {
    let old = |name, x: Tensor, scales: &[f32]| {
        op(name).opset(10).tensor(x).tensor(Tensor::from_vec(&[scales.len()], scales.to_vec()))
    };
    let map = || counting(&[1, 1, 3, 4]);
    old("Resize", map(), &[1., 1., 1., 0.6]).gives_tensor(rows(&[0., 2.]));
    old("Resize", map(), &[1., 1., 1., 2.])
        .string("mode", "linear")
        .gives_tensor(rows(&[0., 0.5, 1., 1.5, 2., 2.5, 3., 3.]));
    old("Upsample", counting(&[2]), &[2.]).gives(array![0., 0., 1., 1.]);
    op("Upsample")
        .opset(7)
        .tensor(counting(&[1, 1, 2, 2]))
        .attr("scales", crate::ops::AttrValue::Floats(vec![1., 1., 2., 1.5]))
        .gives(array![[[[0., 0., 1.], [0., 0., 1.], [2., 2., 3.], [2., 2., 3.]]]]);
    // With `sizes`, opset 11 has empty tensors for the other two.
    op("Resize")
        .opset(11)
        .tensor(counting(&[2]))
        .tensor(counting(&[0]))
        .tensor(counting(&[0]))
        .i64s(&[4])
        .gives(array![0., 0., 1., 1.]);
}

#[test]
fn nothing_in_nothing_out() {
    let scales = || Tensor::from_vec(&[2], vec![2_f32, 0.5]);
    let resize = |x| op("Resize").tensor(x).absent().tensor(scales()).string("mode", "linear");
    resize(counting(&[0, 4])).gives_tensor(counting(&[0, 2]));
    resize(counting(&[4, 1])).gives_tensor(counting(&[8, 0]));
}

#[test]
fn refuses() {
    op("Resize").tensor(counting(&[2])).fails("input `scales` is missing");
    scaled("linear", &[1., 2.]).fails("input `scales` has shape [2], expected [4], one per axis");
    scaled("linear", &[1., 1., 1., -1.])
        .fails("input `scales` is [1.0, 1.0, 1.0, -1.0], expected positive scales");
    scaled("linear", &[1., 1., 1., 1e30])
        .fails("the output would have 2^48 or more elements, more than can be addressed");
    scaled("linear", &[1., 1., 1., 1.])
        .i64s(&[1; 4])
        .fails("input `sizes` has shape [4], expected [0], as there are `scales`");
    sized("linear", &[1, 1, 1, 0])
        .fails("input `sizes` is [1, 1, 1, 0], expected sizes of at least 1");
    sized("linear", &[1, 1])
        .ints("axes", &[2, -2])
        .fails("attribute `axes` is [2, -2], expected each axis once");
    sized("linear", &[1])
        .ints("axes", &[4])
        .fails("attribute `axes` is 4, expected -4 to 3 for rank 4");
    sized("linear", &[1; 4])
        .string("coordinate_transformation_mode", "tf_crop_and_resize")
        .fails("input `roi` is missing");
    sized("bicubic", &[1; 4])
        .fails("attribute `mode` is `bicubic`; supported: `nearest`, `linear`, `cubic`");
}
