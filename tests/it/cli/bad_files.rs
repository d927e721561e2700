//! Files of our own form whose numbers cannot be: refused, not believed, no panic.

use serde_json::{Value, json};

use crate::run::{CALIB, MODEL, Sandbox, VAL};

/// A file with one value changed; an index is a number in the path.
fn changed(sandbox: &Sandbox, from: &str, path: &[&str], value: Value) {
    let mut file: Value = serde_json::from_str(&sandbox.read(from)).unwrap();
    let slot = path.iter().fold(&mut file, |at, key| match key.parse::<usize>() {
        Ok(index) if at.is_array() => &mut at[index],
        _ => &mut at[*key],
    });
    assert!(!slot.is_null(), "{path:?}");
    *slot = value;
    sandbox.write("bad.json", file.to_string());
}

#[test]
fn numbers_that_cannot_be() {
    let sandbox = Sandbox::new();
    let calib = ["--calib", CALIB, "--samples", "2", "-q"];
    let search = ["search", MODEL, "--budget", "0.5", "-o", "TMP/c.json"];
    assert_eq!(sandbox.mpq(&[&search[..], &calib].concat()).code, 0);
    let sensitivity = ["sensitivity", MODEL, "-o", "TMP/s.json"];
    assert_eq!(sandbox.mpq(&[&sensitivity[..], &calib].concat()).code, 0);

    let eval = format!("eval {MODEL} --data {VAL} --config TMP/bad.json -q");
    let image = ["encodings", "activations", "image"];
    let stem = ["encodings", "weights", "stem.weight"];
    for (tensor, of, key, value) in [
        ("image", image, "bits", json!(32)),
        ("image", image, "scale", json!(0.)),
        ("image", image, "zero_point", json!(i32::MIN)),
        ("stem.weight", stem, "axis", json!(9)),
        ("stem.weight", stem, "scale", json!([1.])),
        ("stem.weight", stem, "zero_point", json!([])),
    ] {
        changed(&sandbox, "c.json", &[&of[..], &[key]].concat(), value);
        let refused = sandbox.refused(&eval);
        let text = format!(
            "  caused by: the file's encoding of `{tensor}` is missing or does not fit that tensor of \
             the network\nexit 2\n"
        );
        assert!(refused.ends_with(&text), "{key}: {refused}");
    }

    let search = format!("search {MODEL} --sensitivity TMP/bad.json --budget 0.5 -q");
    for (path, value, text) in [
        (&["signal_power", "logits"][..], json!([1.]), "number of samples of a power is `2`"),
        (&["groups", "0", "choices", "0", "noise_power", "logits"], json!([]), "power is `0`"),
        (&[&image[..], &["8"]].concat(), json!(null), "not a valid `mpq/sensitivity/1` file"),
        (&image, json!({}), "encoding of `image` is missing or does not fit"),
        (&[&stem[..], &["4", "axis"]].concat(), json!(7), "encoding of `stem.weight` is missing"),
    ] {
        changed(&sandbox, "s.json", path, value);
        let refused = sandbox.refused(&search);
        assert!(refused.contains(text) && refused.ends_with("exit 2\n"), "{path:?}: {refused}");
    }
}
