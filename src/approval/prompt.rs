//! The question, as a person sees it.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use crate::gate::{Command, Finding, render, render_pieces};
use crate::policy::Network;
use crate::shell::Span;
use crate::stage::{Digest, Pending};

/// Lines of a command that are shown of each end of a long one.
const LINES: usize = 24;

/// Bytes from which a command is said to be long.
const LONG: usize = 2000;

/// Renders the question for a pending command: the command exactly as it would run, with every character that could
/// deceive spelled out; what was found, and where; and on which terms it would run.
pub fn prompt(pending: &Pending, timeout: Duration) -> String {
    let request = pending.request();
    let findings = &pending.judgement().findings;
    let mut out = String::from("\nexecward: a person must agree before this runs\n\n");
    out.push_str(&marked(&request.command, findings));
    for (index, finding) in findings.iter().enumerate() {
        let _ = write!(out, "\n  {}. {}: {}\n", index + 1, render(&finding.rule), finding.effect);
        let _ = writeln!(out, "     because  {}", render(&finding.reason));
        if !finding.hint.is_empty() {
            let _ = writeln!(out, "     instead  {}", render(&finding.hint));
        }
    }
    let network = match &request.terms.profile.network {
        Network::None => "without network",
        Network::Proxy(_) => "with network to the policy's hosts",
        Network::Host => "with the host's network",
    };
    let _ = writeln!(out, "\n  in    {}", render(&request.facts.cwd));
    let _ = writeln!(out, "  under {}, {network}", render(&request.facts.backend));
    let _ = write!(out, "\nAllow it this once? [y/N] (no answer within {} s is a no) ", seconds(timeout));
    out
}

/// Whole seconds, none of them cut short.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Renders a command with a line of marks under each part that something was found in; marks carry the number of their
/// finding, from 1. Of an argv, which is no text until it is shown, a finding marks all.
pub fn marked(command: &Command, findings: &[Finding]) -> String {
    let text = command.display();
    let spans: Vec<Span> = match command {
        Command::Shell(_) => findings.iter().map(|finding| finding.span).collect(),
        Command::Argv(_) => {
            let all = Span { start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) };
            vec![all; findings.len()]
        }
    };
    let mut out = String::new();
    lines(&mut out, &text, &spans);
    out
}

/// Writes the command with a line of marks under each line that a finding is about. A long one is cut in the middle,
/// and says so; its length and digest stand under it, since nobody reads so much at a glance.
fn lines(out: &mut String, text: &str, spans: &[Span]) {
    let lines: Vec<&str> = text.split('\n').collect();
    let cut = if lines.len() > 2 * LINES { LINES..lines.len() - LINES } else { 0..0 };
    let mut offset = 0;
    for (index, line) in lines.iter().enumerate() {
        // A line that something was found in is shown wherever it stands.
        let found = spans.iter().any(|span| overlaps(span, offset, line.len()));
        if cut.contains(&index) && !found {
            if index == cut.start {
                let _ = writeln!(
                    out,
                    "    \\<{} lines left out, but for those that something was found in>",
                    cut.len()
                );
            }
        } else {
            marked_line(out, line, offset, spans);
        }
        offset += line.len() + 1;
    }
    if !cut.is_empty() || text.len() > LONG {
        let digest = Digest::of(text.as_bytes()).to_hex();
        let _ = writeln!(out, "    \\<{} bytes in all, sha256 {digest}>", text.len());
    }
}

fn overlaps(span: &Span, offset: usize, length: usize) -> bool {
    (span.start as usize) < offset + length && offset < span.end as usize
}

/// Writes one line and its marks. The line is rendered in pieces, cut where a finding begins or ends, so that a mark
/// stands under what is shown: a rendering may be longer or shorter than what it renders.
fn marked_line(out: &mut String, line: &str, offset: usize, spans: &[Span]) {
    // Each part once, with the numbers of all that was found in it.
    let mut ranges: Vec<(String, Range<usize>)> = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let start = (span.start as usize).max(offset) - offset;
        let end = (span.end as usize).min(offset + line.len()).saturating_sub(offset);
        match ranges.iter_mut().find(|(_, range)| *range == (start..end)) {
            _ if start >= end => {}
            Some((numbers, _)) => {
                let _ = write!(numbers, " {}", index + 1);
            }
            None => ranges.push((format!("{}", index + 1), start..end)),
        }
    }
    let mut cuts: Vec<usize> = ranges.iter().flat_map(|(_, range)| [range.start, range.end]).collect();
    cuts.extend([0, line.len()]);
    cuts.retain(|&at| line.is_char_boundary(at));
    cuts.sort_unstable();
    cuts.dedup();
    // The bar tells lines of the command from what is said of them, whatever a line looks like.
    let mut text = String::from("  | ");
    let mut marks = vec![String::from("    "); ranges.len()];
    let inner = cuts.get(1..cuts.len().saturating_sub(1)).unwrap_or_default();
    for (from, piece) in cuts.iter().zip(render_pieces(line, inner)) {
        for ((_, range), marks) in ranges.iter().zip(&mut marks) {
            let mark = if range.contains(from) { '^' } else { ' ' };
            marks.extend(std::iter::repeat_n(mark, piece.chars().count()));
        }
        text.push_str(&piece);
    }
    let _ = writeln!(out, "{text}");
    for ((numbers, _), marks) in ranges.iter().zip(&marks) {
        let _ = writeln!(out, "{} {numbers}", marks.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, spans: &[(u32, u32)]) -> String {
        let spans: Vec<Span> = spans.iter().map(|&(start, end)| Span { start, end }).collect();
        let mut out = String::new();
        lines(&mut out, text, &spans);
        out
    }

    #[test]
    fn the_part_that_was_found_is_marked() {
        assert_eq!(rendered("ls; rm -rf x", &[(4, 12)]), "  | ls; rm -rf x\n        ^^^^^^^^ 1\n");
    }

    #[test]
    fn marks_follow_what_is_shown() {
        assert_eq!(rendered("\x1b[0m rm", &[(5, 7)]), "  | \\u{1b}[0m rm\n              ^^ 1\n");
        // A span that does not end on a character marks no less than it.
        assert!(rendered("\u{e9}x", &[(0, 1)]).contains('^'));
    }

    #[test]
    fn a_span_over_lines_is_marked_on_each() {
        let expected = "  | echo a\n         ^ 1\n  | rm b\n    ^^ 1\n      ^^ 2\n";
        assert_eq!(rendered("echo a\nrm b", &[(5, 9), (9, 11)]), expected);
    }

    #[test]
    fn a_long_command_shows_both_ends_and_its_length() {
        let lines: Vec<String> = (0..1000).map(|n| format!("echo {n}")).collect();
        let text = lines.join("\n");
        let middle = u32::try_from(text.find("echo 500").expect("it is there")).expect("it is small");
        let out = rendered(&text, &[(middle, middle + 8)]);
        assert!(out.contains("  | echo 0\n") && out.contains("  | echo 999\n"), "{out}");
        assert!(out.contains("  | echo 500\n    ^^^^^^^^ 1\n"), "{out}");
        assert!(out.contains("952 lines left out") && !out.contains("echo 499"), "{out}");
        assert!(out.contains("8889 bytes in all, sha256 "), "{out}");
    }

    #[test]
    fn blanks_do_not_push_the_end_out_of_sight() {
        let out = rendered(&format!("echo {} ; rm -rf /", " ".repeat(10_000)), &[(10_008, 10_016)]);
        assert!(out.contains("rm -rf /") && out.contains("^^^^^^^^ 1"), "{out}");
        assert!(out.contains("bytes in all"), "{out}");
        assert!(out.lines().all(|line| line.len() < 200), "{out}");
    }

    #[test]
    fn one_part_is_marked_once() {
        assert_eq!(rendered("rm x", &[(0, 4), (3, 4), (0, 4)]), "  | rm x\n    ^^^^ 1 3\n       ^ 2\n");
    }

    #[test]
    fn a_span_past_the_text_marks_nothing() {
        assert_eq!(rendered("ls", &[(7, 9)]), "  | ls\n");
        assert_eq!(rendered("", &[(0, 0)]), "  | \n");
    }
}
