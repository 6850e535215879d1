//! Tests of the whole module: agreement with the real shells, bounds, and the spans.

#![allow(clippy::disallowed_methods, clippy::indexing_slicing)]

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
        ";",
        "&",
        "|",
        "&&",
        "||",
        "(",
        ")",
        "{ ",
        "}",
        "\n",
        " ",
        "'",
        "\"",
        "`",
        "$(",
        "${",
        "$((",
        "((",
        "))",
        "fi",
        " then ",
        " do ",
        "done",
        "esac",
        ";;",
        "<<E\n",
        "<",
        ">",
        "#",
        "\\",
        "\\\n",
        "$",
        "=",
        "=(",
        "[[ ",
        " ]]",
        "!",
        "case x in ",
        "a)",
        "if ",
        "for x in ",
        "while ",
        "function f ",
        "f()",
        "time ",
        "x",
        "1",
        "[",
        "]",
        "*",
        "$'",
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
    let count =
        std::env::var("EXECWARD_TEST_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(400usize);
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
        println!(
            "{what}: {} texts, {} accepted that bash rejects, {} rejected that bash accepts",
            texts.len(),
            accepts.len(),
            rejects.len()
        );
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

/// Whole scripts as people and agents write them.
#[test]
fn reads_scripts_as_people_write_them() {
    let scripts: Vec<String> = serde_json::from_str(include_str!("testdata/scripts.json")).unwrap();
    let Some((accepts, rejects)) = compare("bash", Dialect::Bash, &scripts) else {
        println!("SKIPPED: no bash to compare with");
        return;
    };
    // `bash -n` does not run the `shopt` that lets the next line be read.
    assert!(accepts.iter().all(|text| text.contains("shopt -s extglob")), "{accepts:#?}");
    // Refused on purpose: a substitution that shares the shell, and here-documents that cannot be told for certain.
    let purpose = ["${ echo", "$(cat <<E)", "cat <<$x"];
    let wrong: Vec<_> =
        rejects.iter().filter(|text| !purpose.iter().any(|known| text.contains(known))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What dash refuses is refused in its dialect, scripts for bash included.
#[test]
fn agrees_with_dash_on_what_is_no_program() {
    let mut texts: Vec<String> = serde_json::from_str(include_str!("testdata/scripts.json")).unwrap();
    texts.extend(snippets());
    let Some((accepts, rejects)) = compare("dash", Dialect::Posix, &texts) else {
        println!("SKIPPED: no dash to compare with");
        return;
    };
    for line in &rejects {
        println!("  false reject {line}");
    }
    println!("dash: {} texts, {} false accepts, {} false rejects", texts.len(), accepts.len(), rejects.len());
    assert!(accepts.len() <= texts.len() / 50, "accepts what dash rejects: {accepts:#?}");
}

#[test]
fn a_file_written_through_a_here_document_may_be_long() {
    let text = format!("cat > out <<'E'\n{}E\n", "some line of text\n".repeat(13_000));
    assert!(text.len() > 220 << 10);
    let found = read(&text, None, &Context::default(), &mut Budget::default()).unwrap();
    assert_eq!(found.invocations.len(), 1);
}

#[test]
fn nesting_is_refused_without_stack_or_time() {
    let run = || {
        for open in [
            "(",
            "((",
            "{ ",
            "$(",
            "$((",
            "${x:-",
            "\"$(",
            "\"${x:-\"",
            "[[ (",
            "a=(",
            "$[",
            "if ",
            "case x in a) ",
            "<(",
            "! (",
            "x[",
            "f() { ",
            "$(`",
            "while ( ",
            "<<E$(",
        ] {
            let text = open.repeat(10_000);
            assert!(read_all(&text, Dialect::Bash).is_err(), "{open:?}");
            let _ = read_all(&text, Dialect::Posix);
        }
        for (open, close) in [
            ("(", ")"),
            ("( (", ") )"),
            ("$(", ")"),
            ("${x:-", "}"),
            ("\"$(echo ", ")\""),
            ("{ ", ";}"),
            ("$((", "))"),
            ("echo <(", ")"),
        ] {
            let mut accepted = 0;
            for depth in 1..140 {
                let text = format!("{}x{}", open.repeat(depth), close.repeat(depth));
                if read_all(&text, Dialect::Bash).is_ok() {
                    accepted = depth;
                }
            }
            assert!(accepted >= 20, "{open:?} nests only {accepted} deep");
            // Parentheses in arithmetic are counted, not nested.
            assert!(accepted <= 100 || open.starts_with('('), "{open:?} nests {accepted} deep");
        }
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

/// The development corpus, where it is at hand: all of it must be read.
#[test]
#[ignore = "needs EXECWARD_TEST_CORPUS"]
fn reads_a_corpus() {
    let Ok(paths) = std::env::var("EXECWARD_TEST_CORPUS") else { return };
    let context = Context {
        cwd: std::sync::Arc::new(Value::known("/home/user/project")),
        home: "/home/user".into(),
        user: "user".into(),
        uid: 1000,
        ..Context::default()
    };
    let mut times = Vec::new();
    for path in paths.split(':') {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let command = row["command"].as_str().unwrap();
            for _ in 0..20 {
                let _ = read(command, None, &context, &mut Budget::default());
            }
            let start = std::time::Instant::now();
            let result = read(command, None, &context, &mut Budget::default());
            times.push((start.elapsed(), command.to_owned()));
            match result {
                Ok(evaluation) if std::env::var("SHOW").is_ok() => {
                    println!("{command:?}");
                    for i in &evaluation.invocations {
                        let argv: Vec<String> = i.argv.iter().map(|v| v.to_string()).collect();
                        println!(
                            "    {argv:?} < {:?} in {} {:?} {:?}",
                            i.stdin,
                            i.cwd,
                            i.origin,
                            i.redirects.iter().map(|r| r.target.to_string()).collect::<Vec<_>>()
                        );
                    }
                    if !evaluation.oddities.is_empty() {
                        println!("    ODD {:?}", evaluation.oddities);
                    }
                }
                Ok(_) => {}
                Err(error) => println!("UNREAD {command:?}: {error}"),
            }
        }
    }
    times.sort();
    println!(
        "median {:?} p90 {:?} p99 {:?} max {:?}",
        times[times.len() / 2].0,
        times[times.len() * 9 / 10].0,
        times[times.len() * 99 / 100].0,
        times.last()
    );
}

/// Fragments that have made parsers quadratic or worse when repeated.
const FRAGMENTS: &[&str] = &[
    "echo x && ",
    "a;",
    "$x",
    "\"$x\"",
    "\"",
    "\"\"",
    "''",
    "((a));",
    "((a);b);",
    "((a)|b);",
    "( (a) );",
    "$((1+1))",
    "$((a);b)",
    "$(a)",
    "`a`",
    "{a,b}",
    "{",
    "}",
    "{a,",
    "[",
    "[a",
    "\\\n",
    "\\",
    "x=1;",
    "x=$x ",
    "x=$x$x;",
    "${x#a}",
    "${x:-y}",
    "f(){ :;};",
    "f(){ f;};f;",
    "cat <<E\nE\n",
    "cat <<E\n",
    "<<E ",
    "for x in a;do :;done;",
    "if a;then x=1;fi;",
    "a|",
    "a&",
    "a>b ",
    "cd a;",
    "cd a&&",
    "exec 3>a;",
    "export a=b;",
    "{ a;};",
    "(a);",
    "case a in b) c;;esac;",
    "[[ a ]];",
    "a=(1 2);",
    "a+=(1);",
    "a[1]=2;",
    "set -- $@ a;",
    "echo a>>f;",
    "eval a;",
    "trap a EXIT;",
    "alias a=b;",
    "~",
    "*",
    "?(",
    "<(a) ",
    ">(a) ",
    "x+=aaaaaaaa;",
    "#\n",
    "#",
    " ",
    "\n",
    ";;",
    "&&",
    "$",
    "$'a'",
    "$'\\",
    "\\`",
    "`\\`",
    "read x<<<a;",
    "echo a|cat|",
    "! ",
    "time ",
    "coproc a;",
    "function f { :;};",
    "${x/a/b}",
    "${x//a}",
    "${",
    "$[1]",
    "a\\\nb",
    "1>2 ",
    "{x}>a ",
    "a=b c=d;",
    "local x=1;",
    "while a;do x=$x;done;",
    "select a in b;do :;done;",
    "x() (a);",
    "((",
    "$((",
    "'a' ",
    "é",
    "a[",
    "=(",
    "x=(",
    "x[",
    "echo $((x=x+1));",
    "unset x;",
    "pushd a;",
    "popd;",
    "printf -v x %s a;",
    "${x[1]}",
    "${!x}",
    "${#x}",
    "<<-E\n\tE\n",
    "f $x;",
    "~:",
    "x=~:",
    "a b ",
];

/// What a text costs, in counts that no load on the machine can change: steps of reading, steps of evaluation, and
/// bytes of what comes out.
fn cost(text: &str) -> (usize, usize, usize) {
    let mut budget = Budget::default();
    let (script, reading) = parse::counted(text, Dialect::Bash, false, budget.limits);
    let Ok(script) = script else { return (reading, 0, 0) };
    let before = budget.steps;
    let found = evaluate(script, None, &Context::default(), &mut budget);
    let answer = found.map_or(0, |found| serde_json::to_vec(&found).unwrap().len());
    (reading, before - budget.steps, answer)
}

/// Reading and evaluation grow with the text; where evaluation would grow faster the budget refuses it, and no answer
/// is larger than what was paid for.
#[test]
fn cost_grows_with_the_text() {
    let mut wrong = Vec::new();
    for fragment in FRAGMENTS {
        for prefix in ["", "echo \"", "cat <<E\n"] {
            let text = format!("{prefix}{}", fragment.repeat(32_000 / fragment.len()));
            let (reading, steps, answer) = cost(&text);
            let paid = text.len() + steps;
            if reading > 16 * text.len() || answer > 512 * paid {
                wrong.push(format!("{prefix:?} {fragment:?}: {reading} {steps} {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_deepest_text_is_walked_on_a_small_stack() {
    let run = || {
        for (open, close) in [
            ("(", ")"),
            ("( (", ") )"),
            ("$(", ")"),
            ("${x:-", "}"),
            ("\"$(echo ", ")\""),
            ("{ ", ";}"),
            ("$((", "))"),
            ("echo <(", ")"),
            ("\"${x:-", "}\""),
            ("${x:-$(", ")}"),
            ("${x[", "]}"),
            ("${x/a/", "}"),
            ("if a; then ", ";fi"),
            ("while a; do x=1;", ";done"),
            ("f() { ", ";}"),
            ("eval \"$(echo ", ")\""),
            ("$[", "]"),
            ("{a,", "}"),
            ("case a in b) ", ";; esac"),
        ] {
            for depth in
                [1, 5, 10, 15, 20, 24, 30, 32, 40, 48, 49, 50, 60, 70, 80, 90, 95, 96, 97, 98, 99, 100]
            {
                let text = format!("echo x; {}x{}", open.repeat(depth), close.repeat(depth));
                let _ = read(&text, None, &Context::default(), &mut Budget::default());
            }
        }
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}|[a-c$(){}\\[\\]<>|&;'\"`\\\\ \n=#*?!~@%^/:,.+-]{0,60}") {
        for dialect in [Dialect::Bash, Dialect::Posix] {
            let context = Context { dialect, ..Context::default() };
            if let Ok(found) = read(&text, None, &context, &mut Budget::default()) {
                for invocation in &found.invocations {
                    let span = invocation.span;
                    proptest::prop_assert!(span.start <= span.end && span.end as usize <= text.len(), "{span:?} of {text:?}");
                }
            }
        }
    }

    #[test]
    fn broken_programs_are_read_or_refused(which in 0usize..700, seed in 1u64..) {
        let base = snippets();
        let text = mutate(&base[which % base.len()], seed);
        for dialect in [Dialect::Bash, Dialect::Posix] {
            let context = Context { dialect, ..Context::default() };
            if let Ok(found) = read(&text, None, &context, &mut Budget::default()) {
                for invocation in &found.invocations {
                    let span = invocation.span;
                    proptest::prop_assert!(span.start <= span.end && span.end as usize <= text.len(), "{span:?} of {text:?}");
                }
            }
        }
    }
}

/// Timings of a release build: `cargo test --release --lib shell::tests::timings -- --ignored --nocapture`.
#[test]
#[ignore = "prints timings"]
fn timings() {
    let time = |what: &str, text: &str| {
        let start = std::time::Instant::now();
        let result = read(text, None, &Context::default(), &mut Budget::default());
        let outcome = result.map(|found| found.invocations.len()).map_err(|error| error.to_string());
        println!("{what:24} {:>12?} {outcome:?}", start.elapsed());
    };
    time("128 KiB of echo x &&", &format!("{}echo x", "echo x && ".repeat(13_100)));
    for fragment in ["(", "((", "( (", "$(", "\"$(", "{ ", "${x:-", "`$(", "$((", "{a,", "'", "\"", "a=("] {
        time(&format!("10,000 of {fragment}"), &fragment.repeat(10_000));
    }
    for fragment in FRAGMENTS {
        let text = fragment.repeat(120_000 / fragment.len());
        let start = std::time::Instant::now();
        let _ = read(&text, None, &Context::default(), &mut Budget::default());
        if start.elapsed() > std::time::Duration::from_millis(30) {
            time(&format!("120 KB of {fragment:?}"), &text);
        }
    }
}
