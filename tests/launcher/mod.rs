//! The launcher backend: what a command reaches is a runner as any other, and what it reaches instead is believed nothing.
//!
//! A place elsewhere is a home and a directory of the test's own. Programs in PATH stand in for the clients of places that cannot
//! be had here: what they are given is written down, and the shell text in it is run as it would be there.

mod hostile;
mod presets;
mod slurm;
pub mod ssh;
mod work;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::daemon::{Client, Daemon, Setup, directory, give, me};

/// Everything is allowed, and the launcher `there` is.
const POLICY: &str = "default = \"allow\"\n[sandbox]\nlaunchers = [\"there\"]\n";

/// A place elsewhere.
pub struct There {
    directory: tempfile::TempDir,
}

impl There {
    pub fn new() -> Self {
        let there = Self { directory: directory() };
        for name in ["bin", "home", "work", "work/w", "private"] {
            fs::create_dir(there.path(name)).unwrap();
            give(&there.path(name));
        }
        fs::set_permissions(there.path("private"), Permissions::from_mode(0o700)).unwrap();
        there
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn work(&self) -> String {
        self.path("work/w").to_str().unwrap().to_owned()
    }

    /// Puts a program into the PATH of launchers.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// The section of a launcher, with these lines in it.
    pub fn section(&self, name: &str, lines: &str) -> String {
        let (work, bin, home) = (self.path("work"), self.path("bin"), self.path("home"));
        format!(
            "[launcher.{name}]\nworkspaces = [{work:?}]\n{lines}\n[launcher.{name}.environment]\n\
             PATH = \"{}:/usr/sbin:/usr/bin:/sbin:/bin\"\nHOME = {home:?}\n",
            bin.display()
        )
    }

    /// A daemon whose launcher `there` is a shell that becomes the runner.
    pub fn daemon(&self, lines: &str) -> Option<Daemon> {
        let lines = if ["command", "preset", "engine"].iter().any(|way| lines.contains(way)) {
            lines.to_owned()
        } else {
            format!("command = [\"sh\", \"-c\", \"{{remote}}\"]\n{lines}")
        };
        self.daemon_with(&self.section("there", &lines), POLICY)
    }

    pub fn daemon_with(&self, config: &str, policy: &str) -> Option<Daemon> {
        Daemon::start(Setup { policy, config })
    }

    /// The runners that have been sent here.
    pub fn sent(&self) -> Vec<PathBuf> {
        let directory = self.path("home/.cache/execward");
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }
}

/// Asks for a session there.
pub fn try_open(client: &mut Client, launcher: &str, workspace: &str) -> Result<Value, Value> {
    client.call("session/open", json!({"workspace": workspace, "launcher": launcher}))
}

/// Opens a session there; what is said of it.
#[track_caller]
pub fn open(client: &mut Client, workspace: &str) -> Value {
    try_open(client, "there", workspace).unwrap_or_else(|error| panic!("no session: {error}"))
}

/// Runs shell text to its end.
#[track_caller]
pub fn shell(client: &mut Client, id: &str, text: &str) -> Value {
    client.call("exec/start", json!({"id": id, "command": {"shell": text}})).unwrap();
    client.call("exec/wait", json!({ "id": id })).unwrap()
}

/// What it printed.
pub fn out(done: &Value) -> &str {
    done["stdout"]["text"].as_str().unwrap_or_else(|| panic!("no output: {done}")).trim_end()
}

/// Whether a layer of a receipt is enforced; `None` where it is not among them.
pub fn layer(receipt: &Value, name: &str) -> Option<bool> {
    let layers = receipt["layers"].as_array().unwrap();
    layers.iter().find(|layer| layer["name"] == name).map(|layer| layer["enforced"] == true)
}

/// Processes whose command line has this in it.
pub fn processes(with: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(with)
    })
    .collect()
}

/// Who owns a file.
pub fn owner(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap())
}

/// The code and the text of an error.
#[track_caller]
pub fn refused(result: Result<Value, Value>) -> (i64, String) {
    let error = result.expect_err("it is refused");
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

/// Whoever runs the daemon.
pub fn client(daemon: &Daemon) -> Client {
    daemon.client(me())
}
