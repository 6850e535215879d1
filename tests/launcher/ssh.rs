//! A real ssh to a real sshd: one of the test's own, on the loopback, with keys of its own.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::daemon::{as_both, owners, until};
use crate::support::skip;

/// A server for whoever runs the daemon.
pub struct Server {
    child: Child,
    pub port: u16,
    pub user: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path) {
    let made = owners("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.is_ok_and(|status| status.success()));
}

/// Starts one in a place. `None`, with a skip said, where there is none to start.
pub fn server(there: &There) -> Option<Server> {
    let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists());
    let Some(program) = program else {
        skip("ssh", "no sshd; `./test --install` installs it");
        return None;
    };
    if crate::daemon::is_root() {
        // Where the server wants to be shut in.
        let _ = fs::create_dir("/run/sshd");
    }
    let at = |name: &str| there.path("private").join(name);
    keygen(&at("host"));
    keygen(&at("key"));
    fs::copy(at("key.pub"), at("authorized")).unwrap();
    give(&at("authorized"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSetEnv HOME={}\n",
        at("host").display(),
        at("authorized").display(),
        there.path("home").display()
    );
    fs::write(at("config"), config).unwrap();
    give(&at("config"));
    let log = File::create(at("log")).unwrap();
    let child = owners(program)
        .args(["-D", "-e", "-f"])
        .arg(at("config"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let public = fs::read_to_string(at("host.pub")).unwrap();
    fs::write(at("known"), format!("[127.0.0.1]:{port} {public}")).unwrap();
    give(&at("known"));
    let user = String::from_utf8(owners("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned();
    let mut server = Server { child, port, user };
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = server.child.try_wait().unwrap() {
            panic!("sshd ended: {status}: {}", fs::read_to_string(at("log")).unwrap_or_default());
        }
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(server)
}

fn lines(there: &There, server: &Server, known: &str) -> String {
    format!("preset = \"ssh\"\ntarget = \"{}@127.0.0.1\"\n{}", server.user, options(there, server, known))
}

/// The options for a connection with the keys of a place.
pub fn options(there: &There, server: &Server, known: &str) -> String {
    let at = |name: &str| there.path("private").join(name).display().to_string();
    format!(
        "options = [\"-F\", \"none\", \"-p\", \"{}\", \"-i\", {:?}, \"-o\", \"IdentitiesOnly=yes\", \"-o\", \
         \"UserKnownHostsFile={}\"]",
        server.port,
        at("key"),
        at(known)
    )
}

#[test]
fn commands_run_behind_a_real_ssh_with_nothing_of_its_keys() {
    as_both(|| {
        let there = There::new();
        let Some(server) = server(&there) else { return };
        let Some(daemon) = there.daemon(&lines(&there, &server, "known")) else { return };
        let mut agent = client(&daemon);
        let opened = open(&mut agent, &there.work());
        assert_eq!(layer(&opened["receipt"], "private-root"), Some(true), "{opened}");
        let key = there.path("private/key");
        let done = shell(
            &mut agent,
            "a",
            &format!("pwd; cat {}; env; cat ~/.ssh/*; head -c 2000000 /dev/zero | wc -c", key.display()),
        );
        assert!(out(&done).starts_with(&there.work()) && out(&done).ends_with("2000000"), "{done}");
        let said = done.to_string();
        assert!(!said.contains("PRIVATE KEY") && !said.contains("SSH_"), "{said}");
        // The server ends what it has started only when its client has gone.
        let mark = format!("61{}", std::process::id());
        let text = format!("(setsid sleep {mark} &) ; sleep {mark}");
        agent.call("exec/start", json!({"id": "b", "command": {"shell": text}, "background": true})).unwrap();
        until("it runs", || processes(&mark).len() >= 2);
        drop(daemon);
        until("it has ended with the daemon", || processes(&mark).is_empty());
    });
}

#[test]
fn a_host_that_is_not_known_is_not_spoken_to_and_a_key_that_is_not_known_is_refused() {
    as_both(|| {
        let there = There::new();
        let Some(server) = server(&there) else { return };
        let Some(daemon) = there.daemon(&lines(&there, &server, "unknown")) else { return };
        let (code, message) = refused(try_open(&mut client(&daemon), "there", &there.work()));
        assert!(code == 1500 && message.contains("Host key verification failed"), "{message}");
        drop(daemon);
        fs::write(there.path("private/authorized"), "").unwrap();
        let Some(daemon) = there.daemon(&lines(&there, &server, "known")) else { return };
        let (code, message) = refused(try_open(&mut client(&daemon), "there", &there.work()));
        assert!(code == 1500 && message.contains("Permission denied"), "{message}");
        assert!(there.sent().is_empty());
    });
}

#[test]
fn the_end_of_the_connection_ends_the_session_and_everything_there() {
    as_both(|| {
        let there = There::new();
        let Some(server) = server(&there) else { return };
        let Some(daemon) = there.daemon(&lines(&there, &server, "known")) else { return };
        let mut agent = client(&daemon);
        open(&mut agent, &there.work());
        let mark = format!("62{}", std::process::id());
        let text = format!("(setsid sleep {mark} &) ; sleep {mark}");
        agent.call("exec/start", json!({"id": "a", "command": {"shell": text}})).unwrap();
        until("it runs", || processes(&mark).len() >= 2);
        // The client of the connection.
        let port = server.port.to_string();
        for pid in processes(&port).into_iter().filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ssh")
        }) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let report = agent.exited("a");
        assert!(report.to_string().contains("gone"), "{report}");
        until("nothing is left there", || processes(&mark).is_empty());
    });
}
