//! [`Labels`]: what the right answers are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::data::folder::{self, Entry};
use crate::data::{DataError, Mask, SampleKey, csv};

/// The right answer for one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// An index into the network's classes.
    Class(usize),
    /// A class for every pixel.
    Mask(Mask),
}

/// What a metric compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelKind {
    Class,
    Mask,
}

/// Labels of a data set; masks stay in their files until they are asked for.
#[derive(Debug)]
pub struct Labels {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Files(BTreeMap<String, usize>),
    Rows(BTreeMap<usize, usize>),
    /// The names of the subfolders, in the order of their classes.
    Folders(Vec<String>),
    Masks(BTreeMap<String, PathBuf>),
}

impl Labels {
    /// Classes from a CSV file (`file,label` or `row,label`) or, if `path` is a folder, from the names
    /// of its subfolders in their order; masks from a folder of PNG files.
    pub fn open(path: &Path, kind: LabelKind) -> Result<Labels, DataError> {
        let metadata = fs::metadata(path).map_err(|source| DataError::read(path, source))?;
        let source = match kind {
            LabelKind::Class if metadata.is_dir() => Source::Folders(subfolders(path)?),
            LabelKind::Class => read_csv(path)?,
            LabelKind::Mask => Source::Masks(masks(path)?),
        };
        Ok(Labels { path: path.to_owned(), source })
    }

    /// # Errors
    /// If there is no label for the sample, or its mask cannot be read.
    pub fn get(&self, key: &SampleKey) -> Result<Label, DataError> {
        let file = key.file.as_deref();
        let class = match &self.source {
            Source::Files(labels) => file.and_then(|file| labels.get(file)).copied(),
            Source::Rows(labels) => labels.get(&key.row).copied(),
            Source::Folders(folders) => {
                let folder = file.and_then(|file| file.split_once('/')).map(|(folder, _)| folder);
                folder.and_then(|folder| folders.iter().position(|name| name == folder))
            }
            Source::Masks(masks) => {
                if let Some(path) = file.and_then(|file| masks.get(stem(file))) {
                    return Mask::read(path).map(Label::Mask);
                }
                None
            }
        };
        class
            .map(Label::Class)
            .ok_or_else(|| DataError::NoLabel { path: self.path.clone(), sample: key.name.clone() })
    }
}

fn subfolders(path: &Path) -> Result<Vec<String>, DataError> {
    let files = folder::walk(path)?;
    let first = |file: &Entry| file.name.split_once('/').map(|(folder, _)| folder.to_owned());
    let mut folders: Vec<String> = files.iter().filter_map(first).collect();
    folders.sort();
    folders.dedup();
    if folders.is_empty() {
        let problem = "is a folder without class subfolders".to_owned();
        return Err(DataError::Option { flag: "--labels", problem });
    }
    Ok(folders)
}

fn masks(path: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let files = folder::walk(path)?.into_iter().filter(|file| file.extension() == "png");
    let masks: BTreeMap<String, PathBuf> =
        files.map(|file| (stem(&file.name).to_owned(), file.path)).collect();
    if masks.is_empty() {
        return Err(DataError::NoSamples { path: path.to_owned() });
    }
    Ok(masks)
}

/// A relative path without its extension.
fn stem(file: &str) -> &str {
    let name_at = file.rfind('/').map_or(0, |slash| slash + 1);
    file[name_at..].rfind('.').map_or(file, |dot| &file[..name_at + dot])
}

fn read_csv(path: &Path) -> Result<Source, DataError> {
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
        let integer = |at: usize| {
            let text = fields.get(at).map_or("", |field| field.trim());
            text.parse::<usize>().map_err(|_| {
                let name = &header[at];
                fail(*line, format!("found `{text}` as `{name}`, expected a whole number"))
            })
        };
        let class = integer(label)?;
        let earlier = match (file, row) {
            (Some(at), _) => {
                let name = fields.get(at).map_or("", |field| field.trim());
                files.insert(name.trim_start_matches("./").to_owned(), class)
            }
            (None, Some(at)) => rows.insert(integer(at)?, class),
            (None, None) => {
                return Err(fail(1, "the header has neither `file` nor `row`".to_owned()));
            }
        };
        if earlier.is_some() {
            return Err(fail(*line, "this sample has a label already".to_owned()));
        }
    }
    Ok(if file.is_some() { Source::Files(files) } else { Source::Rows(rows) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(file: Option<&str>, row: usize) -> SampleKey {
        let name = file.map_or_else(|| format!("x.npy[{row}]"), str::to_owned);
        SampleKey { name, file: file.map(str::to_owned), row }
    }

    fn csv(text: &str) -> Result<Labels, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        fs::write(&path, text).unwrap();
        Labels::open(&path, LabelKind::Class)
    }

    #[test]
    fn from_csv() {
        let labels = csv("file,label,text\na/b.png,3,\"x, y\"\n").unwrap();
        assert_eq!(labels.get(&key(Some("a/b.png"), 9)).unwrap(), Label::Class(3));
        let error = labels.get(&key(Some("c.png"), 0)).unwrap_err().to_string();
        assert!(error.ends_with("has no label for sample `c.png`"), "{error}");
        let labels = csv("row,label\n0,1\n1,0\n").unwrap();
        assert_eq!(labels.get(&key(None, 1)).unwrap(), Label::Class(0));
        assert!(labels.get(&key(None, 2)).is_err());
    }

    #[test]
    fn refusals() {
        let cases = [
            (
                "file,class\n",
                "line 1: found the header `file,class`, expected `file,label` or `row,label`",
            ),
            ("", "line 1: found the header ``, expected `file,label` or `row,label`"),
            ("file,label\na,cat\n", "line 2: found `cat` as `label`, expected a whole number"),
            ("row,label\n1,-1\n", "line 2: found `-1` as `label`, expected a whole number"),
            ("file,label\na,1\na,2\n", "line 3: this sample has a label already"),
            ("file,label\n\"a,1\n", "line 2: a quote is not closed"),
        ];
        for (text, message) in cases {
            let error = csv(text).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
    }

    #[test]
    fn from_folders() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["dog/1.png", "cat/2.png"] {
            fs::create_dir_all(dir.path().join(file).parent().unwrap()).unwrap();
            fs::write(dir.path().join(file), "").unwrap();
        }
        let labels = Labels::open(dir.path(), LabelKind::Class).unwrap();
        assert_eq!(labels.get(&key(Some("dog/1.png"), 0)).unwrap(), Label::Class(1));
        assert!(labels.get(&key(Some("eel/1.png"), 0)).is_err());
    }

    #[test]
    fn from_masks() {
        let dir = tempfile::tempdir().unwrap();
        let mask = image::GrayImage::from_raw(2, 1, vec![0, 255]).unwrap();
        mask.save(dir.path().join("a.b.png")).unwrap();
        let labels = Labels::open(dir.path(), LabelKind::Mask).unwrap();
        let Label::Mask(mask) = labels.get(&key(Some("a.b.jpg"), 0)).unwrap() else {
            panic!("not a mask")
        };
        assert_eq!((mask.size, mask.classes), ([1, 2], vec![0, 255]));
    }
}
