//! Loads a model and runs it: what the digits network makes of its validation images.
//!
//!     cargo run --release --example run_model

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use mpq::data::{Dataset, Feed, LabelKind, Labels, Options};
use mpq::exec::{Changes, Engine as _, Keep, Reference};
use mpq::metric::{self, Sample};
use mpq::onnx;
use mpq::pipeline::{Preparation, evaluable, input_specs};
use mpq::progress::Silent;

fn main() -> Result<(), Box<dyn Error>> {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
    let model = onnx::load(&digits.join("model.onnx"), &BTreeMap::new())?;
    println!("{}: opset {}, {} nodes", model.file, model.opset, model.graph.n_nodes());

    // What the network takes decides how images are read.
    let inputs = input_specs(&model.graph);
    let options = Options { samples: Some(100), ..Options::default() };
    let data = Dataset::open(&[digits.join("val")], &inputs, &options, &Silent)?;
    let labels = Labels::open(&digits.join("val/labels.csv"), LabelKind::Class)?;

    // Folds constants and BatchNormalizations: the same outputs, sooner.
    let graph = evaluable(model.graph, &[], Preparation::NONE)?;
    let engine = Reference::new(&graph, 1 << 30);
    let feed = Feed::new(&data, &inputs);
    // Only `command` writes files into the folder that it is given.
    let mut top1 = metric::create("top1", Path::new(""))?;
    let output_names = [graph.value_name(graph.outputs()[0])];
    for pass in 0..feed.len() {
        let values = engine.run(&feed.inputs(pass)?, &Changes::default(), Keep::Outputs)?;
        let logits = values.get(graph.outputs()[0]).ok_or("the network has an output")?;
        let sample = data.key(pass);
        if pass < 5 {
            let scores = logits.slice::<f32>();
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            println!("{}: {:?}", sample.name, best);
        }
        let (outputs, label) = (std::slice::from_ref(logits), labels.get(&sample)?);
        top1.add(&Sample {
            name: &sample.name,
            outputs,
            output_names: &output_names,
            float: outputs,
            label: Some(&label),
        })?;
    }
    println!("top1 on {} images: {:?}", data.len(), top1.value()?);
    Ok(())
}
