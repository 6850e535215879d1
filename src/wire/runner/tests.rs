//! What is said to and by a runner that an earlier supervisor has left, byte by byte.

use super::*;
use crate::wire::frame::Frame as _;

/// Every frame, as this form has it: the form's number, and a line for each.
const GOLDEN: &str = include_str!("sessions.txt");

const WHAT_TO_DO: &str = "the frames between a supervisor and its runners have changed. A session that was opened by a build with the \
    old ones would be taken up by one with the new ones, which does not understand it: raise `wire::runner::SESSIONS`, so that it is \
    not, and put what this test prints into src/wire/runner/sessions.txt. Where both sides understand the other's \
    (a field with a default that is left out), the number may stay.";

fn id() -> FileId {
    FileId { dev: 1, ino: 2 }
}

fn spec(ground: Ground) -> SandboxSpec {
    SandboxSpec {
        ground,
        identity: Identity { uid: 3, gid: 4, name: "n".into(), home: "/h".into() },
        workspace: Workspace {
            path: "/w".into(),
            id: id(),
            writable: true,
            owner: Some((5, 6)),
            masked: vec!["m".into()],
            frozen: vec!["f".into()],
            later: Later {
                action: LaterAction::SetAside,
                nested: vec!["n".into()],
                reported: vec!["r".into()],
                settings: vec!["s".into()],
            },
        },
        view: View {
            visible: vec!["/v".into()],
            own: vec!["/o".into()],
            owner: Some((7, 8)),
            masked: vec!["/m".into()],
            agent_socket: Some("/s".into()),
        },
        network: Network::Proxy,
        limits: Limits {
            memory: 9,
            swap: 10,
            cpus: Some(11),
            processes: 12,
            file_size: Some(13),
            open_files: 14,
            tmpfs: 15,
        },
        hostname: "x".into(),
        minimum: Level::LandlockSeccomp,
        outlives_ms: 16,
    }
}

fn spawn() -> Spawn {
    Spawn {
        id: 1,
        argv: vec!["a".into()],
        env: vec![("E".into(), "v".into())],
        cwd: "/w".into(),
        cwd_id: id(),
        timeout_ms: Some(2),
        grace_ms: 3,
        cpu_s: Some(4),
        idle_ms: Some(5),
        apart: Apart {
            offline: true,
            hosts: vec!["h:1".into()],
            read_only: Some("/w".into()),
            held: vec![Held { path: "/w/s".into(), content: vec![0, 255], executable: true }],
            secrets: vec![SecretGiven {
                name: "s".into(),
                env: Some("S".into()),
                file: Some("f".into()),
                value: zeroize::Zeroizing::new("v".to_owned()).into(),
            }],
            private: Some(Private { home: "/h".into(), room: 6, keep: vec!["/k".into()] }),
        },
        terminal: Some(Window::clamped(7, 8)),
        persist: true,
        last: true,
    }
}

fn to_runner() -> Vec<ToRunner> {
    let far = || Far { launcher: "l".into(), make: true, root: PathBuf::new() };
    let container =
        Container { backend: "docker".into(), mounts: vec![("/m".into(), id())], far: Some(far()) };
    vec![
        ToRunner::Greet(Greeting { version: "1".into(), alive_ms: 2 }),
        ToRunner::Open(Box::new(spec(Ground::Host))),
        ToRunner::Open(Box::new(spec(Ground::Container(container)))),
        ToRunner::Open(Box::new(spec(Ground::Far(far())))),
        ToRunner::Prepare(Box::new(spawn())),
        ToRunner::Run { id: 1 },
        ToRunner::Stdin { id: 1, data: vec![0, 255] },
        ToRunner::StdinEnd { id: 1 },
        ToRunner::Signal { id: 1, signal: 15 },
        ToRunner::Hold { id: 1, held: true },
        ToRunner::Resize { id: 1, window: Window::clamped(2, 3) },
        ToRunner::Kill { id: 1, cause: Cause::Time },
        ToRunner::Kill { id: 1, cause: Cause::Idle },
        ToRunner::Kill { id: 1, cause: Cause::Cancelled },
        ToRunner::Kill { id: 1, cause: Cause::Orphaned },
        ToRunner::Taken { id: 1, stream: Stream::Stderr, upto: 2 },
        ToRunner::Forget { id: 1 },
        ToRunner::Resume { id: 1, from: [2, 3] },
        ToRunner::Close,
    ]
}

fn from_runner() -> Vec<FromRunner> {
    let layer = Layer { name: "n".into(), enforced: true, detail: "d".into() };
    let ended = |end| {
        FromRunner::Exited(Ended {
            id: 1,
            end,
            wall_us: 2,
            cpu_us: 3,
            max_rss_kib: 4,
            aftermath: Aftermath {
                found: vec![Found {
                    path: "p".into(),
                    kind: FoundKind::GitHook,
                    setting: Some("s".into()),
                    fate: Fate::SetAside { to: "t".into() },
                }],
                more: 5,
                unseen: Some("u".into()),
            },
            reached: vec![Reached { limit: LimitName::FileSize, evidence: "e".into() }],
            shell: Some(ShellState { env: [("E".to_owned(), "v".to_owned())].into() }),
        })
    };
    vec![
        FromRunner::Greeted(Greeted { version: "1".into(), host: "h".into() }),
        FromRunner::Alive,
        FromRunner::Ready(Ready {
            receipt: Receipt { backend: "jail".into(), layers: vec![layer] },
            bash: Some("/bin/bash".into()),
            home: Some("/h".into()),
            commands: vec![Present { id: 1, ran: true }],
        }),
        FromRunner::Proxied { id: 1 },
        FromRunner::Failed(Failure {
            id: Some(1),
            layer: "l".into(),
            what: "w".into(),
            error: "e".into(),
            hint: "h".into(),
        }),
        FromRunner::Output { id: 1, stream: Stream::Stdout, data: vec![0, 255] },
        FromRunner::Output { id: 1, stream: Stream::Stderr, data: vec![] },
        FromRunner::Credit { id: 1, bytes: 2 },
        ended(End::Code { code: 7 }),
        ended(End::Signal { signal: 9 }),
        ended(End::Killed { cause: Cause::Time }),
        ended(End::NotExecuted { errno: 2, program: "p".into() }),
    ]
}

/// No frame is forgotten: a new one does not compile here, and belongs above.
fn _every_frame(to: &ToRunner, from: &FromRunner) {
    match to {
        ToRunner::Greet(_)
        | ToRunner::Open(_)
        | ToRunner::Prepare(_)
        | ToRunner::Run { .. }
        | ToRunner::Stdin { .. }
        | ToRunner::StdinEnd { .. }
        | ToRunner::Signal { .. }
        | ToRunner::Hold { .. }
        | ToRunner::Resize { .. }
        | ToRunner::Kill { .. }
        | ToRunner::Taken { .. }
        | ToRunner::Forget { .. }
        | ToRunner::Resume { .. }
        | ToRunner::Close => {}
    }
    match from {
        FromRunner::Greeted(_)
        | FromRunner::Alive
        | FromRunner::Ready(_)
        | FromRunner::Proxied { .. }
        | FromRunner::Failed(_)
        | FromRunner::Output { .. }
        | FromRunner::Credit { .. }
        | FromRunner::Exited(_) => {}
    }
}

#[test]
fn frames_are_what_the_number_of_their_form_says() {
    let mut now = format!("form {SESSIONS}\n");
    let mut put = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        now.push_str(&bytes.escape_ascii().to_string());
        now.push('\n');
    };
    to_runner().iter().for_each(|frame| put(&|bytes| frame.encode(bytes)));
    from_runner().iter().for_each(|frame| put(&|bytes| frame.encode(bytes)));
    if GOLDEN != now {
        println!("--- sessions.txt is to be:\n{now}---");
    }
    for (golden, now) in GOLDEN.lines().zip(now.lines()) {
        assert_eq!(golden, now, "{WHAT_TO_DO}");
    }
    assert_eq!(GOLDEN, now, "{WHAT_TO_DO}");
}
