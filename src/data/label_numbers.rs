//! Labels that are one number for each sample: a column of a CSV file, or an array.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::data::stored::StoredArray;
use crate::data::{DEFAULT_LIMIT_BYTES, DataError, Label, LabelKind, SampleKey, csv};

/// The numbers, by what names their samples.
#[derive(Debug)]
pub(super) enum Numbers {
    Files(BTreeMap<String, Label>),
    Rows(BTreeMap<usize, Label>),
}

impl Numbers {
    pub(super) fn get(&self, key: &SampleKey) -> Option<Label> {
        let label = match self {
            Numbers::Files(labels) => key.file.as_ref().and_then(|file| labels.get(file)),
            Numbers::Rows(labels) => labels.get(&key.row),
        };
        label.cloned()
    }
}

/// What a label of a kind is called where something else was found, and how it is made from text.
fn parse(kind: LabelKind, text: &str) -> Result<Label, &'static str> {
    match kind {
        LabelKind::Real => text
            .parse()
            .ok()
            .filter(|x: &f64| x.is_finite())
            .map(Label::Real)
            .ok_or("a finite number"),
        _ => text.parse().map(Label::Class).map_err(|_| "a whole number"),
    }
}

/// `file,label` or `row,label`; other columns are passed over.
pub(super) fn read_csv(path: &Path, kind: LabelKind) -> Result<Numbers, DataError> {
    let text = fs::read_to_string(path).map_err(|source| DataError::read(path, source))?;
    let fail = |line, problem| DataError::Csv { path: path.to_owned(), line, problem };
    let records =
        csv::parse(&text).map_err(|line| fail(line, "a quote is not closed".to_owned()))?;
    let header = records.first().map_or(&[][..], |(_, fields)| &fields[..]);
    let column = |name: &str| header.iter().position(|field| field.trim() == name);
    let (Some(label), file, row) = (column("label"), column("file"), column("row")) else {
        let problem = format!(
            "found the header `{}`, expected `file,label` or `row,label`",
            header.join(",")
        );
        return Err(fail(1, problem));
    };
    let (mut files, mut rows) = (BTreeMap::new(), BTreeMap::new());
    for (line, fields) in &records[1..] {
        let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
        let wrong = |at: usize, expected: &str| {
            let (found, name) = (field(at), header[at].trim());
            fail(*line, format!("found `{found}` as `{name}`, expected {expected}"))
        };
        let found = parse(kind, field(label)).map_err(|expected| wrong(label, expected))?;
        let earlier = match (file, row) {
            (Some(at), _) => {
                files.insert(field(at).trim_start_matches("./").to_owned(), found).is_some()
            }
            (None, Some(at)) => {
                let row = field(at).parse().map_err(|_| wrong(at, "a whole number"))?;
                rows.insert(row, found).is_some()
            }
            (None, None) => {
                return Err(fail(1, "the header has neither `file` nor `row`".to_owned()));
            }
        };
        if earlier {
            return Err(fail(*line, "this sample has a label already".to_owned()));
        }
    }
    Ok(if file.is_some() { Numbers::Files(files) } else { Numbers::Rows(rows) })
}

/// An array of `[N]` or `[N, 1]`, a number for each row of the data.
pub(super) fn read_array(path: &Path, kind: LabelKind) -> Result<Numbers, DataError> {
    let array = StoredArray::only(path, DEFAULT_LIMIT_BYTES)?;
    let (found, expected) = match kind {
        LabelKind::Real => (array.ty.clone(), "numbers [N]"),
        _ => (array.ty.clone(), "integers [N]"),
    };
    let wrong = DataError::LabelArray { path: path.to_owned(), found, expected };
    let rows = array.ty.shape.first().copied();
    if rows != Some(array.ty.len()) {
        return Err(wrong);
    }
    let tensor = array.read(None)?;
    let texts: Option<Vec<String>> = match kind {
        LabelKind::Real => tensor.to_f64().map(|all| all.iter().map(f64::to_string).collect()),
        _ => tensor.to_i64().map(|all| all.iter().map(i64::to_string).collect()),
    };
    let labels = texts.ok_or(wrong)?.into_iter().enumerate().map(|(row, found)| {
        let label = parse(kind, &found);
        label.map(|label| (row, label)).map_err(|expected| DataError::LabelRow {
            path: path.to_owned(),
            row,
            found,
            expected,
        })
    });
    labels.collect::<Result<_, _>>().map(Numbers::Rows)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use ndarray_npy::write_npy;

    use super::*;
    use crate::data::npz_bytes;
    use crate::tensor::Tensor;

    fn key(file: Option<&str>, row: usize) -> SampleKey {
        SampleKey { name: String::new(), file: file.map(str::to_owned), row }
    }

    fn csv(text: &str, kind: LabelKind) -> Result<Numbers, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        fs::write(&path, text).unwrap();
        read_csv(&path, kind)
    }

    #[test]
    fn from_csv() {
        let labels = csv("file,label,text\na/b.png,3,\"x, y\"\n", LabelKind::Class).unwrap();
        assert_eq!(labels.get(&key(Some("a/b.png"), 9)), Some(Label::Class(3)));
        assert_eq!(labels.get(&key(Some("c.png"), 0)), None);
        let labels = csv("row,label\n0,1\n1,0\n", LabelKind::Class).unwrap();
        assert_eq!(labels.get(&key(None, 1)), Some(Label::Class(0)));
        assert_eq!(labels.get(&key(None, 2)), None);
        let labels = csv("row, label\n0, -1.5e1\n", LabelKind::Real).unwrap();
        assert_eq!(labels.get(&key(None, 0)), Some(Label::Real(-15.)));
    }

    #[test]
    fn refusals_of_csv() {
        use LabelKind::{Class, Real};
        let cases = [
            (
                "file,class\n",
                Class,
                "line 1: found the header `file,class`, expected `file,label` or `row,label`",
            ),
            ("", Class, "line 1: found the header ``, expected `file,label` or `row,label`"),
            ("name,label\na,1\n", Class, "line 1: the header has neither `file` nor `row`"),
            (
                "file,label\na,cat\n",
                Class,
                "line 2: found `cat` as `label`, expected a whole number",
            ),
            (
                "file,label\na,0.5\n",
                Class,
                "line 2: found `0.5` as `label`, expected a whole number",
            ),
            ("row,label\n1,-1\n", Class, "line 2: found `-1` as `label`, expected a whole number"),
            ("row,label\nx,1\n", Class, "line 2: found `x` as `row`, expected a whole number"),
            ("file,label\na,1\na,2\n", Class, "line 3: this sample has a label already"),
            ("file,label\n\"a,1\n", Class, "line 2: a quote is not closed"),
            (
                "row,label\n0,nan\n",
                Real,
                "line 2: found `nan` as `label`, expected a finite number",
            ),
            ("row,label\n0\n", Real, "line 2: found `` as `label`, expected a finite number"),
        ];
        for (text, kind, message) in cases {
            let error = csv(text, kind).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
    }

    #[test]
    fn from_arrays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write_npy(at("classes.npy"), &array![[2_i32], [0]]).unwrap();
        write_npy(at("reals.npy"), &array![0.25_f32, -3.]).unwrap();
        let x = Tensor::from(array![7_u8, 9]);
        fs::write(at("one.npz"), npz_bytes(&[("any", &x)]).unwrap()).unwrap();
        fs::write(at("two.npz"), npz_bytes(&[("a", &x), ("b", &x)]).unwrap()).unwrap();
        write_npy(at("nan.npy"), &array![0., f64::NAN]).unwrap();
        write_npy(at("negative.npy"), &array![0_i64, 1, -100]).unwrap();
        let label =
            |name: &str, kind, row| read_array(&at(name), kind).unwrap().get(&key(None, row));
        assert_eq!(label("classes.npy", LabelKind::Class, 0), Some(Label::Class(2)));
        assert_eq!(label("classes.npy", LabelKind::Real, 0), Some(Label::Real(2.)));
        assert_eq!(label("reals.npy", LabelKind::Real, 0), Some(Label::Real(0.25)));
        assert_eq!(label("reals.npy", LabelKind::Real, 2), None);
        assert_eq!(label("one.npz", LabelKind::Class, 1), Some(Label::Class(9)));
        write_npy(at("wide.npy"), &array![[1_i64, 2], [3, 4]]).unwrap();
        for (name, kind, message) in [
            ("reals.npy", LabelKind::Class, "is float32 [2], expected integers [N]"),
            ("wide.npy", LabelKind::Real, "is int64 [2, 2], expected numbers [N]"),
            ("two.npz", LabelKind::Real, "has the arrays `a`, `b`, expected one"),
            ("nan.npy", LabelKind::Real, "row 1: found `NaN`, expected a finite number"),
            ("negative.npy", LabelKind::Class, "row 2: found `-100`, expected a whole number"),
        ] {
            let error = read_array(&at(name), kind).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
    }
}
