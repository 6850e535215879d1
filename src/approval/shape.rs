//! The shape of a command: what a standing grant covers beyond the command that it was given for.
//!
//! A shape is made of words, never of text. Widening replaces paths below the workspace by paths below the workspace and
//! nothing else: each flag that was not there stays excluded, and so does every command that starts another or runs a
//! file, since there an operand is code. What fits a shape has still been judged by itself, and is covered only where the
//! rules that ask are those that asked before.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use crate::gate::{self, Command, Facts, render};
use crate::programs::Effect;
use crate::wire::rpc::{Shape, Slot, Width};

/// The words of a command, where whatever runs it reads it as just these: an argv, or text in which no character means
/// anything to a shell.
fn words(command: &Command) -> Option<Vec<String>> {
    match command {
        Command::Argv(argv) => Some(argv.clone()),
        Command::Shell(text) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || " ./_-+,:=@".contains(c);
            let words: Vec<String> =
                text.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect();
            // A first word with `=` is an assignment.
            let sound = text.chars().all(plain) && words.first().is_some_and(|first| !first.contains('='));
            sound.then_some(words)
        }
    }
}

/// The shape of a command; `None` where it has none of this width.
pub(super) fn shape(command: &Command, facts: &Facts, width: Width) -> Option<Shape> {
    if width == Width::Exact {
        return Some(Shape::Exact(command.clone()));
    }
    let words = words(command)?;
    let (program, rest) = words.split_first()?;
    // A program of the workspace is whatever lies there.
    if program.contains('/') || runs_another(command, facts) {
        return None;
    }
    let mut slots = vec![Slot::Word(program.clone())];
    for word in rest {
        // `main` and `origin` could be paths, too: what does not look like one stays as it is.
        if word.contains(['/', '.']) && is_below(word, facts) {
            if slots.last() != Some(&Slot::Paths) {
                slots.push(Slot::Paths);
            }
        } else {
            slots.push(Slot::Word(word.clone()));
        }
    }
    slots.contains(&Slot::Paths).then_some(Shape::Words(slots))
}

/// Whether a command is of this shape.
pub(super) fn fits(shape: &Shape, command: &Command, facts: &Facts) -> bool {
    let slots = match shape {
        Shape::Exact(exact) => return exact == command,
        Shape::Words(slots) => slots,
    };
    let Some(words) = words(command) else { return false };
    !runs_another(command, facts) && fit(slots, &words, facts)
}

fn fit(slots: &[Slot], words: &[String], facts: &Facts) -> bool {
    let mut words = words.iter().peekable();
    for (index, slot) in slots.iter().enumerate() {
        match slot {
            Slot::Word(wanted) => {
                if words.next() != Some(wanted) {
                    return false;
                }
            }
            Slot::Paths => {
                // As many as there are, but for one that is the next word of the shape: `--`, a name.
                let next = slots.get(index + 1);
                let mut some = false;
                while let Some(word) = words.peek() {
                    let ends = matches!(next, Some(Slot::Word(wanted)) if wanted == *word);
                    if (some && ends) || !is_below(word, facts) {
                        break;
                    }
                    some = true;
                    words.next();
                }
                if !some {
                    return false;
                }
            }
        }
    }
    words.next().is_none()
}

/// Whether a word is a plain path strictly below a workspace, by its letters alone.
fn is_below(word: &str, facts: &Facts) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-+".contains(c);
    if word.is_empty() || word.starts_with('-') || !word.chars().all(plain) {
        return false;
    }
    let path = Path::new(&facts.cwd).join(word);
    if path.components().any(|part| part == Component::ParentDir) {
        return false;
    }
    let path: PathBuf = path.components().collect();
    facts.workspaces.iter().any(|root| path.starts_with(root) && path != Path::new(root))
}

/// Whether a command starts another one, or runs text or a file as one: then an operand is code.
fn runs_another(command: &Command, facts: &Facts) -> bool {
    let survey = gate::survey(command, facts);
    survey.acts().iter().any(|act| match &act.effect {
        Effect::Script { .. } | Effect::RunFile { .. } => true,
        // What is started by another has a start of its own.
        Effect::Exec { .. } => !act.is_start() || !act.scene.via.is_empty(),
        _ => false,
    })
}

/// The files below a workspace that a command runs, as absolute paths: scripts that an interpreter is given, and programs that
/// are named by a path. What lies elsewhere no command can change.
pub fn run_files(command: &Command, facts: &Facts) -> Vec<String> {
    let survey = gate::survey(command, facts);
    let mut files: Vec<String> = Vec::new();
    for act in survey.acts() {
        let named = match &act.effect {
            Effect::RunFile { .. } => act
                .place
                .iter()
                .flat_map(|place| &place.readings)
                .filter(|reading| !reading.path.is_loose())
                .map(|reading| reading.path.to_string())
                .collect(),
            Effect::Exec { argv, .. } => {
                let program = argv.first().and_then(|program| program.as_str());
                let program = program.filter(|program| program.contains('/'));
                program.map(|program| join(&facts.cwd, program)).into_iter().collect()
            }
            _ => Vec::new(),
        };
        for file in named {
            let below = facts.workspaces.iter().any(|root| Path::new(&file).starts_with(root));
            if below && !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files.truncate(MOST_FILES);
    files
}

/// Files that are held for one command; one that runs more is for a person to read in full anyway.
const MOST_FILES: usize = 32;

fn join(cwd: &str, path: &str) -> String {
    let mut out = PathBuf::new();
    for part in Path::new(cwd).join(path).components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out.to_string_lossy().into_owned()
}

/// A shape on one line.
pub(super) fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Exact(command) => render(&command.display()),
        Shape::Words(slots) => {
            let mut out = String::new();
            for slot in slots {
                let space = if out.is_empty() { "" } else { " " };
                let _ = match slot {
                    Slot::Word(word) => write!(out, "{space}{}", render(&shell_words::quote(word))),
                    Slot::Paths => write!(out, "{space}<paths below the workspace>"),
                };
            }
            out
        }
    }
}

/// What stays excluded, one sentence each.
pub fn excluded(shape: &Shape) -> Vec<String> {
    match shape {
        Shape::Exact(_) => vec!["every other command, down to the last character".to_owned()],
        Shape::Words(slots) => {
            let flags: Vec<String> = slots
                .iter()
                .filter_map(|slot| match slot {
                    Slot::Word(word) if word.starts_with('-') => Some(render(word)),
                    _ => None,
                })
                .collect();
            let flags = match flags.as_slice() {
                [] => "every flag".to_owned(),
                some => format!("every flag but {}", some.join(" ")),
            };
            vec![
                flags,
                "paths outside the workspace, paths with `..`, and the workspace itself".to_owned(),
                "anything with a redirection, a pipe, a variable, a pattern or a second command".to_owned(),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shell::Dialect;

    fn facts() -> Facts {
        Facts {
            cwd: "/w/p".into(),
            home: "/home/ann".into(),
            user: "ann".into(),
            uid: 1000,
            workspaces: vec!["/w".into()],
            homes: Default::default(),
            environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            dialect: Dialect::Bash,
            backend: "jail".into(),
            profile: String::new(),
        }
    }

    fn shell(text: &str) -> Command {
        Command::Shell(text.to_owned())
    }

    fn wide(text: &str) -> Option<Shape> {
        shape(&shell(text), &facts(), Width::Paths)
    }

    #[test]
    fn paths_are_replaced_by_paths_and_nothing_else() {
        let rm = wide("rm -r build/x ./y.o").expect("it has paths");
        assert_eq!(describe(&rm), "rm -r <paths below the workspace>");
        for fitting in ["rm -r a", "rm -r other/z /w/q", "rm  -r build/x ./y.o"] {
            assert!(fits(&rm, &shell(fitting), &facts()), "{fitting}");
        }
        let argv = Command::Argv(vec!["rm".into(), "-r".into(), "a/b".into()]);
        assert!(fits(&rm, &argv, &facts()));
        for other in [
            "rm -r",
            "rm a",
            "rm -rf a",
            "rm -r -f a",
            "rm -r a -f",
            "rm -r a --no-preserve-root",
            "rm -r ../a",
            "rm -r a/../../b",
            "rm -r /etc/x",
            "rm -r /w",
            "rm -r /w/.",
            "rm -r ..",
            "rm -r ~/x",
            "rm -r *",
            "rm -r a; ls",
            "rm -r a > b",
            "rm -r $x",
            "A=b rm -r a",
            "sudo rm -r a",
            "/tmp/rm -r a",
            "rm -r a\nls",
        ] {
            assert!(!fits(&rm, &shell(other), &facts()), "{other}");
        }
    }

    #[test]
    fn where_an_operand_is_code_there_is_only_the_command_itself() {
        for text in [
            "sh ./x.sh",
            "bash scripts/x.sh",
            "python3 tools/x.py",
            "env make ./x",
            "xargs rm ./x",
            "./run.sh a/b",
            "git push origin main",
            "cat a/b | sh",
        ] {
            assert_eq!(wide(text), None, "{text}");
        }
        let exact = shape(&shell("./run.sh"), &facts(), Width::Exact).expect("always");
        assert!(fits(&exact, &shell("./run.sh"), &facts()));
        assert!(!fits(&exact, &shell("./run.sh "), &facts()));
        assert!(!fits(&exact, &Command::Argv(vec!["./run.sh".into()]), &facts()));
    }

    #[test]
    fn the_files_that_a_command_runs_are_found() {
        let files = |text: &str| run_files(&shell(text), &facts());
        assert_eq!(files("./run.sh a b"), ["/w/p/run.sh"]);
        assert_eq!(files("bash ../x.sh"), ["/w/x.sh"]);
        assert_eq!(files("make; python3 tools/t.py"), ["/w/p/tools/t.py"]);
        assert_eq!(files(". ./env.sh && ls"), ["/w/p/env.sh"]);
        assert_eq!(files("/usr/bin/env ls; bash /etc/x"), Vec::<String>::new());
    }

    #[test]
    fn a_shape_is_shown_with_what_it_leaves_out() {
        let rm = wide("rm -r build/x").expect("it has paths");
        assert_eq!(excluded(&rm)[0], "every flag but -r");
        assert!(describe(&Shape::Exact(shell("a\x1b[0m"))).contains("\\u{1b}"));
    }

    proptest! {
        /// What fits has the same flags, and nothing in it leads out of the workspace.
        #[test]
        fn what_fits_leads_nowhere(words in proptest::collection::vec("[-./a-c]{0,6}", 0..6)) {
            let rm = wide("rm -r a/b").expect("it has paths");
            let mut argv = vec!["rm".to_owned(), "-r".to_owned()];
            argv.extend(words.clone());
            if fits(&rm, &Command::Argv(argv), &facts()) {
                prop_assert!(!words.is_empty());
                for word in words {
                    prop_assert!(!word.starts_with('-') && !word.is_empty());
                    prop_assert!(!word.split('/').any(|part| part == ".."));
                    prop_assert!(!word.starts_with('/') || word.starts_with("/w/"));
                }
            }
        }

        /// A shape covers the command that it was made of.
        #[test]
        fn a_shape_fits_its_own(words in proptest::collection::vec("-?[a-c./]{1,5}", 1..5)) {
            let mut argv = vec!["rm".to_owned()];
            argv.extend(words);
            let command = Command::Argv(argv);
            if let Some(shape) = shape(&command, &facts(), Width::Paths) {
                prop_assert!(fits(&shape, &command, &facts()), "{shape:?}");
            }
        }
    }
}
