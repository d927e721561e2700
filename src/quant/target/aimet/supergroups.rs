//! The section `supergroups`: chains of operators that are computed as one.

use super::Reader;
use super::entry::Entry;
use crate::graph::patterns::Chain;
use crate::quant::target::check::is_operator;
use crate::quant::{Target, TargetError};

impl Reader {
    pub(super) fn supergroups(
        &mut self,
        section: &Entry<'_>,
        target: &mut Target,
    ) -> Result<(), TargetError> {
        for group in section.items()? {
            let mut list: Option<Vec<String>> = None;
            for (name, entry) in group.entries()? {
                match name {
                    "op_list" => {
                        let name = |item: &Entry<'_>| {
                            let name = item.value.as_str().map(str::to_owned);
                            name.ok_or_else(|| item.wrong("the name of an operator"))
                        };
                        list = Some(entry.items()?.iter().map(name).collect::<Result<_, _>>()?);
                    }
                    _ => self.unknown(&entry),
                }
            }
            let list = list.filter(|list| 2 <= list.len());
            let list = list.ok_or_else(|| group.wrong("an `op_list` of two or more"))?;
            self.supergroup(&group.key, &list, target);
        }
        // What is longer is looked for first.
        target.fused.sort_by_key(|chain| std::cmp::Reverse(chain.then.len()));
        Ok(())
    }

    fn supergroup(&mut self, key: &str, list: &[String], target: &mut Target) {
        if let Some(foreign) = list.iter().find(|operator| !is_operator(operator)) {
            self.note(key, &format!("names `{foreign}`, an operator that mpq does not have"));
            return;
        }
        let is_arithmetic =
            |operator: &&String| matches!(operator.as_str(), "Add" | "Sub" | "Mul" | "Div");
        if let Some(operator) = list[1..].iter().find(is_arithmetic) {
            self.note(key, &format!("holds only where {operator} has a constant operand"));
        }
        let chain = |list: &[&String]| Chain {
            heads: vec![list[0].clone()],
            then: list[1..].iter().map(|&operator| vec![operator.clone()]).collect(),
            whole: true,
        };
        let all: Vec<&String> = list.iter().collect();
        target.fused.push(chain(&all));
        // A BatchNormalization is folded into the convolution before it.
        let rest: Vec<&String> = all[1..].to_vec();
        let folded: Vec<&String> =
            rest.into_iter().filter(|operator| *operator != "BatchNormalization").collect();
        if !folded.is_empty() && folded.len() + 1 < all.len() {
            target.fused.push(chain(&[&[all[0]], folded.as_slice()].concat()));
        }
    }
}
