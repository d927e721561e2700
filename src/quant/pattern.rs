//! [`Pattern`]: names of nodes and tensors with `*` (any text) and `?` (any character).

use std::fmt;

/// A name pattern, matched against the whole name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.chars().collect();
        // The last `*` seen and where in the name its text ends so far.
        let mut star: Option<(usize, usize)> = None;
        let (mut p, mut n) = (0, 0);
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == '?' || c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((star_p, star_n)) = star else { return false };
                    star = Some((star_p, star_n + 1));
                    (p, n) = (star_p + 1, star_n + 1);
                }
            }
        }
        pattern[p..].iter().all(|&c| c == '*')
    }
}

/// The names most like a pattern, the most alike first: at most three. Those that have its text
/// somewhere come before others; case counts little.
pub fn nearest<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let text = pattern.replace(['*', '?'], "");
    let rank = |name: &'a str| {
        let [lower_text, lower] = [text.as_str(), name].map(str::to_lowercase);
        let is_without = lower_text.is_empty() || !lower.contains(&lower_text);
        ((is_without, edits(&lower_text, &lower), edits(&text, name)), name)
    };
    let mut ranked: Vec<_> = names.map(rank).collect();
    ranked.sort();
    ranked.dedup();
    ranked.into_iter().map(|(_, name)| name).take(3).collect()
}

/// How many characters must be put in, left out or replaced to come from one text to the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("conv1", "conv1", true),
            ("conv1", "conv12", false),
            ("classifier.*", "classifier.0.weight", true),
            ("*.weight", "a.weight.b", false),
            ("*.weight", "a.weight.weight", true),
            ("block?/add", "block3/add", true),
            ("*a*b", "xaabab", true),
            ("", "", true),
            ("?", "", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn nearest_names() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        let names = ["relu", "conv10", "conv1", "fc", "conv2", "conv1"];
        assert_eq!(nearest("cnv1", names.into_iter()), ["conv1", "conv10", "conv2"]);
        assert_eq!(nearest("nv2*", names.into_iter()), ["conv2", "conv1", "fc"]);
    }
}
