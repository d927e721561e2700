//! The report of a configuration, in [`FORMATS`]: each a file that turns final numbers into text.
//!
//! Nothing in it depends on more than the file: the same configuration gives the same bytes.

mod chart;
mod csv;
mod html;
mod markdown;
mod parts;
mod report;
mod sheet;
mod svg;
#[cfg(test)]
mod testing;

pub use parts::{PARTS, Part};
pub use report::Report;

/// Every format. The one list to extend.
pub const FORMATS: &[Format] = &[html::FORMAT, svg::FORMAT, markdown::FORMAT, csv::FORMAT];

/// One row of the table of formats.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// In `--format`.
    pub name: &'static str,
    /// Of files that are of this format if nothing else is said.
    pub extension: &'static str,
    /// The part that a file is of if nothing else is said; `None` is all of them.
    pub part: Option<&'static str>,
    /// Whether there is anything to show of a part.
    pub shows: fn(&Part) -> bool,
    /// The whole file.
    write: fn(&Report<'_>, &[Part]) -> String,
}

impl Format {
    pub fn find(name: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.name == name)
    }

    pub fn of_extension(extension: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.extension == extension)
    }

    /// The parts that it can show.
    pub fn parts(&self) -> impl Iterator<Item = &'static Part> {
        PARTS.iter().filter(|part| (self.shows)(part))
    }

    /// The file of one part, or of what the format has by default.
    pub fn write(&self, report: &Report<'_>, part: Option<&Part>) -> String {
        match part.or_else(|| Part::find(self.part?)) {
            Some(part) => (self.write)(report, std::slice::from_ref(part)),
            None => (self.write)(report, PARTS),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::testing::flaw;
    use super::*;
    use crate::artifact::{Config, Requested, example};

    /// Names that would be markup, code, or the end of a cell.
    fn hostile() -> Config {
        let mut config = example::config();
        let names =
            ["</script><script>alert(1)</script>", "\"><img src=x onerror='a'>\n|`*\u{202e}"];
        for (group, name) in config.groups.iter_mut().zip(names) {
            group.id = name.to_owned();
            group.activations = vec![name.to_owned(), "x".repeat(200)];
            group.nodes = vec![name.to_owned()];
            group.tied_by = vec![name.to_owned()];
        }
        config.model.file = names[0].to_owned();
        config.curve[1].flip.as_mut().unwrap().group = names[0].to_owned();
        config.conversions[0].node = names[1].to_owned();
        config
    }

    /// What files may be like besides the example.
    fn variants() -> Vec<Config> {
        let mut bare = example::config();
        bare.quality.sqnr_db = None;
        bare.baselines[0].cost.relative_bops = None;
        bare.baselines[0].quality.sqnr_db = None;
        bare.curve[1].measured = None;
        bare.curve[0].predicted_sqnr_db = None;
        bare.chosen_point = None;
        let mut empty = bare.clone();
        empty.curve.clear();
        empty.baselines.clear();
        empty.groups.clear();
        empty.conversions.clear();
        empty.goal.requested.clear();
        let mut extreme = example::config();
        extreme.groups[0].sqnr_db.insert("W4A8".to_owned(), Some(-1e300));
        extreme.groups[0].pinned = true;
        extreme.quality.metrics.insert("top1".to_owned(), 0.75);
        extreme.curve[1].predicted_sqnr_db = Some(f64::MAX);
        extreme.chosen_point = Some(u64::MAX);
        extreme.goal.requested.push(Requested {
            metric: "top1_drop".to_owned(),
            relative: None,
            absolute: Some(0.01),
        });
        vec![example::config(), hostile(), bare, empty, extreme]
    }

    #[test]
    fn pages_and_pictures_are_well_formed_whatever_a_file_holds() {
        for (at, config) in variants().iter().enumerate() {
            let report = Report::new(config);
            for format in FORMATS {
                for part in format.parts().map(Some).chain([None]) {
                    let text = format.write(&report, part);
                    let name = part.map_or("all", |part| part.name);
                    if matches!(format.name, "html" | "svg") {
                        assert_eq!(flaw(&text), None, "{} of {name}, variant {at}", format.name);
                    }
                    assert!(!text.contains("NaN") && !text.contains("inf\""), "{name} {at}");
                    assert_eq!(text, format.write(&report, part), "the same bytes");
                }
            }
        }
    }

    #[test]
    fn names_do_nothing() {
        let html = FORMATS[0].write(&Report::new(&hostile()), None);
        assert!(!html.contains("<script>alert") && !html.contains("<img"), "{html}");
        assert_eq!(html.matches("<script").count(), 2, "the walk and the script");
    }

    #[test]
    fn tables_for_programs() {
        let config = example::config();
        let csv =
            |part| Format::find("csv").unwrap().write(&Report::new(&config), Part::find(part));
        expect![[r#"
            number,group,candidate,pinned,macs,weight_elements,nodes,activations,weights,tied_by
            1,x,W8A8,false,1000,108,conv1,x,conv1.weight,
            2,y,A16,false,0,0,,y,,
        "#]]
        .assert_eq(&csv("groups"));
        expect![[r#"
            point,group,from,to,bops,relative_bops,weight_bytes,predicted_sqnr_db,sqnr_db
            0,,,,128000,1,120,40.1,
            1,x,W8A16,W8A8,64000,0.5,120,31.9,31.2
        "#]]
        .assert_eq(&csv("curve"));
        expect![[r#"
            number,group,candidate,sqnr_db_W8A16,sqnr_db_W8A8,sqnr_db_W4A8,sqnr_db_A16,sqnr_db_A8
            1,x,W8A8,42,33.5,18.2,,
            2,y,A16,,,,,37
        "#]]
        .assert_eq(&csv("sensitivity"));
        assert_eq!(csv("groups"), Format::find("csv").unwrap().write(&Report::new(&config), None));
    }

    #[test]
    fn tables_for_people() {
        let config = example::config();
        let markdown = Format::find("markdown").unwrap().write(&Report::new(&config), None);
        expect![[r#"
            # model.onnx

            ## The result beside uniform candidates

            Every row is a whole configuration; relative costs are fractions of W8A16 everywhere.

            | configuration | BOPs | relative | weights | SQNR | predicted | within budgets |
            | --- | ---: | ---: | ---: | ---: | ---: | --- |
            | W8A8 | 64.0 k | 50.0 % | 120 B | 29.80 dB | 30.10 dB | yes |
            | **chosen** | **64.0 k** | **50.0 %** | **120 B** | **31.20 dB** | **31.90 dB** | **yes** |

            ## Cost against quality

            2 points of the strategy, from precise to cheap, 1 of them measured; each takes one step from the point before.

            | point | group | from | to | BOPs | relative | weights | predicted | measured |
            | ---: | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |
            | 0 |  |  |  | 128 k | 100.0 % | 120 B | 40.10 dB |  |
            | **1** | **x** | **W8A16** | **W8A8** | **64.0 k** | **50.0 %** | **120 B** | **31.90 dB** | **31.20 dB** |

            ## Sensitivity of the groups

            SQNR of the network's outputs with this group alone quantized and all else in float; lower is more sensitive, and below 0 dB the noise is stronger than the signal.

            | # | group | choice | W8A16 | W8A8 | W4A8 | A16 | A8 |
            | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |
            | 1 | x | W8A8 | 42.00 dB | 33.50 dB | 18.20 dB |  |  |
            | 2 | y | A16 |  |  |  | no noise | 37.00 dB |

            ## Bit-widths through the network

            A column for each group, in the order of the network: 1 at W8A8, 1 at A16.

            | # | group | choice | weight bits | activation bits | pinned |
            | ---: | --- | --- | ---: | ---: | --- |
            | 1 | x | W8A8 | 8 | 8 |  |
            | 2 | y | A16 |  | 16 |  |

            ## Where the BOPs and the bytes are

            Before is W8A16 everywhere, after is the chosen configuration; bytes are those of packed weights with their scales.

            | # | group | choice | MACs | BOPs before | after | bytes before | after |
            | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |
            | 1 | x | W8A8 | 1.00 k | 128 k | 64.0 k | 118 B | 118 B |
            | 2 | y | A16 | 0 | 0 | 0 | 0 B | 0 B |
            |  | in no group |  | 0 | 0 | 0 | 2 B | 2 B |
            |  | **all** |  | **1.00 k** | **128 k** | **64.0 k** | **120 B** | **120 B** |

            ## Groups and their members

            A group is an activation, all that is tied to it, and the weights of the operators that read them; all share one choice.

            | # | group | choice | pinned | MACs | weights | operators | other activations | weight tensors | tied by |
            | ---: | --- | --- | --- | ---: | ---: | --- | --- | --- | --- |
            | 1 | x | W8A8 |  | 1.00 k | 108 | conv1 |  | conv1.weight |  |
            | 2 | y | A16 |  | 0 | 0 |  |  |  |  |

            ## Conversions

            1 place where an operator's output has another width than what it reads first.

            | operator | reads | makes | from bits | to bits |
            | --- | --- | --- | ---: | ---: |
            | conv1 | x | y | 8 | 16 |

            ## Settings to reproduce it

            The command takes its settings from the configuration, here `config.json`, and exits with 1 if any group gets another candidate.

            | setting | value |
            | --- | --- |
            | command | mpq search model.onnx --calib PATH --like config.json --expect config.json --budget bops=0.6 |
            | model | model.onnx |
            | model SHA-256 | ab12 |
            | mpq | 0.1.0 |
            | goal | bops=0.6, found bops=0.5 |
            | configurations measured | 0 |
            | gap to the optimum | 0 |
            | candidates | W8A16, W8A8, W4A8 |
            | calibration samples | 256 |
            | calibration SHA-256 | cd34 |
            | preprocessing | mean 0.485, 0.456, 0.406<br>std 0.229, 0.224, 0.225<br>resize 256<br>crop 224, 224<br>filter bilinear<br>channels rgb<br>exact\_size\_as\_is yes<br>layout NCHW |
            | target | generic |
            | range | weights mse, activations mse |
            | weights | per-channel |
            | rounding | method nearest |
            | equalize | no |
            | bias correction | no |
            | sqnr | pooled |
            | rank by | sqnr |
            | outputs | y |
            | strategy | pareto |
            | engine | fast |
            | seed | 0 |
        "#]].assert_eq(&markdown);
    }

    #[test]
    fn pictures_have_what_they_are_about() {
        let config = example::config();
        let report = Report::new(&config);
        let svg = |part| Format::find("svg").unwrap().write(&report, Part::find(part));
        let curve = svg("curve");
        for text in ["point 1 of 1, chosen", "uniform W8A8", "budget bops=0.6", ">chosen</text>"] {
            assert!(curve.contains(text), "{text}: {curve}");
        }
        let sensitivity = svg("sensitivity");
        assert_eq!(sensitivity.matches("2 y\nA16  no noise, chosen\nA8  37.00 dB").count(), 2);
        assert!(svg("bits").contains("<title>1 x\nW8A8</title>"));
        assert!(svg("cost").contains("128 k → 64.0 k"));
    }
}
