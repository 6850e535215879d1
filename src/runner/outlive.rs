//! What a session has for the case that its supervisor goes without a word: a socket at which the next one comes, and the
//! output and the ends of commands that the one that is gone may not have dealt with.
//!
//! Nobody reads what commands write while there is no supervisor: it stays in their pipes, and they wait when those are full.
//! What was read and sent before is kept until the supervisor says that it will not ask for it again.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::wire::frame::Frame;
use crate::wire::runner::{FromRunner, KEPT_OUTPUT, MAX_CHUNK, Stream};

/// Where the next supervisor comes, and how long it is waited for.
#[derive(Debug)]
pub(super) struct Rendezvous {
    pub(super) socket: OwnedFd,
    pub(super) patience: Duration,
}

/// Output of a command that may have to be said again.
#[derive(Debug, Default)]
pub(super) struct Kept([Tail; 2]);

/// The end of one stream.
#[derive(Debug, Default)]
struct Tail {
    /// Bytes of the stream before it.
    before: u64,
    bytes: VecDeque<u8>,
}

impl Kept {
    /// Keeps what was read.
    pub(super) fn push(&mut self, stream: Stream, data: &[u8]) {
        self.0[index(stream)].bytes.extend(data);
    }

    /// Lets go of what will not be asked for again.
    pub(super) fn taken(&mut self, stream: Stream, upto: u64) {
        let Tail { before, bytes } = &mut self.0[index(stream)];
        let gone = usize::try_from(upto.saturating_sub(*before)).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..gone);
        *before += gone as u64;
    }

    /// Whether the stream's pipe is to be left alone.
    pub(super) fn is_full(&self, stream: Stream) -> bool {
        self.0[index(stream)].bytes.len() >= KEPT_OUTPUT
    }

    /// Says again what comes after these many bytes of each stream.
    pub(super) fn say_again(&mut self, id: u64, from: [u64; 2], out: &mut Vec<u8>) {
        for (stream, from) in [Stream::Stdout, Stream::Stderr].into_iter().zip(from) {
            self.taken(stream, from);
            for data in self.0[index(stream)].bytes.make_contiguous().chunks(MAX_CHUNK) {
                FromRunner::Output { id, stream, data: data.to_vec() }.encode(out);
            }
        }
    }
}

/// A command that has ended, until the supervisor has taken note of it.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) kept: Kept,
    pub(super) end: FromRunner,
}

const fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Decoder;

    fn said(out: &[u8]) -> Vec<(Stream, Vec<u8>)> {
        let mut decoder = Decoder::default();
        decoder.push(out);
        std::iter::from_fn(|| decoder.next_frame::<FromRunner>().unwrap())
            .map(|frame| match frame {
                FromRunner::Output { id: 7, stream, data } => (stream, data),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn it_is_said_again_from_where_it_is_wanted_and_never_before_what_was_taken() {
        let mut kept = Kept::default();
        kept.push(Stream::Stdout, b"abcdef");
        kept.push(Stream::Stderr, b"xyz");
        kept.taken(Stream::Stdout, 2);
        let mut out = Vec::new();
        kept.say_again(7, [4, 0], &mut out);
        assert_eq!(said(&out), [(Stream::Stdout, b"ef".to_vec()), (Stream::Stderr, b"xyz".to_vec())]);
        out.clear();
        kept.say_again(7, [0, 100], &mut out);
        assert_eq!(said(&out), [(Stream::Stdout, b"ef".to_vec())]);
    }

    #[test]
    fn a_stream_that_nobody_takes_is_full_and_is_not_when_it_is_taken() {
        let mut kept = Kept::default();
        kept.push(Stream::Stdout, &vec![b'x'; KEPT_OUTPUT]);
        assert!(kept.is_full(Stream::Stdout) && !kept.is_full(Stream::Stderr));
        kept.taken(Stream::Stdout, 1);
        assert!(!kept.is_full(Stream::Stdout));
        let mut out = Vec::new();
        kept.say_again(7, [1, 0], &mut out);
        let said = said(&out);
        assert!(said.iter().all(|(_, data)| data.len() <= MAX_CHUNK));
        assert_eq!(said.iter().map(|(_, data)| data.len()).sum::<usize>(), KEPT_OUTPUT - 1);
    }
}
