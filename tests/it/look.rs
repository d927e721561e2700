//! The commands that look at a model or at mpq itself: `inspect`, `run`, `ops`, `schema`,
//! `completions`, `man`.

mod inspect;
mod run_model;
mod tables;
