//! The docker backend on a real engine: what holds for the jail holds in a container, and what only a container can get wrong.
//!
//! The images are made here, of a static busybox: no registry is asked. Root's only, since whoever may use an engine is root.

mod elsewhere;
mod escape;
mod everyday;
mod lifetime;
mod limits;
mod many;
mod pool;
mod restart;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::daemon::{Client, Daemon, Setup, as_root, me};
use crate::support::{ground, is_root, skip};

/// Where a static busybox may be.
const BUSYBOX: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"];

/// What tells our containers from others'.
const LABEL: &str = "org.execward.supervisor";

/// Names of the images of this test process.
pub struct Images {
    /// A busybox with its applets.
    pub busybox: String,
    /// One static binary, and nothing else: no shell, no /tmp, no /etc.
    pub scratch: String,
    /// Says how it wants to be run: by other programs, as another user, with volumes and variables.
    pub hostile: String,
}

/// Runs a test for root where there is an engine; a skip is said where there is none.
pub fn with_images(test: impl Fn(&Images)) {
    if !is_root() {
        return skip("root", "the tests do not run as root");
    }
    static IMAGES: OnceLock<Result<Images, String>> = OnceLock::new();
    match IMAGES.get_or_init(make) {
        Ok(images) => as_root(|| test(images)),
        Err(why) => skip("docker", why),
    }
}

/// Runs the engine's own client.
pub fn docker(args: &[&str]) -> Output {
    client(None).args(args).stdin(Stdio::null()).output().expect("docker can be started")
}

/// The engine's own client, for the engine of the tests or for another.
pub fn client(socket: Option<&Path>) -> Command {
    let mut command = Command::new("docker");
    if let Some(socket) = socket {
        command.arg("--host").arg(format!("unix://{}", socket.display()));
    }
    command
}

/// The same, which must work; what it printed.
#[track_caller]
pub fn docker_says(args: &[&str]) -> String {
    let output = docker(args);
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The containers of a daemon.
pub fn containers(of: &Daemon) -> Vec<String> {
    let label = format!("label={LABEL}={}", of.pid());
    let listed = docker_says(&["ps", "--all", "--no-trunc", "--quiet", "--filter", &label]);
    listed.lines().map(str::to_owned).collect()
}

fn make() -> Result<Images, String> {
    let version = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    let version = version.map_err(|error| format!("no docker: {error}"))?;
    if !version.status.success() {
        return Err(format!("no engine answers: {}", String::from_utf8_lossy(&version.stderr)));
    }
    let tree = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = tree.path().join("busybox");
    let busybox = plant(&root)?;
    let only = tree.path().join("scratch");
    fs::create_dir(&only).map_err(|error| error.to_string())?;
    fs::copy(busybox, only.join("busybox")).map_err(|error| error.to_string())?;
    let named = |name: &str| format!("execward-test/{name}:{}", std::process::id());
    let images = Images { busybox: named("busybox"), scratch: named("scratch"), hostile: named("hostile") };
    // SAFETY: `remove` is a plain function that does not unwind over the boundary.
    #[allow(unsafe_code)]
    unsafe {
        libc::atexit(remove);
    }
    import(client(None), &root, &images.busybox, &[])?;
    import(client(None), &only, &images.scratch, &[])?;
    import(
        client(None),
        &root,
        &images.hostile,
        &[
            "ENTRYPOINT [\"/bin/sh\", \"-c\", \"echo hijacked; sleep 1000\"]",
            "CMD [\"/bin/false\"]",
            "ENV LD_PRELOAD=/evil.so HOSTILE=1 PATH=/evil",
            "USER 4242:4242",
            "VOLUME /volume",
            "VOLUME /tmp",
            "HEALTHCHECK --interval=1s CMD touch /tmp/healthy",
            "WORKDIR /proc/self/fd/7",
        ],
    )?;
    Ok(images)
}

/// Makes a root of a busybox with its applets; where the busybox was.
fn plant(root: &Path) -> Result<&'static str, String> {
    let busybox = BUSYBOX.into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("no static busybox; `./test --install` installs it")?;
    let bin = root.join("bin");
    fs::create_dir_all(&bin)
        .and_then(|()| fs::create_dir(root.join("tmp")))
        .map_err(|error| error.to_string())?;
    fs::copy(busybox, bin.join("busybox")).map_err(|error| error.to_string())?;
    let applets = Command::new(busybox).arg("--list").output().map_err(|error| error.to_string())?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).map_err(|error| error.to_string())?;
    }
    Ok(busybox)
}

/// Makes an image of a busybox on another engine.
pub fn import_busybox(socket: &Path, name: &str) -> Result<(), String> {
    let tree = tempfile::tempdir().map_err(|error| error.to_string())?;
    plant(tree.path())?;
    import(client(Some(socket)), tree.path(), name, &[])
}

/// Makes an image of a directory.
fn import(mut command: Command, root: &Path, name: &str, changes: &[&str]) -> Result<(), String> {
    let tar = Command::new("tar").arg("-C").arg(root).args(["-c", "--owner=0", "--group=0", "."]).output();
    let tar = tar.map_err(|error| error.to_string())?.stdout;
    command.arg("import");
    for change in changes {
        command.args(["--change", change]);
    }
    let mut importing = command
        .args(["-", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    // Where it is refused at once, its answer says why.
    let _ = importing.stdin.take().expect("it is piped").write_all(&tar);
    let output = importing.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Removes the images, once nothing of this process uses them any more.
extern "C" fn remove() {
    for name in ["busybox", "scratch", "hostile"] {
        let name = format!("execward-test/{name}:{}", std::process::id());
        let _ = Command::new("docker").args(["image", "rm", "--force", &name]).output();
    }
}

/// A policy that permits these images and every command.
pub fn policy(images: &Images) -> String {
    let Images { busybox, scratch, hostile } = images;
    format!("default = \"allow\"\n[sandbox]\nimages = [{busybox:?}, {scratch:?}, {hostile:?}]\n")
}

/// A daemon that permits them.
pub fn daemon(images: &Images) -> Daemon {
    daemon_with(images, "")
}

pub fn daemon_with(images: &Images, config: &str) -> Daemon {
    Daemon::start(Setup { policy: &policy(images), config }).expect("the jail stands for root")
}

/// Opens a session in a container; its name.
#[track_caller]
pub fn open(client: &mut Client, daemon: &Daemon, workspace: &str, image: &str) -> String {
    let asked = json!({"workspace": daemon.workspace(me(), workspace), "backend": "docker", "image": image});
    let opened = client.call("session/open", asked).unwrap_or_else(|error| panic!("no session: {error}"));
    opened["session"].as_str().unwrap().to_owned()
}

/// Runs shell text to its end.
pub fn shell(client: &mut Client, id: &str, text: &str) -> Value {
    client.call("exec/start", json!({"id": id, "command": {"shell": text}})).unwrap();
    client.call("exec/wait", json!({ "id": id })).unwrap()
}

/// A place for commands without a daemon.
pub struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    pub fn new(policy: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("execward-docker-").tempdir_in("/var/tmp").unwrap();
        fs::create_dir(directory.path().join("work")).unwrap();
        fs::write(directory.path().join("policy.toml"), policy).unwrap();
        Self { directory }
    }

    pub fn workspace(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// `execward run --backend docker --image IMAGE ARGS...`, with variables of which some must not pass. Not in a mount
    /// namespace of its own, as other tests are: the engine must see what execward mounts.
    pub fn run(&self, image: &str, args: &[&str]) -> Command {
        let mut command = Command::new(ground::execward());
        command
            .args(["run", "--no-daemon", "--backend", "docker", &format!("--image={image}"), "--policy"])
            .arg(self.directory.path().join("policy.toml"))
            .arg("--state")
            .arg(self.state())
            .args(args)
            .current_dir(self.workspace())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .env("AWS_SECRET_ACCESS_KEY", "CANARY")
            .env("LD_PRELOAD", "/CANARY.so")
            .stdin(Stdio::null());
        command
    }
}

/// What a process printed and how it ended.
#[track_caller]
pub fn ended(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    (out, err)
}
