//! An agent that wants an answer which nobody gave: each way is closed, and the log shows what was tried as far as it got.

use std::io::ErrorKind;

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.touch\"\nprogram = \"touch\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"touch a\", expect = \"ask\" }]\n";

/// Does something with a user's own rights, outside any sandbox.
fn as_user<T: Send + 'static>(uid: u32, act: impl FnOnce() -> T + Send + 'static) -> T {
    let acting = std::thread::spawn(move || {
        // SAFETY: plain numbers. The call goes past the C library and changes this thread only, which then ends.
        #[allow(unsafe_code)]
        let became = unsafe {
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>())
                | libc::syscall(libc::SYS_setresgid, uid, uid, uid)
                | libc::syscall(libc::SYS_setresuid, uid, uid, uid)
        };
        assert_eq!(became, 0, "cannot become uid {uid}");
        act()
    });
    acting.join().unwrap()
}

fn asked(client: &mut Client, operator: &mut Client, id: &str, more: Value) -> Value {
    let mut start = json!({"id": id, "command": {"argv": ["touch", id]}});
    start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(client.call("exec/start", start).unwrap()["state"], "waiting");
    operator.event("approval/pending", id)["approval"].clone()
}

#[test]
fn an_agent_gets_no_answer_that_nobody_gave() {
    as_root(|| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let workspace = daemon.workspace(ANN, "w");
        let mut client = daemon.client(ANN);
        client.open(&workspace);
        let mut operator = daemon.operator();
        operator.call("approval/watch", json!({})).unwrap();
        let first = asked(&mut client, &mut operator, "first", json!({}));
        let yes = json!({"approval": first, "answer": "once"});
        // On its own socket, on the operators', and on that one where somebody has opened it to everybody.
        assert_eq!(code(client.call("approval/answer", yes.clone())), -32601);
        let socket = daemon.socket("operator");
        assert_eq!(connect(&socket, ANN).unwrap_err().kind(), ErrorKind::PermissionDenied);
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
        let mut forger = Client::new(connect(&socket, ANN).unwrap());
        assert_eq!(forger.receive().expect("a reason")["error"]["code"], 1002);
        assert!(forger.receive().is_none(), "it is not listened to");
        // From inside its sandbox there is neither socket nor state.
        let run = daemon.path().join("run");
        let seen = client.run("look", &["ls", run.to_str().unwrap()]);
        assert_ne!(seen["report"]["code"], 0, "{seen}");
        // And outside of it the state and the log are not its own.
        for file in ["state/state.db", "state/audit/audit.jsonl", "execward.toml", "policy.toml"] {
            let path = daemon.path().join(file);
            assert!(path.exists(), "{file}");
            let opened = as_user(ANN, move || File::options().append(true).open(path).map(drop));
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::PermissionDenied, "{file}");
        }
        // The question waits still, and its answer is for it alone, and for one time.
        operator.call("approval/answer", yes.clone()).unwrap();
        assert_eq!(client.exited("first")["code"], 0);
        let second = asked(&mut client, &mut operator, "second", json!({}));
        assert_eq!(code(operator.call("approval/answer", yes)), 1206);
        assert!(!Path::new(&workspace).join("second").exists());
        operator.call("approval/answer", json!({"approval": second, "answer": "deny"})).unwrap();
        assert_eq!(client.exited("second")["refused_by"], "person");
        daemon.verify_log();
        let outcomes: Vec<Value> =
            daemon.records("decision").iter().map(|record| record["body"]["outcome"].clone()).collect();
        assert_eq!(outcomes, ["run", "run", "refused"]);
    });
}

#[test]
fn a_directory_that_was_swapped_after_the_answer_is_not_entered() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let agent = people::agent();
        let workspace = daemon.workspace(agent, "w");
        let place = Path::new(&workspace).join("d");
        let make = || {
            fs::create_dir(&place).unwrap();
            fs::set_permissions(&place, Permissions::from_mode(0o777)).unwrap();
        };
        make();
        let mut client = daemon.client(agent);
        client.open(&workspace);
        let mut operator = daemon.operator();
        operator.call("approval/watch", json!({})).unwrap();
        // The positive control: the directory that was there when it asked is entered.
        let approval = asked(&mut client, &mut operator, "kept", json!({"cwd": "d"}));
        operator.call("approval/answer", json!({"approval": approval, "answer": "once"})).unwrap();
        assert_eq!(client.exited("kept")["code"], 0);
        let approval = asked(&mut client, &mut operator, "swapped", json!({"cwd": "d"}));
        let aside = Path::new(&workspace).join("aside");
        fs::rename(&place, &aside).unwrap();
        make();
        operator.call("approval/answer", json!({"approval": approval, "answer": "once"})).unwrap();
        let ended = client.exited("swapped");
        assert_ne!(ended["outcome"], "exited", "{ended}");
        assert!(!place.join("swapped").exists() && !aside.join("swapped").exists());
        daemon.verify_log();
    });
}
