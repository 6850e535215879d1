//! `execward serve`.

use std::os::unix::process::CommandExt as _;

use super::arguments::Serve;
use super::exit::Exit;
use super::screen::Screen;
use crate::ops::upgrade;
use crate::supervisor::{Local, Options, Over, serve_daemon};

pub(super) fn serve(arguments: Serve, screen: Screen) -> Exit {
    let Serve { config, socket_dir, state, policy, verbose, log } = arguments;
    // A flag and no variable says how much is told.
    super::log::begin(log, if verbose { tracing::Level::DEBUG } else { tracing::Level::INFO });
    // As it is called now: later the kernel says that it was deleted, where another one is in its place.
    let binary = std::env::current_exe().ok();
    if let Ok(local) = Local::look(state.clone()) {
        go_on_with_upgrade(&local.directories.state);
    }
    match serve_daemon(&Options { config, socket_dir, state, policy, binary: binary.clone() }) {
        Ok(Over::Stopped) => Exit::SUCCESS,
        Ok(Over::Again) => {
            let mut arguments = std::env::args_os();
            let mut command = std::process::Command::new(binary.unwrap_or_default());
            if let Some(name) = arguments.next() {
                command.arg0(name);
            }
            let error = command.args(arguments).exec();
            screen
                .error(format_args!("{} cannot be executed anew: {error}", command.get_program().display()));
            Exit::USAGE
        }
        Err(error) => {
            screen.error(&error);
            screen.hint(error.hint());
            Exit::USAGE
        }
    }
}

/// An upgrade that a power cut has broken off goes back, or waits on for whoever confirms it.
fn go_on_with_upgrade(state: &std::path::Path) {
    match upgrade::resume(state) {
        Ok(None) => {}
        Ok(Some(mut child)) => {
            tracing::warn!("an upgrade was broken off: it is dealt with (`execward upgrade` says how)");
            std::thread::spawn(move || child.wait());
        }
        Err(error) => tracing::error!(%error, "what became of an upgrade is not known"),
    }
}
