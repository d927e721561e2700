//! [`Ticker`]: does something now and then while the work goes on.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that is stopped when this is dropped.
pub(super) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `tick` with 1, 2, 3, ... after each `interval`; never where no thread can be had.
    pub(super) fn start(interval: Duration, tick: impl Fn(u64) + Send + 'static) -> Ticker {
        let (stop, stopped) = channel();
        let run = move || {
            let mut n = 0;
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                n += 1;
                tick(n);
            }
        };
        let thread = std::thread::Builder::new().name("ticker".to_owned()).spawn(run);
        Ticker { stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A tick that panicked has nothing more to tell.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_until_it_is_dropped() {
        let (sender, ticks) = channel();
        let ticker = Ticker::start(Duration::from_millis(1), move |n| sender.send(n).unwrap());
        assert_eq!((ticks.recv(), ticks.recv()), (Ok(1), Ok(2)));
        drop(ticker);
        assert!(ticks.iter().count() < usize::MAX, "the sender is gone");
    }
}
