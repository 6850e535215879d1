//! What could be left over.

use std::collections::BTreeSet;

use super::super::*;

/// Mounts that have to do with this directory, but for the disk that the test has put under the state in it.
pub(super) fn mounts(of: &Path, in_the_eyes_of: &str) -> Vec<String> {
    let all = fs::read_to_string(format!("/proc/{in_the_eyes_of}/mountinfo")).unwrap_or_default();
    let (name, disk) = (of.file_name().unwrap().to_str().unwrap(), of.join("state").display().to_string());
    let of_it = |line: &&str| line.contains(name) && line.split(' ').nth(4) != Some(disk.as_str());
    all.lines().filter(of_it).map(str::to_owned).collect()
}

/// Processes in whose mounts this directory is, and not in ours: sandboxes.
pub(super) fn inside(directory: &Path) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| !mounts(directory, &pid.to_string()).is_empty();
    pids.filter(has).filter(|pid| is_there(*pid)).collect()
}

/// Runners among them: of sessions and of commands.
pub(super) fn runners(directory: &Path) -> Vec<i32> {
    let is = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"runner")
    };
    inside(directory).into_iter().filter(is).collect()
}

/// Control groups of runners that are gone.
pub(super) fn orphaned_groups() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for root in ["/sys/fs/cgroup/execward", "/sys/fs/cgroup/memory/execward", "/sys/fs/cgroup/pids/execward"]
    {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let pid = name.split_once('-').and_then(|(pid, _)| pid.parse::<i32>().ok());
            if pid.is_some_and(|pid| !is_there(pid)) {
                found.insert(entry.path());
            }
        }
    }
    found
}
