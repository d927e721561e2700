//! `qdq`: an ONNX model with QuantizeLinear and DequantizeLinear where the configuration rounds.
//!
//! Weights are stored as integers behind a DequantizeLinear, biases as int32 with the product of
//! the scales, activations go through a pair wherever they are made. Names are those that
//! onnxruntime's quantizer gives. An activation function behind a linear operator stays between it
//! and the pair, and what only moves values has a pair on both sides, as fusers expect it.

use crate::export::bias::Bias;
use crate::export::container::{Container, OPSET_OF_ALL_WIDTHS, OPSET_OF_AXES};
use crate::export::conversions::{Conversion, Kind, Wide, conversions};
use crate::export::{Deployment, ExportError, Format};
use crate::graph::{Graph, NewNode, NodeId, Rewrite, ValueId, drop_dead_nodes};
use crate::onnx::model_bytes;
use crate::ops::AttrValue;
use crate::pipeline::Configured;
use crate::quant::Encoding;
use crate::tensor::Tensor;

pub(super) const FORMAT: Format = Format { name: "qdq", names_tensors: false, write };

fn write(deployment: &Deployment<'_>) -> Result<Vec<u8>, ExportError> {
    let (graph, opset) = qdq(deployment)?;
    model_bytes(&graph, deployment.origin, opset).map_err(ExportError::Save)
}

/// The graph with pairs, and its opset.
fn qdq(deployment: &Deployment<'_>) -> Result<(Graph, u16), ExportError> {
    let net = deployment.net;
    let opset = opset(deployment, deployment.options.opset)?;
    let mut writer = Writer {
        net,
        opset,
        readers: net.graph.readers(),
        conversions: conversions(net, opset),
        rewrite: Rewrite::new(net.graph.clone()),
    };
    if !deployment.options.float_bias {
        for (id, _) in net.graph.nodes() {
            writer.bias(id)?;
        }
    }
    for (&id, encoding) in &net.constants {
        writer.constant(id, encoding)?;
    }
    let inputs = net.graph.inputs().iter().map(|input| input.value);
    let made = net.graph.nodes().flat_map(|(_, node)| node.present_outputs());
    for id in inputs.chain(made) {
        if let Some(encoding) = net.encoding(id) {
            writer.activation(id, encoding)?;
        }
    }
    let mut graph = writer.rewrite.finish();
    drop_dead_nodes(&mut graph);
    Ok((graph, opset))
}

fn opset(deployment: &Deployment<'_>, asked: Option<u16>) -> Result<u16, ExportError> {
    let net = deployment.net;
    let all = net.activations.values().chain(net.constants.values());
    let mut bits = all.map(|encoding| encoding.bits.get());
    let needs_all_widths = bits.any(|bits| bits <= 4 || 8 < bits);
    let needed = if needs_all_widths { OPSET_OF_ALL_WIDTHS } else { OPSET_OF_AXES };
    match asked {
        None => Ok(needed.max(deployment.opset)),
        Some(found) if found < OPSET_OF_AXES.max(deployment.opset) => {
            Err(ExportError::Opset { found, least: OPSET_OF_AXES.max(deployment.opset) })
        }
        Some(asked) => Ok(asked),
    }
}

struct Writer<'a> {
    net: &'a Configured,
    opset: u16,
    readers: Vec<Vec<NodeId>>,
    conversions: Vec<Conversion>,
    rewrite: Rewrite,
}

/// Scale and zero point as tensors of the graph, and what takes them.
#[derive(Clone, Copy)]
struct Grid {
    scale: ValueId,
    zero_point: ValueId,
    container: Container,
}

impl Writer<'_> {
    /// Lets every node read `to` where it read `from`, and the network put it out.
    fn replace(&mut self, from: ValueId, to: ValueId) {
        for node in self.readers[from.index()].clone() {
            self.rewrite.replace_reads(node, from, to);
        }
        let graph = &self.net.graph;
        let is_input = graph.inputs().iter().any(|input| input.value == from);
        if graph.is_output(from) && !is_input {
            let name = format!("{}_QuantizeLinear_Input", graph.value_name(from));
            self.rewrite.replace_output(from, to, &name);
        }
    }

    /// A weight or a constant operand: its integers, made float again.
    fn constant(&mut self, id: ValueId, encoding: &Encoding) -> Result<(), ExportError> {
        let name = self.net.graph.value_name(id).to_owned();
        let container = Container::of(encoding, self.opset);
        let shape = self.net.graph.constant(id).map_or(&[][..], |c| &c.ty().shape);
        let integers = container.tensor(shape, &self.net.integers(id));
        let n = encoding.scales.len();
        let channels = if encoding.axis.is_some() { &[n][..] } else { &[] };
        let grid = Grid {
            scale: self.parameter(
                &name,
                "scale",
                Tensor::from_vec(channels, encoding.scales.clone()),
            ),
            zero_point: self.parameter(
                &name,
                "zero_point",
                container.tensor(channels, &encoding.zero_points),
            ),
            container,
        };
        let integers = self.parameter(&name, "quantized", integers);
        let float = self.dequantize(&name, integers, grid, encoding.axis)?;
        self.replace(id, float);
        Ok(())
    }

    fn activation(&mut self, id: ValueId, encoding: &Encoding) -> Result<(), ExportError> {
        let name = self.net.graph.value_name(id).to_owned();
        let container = Container::of(encoding, self.opset);
        let of_value = self.conversions.iter().filter(|conversion| conversion.value == id);
        let of_value: Vec<Conversion> = of_value.cloned().collect();
        let mut float = id;
        if let Some(made) = of_value.iter().find(|conversion| conversion.kind == Kind::Narrow) {
            let grid = self.wide_grid(&format!("{name}_made"), made.wide);
            float = self.pair(&format!("{name}_made"), float, grid)?;
        }
        if encoding.scheme.limits(encoding.bits) != container.limits() {
            float = self.clip(&name, float, encoding)?;
        }
        let (scale, zero_point) = (encoding.scales[0], encoding.zero_points[0]);
        let grid = self.wide_grid(&name, Wide { container, scale, zero_point });
        float = self.pair(&name, float, grid)?;
        self.replace(id, float);
        let mut wides: Vec<(Wide, ValueId)> = Vec::new();
        for conversion in of_value {
            let Kind::Widen { readers } = conversion.kind else { continue };
            let known = wides.iter().find(|(wide, _)| *wide == conversion.wide);
            let wide = match known {
                Some((_, wide)) => *wide,
                None => {
                    let grid = self.wide_grid(&format!("{name}_convert"), conversion.wide);
                    self.pair(&format!("{name}_convert"), float, grid)?
                }
            };
            wides.push((conversion.wide, wide));
            for node in readers {
                self.rewrite.replace_reads(node, float, wide);
            }
        }
        Ok(())
    }

    /// An int32 bias, where the products of the scales are those of its elements.
    fn bias(&mut self, id: NodeId) -> Result<(), ExportError> {
        let Some(Bias { value: bias, scales, integers }) = Bias::of(self.net, id) else {
            return Ok(());
        };
        let name = self.net.graph.value_name(bias).to_owned();
        let n = integers.len();
        let shape = self.net.graph.constant(bias).map_or(&[][..], |c| &c.ty().shape).to_vec();
        let is_per_tensor = scales.len() == 1 && n != 1 || shape.is_empty();
        let channels = if is_per_tensor { &[][..] } else { &[n][..] };
        let grid = Grid {
            scale: self.parameter(&name, "scale", Tensor::from_vec(channels, scales)),
            zero_point: self.parameter(&name, "zero_point", Tensor::full(channels, 0_i32)),
            container: Container { bits: 8, signed: true },
        };
        let integers = self.parameter(&name, "quantized", Tensor::from_vec(&shape, integers));
        let axis = (!is_per_tensor).then(|| shape.len() - 1);
        let float = self.dequantize(&name, integers, grid, axis)?;
        self.rewrite.replace_reads(id, bias, float);
        Ok(())
    }

    fn wide_grid(&mut self, name: &str, wide: Wide) -> Grid {
        let container = wide.container;
        Grid {
            scale: self.parameter(name, "scale", Tensor::scalar(wide.scale)),
            zero_point: self.parameter(
                name,
                "zero_point",
                container.tensor(&[], &[wide.zero_point]),
            ),
            container,
        }
    }

    fn parameter(&mut self, name: &str, part: &str, tensor: Tensor) -> ValueId {
        self.rewrite.constant(&format!("{name}_{part}"), tensor)
    }

    fn pair(&mut self, name: &str, x: ValueId, grid: Grid) -> Result<ValueId, ExportError> {
        let domain = grid.container.domain(self.opset);
        let inputs = [x, grid.scale, grid.zero_point];
        let quantized = self.node(domain, "QuantizeLinear", &[], name, &inputs)?;
        self.dequantize(name, quantized, grid, None)
    }

    fn dequantize(
        &mut self,
        name: &str,
        x: ValueId,
        grid: Grid,
        axis: Option<usize>,
    ) -> Result<ValueId, ExportError> {
        let axis = axis.map(|axis| ("axis", AttrValue::Int(axis as i64)));
        let domain = grid.container.domain(self.opset);
        let inputs = [x, grid.scale, grid.zero_point];
        self.node(domain, "DequantizeLinear", axis.as_slice(), name, &inputs)
    }

    /// To the ends of a grid that is smaller than its type.
    fn clip(
        &mut self,
        name: &str,
        x: ValueId,
        encoding: &Encoding,
    ) -> Result<ValueId, ExportError> {
        let ends = encoding.grid(0);
        let least = self.parameter(name, "grid_min", Tensor::scalar(ends.min));
        let most = self.parameter(name, "grid_max", Tensor::scalar(ends.max));
        self.node("", "Clip", &[], name, &[x, least, most])
    }

    fn node(
        &mut self,
        domain: &str,
        op_type: &str,
        attrs: &[(&str, AttrValue)],
        value: &str,
        inputs: &[ValueId],
    ) -> Result<ValueId, ExportError> {
        let new = NewNode {
            domain,
            op_type,
            opset: if domain.is_empty() { self.opset } else { 1 },
            attrs,
            name: &format!("{value}_{op_type}"),
            output: &format!("{value}_{op_type}_Output"),
        };
        self.rewrite.node(new, inputs).map_err(|source| ExportError::Operator { source })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::export::{EXCLUDE_FORMS, Options};
    use crate::graph::testing::{evaluate, inputs, net};
    use crate::onnx::Origin;
    use crate::ops::testing::assert_close;
    use crate::pipeline::testing::{configured, simulate};

    fn written(net: &Configured, options: Options) -> (Graph, u16) {
        let origin = Origin::default();
        qdq(&Deployment { net, origin: &origin, opset: 13, options }).unwrap()
    }

    const FLOAT_BIAS: Options = Options { opset: None, float_bias: true, tool: EXCLUDE_FORMS[0] };

    /// A node a line: `output = operator(inputs)`.
    fn lines(graph: &Graph) -> String {
        let line = |(_, node): (NodeId, &crate::graph::Node)| {
            let name = |id| {
                let ty = graph.constant(id).map_or(String::new(), |c| format!(":{}", c.ty().dtype));
                format!("{}{ty}", graph.value_name(id))
            };
            let inputs: Vec<String> = node.present_inputs().map(|(_, id)| name(id)).collect();
            let domain = if node.domain.is_empty() { "" } else { "com.microsoft." };
            let (output, op_type) = (name(node.output(0).unwrap()), &node.op_type);
            format!("{output} = {domain}{op_type}({})\n", inputs.join(", "))
        };
        graph.nodes().map(line).collect()
    }

    fn network() -> Graph {
        net(&[("x", &[1, 3, 6, 6])])
            .weight("w", &[4, 3, 3, 3])
            .weight("b", &[4])
            .node("Conv", &["x", "w", "b"], "conv")
            .node("Relu", &["conv"], "relu")
            .node("Flatten", &["relu"], "flat")
            .weight("w2", &[64, 5])
            .weight("b2", &[5])
            .node("Gemm", &["flat", "w2", "b2"], "y")
            .outputs(&["y"])
    }

    #[test]
    fn pairs_where_they_belong() {
        let net = configured(network(), |_| 8);
        let (graph, opset) = written(&net, Options { float_bias: false, ..FLOAT_BIAS });
        assert_eq!(opset, 13);
        expect![[r#"
            x_QuantizeLinear_Output = QuantizeLinear(x, x_scale:float32, x_zero_point:uint8)
            x_DequantizeLinear_Output = DequantizeLinear(x_QuantizeLinear_Output, x_scale:float32, x_zero_point:uint8)
            w_DequantizeLinear_Output = DequantizeLinear(w_quantized:int8, w_scale:float32, w_zero_point:int8)
            b_DequantizeLinear_Output = DequantizeLinear(b_quantized:int32, b_scale:float32, b_zero_point:int32)
            conv = Conv(x_DequantizeLinear_Output, w_DequantizeLinear_Output, b_DequantizeLinear_Output)
            relu = Relu(conv)
            relu_QuantizeLinear_Output = QuantizeLinear(relu, relu_scale:float32, relu_zero_point:uint8)
            relu_DequantizeLinear_Output = DequantizeLinear(relu_QuantizeLinear_Output, relu_scale:float32, relu_zero_point:uint8)
            flat = Flatten(relu_DequantizeLinear_Output)
            flat_QuantizeLinear_Output = QuantizeLinear(flat, flat_scale:float32, flat_zero_point:uint8)
            flat_DequantizeLinear_Output = DequantizeLinear(flat_QuantizeLinear_Output, flat_scale:float32, flat_zero_point:uint8)
            w2_DequantizeLinear_Output = DequantizeLinear(w2_quantized:int8, w2_scale:float32, w2_zero_point:int8)
            b2_DequantizeLinear_Output = DequantizeLinear(b2_quantized:int32, b2_scale:float32, b2_zero_point:int32)
            y_QuantizeLinear_Input = Gemm(flat_DequantizeLinear_Output, w2_DequantizeLinear_Output, b2_DequantizeLinear_Output)
            y_QuantizeLinear_Output = QuantizeLinear(y_QuantizeLinear_Input, y_scale:float32, y_zero_point:uint8)
            y = DequantizeLinear(y_QuantizeLinear_Output, y_scale:float32, y_zero_point:uint8)
        "#]].assert_eq(&lines(&graph));
    }

    #[test]
    fn conversions_are_pairs_too() {
        let bits = |name: &str| match name {
            "x" | "y" => 8,
            "relu" => 16,
            _ => 4,
        };
        let net = configured(network(), bits);
        let (graph, opset) = written(&net, FLOAT_BIAS);
        assert_eq!(opset, 21);
        expect![[r#"
            x_QuantizeLinear_Output = QuantizeLinear(x, x_scale:float32, x_zero_point:uint8)
            x_DequantizeLinear_Output = DequantizeLinear(x_QuantizeLinear_Output, x_scale:float32, x_zero_point:uint8)
            x_convert_QuantizeLinear_Output = QuantizeLinear(x_DequantizeLinear_Output, x_convert_scale:float32, x_convert_zero_point:uint16)
            x_convert_DequantizeLinear_Output = DequantizeLinear(x_convert_QuantizeLinear_Output, x_convert_scale:float32, x_convert_zero_point:uint16)
            w_DequantizeLinear_Output = DequantizeLinear(w_quantized:int4, w_scale:float32, w_zero_point:int4)
            conv = Conv(x_convert_DequantizeLinear_Output, w_DequantizeLinear_Output, b:float32)
            relu = Relu(conv)
            relu_QuantizeLinear_Output = QuantizeLinear(relu, relu_scale:float32, relu_zero_point:uint16)
            relu_DequantizeLinear_Output = DequantizeLinear(relu_QuantizeLinear_Output, relu_scale:float32, relu_zero_point:uint16)
            flat = Flatten(relu_DequantizeLinear_Output)
            flat_QuantizeLinear_Output = QuantizeLinear(flat, flat_scale:float32, flat_zero_point:uint16)
            flat_DequantizeLinear_Output = DequantizeLinear(flat_QuantizeLinear_Output, flat_scale:float32, flat_zero_point:uint16)
            w2_DequantizeLinear_Output = DequantizeLinear(w2_quantized:int4, w2_scale:float32, w2_zero_point:int4)
            y_QuantizeLinear_Input = Gemm(flat_DequantizeLinear_Output, w2_DequantizeLinear_Output, b2:float32)
            y_made_QuantizeLinear_Output = QuantizeLinear(y_QuantizeLinear_Input, y_made_scale:float32, y_made_zero_point:uint16)
            y_made_DequantizeLinear_Output = DequantizeLinear(y_made_QuantizeLinear_Output, y_made_scale:float32, y_made_zero_point:uint16)
            y_QuantizeLinear_Output = QuantizeLinear(y_made_DequantizeLinear_Output, y_scale:float32, y_zero_point:uint8)
            y = DequantizeLinear(y_QuantizeLinear_Output, y_scale:float32, y_zero_point:uint8)
        "#]].assert_eq(&lines(&graph));
        let old = Options { opset: Some(19), ..FLOAT_BIAS };
        let (old, opset) = written(&net, old);
        assert_eq!(opset, 19);
        expect![[r#"
            x_QuantizeLinear_Output = QuantizeLinear(x, x_scale:float32, x_zero_point:uint8)
            x_DequantizeLinear_Output = DequantizeLinear(x_QuantizeLinear_Output, x_scale:float32, x_zero_point:uint8)
            x_convert_QuantizeLinear_Output = com.microsoft.QuantizeLinear(x_DequantizeLinear_Output, x_convert_scale:float32, x_convert_zero_point:uint16)
            x_convert_DequantizeLinear_Output = com.microsoft.DequantizeLinear(x_convert_QuantizeLinear_Output, x_convert_scale:float32, x_convert_zero_point:uint16)
            w_DequantizeLinear_Output = DequantizeLinear(w_quantized:int8, w_scale:float32, w_zero_point:int8)
            conv = Conv(x_convert_DequantizeLinear_Output, w_DequantizeLinear_Output, b:float32)
            relu = Relu(conv)
            relu_QuantizeLinear_Output = com.microsoft.QuantizeLinear(relu, relu_scale:float32, relu_zero_point:uint16)
            relu_DequantizeLinear_Output = com.microsoft.DequantizeLinear(relu_QuantizeLinear_Output, relu_scale:float32, relu_zero_point:uint16)
            flat = Flatten(relu_DequantizeLinear_Output)
            flat_QuantizeLinear_Output = com.microsoft.QuantizeLinear(flat, flat_scale:float32, flat_zero_point:uint16)
            flat_DequantizeLinear_Output = com.microsoft.DequantizeLinear(flat_QuantizeLinear_Output, flat_scale:float32, flat_zero_point:uint16)
            w2_DequantizeLinear_Output = DequantizeLinear(w2_quantized:int8, w2_scale:float32, w2_zero_point:int8)
            y_QuantizeLinear_Input = Gemm(flat_DequantizeLinear_Output, w2_DequantizeLinear_Output, b2:float32)
            y_made_QuantizeLinear_Output = com.microsoft.QuantizeLinear(y_QuantizeLinear_Input, y_made_scale:float32, y_made_zero_point:uint16)
            y_made_DequantizeLinear_Output = com.microsoft.DequantizeLinear(y_made_QuantizeLinear_Output, y_made_scale:float32, y_made_zero_point:uint16)
            y_QuantizeLinear_Output = QuantizeLinear(y_made_DequantizeLinear_Output, y_scale:float32, y_zero_point:uint8)
            y = DequantizeLinear(y_QuantizeLinear_Output, y_scale:float32, y_zero_point:uint8)
        "#]].assert_eq(&lines(&old));
    }

    #[test]
    fn it_computes_what_is_simulated() {
        // Of the values, of what comes out of the first unit, of the weights. Of two grids one is
        // rounded twice.
        for (others, relu, weights, tolerance) in [
            (8, 8, 8, 0.),
            (16, 16, 16, 0.),
            (4, 4, 4, 0.),
            (3, 3, 2, 0.),
            (6, 6, 5, 0.),
            (11, 11, 9, 0.),
            (8, 16, 8, 1e-6),
            (16, 8, 8, 1e-6),
            (8, 32, 8, 0.),
            (8, 8, 32, 0.),
        ] {
            let bits = |name: &str| match name {
                "relu" => relu,
                "w" | "w2" => weights,
                _ => others,
            };
            let net = configured(network(), bits);
            let simulated = simulate(&net);
            for opset in [None, Some(19)] {
                let (graph, _) = written(&net, Options { opset, ..FLOAT_BIAS });
                let found = evaluate(&graph, &inputs(&graph));
                assert_close(&found[0], &simulated[0], tolerance);
            }
        }
    }

    #[test]
    fn a_bias_of_integers_is_within_half_a_step() {
        let net = configured(network(), |_| 8);
        let id = net.graph.nodes().next().unwrap().0;
        let Bias { value, scales, integers } = Bias::of(&net, id).unwrap();
        let bias = net.graph.constant(value).unwrap().tensor().slice::<f32>();
        for ((b, q), scale) in bias.iter().zip(integers).zip(scales) {
            assert!((q as f32 * scale - b).abs() <= 0.5001 * scale);
        }
    }
}
