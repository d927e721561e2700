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
        Some(found) if found < OPSET_OF_AXES.max(deployment.opset) => Err(ExportError::Opset {
            found,
            least: OPSET_OF_AXES.max(deployment.opset),
        }),
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
    fn clip(&mut self, name: &str, x: ValueId, encoding: &Encoding) -> Result<ValueId, ExportError> {
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
