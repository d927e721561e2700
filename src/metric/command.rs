//! `command:CMD`: a number that the user's own command gives.
//!
//! The outputs of the whole set are written to an `.npz` archive (see [`Collected`]). CMD is run by the
//! shell once for each network, with the archive's path in `$MPQ_OUTPUTS`, and as its last argument
//! unless CMD speaks of `MPQ_OUTPUTS` itself; `$MPQ_SAMPLES` is a file with the name of each sample on
//! a line. It prints one finite number, more being better.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::data::{Collected, NpzError};
use crate::metric::{Created, Metric, MetricDef, MetricError, Reference, Sample, Setup, Unit};

pub(super) const COMMAND: MetricDef =
    MetricDef { name: NAME, reference: Reference::Command, unit: Unit::Number, new: create };

const NAME: &str = "command";
const OUTPUTS: &str = "MPQ_OUTPUTS";
const SAMPLES: &str = "MPQ_SAMPLES";

/// Why the user's command gave no number.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot write the outputs for it")]
    Outputs(#[source] NpzError),

    #[error("cannot write the names of the samples for it")]
    Names(#[source] io::Error),

    #[error("cannot start the shell")]
    Start(#[source] io::Error),

    #[error("it ended with {status}{stderr}")]
    Failed { status: String, stderr: String },

    #[error("it printed nothing, expected a number{stderr}")]
    Nothing { stderr: String },

    #[error("it printed {count} numbers, expected one")]
    Several { count: usize },

    #[error("it printed `{found}`, expected one finite number")]
    NoNumber { found: String },
}

#[derive(Debug)]
struct UserCommand {
    text: String,
    folder: PathBuf,
    /// `None` before the first sample, which tells the outputs' names.
    outputs: Option<Collected>,
    samples: String,
}

fn create(setup: Setup<'_>) -> Created {
    let text = setup.option.map_or("", str::trim);
    if text.is_empty() {
        return Err(MetricError::option(NAME, text, "a shell command, as in `command:CMD`"));
    }
    let (text, folder) = (text.to_owned(), setup.folder.to_owned());
    Ok(Box::new(UserCommand { text, folder, outputs: None, samples: String::new() }))
}

impl UserCommand {
    fn error(&self, source: CommandError) -> MetricError {
        MetricError::Command { command: self.text.clone(), source }
    }

    fn run(&self, outputs: &Collected) -> Result<f64, CommandError> {
        let archive = outputs.write().map_err(CommandError::Outputs)?;
        let names = self.folder.join("samples.txt");
        fs::write(&names, &self.samples).map_err(CommandError::Names)?;
        let output = shell(&self.text)
            .env(OUTPUTS, archive)
            .env(SAMPLES, names)
            .stdin(Stdio::null())
            .output()
            .map_err(CommandError::Start)?;
        number(&output)
    }
}

#[cfg(not(windows))]
fn shell(text: &str) -> Command {
    let mut shell = Command::new("sh");
    let argument = if text.contains(OUTPUTS) { String::new() } else { format!(" \"${OUTPUTS}\"") };
    shell.arg("-c").arg(format!("{text}{argument}"));
    shell
}

#[cfg(windows)]
fn shell(text: &str) -> Command {
    let mut shell = Command::new("cmd");
    let argument = if text.contains(OUTPUTS) { String::new() } else { format!(" \"%{OUTPUTS}%\"") };
    std::os::windows::process::CommandExt::raw_arg(&mut shell, format!("/C {text}{argument}"));
    shell
}

fn number(output: &Output) -> Result<f64, CommandError> {
    let stderr = last_lines(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(CommandError::Failed { status: output.status.to_string(), stderr });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.split_whitespace().collect();
    let numbers: Option<Vec<f64>> = words.iter().map(|word| word.parse().ok()).collect();
    match numbers.as_deref() {
        Some([]) => Err(CommandError::Nothing { stderr }),
        Some(&[number]) if number.is_finite() => Ok(number),
        Some(several @ [_, _, ..]) => Err(CommandError::Several { count: several.len() }),
        _ => Err(CommandError::NoNumber { found: shortened(text.trim()) }),
    }
}

/// What a command said last before it failed, each line indented.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(5)..];
    last.iter().map(|line| format!("\n    {line}")).collect()
}

fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    if shown.len() == text.len() { shown } else { shown + "..." }
}

impl Metric for UserCommand {
    fn add(&mut self, sample: &Sample<'_>) -> Result<(), MetricError> {
        let outputs = match self.outputs.take() {
            Some(outputs) => Ok(outputs),
            None => Collected::new(&self.folder, sample.output_names),
        };
        let added = outputs.and_then(|mut outputs| {
            outputs.add(sample.outputs)?;
            Ok(outputs)
        });
        self.outputs = Some(added.map_err(|source| self.error(CommandError::Outputs(source)))?);
        self.samples.push_str(sample.name);
        self.samples.push('\n');
        Ok(())
    }

    fn value(&self) -> Result<Option<f64>, MetricError> {
        let number = self.outputs.as_ref().map(|outputs| self.run(outputs)).transpose();
        number.map_err(|source| self.error(source))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::metric::create;
    use crate::tensor::Tensor;

    /// What a command says of two samples, or the errors from the outermost inwards.
    fn run(command: &str) -> Result<f64, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut metric = create(&format!("command:{command}"), &dir.path().join("0")).unwrap();
        let outputs = [Tensor::full(&[1, 2], 0_f32)];
        let (output_names, float) = (&["y"][..], &[][..]);
        for name in ["a b.png", "c.png"] {
            let sample = Sample { name, outputs: &outputs, output_names, float, label: None };
            metric.add(&sample).unwrap();
        }
        let text = |error: MetricError| {
            let source = std::error::Error::source(&error).unwrap();
            format!("{error}: {source}")
        };
        metric.value().map(Option::unwrap).map_err(text)
    }

    #[test]
    fn numbers() {
        assert_eq!(run("echo -1.5e1 #"), Ok(-15.));
        // The path is the last argument, or where the command wants it.
        assert_eq!(run("f() { test -s \"$1\" && echo $#; }; f"), Ok(1.));
        assert_eq!(run("wc -c < \"$MPQ_OUTPUTS\" | tr -d ' '").unwrap() as u64, 252);
        assert_eq!(run("grep -c . \"$MPQ_SAMPLES\" #"), Ok(2.));
        assert_eq!(run("grep -c '^a b.png$' \"$MPQ_SAMPLES\" #"), Ok(1.));
    }

    #[test]
    fn refusals() {
        for (command, problem) in [
            ("exit 3 #", "it ended with exit status: 3"),
            ("echo no >&2; exit 1 #", "it ended with exit status: 1\n    no"),
            ("true", "it printed nothing, expected a number"),
            ("echo 1 2 #", "it printed 2 numbers, expected one"),
            ("echo nan #", "it printed `nan`, expected one finite number"),
            ("echo accuracy: 1 #", "it printed `accuracy: 1`, expected one finite number"),
        ] {
            let expected = format!("metric `command:{command}` has no value: {problem}");
            assert_eq!(run(command), Err(expected));
        }
        for text in ["command", "command:", "command: "] {
            let error = create(text, std::path::Path::new("")).unwrap_err().to_string();
            assert!(error.ends_with("expected a shell command, as in `command:CMD`"), "{error}");
        }
    }
}
