//! Samples from `.npy`, `.npz` and `.pb` files.

use sha2::{Digest, Sha256};

use crate::data::folder::Entry;
use crate::data::stored::StoredArray;
use crate::data::{Column, DataError, InputSpec, SampleKey, bytes};
use crate::tensor::Tensor;

/// The samples of one input: the rows of one or several arrays.
#[derive(Debug)]
pub(super) struct Arrays {
    input: InputSpec,
    parts: Vec<Part>,
    len: usize,
}

/// One array: a batch of samples, or one sample without the batch axis.
#[derive(Debug)]
struct Part {
    file: String,
    array: StoredArray,
    batched: bool,
    /// The sample that its first row is.
    start: usize,
    rows: usize,
}

impl Arrays {
    /// Checks types and shapes; reads no elements.
    pub(super) fn new(
        input: &InputSpec,
        arrays: Vec<(String, StoredArray)>,
    ) -> Result<Arrays, DataError> {
        let mut column = Arrays { input: input.clone(), parts: Vec::new(), len: 0 };
        for (file, array) in arrays {
            let (rows, batched) = rows_of(&file, &array, input)?;
            column.parts.push(Part { file, array, batched, start: column.len, rows });
            column.len += rows;
        }
        Ok(column)
    }

    /// The one array that `input` is fed from: that of its name, or the only one there is.
    pub(super) fn choose(
        input: &InputSpec,
        file: &str,
        members: &mut Vec<(String, StoredArray)>,
        only_one_input: bool,
    ) -> Result<StoredArray, DataError> {
        let by_name = members.iter().position(|(name, _)| *name == input.name);
        let only = || (only_one_input && members.len() == 1).then_some(0);
        match by_name.or_else(only) {
            Some(at) => Ok(members.swap_remove(at).1),
            None => Err(DataError::NoMember {
                file: file.to_owned(),
                input: input.name.clone(),
                found: members.iter().map(|(name, _)| name.clone()).collect(),
            }),
        }
    }

    /// The part that holds a sample; empty parts share their start with the next one.
    fn part(&self, index: usize) -> (&Part, Option<usize>) {
        let at = self.parts.partition_point(|part| part.start <= index) - 1;
        let part = &self.parts[at];
        (part, part.batched.then_some(index - part.start))
    }
}

/// Number of samples, and whether the first axis counts them.
fn rows_of(file: &str, array: &StoredArray, input: &InputSpec) -> Result<(usize, bool), DataError> {
    let shape = &array.ty.shape;
    let row_dims = input.dims.get(1..).unwrap_or(&[]);
    let fits = |row: &[usize]| {
        row.len() == row_dims.len()
            && row
                .iter()
                .zip(row_dims)
                .all(|(&found, expected)| expected.is_none_or(|e| e == found))
    };
    let (rows, batched, row) = match shape.split_first() {
        Some((&rows, row)) if row.len() == row_dims.len() => (rows, true, row),
        _ => (1, false, &shape[..]),
    };
    if !fits(row) || !bytes::can_cast(array.ty.dtype, input.dtype) {
        let found = array.ty.clone();
        return Err(DataError::Type { file: file.to_owned(), found, expected: input.clone() });
    }
    Ok((rows, batched))
}

impl Column for Arrays {
    fn len(&self) -> usize {
        self.len
    }

    fn key(&self, index: usize) -> SampleKey {
        let (part, row) = self.part(index);
        SampleKey {
            name: row.map_or_else(|| part.file.clone(), |row| format!("{}[{row}]", part.file)),
            file: (part.rows == 1).then(|| part.file.clone()),
            row: index,
        }
    }

    fn read(&self, index: usize) -> Result<Tensor, DataError> {
        let (part, row) = self.part(index);
        let tensor = bytes::cast(part.array.read(row)?, self.input.dtype);
        if self.input.dims.is_empty() {
            return Ok(tensor);
        }
        Ok(tensor.reshaped(&[&[1], tensor.shape()].concat()))
    }

    fn hash(&self, index: usize, hasher: &mut Sha256) -> Result<(), DataError> {
        hasher.update(bytes::encode(&self.read(index)?));
        Ok(())
    }
}

/// One file for each input: `.npz` members by name, a `.npy` for the only input. What cannot be read row
/// by row is held, up to the limit.
pub(super) fn open(
    inputs: &[&InputSpec],
    files: &[Entry],
    limit_bytes: usize,
) -> Result<Vec<Box<dyn Column>>, DataError> {
    let mut room_bytes = limit_bytes;
    let mut arrays: Vec<Vec<(String, StoredArray)>> = inputs.iter().map(|_| Vec::new()).collect();
    for file in files {
        let is_npz = file.extension() == "npz";
        let mut members = if is_npz {
            StoredArray::npz(&file.path, room_bytes)?
        } else {
            vec![(String::new(), StoredArray::npy(&file.path, room_bytes)?)]
        };
        for (input, arrays) in inputs.iter().zip(&mut arrays) {
            let array = Arrays::choose(input, &file.name, &mut members, inputs.len() == 1)?;
            room_bytes = room_bytes.saturating_sub(array.held_bytes());
            arrays.push((file.name.clone(), array));
        }
    }
    columns(inputs, arrays)
}

/// Columns whose files hold the same number of samples for every input.
pub(super) fn columns(
    inputs: &[&InputSpec],
    arrays: Vec<Vec<(String, StoredArray)>>,
) -> Result<Vec<Box<dyn Column>>, DataError> {
    let columns = inputs.iter().zip(arrays).map(|(input, arrays)| Arrays::new(input, arrays));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for column in &columns[1..] {
        let mut pairs = columns[0].parts.iter().zip(&column.parts);
        if let Some((first, second)) = pairs.find(|(first, second)| first.rows != second.rows) {
            return Err(DataError::SampleCounts {
                first: columns[0].input.name.clone(),
                first_samples: first.rows,
                second: column.input.name.clone(),
                second_samples: second.rows,
            });
        }
    }
    Ok(columns.into_iter().map(|column| Box::new(column) as Box<dyn Column>).collect())
}
