use std::io::{PipeReader, PipeWriter, Read as _, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::redact::Rules;
use crate::wire::frame::{Decoder, Frame as _};
use crate::wire::runner::{Aftermath, End};

/// A relay whose runner is the test.
struct Runner {
    stream: UnixStream,
    decoder: Decoder,
}

struct Pipes {
    stdin: Option<PipeWriter>,
    stdout: PipeReader,
    stderr: PipeReader,
}

fn going() -> Going {
    Going {
        id: 1,
        go: Go::for_tests(1),
        limit: None,
        grace: Duration::from_millis(50),
        ends_with_input: false,
    }
}

fn set_up() -> (Sender, Receiver, Stdio, Runner, Pipes) {
    let (ours, stream) = UnixStream::pair().expect("a pair");
    let child = std::process::Command::new("true").spawn().expect("a process to reap");
    let (sender, receiver) = crate::sandbox::for_tests(ours, child);
    let (stdin, stdin_writer) = std::io::pipe().expect("a pipe");
    let (stdout_reader, stdout) = std::io::pipe().expect("a pipe");
    let (stderr_reader, stderr) = std::io::pipe().expect("a pipe");
    let redactor = Redactor::new(&Rules::builtin(), vec![]);
    let text = Redact::Text(redactor.stream());
    let stdio = Stdio::over(&redactor, text, stdin, stdout, stderr).expect("threads");
    let pipes = Pipes { stdin: Some(stdin_writer), stdout: stdout_reader, stderr: stderr_reader };
    (sender, receiver, stdio, Runner { stream, decoder: Decoder::default() }, pipes)
}

impl Runner {
    async fn send(&mut self, frame: FromRunner) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).await.expect("it is read");
    }

    async fn recv(&mut self) -> Option<ToRunner> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("it is a frame") {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await.expect("it can be read") {
                0 => return None,
                length => self.decoder.push(&bytes[..length]),
            }
        }
    }

    async fn output(&mut self, stream: Stream, data: &[u8]) {
        self.send(FromRunner::Output { id: 1, stream, data: data.to_vec() }).await;
    }

    async fn exit(&mut self, end: End) {
        let ended = Ended {
            id: 1,
            end,
            wall_us: 1,
            cpu_us: 1,
            max_rss_kib: 1,
            aftermath: Aftermath::default(),
            reached: Vec::new(),
            shell: None,
        };
        self.send(FromRunner::Exited(ended)).await;
    }

    async fn started(&mut self) {
        assert_eq!(self.recv().await, Some(ToRunner::Run { id: 1 }));
    }
}

fn drained(mut reader: PipeReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("it can be read");
    bytes
}

#[tokio::test]
async fn bytes_pass_both_ways_unchanged() {
    let (sender, mut receiver, stdio, mut runner, mut pipes) = set_up();
    let mut signals = Signals::listen().expect("handlers");
    pipes.stdin.take().expect("once").write_all(b"in\0\xfe").expect("it is written");
    let play = async {
        runner.started().await;
        assert_eq!(runner.recv().await, Some(ToRunner::Stdin { id: 1, data: b"in\0\xfe".to_vec() }));
        assert_eq!(runner.recv().await, Some(ToRunner::StdinEnd { id: 1 }));
        runner.send(FromRunner::Credit { id: 1, bytes: 4 }).await;
        runner.output(Stream::Stdout, b"out\xff").await;
        runner.output(Stream::Stderr, b"err").await;
        runner.exit(End::Code { code: 3 }).await;
    };
    let (relayed, ()) = tokio::join!(relay(going(), sender, &mut receiver, stdio, &mut signals), play);
    assert_eq!(relayed.ended.expect("it ended").end, End::Code { code: 3 });
    assert_eq!(relayed.stopped, None);
    assert_eq!(drained(pipes.stdout), b"out\xff");
    assert_eq!(drained(pipes.stderr), b"err");
}

#[tokio::test]
async fn a_closed_stdout_ends_the_command_as_a_pipe_would() {
    let (sender, mut receiver, stdio, mut runner, pipes) = set_up();
    let mut signals = Signals::listen().expect("handlers");
    drop(pipes.stdout);
    let play = async {
        runner.started().await;
        runner.output(Stream::Stdout, b"y\n").await;
        let pipe = Signal::SIGPIPE as i32;
        assert_eq!(runner.recv().await, Some(ToRunner::Signal { id: 1, signal: pipe }));
        // It ignores the signal, goes on, and nobody is stuck.
        for _ in 0..100 {
            runner.output(Stream::Stdout, b"y\n").await;
        }
        let kill = ToRunner::Kill { id: 1, cause: Cause::Cancelled };
        assert_eq!(runner.recv().await, Some(kill));
        runner.exit(End::Killed { cause: Cause::Cancelled }).await;
    };
    let (relayed, ()) = tokio::join!(relay(going(), sender, &mut receiver, stdio, &mut signals), play);
    assert_eq!(relayed.stopped, Some(Stopped::Output(Stream::Stdout, Errno::EPIPE)));
    assert!(relayed.ended.is_ok());
    drop(pipes.stdin);
}

#[tokio::test]
async fn a_runner_that_goes_away_is_told_from_an_end() {
    let (sender, mut receiver, stdio, mut runner, pipes) = set_up();
    let mut signals = Signals::listen().expect("handlers");
    let play = async {
        runner.started().await;
        runner.output(Stream::Stdout, b"half").await;
        drop(runner);
    };
    let (relayed, ()) = tokio::join!(relay(going(), sender, &mut receiver, stdio, &mut signals), play);
    assert!(matches!(relayed.ended, Err(Lost::Gone)), "{relayed:?}");
    assert_eq!(drained(pipes.stdout), b"half");
    drop(pipes.stdin);
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_said() {
    let (sender, mut receiver, stdio, mut runner, pipes) = set_up();
    let mut signals = Signals::listen().expect("handlers");
    let failure = Failure {
        id: Some(1),
        layer: "cwd".into(),
        what: "enter /w".into(),
        error: "it was replaced".into(),
        hint: String::new(),
    };
    let told = failure.clone();
    let play = async {
        runner.started().await;
        runner.send(FromRunner::Failed(told)).await;
    };
    let (relayed, ()) = tokio::join!(relay(going(), sender, &mut receiver, stdio, &mut signals), play);
    assert!(matches!(relayed.ended, Err(Lost::Failed(said)) if said == failure));
    drop(pipes.stdin);
}

/// Frames about a command that was never started must not end or feed this one.
#[tokio::test]
async fn frames_of_another_command_are_passed_over() {
    let (sender, mut receiver, stdio, mut runner, pipes) = set_up();
    let mut signals = Signals::listen().expect("handlers");
    let play = async {
        runner.started().await;
        let data = b"not ours".to_vec();
        runner.send(FromRunner::Output { id: 2, stream: Stream::Stdout, data }).await;
        let ended = Ended {
            id: 2,
            end: End::Code { code: 0 },
            wall_us: 0,
            cpu_us: 0,
            max_rss_kib: 0,
            aftermath: Aftermath::default(),
            reached: Vec::new(),
            shell: None,
        };
        runner.send(FromRunner::Exited(ended)).await;
        runner.exit(End::Code { code: 9 }).await;
    };
    let (relayed, ()) = tokio::join!(relay(going(), sender, &mut receiver, stdio, &mut signals), play);
    assert_eq!(relayed.ended.expect("it ended").end, End::Code { code: 9 });
    assert_eq!(drained(pipes.stdout), b"");
    drop(pipes.stdin);
}

/// A reader that stops makes the command wait, with a bounded amount under way.
#[tokio::test]
async fn a_slow_reader_makes_the_command_wait() {
    const CHUNKS: usize = 128;
    let (sender, mut receiver, stdio, mut runner, pipes) = set_up();
    let mut signals = Signals::listen().expect("handlers");
    let chunk = vec![b'x'; 64 << 10];
    let sent = Cell::new(0);
    let play = async {
        runner.started().await;
        for _ in 0..CHUNKS {
            runner.output(Stream::Stdout, &chunk).await;
            sent.set(sent.get() + 1);
        }
        runner.exit(End::Code { code: 0 }).await;
    };
    let read = async {
        sleep(Duration::from_millis(300)).await;
        assert!(sent.get() < CHUNKS / 2, "nothing held the command back");
        std::thread::spawn(move || drained(pipes.stdout).len())
    };
    let (relayed, (), reader) =
        tokio::join!(relay(going(), sender, &mut receiver, stdio, &mut signals), play, read);
    assert!(relayed.ended.is_ok());
    assert_eq!(reader.join().expect("it ends"), CHUNKS * chunk.len());
    drop(pipes.stdin);
}

/// The command is over before it shows that its output cannot be written.
#[tokio::test]
async fn output_that_fails_at_the_very_end_is_not_lost_in_silence() {
    let (sender, mut receiver, stdio, mut runner, pipes) = set_up();
    let mut signals = Signals::listen().expect("handlers");
    drop(pipes.stdout);
    let play = async {
        runner.started().await;
        runner.output(Stream::Stdout, b"last words").await;
        runner.exit(End::Code { code: 0 }).await;
    };
    let (relayed, ()) = tokio::join!(relay(going(), sender, &mut receiver, stdio, &mut signals), play);
    assert_eq!(relayed.stopped, Some(Stopped::Output(Stream::Stdout, Errno::EPIPE)));
    drop(pipes.stdin);
}

#[test]
fn output_that_nobody_reads_is_a_broken_pipe() {
    let pipe = Some(Stopped::Output(Stream::Stdout, Errno::EPIPE));
    let sigpipe = Outcome::Cancelled { signal: 13 };
    assert_eq!(stopped_outcome(Outcome::Exited { code: 0 }, pipe), sigpipe);
    assert_eq!(stopped_outcome(Outcome::Cancelled { signal: 15 }, pipe), sigpipe);
    assert_eq!(stopped_outcome(Outcome::Exited { code: 3 }, pipe), Outcome::Exited { code: 3 });
    let signaled = Outcome::Signaled { signal: 13 };
    assert_eq!(stopped_outcome(signaled.clone(), pipe), signaled);
}

#[test]
fn output_that_cannot_be_written_is_a_failure_whatever_the_command_says() {
    let full = Some(Stopped::Output(Stream::Stdout, Errno::ENOSPC));
    let Outcome::Failed { error, .. } = stopped_outcome(Outcome::Exited { code: 0 }, full) else {
        panic!("not a failure")
    };
    assert_eq!(error, "cannot write the command's stdout: No space left on device");
}

#[test]
fn a_second_signal_is_the_one_that_ended_it() {
    let twice = Some(Stopped::Signal(Signal::SIGINT));
    let cancelled = stopped_outcome(Outcome::Cancelled { signal: 15 }, twice);
    assert_eq!(cancelled, Outcome::Cancelled { signal: 2 });
    assert_eq!(stopped_outcome(Outcome::Exited { code: 1 }, twice), Outcome::Exited { code: 1 });
}
