//! An engine, and the thread that speaks with it.
//!
//! The client's connections belong to an event loop. Whoever uses this has one, or several, or is about to end: so the
//! client has a loop of its own on a thread of its own, to which work is handed.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use tokio::sync::{mpsc, oneshot};

use super::error::engine;
use super::launch::{self, Running};
use super::pool::{self, Pool};
use super::sweep;
use super::{About, DockerError, Image, Made, Options, about, images};
use crate::prepare::Directory;
use crate::wire::runner::SandboxSpec;

/// How long the engine may take for one request.
const PATIENCE: u64 = 60;
/// How long whoever ends a session waits for the end of its container.
const FAREWELL: Duration = Duration::from_secs(20);

const THREAD: &str = "docker";

type Job = Box<dyn FnOnce(Docker) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// An engine. Nothing is asked of it before the first container is.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    pool: Pool,
    jobs: Mutex<Option<mpsc::UnboundedSender<Job>>>,
}

impl Engine {
    /// Says where it is.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Inner { options, pool: Pool::default(), jobs: Mutex::default() }))
    }

    /// Where it is, and how it is used.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// What it is called in errors.
    pub(super) fn shown(&self) -> &Path {
        self.options().shown.as_deref().unwrap_or(&self.options().socket)
    }

    /// Makes a container with this sandbox, in which the runner waits for commands.
    pub(in crate::sandbox) async fn launch(
        &self,
        spec: SandboxSpec,
        made: Made,
        workspace: &Directory,
    ) -> Result<(std::os::unix::net::UnixStream, Running, SandboxSpec), DockerError> {
        let again = |workspace: &Directory| {
            Ok::<_, DockerError>(Directory {
                path: workspace.path.clone(),
                fd: workspace.fd.try_clone().map_err(|error| DockerError::Place {
                    what: "a descriptor of the workspace".into(),
                    error: error.to_string(),
                })?,
                id: workspace.id,
                owner: workspace.owner,
            })
        };
        let (held, engine) = (again(workspace)?, self.clone());
        let next = (self.options().pool > 0)
            .then(|| again(workspace))
            .transpose()?
            .map(|next| (next, spec.clone(), made.clone()));
        let launched = self.ask(move |docker| launch::launch(docker, engine, spec, made, held)).await??;
        if let Some((workspace, spec, made)) = next {
            let engine = self.clone();
            let refill = move |docker| -> Pin<Box<dyn Future<Output = ()> + Send>> {
                Box::pin(pool::refill(docker, engine, spec, made, workspace))
            };
            // The session is there; what the next one would gain is no reason to lose it.
            drop(self.hand(Box::new(refill)));
        }
        Ok(launched)
    }

    /// Removes the containers that wait, and has no more wait. Waits for their end.
    pub fn close(&self) {
        drop(self.0.pool.close());
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When it does not say, or is too old.
    pub async fn about(&self) -> Result<About, DockerError> {
        let engine = self.clone();
        self.ask(move |docker| async move { about::about(&docker, &engine).await }).await?
    }

    /// The images that are here.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn images(&self) -> Result<Vec<Image>, DockerError> {
        let engine = self.clone();
        self.ask(move |docker| async move { images::list(&docker, &engine).await }).await?
    }

    /// One image.
    ///
    /// # Errors
    /// When it is not here.
    pub async fn image(&self, name: &str) -> Result<Image, DockerError> {
        let (engine, name) = (self.clone(), name.to_owned());
        self.ask(move |docker| async move { images::inspect(&docker, &engine, &name).await.map(Image::from) })
            .await?
    }

    /// Removes what dead supervisors of this user have left: containers with our labels whose place nobody holds.
    /// Never another's. Says how many.
    ///
    /// # Errors
    /// When the engine does not say what there is.
    pub async fn sweep(&self) -> Result<usize, DockerError> {
        let engine = self.clone();
        self.ask(move |docker| async move { sweep::sweep(&docker, &engine).await }).await?
    }

    /// Has something done on the engine's thread, once the engine has answered.
    pub(super) async fn ask<T, F, A>(&self, ask: A) -> Result<T, DockerError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
        A: FnOnce(Docker) -> F + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.hand(Box::new(move |docker| Box::pin(async move { drop(reply.send(ask(docker).await)) })))?;
        answer.await.map_err(|_| self.down("its thread has ended"))
    }

    /// The same for whoever cannot await; waits for a while.
    pub(super) fn ask_and_wait<F, A>(&self, ask: A)
    where
        F: Future<Output = ()> + Send + 'static,
        A: FnOnce(Docker) -> F + Send + 'static,
    {
        let (done, wait) = std::sync::mpsc::channel();
        let job: Job = Box::new(move |docker| {
            Box::pin(async move {
                ask(docker).await;
                let _ = done.send(());
            })
        });
        // The thread itself cannot wait for what it has yet to do.
        let own = std::thread::current().name() == Some(THREAD);
        if self.hand(job).is_ok() && !own {
            let _ = wait.recv_timeout(FAREWELL);
        }
    }

    fn hand(&self, job: Job) -> Result<(), DockerError> {
        let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*jobs {
            Some(sender) if !sender.is_closed() => sender,
            _ => jobs.insert(self.start()?),
        };
        sender.send(job).map_err(|_| self.down("its thread has ended"))
    }

    fn start(&self) -> Result<mpsc::UnboundedSender<Job>, DockerError> {
        let socket = self.0.options.socket.to_string_lossy().into_owned();
        let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
        let docker = Docker::connect_with_unix(&socket, PATIENCE, bollard::API_DEFAULT_VERSION)
            .map_err(engine(self.shown(), "be found"))?;
        std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let Ok(runtime) = runtime else { return };
                runtime.block_on(async move {
                    while let Some(job) = jobs.recv().await {
                        tokio::spawn(job(docker.clone()));
                    }
                });
            })
            .map_err(|error| self.down(&error.to_string()))?;
        Ok(sender)
    }

    pub(super) fn down(&self, error: &str) -> DockerError {
        DockerError::Down { socket: self.shown().to_owned(), error: error.to_owned() }
    }
}
