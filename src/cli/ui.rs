//! [`Ui`]: the one place that prints. Data go to stdout; stderr is for people.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mpq::progress::Progress;

use crate::cli::heartbeat::Heartbeat;
use crate::cli::log;
use crate::cli::phase::{Phase, Reach};
use crate::cli::ticker::Ticker;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Verbosity {
    /// Print only errors and warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Say more of what is done
    #[arg(short, long, global = true)]
    verbose: bool,

    /// Tell progress and messages as JSON, an object a line
    ///
    /// On stderr, in place of what is there for people: `event` is `progress`, `summary`, `detail`, `answer`,
    /// `warning`, `error` or `stopped`, `time` counts seconds since 1970. Progress is told when a phase begins and ends and
    /// every half minute.
    #[arg(long, global = true)]
    json_log: bool,
}

#[cfg(test)]
impl Verbosity {
    pub(super) const QUIET: Verbosity = Verbosity { quiet: true, verbose: false, json_log: false };
}

/// Prints, and shows progress; usable from any thread. Clones are the same one.
#[derive(Clone)]
pub(super) struct Ui {
    shared: Arc<Shared>,
    /// Runs from the first phase on.
    ticker: Arc<Mutex<Option<Ticker>>>,
}

struct Shared {
    verbosity: Verbosity,
    is_terminal: bool,
    colors: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    last_phase: Option<String>,
    /// Steps of all phases that are over, and those of them that were known before.
    total: u64,
    known: u64,
    heartbeat: Option<Heartbeat>,
    warned: BTreeSet<String>,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BOLD: &str = "\x1b[1m";

/// Between two signs of life.
const TICK: Duration = Duration::from_secs(10);

/// Ticks between two lines of progress.
const TICKS_A_LINE: u64 = 3;

impl Ui {
    pub(super) fn new(verbosity: Verbosity) -> Ui {
        let is_terminal = io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colors = is_terminal && !no_color && !verbosity.json_log;
        let shared = Shared { verbosity, is_terminal, colors, state: Mutex::default() };
        Ui { shared: Arc::new(shared), ticker: Arc::default() }
    }

    /// Results, as they are.
    pub(super) fn data(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// What the user learns besides the result.
    pub(super) fn summary(&self, text: &str) {
        if !self.shared.verbosity.quiet {
            self.shared.tell("summary", text);
        }
    }

    /// A summary with a table, the row that begins with `row` bold.
    pub(super) fn summary_with_row(&self, text: &str, row: &str) {
        let is_row = |line: &str| line.split(' ').next() == Some(row);
        let paint =
            |line| if is_row(line) { self.shared.paint(BOLD, line) } else { line.to_owned() };
        self.summary(&text.lines().map(paint).collect::<Vec<_>>().join("\n"));
    }

    /// The answer where it is no result but a no.
    pub(super) fn answer(&self, text: &str) {
        self.shared.tell("answer", text);
    }

    /// What only `-v` tells.
    pub(super) fn detail(&self, text: impl fmt::Display) {
        if self.shared.verbosity.verbose {
            self.shared.tell("detail", &text.to_string());
        }
    }

    /// Something that the user can act on; equal ones are printed once.
    pub(super) fn warn(&self, message: &str) {
        if self.shared.state().warned.insert(message.to_owned()) {
            self.shared.tell_of(("warning", YELLOW), message);
        }
    }

    /// Why it could not be done.
    pub(super) fn error(&self, text: &str) {
        self.finish();
        self.shared.tell_of(("error", RED), text);
    }

    /// How much was known before it was to be measured.
    pub(super) fn resumed(&self) {
        let (known, total) = {
            let state = self.shared.state();
            (state.known, state.total)
        };
        if 0 < known {
            self.summary(&format!("resumed: {known} of {total} steps were in the cache"));
        }
    }

    /// Where it was when the process was told to end.
    pub(super) fn stopped(&self, word: &str, can_go_on: bool) {
        let (phase, last) = {
            let mut state = self.shared.state();
            (state.phase.take(), state.last_phase.take())
        };
        self.finish();
        let place = match (phase.map(|phase| phase.reach(Instant::now())), last) {
            (Some(Reach { phase, done, total, .. }), _) => {
                format!(" in {phase} at {done} of {total}")
            }
            (None, Some(name)) => format!(" after {name}"),
            (None, None) => String::new(),
        };
        let cure = match can_go_on {
            true => "; run the same command again to go on from there",
            false => "",
        };
        self.shared.tell("stopped", &format!("{word}{place}{cure}"));
    }

    /// Gives signs of life from now on, until [`Ui::stop_beating`].
    pub(super) fn beat(&self, heartbeat: Heartbeat) {
        heartbeat.write(None);
        self.shared.state().heartbeat = Some(heartbeat);
        self.tick();
    }

    /// The work is done, well or not: only what is killed leaves a sign of life behind.
    pub(super) fn stop_beating(&self) {
        if let Some(heartbeat) = self.shared.state().heartbeat.take() {
            heartbeat.remove();
        }
    }

    fn tick(&self) {
        let mut ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner);
        ticker.get_or_insert_with(|| {
            let shared = Arc::clone(&self.shared);
            Ticker::start(TICK, move |n| shared.tick(n.is_multiple_of(TICKS_A_LINE)))
        });
    }
}

impl Shared {
    fn has_bars(&self) -> bool {
        self.is_terminal && !self.verbosity.quiet && !self.verbosity.json_log
    }

    fn has_lines(&self) -> bool {
        !self.verbosity.quiet && (!self.is_terminal || self.verbosity.json_log)
    }

    fn tick(&self, has_line: bool) {
        let mut state = self.state();
        let reach = state.phase.as_mut().map(|phase| phase.look(Instant::now()));
        if let Some(heartbeat) = &state.heartbeat {
            heartbeat.write(reach.as_ref());
        }
        drop(state);
        if let Some(reach) = reach.filter(|_| has_line && self.has_lines()) {
            self.line(&match self.verbosity.json_log {
                true => log::progress(&reach),
                false => reach.text(),
            });
        }
    }

    fn paint(&self, color: &str, word: &str) -> String {
        if self.colors { format!("{color}{word}\x1b[0m") } else { word.to_owned() }
    }

    fn tell(&self, event: &str, text: &str) {
        match self.verbosity.json_log {
            true => self.line(&log::message(event, text)),
            false => self.line(text),
        }
    }

    /// The same for people with the word before it.
    fn tell_of(&self, (event, color): (&str, &str), text: &str) {
        match self.verbosity.json_log {
            true => self.line(&log::message(event, text)),
            false => self.line(&format!("{}: {text}", self.paint(color, event))),
        }
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

    /// How far the phase is, where that is told as JSON.
    fn log_phase(&self) {
        let phase = |state: &State| state.phase.as_ref().map(|phase| phase.reach(Instant::now()));
        let reach = phase(&self.state());
        if let Some(reach) = reach.filter(|_| self.verbosity.json_log && self.has_lines()) {
            self.line(&log::progress(&reach));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bars with the time that is left on a terminal, else a line every half minute.
impl Progress for Ui {
    fn begin(&self, phase: &str, total: u64) {
        self.finish();
        self.detail(format_args!("{phase}: {total} steps"));
        self.shared.state().phase = Some(Phase::new(phase, total, Instant::now()));
        self.shared.log_phase();
        self.tick();
        if !self.shared.has_bars() {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = "{msg:16} [{bar:32}] {pos}/{len}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is fixed");
        bar.set_style(style.progress_chars("=> "));
        bar.set_message(phase.to_owned());
        self.shared.state().bar = Some(bar);
    }

    fn advance(&self, steps: u64) {
        let mut state = self.shared.state();
        if let Some(phase) = &mut state.phase {
            phase.advance(steps);
        }
        if let Some(bar) = &state.bar {
            bar.inc(steps);
        }
    }

    fn skip(&self, steps: u64) {
        let mut state = self.shared.state();
        if let Some(phase) = &mut state.phase {
            phase.skip(steps);
        }
        if let Some(bar) = &state.bar {
            bar.inc(steps);
            // What took no time says nothing of what is left.
            bar.reset_eta();
        }
    }

    fn finish(&self) {
        self.shared.log_phase();
        let phase = self.shared.state().phase.take();
        if let Some(phase) = phase {
            let Reach { phase, total, known, .. } = phase.reach(Instant::now());
            let mut state = self.shared.state();
            state.total += total;
            state.known += known;
            state.last_phase = Some(phase.clone());
            drop(state);
            if 0 < known {
                self.detail(format_args!("{phase}: {known} of {total} steps were in the cache"));
            }
        }
        let mut state = self.shared.state();
        if let Some(bar) = state.bar.take() {
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
        let [mut bare, mut colored] = [(); 2].map(|()| Ui::new(Verbosity::QUIET).shared);
        Arc::get_mut(&mut bare).unwrap().colors = false;
        Arc::get_mut(&mut colored).unwrap().colors = true;
        assert_eq!(bare.paint(BOLD, "mpq  0.5"), "mpq  0.5");
        assert_eq!(colored.paint(BOLD, "mpq  0.5"), "\u{1b}[1mmpq  0.5\u{1b}[0m");
    }
}
