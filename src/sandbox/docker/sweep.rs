//! What dead supervisors have left.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    ListContainersOptions, ListVolumesOptions, RemoveContainerOptions, RemoveVolumeOptions,
};

use super::error::engine;
use super::place::{self, LABEL_OWNER, LABEL_PLACE};
use super::{DockerError, Engine};

/// How old a container elsewhere is that does not run and that nobody is about to start.
const STALE: Duration = Duration::from_secs(3600);

/// Removes containers of this user's whose place is free, running ones too, then places without a container. Not those to
/// which another supervisor is to come back.
pub(super) async fn sweep(docker: &Docker, of: &Engine) -> Result<usize, DockerError> {
    let directory = of.options().directory.clone();
    let owner = nix::unistd::geteuid().to_string();
    let (mut removed, mut left) = (0, BTreeSet::new());
    for container in list(docker, of, &owner).await? {
        let (Some(id), Some(labels)) = (container.id, container.labels) else { continue };
        // A filter that an engine does not know would list everything.
        let Some(place) = labels.get(LABEL_PLACE).map(PathBuf::from) else { continue };
        let ours = labels.get(LABEL_OWNER) == Some(&owner) && place.parent() == Some(&directory);
        if !ours {
            continue;
        }
        // Whoever comes back goes on with one that runs, and with no other.
        let over = matches!(
            container.state,
            Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD)
        );
        if place::is_free(&place) && (over || !place::is_awaited(&place)) {
            remove(docker, &id).await;
            removed += 1;
        } else {
            // It may be free a moment later.
            left.insert(place);
        }
    }
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        let is_making = entry.file_name().to_string_lossy().starts_with(place::MAKING);
        let path = entry.path();
        let is_place = entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_making;
        // Of a container that has come to be since they were listed, too.
        let is_somebodys = left.contains(&path) || place::is_awaited(&path);
        if is_place && !is_somebodys && place::is_free(&path) {
            place::clear(&path, true);
        }
    }
    Ok(removed)
}

/// Removes what is over of containers on an engine elsewhere, those of this user's on other machines too, and the volumes with
/// runners of other versions that no container has. One that runs ends with whoever has it.
pub(super) async fn sweep_elsewhere(
    docker: &Docker,
    of: &Engine,
    volumes: (&str, &str),
) -> Result<(), DockerError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stale = |created: i64| u64::try_from(created).is_ok_and(|at| now > Duration::from_secs(at) + STALE);
    for container in list(docker, of, &nix::unistd::geteuid().to_string()).await? {
        let is_over = matches!(
            container.state,
            Some(
                ContainerSummaryStateEnum::CREATED
                    | ContainerSummaryStateEnum::EXITED
                    | ContainerSummaryStateEnum::DEAD
            )
        );
        // A filter that an engine does not know would list everything.
        let is_ours = container.labels.is_some_and(|labels| labels.contains_key(LABEL_OWNER));
        if is_ours && is_over && container.created.is_some_and(stale) {
            remove(docker, &container.id.unwrap_or_default()).await;
        }
    }
    let (prefix, current) = volumes;
    let options =
        ListVolumesOptions { filters: Some(HashMap::from([("name".to_owned(), vec![prefix.to_owned()])])) };
    let listed = docker.list_volumes(Some(options)).await;
    let listed = listed.map_err(engine(of.shown(), "list its volumes"))?.volumes.unwrap_or_default();
    for volume in listed.iter().filter(|volume| volume.name.starts_with(prefix) && volume.name != current) {
        // The engine refuses where a container has it.
        if let Err(error) = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await {
            tracing::debug!(%error, volume = volume.name, "a runner's volume stays");
        }
    }
    Ok(())
}

/// Containers with our label, whatever state they are in.
async fn list(docker: &Docker, of: &Engine, owner: &str) -> Result<Vec<ContainerSummary>, DockerError> {
    let ours = vec![format!("{LABEL_OWNER}={owner}")];
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), ours)])),
        ..ListContainersOptions::default()
    };
    let listed = docker.list_containers(Some(options)).await;
    listed.map_err(engine(of.shown(), "list its containers"))
}

/// Removes a container, whatever state it is in.
pub(super) async fn remove(docker: &Docker, id: &str) {
    let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
    let mut removed = docker.remove_container(id, Some(options.clone())).await;
    if removed.is_err() && docker.unpause_container(id).await.is_ok() {
        // Not every engine ends what is paused.
        removed = docker.remove_container(id, Some(options)).await;
    }
    if let Err(error) = removed {
        tracing::debug!(%error, id, "a container was not removed");
    }
}
