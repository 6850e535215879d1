//! What can go wrong between execward and an engine, in words that say what to do.

use std::path::PathBuf;

use crate::wire::runner::Failure;

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerError {
    /// Nobody answers.
    #[error("no Docker engine answers at {socket}: {error}")]
    Down {
        /// Where it was looked for.
        socket: PathBuf,
        /// What was said.
        error: String,
    },
    /// It is too old to be asked for what is needed.
    #[error("the Docker engine speaks version {found} of its protocol, and 1.41 is needed")]
    Old {
        /// What it speaks.
        found: String,
    },
    /// It refused a request.
    #[error("the Docker engine could not {what}: {error}")]
    Engine {
        /// What was asked.
        what: String,
        /// What it said.
        error: String,
    },
    /// No such image.
    #[error("there is no image {0} here")]
    NoImage(String),
    /// A name that is none.
    #[error("{0:?} is not the name of an image")]
    BadImage(String),
    /// The policy does not permit it.
    #[error("the policy does not permit the image {0}")]
    Image(String),
    /// The engine has made something else than was asked for.
    #[error("the engine made another container than it was asked for: {}", .0.join("; "))]
    Different(Vec<String>),
    /// The container ended before its runner spoke.
    #[error("the container ended before its runner answered: {0}")]
    Ended(String),
    /// What another supervisor has left is not what it was.
    #[error("the container that was left cannot be gone on with: {0}")]
    Changed(&'static str),
    /// The runner that answered is not the container's.
    #[error("process {found:?} answered for the container, whose first process is {expected}")]
    Stranger {
        /// Who answered.
        found: Option<i32>,
        /// Who should have.
        expected: i64,
    },
    /// Something of execward's own for the container could not be made.
    #[error("cannot make {what}: {error}")]
    Place {
        /// What.
        what: String,
        /// The system's words.
        error: String,
    },
    /// The runner refused the container.
    #[error("the container cannot be used: {0}")]
    Refused(#[from] Failure),
}

impl DockerError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::Down { .. } => {
                "start it (`systemctl start docker`), or name its socket in execward.toml under [docker]; as an ordinary \
                 user, you must be allowed to use it"
                    .to_owned()
            }
            Self::Old { .. } => "use Docker 20.10 or later".to_owned(),
            Self::NoImage(name) => match name.strip_prefix("execward/") {
                Some(own) => format!(
                    "make it with `execward images build {}`, as root",
                    own.split([':', '@']).next().unwrap_or(own)
                ),
                None => format!("get it with `docker pull {name}`"),
            },
            Self::BadImage(_) => "as in `debian:12`, `execward/base` or `name@sha256:...`".to_owned(),
            Self::Image(_) => "an operator permits it under [sandbox] with `images`".to_owned(),
            Self::Different(_) => "nothing runs in it: use an engine that does what it is asked".to_owned(),
            Self::Refused(failure) => failure.hint.clone(),
            Self::Place { what, .. } if what.contains("id-mapped") => {
                "as root, the workspace must lie on a file system that can map ids: ext4, xfs, btrfs, tmpfs".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// An error of the client: an engine that does not answer is told from one that refuses.
pub(super) fn engine(
    socket: &std::path::Path,
    what: &str,
) -> impl FnOnce(bollard::errors::Error) -> DockerError {
    let (socket, what) = (socket.to_owned(), what.to_owned());
    move |error| match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => {
            DockerError::Engine { what, error: message }
        }
        bollard::errors::Error::JsonDataError { message, .. } => DockerError::Engine { what, error: message },
        error => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = cause.to_string();
                source = cause.source();
            }
            DockerError::Down { socket, error: text }
        }
    }
}
