//! [`Ui`]: the one place that prints. Data go to stdout; stderr is for people.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mpq::progress::Progress;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Verbosity {
    /// Print only errors and warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Say more of what is done
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[cfg(test)]
impl Verbosity {
    pub(super) const QUIET: Verbosity = Verbosity { quiet: true, verbose: false };
}

/// Prints, and shows progress; usable from any thread.
pub(super) struct Ui {
    verbosity: Verbosity,
    is_terminal: bool,
    colors: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    warned: BTreeSet<String>,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BOLD: &str = "\x1b[1m";

impl Ui {
    pub(super) fn new(verbosity: Verbosity) -> Ui {
        let is_terminal = io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ui { verbosity, is_terminal, colors: is_terminal && !no_color, state: Mutex::default() }
    }

    /// Results, as they are.
    pub(super) fn data(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// What the user learns besides the result.
    pub(super) fn summary(&self, text: &str) {
        if !self.verbosity.quiet {
            self.line(text);
        }
    }

    /// A summary with a table, the row that begins with `row` bold.
    pub(super) fn summary_with_row(&self, text: &str, row: &str) {
        let is_row = |line: &str| line.split(' ').next() == Some(row);
        let paint = |line| if is_row(line) { self.paint(BOLD, line) } else { line.to_owned() };
        self.summary(&text.lines().map(paint).collect::<Vec<_>>().join("\n"));
    }

    /// The answer where it is no result but a no.
    pub(super) fn answer(&self, text: &str) {
        self.line(text);
    }

    /// What only `-v` tells.
    pub(super) fn detail(&self, text: impl fmt::Display) {
        if self.verbosity.verbose {
            self.line(&text.to_string());
        }
    }

    /// Something that the user can act on; equal ones are printed once.
    pub(super) fn warn(&self, message: &str) {
        if self.state().warned.insert(message.to_owned()) {
            self.line(&format!("{}: {message}", self.paint(YELLOW, "warning")));
        }
    }

    /// Why it could not be done.
    pub(super) fn error(&self, text: &str) {
        self.finish();
        self.line(&format!("{}: {text}", self.paint(RED, "error")));
    }

    fn paint(&self, color: &str, word: &str) -> String {
        if self.colors { format!("{color}{word}\x1b[0m") } else { word.to_owned() }
    }

    /// A closed stderr is no reason to stop.
    fn line(&self, text: &str) {
        let print = || {
            let _ = writeln!(io::stderr(), "{text}");
        };
        let bar = self.state().bar.clone();
        match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bars with the time that is left, on a terminal only.
impl Progress for Ui {
    fn begin(&self, phase: &str, total: u64) {
        self.finish();
        self.detail(format_args!("{phase}: {total} steps"));
        if !self.is_terminal || self.verbosity.quiet {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = "{msg:16} [{bar:32}] {pos}/{len}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is fixed");
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(phase.to_owned());
        self.state().bar = Some(bar);
    }

    fn advance(&self, steps: u64) {
        if let Some(bar) = &self.state().bar {
            bar.inc(steps);
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn warn(&self, message: &str) {
        Ui::warn(self, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_colored_on_a_terminal_only() {
        let mut ui = Ui::new(Verbosity::QUIET);
        assert_eq!(ui.paint(BOLD, "mpq  0.5"), "mpq  0.5");
        ui.colors = true;
        assert_eq!(ui.paint(BOLD, "mpq  0.5"), "\u{1b}[1mmpq  0.5\u{1b}[0m");
    }
}
