//! [`Labels`]: what the right answers are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Digest, Digester};
use crate::data::folder::{self, Entry, Files};
use crate::data::label_numbers::{self, Numbers};
use crate::data::stored::StoredArray;
use crate::data::{DEFAULT_LIMIT_BYTES, DataError, Mask, SampleKey, Target};

/// The right answer for one sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// An index into the network's classes.
    Class(usize),
    /// A finite number.
    Real(f64),
    /// A class for every pixel.
    Mask(Mask),
    /// A whole output.
    Target(Target),
}

impl Label {
    /// Over all of it.
    pub fn digest(&self) -> Digest {
        match self {
            Label::Class(class) => Digester::new("class").number(*class as u64).finish(),
            Label::Real(real) => Digester::new("real").number(real.to_bits()).finish(),
            Label::Mask(Mask { size, classes }) => {
                let digester = Digester::new("mask").bytes(classes);
                size.iter().fold(digester, |d, &size| d.number(size as u64)).finish()
            }
            Label::Target(target) => target.digest(),
        }
    }
}

/// What a metric compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelKind {
    Class,
    Real,
    Mask,
    Target,
}

/// Labels of a data set; masks and targets stay in their files until they are asked for.
#[derive(Debug)]
pub struct Labels {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Numbers(Numbers),
    /// The names of the subfolders, in the order of their classes.
    Folders(Vec<String>),
    Masks(BTreeMap<String, PathBuf>),
    Targets(BTreeMap<String, PathBuf>),
    TargetRows(StoredArray),
}

impl Labels {
    /// Of classes and reals: a CSV file (`file,label` or `row,label`), an array, or for classes a
    /// folder whose subfolders are the classes in the order of their names. Of masks: a folder of PNG
    /// files. Of targets: a folder of images or arrays, or one array whose rows are the samples.
    pub fn open(path: &Path, kind: LabelKind) -> Result<Labels, DataError> {
        let metadata = fs::metadata(path).map_err(|source| DataError::read(path, source))?;
        let is_array = metadata.is_file() && StoredArray::is_array(path);
        let source = match kind {
            LabelKind::Class if metadata.is_dir() => Source::Folders(subfolders(path)?),
            LabelKind::Real if metadata.is_dir() => {
                let problem = "is a folder, expected a CSV file or an array of numbers".to_owned();
                return Err(DataError::Option { flag: "--labels", problem });
            }
            LabelKind::Class | LabelKind::Real if is_array => {
                Source::Numbers(label_numbers::read_array(path, kind)?)
            }
            LabelKind::Class | LabelKind::Real => {
                Source::Numbers(label_numbers::read_csv(path, kind)?)
            }
            LabelKind::Mask => Source::Masks(masks(path)?),
            LabelKind::Target if is_array => Source::TargetRows(rows(path)?),
            LabelKind::Target => Source::Targets(targets(path)?),
        };
        Ok(Labels { path: path.to_owned(), source })
    }

    /// Where they were opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// If there is no label for the sample, or its mask or target cannot be read.
    pub fn get(&self, key: &SampleKey) -> Result<Label, DataError> {
        let file = key.file.as_deref();
        let label = match &self.source {
            Source::Numbers(numbers) => numbers.get(key),
            Source::Folders(folders) => {
                let folder = file.and_then(|file| file.split_once('/')).map(|(folder, _)| folder);
                let class =
                    folder.and_then(|folder| folders.iter().position(|name| name == folder));
                class.map(Label::Class)
            }
            Source::Masks(masks) => {
                let path = file.and_then(|file| masks.get(stem(file)));
                path.map(|path| Mask::read(path).map(Label::Mask)).transpose()?
            }
            Source::Targets(targets) => {
                let path = file.and_then(|file| targets.get(stem(file)));
                path.map(|path| Target::read(path).map(Label::Target)).transpose()?
            }
            Source::TargetRows(array) => {
                let row = (key.row < array.ty.shape[0]).then(|| array.read(Some(key.row)));
                row.transpose()?.map(|row| Label::Target(Target::array(row)))
            }
        };
        label
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
    let mut files = folder::walk(path)?;
    files.retain(|file| file.extension() == "png");
    if files.is_empty() {
        return Err(DataError::NoSamples { path: path.to_owned() });
    }
    by_stem(files)
}

fn targets(path: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    match folder::find(path)? {
        Files::Images(files) | Files::Arrays(files) => by_stem(files),
        Files::Pbs(_) => {
            let problem =
                "is a folder of `.pb` files, expected images, `.npy` or `.npz`".to_owned();
            Err(DataError::Option { flag: "--labels", problem })
        }
    }
}

/// The only array of a file, a target in each row.
fn rows(path: &Path) -> Result<StoredArray, DataError> {
    let array = StoredArray::only(path, DEFAULT_LIMIT_BYTES)?;
    if array.ty.shape.is_empty() {
        let (path, found) = (path.to_owned(), array.ty);
        return Err(DataError::LabelArray { path, found, expected: "a target in each row" });
    }
    Ok(array)
}

/// Samples are told by their relative paths without extension: `a.png` may belong to `a.jpg`.
fn by_stem(files: Vec<Entry>) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut paths = BTreeMap::new();
    for file in files {
        let stem = stem(&file.name).to_owned();
        if let Some(first) = paths.insert(stem, file.path.clone()) {
            return Err(DataError::TwoLabels { first, second: file.path });
        }
    }
    Ok(paths)
}

/// A relative path without its extension.
fn stem(file: &str) -> &str {
    let name_at = file.rfind('/').map_or(0, |slash| slash + 1);
    file[name_at..].rfind('.').map_or(file, |dot| &file[..name_at + dot])
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use ndarray_npy::write_npy;

    use super::*;
    use crate::tensor::Tensor;

    fn key(file: Option<&str>, row: usize) -> SampleKey {
        let name = file.map_or_else(|| format!("x.npy[{row}]"), str::to_owned);
        SampleKey { name, file: file.map(str::to_owned), row }
    }

    #[test]
    fn from_csv() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        fs::write(&path, "file,label\na/b.png,3\n").unwrap();
        let labels = Labels::open(&path, LabelKind::Class).unwrap();
        assert_eq!(labels.get(&key(Some("a/b.png"), 9)).unwrap(), Label::Class(3));
        let error = labels.get(&key(Some("c.png"), 0)).unwrap_err().to_string();
        assert!(error.ends_with("has no label for sample `c.png`"), "{error}");
        let labels = Labels::open(&path, LabelKind::Real).unwrap();
        assert_eq!(labels.get(&key(Some("a/b.png"), 9)).unwrap(), Label::Real(3.));
        let error = Labels::open(dir.path(), LabelKind::Real).unwrap_err().to_string();
        assert!(
            error.ends_with("is a folder, expected a CSV file or an array of numbers"),
            "{error}"
        );
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

    #[test]
    fn from_targets() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let image = image::GrayImage::from_raw(2, 1, vec![0, 255]).unwrap();
        for folder in ["images/x", "arrays", "twice"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        image.save(at("images/x/a.bmp")).unwrap();
        write_npy(at("arrays/a.npy"), &array![3_f32]).unwrap();
        write_npy(at("rows.npy"), &array![[1_f32, 2.], [3., 4.]]).unwrap();
        write_npy(at("one.npy"), &ndarray::arr0(1_f32)).unwrap();
        image.save(at("twice/a.bmp")).unwrap();
        image.save(at("twice/a.png")).unwrap();
        let target = |path: &str, key: &SampleKey| {
            let labels = Labels::open(&at(path), LabelKind::Target)?;
            labels.get(key).map(|label| match label {
                Label::Target(target) => target.to_string(),
                other => panic!("{other:?}"),
            })
        };
        let found = target("images", &key(Some("x/a.jpg"), 0)).unwrap();
        assert_eq!(found, "an image of 1x2 (height x width)");
        assert_eq!(target("arrays", &key(Some("a.png"), 0)).unwrap(), "float32 [1]");
        let labels = Labels::open(&at("rows.npy"), LabelKind::Target).unwrap();
        let row = Target::array(Tensor::from(array![3_f32, 4.]));
        assert_eq!(labels.get(&key(None, 1)).unwrap(), Label::Target(row));
        let fails = |path: &str, key: &SampleKey, message: &str| {
            let error = target(path, key).unwrap_err().to_string();
            assert!(
                error.replace(dir.path().to_str().unwrap(), "TMP").contains(message),
                "{error}"
            );
        };
        let first = key(None, 0);
        fails("rows.npy", &key(None, 2), "`TMP/rows.npy` has no label for sample `x.npy[2]`");
        fails("images", &first, "`TMP/images` has no label for sample `x.npy[0]`");
        fails("twice", &first, "`TMP/twice/a.bmp` and `TMP/twice/a.png` are labels of one sample");
        fails("one.npy", &first, "`TMP/one.npy` is float32 [], expected a target in each row");
        fails(".", &first, "holds 3 images, 3 `.npy` or `.npz` files");
    }
}
