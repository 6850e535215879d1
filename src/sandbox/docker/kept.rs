//! A container that another supervisor has left: what it was, and whether what is there is that.
//!
//! Its runner waits at a socket, as every runner does whose session outlives its supervisor. Whoever answers there must be the
//! first process of the container, and the container, as the engine describes it, what had been asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use serde::{Deserialize, Serialize};

use super::launch::Running;
use super::place::Place;
use super::{DockerError, Engine, Image, Made};

/// How long the engine may take to describe a container that is to be gone on with: others wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the next supervisor has to know of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    id: String,
    place: PathBuf,
    /// Whether the workspace is mounted in its place.
    mapped: bool,
    image: Image,
    asked: Box<ContainerCreateBody>,
}

impl Kept {
    /// Whether it might be made for this today.
    pub fn is_permitted(&self, made: &Made) -> bool {
        made.permits(&self.image)
    }
}

impl Running {
    /// What the next supervisor has to know of it.
    pub(in crate::sandbox) fn kept(&self) -> Option<Kept> {
        let place = self.place.as_ref()?;
        Some(Kept {
            id: self.id.clone(),
            place: place.path().to_owned(),
            mapped: place.is_mapped(),
            image: self.image.clone(),
            asked: self.asked.clone(),
        })
    }

    /// Says that another supervisor comes for it, for as long as this directory is there.
    pub(in crate::sandbox) fn await_next(&self, keepsake: &Path) -> Result<(), DockerError> {
        let Some(place) = &self.place else { return Ok(()) };
        place.await_next(keepsake).map_err(|error| DockerError::Place {
            what: "a note for the next supervisor".into(),
            error: error.to_string(),
        })
    }
}

impl Engine {
    /// Takes a container that another supervisor of this user's has left, whatever has become of it.
    ///
    /// # Errors
    /// When somebody else has it, or nothing is left of it.
    async fn take(&self, kept: &Kept) -> Result<Running, DockerError> {
        let wrong = |error: std::io::Error| DockerError::Place {
            what: format!("anything of {}", kept.place.display()),
            error: error.to_string(),
        };
        if kept.place.parent() != Some(&self.options().directory) {
            return Err(wrong(std::io::Error::other("it is another directory's")));
        }
        let place = Place::again(&kept.place, kept.mapped).await.map_err(wrong)?;
        Ok(Running {
            engine: self.clone(),
            id: kept.id.clone(),
            asked: kept.asked.clone(),
            image: kept.image.clone(),
            place: Some(place),
            silence: None,
            left: false,
        })
    }

    /// Goes on with a container whose first process this one is to be.
    ///
    /// # Errors
    /// When it is not what it was, or this is another process: then it is removed.
    pub(in crate::sandbox) async fn adopt(&self, kept: &Kept, process: i32) -> Result<Running, DockerError> {
        let running = self.take(kept).await?;
        let looked = self.ask(move |docker| async move {
            let first = tokio::time::timeout(PATIENCE, running.look(&docker)).await;
            (first.unwrap_or(Err("the engine says nothing of it")), running)
        });
        match looked.await? {
            (Ok(first), running) if first == i64::from(process) && first != 0 => Ok(running),
            (Ok(expected), running) => {
                end(running).await;
                Err(DockerError::Stranger { found: Some(process), expected })
            }
            (Err(why), running) => {
                end(running).await;
                Err(DockerError::Changed(why))
            }
        }
    }

    /// Removes a container that another supervisor of this user's has left and that is not gone on with.
    pub async fn discard(&self, kept: &Kept) {
        match self.take(kept).await {
            Ok(running) => end(running).await,
            Err(error) => tracing::debug!(%error, "a container that was left is not there any more"),
        }
    }
}

/// Its removal is waited for.
async fn end(running: Running) {
    let _ = tokio::task::spawn_blocking(move || drop(running)).await;
}
