//! From an image to a container whose runner has come.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerState, ImageInspect};
use bollard::query_parameters::CreateContainerOptions;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::error::engine;
use super::place::{Place, SOCKET};
use super::pool::{self, Launched};
use super::{DockerError, Engine, Image, Made, container, images, seccomp, sweep};
use crate::prepare::Directory;
use crate::wire::runner::SandboxSpec;

/// The version of the protocol of Docker 20.10, before which an engine ignores what is asked here: (major, minor).
const OLDEST: (u32, u32) = (1, 41);

/// How long an engine may take to notice that a container has ended.
const NOTICE: Duration = Duration::from_secs(5);

/// How long a container may take from its start until its runner has come.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A container with its runner in it. Dropped, it is removed with everything in it.
#[derive(Debug)]
pub(in crate::sandbox) struct Running {
    pub(super) engine: Engine,
    pub(super) id: String,
    /// What the engine was asked for, and of which image.
    pub(super) asked: Box<ContainerCreateBody>,
    pub(super) image: Image,
    /// Gone after the container, never before. None where the engine is elsewhere.
    pub(super) place: Option<Place>,
    /// Nothing may come for this long, of a runner that says now and then that it is there.
    pub(in crate::sandbox) silence: Option<Duration>,
    /// It is the next supervisor's to remove.
    pub(super) left: bool,
}

impl Running {
    /// Leaves it to the next supervisor.
    pub(in crate::sandbox) fn leave(mut self) {
        self.left = true;
        self.place.take().into_iter().for_each(Place::leave);
    }

    /// Removes it, for an error that is passed on: by this connection, where dropping it has another one made.
    pub(super) async fn undo(self, docker: &Docker, error: DockerError) -> DockerError {
        sweep::remove(docker, &self.id).await;
        error
    }

    /// Whether it is there, runs, and is still what was asked for; its first process. Else, why not.
    pub(super) async fn look(&self, docker: &Docker) -> Result<i64, &'static str> {
        let made = docker.inspect_container(&self.id, None).await.map_err(|_| "the engine has it no more")?;
        let state = made.state.clone().unwrap_or_default();
        if state.running != Some(true) || state.paused == Some(true) {
            return Err("it does not run");
        }
        let same = container::differences(&self.asked, &made).is_empty();
        same.then(|| state.pid.unwrap_or_default()).ok_or("it is not what was asked for any more")
    }

    /// Whether what is mounted over the workspace is what would be mounted now.
    pub(super) fn holds(&self, spec: &SandboxSpec, workspace: &Directory) -> bool {
        self.place.as_ref().is_some_and(|place| place.holds(spec, workspace))
    }

    /// What the engine says of it; `None` where it has none of this name.
    async fn state(&self) -> Result<Option<ContainerState>, DockerError> {
        let id = self.id.clone();
        let asked = self.engine.ask(move |docker| async move { docker.inspect_container(&id, None).await });
        match asked.await? {
            Ok(inspected) => Ok(Some(inspected.state.unwrap_or_default())),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(engine(self.engine.shown(), "look at the container")(error)),
        }
    }

    /// Why nothing comes from a container that is there, where somebody has stopped it. An engine that does not answer is no
    /// reason: containers go on without it.
    pub(in crate::sandbox) async fn why_silent(&self) -> Option<String> {
        let state = self.state().await.ok()??;
        (state.paused == Some(true)).then(|| "the container was paused from outside".to_owned())
    }

    /// Why its runner has gone, as far as the engine can say.
    pub(in crate::sandbox) async fn why_gone(&self) -> String {
        let until = tokio::time::Instant::now() + NOTICE;
        let state = loop {
            match self.state().await {
                Ok(Some(state)) if state.running == Some(true) && tokio::time::Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(Some(state)) => break state,
                Ok(None) => return "the container was removed from outside".to_owned(),
                Err(error) => return error.to_string(),
            }
        };
        if state.oom_killed == Some(true) {
            return "the container's memory ran out, and its runner was killed".to_owned();
        }
        match (state.running, state.exit_code) {
            (Some(true), _) => "its runner closed the connection".to_owned(),
            (_, Some(137)) => "the container was killed from outside".to_owned(),
            (_, code) => format!("the container ended with code {}", code.unwrap_or_default()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let (id, place) = (std::mem::take(&mut self.id), self.place.take());
        self.engine.ask_and_wait(move |docker| async move {
            sweep::remove(&docker, &id).await;
            drop(place);
        });
    }
}

/// Whether the engine knows all that it is asked for.
pub(super) async fn is_fit(docker: &Docker, of: &Engine) -> Result<(), DockerError> {
    let version = docker.version().await.map_err(engine(of.shown(), "say its version"))?;
    fit(version.api_version).map(drop)
}

/// The version of an engine's protocol, if it will do.
pub(super) fn fit(api: Option<String>) -> Result<String, DockerError> {
    let found = api.unwrap_or_default();
    if speaks(&found, OLDEST) { Ok(found) } else { Err(DockerError::Old { found }) }
}

/// Takes a container that waits for such a session, or makes one.
pub(super) async fn launch(
    docker: Docker,
    of: Engine,
    spec: SandboxSpec,
    made: Made,
    workspace: Directory,
) -> Result<Launched, DockerError> {
    let (fit, image) = tokio::join!(is_fit(&docker, &of), images::inspect(&docker, &of, &made.image));
    fit?;
    let image = image?;
    let of_image = Image::from(image.clone());
    if !made.permits(&of_image) {
        return Err(DockerError::Image(made.image));
    }
    if of.options().pool > 0 {
        let key = pool::Key::new(&of_image.id, &spec);
        if let Some(launched) = pool::take(&docker, &of, &key, &workspace).await {
            return Ok(launched);
        }
    }
    make(&docker, &of, spec, &image, &workspace).await
}

/// Makes a container, looks at what the engine made of it, and waits for its runner.
pub(super) async fn make(
    docker: &Docker,
    of: &Engine,
    mut spec: SandboxSpec,
    image: &ImageInspect,
    workspace: &Directory,
) -> Result<Launched, DockerError> {
    let name = name()?;
    let sandbox = pool::Key::new(&Image::from(image.clone()).id, &spec).digest();
    let place = Place::make(&of.options().directory, &name, &mut spec, workspace)?;
    let listener = listen(&place)?;
    let way = container::Way::here(&place, place.labels(sandbox));
    let running = create(docker, of, &spec, image, name, way, Some(place)).await?;
    match begin(docker, of, &running.asked, &running.id, listener).await {
        Ok(stream) => Ok((stream, running, spec)),
        Err(error) => Err(running.undo(docker, error).await),
    }
}

/// Has the engine make a container, which does not run. From here on, whatever fails, it goes with what this returns.
pub(super) async fn create(
    docker: &Docker,
    of: &Engine,
    spec: &SandboxSpec,
    image: &ImageInspect,
    name: String,
    way: container::Way,
    place: Option<Place>,
) -> Result<Running, DockerError> {
    let seccomp = seccomp::profile().map_err(|error| DockerError::Place {
        what: "the seccomp profile".into(),
        error: error.to_string(),
    })?;
    let asked = container::ask(spec, image, &seccomp, way);
    let options = CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
    let created = docker.create_container(Some(options), asked.clone()).await;
    let id = created.map_err(engine(of.shown(), "make the container"))?.id;
    Ok(Running {
        engine: of.clone(),
        id,
        asked: Box::new(asked),
        image: Image::from(image.clone()),
        place,
        silence: None,
        left: false,
    })
}

/// A name for a container that no other has.
pub(super) fn name() -> Result<String, DockerError> {
    let mut name = [0; 8];
    let error =
        |error: getrandom::Error| DockerError::Place { what: "a name".into(), error: error.to_string() };
    getrandom::fill(&mut name).map_err(error)?;
    Ok(format!("execward-{}", name.map(|byte| format!("{byte:02x}")).concat()))
}

/// That the engine has made what it was asked for.
pub(super) async fn compare(
    docker: &Docker,
    of: &Engine,
    asked: &ContainerCreateBody,
    id: &str,
) -> Result<(), DockerError> {
    let made =
        docker.inspect_container(id, None).await.map_err(engine(of.shown(), "look at the container"))?;
    let differences = container::differences(asked, &made);
    if differences.is_empty() { Ok(()) } else { Err(DockerError::Different(differences)) }
}

async fn begin(
    docker: &Docker,
    of: &Engine,
    asked: &ContainerCreateBody,
    id: &str,
    listener: tokio::net::UnixListener,
) -> Result<UnixStream, DockerError> {
    let wrong = |what| engine(of.shown(), what);
    compare(docker, of, asked, id).await?;
    docker.start_container(id, None).await.map_err(wrong("start the container"))?;
    let arrived = tokio::time::timeout(ARRIVAL, listener.accept());
    let state = async {
        let made = docker.inspect_container(id, None).await.map_err(wrong("look at the container"))?;
        Ok::<_, DockerError>((made.state.unwrap_or_default(), made.mounts.unwrap_or_default()))
    };
    let (arrived, state) = tokio::join!(arrived, state);
    let (state, _) = state?;
    let stream = match arrived {
        Ok(Ok((stream, _))) => stream,
        Ok(Err(error)) => {
            return Err(DockerError::Place { what: "a connection".into(), error: error.to_string() });
        }
        Err(_) => return Err(DockerError::Ended(state.error.unwrap_or_else(|| "it never answered".into()))),
    };
    // Nobody may answer for the runner.
    let peer = getsockopt(&stream, PeerCredentials).ok();
    let (pid, expected) = (peer.map(|peer| peer.pid()), state.pid.unwrap_or_default());
    if peer.is_none_or(|peer| peer.uid() != 0) || pid.map(i64::from) != Some(expected) || expected == 0 {
        return Err(DockerError::Stranger { found: pid, expected });
    }
    let stream = stream
        .into_std()
        .map_err(|error| DockerError::Place { what: "a connection".into(), error: error.to_string() })?;
    Ok(stream)
}

/// Whether a version of the protocol is this one or a later one.
fn speaks(found: &str, oldest: (u32, u32)) -> bool {
    let numbers =
        found.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.is_some_and(|numbers: (u32, u32)| numbers >= oldest)
}

/// Waits for the runner at the socket of its place.
fn listen(place: &Place) -> Result<tokio::net::UnixListener, DockerError> {
    let path = place.socket();
    let listen = || {
        // By the directory's descriptor: a path may be longer than an address.
        let directory = std::fs::File::open(path.parent().unwrap_or(&path))?;
        let short = format!("/proc/self/fd/{}/{SOCKET}", std::os::fd::AsRawFd::as_raw_fd(&directory));
        let listener = tokio::net::UnixListener::bind(short)?;
        let mode = if nix::unistd::geteuid().is_root() { 0o600 } else { 0o666 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok::<_, std::io::Error>(listener)
    };
    listen().map_err(|error| DockerError::Place {
        what: path.to_string_lossy().into_owned(),
        error: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(speaks("1.41", OLDEST) && speaks("1.100", OLDEST) && speaks("2.0", OLDEST));
        assert!(
            !speaks("1.9", OLDEST)
                && !speaks("1.40", OLDEST)
                && !speaks("", OLDEST)
                && !speaks("x.y", OLDEST)
        );
    }
}
