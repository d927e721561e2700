//! Models that break the specification, at load and at run time: errors that say where, not panics.

use expect_test::expect;
use mpq::onnx::proto::tensor_proto::DataType;
use mpq::onnx::proto::tensor_shape_proto::dimension::Value as DimValue;
use mpq::onnx::proto::type_proto::Value as Type;
use mpq::onnx::proto::{GraphProto, ModelProto};
use ndarray::Array2;
use ndarray_npy::write_npy;
use prost::Message as _;

use crate::run::Sandbox;
use crate::text_model::model;

/// What `mpq run` says of models with an input `float[2,3] x` and these nodes.
fn said(cases: &[(&str, &str)]) -> String {
    let sandbox = Sandbox::new();
    write_npy(sandbox.path("x.npy"), &Array2::<f32>::ones((2, 3))).unwrap();
    let line = |&(name, nodes): &(&str, &str)| {
        let text = format!("import \"\" 17 main (float[2,3] x) -> (y) {{ {nodes} }}");
        sandbox.write(&format!("{name}.onnx"), model(&text));
        format!("run TMP/{name}.onnx --input TMP/x.npy -o TMP/y.npz")
    };
    let lines: Vec<String> = cases.iter().map(line).collect();
    sandbox.transcript(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn names() {
    expect![[r#"
        $ mpq run TMP/two_nodes.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/two_nodes.onnx` is an invalid ONNX model: the name `y` is given to two values
        exit 2

        $ mpq run TMP/over_an_input.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/over_an_input.onnx` is an invalid ONNX model: the name `x` is given to two values
        exit 2

        $ mpq run TMP/over_a_constant.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/over_a_constant.onnx` is an invalid ONNX model: the name `y` is given to two values
        exit 2

        $ mpq run TMP/two_constants.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/two_constants.onnx` is an invalid ONNX model: the name `w` is given to two values
        exit 2

        $ mpq run TMP/unknown.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/unknown.onnx` is an invalid ONNX model: node `y` reads `w`, which no node, input or initializer gives
        exit 2

        $ mpq run TMP/no_output.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/no_output.onnx` is an invalid ONNX model: output `y` of the graph is given by no node, input or initializer
        exit 2

        $ mpq run TMP/cycle.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/cycle.onnx` is an invalid ONNX model: the graph has a cycle through node `a`
        exit 2
    "#]].assert_eq(&said(&[
        ("two_nodes", "y = Neg(x) y = Abs(x)"),
        ("over_an_input", "x = Neg(x) y = Abs(x)"),
        ("over_a_constant", "float[1] y = {1} y = Neg(x)"),
        ("two_constants", "float[1] w = {1} float[1] w = {2} y = Add(x, w)"),
        ("unknown", "y = Add(x, w)"),
        ("no_output", "z = Neg(x)"),
        ("cycle", "a = Add(x, b) b = Neg(a) y = Neg(b)"),
    ]));
}

#[test]
fn arity() {
    expect![[r#"
        $ mpq run TMP/too_few.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Add) with inputs float32 [2, 3]: input `B` is missing
        exit 2

        $ mpq run TMP/left_out.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Add) with inputs nothing, float32 [2, 3]: input `A` is missing
        exit 2

        $ mpq run TMP/too_many.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Neg) with inputs float32 [2, 3], float32 [2, 3]: has 2 inputs, expected at most 1
        exit 2

        $ mpq run TMP/outputs.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Neg) with inputs float32 [2, 3]: has 2 outputs, expected at most 1
        exit 2

        $ mpq run TMP/outputs_read.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `a` (Neg) with inputs float32 [2, 3]: has 2 outputs, expected at most 1
        exit 2

        $ mpq run TMP/too_new.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/too_new.onnx` has nodes that are invalid
          node `y` (ReduceMean, opset 17): has 2 inputs, expected at most 1 before opset 18
        exit 2

        $ mpq run TMP/both_forms.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/both_forms.onnx` has nodes that are invalid
          node `y` (ReduceMean, opset 17): has 2 inputs, expected at most 1 before opset 18
        exit 2
    "#]].assert_eq(&said(&[
        ("too_few", "y = Add(x)"),
        ("left_out", "y = Add(_, x)"),
        ("too_many", "y = Neg(x, x)"),
        ("outputs", "y, z = Neg(x)"),
        ("outputs_read", "a, b = Neg(x) y = Add(a, b)"),
        ("too_new", "int64[1] axes = {1} y = ReduceMean(x, axes)"),
        ("both_forms", "int64[1] more = {1} y = ReduceMean<axes = [1]>(x, more)"),
    ]));
}

#[test]
fn attributes() {
    expect![[r#"
        $ mpq run TMP/unknown.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/unknown.onnx` has nodes that are invalid
          node `y` (Neg, opset 17): attribute `axis` is not one this operator has
        exit 2

        $ mpq run TMP/wrong_type.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/wrong_type.onnx` has nodes that are invalid
          node `y` (Softmax, opset 17): attribute `axis` is `last`, expected an integer
        exit 2

        $ mpq run TMP/a_list.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/a_list.onnx` has nodes that are invalid
          node `y` (Softmax, opset 17): attribute `axis` is [1], expected an integer
        exit 2

        $ mpq run TMP/twice.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/twice.onnx` has nodes that are invalid
          node `y` (Softmax, opset 17): attribute `axis` is given twice, expected one value
        exit 2

        $ mpq run TMP/missing.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/missing.onnx` has nodes that are invalid
          node `y` (Cast, opset 17): attribute `to` is missing
        exit 2

        $ mpq run TMP/out_of_range.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Softmax) with inputs float32 [2, 3]: attribute `axis` is 2, expected -2 to 1 for rank 2
        exit 2

        $ mpq run TMP/strange.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/strange.onnx` has nodes that are invalid
          node `y` (DepthToSpace, opset 17): attribute `blocksize` is 0, expected at least 1
        exit 2

        $ mpq run TMP/several.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/several.onnx` has nodes that are invalid
          node `a` (Neg, opset 17): attribute `axis` is not one this operator has
          node `y` (Cast, opset 17): attribute `to` is missing
        exit 2
    "#]].assert_eq(&said(&[
        ("unknown", "y = Neg<axis = 1>(x)"),
        ("wrong_type", "y = Softmax<axis = \"last\">(x)"),
        ("a_list", "y = Softmax<axis = [1]>(x)"),
        ("twice", "y = Softmax<axis = 0, axis = 1>(x)"),
        ("missing", "y = Cast(x)"),
        ("out_of_range", "y = Softmax<axis = 2>(x)"),
        ("strange", "y = DepthToSpace<blocksize = 0>(x)"),
        ("several", "a = Neg<axis = 1>(x) b = Softmax<axis = 7>(a) y = Cast(b)"),
    ]));
}

#[test]
fn shapes() {
    expect![[r#"
        $ mpq run TMP/broadcast.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Add) with inputs float32 [2, 3], float32 [2]: input `B` has shape [2], expected broadcastable with [2, 3]
        exit 2

        $ mpq run TMP/product.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (MatMul) with inputs float32 [2, 3], float32 [2, 1]: input `B` has shape [2, 1], expected inner dimension 3, that of `A`
        exit 2

        $ mpq run TMP/reshape.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Reshape) with inputs float32 [2, 3], int64 [2]: input `shape` is [4, -1], expected 6 elements, those of [2, 3]
        exit 2

        $ mpq run TMP/two_unknown.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Reshape) with inputs float32 [2, 3], int64 [2]: input `shape` is [-1, -1], expected sizes, at most one of them -1
        exit 2

        $ mpq run TMP/rank.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Conv) with inputs float32 [2, 3], float32 [1, 1, 1, 1]: input `X` has shape [2, 3], expected [N, C, ...] with a spatial axis
        exit 2

        $ mpq run TMP/type.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Mul) with inputs float32 [2, 3], int64 [1]: input `B` is int64, expected float32
        exit 2

        $ mpq run TMP/behind_another.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Add) with inputs float32 [3, 2], float32 [2, 3]: input `B` has shape [2, 3], expected broadcastable with [3, 2]
        exit 2
    "#]].assert_eq(&said(&[
        ("broadcast", "float[2] w = {1, 2} y = Add(x, w)"),
        ("product", "float[2,1] w = {1, 2} y = MatMul(x, w)"),
        ("reshape", "int64[2] s = {4, -1} y = Reshape(x, s)"),
        ("two_unknown", "int64[2] s = {-1, -1} y = Reshape(x, s)"),
        ("rank", "float[1,1,1,1] w = {1} y = Conv(x, w)"),
        ("type", "int64[1] w = {1} y = Mul(x, w)"),
        ("behind_another", "a = Transpose(x) y = Add(a, x)"),
    ]));
}

/// Known only once there are values: the node is named.
#[test]
fn at_run_time() {
    let cast = "i = Cast<to = 7>(x)";
    let table = "float[2] t = {1, 2}";
    expect![[r#"
        $ mpq run TMP/gather.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Gather) with inputs float32 [2], int64 [2, 3]: input `indices` is 9, expected from -2 to 1
        exit 2

        $ mpq run TMP/constant_index.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Gather) with inputs float32 [2], int64 [1]: input `indices` is -3, expected from -2 to 1
        exit 2

        $ mpq run TMP/scatter.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (ScatterElements) with inputs float32 [2, 3], int64 [2, 3], float32 [2, 3]: input `indices` is 9, expected from -2 to 1
        exit 2

        $ mpq run TMP/expand.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Expand) with inputs float32 [2, 3], int64 [2]: input `input` has shape [2, 3], expected broadcastable with [6, 7]
        exit 2

        $ mpq run TMP/reshape.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Reshape) with inputs float32 [2, 3], int64 [6]: input `shape` is [1, 1, 1, 1, 1, 1], expected 6 elements, those of [2, 3]
        exit 2

        $ mpq run TMP/top_k.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (TopK) with inputs float32 [2, 3], int64 [1]: input `K` is 10, expected from 0 to 3
        exit 2

        $ mpq run TMP/division.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Div) with inputs int64 [2, 3], int64 [2, 3]: input `B` is 0, expected no zero among divisors of integers
        exit 2
    "#]].assert_eq(&said(&[
        ("gather", &format!("int64[1] n = {{9}} {cast} j = Mul(i, n) {table} y = Gather(t, j)")),
        ("constant_index", &format!("int64[1] n = {{-3}} {table} y = Gather(t, n)")),
        ("scatter", &format!("{cast} int64[1] n = {{9}} j = Mul(i, n) y = ScatterElements(x, j, x)")),
        ("expand", "int64[1] n = {4} s = Shape(x) j = Add(s, n) y = Expand(x, j)"),
        ("reshape", &format!("{cast} int64[1] m = {{-1}} j = Reshape(i, m) y = Reshape(x, j)")),
        ("top_k", "int64[1] n = {4} s = Size(x) j = Add(s, n) y, z = TopK(x, j)"),
        ("division", &format!("{cast} j = Sub(i, i) y = Div(i, j)")),
    ]));
}

/// More than can be addressed, or than is allowed: refused before anything is made.
#[test]
fn sizes() {
    expect![[r#"
        $ mpq run TMP/addressed.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (ConstantOfShape) with inputs int64 [2]: the output would have 4611686018427387904 x 4 elements, more than can be addressed
        exit 2

        $ mpq run TMP/overflow.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (ConstantOfShape) with inputs int64 [3]: the output would have 3037000500 x 3037000500 x 8 elements, more than can be addressed
        exit 2

        $ mpq run TMP/allowed.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (ConstantOfShape) with inputs int64 [2]: would make 40000000000 bytes, more than the limit of 1073741824
        exit 2

        $ mpq run TMP/tile.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Tile) with inputs float32 [2, 3], int64 [2]: the output would have 9223372036854775808 x 27 elements, more than can be addressed
        exit 2

        $ mpq run TMP/pad.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Pad) with inputs float32 [2, 3], int64 [4]: the output would have 9223372036854775809 x 3 elements, more than can be addressed
        exit 2

        $ mpq run TMP/negative.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (ConstantOfShape) with inputs int64 [1]: input `input` is [-2], expected no negative size
        exit 2

        $ mpq run TMP/range.onnx --input TMP/x.npy -o TMP/y.npz
        error: node `y` (Range) with inputs float32 [], float32 [], float32 []: the output would have 18446744073709551615 elements, more than can be addressed
        exit 2
    "#]].assert_eq(&said(&[
        ("addressed", "int64[2] s = {4611686018427387904, 4} y = ConstantOfShape(s)"),
        ("overflow", "int64[3] s = {3037000500, 3037000500, 8} y = ConstantOfShape(s)"),
        ("allowed", "int64[2] s = {100000, 100000} y = ConstantOfShape(s)"),
        ("tile", "int64[2] s = {4611686018427387904, 9} y = Tile(x, s)"),
        ("pad", "int64[4] p = {0, 0, 9223372036854775807, 0} y = Pad(x, p)"),
        ("negative", "int64[1] s = {-2} y = ConstantOfShape(s)"),
        ("range", "float[] a = {0} float[] b = {1e30} float[] c = {0.001} y = Range(a, b, c)"),
    ]));
}

/// The constant `w` of a model, declared otherwise than it is.
fn with_constant(change: impl Fn(&mut GraphProto)) -> Vec<u8> {
    let text = "import \"\" 17 main (float[2,3] x) -> (y) { float[1] w = {1} y = Add(x, w) }";
    let mut model = ModelProto::decode(model(text).as_slice()).unwrap();
    change(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

#[test]
fn constants() {
    let sandbox = Sandbox::new();
    write_npy(sandbox.path("x.npy"), &Array2::<f32>::ones((2, 3))).unwrap();
    let dims = |dims: &[i64]| {
        let dims = dims.to_vec();
        with_constant(move |graph| graph.initializer[0].dims = dims.clone())
    };
    let cases = [
        ("no_data", with_constant(|graph| graph.initializer[0].float_data.clear())),
        ("two_gigabytes", {
            with_constant(|graph| {
                graph.initializer[0].dims = vec![1 << 29];
                graph.initializer[0].float_data.clear();
            })
        }),
        ("too_few", dims(&[1 << 29])),
        ("overflow", dims(&[1 << 40, 1 << 40])),
        ("negative", dims(&[-1])),
        ("no_type", with_constant(|graph| graph.initializer[0].data_type = None)),
        ("strange_type", with_constant(|graph| graph.initializer[0].data_type = Some(99))),
        ("text", {
            with_constant(|graph| graph.initializer[0].data_type = Some(DataType::String.into()))
        }),
        ("endless_input", {
            with_constant(|graph| {
                let ty = graph.input[0].r#type.as_mut().and_then(|ty| ty.value.as_mut());
                let Some(Type::TensorType(tensor)) = ty else { panic!("a tensor") };
                let dims = &mut tensor.shape.as_mut().unwrap().dim;
                dims.iter_mut().for_each(|dim| dim.value = Some(DimValue::DimValue(1 << 40)));
            })
        }),
        ("input_without_type", with_constant(|graph| graph.input[0].r#type = None)),
    ];
    let lines = cases.map(|(name, bytes)| {
        sandbox.write(&format!("{name}.onnx"), bytes);
        format!("run TMP/{name}.onnx --input TMP/x.npy -o TMP/y.npz")
    });
    expect![[r#"
        $ mpq run TMP/no_data.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/no_data.onnx`: initializer `w`: it has no data, expected 1 elements of float32 [1]
        exit 2

        $ mpq run TMP/two_gigabytes.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/two_gigabytes.onnx`: initializer `w`: it has no data, expected 536870912 elements of float32 [536870912]
        exit 2

        $ mpq run TMP/too_few.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/too_few.onnx`: initializer `w`: `float_data` has 1 elements, expected 536870912 for float32 [536870912]
        exit 2

        $ mpq run TMP/overflow.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/overflow.onnx`: initializer `w`: shape [1099511627776, 1099511627776] is invalid: more elements than memory can address
        exit 2

        $ mpq run TMP/negative.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/negative.onnx`: initializer `w`: shape [-1] is invalid: dimension 0 is negative
        exit 2

        $ mpq run TMP/no_type.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/no_type.onnx`: initializer `w`: element type is invalid: code 0, expected 1 to 28
        exit 2

        $ mpq run TMP/strange_type.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/strange_type.onnx`: initializer `w`: element type is invalid: code 99, expected 1 to 28
        exit 2

        $ mpq run TMP/text.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/text.onnx`: initializer `w`: element type `string` is not supported
        exit 2

        $ mpq run TMP/endless_input.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/endless_input.onnx`: input `x`: shape [1099511627776, 1099511627776] is invalid: more elements than memory can address
        exit 2

        $ mpq run TMP/input_without_type.onnx --input TMP/x.npy -o TMP/y.npz
        error: `TMP/input_without_type.onnx`: input `x`: is not supported: no type, expected a tensor
        exit 2
    "#]].assert_eq(&sandbox.transcript(&lines.each_ref().map(String::as_str)));
}
