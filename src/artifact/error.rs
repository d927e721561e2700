//! Why a file could not be taken, and the check of its `schema` key.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::artifact::Artifact;

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },

    #[error("`{file}` is not a valid `{expected}` file")]
    Json { file: String, expected: String, source: serde_json::Error },

    #[error("`{file}` has no `schema` key, expected `{expected}`")]
    NoSchema { file: String, expected: String },

    #[error("`{file}` has schema `{found}`, expected `{expected}`")]
    Schema { file: String, found: String, expected: String },

    #[error(
        "`{file}` has schema `{found}`, which is newer than `{expected}`; a newer mpq reads it"
    )]
    Newer { file: String, found: String, expected: String },

    /// `found` is that of the model which the file was made for.
    #[error("made for a model with SHA-256 `{found}`, expected `{expected}`")]
    Model { found: String, expected: String },
}

/// Every file has this key, whatever else a version of it holds.
#[derive(Deserialize)]
struct SchemaKey {
    schema: Option<String>,
}

pub(super) fn expect_schema<A: Artifact>(file: &str, json: &[u8]) -> Result<(), ArtifactError> {
    let file = file.to_owned();
    let expected = A::schema();
    let found = match serde_json::from_slice::<SchemaKey>(json) {
        Ok(SchemaKey { schema: Some(found) }) => found,
        Ok(SchemaKey { schema: None }) => return Err(ArtifactError::NoSchema { file, expected }),
        Err(source) => return Err(ArtifactError::Json { file, expected, source }),
    };
    if found == expected {
        Ok(())
    } else if version::<A>(&found).is_some_and(|version| A::VERSION < version) {
        Err(ArtifactError::Newer { file, found, expected })
    } else {
        Err(ArtifactError::Schema { file, found, expected })
    }
}

/// The version in a schema of this kind; `None` for other kinds.
fn version<A: Artifact>(schema: &str) -> Option<u32> {
    schema.strip_prefix("mpq/")?.strip_prefix(A::NAME)?.strip_prefix('/')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::path::Path;

    use crate::artifact::{Config, Eval, parse, read};

    fn refused(json: &str) -> String {
        let error = parse::<Eval>("a.json", json.as_bytes()).unwrap_err();
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{error}{cause}")
    }

    #[test]
    fn schemas_are_checked_before_all_else() {
        for (json, message) in [
            (
                r#"{"schema":"mpq/eval/2","whatever":[]}"#,
                "`a.json` has schema `mpq/eval/2`, which is newer than `mpq/eval/1`; a newer mpq \
                 reads it",
            ),
            (
                r#"{"version":"9","schema":"mpq/config/1"}"#,
                "`a.json` has schema `mpq/config/1`, expected `mpq/eval/1`",
            ),
            (
                r#"{"schema":"mpq/eval/0"}"#,
                "`a.json` has schema `mpq/eval/0`, expected `mpq/eval/1`",
            ),
            (
                r#"{"schema":"mpq/evaluation/2"}"#,
                "`a.json` has schema `mpq/evaluation/2`, expected `mpq/eval/1`",
            ),
            (r#"{"layers":3}"#, "`a.json` has no `schema` key, expected `mpq/eval/1`"),
        ] {
            assert_eq!(refused(json), message);
        }
    }

    #[test]
    fn bad_json_is_refused_with_its_place() {
        for (json, message) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            (r#"{"schema":"#, "EOF while parsing a value at line 1 column 10"),
            ("\u{0}\u{1}", "expected value at line 1 column 1"),
            (
                r#"{"schema":"mpq/eval/1","modle":{}}"#,
                "unknown field `modle`, expected one of `schema`, `model`, `data`, `float`, \
                 `quantized` at line 1 column 30",
            ),
            (r#"{"schema":"mpq/eval/1"}"#, "missing field `model` at line 1 column 23"),
        ] {
            let expected = format!("`a.json` is not a valid `mpq/eval/1` file: {message}");
            assert_eq!(refused(json), expected);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read::<Config>(Path::new("none/such.json")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `none/such.json`");
    }
}
