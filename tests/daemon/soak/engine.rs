//! An engine of the test's own, which can be killed: on its own socket, with its own data, and no network.

use std::process::Output;

use super::super::*;
use crate::docker;

/// The image of its containers.
pub(super) const IMAGE: &str = "execward-test/soak:latest";

pub(super) struct Engine {
    directory: tempfile::TempDir,
    child: Child,
}

impl Engine {
    /// Starts one, for a daemon of root. `None`, with a skip said, where there is none.
    pub(super) fn start() -> Option<Self> {
        if !is_root() {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("execward-engine-").tempdir_in("/var/tmp").unwrap();
        let Ok(child) = Self::spawn(directory.path()) else {
            skip("docker", "there is no dockerd");
            return None;
        };
        let mut engine = Self { directory, child };
        engine.wait();
        match docker::import_busybox(&engine.socket(), IMAGE) {
            Ok(()) => Some(engine),
            Err(why) => {
                skip("docker", &why);
                None
            }
        }
    }

    fn spawn(directory: &Path) -> std::io::Result<Child> {
        let log = File::options().append(true).create(true).open(directory.join("log"))?;
        let at = |name: &str| directory.join(name).display().to_string();
        Command::new("dockerd")
            .args(["--host", &format!("unix://{}", at("sock")), "--data-root", &at("data")])
            .args(["--exec-root", &at("run"), "--pidfile", &at("pid")])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge=none", "--iptables=false"])
            // What runs in containers goes on without it, as without a daemon.
            .arg("--live-restore")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    fn docker(&self, args: &[&str]) -> Output {
        docker::client(Some(&self.socket())).args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Waits until it answers.
    fn wait(&mut self) {
        until("the engine answers", || {
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(matches!(self.child.try_wait(), Ok(None)), "the engine ended\n{}", log());
            self.docker(&["version"]).status.success()
        });
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn start_again(&mut self) {
        // It would take the process that has this number by now, or the remains of it, for the containerd that died with it.
        let _ = fs::remove_file(self.directory.path().join("run/containerd/containerd.pid"));
        self.child = Self::spawn(self.directory.path()).unwrap();
        self.wait();
    }

    /// All of its containers.
    pub(super) fn containers(&self) -> Vec<String> {
        let listed = self.docker(&["ps", "--all", "--no-trunc", "--quiet"]);
        assert!(listed.status.success(), "{listed:?}");
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What runs in containers would go on without it.
        for id in self.docker(&["ps", "--all", "--quiet"]).stdout.split(|byte| *byte == b'\n') {
            let _ = self.docker(&["rm", "--force", &String::from_utf8_lossy(id)]);
        }
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        // An engine that was killed leaves its mounts.
        let ours = self.directory.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for place in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
            if place.starts_with(ours) {
                let _ = nix::mount::umount2(place, nix::mount::MntFlags::MNT_DETACH);
            }
        }
    }
}
