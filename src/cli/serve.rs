//! `execward serve`.

use super::arguments::Serve;
use super::exit::Exit;
use super::screen::Screen;
use crate::supervisor::{Options, serve_daemon};

pub(super) fn serve(arguments: Serve, screen: Screen) -> Exit {
    let Serve { config, socket_dir, state, policy, verbose } = arguments;
    let level = if verbose { tracing::Level::DEBUG } else { tracing::Level::INFO };
    // Under systemd the journal has the time already; a flag and no variable says how much is told.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    let _ = log.try_init();
    match serve_daemon(&Options { config, socket_dir, state, policy }) {
        Ok(()) => Exit::SUCCESS,
        Err(error) => {
            screen.error(&error);
            screen.hint(error.hint());
            Exit::USAGE
        }
    }
}
