//! Random changes of a JSON document: values, and what arrays and objects hold.

use serde_json::{Value, json};

use crate::random::Random;

/// One to three changes, as the seed says.
pub(crate) fn change_json(document: &mut Value, seed: u32) {
    let mut random = Random::new(seed);
    for _ in 0..=random.below(3) {
        let mut strings = Vec::new();
        collect(document, &mut strings);
        let n = count(document);
        let at = random.below(n);
        if let Some(value) = nth(document, &mut { at }) {
            change(value, &strings, &mut random);
        }
    }
}

fn children(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(entries) => entries.values_mut().collect(),
        _ => Vec::new(),
    }
}

fn count(value: &mut Value) -> usize {
    1 + children(value).into_iter().map(count).sum::<usize>()
}

/// The value that is the `left`-th, each before those inside of it.
fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(entries) => entries.values_mut().find_map(|entry| nth(entry, left)),
        _ => None,
    }
}

/// All texts, keys too.
fn collect(value: &Value, strings: &mut Vec<String>) {
    match value {
        Value::String(text) => strings.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, strings)),
        Value::Object(entries) => {
            for (key, entry) in entries {
                strings.push(key.clone());
                collect(entry, strings);
            }
        }
        _ => {}
    }
}

fn change(value: &mut Value, strings: &[String], random: &mut Random) {
    if random.one_in(16) {
        *value = any(strings, random);
        return;
    }
    match value {
        Value::Array(items) if !items.is_empty() => {
            let (at, with) = (random.below(items.len()), random.below(items.len()));
            match random.below(4) {
                0 => items.swap(at, with),
                1 => drop(items.remove(at)),
                2 => items.insert(with, items[at].clone()),
                _ => items.truncate(at),
            }
        }
        Value::Object(entries) if !entries.is_empty() => {
            let at = random.below(entries.len());
            let (key, entry) = entries.iter().nth(at).expect("it is below their number");
            let (key, entry) = (key.clone(), entry.clone());
            let other = random.pick(strings).cloned().unwrap_or_default();
            match random.below(3) {
                0 => drop(entries.remove(&key)),
                1 => drop(entries.insert(other, entry)),
                _ => {
                    if let Some(other) = entries.get(&other).cloned() {
                        entries.insert(key, other);
                    }
                }
            }
        }
        Value::String(text) if random.one_in(2) => {
            *text = random.pick(strings).cloned().unwrap_or_default();
        }
        Value::Number(number) => {
            *value = match (number.as_f64().unwrap_or(0.), random.below(6)) {
                (x, 0) => json!(-x),
                (x, 1) => json!(x * 1e30),
                (x, 2) => json!(x * 1e-40),
                (_, 3) => json!(random.float()),
                _ => json!(random.number()),
            }
        }
        Value::Bool(flag) => *flag = !*flag,
        _ => *value = any(strings, random),
    }
}

fn any(strings: &[String], random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!(random.number()),
        3 => json!(random.float()),
        4 => json!([]),
        5 => json!({}),
        6 => json!(random.text()),
        _ => json!(random.pick(strings)),
    }
}
