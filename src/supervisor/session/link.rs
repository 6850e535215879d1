//! The two tasks between a session's commands and its runner.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::exec::Exec;
use crate::sandbox::{Receiver, Sender};
use crate::wire::runner::{FromRunner, ToRunner};

/// An output that is silent for this long lets out what redaction holds back but need not: a prompt has no newline.
const IDLE: Duration = Duration::from_millis(10);

/// Frames of a client's making that may wait for the runner.
const IN_TURN: usize = 64;

/// Ends that the runner keeps at most although it need not.
const OVER: usize = 16;

/// Frames for the runner. They are written at once where the runner takes them, and by [`send`] where it does not.
///
/// What execward itself sends is bounded by what it is about: a window of standard input, one message when an output is
/// held. What a client can send as often as it likes takes its turn.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    out: Arc<Mutex<Out>>,
    /// Something is left for [`send`].
    left: Arc<Notify>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Out {
    sender: Sender,
    /// Ends that the runner may forget: it is told when it is told something anyhow.
    over: Vec<u64>,
    /// Of frames that have not been written.
    turns: Vec<OwnedSemaphorePermit>,
    /// Nobody reads any more.
    broken: bool,
}

impl Orders {
    pub(super) fn new(sender: Sender) -> Self {
        let out = Out { sender, over: Vec::new(), turns: Vec::new(), broken: false };
        Self {
            out: Arc::new(Mutex::new(out)),
            left: Arc::new(Notify::new()),
            turns: Arc::new(Semaphore::new(IN_TURN)),
        }
    }

    /// Sends. Where the runner has gone, every command hears of that by another way.
    pub(super) fn send(&self, frame: ToRunner) {
        self.put(&[frame], None);
    }

    /// Sends several at once, so that the runner wakes once.
    pub(super) fn send_all(&self, frames: &[ToRunner]) {
        self.put(frames, None);
    }

    /// Sends when it is this one's turn.
    pub(super) async fn send_in_turn(&self, frame: ToRunner) {
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        self.put(&[frame], turn);
    }

    fn put(&self, frames: &[ToRunner], turn: Option<OwnedSemaphorePermit>) {
        let mut out = self.out();
        if out.broken {
            return;
        }
        for id in std::mem::take(&mut out.over) {
            out.sender.put_off(&ToRunner::Forget { id });
        }
        frames.iter().for_each(|frame| out.sender.put_off(frame));
        match out.sender.flush() {
            Ok(true) => {}
            Ok(false) => {
                out.turns.extend(turn);
                drop(out);
                self.left.notify_one();
            }
            Err(_) => out.broken = true,
        }
    }

    /// Lets the runner forget a command that is over, with what it is told next or soon.
    pub(super) fn forget(&self, id: u64) {
        let mut out = self.out();
        out.over.push(id);
        if out.over.len() >= OVER {
            drop(out);
            self.send(ToRunner::Forget { id });
        }
    }

    /// Has the runner end the session.
    fn close(&self) {
        self.out().sender.close();
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The commands that the runner may speak of.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<HashMap<u64, Route>>);

#[derive(Debug)]
struct Route {
    exec: Arc<Exec>,
    /// Who waits for the socket on which its own proxy is to be served.
    proxied: Option<oneshot::Sender<OwnedFd>>,
}

impl Routes {
    pub(super) fn add(&self, exec: &Arc<Exec>) {
        self.routes().insert(exec.number, Route { exec: Arc::clone(exec), proxied: None });
    }

    /// Waits for the socket of a command's own proxy.
    pub(super) fn proxied(&self, exec: &Exec) -> oneshot::Receiver<OwnedFd> {
        let (said, socket) = oneshot::channel();
        if let Some(route) = self.routes().get_mut(&exec.number) {
            route.proxied = Some(said);
        }
        socket
    }

    fn get(&self, number: u64) -> Option<Arc<Exec>> {
        self.routes().get(&number).map(|route| Arc::clone(&route.exec))
    }

    fn pass(&self, number: u64, socket: OwnedFd) {
        if let Some(waits) = self.routes().get_mut(&number).and_then(|route| route.proxied.take()) {
            // Whoever has given up waiting serves nothing.
            let _ = waits.send(socket);
        }
    }

    pub(super) fn remove(&self, number: u64) -> Option<Arc<Exec>> {
        self.routes().remove(&number).map(|route| route.exec)
    }

    fn remove_all(&self) -> Vec<Arc<Exec>> {
        self.routes().drain().map(|(_, route)| route.exec).collect()
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<u64, Route>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what the runner did not take at once, until the session or the runner is gone.
pub(super) async fn send(orders: Orders, end: CancellationToken) {
    let room = orders.out().sender.room();
    let sending = async {
        loop {
            orders.left.notified().await;
            loop {
                if room.writable().await.is_err() {
                    return;
                }
                let mut out = orders.out();
                match out.sender.flush() {
                    Ok(true) => {
                        out.turns.clear();
                        break;
                    }
                    Ok(false) => {}
                    // The other task sees the end of the connection too, after everything that came before it.
                    Err(_) => {
                        out.broken = true;
                        out.turns.clear();
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = end.cancelled() => {}
    }
}

/// Receives until the session or the runner is gone, then ends whatever is left of the session; or until it is to be left to the
/// next supervisor.
pub(super) async fn receive(
    mut receiver: Receiver,
    orders: Orders,
    routes: Arc<Routes>,
    end: CancellationToken,
    killed: Arc<OnceLock<String>>,
    leave: CancellationToken,
) {
    let mut partial: Vec<Arc<Exec>> = Vec::new();
    let lost = loop {
        let frame = tokio::select! {
            frame = receiver.recv() => frame,
            () = sleep(IDLE), if !partial.is_empty() => {
                partial.drain(..).for_each(|exec| exec.idle());
                continue;
            }
            () = leave.cancelled() => return receiver.leave(),
            () = end.cancelled() => {
                break killed.get().cloned().unwrap_or_else(|| "the session was closed".to_owned());
            }
        };
        match frame {
            Ok(Some(FromRunner::Output { id, stream, data })) => {
                if let Some(exec) = routes.get(id)
                    && exec.output(stream, &data)
                    && !partial.iter().any(|other| Arc::ptr_eq(other, &exec))
                {
                    partial.push(exec);
                }
            }
            Ok(Some(FromRunner::Credit { id, bytes })) => {
                routes.get(id).into_iter().for_each(|exec| exec.credit(bytes));
            }
            Ok(Some(FromRunner::Exited(ended))) => {
                match routes.remove(ended.id) {
                    Some(exec) => {
                        partial.retain(|other| !Arc::ptr_eq(other, &exec));
                        exec.end(Ok(ended));
                    }
                    // It was given up before it ran.
                    None => orders.forget(ended.id),
                }
            }
            Ok(Some(FromRunner::Failed(failure))) => match failure.id.and_then(|id| routes.remove(id)) {
                Some(exec) if failure.hint.is_empty() => exec.end(Err(failure.to_string())),
                Some(exec) => exec.end(Err(format!("{failure}: {}", failure.hint))),
                None => match failure.id {
                    None => break failure.to_string(),
                    Some(id) => orders.forget(id),
                },
            },
            Ok(Some(FromRunner::Proxied { id })) => {
                receiver.take_listener().into_iter().for_each(|socket| routes.pass(id, socket));
            }
            // Nothing new: the runner is not trusted to make sense.
            Ok(Some(FromRunner::Ready(_) | FromRunner::Greeted(_) | FromRunner::Alive)) => {}
            Ok(None) => break "the runner went away while the command ran".to_owned(),
            Err(error) => break format!("the connection to the runner broke: {error}"),
        }
    };
    end.cancel();
    // Both wait for the runner to end, and everything in the sandbox with it: not for this thread to do.
    let over = move || {
        orders.close();
        drop(receiver);
    };
    let _ = tokio::task::spawn_blocking(over).await;
    for exec in routes.remove_all() {
        exec.end(Err(lost.clone()));
    }
}
