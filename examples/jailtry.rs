#![allow(clippy::all, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]
use execward::{prepare::Directory, sandbox, wire::runner::*};
use std::io::Write;
use std::os::fd::AsFd;
fn main() {
    if execward::runner::is_role(std::env::args_os()) {
        std::process::exit(execward::runner::main());
    }
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let timeout = args.first().and_then(|a| a.strip_prefix("--t=")).map(|t| t.parse().unwrap());
    if timeout.is_some() {
        args.remove(0);
    }
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cwd = std::env::current_dir().unwrap();
    let f = std::fs::File::open(&cwd).unwrap();
    use std::os::unix::fs::MetadataExt;
    let m = f.metadata().unwrap();
    let id = FileId { dev: m.dev(), ino: m.ino() };
    let dir = Directory { fd: f.into(), path: cwd.clone(), id, owner: (m.uid(), m.gid()) };
    let uid = nix::unistd::getuid().as_raw();
    let home = std::env::var("HOME").unwrap();
    let asked = sandbox::Asked {
        requester: (uid, nix::unistd::getgid().as_raw()),
        user: "me",
        home: home.clone().into(),
        workspace: &dir,
        writable: true,
        network: Network::None,
        limits: Limits { memory: 4 << 30, processes: 512, file_size: None, open_files: 4096, tmpfs: 1 << 30 },
        own_state: vec![],
    };
    let spec = sandbox::jail::spec(&asked).unwrap();
    rt.block_on(async {
        let t0 = std::time::Instant::now();
        let link = match sandbox::jail::launch(spec, dir.fd.as_fd()).await {
            Ok(l) => l,
            Err(e) => {
                eprintln!("error: {e}\nhint: {}", e.hint());
                std::process::exit(125)
            }
        };
        if std::env::var("V").is_ok() {
            for l in &link.receipt().layers {
                eprintln!("{:20} {} {}", l.name, l.enforced, l.detail);
            }
            eprintln!("up in {:?}", t0.elapsed());
        }
        let (mut tx, mut rx) = link.split();
        if let Ok(n) = std::env::var("N") {
            let n: u64 = n.parse().unwrap();
            let mut times = vec![];
            let mut bare = vec![];
            for i in 0..n {
                let t = std::time::Instant::now();
                std::process::Command::new(&args[0]).status().unwrap();
                bare.push(t.elapsed());
                let t = std::time::Instant::now();
                tx.send(ToRunner::Start(Box::new(Spawn {
                    id: i + 10,
                    argv: args.clone(),
                    env: vec![("PATH".into(), std::env::var("PATH").unwrap())],
                    cwd: cwd.clone(),
                    cwd_id: id,
                    timeout_ms: None,
                    grace_ms: 500,
                })))
                .await
                .unwrap();
                tx.send(ToRunner::StdinEnd { id: i + 10 }).await.unwrap();
                while let Some(f) = rx.recv().await.unwrap() {
                    if let FromRunner::Exited(_) = f {
                        break;
                    }
                }
                times.push(t.elapsed());
            }
            for (name, mut t) in [("bare", bare), ("jail", times)] {
                t.sort();
                println!(
                    "{name}: min {:?} median {:?} p99 {:?}",
                    t[0],
                    t[t.len() / 2],
                    t[t.len() * 99 / 100]
                );
            }
            return;
        }
        tx.send(ToRunner::Start(Box::new(Spawn {
            id: 1,
            argv: args,
            env: vec![("PATH".into(), std::env::var("PATH").unwrap()), ("HOME".into(), home)],
            cwd: cwd.clone(),
            cwd_id: id,
            timeout_ms: timeout,
            grace_ms: 500,
        })))
        .await
        .unwrap();
        tx.send(ToRunner::StdinEnd { id: 1 }).await.unwrap();
        while let Some(f) = rx.recv().await.unwrap() {
            match f {
                FromRunner::Output { stream, data, .. } => {
                    if stream == Stream::Stdout {
                        std::io::stdout().write_all(&data).unwrap()
                    } else {
                        std::io::stderr().write_all(&data).unwrap()
                    }
                }
                FromRunner::Exited(e) => {
                    eprintln!("{e:?} total {:?}", t0.elapsed());
                    break;
                }
                other => eprintln!("{other:?}"),
            }
        }
    });
}
