//! A daemon that anybody runs for themselves: as root, and as an ordinary user.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;

use super::until;
use crate::support::{Ground, as_everyone, command, person::Person};

/// A daemon of whoever the ground belongs to.
struct Own<'a> {
    ground: &'a Ground,
    run: PathBuf,
    child: Child,
}

impl<'a> Own<'a> {
    fn start(ground: &'a Ground, run: &Path) -> Self {
        let child = serve(ground, run).spawn();
        let own = Self { ground, run: run.to_owned(), child };
        until("it listens", || UnixStream::connect(own.socket()).is_ok());
        own
    }

    fn socket(&self) -> String {
        self.run.join("agent.sock").display().to_string()
    }

    /// `execward ARGS... --socket SOCKET`, and then what is to run.
    fn client(&self, args: &[&str], rest: &[&str]) -> command::Command {
        let mut client = self.ground.execward(args);
        client.args(["--socket", &self.socket()]).args(rest);
        client
    }

    fn send(&self, signal: i32) {
        // SAFETY: plain numbers; the child has not been waited for, so that the number is still its own.
        #[allow(unsafe_code)]
        let sent = unsafe { libc::kill(self.child.id().cast_signed(), signal) };
        assert_eq!(sent, 0);
    }

    fn ended(&mut self) -> Option<i32> {
        command::wait(&mut self.child, super::PATIENCE).expect("it ends").code()
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(ground: &Ground, run: &Path) -> command::Command {
    let mut serve = ground.execward(["serve", "--socket-dir"]);
    serve.args([run]);
    serve.arg("--state").arg(ground.state())
}

#[test]
fn it_serves_its_own_user_with_everything() {
    as_everyone(|ground| {
        let mut own = Own::start(ground, &ground.root().join("run"));
        let said = own
            .client(&["run", "-v"], &["--", "bash", "-c", "cat; echo $((6 * 7)) >&2; exit 4"])
            .stdin("in")
            .output()
            .expect(4);
        assert_eq!(said.stdout(), "in");
        assert!(
            said.stderr().contains("served by the daemon on") && said.stderr().contains("42\n"),
            "{}",
            said.stderr()
        );
        let session = own.client(&["session", "open"], &[]).output().expect(0).stdout();
        let session = session.trim();
        own.client(
            &["exec", "start", "--session", session, "a"],
            &["--", "bash", "-c", "echo kept > kept; exit 6"],
        )
        .output()
        .expect(0);
        own.client(&["exec", "wait", "--session", session, "a"], &[]).output().expect(6);
        let kept = own
            .client(&["exec", "run", "--session", session, "b"], &["--", "cat", "kept"])
            .output()
            .expect(0);
        assert_eq!(kept.stdout(), "kept\n");
        let persisting = |id: &str, text: &str| {
            let of = ["exec", "run", "--session", session, "--persist", id, "-c", text];
            own.client(&of, &[]).output().expect(0).stdout()
        };
        persisting("c", "mkdir -p sub && cd sub && export COLOUR=green");
        assert!(persisting("d", "pwd; echo $COLOUR").ends_with("/sub\ngreen\n"));
        let other = ["exec", "run", "--session", session, "e", "-c", "basename \"$PWD\"; echo \"[$COLOUR]\""];
        assert!(!own.client(&other, &[]).output().expect(0).stdout().contains("green"));
        let mut person = Person::new(21, 77);
        let mut child =
            person.starts(own.client(&["run", "-t"], &["--", "bash", "-c", "stty size; read -r x; exit $x"]));
        person.sees("21 77");
        person.types("9\n");
        assert_eq!(person.waits(&mut child), Some(9));
        own.client(&["session", "close", session], &[]).output().expect(0);
        own.send(libc::SIGTERM);
        assert_eq!(own.ended(), Some(0));
        assert!(!own.run.join("agent.sock").exists() && !own.run.join("operator.sock").exists());
        ground.execward(["audit", "verify", "--state"]).arg(ground.state()).output().expect(0);
    });
}

#[test]
fn a_socket_has_one_daemon_and_a_stale_one_is_replaced() {
    as_everyone(|ground| {
        let run = ground.root().join("run");
        let mut own = Own::start(ground, &run);
        serve(ground, &run).output().expect(2).complains(&["another daemon serves"]);
        own.send(libc::SIGKILL);
        assert_eq!(own.ended(), None);
        assert!(run.join("agent.sock").exists(), "it is left behind");
        let second = Own::start(ground, &run);
        second.client(&["run"], &["--", "true"]).output().expect(0);
    });
}

#[test]
fn what_somebody_else_put_there_is_left_alone() {
    as_everyone(|ground| {
        let run = ground.root().join("squatted");
        let file = ground.put(&run.join("agent.sock"), b"not yours", 0o600);
        serve(ground, &run).output().expect(2).complains(&["agent.sock"]);
        assert_eq!(std::fs::read(&file).expect("it is there"), b"not yours");
        // A directory in which anybody may put things is none to listen in.
        let open = ground.root().join("open");
        std::fs::create_dir(&open).expect("a directory");
        ground.give(&open);
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        serve(ground, &open).output().expect(2);
    });
}
