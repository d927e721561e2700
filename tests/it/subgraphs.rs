//! Subgraphs (`If`, `Loop`, `Scan`) and functions, from a file to values; those that are broken.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use mpq::exec::{Changes, Engine as _, Keep, Reference};
use mpq::graph::simplify;
use mpq::onnx;
use mpq::tensor::Tensor;

use crate::run::Sandbox;
use crate::text_model::model;

fn floats(values: &[f32]) -> Tensor {
    Tensor::from_vec(&[values.len()], values.to_vec())
}

/// The outputs of a model, or what is wrong; as it is in its file and simplified.
fn run(text: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", model(text));
    let loaded = onnx::load(&sandbox.path("m.onnx"), &BTreeMap::new());
    let folder = sandbox.path("").display().to_string();
    let graph = loaded.map_err(|error| error.to_string().replace(&folder, ""))?.graph;
    let outputs = |graph| {
        let engine = Reference::new(graph, 1 << 20);
        let values = engine.run(inputs, &Changes::default(), Keep::Outputs);
        let values = values.map_err(|error| error.to_string())?;
        Ok(graph.outputs().iter().map(|&id| values.get(id).unwrap().clone()).collect())
    };
    let found: Result<Vec<Tensor>, String> = outputs(&graph);
    assert_eq!(outputs(&simplify(graph.clone())), found, "simplified");
    found
}

#[track_caller]
fn gives(text: &str, inputs: &[Tensor], expected: &[Tensor]) {
    assert_eq!(run(text, inputs).as_deref(), Ok(expected));
}

#[track_caller]
fn fails(text: &str, inputs: &[Tensor], expected: Expect) {
    expected.assert_eq(&run(text, inputs).unwrap_err());
}

const BRANCHES: &str = r#"
    import "" 21
    main (float[N] x, bool[] c) -> (y) {
        w = Neg(x)
        y = If<then_branch = graph () -> (a) { a = Add(x, w) },
               else_branch = graph () -> (w) { }>(c)
    }"#;

#[test]
fn a_branch_reads_the_graph_around_it() {
    let x = floats(&[1., -2.]);
    gives(BRANCHES, &[x.clone(), Tensor::scalar(true)], &[floats(&[0., 0.])]);
    gives(BRANCHES, &[x, Tensor::scalar(false)], &[floats(&[-1., 2.])]);
}

#[test]
fn branches_may_differ_in_shape() {
    let text = r#"
        import "" 21
        main (float[N] x, bool[] c) -> (y) {
            int64[1] axes = {0}
            int64[1] wrong = {7}
            t = If<then_branch = graph () -> (a) { a = Unsqueeze(x, axes) },
                   else_branch = graph () -> (b) { b = Squeeze(x, wrong) }>(c)
            y = Neg(t)
        }"#;
    let expected = Tensor::from_vec(&[1, 2], vec![-1_f32, -2.]);
    gives(text, &[floats(&[1., 2.]), Tensor::scalar(true)], &[expected]);
    fails(
        text,
        &[floats(&[1., 2.]), Tensor::scalar(false)],
        expect![
            "node `t` (If) with inputs bool []: in its subgraph, node `b` (Squeeze): input `axes` is 7, expected axes from -1 to 0"
        ],
    );
}

#[test]
fn a_known_condition_leaves_one_branch() {
    let text = |c: i32| {
        format!(
            r#"
            import "" 21
            main (float[N] x) -> (y) {{
                bool[] c = {{{c}}}
                t = If<then_branch = graph () -> (a) {{ float[1] two = {{2}} z = Neg(x) a = Mul(z, two) }},
                       else_branch = graph () -> (x) {{ }}>(c)
                y, z = Split<num_outputs = 2>(t)
            }}"#
        )
    };
    gives(&text(1), &[floats(&[1., 2.])], &[floats(&[-2.])]);
    gives(&text(0), &[floats(&[1., 2.])], &[floats(&[1.])]);
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", model(&text(1)));
    let graph = onnx::load(&sandbox.path("m.onnx"), &BTreeMap::new()).unwrap().graph;
    let graph = simplify(graph);
    let ops: Vec<&str> = graph.nodes().map(|(_, node)| node.op_type.as_str()).collect();
    assert_eq!(ops, ["Neg", "Mul", "Split"]);
}

#[test]
fn loops() {
    // Counts down from n and keeps every power of 2 on the way.
    let text = r#"
        import "" 21
        main (int64[] n, float[] one) -> (last, all) {
            int64[] most = {100}
            bool[] yes = {1}
            last, all = Loop<body = graph (i, c, p) -> (on, next, p) {
                next = Add(p, p)
                float[] limit = {100}
                small = Less(next, limit)
                before = Less(i, n)
                on = And(small, before)
            }>(most, yes, one)
        }"#;
    let one = Tensor::scalar(1_f32);
    let outputs = [Tensor::scalar(8_f32), floats(&[1., 2., 4.])];
    gives(text, &[Tensor::scalar(2_i64), one.clone()], &outputs);
    let outputs = [Tensor::scalar(128_f32), floats(&[1., 2., 4., 8., 16., 32., 64.])];
    gives(text, &[Tensor::scalar(1000_i64), one], &outputs);
}

#[test]
fn loops_of_no_iteration_and_without_end() {
    let text = |trip_count: &str| {
        format!(
            r#"
            import "" 21
            main (float[2] x) -> (y, all) {{
                int64[] none = {{0}}
                y, all = Loop<body = graph (i, c, p) -> (c, q, q) {{ q = Neg(p) }}>({trip_count}, _, x)
            }}"#
        )
    };
    let x = floats(&[1., 2.]);
    gives(&text("none"), std::slice::from_ref(&x), &[x.clone(), Tensor::full(&[0, 2], 0_f32)]);
    fails(
        &text("_"),
        &[x],
        expect![
            "node `y` (Loop) with inputs nothing, nothing, float32 [2]: would make 1048656 bytes, more than the limit of 1048576"
        ],
    );
    let text = r#"
        import "" 21
        main (float[2] x) -> (y) {
            y = Loop<body = graph (i, c, p) -> (c, p) { }>(_, _, x)
        }"#;
    fails(
        text,
        &[floats(&[1., 2.])],
        expect![
            "node `y` (Loop) with inputs nothing, nothing, float32 [2]: is not finished after 262144 iterations, the most that are run"
        ],
    );
}

#[test]
fn scans() {
    let text = r#"
        import "" 21
        main (float[] start, float[N] x) -> (sum, sums) {
            sum, sums = Scan<num_scan_inputs = 1, scan_input_directions = [1], body = graph (s, x) -> (t, u) {
                t = Add(s, x)
                u = Identity(t)
            }>(start, x)
        }"#;
    let inputs = [Tensor::scalar(10_f32), floats(&[1., 2., 3.])];
    gives(text, &inputs, &[Tensor::scalar(16_f32), floats(&[13., 15., 16.])]);
    let inputs = [Tensor::scalar(10_f32), floats(&[])];
    gives(text, &inputs, &[Tensor::scalar(10_f32), floats(&[])]);
}

#[test]
fn subgraphs_in_subgraphs() {
    let text = r#"
        import "" 21
        main (float[] x, bool[] c) -> (y) {
            int64[] three = {3}
            y = Loop<body = graph (i, on, p) -> (on, q) {
                q = If<then_branch = graph () -> (a) { a = Add(p, x) },
                       else_branch = graph () -> (b) { b = Mul(p, x) }>(c)
            }>(three, _, x)
        }"#;
    let two = Tensor::scalar(2_f32);
    gives(text, &[two.clone(), Tensor::scalar(true)], &[Tensor::scalar(8_f32)]);
    gives(text, &[two, Tensor::scalar(false)], &[Tensor::scalar(16_f32)]);
}

#[test]
fn functions_are_inlined() {
    let text = r#"
        import "" 21 "local" 1
        main (float[N] x) -> (y, z, u) {
            t = local.scaled<by = 3.0>(x)
            y = local.scaled(t)
            z, u = local.both(x, _)
        }
        function local.scaled<by = 2.0> (x) -> (y) {
            t = Constant<value_float = @by>()
            y = Mul(x, t)
        }
        function local.both (a, b) -> (a, c) {
            t = local.scaled<by = 5.0>(a)
            c = Clip(t, b)
        }"#;
    let x = floats(&[1., -2.]);
    let outputs = [floats(&[6., -12.]), x.clone(), floats(&[5., -10.])];
    gives(text, &[x], &outputs);
}

#[test]
fn a_function_with_a_subgraph() {
    let text = r#"
        import "" 21 "local" 1
        main (float[N] t, bool[] c) -> (y) { y = local.chosen<by = 3.0>(c, t) }
        function local.chosen<by> (c, x) -> (y) {
            t = Neg(x)
            y = If<then_branch = graph () -> (a) { f = Constant<value_float = @by>() a = Mul(t, f) },
                   else_branch = graph () -> (b) { b = Identity(t) }>(c)
        }"#;
    let x = floats(&[1., -2.]);
    gives(text, &[x.clone(), Tensor::scalar(true)], &[floats(&[-3., 6.])]);
    gives(text, &[x, Tensor::scalar(false)], &[floats(&[-1., 2.])]);
}

#[test]
fn broken_functions() {
    let main = r#"import "" 21 "local" 1 main (float[N] x) -> (y) { y = local.f(x) }"#;
    let with = |functions: &str| format!("{main} {functions}");
    fails(
        &with(
            "function local.f (x) -> (y) { y = local.g(x) } function local.g (x) -> (y) { y = local.f(x) }",
        ),
        &[],
        expect![[r#"
            `m.onnx` has nodes that are invalid
              node `y` (f, opset 1): the function `f` calls itself"#]],
    );
    fails(
        &with("function local.g (x) -> (y) { y = Neg(x) }"),
        &[],
        expect![[r#"
            `m.onnx` has nodes that are not supported
              node `y` (f, opset 1): operator is not supported"#]],
    );
    fails(
        &with("function local.f () -> (y) { y = Constant<value_float = 1.0>() }"),
        &[],
        expect![[r#"
            `m.onnx` has nodes that are invalid
              node `y` (f, opset 1): has 1 inputs, expected at most 0"#]],
    );
    let doubling: String = (0..40)
        .map(|i| {
            format!(
                "function local.f{i} (x) -> (y) {{ t = local.f{}(x) y = local.f{}(t) }} ",
                i + 1,
                i + 1
            )
        })
        .collect();
    fails(
        &with(&format!("function local.f (x) -> (y) {{ y = local.f0(x) }} {doubling}")),
        &[],
        expect![
            "`m.onnx` is an invalid ONNX model: the name `y/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t/t` is given to two values"
        ],
    );
}

/// Every level takes some of the stack.
#[test]
fn functions_in_functions_without_end() {
    let function =
        |i: usize| format!("function local.f{i} (x) -> (y) {{ y = local.f{}(x) }} ", i + 1);
    let chain: String = (0..60).map(function).collect();
    let main = r#"import "" 21 "local" 1 main (float[N] x) -> (y) { y = local.f0(x) }"#;
    fails(
        &format!("{main} {chain}"),
        &[],
        expect![
            "`m.onnx` is not supported: it has functions and subgraphs in each other, more than 50 deep"
        ],
    );
    let last = "function local.f40 (x) -> (y) { y = Neg(x) }";
    let chain: String = (0..40).map(function).collect();
    gives(&format!("{main} {chain} {last}"), &[floats(&[1.])], &[floats(&[-1.])]);
}

#[test]
fn broken_subgraphs() {
    let with =
        |node: &str| format!(r#"import "" 21 main (float[N] x, bool[] c) -> (y) {{ {node} }}"#);
    fails(
        &with(
            "y = If<then_branch = graph () -> (a) { a = Neg(z) }, else_branch = graph () -> (x) { }>(c)",
        ),
        &[],
        expect![
            "`m.onnx` is an invalid ONNX model: node `y` reads `z`, which no node, input or initializer gives"
        ],
    );
    fails(
        &with("y = If<then_branch = graph () -> (x) { }>(c)"),
        &[],
        expect![[r#"
            `m.onnx` has nodes that are invalid
              node `y` (If, opset 21): attribute `else_branch` is missing"#]],
    );
    fails(
        &with(
            "y = If<then_branch = graph () -> (a) { a = Neg(b) b = Neg(a) }, else_branch = graph () -> (x) { }>(c)",
        ),
        &[],
        expect!["`m.onnx` is an invalid ONNX model: the graph has a cycle through node `a`"],
    );
    let inputs = [floats(&[1.]), Tensor::scalar(true)];
    fails(
        &with("y = If<then_branch = graph () -> (x, x) { }, else_branch = graph () -> (x) { }>(c)"),
        &inputs,
        expect!["node `y` (If) with inputs bool []: has 1 outputs, expected 2"],
    );
    fails(
        &with("y = Loop<body = graph (i, c) -> (c, x) { }>(_, _, x)"),
        &inputs,
        expect![
            "node `y` (Loop) with inputs nothing, nothing, float32 [1]: has 2 inputs of its subgraph, expected 3"
        ],
    );
    fails(
        &with("y = Loop<body = graph (i, c, p) -> (p, p) { }>(_, _, x)"),
        &inputs,
        expect![
            "node `y` (Loop) with inputs nothing, nothing, float32 [1]: input `cond_out` is float32 [1], expected one element of bool"
        ],
    );
    fails(
        &with("y = Scan<num_scan_inputs = 2, body = graph (p) -> (p) { }>(x)"),
        &inputs,
        expect!["node `y` (Scan) with inputs float32 [1]: has 1 inputs, expected at least 2"],
    );
    fails(
        &with("y = Scan<body = graph (p) -> (p) { }>(x)"),
        &inputs,
        expect![[r#"
        `m.onnx` has nodes that are invalid
          node `y` (Scan, opset 21): attribute `num_scan_inputs` is missing"#]],
    );
}

/// What comes behind a subgraph has a type only once a sample has gone through.
#[test]
fn behind_a_subgraph_values_are_quantized() {
    let text = r#"
        import "" 21
        main (float[N,2] x) -> (y) {
            float[2,2] w = {1, 2, -3, 4}
            float[] limit = {0}
            int64[1] all = {-1}
            sum = ReduceSum<keepdims = 0>(x)
            c = Less(limit, sum)
            t = If<then_branch = graph () -> (a) { a = Neg(x) },
                   else_branch = graph () -> (b) { b = Reshape(x, all) }>(c)
            rows = Reshape(t, shape)
            int64[2] shape = {-1, 2}
            y = MatMul(rows, w)
        }"#;
    let sandbox = Sandbox::new();
    sandbox.write("m.onnx", model(text));
    let ran = sandbox.mpq(&[
        "search",
        "TMP/m.onnx",
        "--calib",
        "noise",
        "--samples",
        "8",
        "--budget",
        "0.5",
        "-q",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let config: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let quantized = config["encodings"]["activations"].as_object().unwrap();
    let names: Vec<&str> = quantized.keys().map(String::as_str).collect();
    assert_eq!(names, ["x", "t", "y"]);
}
