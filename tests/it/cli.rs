//! The command line through the real binary: whole outputs, exit codes, files.

mod bad_data;
mod bad_files;
mod bad_flags;
mod bad_models;
mod broken_graphs;
mod cache;
mod equalize;
mod eval;
mod export;
mod goals;
mod killed;
mod like;
mod output;
mod ranked;
mod report;
mod rounding;
mod search;
mod shards;
mod status;
mod targets;
