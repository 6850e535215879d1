//! Engines elsewhere: one of the test's own behind TLS, and the one that there is behind a real ssh.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Images, docker, docker_says, with_images};
use crate::daemon::{Daemon, until};
use crate::launcher::{There, client, layer, open, out, refused, shell, ssh, try_open};
use crate::support::skip;

/// Whose the workspaces are, and as whom commands run.
const USER: u32 = 61_020;

/// An engine behind TLS, with certificates of its own.
struct Engine {
    directory: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Engine {
    /// Starts one that has the image. `None`, with a skip said, where none can be started.
    fn start(image: &str) -> Option<Self> {
        let there = |program: &str| {
            ["/usr/sbin", "/usr/bin", "/usr/local/bin"].iter().any(|at| Path::new(at).join(program).exists())
        };
        if !there("dockerd") || !there("openssl") {
            skip("docker", "no dockerd or no openssl; `./test --install` installs them");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("execward-engine-").tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| directory.path().join(name);
        authority(directory.path(), "ca");
        certify(directory.path(), "ca", "server", "serverAuth");
        certify(directory.path(), "ca", "client", "clientAuth");
        // Of somebody who is nobody to the engine.
        authority(directory.path(), "other");
        certify(directory.path(), "other", "stranger", "clientAuth");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("dockerd")
            .arg(format!("--host=tcp://127.0.0.1:{port}"))
            .arg("--tlsverify")
            .arg(format!("--tlscacert={}", at("ca.pem").display()))
            .arg(format!("--tlscert={}", at("server.pem").display()))
            .arg(format!("--tlskey={}", at("server.key").display()))
            .arg(format!("--data-root={}", at("data").display()))
            .arg(format!("--exec-root={}", at("run").display()))
            .arg(format!("--pidfile={}", at("pid").display()))
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge", "none", "--iptables=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let mut engine = Self { directory, child, port };
        let end = Instant::now() + Duration::from_secs(60);
        while !engine.docker(&["version"]).status.success() {
            if let Some(status) = engine.child.try_wait().unwrap() {
                panic!("the engine ended: {status}: {}", fs::read_to_string(engine.at("log")).unwrap());
            }
            assert!(Instant::now() < end, "{}", fs::read_to_string(engine.at("log")).unwrap());
            std::thread::sleep(Duration::from_millis(50));
        }
        docker_says(&["save", "--output", engine.at("image.tar").to_str().unwrap(), image]);
        engine.says(&["load", "--input", engine.at("image.tar").to_str().unwrap()]);
        Some(engine)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn docker(&self, args: &[&str]) -> Output {
        Command::new("docker")
            .arg(format!("--host=tcp://127.0.0.1:{}", self.port))
            .arg("--tlsverify")
            .arg(format!("--tlscacert={}", self.at("ca.pem").display()))
            .arg(format!("--tlscert={}", self.at("client.pem").display()))
            .arg(format!("--tlskey={}", self.at("client.key").display()))
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn says(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn containers(&self) -> Vec<String> {
        self.says(&["ps", "--all", "--quiet", "--no-trunc"]).lines().map(str::to_owned).collect()
    }

    /// The lines of a launcher.
    fn lines(&self, image: &str, ca: &str, who: &str) -> String {
        let at = |name: String| self.at(&name).display().to_string();
        format!(
            "engine = \"tcp://127.0.0.1:{}\"\nimage = {image:?}\nuser = {USER}\nmake = true\nsilence = \"20s\"\n\
             tls = {{ ca = {:?}, cert = {:?}, key = {:?} }}",
            self.port,
            at(format!("{ca}.pem")),
            at(format!("{who}.pem")),
            at(format!("{who}.key"))
        )
    }

    fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            for container in self.docker(&["ps", "--all", "--quiet"]).stdout.split(|byte| *byte == b'\n') {
                let id = String::from_utf8_lossy(container);
                if !id.is_empty() {
                    let _ = self.docker(&["rm", "--force", "--volumes", &id]);
                }
            }
            self.stop();
        }
    }
}

#[track_caller]
fn openssl(directory: &Path, args: &[&str]) {
    let output =
        Command::new("openssl").args(args).current_dir(directory).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// Somebody who vouches for others.
fn authority(directory: &Path, name: &str) {
    let (key, pem, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
    let args = ["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem];
    openssl(directory, &[&args[..], &KEY[..]].concat());
}

/// Somebody who is vouched for.
fn certify(directory: &Path, by: &str, name: &str, purpose: &str) {
    let [key, request, pem, extensions] = ["key", "csr", "pem", "ext"].map(|kind| format!("{name}.{kind}"));
    let (ca, ca_key, subject) = (format!("{by}.pem"), format!("{by}.key"), format!("/CN={name}"));
    openssl(
        directory,
        &[&["req", "-subj", &subject, "-keyout", &key, "-out", &request][..], &KEY[..]].concat(),
    );
    let text = format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={purpose}\n");
    fs::write(directory.join(&extensions), text).unwrap();
    let args = [
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-out",
        &pem,
    ];
    openssl(directory, &[&args[..], &["-extfile", &extensions][..]].concat());
}

/// A daemon with a launcher `there` on this engine, for workspaces that are made below `/work`.
fn daemon(there: &There, lines: &str) -> Daemon {
    let section = there.section("there", lines);
    let section = section
        .replace(&format!("workspaces = [{:?}]", there.path("work")), "workspaces = [\"/work/{user}\"]");
    let policy = "default = \"allow\"\n[limits]\ncpus = 0.5\n[sandbox]\nlaunchers = [\"there\"]\n";
    there.daemon_with(&section, policy).expect("the jail stands for root")
}

fn with_engine(test: impl Fn(&Images, &mut Engine)) {
    with_images(|images| {
        if let Some(mut engine) = Engine::start(&images.busybox) {
            test(images, &mut engine);
        }
    });
}

#[test]
fn a_session_runs_behind_tls_in_a_container_that_goes_with_it() {
    with_engine(|images, engine| {
        let there = There::new();
        // Runners of other versions, one of which is in use, and what is not ours.
        for volume in ["execward-runner-old", "execward-runner-used", "somebodys"] {
            engine.says(&["volume", "create", volume]);
        }
        let user = engine.says(&["create", "-v", "execward-runner-used:/at", &images.busybox, "sh"]);
        let mut daemon = daemon(&there, &engine.lines(&images.busybox, "ca", "client"));
        let volumes = || engine.says(&["volume", "ls", "--quiet"]);
        until("the old runner is swept", || !volumes().contains("execward-runner-old"));
        assert!(volumes().contains("execward-runner-used") && volumes().contains("somebodys"));
        engine.says(&["rm", &user]);
        engine.says(&["volume", "rm", "somebodys", "execward-runner-used"]);
        let mut agent = client(&daemon);
        let opened = open(&mut agent, "/work/root/a/b");
        assert_eq!(opened["receipt"]["backend"], "docker", "{opened}");
        for name in [
            "launcher",
            "container",
            "private-root",
            "network-namespace",
            "cpu",
            "landlock",
            "seccomp",
            "tree",
        ] {
            assert_eq!(layer(&opened["receipt"], name), Some(true), "{name}: {opened}");
        }
        let [container] = engine.containers().try_into().expect("one container");
        let host = engine.says(&["inspect", "--format", "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.NetworkMode}} {{.HostConfig.CapDrop}} {{.HostConfig.CpuQuota}}", &container]);
        assert_eq!(host, "true none [ALL] 50000");

        // Its own, whole, in any bytes, in its own directory, and nobody's on either machine.
        let done = shell(
            &mut agent,
            "who",
            "pwd; id -u; echo $HOME; touch ~/x /tmp/x made; ls -n . | grep -c 61020",
        );
        assert_eq!(out(&done), format!("/work/root/a/b\n{USER}\n/home/agent\n1"), "{done}");
        let start = json!({"id": "in", "command": {"shell": "mkdir d; cat > d/copied"}, "stdin": "pipe"});
        agent.call("exec/start", start).unwrap();
        agent.call("exec/write", json!({"id": "in", "text": "brought here\n", "end": true})).unwrap();
        agent.call("exec/wait", json!({"id": "in"})).unwrap();
        let start = json!({"id": "cwd", "command": {"argv": ["cat", "copied"]}, "cwd": "d"});
        agent.call("exec/start", start).unwrap();
        let done = agent.call("exec/wait", json!({"id": "cwd"})).unwrap();
        assert_eq!(out(&done), "brought here", "{done}");
        let flood = "i=0; while [ $i -lt 20 ]; do head -c 200000 /dev/zero | tr '\\0' '\\377'; i=$((i+1)); done | wc -c";
        let counted = out(&shell(&mut agent, "sum", flood)).to_owned();
        let text = flood.trim_end_matches(" | wc -c");
        let start = json!({"id": "flood", "command": {"shell": text}, "output": {"mode": "poll"}});
        agent.call("exec/start", start).unwrap();
        let mut bytes = 0;
        let (mut after, mut closed) = (0, false);
        while !closed {
            let read =
                agent.call("exec/read", json!({"id": "flood", "after_seq": after, "wait_ms": 1000})).unwrap();
            for chunk in read["chunks"].as_array().unwrap() {
                after = chunk["seq"].as_u64().unwrap();
                let text = chunk["base64"].as_str().unwrap_or_default();
                assert!(text.trim_end_matches('=').bytes().all(|byte| b"/8w39".contains(&byte)), "{text}");
                bytes += text.len() / 4 * 3 - text.matches('=').count();
            }
            closed = read["closed"] == true;
        }
        assert_eq!((bytes, counted.as_str()), (4_000_000, "4000000"));
        // A limit ends the whole tree.
        let start = json!({"id": "late", "command": {"shell": "(setsid sleep 4444 &); sleep 4444"}, "timeout_ms": 500});
        agent.call("exec/start", start).unwrap();
        let done = agent.call("exec/wait", json!({"id": "late"})).unwrap();
        assert_eq!(done["report"]["outcome"], "timed-out", "{done}");
        assert!(!engine.says(&["top", &container]).contains("sleep 4444"));

        // Another session has another container, sees nothing of it, and the binary is sent once.
        let volumes = || engine.says(&["volume", "ls", "--quiet"]);
        let mut other = client(&daemon);
        open(&mut other, "/work/root/a/b");
        assert_eq!(out(&shell(&mut other, "look", "ls -A; echo x")), "x");
        assert_eq!(
            volumes().lines().filter(|name| name.starts_with("execward-runner-")).count(),
            1,
            "{}",
            volumes()
        );
        assert_eq!(engine.containers().len(), 2);
        other.call("session/close", json!({})).unwrap();
        until("its container is gone", || engine.containers() == [container.as_str()]);

        // Of a daemon that is killed the engine keeps nothing but the binary.
        agent
            .call(
                "exec/start",
                json!({"id": "bg", "command": {"argv": ["sleep", "4445"]}, "background": true}),
            )
            .unwrap();
        daemon.crash();
        until("it is gone", || engine.containers().is_empty());
        until("its workspace, too", || volumes().lines().all(|name| name.starts_with("execward-runner-")));
        daemon.verify_log();
    });
}

#[test]
fn who_is_not_known_is_refused_on_either_side_and_an_engine_that_goes_harms_its_sessions_alone() {
    with_engine(|images, engine| {
        let there = There::new();
        for (ca, who) in [("other", "client"), ("ca", "stranger")] {
            let daemon = daemon(&there, &engine.lines(&images.busybox, ca, who));
            let (code, message) = refused(try_open(&mut client(&daemon), "there", "/work/root/a"));
            let named = message.contains(&format!("tcp://127.0.0.1:{}", engine.port));
            assert!(code == 1500 && named && message.contains("ertificate"), "{ca} {who}: {message}");
            assert!(engine.containers().is_empty());
        }
        let daemon = daemon(&there, &engine.lines(&images.busybox, "ca", "client"));
        for bad in ["/work/root", "/work/ben/a", "/work/root/../ben", "/etc"] {
            refused(try_open(&mut client(&daemon), "there", bad));
        }
        let mut spared = client(&daemon);
        spared.open(&daemon.workspace(crate::daemon::me(), "spared"));
        let mut agent = client(&daemon);
        open(&mut agent, "/work/root/a");
        agent.call("exec/start", json!({"id": "on", "command": {"argv": ["sleep", "4446"]}})).unwrap();
        engine.stop();
        let report = agent.exited("on");
        assert_eq!(report["outcome"], "failed", "{report}");
        assert_eq!(spared.run("a", &["echo", "x"])["stdout"]["text"], "x\n");
        let (code, message) = refused(try_open(&mut client(&daemon), "there", "/work/root/a"));
        assert!(code == 1500 && message.contains("no Docker engine answers at tcp://"), "{message}");
    });
}

#[test]
fn a_session_runs_behind_ssh_in_a_workspace_that_machines_share() {
    with_images(|images| {
        let there = There::new();
        let Some(server) = ssh::server(&there) else { return };
        let lines = |known: &str| {
            format!(
                "engine = \"ssh://{}@127.0.0.1\"\nimage = {:?}\nuser = {USER}\n{}",
                server.user,
                images.busybox,
                ssh::options(&there, &server, known)
            )
        };
        let work = there.path("work");
        chown(work.join("w"), Some(USER), Some(USER)).unwrap();
        fs::write(work.join("w/file"), "shared\n").unwrap();
        fs::create_dir(work.join("roots")).unwrap();
        symlink("/etc", work.join("etc")).unwrap();
        symlink("w", work.join("link")).unwrap();

        let daemon = there.daemon(&lines("known")).expect("the jail stands for root");
        let mut agent = client(&daemon);
        let opened = open(&mut agent, &there.work());
        assert_eq!(opened["receipt"]["backend"], "docker", "{opened}");
        let done = shell(
            &mut agent,
            "a",
            "cat file; echo made > made; id -u; ls /work /root /home; cat /etc/shadow",
        );
        assert!(out(&done).starts_with(&format!("shared\n{USER}")), "{done}");
        assert_eq!(fs::read_to_string(work.join("w/made")).unwrap(), "made\n");
        assert_eq!(fs::metadata(work.join("w/made")).unwrap().uid(), USER);
        // What is not the commands' own, and what is a link there.
        for (name, why) in [("roots", "belongs to uid 0"), ("etc", "symbolic"), ("link", "symbolic")] {
            let error = try_open(&mut client(&daemon), "there", work.join(name).to_str().unwrap());
            let error = error.expect_err("it is refused").to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        drop(agent);
        drop(daemon);
        // A host that is not known is not spoken to.
        let daemon = there.daemon(&lines("unknown")).expect("the jail stands for root");
        let (code, message) = refused(try_open(&mut client(&daemon), "there", &there.work()));
        assert!(code == 1500 && message.contains("Host key verification failed"), "{message}");
        // What is left of a version on an engine is its binary, for the next session.
        drop(daemon);
        let volumes = docker_says(&["volume", "ls", "--quiet", "--filter", "name=execward-runner-"]);
        volumes.lines().for_each(|name| drop(docker(&["volume", "rm", name])));
    });
}
