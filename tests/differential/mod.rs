//! execward's reader against the real shells.
//!
//! Words: programs of a grammar are run by bash, which prints what its words become, and read by execward, which says it
//! without running anything. Part of a word may be unknown to execward; what it does know must be what bash did. The
//! programs only assign, expand and filter; they are made here, and no text of a corpus is ever run.

mod compare;
mod grammar;
mod shells;

use std::os::unix::fs::symlink;

use compare::{Outcome, context, outcome};
use execward::shell::{Budget, Dialect, Limits, parse, read};
use shells::Reader;

/// What the programs may start.
const FILTERS: &[&str] =
    &["cat", "tr", "rev", "base64", "xxd", "head", "tail", "sort", "cut", "wc", "sed", "basename", "dirname"];

/// A directory with the filters, and an empty one to run in.
fn ground() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("empty")).unwrap();
    std::fs::create_dir(directory.path().join("bin")).unwrap();
    for filter in FILTERS {
        symlink(format!("/usr/bin/{filter}"), directory.path().join("bin").join(filter)).unwrap();
    }
    directory
}

/// Choices that are the same in every run.
fn choices(count: usize, mut seed: u64) -> Vec<Vec<u8>> {
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut bytes = |_| (0..8 + next() % 40).map(|_| next().to_le_bytes()[2]).collect();
    (0..count).map(&mut bytes).collect()
}

#[test]
fn words_are_what_bash_makes_of_them() {
    let directory = ground();
    let context = context(directory.path());
    let programs: Vec<String> = choices(1500, 0x9e37_79b9_7f4a_7c15)
        .iter()
        .map(|bytes| grammar::words::program(&mut grammar::Choices::new(bytes)))
        .collect();
    let outputs = shells::outputs(&programs, directory.path());
    assert_eq!(outputs.len(), programs.len());
    let (mut same, mut wrong) = (0, Vec::new());
    for (program, (_, printed)) in programs.iter().zip(&outputs) {
        match outcome(program, &context, printed) {
            Outcome::Wrong => wrong.push(program),
            Outcome::Same => same += 1,
            _ => {}
        }
    }
    assert!(same * 2 > programs.len(), "only {same} programs are read in full");
    // Known differences: see the table in tests/differential/README.md. A hundredth is what they come to.
    assert!(wrong.len() * 100 <= programs.len(), "{} programs are read wrongly: {wrong:#?}", wrong.len());
}

/// Programs that were read wrongly once.
#[test]
fn words_that_were_read_wrongly() {
    let directory = ground();
    let context = context(directory.path());
    let programs: Vec<String> = [
        "u=A; printf '<%s>' S \"'${u:+a}\"",
        "x=1; printf '<%s>' S ${x:+rm} ${x+-r}",
        "printf '<%s>' S ${x- } ${x-a b}",
        "printf '<%s>' S .${x=b c}",
        "za=1 zb=2; printf '<%s>' S $z{a,b}",
        "xa=1; printf '<%s>' S {$x,}a",
        "printf '<%s>' S ~{A,} {~,}A ~\\\n/x",
        "printf '<%s>' S 1.{},} a{b}c,d} {} a{,} {a,b}{} {a..c} {a..}",
        "set -- p q; printf '<%s>' S ${@:0:1} ${@: -1} \"${@:2}\"",
        "m=a.b; printf '<%s>' S ${m[@]:1}",
        "read -ra a <<< :~; printf '<%s>' S $a",
        "IFS=,; set -- a b; printf '<%s>' S \"$*\"",
        "printf '<%s>' S $((y=3,y+1)) $y $((a=1,b=a+1,(a+b)*2))",
    ]
    .map(str::to_owned)
    .into();
    let outputs = shells::outputs(&programs, directory.path());
    for (program, (well, printed)) in programs.iter().zip(&outputs) {
        assert!(well, "bash does not run {program:?}");
        let said = || {
            let read = read(program, None, &context, &mut Budget::default()).unwrap();
            read.invocations.iter().map(|call| format!("{:?}", call.argv)).collect::<Vec<_>>()
        };
        let verdict = outcome(program, &context, printed);
        assert!(
            matches!(verdict, Outcome::Same | Outcome::Unknown),
            "{program:?}: {verdict:?}, bash {:?}, execward {:?}",
            String::from_utf8_lossy(printed),
            said()
        );
    }
}

/// What is a program to bash is one to execward and the other way round, over the committed corpus, whole and cut.
#[test]
fn programs_are_what_bash_takes_for_one() {
    compare_programs(Reader::Bash, Dialect::Bash, 500);
}

/// The same for dash, which knows a smaller language.
#[test]
fn programs_are_what_dash_takes_for_one() {
    if !std::path::Path::new("/bin/dash").exists() {
        return crate::support::skip("dash", "there is no /bin/dash");
    }
    compare_programs(Reader::Dash, Dialect::Posix, 500);
}

/// Holds execward's reader against a shell's; one text of so many may be taken for a program by execward alone.
fn compare_programs(reader: Reader, dialect: Dialect, rare: usize) {
    let corpus = include_str!("../corpus/gate.jsonl");
    let mut texts: Vec<String> = Vec::new();
    for (index, line) in corpus.lines().enumerate() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = row["command"].as_str().unwrap();
        texts.push(text.to_owned());
        // A text that ends early, and one with an operator too many.
        let cut = text.char_indices().map(|(at, _)| at).nth(text.chars().count() * (index % 7 + 1) / 8);
        texts.push(text.get(..cut.unwrap_or(0)).unwrap_or_default().to_owned());
        texts.push(text.replacen(' ', [" ; ", " )", " | ", "\n", " \" "][index % 5], 1));
    }
    let accepted = shells::checked(&texts, reader);
    let refused = accepted.iter().filter(|accepted| !**accepted).count();
    assert!(
        refused * 20 > texts.len() && refused < texts.len() / 2,
        "{reader:?} refuses {refused}: is it asked at all?"
    );
    let (mut too_much, mut too_little) = (Vec::new(), Vec::new());
    for (text, by_shell) in texts.iter().zip(accepted) {
        let whole = parse(text, dialect, false, Limits::default()).is_ok_and(|script| script.is_whole());
        match (by_shell, whole) {
            (false, true) => too_much.push(text),
            (true, false) => too_little.push(text),
            _ => {}
        }
    }
    eprintln!("of {} texts, accepted wrongly: {too_much:#?}, refused wrongly: {too_little:#?}", texts.len());
    assert!(too_much.len() * rare <= texts.len(), "{too_much:#?}");
    assert!(too_little.len() * 100 <= texts.len(), "{too_little:#?}");
}
