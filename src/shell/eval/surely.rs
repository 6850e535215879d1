//! Commands that surely succeed, so that what stands behind them and `&&` surely runs: `cd` to where the command started,
//! which so many texts begin with, and what cannot fail.

use super::super::ast::{Assigned, Id, Kind, PartKind, Script, Slice};
use super::super::{Dialect, Span};
use super::expand::plain;
use super::{Evaluator, Ix, constants};

/// Commands in front of a `cd` that leave the directory where it is and as it is. Any other may have taken it away.
const LEAVE_IT: &[&str] = &[
    ":", "[", "cat", "cd", "cut", "date", "echo", "export", "false", "grep", "head", "jq", "ls", "mkdir",
    "mktemp", "printf", "pwd", "rg", "set", "sort", "tail", "test", "touch", "tr", "true", "uniq", "wc",
    "which",
];
/// Tools that leave it where they are told to do one of these things.
const TOOLS: &[&str] = &["bun", "cargo", "git", "go", "npm", "pnpm", "yarn"];
const TASKS: &[&str] = &[
    "add", "build", "check", "ci", "clippy", "commit", "diff", "fetch", "fmt", "install", "log", "pull",
    "status", "test", "vet",
];
/// Variables that cannot be assigned to.
pub(super) const READ_ONLY: &[&[u8]] = &[
    b"UID",
    b"EUID",
    b"PPID",
    b"SHELLOPTS",
    b"BASHOPTS",
    b"BASH_VERSINFO",
    b"BASH_ALIASES",
    b"POSIXLY_CORRECT",
];
/// Directories that are on every machine.
const EVERYWHERE: &[&str] = &["/", "/tmp"];

impl Evaluator<'_> {
    /// Whether a command of a list surely succeeds. What is not known to, may fail.
    pub(super) fn surely_succeeds(&mut self, script: &Script, id: Id) -> bool {
        if self.line_ends {
            return false;
        }
        let Some(node) = script.node(id).filter(|node| node.redirs.len == 0) else { return false };
        let Kind::Simple { assigns, words } = node.kind else { return false };
        if !self.only_sets(script, assigns) {
            return false;
        }
        let ids = script.ids(words);
        let Some((first, rest)) = ids.split_first() else { return true };
        let Some(name) = script.plain(*first).and_then(|name| std::str::from_utf8(name).ok()) else {
            return false;
        };
        if assigns.len > 0 || self.functions.contains_key(name) || self.aliases.contains_key(name) {
            return false;
        }
        match name {
            ":" | "true" | "echo" => true,
            // of options that are there, in bash
            "set" => {
                let known = |word: &Id| {
                    matches!(
                        script.plain(*word),
                        Some(
                            b"-e" | b"-u" | b"-x" | b"-eu" | b"-ex" | b"-eux" | b"-euo" | b"-o" | b"pipefail"
                        )
                    )
                };
                self.context.dialect == Dialect::Bash && !rest.is_empty() && rest.iter().all(known)
            }
            "cd" => match rest {
                [target] => plain(script, *target).is_some_and(|target| self.stands(target.as_known())),
                _ => false,
            },
            _ => false,
        }
    }

    /// An error that may end a line (`$((1/0))`): what stands behind on it does not run then, and what comes next does.
    pub(super) fn ends_line(&mut self) {
        self.line_ends = true;
    }

    /// Whether an item of a list is the first on a line of the whole text.
    pub(super) fn begins_line(&self, script: &Script, ix: Ix, items: Slice, next: u32) -> bool {
        let outermost = script.node(script.root).is_some_and(|root| match root.kind {
            Kind::List { items: all } => all == items,
            _ => false,
        });
        let all = script.items.get(items.range()).unwrap_or(&[]);
        let span = |index: Option<u32>| {
            let item = all.get(index? as usize)?;
            script.node(item.node).map(|node| node.span)
        };
        let (Some(last), Some(this)) = (span(next.checked_sub(1)), span(Some(next))) else { return false };
        ix == 0 && outermost && script.bytes(Span { start: last.end, end: this.start }).contains(&b'\n')
    }

    fn stands(&mut self, path: Option<&[u8]>) -> bool {
        let Some(path) = path.filter(|path| path.starts_with(b"/")) else { return false };
        for invocation in self.out.invocations.get(self.looked_at..).unwrap_or(&[]) {
            let mut words = invocation.argv.iter().map(|word| word.as_str().unwrap_or_default());
            let leaves = match words.next() {
                Some(name) if TOOLS.contains(&name) => words.next().is_some_and(|task| TASKS.contains(&task)),
                name => name.is_none_or(|name| LEAVE_IT.contains(&name)),
            };
            self.disturbed |= !leaves;
        }
        self.looked_at = self.out.invocations.len();
        if self.disturbed {
            return false;
        }
        // `x/..` may lead through what is not there
        if path.windows(2).any(|pair| pair == b"..") {
            return false;
        }
        let path = constants::normal(path);
        let standing = self.context.standing.iter().map(String::as_str).chain(EVERYWHERE.iter().copied());
        standing.map(str::as_bytes).any(|known| known == path)
    }

    /// Whether assignments set variables and do nothing that may fail.
    fn only_sets(&self, script: &Script, assigns: Slice) -> bool {
        let constant = |word: Id| {
            script.parts(word).iter().all(|part| match part.kind {
                PartKind::Literal | PartKind::AnsiC => true,
                // `$x`, and no operator that may end the shell
                PartKind::Param(id) => script.params.get(id as usize).is_some_and(|param| {
                    param.operand.is_none() && param.subscript.is_none() && !param.indirect
                }),
                _ => false,
            })
        };
        let free = self.read_only.is_empty() && self.attributes.is_empty();
        script.assigns.get(assigns.range()).unwrap_or(&[]).iter().all(|assign| match assign.value {
            Assigned::Word(word) => {
                let name = script.bytes(assign.name);
                free && assign.subscript.is_none() && !READ_ONLY.contains(&name) && constant(word)
            }
            Assigned::Array(_) => false,
        })
    }
}
