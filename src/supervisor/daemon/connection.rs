//! One connection: lines in, lines out, and nothing that a peer does to it reaches another.
//!
//! A task reads, a task writes. What waits to be written is bounded in bytes, so that a peer that does not read stops
//! what it asked for and nothing else. What waits to be read is bounded by a line; long ones are charged to the
//! principal. Descriptors that a peer sends unasked are closed as they come, and counted.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::House;
use crate::supervisor::session::{Joined, Peer, Session};
use crate::sys::passing::{self, Received};
use crate::wire::dialog::{Calls, Dialog, Phase, Step};
use crate::wire::rpc::{self, Code, Error, Event, Id, PROTOCOL, Reply, Role, Welcome};

/// Bytes that may wait to be written to one peer.
const OUTBOX: usize = 512 << 10;

/// Bytes of an unfinished line that are free; more are charged to the principal.
const FREE: usize = 16 << 10;

/// How much is read at a time.
const READ: usize = 64 << 10;

/// How long a peer may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// How long a line may take from its first byte to its last.
const LINE: Duration = Duration::from_secs(60);

/// How long the last lines for a peer may take at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection, as those who answer its requests see it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) house: Arc<House>,
    pub(super) peer: Peer,
    outbox: Outbox,
    requests: Arc<Semaphore>,
    /// Cancelled when the peer has gone.
    pub(super) gone: CancellationToken,
    /// Everything that works for it.
    pub(super) tasks: TaskTracker,
    used: Mutex<Sessions>,
}

/// The sessions that a connection uses.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) opened: Vec<Arc<Session>>,
    pub(super) joined: Vec<Joined>,
}

/// Lines on their way to a peer.
#[derive(Debug, Clone)]
struct Outbox {
    lines: mpsc::UnboundedSender<(Vec<u8>, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl Outbox {
    /// Waits for room. A line that is larger than all of it goes when there is nothing else.
    async fn put(&self, line: Vec<u8>) {
        let size = u32::try_from(line.len().min(OUTBOX)).unwrap_or(u32::MAX);
        if let Ok(room) = Arc::clone(&self.room).acquire_many_owned(size).await {
            // The writer may have gone, and the connection with it.
            let _ = self.lines.send((line, room));
        }
    }
}

impl Connection {
    pub(super) fn used(&self) -> MutexGuard<'_, Sessions> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a reply. Waits while the peer does not read.
    pub(super) async fn reply<T: serde::Serialize>(&self, id: Id, result: Result<T, Error>) {
        let mut line = Vec::new();
        Reply::new(id, result).encode(&mut line);
        self.outbox.put(line).await;
    }

    /// Says what is wrong with a line, by the name of its request where that could be read.
    async fn refuse(&self, id: Option<Id>, error: Error) {
        let mut line = Vec::new();
        Reply::unreadable(id, error).encode(&mut line);
        self.outbox.put(line).await;
    }

    /// Sends a notification. Waits while the peer does not read.
    pub(super) async fn notify(&self, event: &Event) {
        let mut line = Vec::new();
        event.encode(&mut line);
        self.outbox.put(line).await;
    }

    /// Does something for the peer beside everything else, for as long as it is there.
    pub(super) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = gone.cancelled() => {}
            }
        });
    }

    /// Answers a request beside everything else. A peer that has too many under way is told so.
    pub(super) async fn answer<T: serde::Serialize + Send + 'static>(
        self: &Arc<Self>,
        id: Id,
        answer: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) {
        let Ok(place) = Arc::clone(&self.requests).try_acquire_owned() else {
            let error = Error::new(Code::Limit, "too many requests of this connection wait for their reply")
                .hint("wait for some of the replies");
            return self.reply::<()>(id, Err(error)).await;
        };
        let connection = Arc::clone(self);
        self.spawn(async move {
            let result = answer.await;
            connection.reply(id, result).await;
            drop(place);
        });
    }
}

/// How the requests of a socket are answered.
pub(super) trait Serve: Send + Sync + 'static {
    const ROLE: Role;
    /// What may be asked on it.
    type Call: Calls + Send + 'static;

    /// Answers a request that may come now, or has it answered. Waiting here keeps the peer from asking more.
    /// The descriptors came with the request's line.
    fn serve(
        connection: &Arc<Connection>,
        id: Id,
        call: Self::Call,
        fds: Vec<OwnedFd>,
    ) -> impl Future<Output = ()> + Send;
}

/// Serves a peer until it has gone or the daemon ends.
pub(super) async fn serve<S: Serve>(
    stream: UnixStream,
    house: Arc<House>,
    peer: Peer,
    number: u64,
    closing: CancellationToken,
) {
    let (reader, writer) = stream.into_split();
    let (lines, receive) = mpsc::unbounded_channel();
    let connection = Arc::new(Connection {
        number,
        outbox: Outbox { lines, room: Arc::new(Semaphore::new(OUTBOX)) },
        requests: Arc::new(Semaphore::new(house.common.accounts.quota().requests)),
        house,
        peer,
        gone: CancellationToken::new(),
        tasks: TaskTracker::new(),
        used: Mutex::default(),
    });
    let (gone, leaving) = (connection.gone.clone(), connection.house.common.leaving.clone());
    let mut writing = tokio::spawn(async move {
        let written = write(writer, receive).await;
        gone.cancel();
        written
    });
    let mut input: Input<S::Call> =
        Input { reader, dialog: Dialog::default(), since: None, charged: Charge::new(&connection.peer) };
    tokio::select! {
        () = async {
            if converse::<S>(&connection, &mut input).await {
                // It asks no more, and still wants the answers.
                connection.tasks.close();
                tokio::select! {
                    () = connection.tasks.wait() => {}
                    () = hung_up(&input.reader) => {}
                }
            }
        } => {}
        () = connection.gone.cancelled() => {}
        () = closing.cancelled() => {
            // What was promised is still sent: the ends of commands that the daemon ended.
            connection.tasks.close();
            tokio::select! {
                _ = timeout(FAREWELL, connection.tasks.wait()) => {}
                // What goes on has no end to be told of.
                () = leaving.cancelled() => {}
            }
        }
    }
    let closed = input.dialog.unasked();
    drop(input);
    if closed > 0 {
        let Peer { uid, pid, .. } = connection.peer;
        tracing::warn!(uid, pid, closed, "descriptors came that nobody asked for, and were closed");
    }
    let Sessions { joined, .. } = std::mem::take(&mut *connection.used());
    connection.gone.cancel();
    if !leaving.is_cancelled() {
        for session in &joined {
            session.cancel_bound_to(number);
        }
    }
    drop(joined);
    connection.tasks.close();
    connection.tasks.wait().await;
    // The last sender: the writer ends when everything is written.
    drop(connection);
    if timeout(FAREWELL, &mut writing).await.is_err() {
        writing.abort();
    }
}

/// Answers until nothing more comes. Whether the peer has only ended its own side, and may listen still.
async fn converse<S: Serve>(connection: &Arc<Connection>, input: &mut Input<S::Call>) -> bool {
    let patience = Instant::now() + HELLO;
    loop {
        let next = if input.dialog.phase() == Phase::Connected {
            match timeout_at(patience, input.next()).await {
                Ok(next) => next,
                Err(_) => Err(End::Refused(Error::new(Code::Hello, "nobody said hello in time"))),
            }
        } else {
            input.next().await
        };
        match next {
            Ok(Step::Hello { id, .. }) => connection.reply(id, Ok(welcome::<S>(connection))).await,
            Ok(Step::Call { id, call, fds }) => S::serve(connection, id, call, fds).await,
            Ok(Step::Refused { id, error }) => connection.refuse(id, error).await,
            Ok(Step::Last { id, error }) => {
                connection.refuse(id, error).await;
                return false;
            }
            Ok(Step::Starved) => {}
            Err(End::Silent) => return true,
            Err(End::Gone) => return false,
            Err(End::Refused(error)) => {
                connection.refuse(None, error).await;
                return false;
            }
        }
    }
}

fn welcome<S: Serve>(connection: &Connection) -> Welcome {
    let quota = connection.house.common.accounts.quota();
    Welcome {
        protocol: PROTOCOL,
        server: rpc::Software { name: "execward".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        principal: connection.peer.principal(),
        role: S::ROLE,
        roles: connection.peer.roles.clone(),
        separation: connection.peer.separation,
        limits: rpc::Limits {
            frame: crate::wire::lines::MAX_LINE as u64,
            depth: crate::wire::lines::MAX_DEPTH as u64,
            command: crate::stage::MAX_COMMAND as u64,
            sessions: quota.sessions as u64,
            execs: quota.commands as u64,
            requests: quota.requests as u64,
            output: crate::supervisor::session::OUTPUT_KEPT as u64,
        },
        methods: S::Call::TABLE.iter().map(|row| row.method.to_owned()).collect(),
    }
}

/// Why nothing more is read.
enum End {
    /// The peer has ended its side.
    Silent,
    Gone,
    Refused(Error),
}

struct Input<C> {
    reader: tokio::net::unix::OwnedReadHalf,
    dialog: Dialog<C, OwnedFd>,
    /// When the line that is being read began.
    since: Option<Instant>,
    charged: Charge,
}

/// What the unfinished line of a peer takes of its principal's memory.
struct Charge {
    share: Arc<crate::supervisor::session::Share>,
    bytes: AtomicUsize,
}

impl Charge {
    fn new(peer: &Peer) -> Self {
        Self { share: Arc::clone(&peer.account.share), bytes: AtomicUsize::new(0) }
    }

    fn set(&self, bytes: usize) {
        let bytes = bytes.saturating_sub(FREE);
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if bytes > before {
            self.share.charge(bytes - before);
        } else {
            self.share.refund(before - bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl<C: Calls> Input<C> {
    /// What comes next, waited for.
    async fn next(&mut self) -> Result<Step<C, OwnedFd>, End> {
        let mut buffer = Vec::new();
        loop {
            match self.dialog.step() {
                Step::Starved => {}
                step => {
                    self.since = self.dialog.is_mid_line().then(Instant::now);
                    return Ok(step);
                }
            }
            let waiting = self.dialog.waiting();
            self.charged.set(waiting);
            if waiting > FREE && self.charged.share.is_used_up() {
                return Err(End::Refused(Error::new(
                    Code::Limit,
                    "too much of this user's is in memory already",
                )));
            }
            if waiting == 0 {
                self.since = None;
            }
            let since = self.since;
            let read = self.read(&mut buffer);
            let read = match since {
                None => read.await,
                Some(since) => match timeout_at(since + LINE, read).await {
                    Ok(read) => read,
                    Err(_) => {
                        let error = Error::new(Code::Unreadable, "the line did not end in time");
                        return Err(End::Refused(error));
                    }
                },
            };
            match read {
                Ok(Received { bytes: 0, .. }) => return Err(End::Silent),
                Err(_) => return Err(End::Gone),
                Ok(Received { bytes, fds, cut }) => {
                    self.since.get_or_insert_with(Instant::now);
                    self.dialog.receive(buffer.get(..bytes).unwrap_or_default(), fds, cut);
                }
            }
        }
    }

    async fn read(&self, buffer: &mut Vec<u8>) -> std::io::Result<Received> {
        let stream: &UnixStream = self.reader.as_ref();
        loop {
            stream.readable().await?;
            buffer.resize(READ, 0);
            let received = stream.try_io(Interest::READABLE, || {
                passing::receive(stream.as_fd(), buffer).map_err(std::io::Error::from)
            });
            match received {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }
}

/// Waits until the peer has closed the connection, and not only its own side: EPOLLHUP of epoll_ctl(2). By a descriptor of
/// its own, so that the writer's readiness stays the writer's.
async fn hung_up(reader: &tokio::net::unix::OwnedReadHalf) {
    let stream: &UnixStream = reader.as_ref();
    let again = stream.as_fd().try_clone_to_owned().map(std::os::unix::net::UnixStream::from);
    // Without a descriptor nothing can be promised; the connection ends.
    let Ok(watched) = again.and_then(UnixStream::from_std) else { return };
    while let Ok(ready) = watched.ready(Interest::WRITABLE).await {
        if ready.is_write_closed() {
            return;
        }
        // Nothing is written here: what is known by now is forgotten, so that the next change is waited for.
        let _ = watched.try_io(Interest::WRITABLE, || Err::<(), _>(std::io::ErrorKind::WouldBlock.into()));
    }
}

/// Writes lines until there are no more or the peer has gone.
async fn write(
    mut writer: OwnedWriteHalf,
    mut lines: mpsc::UnboundedReceiver<(Vec<u8>, OwnedSemaphorePermit)>,
) -> std::io::Result<()> {
    let mut more = Vec::new();
    while let Some((line, room)) = lines.recv().await {
        // What waits goes together, where it is small.
        more.clear();
        let mut rooms = vec![room];
        while more.len() + line.len() < READ {
            let Ok((line, room)) = lines.try_recv() else { break };
            more.extend_from_slice(&line);
            rooms.push(room);
        }
        if more.is_empty() {
            writer.write_all(&line).await?;
        } else {
            let mut all = line;
            all.append(&mut more);
            writer.write_all(&all).await?;
        }
    }
    writer.shutdown().await
}
