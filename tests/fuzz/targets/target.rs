//! Target files, ours and AIMET's: read, and used on a network.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mpq::graph::{Graph, Types, infer, simplify};
use mpq::quant::{Candidates, Groups, Placement, Target};

static NETWORK: LazyLock<(Graph, Types)> = LazyLock::new(|| {
    let graph = simplify(mpq_fuzz::network().graph);
    let inputs = mpq::pipeline::input_types(&graph).unwrap();
    let types = infer(&graph, &inputs);
    (graph, types)
});
static CANDIDATES: LazyLock<Candidates> = LazyLock::new(|| "W4A8,W8A8,W8A16".parse().unwrap());

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mpq_fuzz::mutate_json(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let (graph, types) = &*NETWORK;
    mpq_fuzz::start(64 << 20);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((target, _)) = Target::read(text, "stem") else { return };
    let placement = Placement::new(graph, types, &target);
    let pins = target.forced();
    let _ = Groups::new(graph, types, &placement, &target, &CANDIDATES, &pins);
});
