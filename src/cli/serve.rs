//! `execward serve`.

use super::arguments::Serve;
use super::exit::Exit;
use super::screen::Screen;
use crate::supervisor::{Options, serve_daemon};

pub(super) fn serve(arguments: Serve, screen: Screen) -> Exit {
    let Serve { config, socket_dir, state, policy, verbose, log } = arguments;
    // A flag and no variable says how much is told.
    super::log::begin(log, if verbose { tracing::Level::DEBUG } else { tracing::Level::INFO });
    match serve_daemon(&Options { config, socket_dir, state, policy }) {
        Ok(()) => Exit::SUCCESS,
        Err(error) => {
            screen.error(&error);
            screen.hint(error.hint());
            Exit::USAGE
        }
    }
}
