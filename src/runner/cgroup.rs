//! The session's control group: limits on memory, processes and processors of the whole tree, on v2 or on v1.
//!
//! Made by the outer runner on the host, where it has the right; removed by it when the session has ended. Commands
//! join through a descriptor that was opened before the host's tree went out of sight.
//!
//! What joins is the init of a command's pid namespace, once, and everything that it starts is in the group from the
//! start: by clone3(2) on v2, by writing itself to `tasks` on v1. Not by `cgroup.procs`: moving what may have threads waits
//! for every fork and exec of the host to be over, which takes milliseconds.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::evidence::Counters;
use crate::wire::runner::{Layer, Limits};

/// How an init gets under the limits.
#[derive(Debug, Default)]
pub(super) struct Joins {
    /// v1: open `tasks` files. A thread that writes 0 to each is under the limits, with all that it starts.
    pub(super) tasks: Vec<OwnedFd>,
    /// v2: the group's directory, to be born in.
    pub(super) group: Option<OwnedFd>,
}

/// Where cgroups of execward live, below the root of each hierarchy.
const PARENT: &str = "execward";

/// The control groups of one session: one on v2, or one in each hierarchy of v1.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    directories: Vec<PathBuf>,
    joins: Joins,
    counters: Counters,
    /// Locks on the directories, which end with the runner however it ends: a group without one is nobody's.
    locks: Vec<File>,
}

impl Cgroup {
    /// Makes the session's groups with its limits. Where the host does not allow it there are none, and the layer
    /// says why. What keeps it to its processors is a layer of its own.
    pub(super) fn create(limits: &Limits) -> (Self, Vec<Layer>) {
        let mut cgroup = Self::default();
        let made = cgroup.make(limits);
        let mut layers = Vec::new();
        if let Some(quota) = limits.quota() {
            let held = made.clone().and_then(|version| cgroup.hold_to_processors(version, quota));
            layers.push(cpu_layer(limits, held.err()));
        }
        cgroup.counters = Counters::open(&cgroup.directories);
        let layer = match &made {
            Ok(version) => Layer {
                name: "cgroup".into(),
                enforced: true,
                detail: format!("{}: {} for the whole tree", version.name(), limits.together()),
            },
            Err(why) => {
                cgroup.remove();
                cgroup = Self::default();
                Layer {
                    name: "cgroup".into(),
                    enforced: false,
                    detail: format!(
                        "limits on memory and processes of the whole tree are not enforced: {why}"
                    ),
                }
            }
        };
        layers.insert(0, layer);
        (cgroup, layers)
    }

    /// The way into the groups.
    pub(super) fn take_joins(&mut self) -> Joins {
        std::mem::take(&mut self.joins)
    }

    /// Where it is read what the kernel refused.
    pub(super) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Removes the groups. They are empty once the session's pid namespace is gone.
    pub(super) fn remove(&self) {
        for directory in &self.directories {
            // The last process may still be on its way out of the group; it is dead, so this ends.
            for _ in 0..100 {
                match fs::remove_dir(directory) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }

    fn make(&mut self, limits: &Limits) -> Result<Version, String> {
        let name = format!("{}-{}", std::process::id(), unique());
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        if let Some(root) = v2_root_with_controllers(&mounts) {
            let parent = root.join(PARENT);
            // The root of the hierarchy may have processes and children at once; our parent has only children.
            set(&root.join("cgroup.subtree_control"), "+memory +pids")?;
            create_dir(&parent)?;
            set(&parent.join("cgroup.subtree_control"), "+memory +pids")?;
            let group = self.add(&parent, &name)?;
            self.joins.group = Some(
                File::open(&group).map_err(|error| format!("open {}: {error}", group.display()))?.into(),
            );
            set(&group.join("memory.max"), &limits.memory.to_string())?;
            let _ = set(&group.join("memory.swap.max"), &limits.swap.to_string());
            let _ = set(&group.join("memory.oom.group"), "1");
            set(&group.join("pids.max"), &limits.processes.to_string())?;
            return Ok(Version::Two { root, group });
        }
        let memory =
            v1_root(&mounts, "memory").ok_or("no hierarchy with the memory controller is mounted")?;
        let pids = v1_root(&mounts, "pids").ok_or("no hierarchy with the pids controller is mounted")?;
        let bytes = limits.memory.to_string();
        create_dir(&memory.join(PARENT))?;
        let group = self.add(&memory.join(PARENT), &name)?;
        self.join_by_tasks(&group)?;
        set(&group.join("memory.limit_in_bytes"), &bytes)?;
        // Memory and swap together, so that swap does not add to the limit; missing where swap is not accounted.
        let both = limits.memory.saturating_add(limits.swap).min(i64::MAX.cast_unsigned());
        let _ = set(&group.join("memory.memsw.limit_in_bytes"), &both.to_string());
        create_dir(&pids.join(PARENT))?;
        let group = self.add(&pids.join(PARENT), &name)?;
        self.join_by_tasks(&group)?;
        set(&group.join("pids.max"), &limits.processes.to_string())?;
        Ok(Version::One { cpu: v1_root(&mounts, "cpu"), name })
    }

    /// Limits the processor time that the groups may have in each period.
    fn hold_to_processors(&mut self, version: Version, quota: u64) -> Result<(), String> {
        match version {
            Version::Two { root, group } => {
                set(&root.join("cgroup.subtree_control"), "+cpu")?;
                set(&root.join(PARENT).join("cgroup.subtree_control"), "+cpu")?;
                set(&group.join("cpu.max"), &format!("{quota} {}", Limits::PERIOD))
            }
            Version::One { cpu, name } => {
                let parent = cpu.ok_or("no hierarchy with the cpu controller is mounted")?.join(PARENT);
                create_dir(&parent)?;
                let group = self.add(&parent, &name)?;
                set(&group.join("cpu.cfs_period_us"), &Limits::PERIOD.to_string())?;
                set(&group.join("cpu.cfs_quota_us"), &quota.to_string())?;
                self.join_by_tasks(&group)
            }
        }
    }

    fn add(&mut self, parent: &Path, name: &str) -> Result<PathBuf, String> {
        let failed = |error: std::io::Error| format!("lock {}: {error}", parent.display());
        // Held until the new group has a lock of its own, so that nobody takes it for a leftover.
        let making = File::open(parent).map_err(failed)?;
        making.lock().map_err(failed)?;
        remove_leftovers(parent);
        let directory = parent.join(name);
        fs::create_dir(&directory).map_err(|error| format!("make {}: {error}", directory.display()))?;
        self.directories.push(directory.clone());
        let lock = File::open(&directory).map_err(failed)?;
        lock.lock_shared().map_err(failed)?;
        self.locks.push(lock);
        Ok(directory)
    }

    fn join_by_tasks(&mut self, group: &Path) -> Result<(), String> {
        let tasks = group.join("tasks");
        let file = OpenOptions::new()
            .write(true)
            .open(&tasks)
            .map_err(|error| format!("open {}: {error}", tasks.display()))?;
        self.joins.tasks.push(file.into());
        Ok(())
    }
}

/// The hierarchies that a session's groups are in.
#[derive(Debug, Clone)]
enum Version {
    Two { root: PathBuf, group: PathBuf },
    One { cpu: Option<PathBuf>, name: String },
}

impl Version {
    const fn name(&self) -> &'static str {
        match self {
            Self::Two { .. } => "v2",
            Self::One { .. } => "v1",
        }
    }
}

/// What the receipt says of the processors.
pub(super) fn cpu_layer(limits: &Limits, why_not: Option<String>) -> Layer {
    let cpus = f64::from(limits.cpus.unwrap_or_default()) / 1000.0;
    let enforced = why_not.is_none();
    let detail = match why_not {
        None => format!("{cpus} processors at a time for all together"),
        Some(why) => format!("it is not held to {cpus} processors: {why}"),
    };
    Layer { name: "cpu".into(), enforced, detail }
}

/// Removes the groups of runners that were killed and could not do it themselves.
fn remove_leftovers(parent: &Path) {
    for group in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_group = group.file_type().is_ok_and(|kind| kind.is_dir());
        if is_group && File::open(group.path()).is_ok_and(|lock| lock.try_lock().is_ok()) {
            // One that still has processes stays.
            let _ = fs::remove_dir(group.path());
        }
    }
}

/// Keeps the names of two sessions of one runner pid apart, should pids wrap while an old group still stands.
fn unique() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn create_dir(path: &Path) -> Result<(), String> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(format!("make {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn set(path: &Path, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|error| format!("write {value} to {}: {error}", path.display()))
}

/// The mount point of cgroup v2, where it has the controllers that the limits need.
fn v2_root_with_controllers(mountinfo: &str) -> Option<PathBuf> {
    let root = mounts(mountinfo).find(|mount| mount.kind == "cgroup2")?.point;
    let controllers = fs::read_to_string(Path::new(&root).join("cgroup.controllers")).ok()?;
    let has = |name| controllers.split_whitespace().any(|controller| controller == name);
    (has("memory") && has("pids")).then(|| root.into())
}

fn v1_root(mountinfo: &str, controller: &str) -> Option<PathBuf> {
    mounts(mountinfo)
        .find(|mount| mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller))
        .map(|mount| mount.point.into())
}

struct Mount<'a> {
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// Lines of proc_pid_mountinfo(5): the fields after ` - ` are type, source and super options.
fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        Some(Mount { point: mount.split(' ').nth(4)?, kind: filesystem.next()?, options: filesystem.nth(1)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
36 32 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
37 32 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
38 32 0:33 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn hierarchies_are_found_by_controller() {
        assert_eq!(v1_root(V1, "memory"), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(v1_root(V1, "cpuacct"), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(v1_root(V1, "pids"), None);
    }
}
