//! One command of a session, from the moment that it is named until nobody asks for it any more.

mod input;
mod noted;
mod output;
mod whole;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::input::{WRITES, Write, feed};
pub(super) use self::noted::{Found, Left};
use self::output::{Kept, Sink, index};
pub(super) use self::whole::Shelf;
pub(in crate::supervisor) use self::whole::sweep;
use super::diary::{Asked, Diary};
use super::keepsake::Keepsake;
use super::link::Orders;
use super::ring::{Ring, Share};
use crate::redact::{self, Mark};
use crate::stage::Digest;
use crate::wire::dialog::{self, Facts, Member};
use crate::wire::rpc::{self, ExecId, RequestId, StartExec, State};
use crate::wire::runner::{Ended, LimitName, Reached, STDIN_WINDOW, Stream, ToRunner};

/// A command.
#[derive(Debug)]
pub(in crate::supervisor) struct Exec {
    pub(in crate::supervisor) id: ExecId,
    pub(in crate::supervisor) request_id: RequestId,
    /// Its number on the link to the runner.
    pub(super) number: u64,
    /// Of everything that was asked for, to know a repeated start from another one.
    asked: Digest,
    /// On one line, with secrets masked, not all of it where it is long.
    display: String,
    background: bool,
    pub(super) stdin: rpc::Stdin,
    /// What it was started as: which requests it takes, but for its state.
    kind: Facts,
    /// Which of 0, 1 and 2 its client has passed by descriptor.
    passed: [bool; 3],
    pub(super) started: Timestamp,
    /// The connection that it ends with; `None` for one in the background.
    pub(in crate::supervisor) bound_to: Option<u64>,
    /// Ends it politely, then for certain.
    pub(in crate::supervisor) cancel: CancellationToken,
    /// Ends it now.
    pub(in crate::supervisor) kill: CancellationToken,
    writes: mpsc::Sender<Write>,
    /// Bytes in them.
    written: AtomicUsize,
    share: Arc<Share>,
    orders: Orders,
    /// Where its diary is, where its session outlives the supervisor.
    keepsake: Option<Arc<Keepsake>>,
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    sink: Sink,
    /// What goes to descriptors.
    passed: Ring,
    redact: [redact::Stream; 2],
    /// Redaction may hold something back for which a reader waits.
    partial: bool,
    masked: u64,
    /// The runner was told to leave the output in its pipes.
    held: bool,
    /// The output may no longer wait for anybody.
    unheld_for_good: bool,
    stdin_window: usize,
    ended: Option<Result<Ended, String>>,
    report: Option<Arc<rpc::Report>>,
    refused: Option<rpc::Error>,
    closed: bool,
    /// What its diary will begin with, and the diary.
    asked: Option<Box<Asked>>,
    diary: Option<Diary>,
    /// Where both outputs can be gone on with from what was written down, and how much the runner was told of.
    marks: [Mark; 2],
    taken: [u64; 2],
}

/// Everything that a command is named with.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) request_id: RequestId,
    pub(super) number: u64,
    pub(super) digest: Digest,
    pub(super) display: String,
    pub(super) started: Timestamp,
    /// Process id of its requester.
    pub(super) pid: i32,
    pub(super) bound_to: Option<u64>,
    pub(super) redact: [redact::Stream; 2],
}

/// What a command has of its session's.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) orders: Orders,
    pub(super) share: Arc<Share>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) keepsake: Option<Arc<Keepsake>>,
}

impl Exec {
    /// Makes a command that nothing has been decided about, and the task that passes its standard input on.
    pub(super) fn new(
        asked: &StartExec,
        named: Named,
        place: Place,
    ) -> (Arc<Self>, impl Future<Output = ()> + use<>) {
        let (exec, writes) = Self::make(asked, named, place);
        let exec = Arc::new(exec);
        (Arc::clone(&exec), feed(exec, writes))
    }

    /// Of everything that was asked for, to know a repeated start from another one.
    pub(super) fn digest(asked: &StartExec) -> Digest {
        let asked = serde_json::to_vec(&StartExec { session: None, ..asked.clone() });
        Digest::of(&asked.unwrap_or_default())
    }

    fn make(asked: &StartExec, named: Named, place: Place) -> (Self, mpsc::Receiver<Write>) {
        let Named { request_id, number, digest, display, started, pid, bound_to, redact } = named;
        let Place { orders, share, shelf, keepsake } = place;
        let sink = match asked.output {
            rpc::Output::Stream | rpc::Output::Poll => Sink::Chunks(Ring::new(Arc::clone(&share))),
            rpc::Output::Collect { head, tail } => {
                let ends = (head.size(), tail.size());
                let name = |stream| Some(shelf.name(keepsake.as_deref()?.session()?, number, stream));
                Sink::Collect(Box::new([0, 1].map(|stream| Kept::new(ends, &share, &shelf, name(stream)))))
            }
        };
        let passed = [rpc::Fd::Stdin, rpc::Fd::Stdout, rpc::Fd::Stderr].map(|fd| asked.fds.contains(&fd));
        let inner = Inner {
            state: State::Waiting,
            sink,
            passed: Ring::new(Arc::clone(&share)),
            redact,
            partial: false,
            masked: 0,
            held: false,
            unheld_for_good: false,
            stdin_window: STDIN_WINDOW,
            ended: None,
            report: None,
            refused: None,
            closed: false,
            asked: keepsake.is_some().then(|| {
                let (request_id, display) = (request_id.clone(), display.clone());
                let started = started.as_millisecond();
                Box::new(Asked { asked: asked.clone(), request_id, display, started, pid })
            }),
            diary: None,
            marks: [Mark::default(); 2],
            taken: [0; 2],
        };
        let (writes, receive) = mpsc::channel(WRITES);
        let exec = Self {
            id: asked.id.clone(),
            request_id,
            number,
            asked: digest,
            display,
            background: asked.background,
            stdin: if passed[0] { rpc::Stdin::Pipe } else { asked.stdin },
            passed,
            kind: Facts::of(asked),
            share,
            started,
            bound_to,
            cancel: CancellationToken::new(),
            kill: CancellationToken::new(),
            writes,
            written: AtomicUsize::new(0),
            orders,
            keepsake,
            inner: Mutex::new(inner),
            changed: watch::Sender::new(()),
        };
        (exec, receive)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and tells whoever waits.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let changed = change(&mut self.inner());
        self.changed.send_replace(());
        changed
    }

    /// Waits until `done` has something, which is asked for again whenever anything changes.
    async fn until<T>(&self, mut done: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(result) = done(&mut self.inner()) {
                return result;
            }
            // The sender is in `self`, so that this cannot fail.
            let _ = changes.changed().await;
        }
    }

    // What the runner says.

    /// The command has ended and all of its output has come, or it was lost with its runner.
    pub(super) fn end(&self, ended: Result<Ended, String>) {
        self.change(|inner| {
            if inner.ended.is_some() {
                return;
            }
            for stream in [Stream::Stdout, Stream::Stderr] {
                let redact = &mut inner.redact[index(stream)];
                let (all, mut out) = (redact.taken(), Vec::new());
                redact.finish(&mut out);
                inner.masked += redact.masked();
                let mark = Mark::end(all, redact.masked());
                self.push(inner, stream, out, mark);
            }
            inner.partial = false;
            inner.ended = Some(ended);
        });
    }

    // What the pipeline does.

    /// Masks these secrets in what will be written; nothing has been yet.
    pub(super) fn redact_with(&self, redactor: &redact::Redactor) {
        self.inner().redact = [redactor.stream(), redactor.stream()];
    }

    /// Waits for the end; says how it came and how many places were masked.
    pub(super) async fn ended(&self) -> (Result<Ended, String>, u64) {
        self.until(|inner| inner.ended.clone().map(|ended| (ended, inner.masked))).await
    }

    pub(super) fn running(&self) {
        self.change(|inner| inner.state = State::Running);
    }

    /// It is over, or never was.
    pub(super) fn over(&self, report: rpc::Report, refused: Option<rpc::Error>) {
        self.change(|inner| {
            inner.state = State::Ended;
            inner.report = Some(Arc::new(report));
            inner.refused = refused;
            inner.closed = true;
        });
        self.kill.cancel();
    }

    // What its principal asks.

    pub(in crate::supervisor) fn state(&self) -> State {
        self.inner().state
    }

    /// The refusal that a repeated start gets, too.
    pub(super) fn refused(&self) -> Option<rpc::Error> {
        self.inner().refused.clone()
    }

    /// Sends a signal to its process group.
    pub(in crate::supervisor) async fn signal(&self, signal: i32) {
        self.orders.send_in_turn(ToRunner::Signal { id: self.number, signal }).await;
    }

    /// Gives its terminal another size.
    pub(in crate::supervisor) async fn resize(&self, size: rpc::Size) {
        self.orders.send_in_turn(ToRunner::Resize { id: self.number, window: size.window() }).await;
    }

    /// Waits for the report.
    pub(in crate::supervisor) async fn report(&self) -> Arc<rpc::Report> {
        self.until(|inner| inner.report.clone()).await
    }

    /// The limit on kept output, where it was reached.
    pub(super) fn flooded(&self) -> Option<Reached> {
        let inner = self.inner();
        let Sink::Collect(streams) = &inner.sink else { return None };
        let lost = |index: usize| if self.passed[1 + index] { 0 } else { streams[index].left_out() };
        let [stdout, stderr] = [lost(0), lost(1)];
        (stdout + stderr > 0).then(|| {
            let missing: Vec<String> = streams.iter().filter_map(Kept::missing).collect();
            let rest = if missing.is_empty() { "exec/range has them".to_owned() } else { missing.join("; ") };
            let evidence = format!(
                "between what is shown {stdout} bytes of stdout and {stderr} of stderr are missing: {rest}"
            );
            Reached { limit: LimitName::Output, evidence }
        })
    }

    /// How far it has come and what it left, for `exec/wait`.
    pub(in crate::supervisor) fn waited(&self) -> rpc::Waited {
        let inner = self.inner();
        let collected = |index: usize| match &inner.sink {
            Sink::Collect(streams) if inner.report.is_some() && !self.passed[1 + index] => {
                Some(streams[index].collected())
            }
            _ => None,
        };
        rpc::Waited {
            id: self.id.clone(),
            state: inner.state,
            report: inner.report.as_deref().cloned(),
            stdout: collected(0),
            stderr: collected(1),
        }
    }

    pub(in crate::supervisor) fn listed(&self) -> rpc::Exec {
        let inner = self.inner();
        rpc::Exec {
            id: self.id.clone(),
            request_id: self.request_id.clone(),
            command: self.display.clone(),
            state: inner.state,
            background: self.background,
            started: self.started.to_string(),
            last_seq: match &inner.sink {
                Sink::Chunks(ring) => ring.last(),
                Sink::Collect(_) => 0,
            },
        }
    }
}

impl dialog::Command for Arc<Exec> {
    fn facts(&self) -> Facts {
        Facts { state: self.state(), ..self.kind }
    }
}

impl Member for Arc<Exec> {
    type Asked = Digest;

    fn asked(&self) -> Digest {
        self.asked
    }

    fn state(&self) -> State {
        Exec::state(self)
    }
}
