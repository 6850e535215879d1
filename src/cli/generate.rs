//! `execward shell-completions` and `execward man`: what the argument table says, for shells and for readers.

use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, ValueEnum};

use super::arguments::Arguments;
use super::exit::Exit;
use super::screen::{Screen, print};

/// A shell that can be told what to complete.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Elvish => Self::Elvish,
            Shell::Fish => Self::Fish,
            Shell::Powershell => Self::PowerShell,
            Shell::Zsh => Self::Zsh,
        }
    }
}

pub(super) fn completions(shell: Shell, screen: Screen) -> Exit {
    let mut script = Vec::new();
    let shell = clap_complete::Shell::from(shell);
    clap_complete::generate(shell, &mut Arguments::command(), "execward", &mut script);
    print(screen, &String::from_utf8_lossy(&script), Exit::SUCCESS)
}

/// The first page on standard output, or a page for each command into a directory.
pub(super) fn man(directory: Option<&Path>, screen: Screen) -> Exit {
    let failed = |what: String| {
        screen.error(what);
        Exit::USAGE
    };
    let Some(directory) = directory else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(Arguments::command()).render(&mut page) {
            Ok(()) => print(screen, &String::from_utf8_lossy(&page), Exit::SUCCESS),
            Err(error) => failed(format!("the page: {error}")),
        };
    };
    let mut command = Arguments::command();
    command.build();
    let mut pages = vec![("execward".to_owned(), command)];
    while let Some((name, command)) = pages.pop() {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            pages.push((format!("{name}-{}", below.get_name()), below.clone()));
        }
        let path: PathBuf = directory.join(format!("{name}.1"));
        let page = clap_mangen::Man::new(command).title(name.to_uppercase());
        let written = std::fs::File::create(&path).and_then(|mut file| page.render(&mut file));
        if let Err(error) = written {
            return failed(format!("{}: {error}", path.display()));
        }
    }
    Exit::SUCCESS
}
