//! Images: PNG, JPEG, WebP, BMP and whatever else is told by its first bytes.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mpq::data::{Dataset, ImageOptions, ImageSettings, InputSpec, Options};
use mpq::progress::Silent;
use mpq::tensor::DType;

static IMAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = mpq_fuzz::scratch().join("images");
    fs::create_dir_all(&folder).unwrap();
    folder.join("x.png")
});

static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
    fs::write(&*IMAGE, []).unwrap();
    let dims = vec![None, Some(3), Some(8), Some(8)];
    let inputs = [InputSpec { name: "x".to_owned(), dtype: DType::F32, dims }];
    let images = ImageSettings::Resolve(ImageOptions::UNSET);
    let options =
        Options { images, samples: None, seed: 0, skip_bad: false, limit_bytes: 16 << 20 };
    let folder = IMAGE.parent().unwrap().to_owned();
    Dataset::open(&[folder], &inputs, &options, &Silent).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let dataset = &*DATASET;
    mpq_fuzz::start(160 << 20);
    fs::write(&*IMAGE, data).unwrap();
    if let Ok(sample) = dataset.sample(0) {
        assert_eq!(sample[0].shape(), [1, 3, 8, 8]);
    }
});
