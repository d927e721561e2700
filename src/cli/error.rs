//! How errors reach the user: the chain as text, hints last, and bugs of ours as an error as well.

use std::any::Any;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::FAILURE;

/// The chain of an error as lines: what, then what caused it, then the cures.
pub(super) fn text(error: &anyhow::Error) -> String {
    let mut lines = Vec::new();
    let mut hints = Vec::new();
    for cause in error.chain() {
        let message = cause.to_string();
        let mut message: Vec<&str> = message.lines().collect();
        message.retain(|line| !line.starts_with("hint: ") || !note(&mut hints, line));
        let message = message.join("\n");
        match lines.last() {
            None => lines.push(message),
            // Some errors say what their source is.
            Some(last) if last.contains(&message) => {}
            Some(_) => lines.push(format!("  caused by: {message}")),
        }
    }
    lines.extend(hints);
    lines.join("\n")
}

/// Keeps a hint; always true.
fn note(hints: &mut Vec<String>, hint: &str) -> bool {
    if !hints.iter().any(|known| known == hint) {
        hints.push(hint.to_owned());
    }
    true
}

/// Whether whoever read our output has gone away.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_closed))
}

/// Does `work`; a panic in it, on whatever thread, comes back as an error that owns up to it.
pub(super) fn catch<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let place = Arc::new(Mutex::new(None));
    let hook = Arc::clone(&place);
    panic::set_hook(Box::new(move |info| {
        let mut place = hook.lock().unwrap_or_else(PoisonError::into_inner);
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let place = place.get_or_insert(location);
        if cfg!(panic = "abort") {
            // Nothing comes back: this is the last chance to say it.
            end(&internal(message(info.payload()), place));
        }
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    drop(panic::take_hook());
    result.unwrap_or_else(|payload| {
        let place = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (message, place) = (message(&*payload), place.unwrap_or_default());
        Err(anyhow::anyhow!(internal(message, &place)))
    })
}

fn internal(message: &str, place: &str) -> String {
    format!("internal error: {message} at {place}; this is a bug of mpq")
}

#[expect(clippy::exit)]
fn end(text: &str) -> ! {
    let _ = writeln!(io::stderr(), "error: {text}");
    std::process::exit(i32::from(FAILURE))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use expect_test::expect;

    use super::*;

    #[test]
    fn hints_come_last() {
        let error = anyhow!("dimension `w` is free\nhint: use --dim")
            .context("cannot open `a`\n  line two\nhint: use --dim");
        expect![[r#"
            cannot open `a`
              line two
              caused by: dimension `w` is free
            hint: use --dim"#]]
        .assert_eq(&text(&error));
    }

    #[test]
    fn nothing_is_said_twice() {
        let error = anyhow!("too large").context("node `a`: too large").context("cannot run");
        expect![[r#"
            cannot run
              caused by: node `a`: too large"#]]
        .assert_eq(&text(&error));
    }

    #[test]
    fn closed_pipes_are_told_from_other_errors() {
        let error = |kind| Err::<(), _>(io::Error::from(kind)).context("writing").unwrap_err();
        assert!(is_closed_pipe(&error(io::ErrorKind::BrokenPipe)));
        assert!(!is_closed_pipe(&error(io::ErrorKind::StorageFull)));
    }

    #[test]
    fn panics_become_errors() {
        let error = catch::<()>(|| panic!("no such {}", "thing")).unwrap_err().to_string();
        let (start, end) = ("internal error: no such thing at ", "; this is a bug of mpq");
        assert!(error.starts_with(start) && error.ends_with(end), "{error}");
        assert!(error.contains("error.rs"), "{error}");
    }
}
