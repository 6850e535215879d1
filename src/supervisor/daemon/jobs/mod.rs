//! The scheduler: looks at the clock, begins what is due, and tells how it came out.
//!
//! Nothing is remembered but in the state. What is due comes to be there, in one change with the cursor that makes it the only
//! one of its kind ([`plan`]); a run begins by a change that succeeds once; it ends in one change with everything that is to be
//! told. So a daemon that is killed at any moment leaves runs that had not begun, which the next one begins, and runs that had,
//! which the next one reports as `unknown`: nothing runs twice, and nothing is silent.

mod calls;
mod files;
mod outbox;
mod plan;
mod run;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(super) use calls::{history, letters, list, run_now, settle, show, switch, test};
pub use files::JobsError;
pub(in crate::supervisor) use files::load;

use self::files::Owned;
use super::House;
use super::answers::blocking;
use super::config::JobsSection;
use crate::http::Client;
use crate::jobs::{OnOverlap, Reading, Target};
use crate::state::RunRow;
use crate::supervisor::state::{Directories, SYSTEM_CONFIG};

/// The clock is looked at at least so often: it may have been set.
const LOOK: Duration = Duration::from_secs(30);

/// How long is waited after something failed that should not.
const REST: Duration = Duration::from_secs(5);

/// Which start of the machine this is: random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The jobs of a daemon.
#[derive(Debug)]
pub(super) struct Jobs {
    directory: PathBuf,
    all: RwLock<Arc<Vec<Owned>>>,
    facts: plan::Facts,
    concurrent: usize,
    /// What has a place: run to job, and what ends it.
    running: Mutex<HashMap<i64, (String, CancellationToken)>>,
    /// Deliveries that are under way.
    sending: Mutex<HashSet<String>>,
    http: Client,
    /// There is something to look at.
    wake: Notify,
}

/// Where the jobs are of a daemon with this configuration: beside it.
pub(in crate::supervisor) fn directory(named: Option<&Path>, directories: &Directories, own: u32) -> PathBuf {
    let beside = match (named, &directories.config) {
        (Some(file), _) => file.parent().unwrap_or(Path::new("/")),
        (None, Some(own_directory)) if own != 0 => own_directory,
        _ => Path::new(SYSTEM_CONFIG),
    };
    beside.join("jobs")
}

impl Jobs {
    /// Reads them.
    pub(super) fn load(directory: PathBuf, section: JobsSection, own: u32) -> Result<Self, JobsError> {
        let all = load(&directory, own)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            directory,
            all: RwLock::new(Arc::new(all)),
            facts: plan::Facts {
                host: host.trim().to_owned(),
                fallback: section.fallback.unwrap_or(Target::Queue),
            },
            concurrent: section.concurrent.max(1),
            running: Mutex::default(),
            sending: Mutex::default(),
            http: Client::default(),
            wake: Notify::new(),
        })
    }

    /// Reads them again. The old ones stay where one of the new has a mistake.
    pub(super) fn reload(&self, own: u32) -> Result<(), JobsError> {
        let all = load(&self.directory, own)?;
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        self.wake.notify_one();
        Ok(())
    }

    fn all(&self) -> Arc<Vec<Owned>> {
        Arc::clone(&self.all.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn named(&self, name: &str) -> Option<Owned> {
        self.all().iter().find(|owned| owned.job.name == name).cloned()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<i64, (String, CancellationToken)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sending(&self) -> MutexGuard<'_, HashSet<String>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the clock until the daemon stops.
pub(super) async fn serve(house: Arc<House>) {
    loop {
        let wait = match look(&house).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(error, "the jobs could not be looked at");
                REST
            }
        };
        tokio::select! {
            () = house.common.stopping.cancelled() => return,
            () = house.jobs.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Looks once; how long there is nothing to do then.
async fn look(house: &Arc<House>) -> Result<Duration, String> {
    let now = reading()?;
    let (all, looking) = (house.jobs.all(), Arc::clone(house));
    let (now_, all_) = (now.clone(), Arc::clone(&all));
    let looked = blocking(move || {
        let store = &looking.common.store;
        store.tick(|past| plan::tick(past, &all_, &now_, &looking.jobs.facts, &mut fresh))?;
        Ok::<_, crate::state::StateError>((store.jobs()?, store.open_runs()?))
    });
    let (rows, open) = looked.await.map_err(|error| error.message)?.map_err(|error| error.to_string())?;
    let mut wait = LOOK;
    let mut no_later = |at: i64| {
        let from_now = Duration::from_millis(at.saturating_sub(now.wall).max(0).unsigned_abs());
        wait = wait.min(from_now.max(Duration::from_millis(20)));
    };
    for row in rows {
        let Some(owned) = all.iter().find(|owned| owned.job.name == row.name) else { continue };
        let cursor = plan::cursor(&row);
        if owned.job.enabled
            && row.disabled_by.is_none()
            && let Some(next) = owned.job.schedule.next(cursor.anchor, cursor.upto)
        {
            no_later(next);
        }
    }
    for run in open {
        if let Some(at) = begin(house, run, now.wall).await {
            no_later(at);
        }
    }
    let looking = Arc::clone(house);
    let due = blocking(move || looking.common.store.deliveries_due(now.wall, 4 * outbox::AT_ONCE));
    let (due, next) = due.await.map_err(|error| error.message)?.map_err(|error| error.to_string())?;
    for row in due {
        let mut sending = house.jobs.sending();
        if sending.len() >= outbox::AT_ONCE as usize {
            break;
        }
        if sending.insert(row.id.clone()) {
            drop(sending);
            let house = Arc::clone(house);
            house.clone().tasks.spawn(async move {
                let id = row.id.clone();
                tokio::select! {
                    () = outbox::deliver(Arc::clone(&house), row) => {}
                    // It waits for the next daemon.
                    () = house.closing.cancelled() => {}
                }
                house.jobs.sending().remove(&id);
                house.jobs.wake.notify_one();
            });
        }
    }
    if let Some(next) = next {
        no_later(next);
    }
    Ok(wait)
}

/// Begins a run that has not ended, if it is its turn; when to look at it again.
async fn begin(house: &Arc<House>, run: RunRow, now: i64) -> Option<i64> {
    if house.jobs.running().contains_key(&run.id) {
        return None;
    }
    let owned = house.jobs.named(&run.job);
    let over = |state: &str, reason: &str| {
        let run =
            RunRow { state: state.to_owned(), reason: reason.to_owned(), ended: Some(now), ..run.clone() };
        let tell = match &owned {
            Some(owned) => {
                plan::results(owned, &run, plan::Output::default(), now, &house.jobs.facts, &mut fresh)
            }
            None => plan::orphaned(&run, now, &house.jobs.facts, &mut fresh),
        };
        (run, tell)
    };
    let settled = if run.state == "running" {
        // Of a daemon that is no more.
        Some(over("unknown", "execward ended while it ran: whether it did its work is not known"))
    } else {
        let late = owned.as_ref().map(|owned| !owned.job.terms.permit(run.begin, now));
        match late {
            None => Some(over("missed", "the job was taken away before it could run")),
            Some(true) => Some(over("missed", "it could not begin in time")),
            Some(false) => None,
        }
    };
    if let Some((run, tell)) = settled {
        run::over(house, &run, tell, None).await;
        return None;
    }
    let owned = owned?;
    // A clock that was set back does not hold up a next try.
    let longest = owned.job.retry.after(run.attempt.saturating_sub(1)).unwrap_or_default();
    if run.begin > now && run.begin - now <= i64::try_from(longest.as_millis()).unwrap_or(i64::MAX) {
        return Some(run.begin);
    }
    let cancel = CancellationToken::new();
    {
        let mut running = house.jobs.running();
        let mut before = running.values().filter(|(job, _)| *job == run.job).peekable();
        if before.peek().is_some() {
            if owned.job.on_overlap == OnOverlap::Replace {
                before.for_each(|(_, cancel)| cancel.cancel());
            }
            // Its end looks again.
            return None;
        }
        if running.len() >= house.jobs.concurrent {
            return None;
        }
        running.insert(run.id, (run.job.clone(), cancel.clone()));
    }
    let house = Arc::clone(house);
    house.clone().tasks.spawn(async move {
        let id = run.id;
        // Its place is given back whatever happens.
        let ran = tokio::spawn(run::run(Arc::clone(&house), owned, run, cancel));
        if ran.await.is_err() {
            tracing::error!(run = id, "a job's run was given up");
        }
        house.jobs.running().remove(&id);
        house.jobs.wake.notify_one();
    });
    None
}

/// Reads the clocks.
fn reading() -> Result<Reading, String> {
    let boot = std::fs::read_to_string(BOOT_ID).map_err(|error| format!("{BOOT_ID}: {error}"))?;
    let since_boot =
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|errno| format!("CLOCK_BOOTTIME: {errno}"))?;
    let since_boot = Duration::from(since_boot);
    Ok(Reading {
        wall: run::now(),
        since_boot: i64::try_from(since_boot.as_millis()).unwrap_or(i64::MAX),
        boot: boot.trim().to_owned(),
    })
}

/// A name that nothing else has.
fn fresh() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel has random numbers: getrandom(2)");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
