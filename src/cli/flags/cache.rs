//! Where measurements are kept from one run to the next.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use mpq::cache::{self, Cache, Digester};

use crate::cli::{Ui, interrupt};

/// The folder, or nothing to use none.
const VARIABLE: &str = "MPQ_CACHE";

/// What is kept at most; beyond it, what was used longest ago goes.
const LIMIT_BYTES: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Resources")]
pub(in crate::cli) struct CacheArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// Neither use nor keep measurements
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,

    #[arg(skip)]
    opened: Opened,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FolderArgs {
    /// Keep measurements in a folder for later runs
    ///
    /// A run that was stopped goes on where it was, and one with another budget measures nothing
    /// again. Default: $MPQ_CACHE (empty for none), else the user's cache folder.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// When it is first asked for.
#[derive(Default)]
struct Opened(OnceLock<Option<Arc<Cache>>>);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

impl CacheArgs {
    /// `None` if there is to be none.
    pub(in crate::cli) fn open(&self, ui: &Ui) -> Option<&Cache> {
        let open = || {
            let folder = self.folder.path().filter(|_| !self.no_cache)?;
            let build = build()?;
            // A folder that cannot be tidied can still be used.
            let _ = cache::trim(&folder, LIMIT_BYTES);
            ui.detail(format_args!("cache: {}", folder.display()));
            let cache = Arc::new(Cache::new(&folder, &build, Arc::new(ui.clone())));
            interrupt::keep(&cache);
            Some(cache)
        };
        self.opened.0.get_or_init(open).as_deref()
    }
}

impl FolderArgs {
    /// The flag's, else the variable's, else the user's.
    pub(in crate::cli) fn path(&self) -> Option<PathBuf> {
        if let Some(folder) = &self.cache {
            return Some(folder.clone());
        }
        match env::var_os(VARIABLE) {
            Some(folder) => (!folder.is_empty()).then(|| folder.into()),
            None => users_folder().map(|folder| folder.join("mpq")),
        }
    }
}

/// Where programs keep what they can make again; `None` where there is no such place.
fn users_folder() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        return variable("LOCALAPPDATA");
    }
    let home = || env::home_dir().filter(|path| path.is_absolute());
    if cfg!(target_os = "macos") {
        return home().map(|home| home.join("Library/Caches"));
    }
    variable("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
}

/// Tells this very program from others of its version, which may measure other bytes: by its path, size
/// and time, as its contents take longer to hash than small networks to measure.
fn build() -> Option<String> {
    let program = env::current_exe().ok()?;
    let metadata = fs::metadata(&program).ok()?;
    let time = metadata.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let digester = Digester::new("program").text(&program.to_string_lossy());
    let digester = digester.number(metadata.len()).bytes(&time.as_nanos().to_le_bytes());
    Some(digester.finish().to_string())
}
