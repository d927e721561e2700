//! [`Phase`]: how far a phase of the work is and how long it may still take, as text and as JSON.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Looks that the speed is taken over.
const REMEMBERED: usize = 30;

/// The steps of a phase, looked at now and then.
pub(super) struct Phase {
    name: String,
    total: u64,
    done: u64,
    /// Of what is done, what was known before.
    known: u64,
    began: Instant,
    /// When it was looked at, and what was done then.
    looks: VecDeque<(Instant, u64)>,
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Reach {
    pub(super) phase: String,
    pub(super) done: u64,
    pub(super) total: u64,
    /// Of what is done, what was known before.
    pub(super) known: u64,
    pub(super) elapsed_s: f64,
    /// `None` where nothing tells the speed yet.
    pub(super) left_s: Option<f64>,
}

impl Phase {
    pub(super) fn new(name: &str, total: u64, now: Instant) -> Phase {
        Phase {
            name: name.to_owned(),
            total,
            done: 0,
            known: 0,
            began: now,
            looks: VecDeque::new(),
        }
    }

    pub(super) fn advance(&mut self, steps: u64) {
        self.done += steps;
    }

    /// These took no time.
    pub(super) fn skip(&mut self, steps: u64) {
        self.done += steps;
        self.known += steps;
    }

    /// How far it is, by the speed since the first of the looks that are remembered.
    pub(super) fn look(&mut self, now: Instant) -> Reach {
        if self.looks.len() == REMEMBERED {
            self.looks.pop_front();
        }
        self.looks.push_back((now, self.done));
        self.reach(now)
    }

    pub(super) fn reach(&self, now: Instant) -> Reach {
        let earlier = self.looks.iter().find(|(then, _)| *then < now);
        let (then, done_then) = earlier.copied().unwrap_or((self.began, self.known));
        let speed = (self.done - done_then) as f64 / (now - then).as_secs_f64();
        let left_s = self.total.saturating_sub(self.done) as f64 / speed;
        Reach {
            phase: self.name.clone(),
            done: self.done,
            total: self.total,
            known: self.known,
            elapsed_s: rounded(now - self.began),
            left_s: left_s.is_finite().then(|| left_s.round()),
        }
    }
}

fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.).round() / 10.
}

impl Reach {
    /// Such as `Sensitivity: 1200 of 9856 (12 %), 3 min left`.
    pub(super) fn text(&self) -> String {
        let Reach { phase, done, total, left_s, .. } = self;
        let percent = (100 * done).checked_div(*total).unwrap_or(100);
        let left = left_s.map_or_else(String::new, |s| format!(", {} left", time_text(s)));
        format!("{phase}: {done} of {total} ({percent} %){left}")
    }
}

/// Seconds below two minutes, minutes below two hours.
pub(super) fn time_text(seconds: f64) -> String {
    match seconds {
        s if s < 120. => format!("{s:.0} s"),
        s if s < 7200. => format!("{:.0} min", s / 60.),
        s => format!("{:.1} h", s / 3600.),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cache_had_says_nothing_of_the_speed() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut phase = Phase::new("Sensitivity", 2000, began);
        assert_eq!(phase.reach(began).text(), "Sensitivity: 0 of 2000 (0 %)");
        phase.skip(1000);
        phase.advance(50);
        assert_eq!(phase.look(at(10)).text(), "Sensitivity: 1050 of 2000 (52 %), 3 min left");
        phase.advance(50);
        assert_eq!(phase.look(at(20)).text(), "Sensitivity: 1100 of 2000 (55 %), 3 min left");
        for second in 3..100 {
            phase.advance(1);
            phase.look(at(10 * second));
        }
        let reach = phase.reach(at(990));
        assert_eq!((reach.done, reach.elapsed_s, reach.left_s), (1197, 990., Some(8030.)));
    }

    #[test]
    fn times() {
        let texts = [0., 119.4, 120., 3600., 7200., 100_000.].map(time_text);
        assert_eq!(texts, ["0 s", "119 s", "2 min", "60 min", "2.0 h", "27.8 h"]);
    }

    #[test]
    fn a_phase_of_no_steps_is_done() {
        let now = Instant::now();
        assert_eq!(Phase::new("Nothing", 0, now).reach(now).text(), "Nothing: 0 of 0 (100 %)");
    }
}
