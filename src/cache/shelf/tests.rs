//! Files as runs leave them, whatever happens to them.

use super::*;
use crate::cache::{Cache, clear, list, trim};

/// Keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn begin(&self, _phase: &str, _total: u64) {}
    fn advance(&self, _steps: u64) {}
    fn finish(&self) {}
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

struct Folder {
    dir: tempfile::TempDir,
    warnings: Arc<Warnings>,
}

fn digest(name: u8) -> Digest {
    Digest::of("test", &[&[name]])
}

impl Folder {
    fn new() -> Folder {
        Folder { dir: tempfile::tempdir().unwrap(), warnings: Arc::default() }
    }

    fn cache(&self) -> Cache {
        let progress: Arc<dyn Progress> = self.warnings.clone();
        Cache::new(self.dir.path(), "build", progress)
    }

    fn shelf(&self) -> Arc<Shelf> {
        self.cache().shelf("noise", "m.onnx", "ab")
    }

    /// Writes records of these names, as a run of its own.
    fn write(&self, names: std::ops::Range<u8>) {
        let shelf = self.shelf();
        names.for_each(|name| shelf.put(&digest(name), &[name; 3]));
    }

    /// Which of the first names are there.
    fn names(&self) -> Vec<u8> {
        let shelf = self.shelf();
        let value = |name: &u8| shelf.get(&digest(*name)).map(|value| (*name, value));
        let known: Vec<u8> = (0..20).filter(|name| value(name).is_some()).collect();
        assert!((0..20).filter_map(|name| value(&name)).all(|(name, value)| value == [name; 3]));
        known
    }

    fn writer_subject(&self) -> Subject {
        self.shelf().writer().subject.clone()
    }

    /// The only file.
    fn path(&self) -> PathBuf {
        let entries = list(self.dir.path()).unwrap();
        assert_eq!(entries.len(), 1);
        entries[0].path.clone()
    }

    fn warnings(&self) -> Vec<String> {
        let dir = self.dir.path().to_str().unwrap();
        let warnings = std::mem::take(&mut *self.warnings.0.lock().unwrap());
        warnings.iter().map(|warning| warning.replace(dir, "DIR")).collect()
    }
}

#[test]
fn what_is_put_is_there_for_the_next_run() {
    let folder = Folder::new();
    assert!(folder.names().is_empty());
    // What was only looked at leaves nothing behind.
    assert_eq!(list(folder.dir.path()).unwrap(), []);
    folder.write(0..3);
    folder.write(5..6);
    assert_eq!(folder.names(), [0, 1, 2, 5]);
    assert!(folder.path().ends_with(name(&folder.writer_subject(), 0)));
    for (kind, sha256) in [("ranges", "ab"), ("noise", "cd")] {
        let other = folder.cache().shelf(kind, "m.onnx", sha256);
        assert!(other.get(&digest(0)).is_none());
    }
    let progress: Arc<dyn Progress> = folder.warnings.clone();
    let other = Cache::new(folder.dir.path(), "another build", progress);
    assert!(other.shelf("noise", "m.onnx", "ab").get(&digest(0)).is_none());
    assert!(folder.cache().shelf("noise", "renamed.onnx", "ab").get(&digest(0)).is_some());
    assert_eq!(folder.warnings(), [""; 0]);
}

/// A run that was killed while it wrote, wherever, costs what it was writing and no more.
#[test]
fn torn_files_are_cut_and_go_on() {
    let folder = Folder::new();
    folder.write(0..2);
    let path = folder.path();
    let first = fs::read(&path).unwrap();
    folder.write(2..4);
    let both = fs::read(&path).unwrap();
    for len in 0..both.len() {
        fs::write(&path, &both[..len]).unwrap();
        let known: &[u8] = if len < first.len() { &[] } else { &[0, 1] };
        assert_eq!(folder.names(), known, "{len}");
        folder.write(7..8);
        assert_eq!(folder.names(), [known, &[7]].concat(), "{len}");
        assert_eq!(folder.path(), path);
    }
    assert_eq!(folder.warnings(), [""; 0]);
}

#[test]
fn damage_is_told_and_cut_off() {
    let folder = Folder::new();
    folder.write(0..1);
    let path = folder.path();
    let first = fs::metadata(&path).unwrap().len() as usize;
    folder.write(1..2);
    folder.write(2..3);
    let mut bytes = fs::read(&path).unwrap();
    bytes[first + 20] ^= 4;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(folder.names(), [0]);
    let name = path.file_name().unwrap().to_str().unwrap();
    let message = format!(
        "cache file `DIR/{name}` is damaged from byte {first} on; what was there is measured again"
    );
    assert_eq!(folder.warnings(), [message]);
    folder.write(3..4);
    assert_eq!((folder.names(), folder.warnings().len()), (vec![0, 3], 0));
}

#[test]
fn foreign_files_are_left_alone() {
    let folder = Folder::new();
    folder.write(0..1);
    let path = folder.path();
    let subject = Subject { sha256: "cd".to_owned(), ..folder.writer_subject() };
    for foreign in [b"something of the user's".to_vec(), frame::start(&subject)] {
        fs::write(&path, &foreign).unwrap();
        assert!(folder.names().is_empty());
        folder.write(1..2);
        assert_eq!(folder.names(), [1]);
        assert_eq!(fs::read(&path).unwrap(), foreign);
        let warnings = folder.warnings();
        assert!(warnings[0].contains("is no cache file of this mpq"), "{warnings:?}");
        fs::remove_file(path.with_file_name(name(&folder.writer_subject(), 1))).unwrap();
    }
}

/// Two runs at once write a file each, and a third has both.
#[test]
fn runs_at_once() {
    let folder = Folder::new();
    folder.write(0..1);
    let (first, second) = (folder.shelf(), folder.shelf());
    first.put(&digest(1), &[1; 3]);
    second.put(&digest(2), &[2; 3]);
    first.flush();
    second.flush();
    first.put(&digest(3), &[3; 3]);
    assert_eq!(clear(folder.dir.path()).unwrap().n_in_use, 2);
    drop((first, second));
    assert_eq!(folder.names(), [0, 1, 2, 3]);
    assert_eq!(list(folder.dir.path()).unwrap().len(), 2);
    folder.write(4..5);
    assert_eq!(list(folder.dir.path()).unwrap().len(), 2);
    assert_eq!(folder.names(), [0, 1, 2, 3, 4]);
    let cleared = clear(folder.dir.path()).unwrap();
    assert_eq!((cleared.n_files, cleared.n_in_use), (2, 0));
    assert_eq!((folder.names(), folder.warnings().len()), (vec![], 0));
}

#[test]
fn the_folder_is_kept_within_bounds() {
    let folder = Folder::new();
    folder.write(0..1);
    let other = folder.cache().shelf("ranges", "m.onnx", "ab");
    other.put(&digest(0), &[0; 100]);
    drop(other);
    let total: u64 = list(folder.dir.path()).unwrap().iter().map(|e| e.size_bytes).sum();
    assert_eq!(trim(folder.dir.path(), total).unwrap().n_files, 0);
    assert_eq!(trim(folder.dir.path(), total - 1).unwrap().n_files, 1);
    assert_eq!(list(folder.dir.path()).unwrap().len(), 1);
}

#[test]
fn where_no_file_can_be_made_one_warning_is_all() {
    let folder = Folder::new();
    let file = folder.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let progress: Arc<dyn Progress> = folder.warnings.clone();
    let cache = Cache::new(&file.join("cache"), "build", progress);
    let shelf = cache.shelf("noise", "m.onnx", "ab");
    for name in 0..200 {
        shelf.put(&digest(name), &[0; 1000]);
    }
    cache.flush();
    let warnings = folder.warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("cannot write to the cache `DIR/file/cache`: "));
}

/// A disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_costs_a_warning() {
    let folder = Folder::new();
    folder.write(0..1);
    let shelf = folder.shelf();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let Open { id, len, .. } = shelf.writer().open.take().unwrap();
    shelf.writer().open = Some(Open { file: full, id, len });
    for name in 0..200 {
        shelf.put(&digest(name), &[0; 1000]);
    }
    shelf.flush();
    assert_eq!(shelf.get(&digest(0)), Some(&[0; 3][..]));
    drop(shelf);
    assert_eq!(folder.warnings().len(), 1);
    assert_eq!(folder.names(), [0]);
}
