//! A session where its user can make no namespace, and the policy takes landlock and seccomp alone.
//!
//! Nobody makes a user namespace in a chroot (user_namespaces(7)): the tests start execward in one that shows the whole host, which
//! takes root, and forbids nobody else anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::{Command, Ground, Leg, account::Account, as_leg, ground, is_root, skip, tool};

/// A policy that takes the lower level.
const LESS: &str = "[sandbox]\nminimum = \"landlock-seccomp\"\n";

/// Runs `body` for an ordinary user with such a policy.
fn where_there_are_none(body: impl Fn(&Ground)) {
    if !is_root() {
        return skip("root", "only root can make a chroot");
    }
    as_leg(Leg::User, |ground| {
        if !["unshare", "setpriv", "chroot", "mount", "python3"].into_iter().all(tool) {
            return;
        }
        ground.put(&ground.outside().join("less.toml"), LESS.as_bytes(), 0o644);
        fs::create_dir(ground.root().join("host")).expect("a directory");
        body(ground);
    });
}

/// `execward run` with these options and this text for bash.
fn run(ground: &Ground, options: &[&str], text: &str) -> Command {
    let Account { uid, gid, name, home } = ground.account();
    let words = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        "mount --rbind / \"$1\" && exec chroot \"$1\" sh -c 'cd \"$1\" && shift && exec \"$@\"' sh \"$2\" setpriv --reuid \"$3\" \
         --regid \"$4\" --clear-groups env -i HOME=\"$5\" USER=\"$6\" PATH=/usr/local/bin:/usr/bin:/bin \"$7\" run --policy \
         \"$8\" \"${@:9}\"",
        "sh",
    ];
    let words = words.map(str::to_owned).into_iter().chain([
        ground.root().join("host").display().to_string(),
        ground.workspace().display().to_string(),
        uid.to_string(),
        gid.to_string(),
        home.display().to_string(),
        name.clone(),
        ground::execward().display().to_string(),
        ground.outside().join("less.toml").display().to_string(),
    ]);
    let words = words.chain(options.iter().copied().chain(["-c", text]).map(str::to_owned));
    // `sh` knows no slices.
    ground.bare_as(&Account::root(), words.map(|word| if word == "sh" { "bash".to_owned() } else { word }))
}

#[test]
fn work_is_done_with_what_is_left() {
    where_there_are_none(|ground| {
        let text = "echo one > made; cat made; echo \"$HOME\"; echo x > ~/file && echo y > \"$TMPDIR/t\" && pwd; \
                    touch made; python3 -c 'import socket; a,b=socket.socketpair(); a.send(b\"x\")' && echo pair";
        let output = run(ground, &[], text).output().expect(0);
        let out = output.stdout();
        let lines: Vec<&str> = out.lines().collect();
        let workspace = ground.workspace();
        let [made, home, here, pair] = lines[..] else { panic!("{out}{}", output.stderr()) };
        assert_eq!((made, here, pair), ("one", workspace.to_str().expect("a name"), "pair"));
        assert!(home.starts_with("/tmp/execward-"), "{home}");
        assert!(!Path::new(home).exists(), "the private home {home} is left");
        assert_eq!(fs::read(workspace.join("made")).expect("it was made"), b"one\n");

        let result = run(ground, &["--json"], "true").output().expect(0).json();
        let layers = result["receipt"]["layers"].as_array().expect("layers").clone();
        let enforced = |name: &str| {
            let layer = layers.iter().find(|layer| layer["name"] == name).unwrap_or_else(|| panic!("{name}"));
            layer["enforced"].as_bool().expect("a flag")
        };
        for (name, holds) in [
            ("user-namespace", false),
            ("network-namespace", false),
            ("private-root", false),
            ("cgroup", false),
            ("landlock", true),
            ("seccomp", true),
            ("tree", true),
        ] {
            assert_eq!(enforced(name), holds, "{name}");
        }
    });
}

#[test]
fn nothing_else_of_the_user_is_reached() {
    where_there_are_none(|ground| {
        let secret = ground.outside().join("secret");
        ground.put(&secret, b"canary\n", 0o644);
        let file = secret.display();
        let socket = ground.outside().join("socket");
        let name = format!("execward-test-{}", std::process::id());
        let served = format!(
            "import socket,time\nfor where in ('{}', '\\0{name}'):\n s=socket.socket(socket.AF_UNIX); s.bind(where); s.listen(9)\n \
             globals()[where]=s\nd=socket.socket(1,2); d.bind('\\0{name}-datagrams')\nt=socket.socket(); t.bind(('127.0.0.1',0)); t.listen(9)\nopen('{}.port','w').write(str(t.getsockname()[1]))\n\
             time.sleep(600)",
            socket.display(),
            socket.display()
        );
        let mut server = ground.bare(["python3", "-c", &served]).spawn();
        let port = ground.outside().join("socket.port");
        let until = std::time::Instant::now() + Duration::from_secs(30);
        let port = loop {
            match fs::read_to_string(&port) {
                Ok(port) if !port.is_empty() => break port,
                _ => assert!(std::time::Instant::now() < until, "the server does not stand"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let python = |code: &str| format!("python3 -c \"import socket,os;{code}\"");
        let server_id = server.id();
        let attacks = [
            ("read", format!("cat {file}")),
            ("write", format!("echo x >> {file}")),
            ("truncate", format!("truncate -s 3 {file}")),
            ("mode", format!("chmod 600 {file}")),
            ("times", format!("touch -d 2001-01-01 -c {file}")),
            ("attribute", python(&format!("os.setxattr('{file}','user.x',b'x')"))),
            ("list", format!("ls {}", ground.outside().display())),
            ("memory", format!("head -c 1 /proc/{server_id}/environ")),
            ("limits", format!("prlimit --pid {server_id} --nofile=64:64")),
            ("path socket", python(&format!("socket.socket(1).connect('{}')", socket.display()))),
            ("abstract socket", python(&format!("socket.socket(1).connect('\\0{name}')"))),
            ("pair", python(&format!("socket.socketpair(1,2)[0].sendto(b'x','\\0{name}-datagrams')"))),
            ("tcp", python(&format!("socket.create_connection(('127.0.0.1',{port}))"))),
            ("udp", python("socket.socket(2,2).sendto(b'x',('127.0.0.1',9))")),
            ("signal", format!("kill -9 {server_id}")),
        ];
        for (name, attack) in &attacks {
            let output = run(ground, &[], &format!("echo here; {attack} && echo got in")).output();
            assert!(output.stdout().starts_with("here\n"), "{name} was not tried: {}", output.stderr());
            assert!(!output.stdout().contains("got in"), "{name}: {attack}: {}", output.stdout());
        }
        assert_eq!(fs::read(&secret).expect("it is there"), b"canary\n");
        assert_eq!(fs::metadata(&secret).expect("it is there").permissions().mode() & 0o777, 0o644);
        // The same without a sandbox, in this order: each does what it is there for.
        for (name, attack) in &attacks {
            let output = ground.bare_shell(&format!("{attack} && echo got in")).output();
            assert!(
                output.stdout().contains("got in"),
                "{name}: no control: {}{}",
                output.stdout(),
                output.stderr()
            );
        }
        drop(server.wait());
    });
}

#[test]
fn nothing_is_left_of_a_command() {
    where_there_are_none(|ground| {
        let text = "(setsid sleep 654321 &) ; (trap '' TERM; exec sleep 654321 &) ; mkdir ~/closed && touch ~/closed/x && \
                    python3 -c 'import os; fd=os.open(os.path.expanduser(\"~/closed\"),os.O_RDONLY); os.fchmod(fd,0)'; echo \"$HOME\"";
        let output = run(ground, &[], text).output().expect(0);
        assert!(!Path::new(output.stdout().trim()).exists(), "{} is left", output.stdout());
        let left =
            ground.bare(["pgrep", "-u", &ground.account().uid.to_string(), "-f", "sleep 654321"]).output();
        assert_eq!(left.stdout(), "", "it lives on");
        let output = run(ground, &["--timeout", "1s"], "sleep 654322 & sleep 654322").output();
        assert_ne!(output.code, Some(0));
        let left =
            ground.bare(["pgrep", "-u", &ground.account().uid.to_string(), "-f", "sleep 654322"]).output();
        assert_eq!(left.stdout(), "", "it lives on");
    });
}

#[test]
fn what_is_executed_later_is_found_out_where_it_cannot_be_frozen() {
    where_there_are_none(|ground| {
        ground.write(".envrc", "export A=1\n");
        let result = run(ground, &["--json"], "echo 'export B=2' >> .envrc").output().expect(0).json();
        assert!(result["aftermath"].to_string().contains(".envrc"), "{result}");
        assert!(!ground.workspace().join(".envrc").exists(), "it is obeyed still");
        let frozen = result["receipt"]["layers"].as_array().expect("layers").clone();
        let frozen = frozen.iter().find(|layer| layer["name"] == "frozen").expect("the receipt speaks of it");
        assert_eq!(frozen["enforced"], false, "{frozen}");
    });
}

#[test]
fn what_needs_a_namespace_is_refused() {
    where_there_are_none(|ground| {
        let network = "network = { mode = \"proxy\", allow = [\"example.org:443\"] }\n[sandbox]";
        let policy = LESS.replace("[sandbox]", network);
        ground.put(&ground.outside().join("less.toml"), policy.as_bytes(), 0o644);
        let output = run(ground, &[], "echo ran").output();
        assert_eq!(output.stdout(), "");
        assert!(
            output.stderr().contains("proxy") && output.stderr().contains("hint:"),
            "{}",
            output.stderr()
        );
    });
}
