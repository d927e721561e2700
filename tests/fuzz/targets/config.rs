//! Configurations: read, written, checked against a network, shown, exported and run.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use mpq::artifact::{Artifact as _, Config, ConfigDifference, parse};
use mpq::export::{self, Deployment, EXCLUDE_FORMS, Options};
use mpq::pipeline::{Applied, Configured, Preparation, evaluable, misfits};
use mpq::quant::Target;
use mpq::report::{self, Report};

static TARGET: LazyLock<Target> = LazyLock::new(|| Target::built_in("generic").unwrap());
const OPTIONS: Options = Options { opset: None, float_bias: false, tool: EXCLUDE_FORMS[0] };

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mpq_fuzz::mutate_json(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    mpq_fuzz::start(64 << 20);
    let Ok(config) = parse::<Config>("config.json", data) else { return };
    let json = config.to_json();
    let again: Config = parse("config.json", json.as_bytes()).unwrap();
    assert_eq!(again.to_json(), json);
    let _ = ConfigDifference::new(&config, &again);
    for format in report::FORMATS {
        let _ = format.write(&Report::new(&config), None);
    }
    let model = mpq_fuzz::network();
    let _ = misfits(mpq_fuzz::network(), &config, &TARGET);
    if let Ok(graph) =
        evaluable(model.graph.clone(), &config.settings.outputs, Preparation::of(&config.settings))
    {
        let _ = Applied::new(&graph, &config, None);
    }
    let Ok(net) = Configured::new(model.graph, &config, &TARGET, None) else { return };
    let deployment =
        Deployment { net: &net, origin: &model.origin, opset: model.opset, options: OPTIONS };
    for format in export::FORMATS {
        let _ = (format.write)(&deployment);
    }
});
