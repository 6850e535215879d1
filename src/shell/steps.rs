//! The commands at the top of a text: which of them surely ran, and which surely succeeded, before another does.

use super::ast::{Id, Kind, Script, Then};

/// A simple command at the top of a text: in no branch, loop, group or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Where it starts.
    pub start: u32,
    /// Commands that `&&` joins have the same.
    chain: u32,
    /// Whether it runs whatever became of those before it.
    always: bool,
    /// Whether its success is asked for by what `&&` joins to it.
    proves: bool,
}

/// The steps of a text, in order. None of a text that was read in part, or that defines functions: what runs when is then not
/// told by where it stands.
pub fn steps(script: &Script) -> Vec<Step> {
    let defines = script.nodes.iter().any(|node| matches!(node.kind, Kind::Function { .. }));
    let mut found = Vec::new();
    if !script.is_whole() || defines {
        return found;
    }
    let mut chain = 0;
    let mut open: Vec<Id> = vec![script.root];
    while let Some(id) = open.pop() {
        let Some(node) = script.node(id) else { continue };
        let Kind::List { items } = node.kind else {
            chain += 1;
            found.extend(simple(script, id, chain, true, false));
            continue;
        };
        // where another list stands around this one, more is looked at than must be
        let mut before = 0;
        let mut then = Then::Next;
        let mut after_or = false;
        for item in script.items.get(items.range()).unwrap_or(&[]) {
            let Some(node) = script.node(item.node) else { continue };
            let joined = then == Then::And;
            after_or = match then {
                Then::And => after_or,
                Then::Or => true,
                Then::Next | Then::Background => false,
            };
            if !joined {
                chain += 1;
            }
            if let Kind::List { .. } = node.kind {
                open.push(item.node);
            }
            // `!` is kept in no node: it stands in front of one, or is the first of its bytes
            let in_front = script.text.get(before as usize..=node.span.start as usize);
            let proves = !after_or && in_front.is_some_and(|between| !last_line(between).contains(&b'!'));
            found.extend(simple(script, item.node, chain, !joined && !after_or, proves));
            (before, then) = (node.span.end, item.then);
        }
    }
    found.sort_by_key(|step| step.start);
    found
}

/// What stands in front of a command on its own line, and on those that a backslash joins to it: further up are the texts of
/// here-documents.
fn last_line(text: &[u8]) -> &[u8] {
    let mut from = text.len();
    while let Some(at) = memchr::memrchr(b'\n', text.get(..from).unwrap_or_default()) {
        if !text.get(..at).unwrap_or_default().ends_with(b"\\") {
            return text.get(at + 1..).unwrap_or_default();
        }
        from = at;
    }
    text
}

/// The simple commands of a pipeline; its success is that of its last, and is told of a pipeline of one alone.
fn simple(script: &Script, id: Id, chain: u32, always: bool, proves: bool) -> Vec<Step> {
    let step = |id: Id, proves| {
        let node = script.node(id)?;
        let simple = matches!(node.kind, Kind::Simple { .. });
        simple.then_some(Step { start: node.span.start, chain, always, proves })
    };
    match script.node(id).map(|node| node.kind) {
        Some(Kind::Pipeline { commands }) => {
            let ids = script.ids(commands);
            ids.iter().filter_map(|id| step(*id, proves && ids.len() == 1)).collect()
        }
        _ => step(id, proves).into_iter().collect(),
    }
}

impl Step {
    /// Whether this one, which stands before the other, surely ran when the other does.
    pub fn ran_before(&self, other: &Self) -> bool {
        self.start < other.start && (self.always || self.proves && self.chain == other.chain)
    }

    /// Whether this one surely succeeded when the other runs.
    pub fn succeeded_before(&self, other: &Self) -> bool {
        self.start < other.start && self.proves && self.chain == other.chain
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, Limits, parse};
    use super::*;

    fn of(text: &str) -> Vec<(bool, bool)> {
        let found = steps(&parse(text, Dialect::Bash, false, Limits::default()).unwrap());
        let last = *found.last().unwrap();
        assert!(text[last.start as usize..].starts_with("rm"), "{text}");
        found.iter().map(|step| (step.ran_before(&last), step.succeeded_before(&last))).collect()
    }

    #[test]
    fn what_ran_before_is_told_by_how_commands_are_joined() {
        for (text, expected) in [
            ("mkdir x && rm x", (true, true)),
            ("mkdir x; rm x", (true, false)),
            ("mkdir x\nrm x", (true, false)),
            ("mkdir x & rm x", (true, false)),
            ("mkdir x || rm x", (true, false)),
            ("! mkdir x && rm x", (true, false)),
            ("mkdir x | cat && rm x", (true, false)),
            ("mkdir x && ls && (cd x && ls) && rm x", (true, true)),
            ("mkdir x && ls || rm x", (true, false)),
        ] {
            assert_eq!(of(text).first(), Some(&expected), "{text}");
        }
        for text in ["true || mkdir x && rm x", "false && mkdir x; rm x", "false && mkdir x || rm x"] {
            assert_eq!(of(text).get(1), Some(&(false, false)), "{text}");
        }
        for text in
            ["if true; then mkdir x; fi; rm x", "(mkdir x) && rm x", "for i in 1; do mkdir x; done; rm x"]
        {
            assert_eq!(of(text).len(), 1, "{text}");
        }
        let defining = parse("f() { :; }; mkdir x && rm x", Dialect::Bash, false, Limits::default()).unwrap();
        assert!(steps(&defining).is_empty());
    }
}
