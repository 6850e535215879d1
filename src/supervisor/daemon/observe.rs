//! The daemon as those see it who watch: its status, its events, its metrics.
//!
//! Metrics are served on a Unix socket beside the two others, to whoever may open it, in the text format of OpenMetrics over HTTP.
//! What a reader does, or does not do, costs a place of few and a time, and nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;

use super::connection::Connection;
use super::sockets::Layout;
use super::{House, jobs};
use crate::approval;
use crate::supervisor::pulse::Now;
use crate::wire::rpc::{
    Done, EngineStatus, Event, Happened, Happening, Id, Job, JobsStatus, Settled, Status,
};

/// The name of the socket.
pub(super) const SOCKET: &str = "metrics.sock";

/// Readers at a time, and how long one may take.
const READERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the engine may take to say that it is there.
const ENGINE: Duration = Duration::from_secs(2);

/// How the daemon is.
pub(super) async fn status(house: Arc<House>) -> Status {
    let now = now(&house).await;
    let common = &house.common;
    let policy = common.policy();
    let pulse = common.scribe.pulse();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: pulse.started.to_string(),
        uptime_ms: u64::try_from(pulse.uptime().as_millis()).unwrap_or(u64::MAX),
        separation: house.principals.separates(),
        policy: policy.name().to_owned(),
        policy_digest: crate::stage::Digest::from(policy.digest()).to_hex(),
        sessions: now.sessions,
        running: now.running,
        pending: now.pending,
        decisions: pulse.decisions(),
        jobs: now.jobs,
        engine: engine(&house).await,
    }
}

async fn engine(house: &House) -> Option<EngineStatus> {
    let engine = &house.common.engine;
    let socket = engine.options().socket.clone();
    if !socket.exists() {
        return None;
    }
    let error = match tokio::time::timeout(ENGINE, engine.images()).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("it does not answer in time".to_owned()),
    };
    Some(EngineStatus { socket: socket.display().to_string(), error })
}

async fn now(house: &Arc<House>) -> Now {
    let (sessions, running) = {
        let all = house.sessions().all();
        (all.len() as u64, all.iter().map(|session| session.listed().running).sum())
    };
    let pending = house.common.broker.watch().0.len() as u64;
    // A state that cannot be read is told by the jobs themselves.
    let jobs = jobs::list(Arc::clone(house)).await.map(|all| {
        let count = |which: &dyn Fn(&Job) -> bool| all.jobs.iter().filter(|job| which(job)).count() as u64;
        let last = |job: &Job| job.last.as_ref().map(|last| last.state.clone()).unwrap_or_default();
        JobsStatus {
            all: all.jobs.len() as u64,
            running: count(&|job| last(job) == "running"),
            overdue: count(&|job| job.overdue),
            failing: count(&|job| !matches!(last(job).as_str(), "" | "ok" | "scheduled" | "running")),
            dead_letters: all.dead_letters,
        }
    });
    Now { sessions, running, pending, jobs: jobs.unwrap_or_default() }
}

/// Tells an operator of what happens, from now on. One that is too slow is told how much it missed; nobody waits for it.
pub(super) async fn watch(connection: &Arc<Connection>, id: Id) {
    let mut events = connection.house.common.scribe.pulse().watch();
    connection.reply(id, Ok(Done {})).await;
    let connection = Arc::clone(connection);
    Arc::clone(&connection).spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = connection.house.closing.cancelled() => return,
            };
            let happened = match event {
                Ok(happened) => Happened::clone(&happened),
                Err(RecvError::Lagged(count)) => {
                    connection.house.common.scribe.pulse().missed(count);
                    Happened { time: jiff::Timestamp::now().to_string(), what: Happening::Missed { count } }
                }
                Err(RecvError::Closed) => return,
            };
            connection.notify(&Event::Happened(happened)).await;
        }
    });
}

/// Counts the questions and how long they waited, until the daemon ends.
pub(super) async fn count_questions(house: Arc<House>) {
    let counted = async {
        let (_, mut events) = house.common.broker.watch();
        let mut since = HashMap::new();
        loop {
            match events.recv().await {
                Ok(approval::Event::Pending(question)) => {
                    since.insert(question.approval.clone(), Instant::now());
                    house.common.scribe.pulse().tell(|| Happening::ApprovalPending {
                        approval: question.approval.clone(),
                        session: question.session.clone(),
                        uid: question.principal.uid,
                    });
                }
                Ok(approval::Event::Settled(approval, settled)) => {
                    let how = match settled {
                        Settled::Answered { .. } => "answered",
                        Settled::Expired => "expired",
                        Settled::Withdrawn => "withdrawn",
                    };
                    let waited = since.remove(&approval).map_or(Duration::ZERO, |since| since.elapsed());
                    let pulse = house.common.scribe.pulse();
                    pulse.settled(how, waited);
                    pulse.tell(|| Happening::ApprovalSettled {
                        approval,
                        how: how.to_owned(),
                        waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                    });
                }
                // What was settled meanwhile is not known: those that still wait are kept.
                Err(RecvError::Lagged(_)) => {
                    let (waiting, anew) = house.common.broker.watch();
                    events = anew;
                    since.retain(|approval, _| waiting.iter().any(|it| it.approval == *approval));
                }
                Err(RecvError::Closed) => return,
            }
        }
    };
    tokio::select! {
        () = counted => {}
        () = house.closing.cancelled() => {}
    }
}

/// The metrics' socket, gone with this value.
#[derive(Debug)]
pub(super) struct Metrics {
    listener: StdListener,
    path: PathBuf,
}

impl Drop for Metrics {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Metrics {
    /// Makes the socket beside the operators': for them, and nobody else.
    ///
    /// # Errors
    /// When something else is there, or the directory cannot be written.
    pub(super) fn make(operators: &StdListener) -> std::io::Result<Self> {
        let address = operators.local_addr()?;
        let directory = address.as_pathname().and_then(Path::parent);
        let directory =
            directory.ok_or_else(|| std::io::Error::other("the operators' socket has no place"))?;
        let path = directory.join(SOCKET);
        // What a daemon left that was killed; whoever has the operators' socket has this directory.
        match std::fs::symlink_metadata(&path) {
            Ok(about) if about.file_type().is_socket() => std::fs::remove_file(&path)?,
            Ok(_) => return Err(std::io::Error::other("something is there that is no socket")),
            Err(_) => {}
        }
        let listener = StdListener::bind(&path)?;
        let made = Self { listener, path };
        let layout = Layout::of(directory, nix::unistd::geteuid().as_raw());
        layout.metrics.open().map_err(std::io::Error::other)?;
        Ok(made)
    }

    /// Serves it until the daemon ends.
    pub(super) async fn serve(self, house: Arc<House>) {
        let listener = self.listener.try_clone().and_then(|listener| {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "no metrics are served"),
        };
        let places = Arc::new(Semaphore::new(READERS));
        let served = async {
            loop {
                // Those beyond wait in the kernel's queue.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(super::REST).await;
                    continue;
                };
                let house = Arc::clone(&house);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let house = Arc::clone(&house);
                        async move { Ok::<_, Infallible>(answer(&house, &request).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(PATIENCE)
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = tokio::time::timeout(PATIENCE, http).await;
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = served => {}
            () = house.closing.cancelled() => {}
        }
    }
}

async fn answer<B>(house: &Arc<House>, request: &Request<B>) -> Response<String> {
    let mut response = Response::new(String::new());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    if request.method() != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(text));
    *response.body_mut() = house.common.scribe.pulse().text(&now(house).await);
    response
}
