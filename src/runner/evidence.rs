//! Which limits a command ran into, and how that is known.
//!
//! A command that runs out of something mostly says something else: `Killed`, `Resource temporarily unavailable`, `No space
//! left on device`. The kernel keeps count of what it refused; those counts, before and after, are the evidence. They are a
//! session's: of two commands that run at once, both are told.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;

use crate::wire::runner::{End, LimitName, Limits, Reached};

/// How often the kernel refused something to the session's groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Processes that it ended because the memory was used up.
    killed: u64,
    /// Processes that it did not make.
    unmade: u64,
}

/// Where the counts are read: opened before the host's cgroups went out of sight.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// `memory.events` of v2, `memory.oom_control` of v1.
    memory: Option<File>,
    /// `pids.events`.
    processes: Option<File>,
}

impl Counters {
    /// Those of these groups: one on v2, one for each controller on v1.
    pub(super) fn open(groups: &[PathBuf]) -> Self {
        let open = |names: &[&str]| {
            groups
                .iter()
                .flat_map(|group| names.iter().map(|name| group.join(name)))
                .find_map(|path| File::open(path).ok())
        };
        Self { memory: open(&["memory.events", "memory.oom_control"]), processes: open(&["pids.events"]) }
    }

    /// The counts at this moment.
    pub(super) fn read(&self) -> Counts {
        let count = |file: &Option<File>, name: &str| {
            let mut text = [0; 1024];
            let length = file.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
            counted(&String::from_utf8_lossy(&text[..length]), name)
        };
        Counts { killed: count(&self.memory, "oom_kill"), unmade: count(&self.processes, "max") }
    }
}

/// The number after a name: cgroups(7), flat keyed files.
fn counted(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// What a command that came to this end ran into.
pub(super) fn reached(
    end: &End,
    limits: &Limits,
    before: Counts,
    after: Counts,
    private: &[PathBuf],
) -> Vec<Reached> {
    let mut reached = Vec::new();
    let mut add = |limit, evidence| reached.push(Reached { limit, evidence });
    let killed = after.killed.saturating_sub(before.killed);
    if killed > 0 {
        add(
            LimitName::Memory,
            format!(
                "the kernel ended {killed} process(es) at the session's {} MiB of memory",
                limits.memory >> 20
            ),
        );
    }
    let unmade = after.unmade.saturating_sub(before.unmade);
    if unmade > 0 {
        add(
            LimitName::Processes,
            format!("the kernel refused {unmade} process(es) beyond the session's {}", limits.processes),
        );
    }
    let exceeded = Signal::SIGXFSZ as i32;
    let by_file = match *end {
        End::Signal { signal } => signal == exceeded,
        // What a shell says of it.
        End::Code { code } => i32::from(code) == 128 + exceeded,
        _ => false,
    };
    if let (true, Some(most)) = (by_file, limits.file_size) {
        add(LimitName::FileSize, format!("SIGXFSZ: a file would have grown beyond {most} bytes"));
    }
    for place in private {
        if is_full(place) {
            add(
                LimitName::Tmpfs,
                format!(
                    "no room is left in {}, which holds {} MiB in memory",
                    place.display(),
                    limits.tmpfs >> 20
                ),
            );
        }
    }
    reached
}

/// Whether a file system takes nothing more: its blocks or its inodes are used up.
fn is_full(place: &Path) -> bool {
    fs::symlink_metadata(place).is_ok()
        && statvfs(place).is_ok_and(|stat| {
            (stat.blocks() > 0 && stat.blocks_available() == 0)
                || (stat.files() > 0 && stat.files_available() == 0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: 64 << 20,
        swap: 0,
        cpus: None,
        processes: 7,
        file_size: Some(1000),
        open_files: 10,
        tmpfs: 1 << 20,
    };

    fn names(end: &End, before: Counts, after: Counts) -> Vec<LimitName> {
        reached(end, &LIMITS, before, after, &[]).into_iter().map(|it| it.limit).collect()
    }

    #[test]
    fn counts_are_read_by_their_whole_name() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!((counted(events, "oom_kill"), counted(events, "max")), (2, 12));
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", "oom_kill"), 5);
        assert_eq!((counted("", "max"), counted("max many\n", "max")), (0, 0));
    }

    #[test]
    fn only_what_was_refused_meanwhile_counts() {
        let (none, some) = (Counts { killed: 4, unmade: 2 }, Counts { killed: 5, unmade: 2 });
        assert_eq!(names(&End::Code { code: 137 }, none, some), [LimitName::Memory]);
        assert_eq!(names(&End::Code { code: 137 }, none, none), []);
        assert_eq!(
            names(&End::Code { code: 0 }, Counts::default(), some),
            [LimitName::Memory, LimitName::Processes]
        );
        assert_eq!(names(&End::Signal { signal: 25 }, none, none), [LimitName::FileSize]);
        assert_eq!(names(&End::Code { code: 153 }, none, none), [LimitName::FileSize]);
    }
}
