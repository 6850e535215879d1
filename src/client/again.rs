//! A daemon that goes while a command runs, and the next one, which goes on with it.
//!
//! What is asked for is asked for again where that comes to the same: a command of the same name is not started again, and output
//! is read on after the last chunk that was shown. Everything is bounded, and a person's Ctrl-C ends the looking.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::foreground::{Signals, Watch, ends};
use super::{Client, ClientError};

/// How long the next daemon is looked for: sessions wait for a minute, unless it is configured otherwise.
const LOOKING: Duration = Duration::from_secs(30);

/// Between two looks, at first and at most.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// How long a daemon that listens may take to greet: it goes on with what was left first.
const GREETING: Duration = Duration::from_secs(20);

/// How often one thing is asked for again.
const ATTEMPTS: u32 = 8;

/// Asks, and asks the next daemon where this one goes meanwhile. For what comes to the same when it is asked for twice.
///
/// # Errors
/// Of the request; of the connection, where no other can be had.
pub(super) fn again<T>(
    client: &mut Client,
    signals: &Signals,
    watch: &mut dyn FnMut(Watch),
    mut ask: impl FnMut(&mut Client) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match ask(client) {
            Err(gone) if gone.is_gone() && attempts < ATTEMPTS => come_back(client, signals, watch, gone)?,
            other => return other,
        }
    }
}

/// Connects to the daemon that comes after the one that has `gone`.
///
/// # Errors
/// That it has gone, where none comes in time or a signal says to stop; or why the one that came cannot be used.
pub(super) fn come_back(
    client: &mut Client,
    signals: &Signals,
    watch: &mut dyn FnMut(Watch),
    gone: ClientError,
) -> Result<(), ClientError> {
    watch(Watch::Gone);
    let until = Instant::now() + LOOKING;
    let mut pause = FIRST;
    loop {
        match client.reconnect(GREETING) {
            Ok(()) => {
                watch(Watch::Back);
                return Ok(());
            }
            Err(ClientError::NoDaemon(_) | ClientError::Silent(_)) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
        if Instant::now() + pause >= until || is_told_to_stop(signals, pause)? {
            return Err(gone);
        }
        pause = (pause * 2).min(LONGEST);
    }
}

/// Waits, and takes no signal that would have gone on to the command.
fn is_told_to_stop(signals: &Signals, pause: Duration) -> Result<bool, ClientError> {
    let until = Instant::now() + pause;
    loop {
        while let Some(signal) = signals.next()? {
            if ends(signal) {
                return Ok(true);
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
        // Whether it was a signal or the time shows above.
        let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], timeout);
    }
}
