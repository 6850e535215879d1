//! A command as people elsewhere are shown it: secrets in it are masked, and what was found in it still stands where it is said.

use crate::audit::record::mask_words;
use crate::gate::{Command, Finding};
use crate::redact::Redactor;
use crate::shell::Span;

/// A command and what was found in it, with secrets masked. The bytes that were judged, and that would run, stay what they are.
pub(super) fn masked(
    command: &Command,
    findings: &[Finding],
    redactor: &Redactor,
) -> (Command, Vec<Finding>) {
    let (command, moved) = match command {
        Command::Shell(text) => {
            let moved = Moved::of(text, redactor);
            let text = moved.as_ref().map_or_else(|| text.clone(), |moved| moved.text.clone());
            (Command::Shell(text), moved)
        }
        Command::Argv(words) => {
            let mut words = words.clone();
            mask_words(&mut words, redactor);
            (Command::Argv(words), None)
        }
    };
    let mut findings = findings.to_vec();
    for finding in &mut findings {
        mask_words(&mut finding.argv, redactor);
        for text in [&mut finding.effect, &mut finding.reason, &mut finding.hint] {
            if let Some((masked, _)) = redactor.masked(text) {
                *text = masked;
            }
        }
        if let Some(moved) = &moved {
            finding.span =
                Span { start: moved.at(finding.span.start, false), end: moved.at(finding.span.end, true) };
        }
    }
    (command, findings)
}

/// A text with masks in it, and where what was in it stands now.
struct Moved {
    text: String,
    /// Where each secret began and ended, and where its mask does.
    places: Vec<[(usize, usize); 2]>,
}

impl Moved {
    /// `None` where there is nothing to mask.
    fn of(text: &str, redactor: &Redactor) -> Option<Self> {
        let (masked, _) = redactor.masked(text)?;
        let mut places = Vec::new();
        let (mut from, mut to) = (0, 0);
        for secret in redactor.find(text.as_bytes()) {
            let (Ok(start), Ok(end)) = (usize::try_from(secret.start), usize::try_from(secret.end)) else {
                break;
            };
            let begin = to + start.saturating_sub(from);
            // A mask ends with the only bracket that closes in it.
            let length = masked.get(begin..).and_then(|rest| rest.find(']')).map_or(0, |at| at + 1);
            places.push([(start, begin), (end, begin + length)]);
            (from, to) = (end, begin + length);
        }
        Some(Self { text: masked, places })
    }

    /// Where a place is now; one within a secret is at an end of its mask.
    fn at(&self, place: u32, is_end: bool) -> u32 {
        let place = place as usize;
        let (mut from, mut to) = (0, 0);
        for [(start, begin), (end, behind)] in &self.places {
            if place <= *start {
                break;
            }
            if place < *end {
                return number(if is_end { *behind } else { *begin });
            }
            (from, to) = (*end, *behind);
        }
        number((to + (place - from)).min(self.text.len()))
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Decision;
    use crate::redact::{Rules, Secret};

    const SECRET: &str = "hunter2-correct-horse";

    fn redactor() -> Redactor {
        Redactor::new(&Rules::builtin(), vec![Secret::new("IT", SECRET)])
    }

    fn finding(start: usize, end: usize) -> Finding {
        Finding {
            rule: "a".to_owned(),
            decision: Decision::Ask,
            span: Span { start: number(start), end: number(end) },
            argv: vec!["curl".to_owned(), "-u".to_owned(), format!("ann:{SECRET}")],
            effect: format!("sends {SECRET}"),
            reason: String::new(),
            hint: String::new(),
            run_under: String::new(),
        }
    }

    #[test]
    fn what_was_found_stands_where_it_is_said() {
        let text = format!("echo {SECRET} {SECRET}; rm -rf src; echo {SECRET}");
        let at = text.find("rm").unwrap();
        let second = text.rfind(SECRET).unwrap();
        let findings = [finding(at, at + 10), finding(0, text.len()), finding(second, second + SECRET.len())];
        let (shown, found) = masked(&Command::Shell(text), &findings, &redactor());
        let Command::Shell(shown) = shown else { panic!("it is text") };
        assert!(!shown.contains(SECRET) && shown.contains("[redacted:value IT"), "{shown}");
        let part =
            |finding: &Finding| shown[finding.span.start as usize..finding.span.end as usize].to_owned();
        assert_eq!(part(&found[0]), "rm -rf src");
        assert_eq!(part(&found[1]), shown);
        assert!(part(&found[2]).starts_with("[redacted:value IT") && part(&found[2]).ends_with(']'));
        assert!(found.iter().all(|finding| !format!("{finding:?}").contains(SECRET)));
    }

    #[test]
    fn words_are_masked_with_the_one_before() {
        let argv =
            Command::Argv(vec!["login".to_owned(), "--password".to_owned(), "s3cr3t-Zx9-long".to_owned()]);
        let (shown, _) = masked(&argv, &[], &redactor());
        assert!(!shown.display().contains("Zx9"), "{}", shown.display());
        let plain = Command::Argv(vec!["ls".to_owned(), "-l".to_owned()]);
        assert_eq!(masked(&plain, &[], &redactor()).0, plain);
    }
}
