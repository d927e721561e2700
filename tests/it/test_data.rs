//! Where the real networks and images are.

use std::path::PathBuf;

/// `$MPQ_TEST_DATA`; without it the test named `test` is skipped, which CI may not.
#[allow(clippy::print_stderr)]
pub(crate) fn test_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MPQ_TEST_DATA");
    if folder.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must set MPQ_TEST_DATA");
        eprintln!("SKIPPED: {test}: MPQ_TEST_DATA is not set");
    }
    folder.map(PathBuf::from)
}
