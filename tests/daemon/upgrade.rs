//! Another binary in place of the one that serves: what runs goes on, and there is a way back from everywhere.
//!
//! The other version is this one with another number in it, or with a defect: texts in the program that are replaced by ones as
//! long. It really runs.

mod forms;
mod restarts;

use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::people::agent;
use super::restart::{ALONE, Reader, come_back};
use super::*;
use crate::support::tool;

const OWN: &str = env!("CARGO_PKG_VERSION");

/// How other versions begin, as many bytes of them as a compiler puts into one instruction.
const NEXT: &str = "9.9.";
const EARLIER: &str = "0.0.";

/// The version that begins so.
fn version(begins: &str) -> String {
    format!("{begins}{}", &OWN[begins.len()..])
}

/// The program as another version.
fn as_version(begins: &str) -> Vec<u8> {
    changed(&OWN[..begins.len()], begins)
}

/// The binary under test without what only a debugger needs: a third of the size. `None` where it cannot be had.
fn program() -> Option<&'static [u8]> {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    if !cfg!(target_arch = "x86_64") || !tool("strip") {
        return None;
    }
    Some(PROGRAM.get_or_init(|| stripped(Path::new(ground::execward()))))
}

fn stripped(program: &Path) -> Vec<u8> {
    let to = tempfile::NamedTempFile::new().unwrap();
    let done = Command::new("strip").arg("-o").arg(to.path()).arg(program).status().unwrap();
    assert!(done.success());
    fs::read(to.path()).unwrap()
}

/// The program with one text for another.
fn changed(from: &str, to: &str) -> Vec<u8> {
    replaced(program().unwrap().to_vec(), from, to)
}

fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, from).collect();
    assert!(!places.is_empty(), "{from}");
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to.as_bytes()));
    bytes
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A daemon whose binary is its own.
struct House {
    daemon: Daemon,
}

impl House {
    fn start() -> Option<Self> {
        Self::start_with(ALONE)
    }

    fn start_with(config: &str) -> Option<Self> {
        let program = program()?;
        let directory = directory();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        give(&bin);
        fs::write(bin.join("from"), program).unwrap();
        // Another process writes what will be executed.
        let copied = Command::new("cp").arg(bin.join("from")).arg(bin.join("execward")).status().unwrap();
        assert!(copied.success());
        fs::remove_file(bin.join("from")).unwrap();
        fs::set_permissions(bin.join("execward"), Permissions::from_mode(0o755)).unwrap();
        give(&bin.join("execward"));
        let daemon = Daemon::start_in(directory, Setup { config, policy: "" })?;
        Some(Self { daemon })
    }

    fn binary(&self) -> PathBuf {
        self.daemon.path().join("bin/execward")
    }

    /// A file to upgrade to.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.daemon.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `execward upgrade ARGS...`, of whoever runs the daemon.
    fn upgrade(&self, args: &[&str]) -> Command {
        let mut command = owners(self.binary());
        let at = |name: &str| self.daemon.path().join(name);
        command.arg("upgrade").args(args);
        command.arg("--state").arg(at("state")).arg("--config").arg(at("execward.toml"));
        command.arg("--policy").arg(at("policy.toml")).arg("--socket").arg(self.daemon.socket("operator"));
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    /// The same to its end: its exit code, and what it said.
    fn upgraded(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.upgrade(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    fn to(&self, file: &Path, args: &[&str]) -> (Option<i32>, String) {
        let digest = digest(&fs::read(file).unwrap());
        self.upgraded(&[&[file.to_str().unwrap(), "--sha256", &digest], args].concat())
    }

    /// What the daemon says of itself.
    fn status(&self) -> Value {
        self.daemon.operator().call("status/show", json!({})).unwrap()
    }

    /// How the last upgrade stands.
    fn note(&self) -> Value {
        let text = fs::read(self.daemon.path().join("state/upgrade/note.json"));
        text.map_or(Value::Null, |text| serde_json::from_slice(&text).unwrap())
    }

    /// What is beside the binary.
    fn beside(&self) -> usize {
        fs::read_dir(self.daemon.path().join("bin/.execward-upgrade")).map_or(0, Iterator::count)
    }

    /// Processes that carry out upgrades of it.
    fn watchers(&self) -> Vec<i32> {
        let state = self.daemon.path().join("state");
        let named = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.get(1) == Some(&b"upgrade".as_slice())
                && words.contains(&state.as_os_str().as_encoded_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(named).collect()
    }

    /// Kills them, until none is left that holds a lock.
    fn kill_watchers(&self) {
        let mut killed = self.watchers();
        while !killed.is_empty() {
            for pid in &killed {
                let pid = nix::unistd::Pid::from_raw(*pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            // Files are closed before it is a zombie, and after its command line is gone.
            let ended = |pid: &i32| {
                fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
            };
            until("they are dead", || killed.iter().all(ended));
            killed = self.watchers();
        }
    }

    /// A power cut, after which the daemon is started again.
    fn cut(&mut self) {
        self.kill_watchers();
        self.daemon.crash();
    }

    /// Starts a command that counts until there is a file `stop`.
    fn count(&self) -> (Client, String, PathBuf) {
        let mut client = self.daemon.client(agent());
        let workspace = self.daemon.workspace(agent(), "w");
        let session = client.open(&workspace);
        let text = "i=0; while [ ! -e stop ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 7";
        let command = json!({"id": "counts", "command": {"shell": text}, "output": {"mode": "poll"}, "background": true});
        client.call("exec/start", command).unwrap();
        (client, session, PathBuf::from(workspace))
    }

    /// Has it end, and looks whether every line has come.
    fn counted(&self, session: &str, workspace: &Path) {
        put(&workspace.join("stop"), "");
        let (mut client, same) = come_back(&self.daemon);
        assert_eq!(same, session);
        let mut reader = Reader::default();
        while !reader.closed {
            assert!(reader.read(&mut client, session, "counts"));
        }
        let text = String::from_utf8(reader.read).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() > 20);
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("line {index}"));
        }
        let waited = client.call("exec/wait", json!({"session": session, "id": "counts"})).unwrap();
        assert_eq!(waited["report"]["code"], 7, "{waited}");
        self.daemon.verify_log();
    }
}

impl Drop for House {
    /// Where the daemon is not the one that the test started, it ends all the same.
    fn drop(&mut self) {
        let kill = |pid: i32, signal| {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        };
        for watcher in self.watchers() {
            kill(watcher, nix::sys::signal::Signal::SIGKILL);
        }
        if !is_there(self.daemon.pid()) && UnixStream::connect(self.daemon.socket("operator")).is_ok() {
            let pid = i32::try_from(self.status()["pid"].as_i64().unwrap()).unwrap();
            kill(pid, nix::sys::signal::Signal::SIGINT);
            until("it ends", || !is_there(pid));
        }
    }
}

#[test]
fn what_runs_goes_on_over_an_upgrade_and_back() {
    as_both(|| {
        let Some(house) = House::start() else { return };
        let (_client, session, workspace) = house.count();
        let pid = house.daemon.pid();
        let old = fs::metadata(house.binary()).unwrap().ino();
        let file = house.file("next", &as_version(NEXT));
        let (code, said) = house.to(&file, &["--dry-run"]);
        assert_eq!((code, house.beside()), (Some(0), 0), "{said}");
        assert!(house.note().is_null() && fs::metadata(house.binary()).unwrap().ino() == old);
        let (code, said) = house.to(&file, &[]);
        assert_eq!(code, Some(0), "{said}\n{}", house.daemon.log());
        assert!(said.contains("--confirm") && said.contains("goes on with 1 of 1 sessions"), "{said}");
        let status = house.status();
        assert_eq!((&status["version"], &status["pid"]), (&json!(version(NEXT)), &json!(pid)));
        assert_eq!(fs::read(house.binary()).unwrap(), fs::read(&file).unwrap());
        assert_eq!(fs::metadata(house.binary()).unwrap().mode() & 0o7777, 0o755);
        // One at a time.
        assert_eq!(house.to(&file, &[]).0, Some(2));
        let (code, said) = house.upgraded(&["--confirm"]);
        assert_eq!((code, &house.note()["phase"]), (Some(0), &json!("done")), "{said}");
        until("nobody waits any more", || house.watchers().is_empty());
        let (code, said) = house.upgraded(&[]);
        assert!(
            code == Some(0) && said.contains(&format!("execward {} is in place", version(NEXT))),
            "{said}"
        );
        // Back, by the new one.
        let (code, said) = house.upgraded(&["--rollback", "--json"]);
        assert_eq!(code, Some(0), "{said}\n{}", house.daemon.log());
        assert_eq!(house.status()["version"], OWN);
        assert_eq!(house.status()["pid"], pid);
        assert_eq!((fs::metadata(house.binary()).unwrap().ino(), house.beside()), (old, 0));
        assert_eq!(house.upgraded(&["--rollback"]).0, Some(2));
        house.counted(&session, &workspace);
    });
}

#[test]
fn what_is_not_verified_or_does_not_work_is_refused_and_nothing_is_changed() {
    as_both(|| {
        let Some(house) = House::start() else { return };
        let old = fs::metadata(house.binary()).unwrap().ino();
        let next = as_version(NEXT);
        let file = house.file("next", &next);
        let path = file.to_str().unwrap();
        let nothing_changed = |why: &str| {
            assert_eq!(fs::metadata(house.binary()).unwrap().ino(), old, "{why}");
            assert!(house.note().is_null() && house.beside() == 0, "{why}: {}", house.note());
            assert_eq!(house.status()["version"], OWN);
        };
        let refused = |args: &[&str], why: &str| {
            let (code, said) = house.upgraded(args);
            assert_eq!(code, Some(1), "{why}: {said}");
            assert!(said.contains(why) && said.contains("hint: nothing was changed"), "{why}: {said}");
            nothing_changed(why);
        };
        refused(&[path, "--sha256", &digest(b"another")], "which is not the one that was given");
        refused(&[path], "no key is trusted");
        let (one, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let text = |number: u8, rest: &[u8]| {
            let bytes = [b"Ed".as_slice(), &[number; 8], rest].concat();
            format!("untrusted comment: a test\n{}\n", STANDARD.encode(bytes))
        };
        let keys = house.file("upgrade.pub", text(1, one.verifying_key().as_bytes()).as_bytes());
        refused(&[path], "there is no signature of it");
        house.file("next.sig", text(1, &one.sign(b"something else").to_bytes()).as_bytes());
        refused(&[path], "this is not what was signed");
        house.file("next.sig", text(2, &other.sign(&next).to_bytes()).as_bytes());
        refused(&[path], "a key that is not trusted here");
        house.file("next.sig", text(1, &other.sign(&next).to_bytes()).as_bytes());
        refused(&[path], "this is not what was signed");
        house.file("next.sig", text(1, &one.sign(&next).to_bytes()).as_bytes());
        fs::set_permissions(&keys, Permissions::from_mode(0o666)).unwrap();
        refused(&[path], "may be changed by others");
        fs::set_permissions(&keys, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(house.upgraded(&[path, "--dry-run"]).0, Some(0));
        nothing_changed("a dry run");
        // What is verified, and no execward.
        let to = |name: &str, bytes: &[u8], why: &str| {
            let file = house.file(name, bytes);
            refused(&[file.to_str().unwrap(), "--sha256", &digest(bytes)], why);
        };
        to("cut", &next[..next.len() / 2], "it is cut off");
        to("script", b"#!/bin/sh\necho execward 9.9.9\n", "it is a script");
        to("dynamic", &fs::read("/bin/true").unwrap(), "it is linked dynamically");
        to("false", &fails(), "`--version` ended with 1");
        to("earlier", &as_version(EARLIER), "is older than");
        let (code, said) = house.to(&house.file("earlier", &as_version(EARLIER)), &["--older", "--dry-run"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(house.upgraded(&["/nonexistent", "--sha256", "00"]).0, Some(2));
        assert_eq!(house.upgraded(&["--confirm"]).0, Some(2));
        // A policy that the new one could not read.
        let policy = house.daemon.path().join("policy.toml");
        fs::write(&policy, "[[rule]]\nid = 7\n").unwrap();
        refused(&[path], "the new execward was tried in the jail: policy");
        fs::write(&policy, "").unwrap();
    });
}

/// The smallest static program: it ends with 1.
fn fails() -> Vec<u8> {
    let code = [0xbf, 1, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let (start, header, program) = (0x40_0000_u64, 64_u16, 56_u16);
    let size = u64::from(header + program) + code.len() as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    [2_u16, 62].iter().for_each(|it| bytes.extend(it.to_le_bytes()));
    bytes.extend(1_u32.to_le_bytes());
    [start + u64::from(header + program), u64::from(header), 0]
        .iter()
        .for_each(|it| bytes.extend(it.to_le_bytes()));
    bytes.extend(0_u32.to_le_bytes());
    [header, program, 1, 64, 0, 0].iter().for_each(|it| bytes.extend(it.to_le_bytes()));
    [1_u32, 5].iter().for_each(|it| bytes.extend(it.to_le_bytes()));
    [0, start, start, size, size, 0x1000].iter().for_each(|it: &u64| bytes.extend(it.to_le_bytes()));
    bytes.extend(code);
    bytes
}

#[test]
fn one_that_does_not_serve_or_is_not_well_or_is_not_confirmed_goes_back() {
    as_both(|| {
        for (from, to, args, why) in [
            (
                "/proc/sys/kernel/seccomp/actions_avail",
                "/proc/sys/kernel/seccomp/actions_avaiX",
                &[][..],
                "seccomp",
            ),
            ("operator.sock", "operatoX.sock", &[][..], "no daemon"),
            (&OWN[..NEXT.len()], NEXT, &["--confirm-within", "1s"][..], "nobody confirmed it"),
        ] {
            let Some(house) = House::start() else { return };
            let (_client, session, workspace) = house.count();
            let old = fs::metadata(house.binary()).unwrap().ino();
            let file = house.file("next", &changed(from, to));
            let (code, said) = house.to(&file, args);
            assert_eq!(code, Some(i32::from(args.is_empty())), "{why}: {said}");
            until("the old one is back", || house.note()["phase"] == "returned");
            let note = house.note();
            assert!(note["why"].as_str().unwrap().contains(why), "{note}\n{}", house.daemon.log());
            assert_eq!(house.status()["version"], OWN);
            assert_eq!(fs::metadata(house.binary()).unwrap().ino(), old);
            // It says so before it clears up.
            until("nothing is left beside it", || house.beside() == 0);
            assert!(house.upgraded(&["--confirm"]).0 == Some(2));
            house.counted(&session, &workspace);
        }
    });
}

#[test]
fn whenever_it_is_killed_the_next_one_says_where_it_stood_and_the_old_one_is_back() {
    as_both(|| {
        let Some(house) = House::start() else { return };
        let (_client, session, workspace) = house.count();
        let old = fs::read(house.binary()).unwrap();
        let file = house.file("next", &as_version(NEXT));
        let digest = digest(&fs::read(&file).unwrap());
        let rounds = if std::env::var_os("EXECWARD_TEST_LONG").is_some() { 24 } else { 6 };
        let (mut broken_off, mut wait) = (0, Duration::from_millis(30));
        for round in 0..rounds {
            let mut upgrade = house.upgrade(&[file.to_str().unwrap(), "--sha256", &digest]);
            let mut upgrade = upgrade.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // At another place each time, up to where it waits to be confirmed.
            std::thread::sleep(wait);
            wait = (wait * 8 / 5).min(Duration::from_millis(800));
            // It first: it starts the other.
            let _ = upgrade.kill();
            upgrade.wait().unwrap();
            house.kill_watchers();
            let stood = house.note()["phase"].clone();
            let mut said = house.upgraded(&[]).1;
            if stood == "trial" {
                // It works, and waits for somebody again: nobody comes.
                assert!(said.contains("waits to be confirmed"), "{said}");
                said = house.upgraded(&["--rollback"]).1;
            }
            if !stood.is_null() && stood != "returned" {
                broken_off += 1;
                let told = ["was broken off", "is back"].iter().any(|what| said.contains(what));
                assert!(told, "{round}, {stood}: {said}");
            }
            let phase = house.note()["phase"].clone();
            assert!(phase.is_null() || phase == "returned", "{round}, {stood}: {phase}\n{said}");
            assert_eq!(fs::read(house.binary()).unwrap(), old, "{round}, {stood}");
            assert_eq!(house.status()["version"], OWN, "{round}, {stood}");
            // It says so before it clears up, and ends.
            until("nothing is left of it", || (house.beside(), house.watchers().len()) == (0, 0));
        }
        assert!(broken_off > 1, "{broken_off}");
        house.counted(&session, &workspace);
    });
}

#[test]
fn after_a_power_cut_the_next_daemon_has_it_go_on() {
    as_both(|| {
        let Some(mut house) = House::start() else { return };
        let (_client, session, workspace) = house.count();
        let file = house.file("next", &as_version(NEXT));
        // Confirmed after it.
        assert_eq!(house.to(&file, &[]).0, Some(0));
        house.cut();
        until("somebody waits again", || !house.watchers().is_empty());
        assert_eq!(house.status()["version"], version(NEXT));
        let (code, said) = house.upgraded(&["--confirm"]);
        assert_eq!((code, &house.note()["phase"]), (Some(0), &json!("done")), "{said}");
        let (code, said) = house.upgraded(&["--rollback"]);
        assert_eq!(code, Some(0), "{said}\n{}", house.daemon.log());
        // And not confirmed after it.
        let (code, said) = house.to(&file, &["--confirm-within", "3s"]);
        assert_eq!(code, Some(0), "{said}");
        house.cut();
        until("the old one is back", || house.note()["phase"] == "returned");
        assert_eq!(house.status()["version"], OWN);
        house.counted(&session, &workspace);
    });
}

#[test]
fn no_agent_reaches_any_of_it() {
    as_both(|| {
        let Some(house) = House::start() else { return };
        let next = as_version(NEXT);
        let mut client = house.daemon.client(agent());
        let workspace = PathBuf::from(house.daemon.workspace(agent(), "w"));
        let session = client.open(workspace.to_str().unwrap());
        fs::write(workspace.join("next"), &next).unwrap();
        let copied = Command::new("cp").arg(house.binary()).arg(workspace.join("execward")).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(workspace.join("execward"), Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| house.daemon.path().join(name).display().to_string();
        let old = fs::metadata(house.binary()).unwrap().ino();
        let asked = |more: &[&str]| -> Vec<String> {
            let common = ["--state".to_owned(), at("state"), "--socket".to_owned(), at("run/operator.sock")];
            let program = workspace.join("execward").display().to_string();
            let words = more.iter().map(|&word| word.to_owned());
            [program, "upgrade".to_owned()].into_iter().chain(words).chain(common).collect()
        };
        let file = workspace.join("next").display().to_string();
        let binary = house.binary().display().to_string();
        let attempts = [
            asked(&[&file, "--sha256", &digest(&next), "--binary", &binary]),
            asked(&["--rollback"]),
            asked(&["--confirm"]),
            asked(&["--watch", "forward"]),
        ];
        for (index, argv) in attempts.iter().enumerate() {
            let id = format!("a{index}");
            let command = json!({"session": session, "id": id, "command": {"argv": argv}});
            let started = client.call("exec/start", command);
            if started.is_ok() {
                let waited = client.call("exec/wait", json!({"session": session, "id": id})).unwrap();
                let report = &waited["report"];
                assert!(report["outcome"] != "exited" || report["code"] != 0, "{argv:?}: {waited}");
            }
            if is_root() {
                // And outside of any sandbox, as the agent's user.
                let outside =
                    Command::new(&argv[0]).args(&argv[1..]).uid(agent()).gid(agent()).output().unwrap();
                assert!(!outside.status.success(), "{argv:?}");
            }
            assert_eq!(fs::metadata(house.binary()).unwrap().ino(), old);
            assert!(house.note().is_null() && house.beside() == 0, "{argv:?}");
            assert_eq!(house.status()["version"], OWN);
        }
    });
}
