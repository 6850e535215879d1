//! Tests of the whole module: agreement with the real shells, bounds, and the spans.

#![allow(clippy::disallowed_methods)]

use std::process::{Command, Stdio};

use super::*;

const SNIPPETS: &str = include_str!("testdata/snippets.json");

fn snippets() -> Vec<String> {
    serde_json::from_str(SNIPPETS).unwrap()
}

fn read_all(text: &str, dialect: Dialect) -> Result<Script, ParseError> {
    let script = parse(text, dialect, false, Limits::default())?;
    match script.tail {
        Some(error) => Err(error),
        None => Ok(script),
    }
}

/// What a real shell says, or `None` where it is not installed. A shell's own crash or warning is not a syntax error.
fn shell_reads(shell: &str, text: &str) -> Option<bool> {
    let output = Command::new(shell)
        .args(["-n", "-c", "--", text])
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let errors = String::from_utf8_lossy(&output.stderr).to_lowercase();
    let complains = errors.lines().any(|line| {
        (line.contains("error") || line.contains("unexpected")) && !line.contains("here-document")
    });
    Some(output.status.code() == Some(0) && !complains)
}

/// Breaks a snippet a little: drops, doubles, swaps or inserts a fragment.
fn mutate(text: &str, seed: u64) -> String {
    let fragments = [
        ";", "&", "|", "&&", "||", "(", ")", "{ ", "}", "\n", " ", "'", "\"", "`", "$(", "${", "$((", "((", "))", "fi",
        " then ", " do ", "done", "esac", ";;", "<<E\n", "<", ">", "#", "\\", "\\\n", "$", "=", "=(", "[[ ", " ]]", "!",
        "case x in ", "a)", "if ", "for x in ", "while ", "function f ", "f()", "time ", "x", "1", "[", "]", "*", "$'",
    ];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (bound.max(1) as u64)).unwrap()
    };
    let mut chars: Vec<String> = text.chars().map(String::from).collect();
    for _ in 0..=next(2) {
        let at = next(chars.len() + 1);
        match next(4) {
            0 if at < chars.len() => {
                chars.remove(at);
            }
            1 if at < chars.len() => {
                let again = chars[at].clone();
                chars.insert(at, again);
            }
            2 if at < chars.len() => {
                let other = next(chars.len());
                chars.swap(at, other);
            }
            _ => chars.insert(at, fragments[next(fragments.len())].to_owned()),
        }
    }
    chars.concat()
}

/// Counts and lists where the parser and a shell disagree on whether a text is a program.
fn compare(shell: &str, dialect: Dialect, texts: &[String]) -> Option<(Vec<String>, Vec<String>)> {
    let mut accepts = Vec::new();
    let mut rejects = Vec::new();
    for text in texts {
        if text.contains('\0') {
            continue;
        }
        let theirs = shell_reads(shell, text)?;
        let ours = read_all(text, dialect);
        match (theirs, ours) {
            (true, Err(error)) => rejects.push(format!("{text:?}: {error}")),
            (false, Ok(_)) => accepts.push(format!("{text:?}")),
            _ => {}
        }
    }
    Some((accepts, rejects))
}

#[test]
fn agrees_with_bash_on_what_is_a_program() {
    let count = std::env::var("EXECWARD_TEST_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(400usize);
    let base = snippets();
    let mutated: Vec<String> =
        (0..count).map(|n| mutate(&base[n * 7919 % base.len()], n as u64 + 1)).collect();
    for (what, texts, accept_limit, reject_limit) in
        [("written", &base, base.len() / 50, base.len() / 12), ("mutated", &mutated, count / 50, count / 12)]
    {
        let Some((accepts, rejects)) = compare("bash", Dialect::Bash, texts) else {
            println!("SKIPPED: no bash to compare with");
            return;
        };
        println!("{what}: {} texts, {} accepted that bash rejects, {} rejected that bash accepts", texts.len(), accepts.len(), rejects.len());
        for line in &accepts {
            println!("  false accept {line}");
        }
        for line in &rejects {
            println!("  false reject {line}");
        }
        assert!(accepts.len() <= accept_limit, "accepts what bash rejects: {accepts:#?}");
        assert!(rejects.len() <= reject_limit, "rejects what bash accepts: {rejects:#?}");
    }
}

#[test]
fn nesting_is_refused_without_stack_or_time() {
    let run = || {
        for open in ["(", "((", "{ ", "$(", "$((", "${x:-", "\"$(", "`", "\"${x:-\"", "[[ (", "a=(", "$[", "if ", "case x in a) ", "<(", "! (", "x[", "f() { ", "$(`", "while ( ", "<<E$("] {
            let text = open.repeat(10_000);
            assert!(read_all(&text, Dialect::Bash).is_err(), "{open:?}");
            assert!(read_all(&text, Dialect::Posix).is_err(), "{open:?}");
        }
        for (open, close) in [("(", ")"), ("( (", ") )"), ("$(", ")"), ("${x:-", "}"), ("\"$(echo ", ")\""), ("{ ", ";}"), ("$((", "))"), ("echo <(", ")")] {
            let mut accepted = 0;
            for depth in 1..140 {
                let text = format!("{}x{}", open.repeat(depth), close.repeat(depth));
                if read_all(&text, Dialect::Bash).is_ok() {
                    accepted = depth;
                }
            }
            assert!(accepted >= 20, "{open:?} nests only {accepted} deep");
            assert!(accepted <= 100, "{open:?} nests {accepted} deep");
        }
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}
