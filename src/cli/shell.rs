//! `execward shell`: what programs call that run commands by `sh -c`.
//!
//! An agent whose shell can be set runs everything through it. It is called by its name alone (`SHELL=.../execward-shell`)
//! or as `execward shell`, with the arguments that a shell takes (sh(1p)).

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use super::arguments::Run;
use super::exit::Exit;
use super::run;
use super::screen::Screen;
use crate::stage::MAX_COMMAND;

/// The name under which the binary is this shell.
const NAME: &str = "execward-shell";

/// The arguments after the shell's name, where the process was started as one.
pub(super) fn called(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let (name, rest) = arguments.split_first()?;
    // A login shell's name begins with `-` (login(1)).
    let name = Path::new(name).file_name()?.to_str()?;
    if name.trim_start_matches('-') == NAME {
        return Some(rest.to_vec());
    }
    let (first, rest) = rest.split_first()?;
    (first == "shell").then(|| rest.to_vec())
}

/// What a shell is to run.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Text, read as a whole by the shell that the policy judges for.
    Text(OsString),
    /// A shell of its own with options or arguments, which the gate follows into its text.
    Argv(Vec<OsString>),
    /// What stands on standard input.
    Input,
}

pub(super) fn shell(arguments: &[OsString], screen: Screen) -> Exit {
    let asked = match read(arguments) {
        Ok(asked) => asked,
        Err(error) => {
            screen.error(error);
            screen.hint("execward shell -c TEXT [NAME [ARGUMENT...]], or a script and its arguments");
            return Exit::FAILED;
        }
    };
    let asked = match asked {
        Asked::Input => match input() {
            Ok(text) => Asked::Text(text),
            Err(error) => {
                screen.error(error);
                screen.hint("a shell of your own: execward run -t -- bash");
                return Exit::FAILED;
            }
        },
        asked => asked,
    };
    let run = match asked {
        Asked::Text(text) => Run::of_text(text),
        Asked::Argv(argv) => Run::of_argv(argv),
        Asked::Input => return Exit::FAILED,
    };
    run::run(run.within(workspace()), screen)
}

/// The directory that the commands may change where it is not the current one.
fn workspace() -> Option<PathBuf> {
    let workspace = std::env::var_os("EXECWARD_WORKSPACE").map(PathBuf::from)?;
    let here = std::env::current_dir().ok()?;
    (workspace.is_absolute() && here.starts_with(&workspace)).then_some(workspace)
}

/// Reads what the arguments of a shell ask for. What they say about how text is read or run must hold: an option that is
/// not known is refused.
fn read(arguments: &[OsString]) -> Result<Asked, String> {
    let mut rest = arguments.iter();
    let mut options: Vec<OsString> = Vec::new();
    let mut command = false;
    let mut input = false;
    let mut operands: Vec<OsString> = Vec::new();
    while let Some(argument) = rest.next() {
        let text = argument.to_str().unwrap_or_default();
        match text {
            "--" => {
                operands.extend(rest.by_ref().cloned());
            }
            "--login" | "--norc" | "--noprofile" | "--posix" => {}
            "-o" | "+o" => {
                let name = rest.next().ok_or_else(|| format!("`{text}` needs a name"))?;
                options.extend([argument.clone(), name.clone()]);
            }
            _ if text.starts_with("--") => return Err(format!("`{text}` is no option of this shell")),
            _ if text.len() > 1 && text.starts_with(['-', '+']) => {
                let mut kept = String::new();
                for letter in text.chars().skip(1) {
                    match letter {
                        // How it is called makes no difference: no start-up file is ever read.
                        'l' => {}
                        'c' if text.starts_with('-') => command = true,
                        's' if text.starts_with('-') => input = true,
                        'e' | 'u' | 'x' | 'f' | 'v' | 'n' | 'a' | 'b' | 'C' | 'm' | 'h' => kept.push(letter),
                        'o' => return Err("write `-o NAME` by itself".to_owned()),
                        'i' => {
                            return Err(
                                "there is nobody to talk to: this shell is not interactive".to_owned()
                            );
                        }
                        _ => return Err(format!("`{letter}` in `{text}` is no option of this shell")),
                    }
                }
                if !kept.is_empty() {
                    options.push(format!("{}{kept}", &text[..1]).into());
                }
            }
            _ => {
                operands.push(argument.clone());
                operands.extend(rest.by_ref().cloned());
            }
        }
    }
    let shell = |more: &[&OsStr], operands: Vec<OsString>| {
        let words = [OsStr::new("bash")].into_iter().map(OsStr::to_owned);
        Asked::Argv(
            words
                .chain(options.clone())
                .chain(more.iter().map(|word| (*word).to_owned()))
                .chain(operands)
                .collect(),
        )
    };
    match (command, input || operands.is_empty()) {
        (true, _) => match operands.len() {
            0 => Err("`-c` needs the text to run".to_owned()),
            1 if options.is_empty() => Ok(Asked::Text(operands.remove(0))),
            _ => Ok(shell(&[OsStr::new("-c")], operands)),
        },
        (false, true) if options.is_empty() && operands.is_empty() => Ok(Asked::Input),
        (false, true) => Err("standard input is read without options and arguments".to_owned()),
        (false, false) => Ok(shell(&[OsStr::new("--")], operands)),
    }
}

/// The text on standard input: all of it, before any of it runs.
fn input() -> Result<OsString, String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err("there is nobody to talk to: this shell is not interactive".to_owned());
    }
    let mut text = String::new();
    let most = u64::try_from(MAX_COMMAND).unwrap_or(u64::MAX);
    stdin
        .lock()
        .take(most + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input: {error}"))?;
    if text.len() > MAX_COMMAND {
        return Err(format!("standard input is longer than a command may be: {MAX_COMMAND} bytes"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    #[test]
    fn arguments_are_read_as_a_shell_reads_them() {
        let text = |text: &str| Asked::Text(text.into());
        let argv = |line: &[&str]| Asked::Argv(words(line));
        for (line, asked) in [
            (&["-c", "ls; pwd"][..], text("ls; pwd")),
            (&["-lc", "ls"], text("ls")),
            (&["-l", "-c", "--", "ls"], text("ls")),
            (&["-ec", "a", "name", "one"], argv(&["bash", "-e", "-c", "a", "name", "one"])),
            (&["-e", "-o", "pipefail", "-c", "a"], argv(&["bash", "-e", "-o", "pipefail", "-c", "a"])),
            (&["+e", "script", "-x"], argv(&["bash", "+e", "--", "script", "-x"])),
            (&["script"], argv(&["bash", "--", "script"])),
            (&[], Asked::Input),
            (&["-s"], Asked::Input),
        ] {
            assert_eq!(read(&words(line)), Ok(asked), "{line:?}");
        }
        for line in [
            &["-c"][..],
            &["-c", "-ls"],
            &["-i"],
            &["-ic", "x"],
            &["-r", "-c", "x"],
            &["--rcfile", "x"],
            &["-s", "x"],
            &["-o"],
        ] {
            assert!(read(&words(line)).is_err(), "{line:?}");
        }
    }

    #[test]
    fn it_is_called_by_its_name() {
        assert_eq!(called(&words(&["/usr/bin/execward-shell", "-c", "x"])), Some(words(&["-c", "x"])));
        assert_eq!(called(&words(&["-execward-shell"])), Some(words(&[])));
        assert_eq!(called(&words(&["execward", "shell", "-c", "x"])), Some(words(&["-c", "x"])));
        assert_eq!(called(&words(&["execward", "run", "--", "shell"])), None);
    }
}
