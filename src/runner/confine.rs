//! What a command's own process does to itself before it becomes the command. Each step takes something away, and the
//! steps that later ones need come last.

use std::ffi::CString;
use std::path::Path;

use caps::{CapSet, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::failure::{Doing, Hint, Result};
use super::{namespaces, seccomp};
use crate::sys::{mount, process};
use crate::wire::runner::{Failure, FileId, SandboxSpec, Spawn};

/// The newest landlock ABI whose rights are asked for. What an older kernel lacks is left out and shows in the
/// receipt by its ABI.
const LANDLOCK: ABI = ABI::V9;

/// How much rather than others the kernel shall end a command when memory runs out: proc_pid_oom_score_adj(5).
const OOM_SCORE_ADJUSTMENT: &str = "200";

/// Why a command's process never became the command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum NotRun {
    /// A layer could not be put on.
    Unconfined(Failure),
    /// All layers are on, but the program cannot be executed.
    NotExecuted { errno: i32, program: String },
}

impl From<Failure> for NotRun {
    fn from(failure: Failure) -> Self {
        Self::Unconfined(failure)
    }
}

/// Confines this process and executes the command in it. Returns only where that failed.
pub(super) fn execute(spawn: &Spawn, spec: &SandboxSpec, privileged: bool) -> NotRun {
    match confine(spawn, spec, privileged) {
        Ok(()) => run(spawn),
        Err(failure) => failure.into(),
    }
}

fn confine(spawn: &Spawn, spec: &SandboxSpec, privileged: bool) -> Result<()> {
    limit(spec)?;
    // A hint for the kernel, not a layer: a kernel without it is no reason to refuse.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUSTMENT);
    process::reset_signals().doing("signals", || "reset signals".into())?;
    drop_capabilities_for_good()?;
    namespaces::become_identity(&spec.identity, privileged)?;
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::set(None, set, &CapsHashSet::new())
            .doing("capabilities", || format!("drop {set:?} capabilities"))?;
    }
    // As the command's own user: what that user may not enter is not entered for it.
    enter_directory(spawn)?;
    nix::sys::prctl::set_no_new_privs().doing("no-new-privs", || "set no_new_privs".into())?;
    restrict_files(spec)?;
    filter_calls()
}

/// Enters the working directory, which must be the one that was checked.
fn enter_directory(spawn: &Spawn) -> Result<()> {
    let what = || format!("enter the directory {}", spawn.cwd.display());
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd = openat2(nix::fcntl::AT_FDCWD, &spawn.cwd, how).doing("directory", what)?;
    let (dev, ino) = mount::file_id(&fd).doing("directory", what)?;
    if (FileId { dev, ino }) != spawn.cwd_id {
        return Err(Errno::ESTALE)
            .doing("directory", what)
            .hint(|| "another directory stands there than the one that was checked".into());
    }
    nix::unistd::fchdir(&fd).doing("directory", what)
}

fn limit(spec: &SandboxSpec) -> Result<()> {
    let set = |resource: Resource, value: u64| {
        let (_, hard) = getrlimit(resource).unwrap_or((value, value));
        // Only root may raise a hard limit; a lower one that already holds is as good.
        let value = value.min(hard);
        setrlimit(resource, value, value).doing("limits", || format!("set {resource:?} to {value}"))
    };
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_NOFILE, spec.limits.open_files)?;
    set(Resource::RLIMIT_NPROC, spec.limits.processes)?;
    if let Some(size) = spec.limits.file_size {
        set(Resource::RLIMIT_FSIZE, size)?;
    }
    Ok(())
}

/// Empties the bounding and ambient sets and locks the secure bits: nothing that is executed can gain a capability.
fn drop_capabilities_for_good() -> Result<()> {
    let what = || "drop the capability bounding set".to_owned();
    // Ask the kernel which capabilities it knows: one that this build has no name for must go as well.
    for capability in 0..64 {
        match Errno::result(process::drop_from_bounding_set(capability)) {
            Err(Errno::EINVAL) => break,
            other => other.map(drop).doing("capabilities", what)?,
        }
    }
    caps::clear(None, CapSet::Ambient).doing("capabilities", || "drop ambient capabilities".into())?;
    process::lock_secure_bits().doing("capabilities", || "lock the secure bits".into())
}

/// Landlock over the mount view: what is read-only there is read-only here too, so that each holds alone.
fn restrict_files(spec: &SandboxSpec) -> Result<()> {
    let doing = || "restrict the file system with landlock".to_owned();
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .doing("landlock", doing)?
        .scope(Scope::from_all(LANDLOCK))
        .doing("landlock", doing)?
        .create()
        .doing("landlock", doing)?;
    let all = AccessFs::from_all(LANDLOCK);
    let devices = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let own_settings = AccessFs::WriteFile | AccessFs::Truncate;
    let mut rules: Vec<(&Path, BitFlags<AccessFs>)> = vec![
        (Path::new("/"), AccessFs::from_read(LANDLOCK)),
        (Path::new("/dev"), devices),
        (Path::new("/dev/shm"), all),
        (Path::new("/proc"), own_settings),
        (Path::new("/run"), all),
        (Path::new("/tmp"), all),
        (Path::new("/var/tmp"), all),
        (&spec.identity.home, all),
    ];
    if spec.workspace.writable {
        rules.push((&spec.workspace.path, all));
    }
    let mut ruleset = ruleset;
    for (path, access) in rules {
        let fd = PathFd::new(path).doing("landlock", || format!("open {}", path.display()))?;
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access)).doing("landlock", doing)?;
    }
    let status = ruleset.restrict_self().doing("landlock", doing)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(Errno::ENOSYS).doing("landlock", doing);
    }
    Ok(())
}

/// The seccomp filters, last: what comes before makes calls that they refuse.
fn filter_calls() -> Result<()> {
    let filters = seccomp::filters().map_err(std::io::Error::other).doing("seccomp", || "compile".into())?;
    for program in [&filters.permitted, &filters.known] {
        seccompiler::apply_filter(program).doing("seccomp", || "install the filter".into())?;
    }
    Ok(())
}

fn run(spawn: &Spawn) -> NotRun {
    let failed = |errno: Errno, program: &str| NotRun::NotExecuted {
        errno: errno as i32,
        program: program.to_owned(),
    };
    let text = |value: &str| CString::new(value).map_err(|_| Errno::EINVAL);
    let Some(program) = spawn.argv.first() else { return failed(Errno::EINVAL, "") };
    let argv: std::result::Result<Vec<_>, _> = spawn.argv.iter().map(|word| text(word)).collect();
    let env: std::result::Result<Vec<_>, _> =
        spawn.env.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect();
    let (Ok(argv), Ok(env)) = (argv, env) else { return failed(Errno::EINVAL, program) };

    if program.contains('/') {
        let errno = text(program).map_or_else(|errno| errno, |path| process::execute(&path, &argv, &env));
        return failed(errno, program);
    }
    let path = spawn.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let mut worst = Errno::ENOENT;
    for directory in path.split(':').filter(|directory| directory.starts_with('/')) {
        let Ok(candidate) = text(&format!("{directory}/{program}")) else { continue };
        match process::execute(&candidate, &argv, &env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // As execvp(3): go on looking, but say that there was one.
            Errno::EACCES => worst = Errno::EACCES,
            errno => return failed(errno, program),
        }
    }
    failed(worst, program)
}
