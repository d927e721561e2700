//! The README's transcripts and its table of operators are what the commands print, decibels apart;
//! `UPDATE_EXPECT=1` rewrites them. Its two set-up commands are run by a new user and by CI.

use std::fs;

use crate::run::{Sandbox, without_decibels};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

#[test]
fn transcripts_are_real() {
    let readme = fs::read_to_string(README).unwrap();
    let sandbox = Sandbox::new();
    let mut written = String::new();
    let mut in_transcript = false;
    let mut n_commands = 0;
    for line in readme.lines() {
        let is_fence = line.starts_with("```");
        in_transcript = (in_transcript && !is_fence) || line == "```console";
        let command = line.strip_prefix("$ mpq ").filter(|_| in_transcript);
        if !in_transcript || command.is_some() || is_fence {
            written += line;
            written += "\n";
        }
        let Some(command) = command else { continue };
        n_commands += 1;
        let inside = command.replace("config.json", "TMP/config.json");
        let ran = sandbox.mpq(&inside.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{command}\n{}", ran.stderr);
        written += &(ran.stderr + &ran.stdout).replace("TMP/", "");
    }
    assert_eq!(n_commands, 4, "commands in the README");
    if without_decibels(&readme) != without_decibels(&written) {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(README, &written).unwrap();
        } else {
            panic!("the README's transcripts should be:\n{written}");
        }
    }
}

#[test]
fn operators_are_those_of_the_table() {
    const BEGIN: &str = "<!-- operators -->\n";
    const END: &str = "<!-- /operators -->\n";
    let readme = fs::read_to_string(README).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = Sandbox::new().mpq(&["ops", "--format", "markdown"]).stdout;
    let expected = format!("\n{expected}\n");
    if found != expected {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(README, [before, BEGIN, &expected, END, after].concat()).unwrap();
        } else {
            panic!("the README's table of operators should be:\n{expected}");
        }
    }
}
