//! A running command's time, and what ends it before it ends by itself.

use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep_until};

use super::Session;
use super::exec::Exec;
use super::passed::Passing;
use crate::supervisor::relay::{Broken, Stopped};
use crate::wire::runner::{Cause, Ended, ToRunner};

/// How long an end may take beyond what it should before the runner is given up.
const LATE: Duration = Duration::from_secs(10);

/// How a command's time came out.
pub(super) struct Outlived {
    pub(super) ended: Result<Ended, String>,
    /// Places masked in its output.
    pub(super) masked: u64,
    /// Whether it was asked to end.
    pub(super) cancelled: bool,
    /// What stopped it from outside, if anything did.
    pub(super) stopped: Option<Stopped>,
}

impl Outlived {
    /// It was lost before it ran.
    pub(super) fn lost(error: String) -> Self {
        Self { ended: Err(error), masked: 0, cancelled: false, stopped: None }
    }
}

impl Session {
    /// Stays with a command until it has ended, and what it wrote has left by the descriptors that were passed.
    pub(super) async fn outlive(
        &self,
        exec: &Arc<Exec>,
        timeout: Duration,
        grace: Duration,
        mut passing: Passing,
    ) -> Outlived {
        let id = exec.number;
        let kill = || {
            self.orders.send(ToRunner::Kill { id, cause: Cause::Cancelled });
            exec.unhold_for_good();
        };
        // The runner keeps the time limit; then, what waits for a reader need not any more.
        let mut over = Some(Instant::now() + timeout + grace);
        let mut late: Option<Instant> = None;
        let mut kill_at: Option<Instant> = None;
        let (mut cancelled, mut killed, mut broken) = (false, false, None);
        let at = |instant: Option<Instant>| sleep_until(instant.unwrap_or_else(Instant::now));
        let (ended, masked) = loop {
            tokio::select! {
                biased;
                ended = exec.ended() => break ended,
                () = exec.cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    kill_at.get_or_insert(Instant::now() + grace);
                    self.orders.send(ToRunner::Signal { id, signal: Signal::SIGTERM as i32 });
                }
                () = exec.kill.cancelled(), if !killed => {
                    (cancelled, killed, kill_at) = (true, true, None);
                    late.get_or_insert(Instant::now() + LATE);
                    kill();
                }
                Broken { stream, errno } = passing.broken() => {
                    broken.get_or_insert(Broken { stream, errno });
                    kill_at.get_or_insert(Instant::now() + grace);
                    let signal = if errno == Errno::EPIPE { Signal::SIGPIPE } else { Signal::SIGTERM };
                    self.orders.send(ToRunner::Signal { id, signal: signal as i32 });
                }
                () = at(kill_at), if kill_at.is_some() => {
                    (killed, kill_at) = (true, None);
                    late.get_or_insert(Instant::now() + LATE);
                    kill();
                }
                () = at(over), if over.is_some() => {
                    over = None;
                    late.get_or_insert(Instant::now() + LATE);
                    exec.unhold_for_good();
                }
                () = at(late), if late.is_some() => {
                    late = None;
                    // A runner that does not do this cannot be trusted with anything: the session ends with it, and this
                    // command hears of it there.
                    tracing::error!(session = %self.id, "the runner did not end a command in time");
                    self.end.cancel();
                }
            }
        };
        let given_up = async {
            tokio::select! {
                () = exec.cancel.cancelled() => {}
                () = exec.kill.cancelled() => {}
                () = self.end.cancelled() => {}
            }
        };
        let last = passing.written(given_up).await;
        let stopped = broken.or(last).map(|Broken { stream, errno }| Stopped::Output(stream, errno));
        Outlived { ended, masked, cancelled, stopped }
    }
}
