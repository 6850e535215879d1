//! What leaves the machine by more than one command: `tar cf - . | curl -T - URL`, `git remote add x URL && git push x`.

use std::rc::Rc;

use super::{Task, Walk, program_name};
use crate::gate::Decision;
use crate::programs::Effect;
use crate::shell::{Input, Invocation, Value};

/// How far back a pipeline is followed, and how many commands of a text are looked at for a remote.
const FARTHEST: usize = 6;
const MOST_REMOTES: usize = 256;

impl Walk<'_> {
    /// Finds a command that sends what others of the text have gathered.
    pub(super) fn leaks(&mut self, task: &Task, effects: &[Effect]) {
        let invocations = self.invocations_of(task);
        let sends = effects.iter().any(|effect| matches!(effect, Effect::Send { .. }));
        let (what, reason) = if sends && is_fed_tree(&task.invocation, invocations, 0) {
            ("sends a whole tree of files", "what is in it goes to the network unseen")
        } else if pushes_to_new_remote(task, invocations) {
            ("sends the repository", "the remote was named by the same text")
        } else {
            return;
        };
        let (span, argv) = (task.invocation.span, std::sync::Arc::clone(&task.invocation.argv));
        let hint = "let a person say where the project goes";
        self.found("opaque.leak", Decision::Ask, span, &argv, what.to_owned(), reason, hint);
    }
}

/// Whether an archive of files arrives on standard input.
fn is_fed_tree(invocation: &Invocation, invocations: &[Rc<Invocation>], depth: usize) -> bool {
    let Input::Pipe(writers) = &invocation.stdin else { return false };
    depth < FARTHEST
        && writers.iter().take(FARTHEST).filter_map(|index| invocations.get(*index)).any(|writer| {
            let words = || writer.argv.iter().skip(1).filter_map(Value::as_str);
            match program_name(writer) {
                "tar" | "gtar" | "bsdtar" => words().any(|word| {
                    word == "--create"
                        || !word.starts_with("--") && word.trim_start_matches('-').starts_with('c')
                }),
                "zip" | "cpio" | "pax" | "7z" | "7za" => true,
                "git" => words().any(|word| matches!(word, "bundle" | "archive" | "fast-export")),
                "gzip" | "bzip2" | "xz" | "zstd" | "lz4" | "pigz" | "base64" | "gpg" | "openssl" | "age"
                | "pv" | "split" | "xxd" | "cat" | "tee" => is_fed_tree(writer, invocations, depth + 1),
                _ => false,
            }
        })
}

/// `git push NAME` after `git remote add NAME URL`.
fn pushes_to_new_remote(task: &Task, invocations: &[Rc<Invocation>]) -> bool {
    if program_name(&task.invocation) != "git" {
        return false;
    }
    let rest: Vec<&str> = task.invocation.argv.iter().skip(1).filter_map(Value::as_str).take(16).collect();
    if !rest.contains(&"push") {
        return false;
    }
    invocations.iter().take(MOST_REMOTES).any(|other| {
        let words: Vec<&str> = other.argv.iter().filter_map(Value::as_str).take(16).collect();
        let Some(at) = words.iter().position(|word| *word == "remote") else { return false };
        let named = words.get(at + 1..).unwrap_or_default();
        program_name(other) == "git"
            && named.first().is_some_and(|verb| matches!(*verb, "add" | "set-url"))
            && named.iter().skip(1).any(|name| !name.starts_with('-') && rest.contains(name))
    })
}
