//! Telling people: what waits in the state is sent, tried again, and at last given up with an alarm.
//!
//! A delivery is sent at least once: a daemon that is killed between the sending and the note of it sends again, under the
//! same name.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::super::House;
use super::super::answers::blocking;
use super::super::tell::Teller;
use super::files::secret;
use super::run::now;
use super::{fresh, plan};
use crate::http::{self, Post, Url};
use crate::jobs::{self, Hook, Message, Place, Target};
use crate::state::DeliveryRow;
use crate::supervisor::policy_file;

/// Deliveries that are under way at a time.
pub(super) const AT_ONCE: u32 = 8;

/// How long one may take.
const LONGEST: Duration = Duration::from_secs(90);

/// How long a webhook may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Largest part of a webhook's answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// Sends one, and keeps how that came out.
pub(super) async fn deliver(house: Arc<House>, row: DeliveryRow) {
    let sent = async {
        let target: Target = serde_json::from_str(&row.target).map_err(|error| error.to_string())?;
        let message: Message = serde_json::from_str(&row.message).map_err(|error| error.to_string())?;
        // Of one that was missed, the number came to be when it was kept.
        let message = Message { run: message.run.or(row.run), ..message };
        send(&house, &target, &message).await
    };
    let sent = match tokio::time::timeout(LONGEST, sent).await {
        Ok(sent) => sent,
        Err(_) => Err("it took too long".to_owned()),
    };
    if let Err(error) = &sent {
        tracing::warn!(job = row.job, delivery = row.id, error, "a result was not delivered");
    }
    let (tried, alarm) = plan::tried(&row, sent.err(), now(), &house.jobs.facts, &mut fresh);
    let keeping = Arc::clone(&house);
    let kept = blocking(move || keeping.common.store.tried(&tried, &alarm)).await;
    if !matches!(kept, Ok(Ok(()))) {
        // It stays as it was, and is sent again.
        tracing::error!(delivery = row.id, "that a delivery was tried could not be kept");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// Sends a message to a target.
pub(super) async fn send(house: &Arc<House>, target: &Target, message: &Message) -> Result<(), String> {
    match target {
        Target::Queue => Ok(()),
        Target::File(path) => {
            let (path, line, own) = (path.clone(), line(message)?, house.own);
            blocking(move || append(&path, &line, own)).await.map_err(|error| error.message)?
        }
        Target::Command { argv, directory, profile } => {
            let teller = Teller {
                argv,
                directory,
                profile: profile.as_deref(),
                label: "delivery",
                why: "nobody is asked about a delivery; the policy must allow its command",
            };
            teller.tell(house, line(message)?).await
        }
        Target::Webhook(hook) => post(house, hook, message).await,
    }
}

fn line(message: &Message) -> Result<Vec<u8>, String> {
    let mut line = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    line.push(b'\n');
    Ok(line)
}

/// Adds a line to a file in a directory that nobody else may change: a name in another would lead wherever its owner likes.
fn append(path: &Path, line: &[u8], own: u32) -> Result<(), String> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = policy_file::kept(directory, own).map_err(|error| error.to_string())?;
    let name = path.file_name().ok_or("it has no name")?;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(directory.join(name))
        .map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() || about.nlink() != 1 {
        return Err(format!("{} is no file of its own", path.display()));
    }
    file.write_all(line).and_then(|()| file.sync_data()).map_err(failed)
}

/// Posts a message, in the words of its service.
async fn post(house: &Arc<House>, hook: &Hook, message: &Message) -> Result<(), String> {
    let (own, place, file) = (house.own, hook.url.clone(), hook.secret_file.clone());
    let secrets = blocking(move || {
        let url = match place {
            Place::Url(url) => url,
            Place::File(path) => secret(&path, own)?,
        };
        let key = file.as_ref().map(|path| match secret(path, own) {
            Ok(key) if key.is_empty() => Err(format!("{} is empty", path.display())),
            other => other.map(Zeroizing::new),
        });
        Ok::<_, String>((Zeroizing::new(url), key.transpose()?))
    });
    let (url, key) = secrets.await.map_err(|error| error.message)??;
    let url = Url::parse(&url).map_err(|error| format!("the webhook is {error}"))?;
    let body = jobs::body(hook, message);
    let seconds = now().div_euclid(1000);
    let mut fields = vec![
        ("content-type", "application/json".to_owned()),
        ("execward-delivery", message.delivery.clone()),
    ];
    if let Some(key) = key {
        let signature = http::signature(key.as_bytes(), seconds, &message.delivery, &body);
        fields.extend([("execward-timestamp", seconds.to_string()), ("execward-signature", signature)]);
    }
    let fields = fields.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect();
    let post = Post { url: &url, ca: hook.ca.as_deref(), fields, body, time: ANSWER, largest: MAX_ANSWER };
    let answer = house.jobs.http.post(post).await.map_err(|error| error.to_string())?;
    match answer.status {
        200..=299 => Ok(()),
        status @ 300..=399 => Err(format!("it redirects (HTTP {status}), which is not followed")),
        status => {
            let said = String::from_utf8_lossy(answer.body.as_deref().unwrap_or_default()).into_owned();
            let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
            Err(format!("HTTP {status} {said}").trim_end().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_that_leads_elsewhere_is_not_written() {
        let own = nix::unistd::getuid().as_raw();
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        append(&path("log"), b"one\n", own).expect("added");
        append(&path("log"), b"two\n", own).expect("added");
        assert_eq!(std::fs::read_to_string(path("log")).expect("it is there"), "one\ntwo\n");
        assert_eq!(std::fs::metadata(path("log")).expect("it is there").mode() & 0o777, 0o600);
        std::fs::write(path("precious"), "x").expect("written");
        symlink(path("precious"), path("link")).expect("a link");
        std::fs::hard_link(path("precious"), path("hard")).expect("a link");
        for wrong in ["link", "hard", "."] {
            assert!(append(&path(wrong), b"y", own).is_err(), "{wrong}");
        }
        std::fs::create_dir(path("open")).expect("made");
        std::fs::set_permissions(path("open"), std::fs::Permissions::from_mode(0o777)).expect("ours");
        assert!(append(&path("open/log"), b"y", own).is_err());
        assert_eq!(std::fs::read_to_string(path("precious")).expect("it is there"), "x");
    }
}
