//! What groups may choose: candidates, the target, pins.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use mpq::artifact::{self, Config};
use mpq::pipeline::Settings;
use mpq::quant::{Candidate, Candidates, Pattern, Pin, Target};

use crate::cli::Ui;
use crate::cli::flags::Pair;

/// What groups may choose.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Quantization")]
pub(in crate::cli) struct ChoiceArgs {
    /// Candidates, by commas [default: W4A8,W8A8,W8A16]
    #[arg(long, value_name = "LIST")]
    pub(super) candidates: Option<Candidates>,

    /// Hardware to quantize for, name or file [default: generic]
    ///
    /// Built in are generic, htp, ort-cpu, tflite and tensorrt; a file is of the form that `mpq
    /// schema target` shows, or a quantsim configuration of AIMET.
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) target: Option<String>,

    /// Fix the groups of what matches to a candidate
    ///
    /// The pattern is compared with names of nodes, activations and weights; `*` stands for any
    /// text, `?` for any character, all else for itself.
    #[arg(long = "pin", value_name = "PATTERN=CANDIDATE")]
    pub(super) pins: Vec<Pair<Candidate>>,

    /// Leave the groups of what matches in float
    #[arg(long = "exclude", value_name = "PATTERN", value_parser = pattern)]
    pub(super) excluded: Vec<Pattern>,
}

impl ChoiceArgs {
    pub(in crate::cli) fn candidates(&self) -> Candidates {
        self.candidates.clone().unwrap_or_else(|| Settings::default().candidates)
    }

    /// The target; a warning if it lacks some of the candidates, but not all.
    pub(in crate::cli) fn target(
        &self,
        candidates: &Candidates,
        ui: &Ui,
    ) -> anyhow::Result<Target> {
        let target = match &self.target {
            Some(target) => read_target(target, ui)?,
            None => Settings::default().target,
        };
        let is_lacking = |candidate: &&Candidate| !target.has(**candidate);
        let listed = candidates.as_slice();
        let lacking: Vec<String> =
            listed.iter().filter(is_lacking).map(ToString::to_string).collect();
        if !lacking.is_empty() && lacking.len() < listed.len() {
            let has = target.candidates.iter().flatten().map(ToString::to_string);
            let has = has.collect::<Vec<_>>().join(", ");
            let (name, lacking) = (&target.name, lacking.join(" and no "));
            ui.warn(&format!(
                "target `{name}` has no {lacking}: groups take the nearest more precise\nhint: besides W32A32, --candidates may list {has}"
            ));
        }
        Ok(target)
    }

    /// The first flag that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--candidates", self.candidates.is_some()),
            ("--target", self.target.is_some()),
            ("--pin", !self.pins.is_empty()),
            ("--exclude", !self.excluded.is_empty()),
        ];
        given.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag)
    }

    /// Takes what an earlier result was made with, unless flags tell it.
    pub(super) fn like(&mut self, config: &Config) -> anyhow::Result<()> {
        let candidates = Candidates::new(config.candidates.clone())?;
        self.candidates.get_or_insert(candidates);
        if self.pins.is_empty() && self.excluded.is_empty() {
            let pinned = config.groups.iter().filter(|group| group.pinned);
            let pin =
                |group: &artifact::Group| Pair { name: group.id.clone(), value: group.candidate };
            self.pins = pinned.map(pin).collect();
        }
        if self.target.is_none() {
            let target = &config.settings.target;
            Target::built_in(target).with_context(|| {
                format!("`--like` has target `{target}`\nhint: give its file with --target")
            })?;
            self.target = Some(target.clone());
        }
        Ok(())
    }

    pub(in crate::cli) fn pins(&self) -> Vec<Pin> {
        let pinned = self.pins.iter().map(|pin| Pin::new(Pattern::new(&pin.name), pin.value));
        pinned.chain(self.excluded.iter().cloned().map(Pin::exclusion)).collect()
    }
}

/// Every text is one.
fn pattern(text: &str) -> Result<Pattern, std::convert::Infallible> {
    Ok(Pattern::new(text))
}

/// A built-in target, else a file: ours, or a quantsim configuration of AIMET.
pub(in crate::cli) fn read_target(text: &str, ui: &Ui) -> anyhow::Result<Target> {
    let unknown = match Target::built_in(text) {
        Ok(target) => return Ok(target),
        Err(error) => error,
    };
    let path = Path::new(text);
    if !path.exists() && path.components().count() == 1 && path.extension().is_none() {
        return Err(unknown.into());
    }
    let json = fs::read_to_string(path).with_context(|| format!("cannot read `{text}`"))?;
    let stem = path.file_stem().map_or_else(Default::default, |stem| stem.to_string_lossy());
    let read = Target::read(&json, &stem);
    let (target, notes) = read.with_context(|| format!("cannot use target `{text}`"))?;
    notes.iter().for_each(|note| ui.warn(&format!("target `{text}`: {note}")));
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::Verbosity;

    #[test]
    fn targets() {
        let ui = Ui::new(Verbosity::QUIET);
        assert_eq!(read_target("htp", &ui).unwrap().name, "htp");
        let message = |text| read_target(text, &ui).unwrap_err().to_string();
        let expected = "`generic`, `htp`, `ort-cpu`, `tflite`, `tensorrt` or a file";
        assert_eq!(message("nosuch"), format!("target is `nosuch`, expected {expected}"));
        assert_eq!(message("no/such.json"), "cannot read `no/such.json`");
    }
}
