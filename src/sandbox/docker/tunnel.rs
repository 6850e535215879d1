//! The way to an engine elsewhere: a socket of this machine, in a directory of this user's alone, from which each connection
//! goes on through TLS or through a process of ssh.
//!
//! So the client of the engine knows one way, and all that is said of who is who is said here. Whatever ends this process ends the
//! connections, and with them the containers that hang on them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Endpoint, Tls};
use crate::sandbox::launcher::{Complaints, find, ssh_settings};

/// How long the other side may take until it is known who it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A question that every engine answers.
const PING: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";

/// A way to an engine. Gone when dropped, with every connection.
#[derive(Debug)]
pub(super) struct Tunnel {
    path: PathBuf,
    far: Arc<Far>,
    serving: tokio::task::JoinHandle<()>,
}

/// What a connection goes on through.
enum Far {
    Tls {
        host: String,
        port: u16,
        connector: TlsConnector,
        name: ServerName<'static>,
    },
    Ssh {
        words: Vec<String>,
        environment: Vec<(String, String)>,
        complaints: Complaints,
        children: Mutex<Vec<Child>>,
    },
}

impl std::fmt::Debug for Far {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Far")
    }
}

impl Tunnel {
    /// Makes one, for an endpoint that is not of this machine. Its socket is `name` below `directory`. Needs a tokio runtime.
    pub(super) fn open(
        endpoint: &Endpoint,
        environment: &[(String, String)],
        directory: &Path,
        name: &str,
    ) -> Result<Option<Self>, String> {
        let far = match endpoint {
            Endpoint::Unix(_) => return Ok(None),
            Endpoint::Tls { host, port, tls } => Far::Tls {
                host: host.clone(),
                port: *port,
                connector: TlsConnector::from(Arc::new(settings(tls)?)),
                name: ServerName::try_from(host.clone()).map_err(|error| error.to_string())?,
            },
            Endpoint::Ssh { target, options } => Far::Ssh {
                words: ssh_settings(options)
                    .into_iter()
                    .chain(["--", target, "docker system dial-stdio"].map(str::to_owned))
                    .collect(),
                environment: environment.to_vec(),
                complaints: Complaints::default(),
                children: Mutex::default(),
            },
        };
        let listen = || {
            DirBuilder::new().mode(0o700).recursive(true).create(directory)?;
            let path = directory.join(format!("{name}-{}", std::process::id()));
            let _ = fs::remove_file(&path);
            Ok::<_, io::Error>((UnixListener::bind(&path)?, path))
        };
        let (listener, path) =
            listen().map_err(|error| format!("a socket in {}: {error}", directory.display()))?;
        let far = Arc::new(far);
        let serving = tokio::spawn(Arc::clone(&far).serve(listener));
        Ok(Some(Self { path, far, serving }))
    }

    /// The socket of this machine at which the engine answers.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether whoever is there is the engine that is meant, as far as TLS says it: the client's own error would say only that
    /// the connection has ended.
    pub(super) async fn check(&self) -> Result<(), String> {
        let Far::Tls { .. } = &*self.far else { return Ok(()) };
        let asked = async {
            let mut stream = self.far.connect().await?;
            stream.write_all(PING).await?;
            // With TLS 1.3, whoever does not know this supervisor says so only now.
            match stream.read(&mut [0]).await? {
                0 => Err(io::Error::other("it closes the connection")),
                _ => Ok(()),
            }
        };
        let late = |_| io::Error::other(format!("nothing comes within {} s", PATIENCE.as_secs()));
        let answered =
            tokio::time::timeout(PATIENCE, asked).await.map_err(late).and_then(|answered| answered);
        answered.map_err(|error: io::Error| error.to_string())
    }

    /// What ssh has written to its standard error, for the end of a sentence.
    pub(super) fn said(&self) -> String {
        match &*self.far {
            Far::Tls { .. } => String::new(),
            Far::Ssh { complaints, .. } => complaints.said(),
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = fs::remove_file(&self.path);
    }
}

impl Far {
    async fn serve(self: Arc<Self>, listener: UnixListener) {
        while let Ok((near, _)) = listener.accept().await {
            let far = Arc::clone(&self);
            tokio::spawn(async move {
                if let Err(error) = far.go_on(near).await {
                    tracing::debug!(%error, "a connection to an engine elsewhere has ended");
                }
            });
        }
    }

    async fn go_on(&self, mut near: UnixStream) -> io::Result<()> {
        match self {
            Self::Tls { .. } => {
                let mut far = self.connect().await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
            }
            Self::Ssh { words, environment, complaints, children } => {
                let child = start(words, environment, near, complaints)?;
                let mut children = children.lock().unwrap_or_else(PoisonError::into_inner);
                // Each ends with its connection; whoever makes another one waits for those that have.
                children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
                children.push(child);
                Ok(())
            }
        }
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let Self::Tls { host, port, connector, name } = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let connect = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            connector.connect(name.clone(), stream).await
        };
        let late = |_| io::Error::other(format!("nobody answers within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, connect).await.map_err(late)?
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if let Self::Ssh { children, .. } = self {
            for child in children.get_mut().unwrap_or_else(PoisonError::into_inner) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A process of ssh whose standard input and output are the connection: it ends with it.
fn start(
    words: &[String],
    environment: &[(String, String)],
    near: UnixStream,
    complaints: &Complaints,
) -> io::Result<Child> {
    let near = near.into_std()?;
    near.set_nonblocking(false)?;
    let input = OwnedFd::from(near);
    let output = input.try_clone()?;
    let (hears, writes) = std::os::unix::net::UnixStream::pair()?;
    hears.set_nonblocking(true)?;
    complaints.hear(UnixStream::from_std(hears)?);
    let path = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path.as_str());
    let program = find("ssh", path).ok_or_else(|| io::Error::other(format!("there is no ssh in {path}")))?;
    #[allow(clippy::disallowed_methods, reason = "this leads to the engine, which starts the runner")]
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(OwnedFd::from(writes)))
        // Signals of a terminal are not for it.
        .process_group(0);
    command.spawn()
}

/// Who is believed, and who this is.
fn settings(tls: &Tls) -> Result<ClientConfig, String> {
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(&tls.ca)?) {
        let certificate = certificate.map_err(|error| wrong(&tls.ca, &error))?;
        roots.add(certificate).map_err(|error| wrong(&tls.ca, &error))?;
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&tls.cert)?).collect();
    let certificates = certificates.map_err(|error| wrong(&tls.cert, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?).map_err(|error| wrong(&tls.key, &error))?;
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates, key)
        .map_err(|error| wrong(&tls.cert, &error))
}
