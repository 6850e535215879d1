//! An engine elsewhere: its containers' runners are reached by their standard input and output.
//!
//! Nothing of this machine can be mounted there. So the binary goes into a volume of that engine's, once for each version, by
//! digest; and the workspace is either a directory there (a file system that machines share), or one that is made for the
//! session and goes with it, to and from which commands copy what they need. What is mounted of the former is the directory that
//! the configuration names: the runner opens the workspace below it, through no link.
//!
//! The container's standard input ends with the connection, and with it the runner and the container, which the engine removes: of
//! a supervisor that dies nothing is left.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions};
use bollard::query_parameters::{
    AttachContainerOptions, ContainerArchiveInfoOptions, CreateContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tar::EntryType;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::error::engine;
use super::launch::{self, Running};
use super::place::{LABEL_OWNER, LABEL_SANDBOX, LABEL_SUPERVISOR, bind};
use super::pool::Key;
use super::tunnel::Tunnel;
use super::{DockerError, Endpoint, Engine, Image, Options, POOL_IDLE, RUNNER, container, images, sweep};
use crate::sandbox::image;
use crate::sandbox::launcher::Complaints;
use crate::wire::runner::{Container, Ground, ROLE, STDIO, SandboxSpec};

/// Where the volume with the binary is in a container: the directory of [`RUNNER`].
const VOLUME: &str = "/.execward";

/// What the names of such volumes begin with.
const VOLUMES: &str = "execward-runner-";

/// The sockets of ways to engines, below the directory of containers. No sweep looks at it.
const TUNNELS: &str = ".engines";

/// How a block of an archive is padded: tar(5).
const BLOCK: usize = 512;

/// How an engine elsewhere is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Of the launcher.
    pub name: String,
    /// Where the engine is.
    pub endpoint: Endpoint,
    /// The same, as it was written.
    pub url: String,
    /// What containers are made of.
    pub image: String,
    /// User and group id of the commands there.
    pub user: u32,
    /// For the process that reaches it.
    pub environment: Vec<(String, String)>,
    /// A directory of this user's alone.
    pub directory: PathBuf,
}

/// An engine elsewhere. Nothing goes there before it is first asked something.
#[derive(Debug)]
pub struct Remote {
    settings: Settings,
    open: Mutex<Option<Open>>,
    /// One binary is sent at a time.
    sending: std::sync::Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Open {
    engine: Engine,
    tunnel: Option<Tunnel>,
}

impl PartialEq for Remote {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Eq for Remote {}

/// A container whose runner is reached, and has not been greeted.
pub(in crate::sandbox) struct Attached {
    pub(in crate::sandbox) stream: StdStream,
    pub(in crate::sandbox) running: Running,
    pub(in crate::sandbox) complaints: Complaints,
}

impl Remote {
    /// One with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, open: Mutex::default(), sending: std::sync::Arc::default() }
    }

    /// User and group id of the commands there.
    pub fn user(&self) -> u32 {
        self.settings.user
    }

    /// Whether the engine answers, and is one that can be used.
    ///
    /// # Errors
    /// Why not.
    pub async fn health(&self) -> Result<(), DockerError> {
        let engine = self.engine().await?;
        let asked = engine.clone();
        let fit = engine.ask(move |docker| async move { launch::is_fit(&docker, &asked).await }).await;
        self.explained(fit.and_then(|fit| fit)).await
    }

    /// Removes what sessions that are over, and runners of other versions, have left there.
    ///
    /// # Errors
    /// When the engine does not say what there is.
    pub async fn sweep(&self) -> Result<(), DockerError> {
        let (engine, current) = (self.engine().await?, volume()?);
        let of = engine.clone();
        let swept = engine.ask(move |docker| async move {
            sweep::sweep_elsewhere(&docker, &of, (VOLUMES, &current)).await
        });
        self.explained(swept.await.and_then(|swept| swept)).await
    }

    /// Makes a container with this sandbox, and attaches to its runner.
    pub(in crate::sandbox) async fn launch(
        &self,
        spec: &SandboxSpec,
        silence: Duration,
    ) -> Result<Attached, DockerError> {
        let engine = self.engine().await?;
        let (of, spec, settings) = (engine.clone(), spec.clone(), self.settings.clone());
        let sending = std::sync::Arc::clone(&self.sending);
        let launched = engine
            .ask(move |docker| async move {
                let made = make(&docker, &of, &spec, &settings, &sending).await;
                made.map(|mut made| {
                    made.running.silence = Some(silence);
                    made
                })
            })
            .await;
        self.explained(launched.and_then(|launched| launched)).await
    }

    async fn engine(&self) -> Result<Engine, DockerError> {
        let Settings { name, endpoint, url, environment, directory, .. } = &self.settings;
        let down = |error: String| DockerError::Down { socket: url.into(), error };
        let mut open = self.open.lock().await;
        if open.is_none() {
            image::own_directory(directory)
                .map_err(|error| down(format!("{}: {error}", directory.display())))?;
            let tunnel = Tunnel::open(endpoint, environment, &directory.join(TUNNELS), name).map_err(down)?;
            let socket = match (&tunnel, endpoint) {
                (Some(tunnel), _) => tunnel.path().to_owned(),
                (None, Endpoint::Unix(path)) => path.clone(),
                (None, _) => return Err(down("there is no way to it".to_owned())),
            };
            let options = Options {
                socket,
                shown: Some(url.into()),
                directory: directory.clone(),
                pool: 0,
                pool_idle: POOL_IDLE,
            };
            *open = Some(Open { engine: Engine::new(options), tunnel });
        }
        let Some(Open { engine, tunnel }) = &*open else { return Err(down("it is not open".to_owned())) };
        if let Some(tunnel) = tunnel {
            tunnel.check().await.map_err(down)?;
        }
        Ok(engine.clone())
    }

    /// An error with what the way to the engine has to say to it.
    async fn explained<T>(&self, result: Result<T, DockerError>) -> Result<T, DockerError> {
        let Err(DockerError::Down { socket, error }) = result else { return result };
        // What ssh said of its end may not have been read yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let open = self.open.lock().await;
        let said = open.as_ref().and_then(|open| open.tunnel.as_ref()).map(Tunnel::said).unwrap_or_default();
        Err(DockerError::Down { socket, error: format!("{error}{said}") })
    }
}

async fn make(
    docker: &Docker,
    of: &Engine,
    spec: &SandboxSpec,
    settings: &Settings,
    sending: &Mutex<()>,
) -> Result<Attached, DockerError> {
    let Ground::Container(Container { far: Some(far), .. }) = &spec.ground else {
        return Err(DockerError::Changed("it is not of an engine elsewhere"));
    };
    launch::is_fit(docker, of).await?;
    let image = images::inspect(docker, of, &settings.image).await?;
    let size = image::about().map_err(|error| binary(&error))?.size;
    let volume = volume()?;
    let of_image = Image::from(image.clone()).id;
    let mut labels = labels();
    labels.insert(LABEL_SANDBOX.to_owned(), Key::new(&of_image, spec).digest());
    let way = container::Way {
        mounts: vec![runner_volume(&volume, true), root(&far.root, far.make, spec.workspace.writable)],
        labels,
        words: vec![ROLE.to_owned(), STDIO.to_owned()],
        attached: true,
    };
    let running = launch::create(docker, of, spec, &image, launch::name()?, way, None).await?;
    let begun = async {
        launch::compare(docker, of, &running.asked, &running.id).await?;
        {
            let _one = sending.lock().await;
            if !has_runner(docker, &running.id, size).await {
                send(docker, of, &of_image, &volume, size).await?;
            }
        }
        if far.make {
            make_workspace(docker, of, &running.id, &far.root, &spec.workspace.path, settings.user).await?;
        }
        attach(docker, of, &running.id).await
    };
    match begun.await {
        Ok((stream, complaints)) => Ok(Attached { stream, running, complaints }),
        Err(error) => Err(running.undo(docker, error).await),
    }
}

/// What tells our containers from others'.
fn labels() -> HashMap<String, String> {
    HashMap::from([
        (LABEL_OWNER.to_owned(), nix::unistd::geteuid().to_string()),
        (LABEL_SUPERVISOR.to_owned(), std::process::id().to_string()),
    ])
}

/// What the volume with this version's binary is called.
fn volume() -> Result<String, DockerError> {
    let digest = &image::about().map_err(|error| binary(&error))?.digest;
    Ok(format!("{VOLUMES}{}", digest.get(..32).unwrap_or(digest)))
}

/// The volume with the binary.
fn runner_volume(name: &str, read_only: bool) -> Mount {
    Mount {
        target: Some(VOLUME.into()),
        source: Some(name.to_owned()),
        typ: Some(MountType::VOLUME),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    }
}

/// What the workspace lies in: a volume that goes with the container, or the directory that is there.
fn root(path: &Path, make: bool, writable: bool) -> Mount {
    if make {
        return Mount {
            target: Some(path.to_string_lossy().into_owned()),
            typ: Some(MountType::VOLUME),
            read_only: Some(false),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..Mount::default()
        };
    }
    bind(path, path, writable)
}

/// Whether the container has the whole binary: one that was sent in part is shorter.
async fn has_runner(docker: &Docker, id: &str, size: u64) -> bool {
    let options = ContainerArchiveInfoOptions { path: RUNNER.to_owned() };
    let found = docker.get_container_archive_info(id, Some(options)).await;
    found.is_ok_and(|found| u64::try_from(found.size) == Ok(size))
}

/// Sends the binary into its volume, by a container that has it writable and never runs.
async fn send(docker: &Docker, of: &Engine, image: &str, volume: &str, size: u64) -> Result<(), DockerError> {
    let wrong = |what| engine(of.shown(), what);
    let asked = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![RUNNER.to_owned()]),
        network_disabled: Some(true),
        labels: Some(labels()),
        host_config: Some(HostConfig {
            mounts: Some(vec![runner_volume(volume, false)]),
            network_mode: Some("none".into()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptions { name: Some(launch::name()?), ..CreateContainerOptions::default() };
    let created = docker.create_container(Some(options), asked).await;
    let id = created.map_err(wrong("make a container for the runner's binary"))?.id;
    let sent = async {
        let mut file = File::from(image::open().map_err(|error| binary(&error))?);
        file.rewind().map_err(|error| binary(&error))?;
        let name = RUNNER.trim_start_matches(VOLUME).trim_start_matches('/');
        let head = header(name, 0o555, 0, size, EntryType::Regular)?.to_vec();
        let mut left = size;
        let content = std::iter::from_fn(move || read_block(&mut file, &mut left).transpose());
        let over = (BLOCK - usize::try_from(size % BLOCK as u64).unwrap_or(0)) % BLOCK;
        let tail = vec![0; over + 2 * BLOCK];
        let archive = std::iter::once(Ok(Bytes::from(head)))
            .chain(content)
            .chain(std::iter::once(Ok(Bytes::from(tail))));
        let options =
            UploadToContainerOptions { path: VOLUME.to_owned(), ..UploadToContainerOptions::default() };
        let body = bollard::body_try_stream(stream::iter(archive));
        docker.upload_to_container(&id, Some(options), body).await.map_err(wrong("take the runner's binary"))
    };
    let sent = sent.await;
    sweep::remove(docker, &id).await;
    sent
}

fn read_block(file: &mut File, left: &mut u64) -> io::Result<Option<Bytes>> {
    const MOST: u64 = 256 << 10;
    if *left == 0 {
        return Ok(None);
    }
    let mut block = vec![0; usize::try_from((*left).min(MOST)).unwrap_or(BLOCK)];
    file.read_exact(&mut block)?;
    *left = left.saturating_sub(block.len() as u64);
    Ok(Some(block.into()))
}

/// Makes the directories of the workspace in the volume, the commands' own.
async fn make_workspace(
    docker: &Docker,
    of: &Engine,
    id: &str,
    root: &Path,
    workspace: &Path,
    user: u32,
) -> Result<(), DockerError> {
    let mut archive = Vec::new();
    let mut path = PathBuf::new();
    for part in workspace.strip_prefix(root).unwrap_or(Path::new("")) {
        path.push(part);
        // The runner goes through them, and is root without the right to go past modes.
        archive.extend_from_slice(&header(
            &format!("{}/", path.display()),
            0o755,
            user,
            0,
            EntryType::Directory,
        )?);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    let options = UploadToContainerOptions {
        path: root.to_string_lossy().into_owned(),
        ..UploadToContainerOptions::default()
    };
    let body = bollard::body_full(archive.into());
    docker
        .upload_to_container(id, Some(options), body)
        .await
        .map_err(engine(of.shown(), "make the workspace"))
}

/// The header of a file or a directory in an archive.
fn header(name: &str, mode: u32, user: u32, size: u64, kind: EntryType) -> Result<[u8; BLOCK], DockerError> {
    let mut header = tar::Header::new_ustar();
    header
        .set_path(name)
        .map_err(|error| DockerError::Place { what: name.into(), error: error.to_string() })?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(user.into());
    header.set_gid(user.into());
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Attaches to the container's standard streams, and starts it.
async fn attach(docker: &Docker, of: &Engine, id: &str) -> Result<(StdStream, Complaints), DockerError> {
    let wrong = |what| engine(of.shown(), what);
    let options = AttachContainerOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        ..AttachContainerOptions::default()
    };
    let attached =
        docker.attach_container(id, Some(options)).await.map_err(wrong("attach to the container"))?;
    let place = |error: io::Error| DockerError::Place { what: "a stream".into(), error: error.to_string() };
    let (ours, theirs) = StdStream::pair().map_err(place)?;
    theirs.set_nonblocking(true).map_err(place)?;
    let (mut from, mut to) = UnixStream::from_std(theirs).map_err(place)?.into_split();
    let (mut input, mut output) = (attached.input, attached.output);
    let complaints = Complaints::default();
    let heard = complaints.clone();
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from, &mut input).await;
        let _ = input.shutdown().await;
    });
    tokio::spawn(async move {
        while let Some(Ok(said)) = output.next().await {
            let written = match said {
                LogOutput::StdOut { message } => to.write_all(&message).await,
                LogOutput::StdErr { message } => {
                    heard.push(&message);
                    Ok(())
                }
                // Nothing else comes of a container without a terminal.
                LogOutput::StdIn { .. } | LogOutput::Console { .. } => break,
            };
            if written.is_err() {
                break;
            }
        }
    });
    docker.start_container(id, None).await.map_err(wrong("start the container"))?;
    Ok((ours, complaints))
}

fn binary(error: &io::Error) -> DockerError {
    DockerError::Place { what: "a copy of the binary".into(), error: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_one_that_tar_reads() {
        let mut archive = header("a/", 0o700, 1234, 0, EntryType::Directory).unwrap().to_vec();
        archive.extend_from_slice(&header("a/file", 0o555, 0, 3, EntryType::Regular).unwrap());
        archive.extend_from_slice(b"abc");
        archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("a.tar"), archive).unwrap();
        #[allow(clippy::disallowed_methods, reason = "a test")]
        let listed = std::process::Command::new("tar")
            .args(["--numeric-owner", "-tvf"])
            .arg(place.path().join("a.tar"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&listed.stdout);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("drwx------ 1234/1234 ") && lines[0].ends_with(" a/"), "{text}");
        assert!(lines[1].starts_with("-r-xr-xr-x 0/0 ") && lines[1].ends_with(" a/file"), "{text}");
        assert!(listed.status.success());
    }
}
