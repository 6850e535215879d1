//! The question, as a person sees it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::gate::{Command, Finding};
use crate::shell::Span;
use crate::stage::{Digest, Network, Pending};

/// Lines of a command that are shown of each end of a long one.
const LINES: usize = 24;

/// Characters of a line that are shown of each end of a long one.
const COLUMNS: usize = 1000;

/// Renders the question for a pending command: the command exactly as it would run, with every character that could
/// deceive spelled out; what was found, and where; and on which terms it would run.
pub fn prompt(pending: &Pending, timeout: Duration) -> String {
    let request = pending.request();
    let findings = &pending.judgement().findings;
    let (text, spans) = whole(&request.command, findings);
    let mut out = String::from("\nexecward: a person must agree before this runs\n\n");
    command(&mut out, &text, &spans);
    for (index, finding) in findings.iter().enumerate() {
        let _ = write!(out, "\n  {}. {}: {}\n", index + 1, shown(&finding.rule), shown(&finding.effect));
        let _ = writeln!(out, "     because  {}", shown(&finding.reason));
        if !finding.hint.is_empty() {
            let _ = writeln!(out, "     instead  {}", shown(&finding.hint));
        }
    }
    let network = match request.terms.network {
        Network::None => "without network",
        Network::Host => "with the host's network",
    };
    let _ = writeln!(out, "\n  in    {}", shown(&request.facts.cwd));
    let _ = writeln!(out, "  under {}, {network}", shown(&request.facts.backend));
    let _ = write!(out, "\nAllow it this once? [y/N] (no answer within {} s is a no) ", timeout.as_secs());
    out
}

/// Renders a command with a line of marks under each line that something was found in; marks carry the number of their
/// finding, from 1.
pub fn marked(text: &str, spans: &[Span]) -> String {
    let mut out = String::new();
    command(&mut out, text, spans);
    out
}

/// The command as one text, and where the findings are in it. Spans of an argv are over its words as they are joined
/// for display.
fn whole(command: &Command, findings: &[Finding]) -> (String, Vec<Span>) {
    (command.display(), findings.iter().map(|finding| finding.span).collect())
}

/// Writes the command with a line of marks under each line that a finding is about. A long one is cut in the middle,
/// and says so, with its length and digest.
fn command(out: &mut String, text: &str, spans: &[Span]) {
    let lines: Vec<&str> = text.split('\n').collect();
    let cut = if lines.len() > 2 * LINES { LINES..lines.len() - LINES } else { 0..0 };
    let mut offset = 0;
    let mut was_cut = !cut.is_empty();
    for (index, line) in lines.iter().enumerate() {
        if cut.contains(&index) {
            if index == cut.start {
                let _ = writeln!(out, "  [... {} lines are not shown ...]", cut.len());
            }
        } else {
            was_cut |= marked_line(out, line, offset, spans);
        }
        offset += line.len() + 1;
    }
    if was_cut {
        let digest = Digest::of(text.as_bytes()).to_hex();
        let _ = writeln!(out, "  [{} bytes in all, sha256 {digest}]", text.len());
    }
}

/// Writes one line and its marks. Says whether it had to be cut.
fn marked_line(out: &mut String, line: &str, offset: usize, spans: &[Span]) -> bool {
    let ranges: Vec<(usize, std::ops::Range<usize>)> = spans
        .iter()
        .enumerate()
        .filter_map(|(index, span)| {
            let start = (span.start as usize).max(offset) - offset;
            let end = (span.end as usize).min(offset + line.len()).checked_sub(offset)?;
            (start < end).then_some((index, start..end))
        })
        .collect();
    // Each character with its place in the rendering: a mark must stand under what is shown, not under what it is.
    let mut cells: Vec<(usize, String)> = Vec::new();
    for (at, character) in line.char_indices() {
        cells.push((at, escaped(character)));
    }
    let cut = cells.len() > 2 * COLUMNS;
    let left_out = if cut { COLUMNS..cells.len() - COLUMNS } else { 0..0 };
    let mut shown = String::from("  ");
    let mut marks = vec![String::from("  "); ranges.len()];
    for (index, (at, cell)) in cells.iter().enumerate() {
        if left_out.contains(&index) {
            if index == left_out.start {
                let note = format!("[... {} characters are not shown ...]", left_out.len());
                marks.iter_mut().for_each(|marks| marks.extend(std::iter::repeat_n(' ', note.len())));
                shown.push_str(&note);
            }
            continue;
        }
        shown.push_str(cell);
        for ((_, range), marks) in ranges.iter().zip(&mut marks) {
            let mark = if range.contains(at) { '^' } else { ' ' };
            marks.extend(std::iter::repeat_n(mark, cell.chars().count()));
        }
    }
    let _ = writeln!(out, "{shown}");
    for ((finding, _), marks) in ranges.iter().zip(&marks) {
        let _ = writeln!(out, "{} {}", marks.trim_end(), finding + 1);
    }
    cut
}

/// Text from elsewhere, on one line, with nothing in it that could deceive.
fn shown(text: &str) -> String {
    text.chars().map(escaped).collect()
}

/// One character as it is shown.
fn escaped(character: char) -> String {
    if character.is_control() { character.escape_unicode().to_string() } else { character.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, spans: &[(u32, u32)]) -> String {
        let spans: Vec<Span> = spans.iter().map(|&(start, end)| Span { start, end }).collect();
        let mut out = String::new();
        command(&mut out, text, &spans);
        out
    }

    #[test]
    fn the_part_that_was_found_is_marked() {
        assert_eq!(rendered("ls; rm -rf x", &[(4, 12)]), "  ls; rm -rf x\n      ^^^^^^^^ 1\n");
    }

    #[test]
    fn marks_follow_what_is_shown() {
        assert_eq!(rendered("\x1b[0m rm", &[(5, 7)]), "  \\u{1b}[0m rm\n            ^^ 1\n");
    }

    #[test]
    fn a_span_over_lines_is_marked_on_each() {
        let expected = "  echo a\n       ^ 1\n  rm b\n  ^^ 1\n    ^^ 2\n";
        assert_eq!(rendered("echo a\nrm b", &[(5, 9), (9, 11)]), expected);
    }

    #[test]
    fn a_long_command_shows_both_ends_and_its_length() {
        let lines: Vec<String> = (0..1000).map(|n| format!("echo {n}")).collect();
        let out = rendered(&lines.join("\n"), &[]);
        assert!(out.contains("  echo 0\n") && out.contains("  echo 999\n"));
        assert!(out.contains("952 lines are not shown"));
        assert!(out.contains("8889 bytes in all, sha256 "), "{out}");
        let out = rendered(&format!("echo {} ; rm -rf /", " ".repeat(10_000)), &[(10_008, 10_016)]);
        assert!(out.contains("rm -rf /") && out.contains("^^^^^^^^ 1"), "{out}");
        assert!(out.contains("bytes in all"));
    }

    #[test]
    fn a_span_past_the_text_marks_nothing() {
        assert_eq!(rendered("ls", &[(7, 9)]), "  ls\n");
        assert_eq!(rendered("", &[(0, 0)]), "  \n");
    }
}
