//! A directory for one test: its workspace, what lies outside, and the state of the execward that runs there.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::account::Account;
use super::{Command, Leg};

/// Where one test happens. Gone when dropped, except when the test failed.
#[derive(Debug)]
pub struct Ground {
    root: PathBuf,
    account: Account,
    leg: Leg,
}

impl Ground {
    /// Makes one for `leg`; `None`, with a skip said, where that user cannot be had.
    pub fn new(leg: Leg) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let account = match leg {
            Leg::Root => Account::root(),
            Leg::User => Account::user()?,
        };
        let root = base().join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        let ground = Self { root, account, leg };
        ground.make_directory(&ground.root);
        for name in ["workspace", "outside", "state", "nothing"] {
            ground.make_directory(&ground.root.join(name));
        }
        fs::set_permissions(ground.state(), Permissions::from_mode(0o700)).expect("a mode can be set");
        Some(ground)
    }

    pub fn leg(&self) -> Leg {
        self.leg
    }

    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The directory that holds all of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where commands work.
    pub fn workspace(&self) -> PathBuf {
        self.root.join("workspace")
    }

    /// Beside the workspace: nothing here may be seen or changed from inside.
    pub fn outside(&self) -> PathBuf {
        self.root.join("outside")
    }

    /// What execward takes for its state directory here.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// An empty directory.
    pub fn nothing(&self) -> PathBuf {
        self.root.join("nothing")
    }

    /// Writes a file of the requester's below the workspace, with its directories.
    pub fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        self.put(&self.workspace().join(relative), bytes.as_ref(), 0o644)
    }

    /// Writes a file of the requester's anywhere on this ground, with its directories.
    pub fn put(&self, path: &Path, bytes: &[u8], mode: u32) -> PathBuf {
        let parent = path.parent().expect("a file has a directory");
        let missing: Vec<&Path> = parent.ancestors().take_while(|directory| !directory.exists()).collect();
        for directory in missing.into_iter().rev() {
            self.make_directory(directory);
        }
        fs::write(path, bytes).expect("a file of the test can be written");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode can be set");
        self.give(path);
        path.to_owned()
    }

    /// Makes the requester the owner.
    pub fn give(&self, path: &Path) {
        if super::is_root() {
            chown(path, Some(self.account.uid), Some(self.account.gid)).expect("root can give a file away");
        }
    }

    /// Makes the requester the owner of a whole tree.
    pub fn give_tree(&self, path: &Path) {
        self.give(path);
        for entry in fs::read_dir(path).expect("the tree can be listed").flatten() {
            let kind = entry.file_type().expect("a type can be read");
            if kind.is_dir() {
                self.give_tree(&entry.path());
            } else if kind.is_file() {
                self.give(&entry.path());
            }
        }
    }

    fn make_directory(&self, path: &Path) {
        fs::create_dir(path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a mode can be set");
        self.give(path);
    }

    /// Puts the probe into the workspace.
    pub fn bring_probe(&self) {
        let to = self.workspace().join("execward-probe");
        copy_program(probe(), &to);
        self.give(&to);
    }

    /// `execward ARGS...` in the workspace.
    pub fn execward<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(self, execward());
        command.args(args);
        command
    }

    /// `execward run -- ARGV...`
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.execward(["run", "--"]);
        command.args(argv);
        command
    }

    /// `execward run -c TEXT`
    pub fn shell(&self, text: &str) -> Command {
        self.execward(["run", "-c", text])
    }

    /// The same program without execward.
    pub fn bare<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        let mut argv = argv.into_iter();
        let program = argv.next().expect("a command has a program");
        let mut command = Command::new(self, program.as_ref());
        command.args(argv);
        command
    }

    /// A program without execward and as somebody else, for what only root may do.
    pub fn bare_as<S: AsRef<OsStr>>(&self, account: &Account, argv: impl IntoIterator<Item = S>) -> Command {
        let other = Self { root: self.root.clone(), account: account.clone(), leg: self.leg };
        let command = other.bare(argv);
        // The ground belongs to `self`: nothing is removed here.
        std::mem::forget(other);
        command
    }

    /// The same shell text without execward.
    pub fn bare_shell(&self, text: &str) -> Command {
        self.bare(["bash", "--norc", "--noprofile", "-c", text])
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- kept for a look: {}", self.root.display());
        } else {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

/// The binary under test, at a path that every user can reach.
pub fn execward() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| install(Path::new(env!("CARGO_BIN_EXE_execward")), "execward"))
}

/// The probe that runs inside: the binary under test, by its other name.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| install(Path::new(env!("CARGO_BIN_EXE_execward")), "execward-probe"))
}

/// Copies a program next to the grounds: the build directory may be in a home that other users cannot enter.
fn install(from: &Path, name: &str) -> PathBuf {
    let to = base().join(name);
    copy_program(from, &to);
    to
}

/// Copies a program to where it will be executed. Another process writes it: a descriptor of ours that is open for writing would
/// be inherited by whatever another thread starts at that moment, and a file that somebody may write cannot be executed (ETXTBSY).
fn copy_program(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").args([from, to]).status().expect("cp starts");
    assert!(status.success(), "copy {}: {status}", from.display());
    fs::set_permissions(to, Permissions::from_mode(0o755)).expect("a mode can be set");
}

/// One directory for the test process. Below /var/tmp, because a workspace in /tmp would be hidden by the private
/// /tmp of the jail, and the build directory may be out of reach for the ordinary user.
fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let base = PathBuf::from(format!("/var/tmp/execward-test-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir(&base).unwrap_or_else(|error| panic!("make {}: {error}", base.display()));
        fs::set_permissions(&base, Permissions::from_mode(0o755)).expect("a mode can be set");
        // SAFETY: `remove_base` is a plain function that does not unwind over the boundary.
        unsafe { libc::atexit(remove_base) };
        base
    })
}

/// Grounds of failed tests stay; the directory goes with the last of them.
extern "C" fn remove_base() {
    for program in ["execward", "execward-probe"] {
        let _ = fs::remove_file(base().join(program));
    }
    let _ = fs::remove_dir(base());
}
