//! Text that shows one thing and runs another: anywhere in a request, or in its names alone.

use super::{Task, Walk, program_name};
use crate::gate::Decision;
use crate::gate::text::{self, Deception};
use crate::shell::{RedirectKind, Span, Value};

/// Programs whose words are what they print.
const PRINTING: [&str; 2] = ["echo", "printf"];
/// Programs that are given a message in a word, behind one of these options.
const TOLD: [&str; 9] = ["git", "gh", "glab", "hub", "tea", "hg", "jj", "svn", "sl"];
const MESSAGES: [&str; 6] = ["--message", "--title", "--body", "--notes", "--description", "--subject"];
/// Of forges, where they name no branch.
const SHORT: [&str; 3] = ["-t", "-b", "-d"];
/// Programs that do no more with a here-document than to write it, or take it for a message.
const WRITING: [&str; 12] =
    ["cat", "tee", "git", "gh", "glab", "hub", "tea", "hg", "jj", "wc", "sponge", "less"];

impl Walk<'_> {
    /// Looks at the text of a request.
    pub(super) fn deceptive(&mut self, shown: &str, span: Span) {
        match text::deception(shown) {
            Some(Deception::Anywhere(what)) => self.deceives(what, span),
            Some(Deception::InNames(_)) => self.marked = true,
            None => {}
        }
    }

    /// Looks at the words of a command, where the text holds what is written in messages but deceives in a name.
    pub(super) fn deceptive_words(&mut self, task: &Task) {
        let invocation = &task.invocation;
        let program = program_name(invocation);
        let argv = invocation.argv.as_slice();
        let before = std::iter::once(None).chain(argv.iter().map(Some));
        // `echo a b` with a blank that is none: without quotes it parts words for a reader
        let span = invocation.span.start as usize..invocation.span.end as usize;
        let quoted = self.text.get(span).is_none_or(|source| source.contains(['"', '\'']));
        let is_message = |word: &Value, before| quoted && is_message(program, word, before);
        let words = argv.iter().zip(before).filter(|(word, before)| !is_message(word, *before));
        let redirects = invocation
            .redirects
            .iter()
            .filter(|redirect| redirect.kind != RedirectKind::Here || !WRITING.contains(&program));
        let named = words.map(|(word, _)| word).chain(redirects.map(|redirect| &redirect.target));
        let found = named.into_iter().find_map(|word| text::deception(&word.text()));
        if let Some(Deception::InNames(what) | Deception::Anywhere(what)) = found {
            // once is enough
            self.marked = false;
            self.deceives(what, invocation.span);
        }
    }

    fn deceives(&mut self, what: &str, span: Span) {
        let reason = format!("the text holds {what}: what is shown is not what runs");
        let effect = "shows one thing and runs another".to_owned();
        self.found("text.deceptive", Decision::Ask, span, &[], effect, &reason, "write plain ASCII");
    }
}

/// Whether a word is only printed, or told to others.
fn is_message(program: &str, word: &Value, before: Option<&Value>) -> bool {
    if before.is_none() {
        return false;
    }
    let option = before.and_then(Value::as_str).unwrap_or_default();
    let short = option.starts_with('-') && !option.starts_with("--") && option.ends_with('m');
    let attached = word.prefix().starts_with(b"--")
        && MESSAGES.iter().any(|name| {
            word.prefix().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
        });
    PRINTING.contains(&program)
        || TOLD.contains(&program) && (short || MESSAGES.contains(&option) || attached)
        || matches!(program, "gh" | "glab" | "hub" | "tea") && SHORT.contains(&option)
}
