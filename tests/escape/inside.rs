//! What a command finds about itself: nothing inherited, nobody special, an ordinary system to work in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::{Command, Ground, Leg, as_everyone, as_leg, tool};

/// `name: value` of each line.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect()
}

#[test]
fn a_command_inherits_nothing_from_the_requester() {
    as_everyone(|ground| {
        // cat, not the probe: the runtime of a Rust program ignores SIGPIPE by itself.
        let look = ["cat", "/proc/self/status"];
        let bare = ground.bare(look).dirty().output().expect(0).stdout();
        assert_ne!(fields(&bare)["SigBlk"], "0000000000000000", "the control inherits what it should");

        let text = ground.run(look).dirty().output().expect(0).stdout();
        let status = fields(&text);
        for set in ["SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set}");
        }
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(status["Seccomp"], "2");
        assert_eq!(status["TracerPid"], "0");
        assert_eq!(status["Umask"], "0022");
        let uids: Vec<&str> = status["Uid"].split_whitespace().collect();
        assert!(uids.iter().all(|uid| *uid == uids[0] && *uid != "0"), "uids {uids:?}");
        let gids: Vec<&str> = status["Gid"].split_whitespace().collect();
        assert!(gids.iter().all(|gid| *gid == gids[0] && *gid != "0"), "gids {gids:?}");
        let groups: Vec<&str> = status["Groups"].split_whitespace().collect();
        assert!(groups.iter().all(|group| *group == gids[0]), "groups {groups:?}");
    });
}

#[test]
fn root_is_nobody_of_the_host_inside() {
    as_leg(Leg::Root, |ground| {
        let uid: u32 = ground.run(["id", "-u"]).output().expect(0).stdout().trim().parse().expect("a uid");
        let users = fs::read_to_string("/etc/passwd").expect("the users of the host");
        let taken = users.lines().any(|line| line.split(':').nth(2) == Some(uid.to_string().as_str()));
        assert!(!taken && uid != 0, "uid {uid} is somebody on this host");
    });
}

#[test]
fn an_ordinary_user_is_the_same_user_inside() {
    as_leg(Leg::User, |ground| {
        let inside = ground.run(["id", "-u"]).output().expect(0).stdout();
        assert_eq!(inside.trim(), ground.account().uid.to_string());
    });
}

#[test]
fn files_made_inside_belong_to_the_requester() {
    as_everyone(|ground| {
        ground
            .shell("mkdir -p a/b && echo x > a/b/made && ln -s made a/b/link && chmod 640 a/b/made")
            .output()
            .expect(0);
        let made = fs::metadata(ground.workspace().join("a/b/made")).expect("it was made");
        let account = ground.account();
        assert_eq!((made.uid(), made.gid()), (account.uid, account.gid));
        assert_eq!(made.permissions().mode() & 0o7777, 0o640);
        let link = fs::symlink_metadata(ground.workspace().join("a/b/link")).expect("it was made");
        assert_eq!(link.uid(), account.uid);
    });
}

#[test]
fn files_of_the_requester_can_be_changed_inside() {
    as_everyone(|ground| {
        ground.write("notes/list", "one\n");
        ground
            .shell("echo two >> notes/list && mv notes/list notes/renamed && touch notes/new")
            .output()
            .expect(0);
        assert_eq!(
            fs::read_to_string(ground.workspace().join("notes/renamed")).expect("renamed"),
            "one\ntwo\n"
        );
    });
}

/// Runs shell text from a file: the gate may ask about what it would do outside, and the promise is about the sandbox.
fn script(ground: &Ground, text: &str) -> Command {
    ground.write("script.sh", text);
    ground.run(["bash", "script.sh"])
}

#[test]
fn an_ordinary_system_is_there() {
    as_everyone(|ground| {
        let text = "set -e; test -r /etc/passwd; test -c /dev/null; test -c /dev/urandom; test -d /proc/self; \
                    echo x > /tmp/t; echo x > \"$HOME/t\"; test -w /dev/shm; cat <(echo fd) > /dev/null; \
                    echo | tee /dev/stderr 2> /dev/null; mktemp > /dev/null; test \"$(pwd)\" = \"$PWD\"; echo fine";
        let output = script(ground, text).output().expect(0);
        assert_eq!(output.stdout().trim().lines().last(), Some("fine"));
    });
}

#[test]
fn the_private_home_is_empty_and_gone_afterwards() {
    as_everyone(|ground| {
        let leave =
            "echo secret > \"$HOME/left-behind\" && echo secret > /tmp/left-behind && ls -A \"$HOME\" /tmp";
        let output = script(ground, leave).output().expect(0);
        assert_eq!(output.stdout().matches("left-behind").count(), 2, "{}", output.stdout());
        let output = script(ground, "ls -A \"$HOME\" /tmp").output().expect(0);
        assert!(!output.stdout().contains("left-behind"), "{}", output.stdout());
    });
}

#[test]
fn names_and_users_of_the_host_resolve() {
    as_everyone(|ground| {
        let inside = ground.shell("id -un; hostname 2>/dev/null || uname -n").output().expect(0).stdout();
        let lines: Vec<&str> = inside.lines().collect();
        assert!(
            !lines[0].is_empty() && !lines[0].chars().all(|letter| letter.is_ascii_digit()),
            "id -un: {inside}"
        );
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
        assert_ne!(lines[1], host.trim(), "the host name of the host is not shown");
    });
}

#[test]
fn a_pseudo_terminal_can_be_made_inside() {
    as_everyone(|ground| {
        if !tool("python3") {
            return;
        }
        let text =
            "import os, pty; m, s = os.openpty(); os.write(m, b'hi\\n'); print(os.read(s, 2).decode())";
        let output = ground.run(["python3", "-c", text]).output();
        // The gate may ask before it runs an interpreter's text; the promise is about the sandbox.
        if output.code == Some(126) {
            ground.write("terminal.py", text);
            assert_eq!(ground.run(["python3", "terminal.py"]).output().expect(0).stdout().trim(), "hi");
        } else {
            assert_eq!(output.expect(0).stdout().trim(), "hi");
        }
    });
}
