//! Signals that the supervisor is given and that a command should have.

use std::task::Poll;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// What a person or a script sends to an ordinary command. SIGTSTP (Ctrl-Z) is among them: the command is in a
/// session of its own, and would go on running behind a stopped supervisor.
const LISTENED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
];

/// The signals that arrive from now on.
#[derive(Debug)]
pub(in crate::supervisor) struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Signals {
    /// Starts to listen. A signal that was ignored when execward was started stays ignored, as for any command:
    /// `nohup` and a shell's background jobs rely on it.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub(in crate::supervisor) fn listen() -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&status);
        LISTENED
            .into_iter()
            .filter(|&number| ignored & (1 << (number as u64 - 1)) == 0)
            .map(|number| Ok((number, signal(SignalKind::from_raw(number as i32))?)))
            .collect::<std::io::Result<_>>()
            .map(Self)
    }

    /// The next one. May be dropped and called again without loss.
    pub(in crate::supervisor) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (number, stream) in &mut self.0 {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The mask of ignored signals in proc_pid_status(5): bit n-1 is signal n.
fn ignored(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let mask = ignored("Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n");
        assert_eq!(mask & (1 << (Signal::SIGHUP as u64 - 1)), 1);
        assert_ne!(mask & (1 << (Signal::SIGPIPE as u64 - 1)), 0);
        assert_eq!(mask & (1 << (Signal::SIGINT as u64 - 1)), 0);
        assert_eq!(ignored("nothing"), 0);
    }
}
