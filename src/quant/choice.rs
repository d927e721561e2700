//! What every group may choose: the candidates that all its operators may take, or a pin.

use std::fmt;

use crate::graph::{Graph, NodeId, ValueId};
use crate::quant::pattern::nearest;
use crate::quant::{Candidate, Candidates, Group, Pin, Placement, Target};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    #[error(transparent)]
    NoCandidate(Box<NoCandidate>),

    #[error("{pin} matches no node and no tensor{}", NearestNames(nearest))]
    PinMatchesNothing { pin: String, nearest: Vec<String> },

    #[error("{pin} matches only what is not quantized: `{names}`")]
    PinMatchesFloat { pin: String, names: String },

    #[error(
        "group `{group}` is pinned to {first} by {first_pin} and to {second} by {second_pin}\n\
         hint: a group is pinned as a whole; `mpq inspect` shows its members"
    )]
    PinsDisagree {
        group: String,
        first: Candidate,
        first_pin: String,
        second: Candidate,
        second_pin: String,
    },

    #[error("{pin} has no weight bits, but group `{group}` has weights (`{weight}`)")]
    PinWithoutWeight { pin: String, group: String, weight: String },

    #[error("the network has no activation to quantize")]
    NothingToQuantize,
}

struct NearestNames<'a>(&'a [String]);

impl fmt::Display for NearestNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            names => write!(f, "\nhint: names like it are `{}`", names.join("`, `")),
        }
    }
}

/// A group for which nothing is left, and all that took part in that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NoCandidate {
    pub group: String,
    /// `name` (operator) of each.
    pub nodes: Vec<String>,
    pub activations: Vec<String>,
    pub weights: Vec<String>,
    /// What was asked for: listed candidates, or those of a pin.
    pub asked: String,
    /// Every rule that refuses one of them.
    pub rules: Vec<String>,
}

/// More members than these are only counted.
const SHOWN: usize = 8;

impl fmt::Display for NoCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no candidate is allowed for group `{}`", self.group)?;
        let parts = [
            ("nodes", &self.nodes),
            ("activations", &self.activations),
            ("weights", &self.weights),
        ];
        for (title, names) in parts {
            let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            match names.len() {
                0 => {}
                n if n <= SHOWN => write!(f, "\n  {title}: {shown}")?,
                n => write!(f, "\n  {title}: {shown} and {} more", n - SHOWN)?,
            }
        }
        write!(f, "\n  {}", self.asked)?;
        self.rules.iter().try_for_each(|rule| write!(f, "\n  {rule}"))?;
        f.write_str("\nhint: add one that is allowed to --candidates, or --exclude the group")
    }
}

/// All that decides what groups may choose.
pub(super) struct Rules<'a> {
    pub(super) graph: &'a Graph,
    pub(super) placement: &'a Placement,
    pub(super) target: &'a Target,
    pub(super) candidates: &'a Candidates,
}

impl Rules<'_> {
    /// Sets the choices of all groups.
    pub(super) fn choose(&self, groups: &mut [Group], pins: &[Pin]) -> Result<(), GroupError> {
        let names = |group: &Group| if pins.is_empty() { Vec::new() } else { self.names(group) };
        let names: Vec<Vec<&str>> = groups.iter().map(names).collect();
        let mut pinned: Vec<Option<(&Pin, Candidate)>> = vec![None; groups.len()];
        for pin in pins {
            let mut is_used = false;
            for (index, group) in groups.iter().enumerate() {
                if !names[index].iter().any(|name| pin.pattern.matches(name)) {
                    continue;
                }
                is_used = true;
                let candidate = self.pinned_candidate(pin, group)?;
                let (first_pin, first) = *pinned[index].get_or_insert((pin, candidate));
                if first != candidate {
                    return Err(GroupError::PinsDisagree {
                        group: group.id.clone(),
                        first,
                        first_pin: first_pin.to_string(),
                        second: candidate,
                        second_pin: pin.to_string(),
                    });
                }
            }
            if !is_used {
                return Err(self.unused(pin, names.iter().flatten().copied()));
            }
        }
        for (group, pin) in groups.iter_mut().zip(pinned) {
            group.choices = self.choices(group, pin)?;
            group.is_pinned = pin.is_some();
        }
        Ok(())
    }

    /// What a pattern may name: the nodes that have to do with the group, with all that is computed as one
    /// with them, its tensors and those that carry their encodings.
    ///
    /// Nodes without a name are called by their output, which a pattern is more likely to mean.
    fn names(&self, group: &Group) -> Vec<&str> {
        let value = |id: ValueId| self.graph.value_name(id);
        let units = self.placement.units.iter();
        let members = self.members(group);
        let units = units.filter(|unit| unit.nodes.iter().any(|id| members.contains(id)));
        let nodes = units.flat_map(|unit| &unit.nodes).filter(|id| {
            let node = self.graph.node(**id);
            let is_nameless = || node.output(0).is_some_and(|id| value(id) == node.name);
            members.contains(id) || !is_nameless()
        });
        let nodes = nodes.map(|&id| self.graph.node(id).name.as_str());
        let carriers = self.graph.value_ids().filter(|&id| {
            self.placement.root(id).is_some_and(|root| group.activations.contains(&root))
        });
        let sites = group.weights.iter().map(|&index| self.placement.weights[index].value);
        let operands = group.operands.iter().map(|&index| self.placement.operands[index].value);
        nodes.chain(carriers.chain(sites).chain(operands).map(value)).collect()
    }

    fn pinned_candidate(&self, pin: &Pin, group: &Group) -> Result<Candidate, GroupError> {
        let Some(&weight) = group.weights.first() else {
            return Ok(Candidate::activation_only(pin.candidate.activation));
        };
        if pin.candidate.weight.is_none() {
            let weight = self.graph.value_name(self.placement.weights[weight].value).to_owned();
            let group = group.id.clone();
            return Err(GroupError::PinWithoutWeight { pin: pin.to_string(), group, weight });
        }
        Ok(pin.candidate)
    }

    fn unused<'a>(&self, pin: &Pin, names: impl Iterator<Item = &'a str>) -> GroupError {
        let nodes = self.graph.nodes().map(|(_, node)| node.name.as_str());
        let values = self.graph.value_ids().map(|id| self.graph.value_name(id));
        let mut floats: Vec<&str> =
            nodes.chain(values).filter(|name| pin.pattern.matches(name)).collect();
        floats.sort_unstable();
        floats.dedup();
        floats.truncate(SHOWN);
        if floats.is_empty() {
            let text = pin.pattern.to_string();
            let nearest = nearest(&text, names).into_iter().map(str::to_owned).collect();
            return GroupError::PinMatchesNothing { pin: pin.to_string(), nearest };
        }
        GroupError::PinMatchesFloat { pin: pin.to_string(), names: floats.join("`, `") }
    }

    fn choices(
        &self,
        group: &Group,
        pin: Option<(&Pin, Candidate)>,
    ) -> Result<Vec<Candidate>, GroupError> {
        let listed = match pin {
            Some((_, candidate)) => vec![candidate],
            None if group.has_weights() => self.candidates.as_slice().to_vec(),
            None => self.candidates.activations(),
        };
        let mut operators: Vec<&str> =
            self.members(group).into_iter().map(|id| self.placement.operator(id)).collect();
        operators.sort_unstable();
        operators.dedup();
        let is_allowed = |&candidate: &Candidate| {
            self.target.has(candidate)
                && operators.iter().all(|operator| self.target.allows(operator, candidate))
        };
        let mut allowed: Vec<Candidate> = listed.iter().copied().filter(is_allowed).collect();
        allowed.sort_by_key(|candidate| std::cmp::Reverse(candidate.precision()));
        if allowed.is_empty() {
            return Err(GroupError::NoCandidate(Box::new(self.refusal(group, pin, &listed))));
        }
        Ok(allowed)
    }

    /// The nodes that read the group's activations or use its weights, such as a Gather from a table.
    fn members(&self, group: &Group) -> Vec<NodeId> {
        let users = group.weights.iter().flat_map(|&index| &self.placement.weights[index].nodes);
        let mut nodes: Vec<NodeId> = group.nodes.iter().chain(users).copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn refusal(
        &self,
        group: &Group,
        pin: Option<(&Pin, Candidate)>,
        listed: &[Candidate],
    ) -> NoCandidate {
        let value = |id: ValueId| format!("`{}`", self.graph.value_name(id));
        let node = |id: NodeId| {
            format!("`{}` ({})", self.graph.node(id).name, self.placement.operator(id))
        };
        let target = &self.target.name;
        let mut rules = Vec::new();
        if let Some(all) = self.target.candidates.as_deref()
            && !listed.iter().all(|&candidate| self.target.has(candidate))
        {
            rules.push(format!("target `{target}` has {} only", texts(all)));
        }
        for id in self.members(group) {
            let operator = self.placement.operator(id);
            for rule in self.target.rules_of(operator) {
                let refuses = listed.iter().any(|&candidate| !rule.allows(candidate));
                let text = format!(
                    "target `{target}` lets {operator} take {} only",
                    texts(&rule.candidates)
                );
                if refuses && !rules.contains(&text) {
                    rules.push(text);
                }
            }
        }
        NoCandidate {
            group: group.id.clone(),
            nodes: self.members(group).into_iter().map(node).collect(),
            activations: group.activations.iter().map(|&id| value(id)).collect(),
            weights: group
                .weights
                .iter()
                .map(|&index| value(self.placement.weights[index].value))
                .collect(),
            asked: match pin {
                Some((pin, _)) => pin.to_string(),
                None => format!("candidates: {}", texts(listed)),
            },
            rules,
        }
    }
}

fn texts(candidates: &[Candidate]) -> String {
    match candidates {
        [] => "float".to_owned(),
        _ => candidates.iter().map(Candidate::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::graph::testing::{net, types};
    use crate::quant::{Groups, OperatorRule};

    fn graph() -> Graph {
        net(&[("x", &[1, 4, 6, 6])])
            .weight("w1", &[4, 4, 1, 1])
            .node("Conv", &["x", "w1"], "c1")
            .node("Relu", &["c1"], "relu")
            .node("Flatten", &["relu"], "flat")
            .node("Softmax", &["flat"], "y")
            .outputs(&["y"])
    }

    fn generic() -> Target {
        Target::built_in("generic").unwrap()
    }

    /// The choices of each group; a pinned one in brackets.
    fn choices(target: &Target, pins: &[&str]) -> Result<Vec<String>, String> {
        let graph = graph();
        let types = types(&graph);
        let placement = Placement::new(&graph, &types, target);
        let candidates = "W4A8,W8A8,W8A16".parse().unwrap();
        let pins: Vec<Pin> = pins.iter().map(|text| Pin::of_text(text)).collect();
        let groups = Groups::new(&graph, &types, &placement, target, &candidates, &pins);
        let text = |group: &Group| {
            let choices: Vec<String> = group.choices.iter().map(Candidate::to_string).collect();
            let choices = choices.join(" ");
            if group.is_pinned { format!("[{choices}]") } else { choices }
        };
        let groups = groups.map_err(|error| error.to_string())?.groups;
        Ok(groups.iter().map(text).collect())
    }

    fn rule(operator: &str, candidate: &str) -> OperatorRule {
        OperatorRule {
            operators: vec![operator.to_owned()],
            candidates: vec![candidate.parse().unwrap()],
        }
    }

    #[test]
    fn pins_by_node_tensor_and_group() {
        for (pins, expected) in [
            (&[][..], ["W8A16 W8A8 W4A8", "A16 A8", "A16 A8"]),
            (&["c1=W6A6"], ["[W6A6]", "A16 A8", "A16 A8"]),
            (&["w1=W6A6"], ["[W6A6]", "A16 A8", "A16 A8"]),
            // As a node it has no name of its own.
            (&["relu=W8A8"], ["W8A16 W8A8 W4A8", "[A8]", "A16 A8"]),
            // Carries the encoding of `relu`.
            (&["flat=A16"], ["W8A16 W8A8 W4A8", "[A16]", "A16 A8"]),
            (&["*=W8A16"], ["[W8A16]", "[A16]", "[A16]"]),
            (&["c?"], ["[W32A32]", "A16 A8", "A16 A8"]),
            (&["x=W8A8", "w*=W8A8"], ["[W8A8]", "A16 A8", "A16 A8"]),
        ] {
            assert_eq!(choices(&generic(), pins).unwrap(), expected, "{pins:?}");
        }
    }

    #[test]
    fn pins_that_cannot_be() {
        let errors = [&["conv9=W8A8"][..], &["c1=W8A8", "w1=W4A8"], &["c1=W8A8", "c1"], &["x=A8"]]
            .map(|pins| choices(&generic(), pins).unwrap_err());
        expect![[r#"
            pin `conv9=W8A8` matches no node and no tensor
            hint: names like it are `c1`, `flat`, `relu`
            group `x` is pinned to W8A8 by pin `c1=W8A8` and to W4A8 by pin `w1=W4A8`
            hint: a group is pinned as a whole; `mpq inspect` shows its members
            group `x` is pinned to W8A8 by pin `c1=W8A8` and to W32A32 by exclusion `c1`
            hint: a group is pinned as a whole; `mpq inspect` shows its members
            pin `x=A8` has no weight bits, but group `x` has weights (`w1`)"#]]
        .assert_eq(&errors.join("\n"));
        let mut target = generic();
        target.keep_float.push("Softmax".to_owned());
        let error = choices(&target, &["flat=A8"]).unwrap_err();
        assert_eq!(error, "pin `flat=A8` matches only what is not quantized: `flat`");
    }

    #[test]
    fn a_target_may_leave_nothing() {
        let mut target = generic();
        target.rules = vec![rule("Softmax", "W4A4"), rule("Conv", "W8A8")];
        let error = choices(&target, &[]).unwrap_err();
        expect![[r#"
            no candidate is allowed for group `relu`
              nodes: `flat` (Flatten), `y` (Softmax)
              activations: `relu`
              candidates: A16, A8
              target `generic` lets Softmax take W4A4 only
            hint: add one that is allowed to --candidates, or --exclude the group"#]]
        .assert_eq(&error);
        // What is excluded or pinned to something allowed needs no candidate.
        let expected = ["W8A8", "[A4]", "A16 A8"];
        assert_eq!(choices(&target, &["flat=A4"]).unwrap(), expected);
        assert_eq!(choices(&target, &["y"]).unwrap(), ["W8A8", "[A32]", "[A32]"]);
        let error = choices(&target, &["c1=W8A16", "y"]).unwrap_err();
        expect![[r#"
            no candidate is allowed for group `x`
              nodes: `c1` (Conv)
              activations: `x`
              weights: `w1`
              pin `c1=W8A16`
              target `generic` lets Conv take W8A8 only
            hint: add one that is allowed to --candidates, or --exclude the group"#]]
        .assert_eq(&error);
        // The table is the Gather's.
        let graph = net(&[])
            .i64_input("ids", &[2])
            .weight("table", &[5, 4])
            .node("Gather", &["table", "ids"], "words")
            .node("Tanh", &["words"], "y")
            .outputs(&["y"]);
        let (types, candidates) = (types(&graph), "W4A8".parse().unwrap());
        let mut gather = generic();
        gather.rules = vec![rule("Gather", "W8A8")];
        let placement = Placement::new(&graph, &types, &gather);
        let error = Groups::new(&graph, &types, &placement, &gather, &candidates, &[]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("lets Gather take W8A8 only"), "{error}");
        target.rules.clear();
        target.candidates = Some(vec!["W4A4".parse().unwrap(), "W2A2".parse().unwrap()]);
        let error = choices(&target, &[]).unwrap_err();
        expect![[r#"
            no candidate is allowed for group `x`
              nodes: `c1` (Conv)
              activations: `x`
              weights: `w1`
              candidates: W8A16, W8A8, W4A8
              target `generic` has W4A4, W2A2 only
            hint: add one that is allowed to --candidates, or --exclude the group"#]]
        .assert_eq(&error);
    }
}
