//! A daemon of a bench's own, and a client of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A daemon that ends, with all that is its own, when this is dropped.
pub(crate) struct Daemon {
    pub(crate) directory: PathBuf,
    /// Where its sockets are: in memory, as /run is.
    run: PathBuf,
    pub(crate) child: Child,
}

impl Daemon {
    /// Starts one, and waits until it listens. `policy` is in place of the one that is compiled in.
    pub(crate) fn start(name: &str, config: &str, policy: Option<&str>) -> Self {
        let directory = PathBuf::from(format!("/var/tmp/execward-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("work")).unwrap();
        let run = PathBuf::from(format!("/dev/shm/execward-{name}-{}", std::process::id()));
        fs::write(directory.join("execward.toml"), config).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_execward"));
        serve
            .arg("serve")
            .args(["--socket-dir".into(), run.clone()])
            .args(["--state".into(), directory.join("state")])
            .args(["--config".into(), directory.join("execward.toml")]);
        if let Some(policy) = policy {
            fs::write(directory.join("policy.toml"), policy).unwrap();
            serve.arg("--policy").arg(directory.join("policy.toml"));
        }
        let child = serve.stderr(Stdio::null()).spawn().unwrap();
        let daemon = Self { directory, run, child };
        while UnixStream::connect(daemon.socket()).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("agent.sock")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// A client that has said hello.
    pub(crate) fn client(&self) -> Client {
        let stream = UnixStream::connect(self.socket()).unwrap();
        let reader = BufReader::with_capacity(1 << 20, stream.try_clone().unwrap());
        let mut client = Client { stream, reader, last: 0 };
        client.call("hello", &json!({"protocol": 1}));
        client
    }
}

/// How often a second these loops do something, all of them together, over this time.
#[allow(dead_code, reason = "not every bench does")]
pub(crate) fn throughput<T: Send>(loops: &mut [T], spell: Duration, once: impl Fn(&mut T) + Sync) -> f64 {
    let before = Instant::now();
    let done: u32 = std::thread::scope(|scope| {
        let once = &once;
        let one = |each: &mut T| {
            let mut done = 0;
            while before.elapsed() < spell {
                once(each);
                done += 1;
            }
            done
        };
        let running: Vec<_> = loops.iter_mut().map(|each| scope.spawn(move || one(each))).collect();
        running.into_iter().map(|running| running.join().unwrap()).sum()
    });
    f64::from(done) / before.elapsed().as_secs_f64()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SAFETY: plain numbers; the child has not been waited for.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(self.child.id().cast_signed(), libc::SIGTERM)
        };
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
        let _ = fs::remove_dir_all(&self.run);
    }
}

/// A client of it.
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    pub(crate) reader: BufReader<UnixStream>,
    /// The id of its last request.
    pub(crate) last: u64,
}

impl Client {
    pub(crate) fn send(&mut self, method: &str, params: &Value) {
        self.last += 1;
        let line = json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params});
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The result of a request, which must have one.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.send(method, params);
        let mut line = String::new();
        loop {
            self.line(&mut line);
            let mut message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{message}");
                return message["result"].take();
            }
        }
    }

    /// Opens a session with these parameters beside its workspace.
    pub(crate) fn open(&mut self, workspace: &Path, mut more: Value) {
        more["workspace"] = json!(workspace);
        let opened = self.call("session/open", &more);
        assert!(opened["session"].is_string(), "{opened}");
    }

    /// The next line.
    pub(crate) fn line(&mut self, line: &mut String) {
        line.clear();
        assert_ne!(self.reader.read_line(line).unwrap(), 0, "the daemon went away");
    }

    /// From the request of `true` to the result that says how it ended. Nothing is made of the lines: a client that read
    /// them would cost more than the command.
    pub(crate) fn run_true(&mut self) -> Duration {
        let before = Instant::now();
        let id = format!("t{}", self.last);
        self.send("exec/start", &json!({"id": id, "command": {"argv": ["/bin/true"]}}));
        let mut line = String::new();
        loop {
            self.line(&mut line);
            if line.contains("\"exec/exited\"") {
                let took = before.elapsed();
                assert!(line.contains("\"code\":0"), "{line}");
                return took;
            }
            assert!(!line.contains("\"error\""), "{line}");
        }
    }

    /// Streams all that a command writes. How long that took, and how many bytes came.
    #[allow(dead_code, reason = "not every bench does")]
    pub(crate) fn stream(&mut self, id: &str, argv: &[&str]) -> (Duration, usize) {
        let start = json!({"id": id, "command": {"argv": argv}, "output": {"mode": "stream"}});
        let own = format!("\"id\":\"{id}\"");
        self.send("exec/start", &start);
        let before = Instant::now();
        let (mut line, mut received) = (Vec::new(), 0);
        loop {
            line.clear();
            received += self.reader.read_until(b'\n', &mut line).unwrap();
            if line.starts_with(b"{\"jsonrpc\":\"2.0\",\"method\":\"exec/closed\"")
                && line.windows(own.len()).any(|piece| piece == own.as_bytes())
            {
                return (before.elapsed(), received);
            }
            assert!(!line.is_empty() && !line.windows(9).any(|piece| piece == b"\"error\":{"), "it failed");
        }
    }
}
