//! What `--calib` and its like may be given, as a column for each input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::arrays::{self, Arrays};
use crate::data::folder::{self, Entry, Files};
use crate::data::images::Images;
use crate::data::noise::Noise;
use crate::data::stored::StoredArray;
use crate::data::{Column, DataError, InputSpec, Options};

/// Samples of `noise` where no number is asked for and nothing else says one.
const NOISE_SAMPLES: usize = 256;

type Columns = Vec<Box<dyn Column>>;

/// A column for each input, all of one length, and the image options that were chosen by default.
pub(super) fn open(
    sources: &[PathBuf],
    inputs: &[InputSpec],
    options: &Options,
) -> Result<(Columns, Vec<String>), DataError> {
    let assigned = assign(sources, inputs)?;
    let mut defaults = Vec::new();
    let mut columns: Vec<Option<Box<dyn Column>>> = inputs.iter().map(|_| None).collect();
    let (noise, files): (Vec<_>, Vec<_>) =
        assigned.into_iter().partition(|(path, _)| is_noise(path));
    for (path, positions) in files {
        let fed: Vec<&InputSpec> = positions.iter().map(|&at| &inputs[at]).collect();
        let opened = open_path(&path, &fed, inputs, options, &mut defaults)?;
        for (at, column) in positions.into_iter().zip(opened) {
            columns[at] = Some(column);
        }
    }
    let len = columns.iter().flatten().next().map(|column| column.len());
    let len = len.unwrap_or(options.samples.unwrap_or(NOISE_SAMPLES));
    for at in noise.into_iter().flat_map(|(_, positions)| positions) {
        columns[at] =
            Some(Box::new(Noise::new(&inputs[at], at, options.seed, len, options.limit_bytes)?));
    }
    let columns: Columns = columns.into_iter().flatten().collect();
    check_lengths(&columns, inputs, sources)?;
    Ok((columns, defaults))
}

/// A folder or file of this name is given as `./noise`.
fn is_noise(path: &Path) -> bool {
    path == Path::new("noise")
}

/// The inputs that each path feeds, by position; every input is fed once.
pub(super) fn assign(
    sources: &[PathBuf],
    inputs: &[InputSpec],
) -> Result<Vec<(PathBuf, Vec<usize>)>, DataError> {
    let mut assigned: Vec<(PathBuf, Vec<usize>)> = Vec::new();
    let mut unnamed: Option<&PathBuf> = None;
    let mut free: Vec<usize> = (0..inputs.len()).collect();
    for source in sources {
        let Some((name, path)) = split_name(source, inputs)? else {
            if let Some(first) = unnamed.replace(source) {
                let (first, second) = (first.clone(), source.clone());
                return Err(DataError::TwoUnnamed { first, second });
            }
            continue;
        };
        let taken = free.iter().position(|&at| inputs[at].name == name);
        let Some(taken) = taken else {
            return Err(DataError::InputTwice { name: name.to_owned() });
        };
        assigned.push((PathBuf::from(path), vec![free.remove(taken)]));
    }
    match (unnamed, free.first()) {
        (Some(path), Some(_)) => assigned.push((path.clone(), free)),
        (None, Some(&at)) => {
            return Err(DataError::MissingInput { name: inputs[at].name.clone() });
        }
        (Some(path), None) if inputs.is_empty() => {
            return Err(DataError::NoInputs { path: path.clone() });
        }
        (Some(path), None) => return Err(DataError::NoneLeft { path: path.clone() }),
        (None, None) => {}
    }
    Ok(assigned)
}

/// `NAME=PATH`; a path that exists as it stands and begins with no input's name is no such pair.
fn split_name<'a>(
    source: &'a Path,
    inputs: &[InputSpec],
) -> Result<Option<(&'a str, &'a str)>, DataError> {
    let Some((name, path)) = source.to_str().and_then(|text| text.split_once('=')) else {
        return Ok(None);
    };
    if inputs.iter().any(|input| input.name == name) {
        return Ok(Some((name, path)));
    }
    if source.exists() || name.contains('/') {
        return Ok(None);
    }
    Err(DataError::UnknownInput { name: name.to_owned(), inputs: names(inputs) })
}

fn names(inputs: &[InputSpec]) -> Vec<String> {
    inputs.iter().map(|input| input.name.clone()).collect()
}

fn open_path(
    path: &Path,
    fed: &[&InputSpec],
    inputs: &[InputSpec],
    options: &Options,
    defaults: &mut Vec<String>,
) -> Result<Columns, DataError> {
    let files = folder::find(path)?;
    let one_for_many =
        || Err(DataError::OneForMany { path: path.to_owned(), inputs: names(inputs) });
    match files {
        Files::Images(_) if fed.len() != 1 => one_for_many(),
        Files::Images(files) => {
            let (images, chosen) =
                Images::new(fed[0], files, &options.images, options.limit_bytes)?;
            defaults.extend(chosen);
            Ok(vec![Box::new(images)])
        }
        Files::Arrays(files) => {
            let any_npy = files.iter().any(|file| file.extension() == "npy");
            if any_npy && fed.len() != 1 {
                return one_for_many();
            }
            arrays::open(fed, &files, options.limit_bytes)
        }
        Files::Pbs(files) => open_pbs(fed, inputs, files),
    }
}

/// Folders of `input_0.pb`, `input_1.pb`, ... as ONNX's own tests have them, one sample or batch
/// each; without such names every file is one of the only input.
fn open_pbs(
    fed: &[&InputSpec],
    inputs: &[InputSpec],
    files: Vec<Entry>,
) -> Result<Columns, DataError> {
    let mut sets: BTreeMap<String, Vec<(usize, Entry)>> = BTreeMap::new();
    for file in &files {
        let (folder, name) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
        let position = name.strip_prefix("input_").and_then(|rest| rest.strip_suffix(".pb"));
        if let Some(position) = position.and_then(|text| text.parse().ok()) {
            sets.entry(folder.to_owned()).or_default().push((position, file.clone()));
        }
    }
    if sets.is_empty() {
        sets = files.into_iter().map(|file| (file.name.clone(), vec![(0, file)])).collect();
    }
    let mut opened: Vec<Vec<(String, StoredArray)>> = fed.iter().map(|_| Vec::new()).collect();
    for (folder, set) in sets {
        let mut members = Vec::new();
        let only_one = fed.len() == 1 && set.len() == 1;
        let mut set_name = folder;
        for (position, file) in set {
            let (name, array) = StoredArray::pb(&file.path)?;
            let known = inputs.iter().any(|input| input.name == name);
            let by_position = inputs.get(position).map(|input| input.name.clone());
            members.push((if known { name } else { by_position.unwrap_or(name) }, array));
            if only_one {
                set_name = file.name;
            }
        }
        for (input, opened) in fed.iter().zip(&mut opened) {
            let array = Arrays::choose(input, &set_name, &mut members, only_one)?;
            opened.push((set_name.clone(), array));
        }
    }
    arrays::columns(fed, opened)
}

fn check_lengths(
    columns: &Columns,
    inputs: &[InputSpec],
    sources: &[PathBuf],
) -> Result<(), DataError> {
    let Some(first) = columns.first() else { return Ok(()) };
    for (column, input) in columns.iter().zip(inputs) {
        if column.len() != first.len() {
            return Err(DataError::SampleCounts {
                first: inputs[0].name.clone(),
                first_samples: first.len(),
                second: input.name.clone(),
                second_samples: column.len(),
            });
        }
    }
    match sources.first() {
        Some(path) if first.len() == 0 && !is_noise(path) => {
            Err(DataError::NoSamples { path: path.clone() })
        }
        _ => Ok(()),
    }
}
