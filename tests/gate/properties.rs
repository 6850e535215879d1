//! What must hold of every wrapper, of every way to write a command, and of a table that somebody adds.

use execward::gate::Decision;
use execward::programs::{Knowledge, effects, notation};
use execward::shell::{Budget, Context, read};
use proptest::prelude::*;

use super::judge;

/// Commands of the hardline list without a quote in them; judged, and never run.
const BLOCKED: &[&str] = &[
    "rm -rf /usr",
    "rm -r -f --no-preserve-root /",
    "mkfs.ext4 /dev/sda1",
    "dd if=/dev/zero of=/dev/sda",
    "chmod -R 000 /etc",
    "find /etc -delete",
    "shred /dev/nvme0n1",
    "mv /usr /tmp/x",
];

/// Every starter of the tables, with whether it takes text: the examples in which the command `rm x` is started are
/// its grammar.
fn starters() -> Vec<(String, String, bool)> {
    let knowledge = Knowledge::shipped();
    let mut found = Vec::new();
    for (program, command, expected) in knowledge.examples() {
        // what a guess, a variable or another directory adds is not the command as it stands
        // and what stands between slashes cannot hold a path
        // heroku(1) takes options behind the command for its own
        if program == "heroku"
            || command.matches("rm x").count() != 1
            || command.contains("rm x.")
            || command.contains("/rm x/")
        {
            continue;
        }
        if expected.contains("exec [rm x]") {
            found.push((program.to_owned(), command.to_owned(), false));
        } else if expected.contains("script sh 'rm x'") || expected.contains("script bash 'rm x'") {
            found.push((program.to_owned(), command.to_owned(), true));
        }
    }
    found
}

#[test]
fn a_blocked_command_stays_blocked_behind_every_starter_of_the_tables() {
    let starters = starters();
    assert!(starters.len() > 150, "only {} starters have an example with `rm x`", starters.len());
    let mut wrong = Vec::new();
    for (program, command, _) in &starters {
        for blocked in BLOCKED {
            let text = command.replace("rm x", blocked);
            let decision = judge(&text).decision;
            if decision != Decision::Hardline {
                wrong.push(format!("{program}: `{text}` is {}", decision.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), starters.len() * BLOCKED.len(), wrong.join("\n"));
}

/// One more layer around a text for bash that does the same. (`sh` would refuse what another layer is written in.)
fn around(layer: u8, text: &str) -> String {
    let quoted = shell_words::quote(text);
    match layer % 18 {
        0 => format!("bash -c {quoted}"),
        1 => format!("eval {quoted}"),
        2 => format!("echo {quoted} | bash"),
        3 => format!("bash <<< {quoted}"),
        4 => format!("bash <<'END_OF_IT'\n{text}\nEND_OF_IT"),
        5 => format!("f() {{\n{text}\n}}; f"),
        6 => format!("(\n{text}\n)"),
        7 => format!("if true; then\n{text}\nfi"),
        8 => format!("x=$(\n{text}\n)"),
        9 => format!("true && {{\n{text}\n}} | cat"),
        10 => format!("v={quoted}; eval \"$v\""),
        11 => format!("printf '%s\\n' {quoted} > s.sh; chmod +x s.sh; ./s.sh"),
        12 => format!("cat > s.sh <<'END_OF_IT'\n{text}\nEND_OF_IT\nbash s.sh"),
        13 => format!("sudo env A=1 timeout 5 nice bash -c {quoted}"),
        14 => format!("for i in 1 2; do\n{text}\ndone"),
        15 => format!("trap {quoted} EXIT"),
        16 => format!("bash <(echo {quoted})"),
        // with -I a line is read at a time, and no quote goes on over its end
        _ if text.contains('\n') => format!("bash -c {quoted}"),
        _ => format!("xargs -I{{}} bash -c {{}} <<< {}", shell_words::quote(&quoted)),
    }
}

/// A command with its words written in another way.
fn spelled(way: u8, command: &str) -> String {
    let word = |word: &str| match way % 6 {
        0 => word.to_owned(),
        1 => format!("'{word}'"),
        2 => format!("\"{word}\""),
        3 => word
            .chars()
            .map(
                |letter| {
                    if letter.is_ascii_alphanumeric() { format!("\\{letter}") } else { letter.to_string() }
                },
            )
            .collect(),
        4 => {
            let (first, rest) = word.split_at(1);
            format!("{first}\"\"'{rest}'")
        }
        _ => format!("$'{}'", word.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>()),
    };
    command.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn compositions_stay_blocked(
        blocked in prop::sample::select(BLOCKED.to_vec()),
        way in 0u8..6,
        layers in prop::collection::vec(0u8..18, 0..4),
    ) {
        // a here-document within another of the same name ends with the inner one
        let documents = layers.iter().filter(|layer| matches!(**layer, 4 | 12)).count();
        prop_assume!(documents <= 1);
        let text = layers.iter().fold(spelled(way, blocked), |text, layer| around(*layer, &text));
        prop_assert_eq!(judge(&text).decision, Decision::Hardline, "{}", text);
    }
}

#[test]
fn a_program_is_added_by_a_table_alone() {
    let table = r#"
[obliterate]
aliases = "obl"
options = "-n,--dry-run -d,--dir= --then="
effects = ["delete @* recursive if !-n", "delete --dir recursive", "script sh --then"]
examples = [["obliterate -n x", ""], ["obl --dir d x --then 'rm y'", "delete -r x; delete -r d; script sh 'rm y'"]]
"#;
    let knowledge = Knowledge::read(table).unwrap();
    let said = |command: &str| {
        let evaluation = read(command, None, &Context::default(), &mut Budget::default()).unwrap();
        effects(&evaluation.invocations[0], &knowledge)
            .iter()
            .map(notation::brief)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let examples = knowledge.examples();
    assert_eq!(examples.len(), 2);
    for (_, command, expected) in examples {
        assert_eq!(said(command), expected, "{command}");
    }
    assert_eq!(said("obliterate --dry-runn x"), "delete -r x; unreadable obliterate --dry-runn");
    let mistake =
        Knowledge::read("[x]\noptions = \"-a\"\neffects = [\"vanish @*\"]\n").unwrap_err().to_string();
    assert!(mistake.contains("vanish"), "{mistake}");
}
