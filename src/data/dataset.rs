//! [`Dataset`]: the samples a network is fed, read when they are asked for.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::cache::Digest;
use crate::data::{
    Column, DEFAULT_LIMIT_BYTES, DataError, ImageOptions, ImageSettings, InputSpec, Preprocessing,
    SampleKey, source,
};
use crate::progress::Progress;
use crate::tensor::Tensor;

/// How data are opened.
#[derive(Debug, Clone)]
pub struct Options {
    pub images: ImageSettings,
    /// How many samples are taken, evenly over all; `None` takes all.
    pub samples: Option<usize>,
    /// Of `noise`.
    pub seed: u64,
    /// Leave out images that cannot be read instead of failing on them; needs them all decoded once.
    pub skip_bad: bool,
    /// The most bytes that a sample of an input, or what is held of compressed arrays, may take.
    pub limit_bytes: usize,
}

/// All samples; what is not said of images is chosen by the network's input.
impl Default for Options {
    fn default() -> Options {
        let images = ImageSettings::Resolve(ImageOptions::UNSET);
        Options {
            images,
            samples: None,
            seed: 0,
            skip_bad: false,
            limit_bytes: DEFAULT_LIMIT_BYTES,
        }
    }
}

/// The samples of a network: a tensor for each input.
///
/// Nothing is held but names, unless it is asked to; samples are read from any number of threads.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// In the order of the network's inputs.
    columns: Arc<Vec<Box<dyn Column>>>,
    chosen: Arc<Vec<usize>>,
    /// Of the chosen ones, once they are asked for.
    digests: Arc<OnceLock<Vec<Digest>>>,
    defaults: Arc<Vec<String>>,
    bad: Arc<Vec<BadSample>>,
    /// As in the options.
    limit_bytes: usize,
}

/// A sample that was left out.
#[derive(Debug)]
pub struct BadSample {
    pub name: String,
    pub error: DataError,
}

impl Dataset {
    /// Opens what each of `sources` stands for: a folder, a file, `NAME=PATH`, or `noise`.
    pub fn open(
        sources: &[PathBuf],
        inputs: &[InputSpec],
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Dataset, DataError> {
        let (columns, defaults) = source::open(sources, inputs, options)?;
        let mut dataset = Dataset {
            chosen: Arc::new((0..columns.first().map_or(0, |column| column.len())).collect()),
            columns: Arc::new(columns),
            digests: Arc::default(),
            defaults: Arc::new(defaults),
            bad: Arc::new(Vec::new()),
            limit_bytes: options.limit_bytes,
        };
        if options.skip_bad {
            dataset.skip_bad(progress)?;
        }
        Ok(match options.samples {
            Some(n) => dataset.take(n),
            None => dataset,
        })
    }

    fn skip_bad(&mut self, progress: &dyn Progress) -> Result<(), DataError> {
        let suspects: Vec<&dyn Column> =
            self.columns.iter().map(Box::as_ref).filter(|column| column.may_be_bad()).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        progress.begin("checking images", self.chosen.len() as u64);
        let check = |&index: &usize| {
            let error = suspects.iter().find_map(|column| column.read(index).err());
            progress.advance(1);
            error.map(|error| (index, BadSample { name: self.columns[0].key(index).name, error }))
        };
        let found: Vec<(usize, BadSample)> = self.chosen.par_iter().filter_map(check).collect();
        progress.finish();
        let (bad, samples): (Vec<usize>, Vec<BadSample>) = found.into_iter().unzip();
        if bad.len() == self.chosen.len() {
            return Err(DataError::AllBad { bad: bad.len() });
        }
        let good = |index: &usize| bad.binary_search(index).is_err();
        self.chosen = Arc::new(self.chosen.iter().copied().filter(good).collect());
        self.bad = Arc::new(samples);
        Ok(())
    }

    /// `n` samples evenly over these, sample `floor(i M / n)` of M; all if there are no more.
    pub fn take(&self, n: usize) -> Dataset {
        let len = self.len();
        if n >= len {
            return self.clone();
        }
        let at = |i: usize| self.chosen[(i as u128 * len as u128 / n as u128) as usize];
        let chosen = Arc::new((0..n).map(at).collect());
        Dataset { chosen, digests: Arc::default(), ..self.clone() }
    }

    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// The most that the samples of a pass may take.
    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// A tensor for each of the network's inputs, in their order, with a batch axis of 1.
    ///
    /// # Panics
    /// If `index` is not below [`Dataset::len`]; so do the others that take an index.
    pub fn sample(&self, index: usize) -> Result<Vec<Tensor>, DataError> {
        let index = self.chosen[index];
        self.columns.iter().map(|column| column.read(index)).collect()
    }

    /// Where the sample's label is found: by file if one of the inputs has a file of its own for it.
    pub fn key(&self, index: usize) -> SampleKey {
        let index = self.chosen[index];
        let mut keys = self.columns.iter().map(|column| column.key(index));
        let first =
            keys.next().unwrap_or(SampleKey { name: String::new(), file: None, row: index });
        if first.file.is_some() {
            return first;
        }
        keys.find(|key| key.file.is_some()).unwrap_or(first)
    }

    /// What the sample is called in messages.
    pub fn name(&self, index: usize) -> String {
        self.key(index).name
    }

    /// SHA-256, in hexadecimal, of the names and contents of the samples in their order: of image
    /// files their bytes, else the elements that the network gets. The names of the files count, the
    /// folder they lie in does not.
    pub fn sha256(&self) -> Result<String, DataError> {
        let mut all = Sha256::new();
        self.digests()?.iter().for_each(|digest| all.update(digest.0));
        Ok(Digest(all.finalize().into()).to_string())
    }

    /// The same of every sample. Samples are read once for it, whoever asks.
    pub fn digests(&self) -> Result<&[Digest], DataError> {
        if self.digests.get().is_none() {
            let digests = self.digests_of(0..self.len())?;
            // Another thread may have been there first, with the same.
            let _ = self.digests.set(digests);
        }
        Ok(self.digests.get().expect("it was just set"))
    }

    /// Takes what someone else has found the digests to be, so that no sample is read for them. Whoever does
    /// it compares those of the samples that count with [`Dataset::digests_of`].
    pub fn assume_digests(&mut self, digests: Vec<Digest>) {
        self.digests = Arc::new(OnceLock::from(digests));
    }

    /// Those of some samples, read anew.
    pub fn digests_of(&self, samples: Range<usize>) -> Result<Vec<Digest>, DataError> {
        self.chosen[samples].par_iter().map(|&index| self.sample_digest(index)).collect()
    }

    fn sample_digest(&self, index: usize) -> Result<Digest, DataError> {
        let mut all = Sha256::new();
        for column in self.columns.iter() {
            let name = column.key(index).name;
            let mut content = Sha256::new();
            column.hash(index, &mut content)?;
            all.update((name.len() as u64).to_le_bytes());
            all.update(name.as_bytes());
            all.update(content.finalize());
        }
        Ok(Digest(all.finalize().into()))
    }

    /// Lets decoded images be kept, up to so many bytes, for those who read samples repeatedly.
    pub fn hold(&self, bytes: usize) {
        self.columns.iter().for_each(|column| column.hold(bytes / self.columns.len()));
    }

    /// What is done to images, if there are any.
    pub fn preprocessing(&self) -> Option<&Preprocessing> {
        self.columns.iter().find_map(|column| column.preprocessing())
    }

    /// The image options that were not given and so chosen, such as `--preprocess imagenet`.
    pub fn defaults(&self) -> &[String] {
        &self.defaults
    }

    /// What was skipped, in order.
    pub fn bad(&self) -> &[BadSample] {
        &self.bad
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ndarray::{Array2, array};
    use ndarray_npy::{NpzWriter, write_npy};

    use super::*;
    use crate::data::ImageOptions;
    use crate::progress::Silent;
    use crate::tensor::DType;

    fn input(name: &str, dtype: DType, dims: &[usize]) -> InputSpec {
        let dims = dims.iter().map(|&dim| (dim > 0).then_some(dim)).collect();
        InputSpec { name: name.to_owned(), dtype, dims }
    }

    const OPTIONS: Options = Options {
        images: ImageSettings::Resolve(ImageOptions::UNSET),
        samples: None,
        seed: 0,
        skip_bad: false,
        limit_bytes: 4096,
    };

    fn open(
        sources: &[&str],
        inputs: &[InputSpec],
        options: &Options,
    ) -> Result<Dataset, DataError> {
        let sources: Vec<PathBuf> = sources.iter().map(PathBuf::from).collect();
        Dataset::open(&sources, inputs, options, &Silent)
    }

    fn at(dir: &Path, name: &str) -> String {
        dir.join(name).to_str().unwrap().to_owned()
    }

    #[test]
    fn taken_evenly() {
        let x = [input("x", DType::F32, &[0, 2])];
        let all = open(&["noise"], &x, &Options { samples: Some(10), ..OPTIONS }).unwrap();
        let names = |data: &Dataset| (0..data.len()).map(|i| data.key(i).row).collect::<Vec<_>>();
        assert_eq!(names(&all.take(4)), [0, 2, 5, 7]);
        assert_eq!(names(&all.take(4).take(2)), [0, 5]);
        assert_eq!(all.take(99).len(), 10);
        assert!(all.take(0).is_empty());
    }

    #[test]
    fn archives_by_name_and_files_by_input() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Array2<i64> = array![[1, 2], [3, 4], [5, 6]];
        let mask: Array2<i32> = array![[1, 1], [1, 0], [0, 0]];
        let mut writer =
            NpzWriter::new(std::fs::File::create(dir.path().join("both.npz")).unwrap());
        writer.add_array("mask", &mask).unwrap();
        writer.add_array("ids", &ids).unwrap();
        writer.finish().unwrap();
        write_npy(dir.path().join("ids.npy"), &ids).unwrap();
        write_npy(dir.path().join("mask.npy"), &mask).unwrap();
        let inputs = [input("ids", DType::I64, &[0, 0]), input("mask", DType::I64, &[0, 2])];

        let both = open(&[&at(dir.path(), "both.npz")], &inputs, &OPTIONS).unwrap();
        let named = ["mask=", "ids="].map(|name| {
            let file = name.replace('=', ".npy");
            format!("{name}{}", at(dir.path(), &file))
        });
        let named = open(&[&named[0], &named[1]], &inputs, &OPTIONS).unwrap();
        for data in [&both, &named] {
            assert_eq!(data.len(), 3);
            let expected = [Tensor::from(array![[3_i64, 4]]), Tensor::from(array![[1_i64, 0]])];
            assert_eq!(data.sample(1).unwrap(), expected);
        }
        assert_eq!(both.name(1), "both.npz[1]");
        assert_ne!(both.sha256().unwrap(), both.take(2).sha256().unwrap());
    }

    #[test]
    fn folders_of_arrays() {
        let dir = tempfile::tempdir().unwrap();
        write_npy(dir.path().join("a.npy"), &array![[1_f64, 2.], [3., 4.]]).unwrap();
        write_npy(dir.path().join("b.npy"), &array![5_f32, 6.]).unwrap();
        let x = [input("x", DType::F32, &[4, 2])];
        let data = open(&[&at(dir.path(), "")], &x, &OPTIONS).unwrap();
        let rows: Vec<Tensor> = (0..3).flat_map(|i| data.sample(i).unwrap()).collect();
        let expected =
            [[1_f32, 2.], [3., 4.], [5., 6.]].map(|row| Tensor::from_vec(&[1, 2], row.to_vec()));
        assert_eq!(rows, expected);
        let keys = [0, 2].map(|i| data.key(i));
        assert_eq!((keys[0].name.as_str(), keys[0].file.as_deref()), ("a.npy[0]", None));
        assert_eq!((keys[1].name.as_str(), keys[1].file.as_deref()), ("b.npy", Some("b.npy")));
    }

    #[test]
    fn test_data_sets_of_onnx() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, name: &str, tensor: Tensor| {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::onnx::write_pb(&path, name, &tensor).unwrap();
        };
        for set in 0..2_i64 {
            let folder = format!("test_data_set_{set}");
            // By name where the names are the inputs', else by position.
            let names = if set == 0 { ["b", "a"] } else { ["", ""] };
            let [first, second] = if set == 0 { [20, 10] } else { [11, 21] };
            let batch = |x: i64| Tensor::from(array![[x], [x + 100]]);
            write(&format!("{folder}/input_0.pb"), names[0], batch(first));
            write(&format!("{folder}/input_1.pb"), names[1], batch(second));
            write(&format!("{folder}/output_0.pb"), "y", Tensor::scalar(0_f32));
        }
        let inputs = [input("a", DType::I64, &[0, 1]), input("b", DType::I64, &[0, 1])];
        let data = open(&[&at(dir.path(), "")], &inputs, &OPTIONS).unwrap();
        let values = |i: usize| -> Vec<i64> {
            data.sample(i).unwrap().iter().map(|tensor| tensor.slice::<i64>()[0]).collect()
        };
        let all: Vec<Vec<i64>> = (0..data.len()).map(values).collect();
        assert_eq!(all, [[10, 20], [110, 120], [11, 21], [111, 121]]);
        assert_eq!(data.name(3), "test_data_set_1[1]");
    }

    #[test]
    fn refusals() {
        let dir = tempfile::tempdir().unwrap();
        write_npy(dir.path().join("x.npy"), &array![[1_i64, 2], [3, 4]]).unwrap();
        write_npy(dir.path().join("y.npy"), &array![[1_f32, 2.]]).unwrap();
        let [x, y] = ["x.npy", "y.npy"].map(|name| at(dir.path(), name));
        let float = input("x", DType::F32, &[0, 2]);
        let long = input("y", DType::I64, &[0, 2]);
        let both = [float.clone(), long.clone()];
        let named = |name: &str, path: &str| format!("{name}={path}");
        let cases: &[(&[&str], &[InputSpec], &str)] = &[
            (&[&x], &both[..1], "`x.npy` is int64 [2, 2], expected float32 [?, 2] for input `x`"),
            (
                &[&y],
                &[input("x", DType::F32, &[0, 3])],
                "`y.npy` is float32 [1, 2], expected float32 [?, 3] for input `x`",
            ),
            (&[&named("x", &y)], &both, "no data are given for input `y`\nhint: add `y=PATH`"),
            (&[&named("x", &y), &named("x", &y)], &both, "data for input `x` are given twice"),
            (
                &[&named("z", &y)],
                &both,
                "data are given for `z`, expected one of the inputs `x`, `y`",
            ),
            (
                &[&named("x", &y), &named("y", &x)],
                &both,
                "input `x` has 1 samples, input `y` has 2",
            ),
            (
                &["noise"],
                &[long],
                "input `y` is int64, noise is for float inputs\nhint: give `y=FILE.npy`",
            ),
        ];
        for (sources, inputs, message) in cases {
            let error = open(sources, inputs, &OPTIONS).unwrap_err();
            assert_eq!(&error.to_string(), message);
        }
    }

    #[test]
    fn bad_images_are_named_and_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let image = image::RgbImage::from_pixel(4, 4, image::Rgb([9; 3]));
        for name in ["a.png", "c.png"] {
            image.save(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("b.png"), "no image").unwrap();
        let x = [input("x", DType::F32, &[0, 3, 4, 4])];
        let folder = at(dir.path(), "");
        let strict = open(&[&folder], &x, &OPTIONS).unwrap();
        assert_eq!(strict.len(), 3);
        assert!(strict.sample(1).unwrap_err().to_string().contains("b.png"));
        let lenient = open(&[&folder], &x, &Options { skip_bad: true, ..OPTIONS }).unwrap();
        assert_eq!((lenient.len(), lenient.name(1)), (2, "c.png".to_owned()));
        assert_eq!(lenient.bad().len(), 1);
        assert_eq!(lenient.bad()[0].name, "b.png");
        assert_eq!(lenient.defaults()[0], "--preprocess imagenet");
    }
}
