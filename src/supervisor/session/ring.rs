//! The output of one command, numbered, in bounded memory.
//!
//! Everything here has been redacted. A reader names the last chunk that it has and gets what comes after it. What was
//! given to a reader stays for a while, so that one who lost its connection on the way can have it again; what nobody
//! has read yet always stays, and the command waits when there is too much of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wire::runner::Stream;

/// Bytes that are kept of one command.
pub(in crate::supervisor) const CAPACITY: usize = 1 << 20;

/// Below this the command may go on.
const LOW: usize = CAPACITY / 2;

/// What a command may have waiting when its principal has more than its share in memory.
const SCARCE: usize = 64 << 10;

/// What a chunk costs besides its bytes: a command that writes byte by byte must not cost more than it seems to.
const OVERHEAD: usize = 64;

/// Small writes are put together up to this size, while nobody has read them.
const PIECE: usize = 32 << 10;

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) struct Chunk {
    /// From 1.
    pub(in crate::supervisor) seq: u64,
    pub(in crate::supervisor) stream: Stream,
    pub(in crate::supervisor) data: Vec<u8>,
}

/// Bytes that all commands of one principal keep in memory.
#[derive(Debug)]
pub(in crate::supervisor) struct Share {
    bytes: AtomicUsize,
    limit: usize,
}

impl Share {
    pub(in crate::supervisor) fn new(limit: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), limit }
    }

    /// Takes bytes of it, whether or not they are there.
    pub(in crate::supervisor) fn charge(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives bytes back.
    pub(in crate::supervisor) fn refund(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(in crate::supervisor) fn used(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(in crate::supervisor) fn is_used_up(&self) -> bool {
        self.used() > self.limit
    }
}

/// The chunks of one command.
#[derive(Debug)]
pub(in crate::supervisor) struct Ring {
    chunks: VecDeque<Chunk>,
    last: u64,
    /// The last chunk that a reader was given.
    taken: u64,
    /// The last one that was put back: a reader may have it, and it grows no more.
    put_back: u64,
    /// Cost of everything that is kept, and of what nobody has read.
    held: usize,
    unread: usize,
    share: Arc<Share>,
}

/// What was asked for is not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) struct Gone {
    /// The first chunk that is.
    pub(in crate::supervisor) first: u64,
}

impl Ring {
    pub(in crate::supervisor) fn new(share: Arc<Share>) -> Self {
        Self { chunks: VecDeque::new(), last: 0, taken: 0, put_back: 0, held: 0, unread: 0, share }
    }

    /// Adds output.
    pub(in crate::supervisor) fn push(&mut self, stream: Stream, mut data: Vec<u8>) {
        if data.is_empty() {
            return;
        }
        let whole = self.taken.max(self.put_back);
        let last = self.chunks.back_mut().filter(|last| last.seq > whole && last.stream == stream);
        let cost = match last {
            Some(last) if last.data.len() + data.len() <= PIECE => {
                let cost = data.len();
                last.data.append(&mut data);
                cost
            }
            _ => {
                self.last += 1;
                let chunk = Chunk { seq: self.last, stream, data };
                let cost = cost(&chunk);
                self.chunks.push_back(chunk);
                cost
            }
        };
        self.held += cost;
        self.unread += cost;
        self.share.charge(cost);
        self.shrink();
    }

    /// Lets go of what was read, as far as there is too much.
    fn shrink(&mut self) {
        while self.held > CAPACITY && self.chunks.front().is_some_and(|chunk| chunk.seq <= self.taken) {
            if let Some(chunk) = self.chunks.pop_front() {
                self.held -= cost(&chunk);
                self.share.refund(cost(&chunk));
            }
        }
    }

    /// Whether the command has to wait, given whether it waits already.
    pub(in crate::supervisor) fn is_full(&self, waits: bool) -> bool {
        let (high, low) = if self.share.is_used_up() { (SCARCE, SCARCE / 2) } else { (CAPACITY, LOW) };
        self.unread > if waits { low } else { high }
    }

    /// What comes after chunk `after`, at most about `most` bytes of it but at least one chunk. It counts as read.
    pub(in crate::supervisor) fn read(&mut self, after: u64, most: usize) -> Result<Vec<Chunk>, Gone> {
        let first = self.chunks.front().map_or(self.last + 1, |chunk| chunk.seq);
        if after.saturating_add(1) < first {
            return Err(Gone { first });
        }
        let mut size = 0;
        let chunks: Vec<Chunk> = self
            .after(after)
            .take_while(|chunk| {
                let fits = size == 0 || size + chunk.data.len() <= most;
                size += chunk.data.len();
                fits
            })
            .cloned()
            .collect();
        if let Some(last) = chunks.last().map(|chunk| chunk.seq).filter(|last| *last > self.taken) {
            let taken: usize = self.after(self.taken).take_while(|chunk| chunk.seq <= last).map(cost).sum();
            self.unread -= taken;
            self.taken = last;
            self.shrink();
        }
        Ok(chunks)
    }

    fn after(&self, after: u64) -> impl Iterator<Item = &Chunk> {
        self.chunks.range(self.chunks.partition_point(|chunk| chunk.seq <= after)..)
    }

    /// The oldest chunk, which is then nobody's any more.
    pub(in crate::supervisor) fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        let cost = cost(&chunk);
        self.held -= cost;
        if chunk.seq > self.taken {
            self.unread -= cost;
            self.taken = chunk.seq;
        }
        self.share.refund(cost);
        Some(chunk)
    }

    /// What is kept, oldest first.
    pub(in crate::supervisor) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter()
    }

    /// What that costs.
    pub(in crate::supervisor) fn held(&self) -> usize {
        self.held
    }

    /// Puts output back that another ring had in chunk `seq`, in its order. Nobody has read it, as far as is known; but what is
    /// more than a ring keeps unread has been.
    pub(in crate::supervisor) fn put_back(&mut self, seq: u64, stream: Stream, mut data: Vec<u8>) {
        /// What may have been under way when a ring was full: in the runner, and in its socket.
        const AT_ONCE: usize = 3 << 20;
        if data.is_empty() {
            self.last = self.last.max(seq);
            return;
        }
        let cost = match self.chunks.back_mut() {
            Some(last) if last.seq == seq => {
                let cost = data.len();
                last.data.append(&mut data);
                cost
            }
            _ => {
                let chunk = Chunk { seq, stream, data };
                let cost = cost(&chunk);
                self.chunks.push_back(chunk);
                cost
            }
        };
        self.last = self.last.max(seq);
        self.put_back = self.last;
        self.held += cost;
        self.unread += cost;
        self.share.charge(cost);
        while self.held > CAPACITY + AT_ONCE {
            let _ = self.pop();
        }
    }

    /// Number of the last chunk; 0 where there is none.
    pub(in crate::supervisor) fn last(&self) -> u64 {
        self.last
    }

    /// Lets go of everything.
    pub(in crate::supervisor) fn clear(&mut self) {
        self.share.refund(self.held);
        self.chunks = VecDeque::new();
        (self.held, self.unread, self.taken) = (0, 0, self.last);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.share.refund(self.held);
    }
}

fn cost(chunk: &Chunk) -> usize {
    chunk.data.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Ring {
        Ring::new(Arc::new(Share::new(64 << 20)))
    }

    fn bytes(count: usize, from: usize) -> Vec<u8> {
        (from..from + count).map(|n| u8::try_from(n % 251).expect("below 251")).collect()
    }

    #[test]
    fn a_reader_gets_everything_once_whatever_its_pace() {
        let mut ring = ring();
        let (mut written, mut read, mut after) = (0, Vec::new(), 0);
        for step in 0..2000 {
            let size = 1 + step * 37 % 5000;
            if !ring.is_full(false) {
                ring.push(Stream::Stdout, bytes(size, written));
                written += size;
            }
            if step % 3 == 0 {
                for chunk in ring.read(after, 9000).expect("kept") {
                    assert_eq!(chunk.seq, after + 1);
                    after = chunk.seq;
                    read.extend(chunk.data);
                }
            }
        }
        while after < ring.last() {
            for chunk in ring.read(after, 1).expect("kept") {
                after = chunk.seq;
                read.extend(chunk.data);
            }
        }
        assert!(read == bytes(written, 0));
        assert!(ring.held <= CAPACITY);
    }

    #[test]
    fn a_reader_that_comes_back_gets_it_again() {
        let mut ring = ring();
        for n in 0..100 {
            ring.push(Stream::Stdout, vec![n; 1000]);
            let _ = ring.read(u64::from(n), usize::MAX);
        }
        let again = ring.read(60, usize::MAX).expect("kept");
        assert_eq!(again.first().map(|chunk| (chunk.seq, chunk.data[0])), Some((61, 60)));
        assert_eq!(again.len(), 40);
    }

    #[test]
    fn the_command_waits_until_there_is_room_again() {
        let mut ring = ring();
        while !ring.is_full(false) {
            ring.push(Stream::Stdout, vec![0; 60_000]);
        }
        assert!(ring.held < CAPACITY + 70_000);
        let first = ring.read(0, CAPACITY / 4).expect("kept").last().map_or(0, |chunk| chunk.seq);
        assert!(ring.is_full(true) && !ring.is_full(false));
        let _ = ring.read(first, CAPACITY / 2);
        assert!(!ring.is_full(true));
    }

    #[test]
    fn a_byte_costs_more_than_a_byte_and_everything_is_given_back() {
        let share = Arc::new(Share::new(64 << 20));
        let mut ring = Ring::new(Arc::clone(&share));
        let mut pushed = 0;
        while !ring.is_full(false) {
            let stream = if pushed % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            ring.push(stream, vec![b'x']);
            pushed += 1;
        }
        assert!(pushed <= CAPACITY / OVERHEAD);
        assert_eq!(share.used(), ring.held);
        drop(ring);
        assert_eq!(share.used(), 0);
    }

    #[test]
    fn what_is_not_kept_any_more_is_never_passed_over_in_silence() {
        let mut ring = ring();
        for _ in 0..60 {
            ring.push(Stream::Stdout, vec![0; 40_000]);
            let _ = ring.read(ring.last() - 1, 1).expect("it is kept");
        }
        let gone = ring.read(0, 1).expect_err("the first is gone");
        assert!(gone.first > 1);
        let again = ring.read(gone.first - 1, 1).expect("it is kept");
        assert_eq!(again[0].seq, gone.first);
        ring.clear();
        assert_eq!(ring.read(3, 1), Err(Gone { first: ring.last() + 1 }));
        assert_eq!(ring.read(ring.last(), 1), Ok(Vec::new()));
    }

    #[test]
    fn small_writes_become_one_chunk_until_somebody_reads() {
        let mut ring = ring();
        ring.push(Stream::Stdout, b"a".to_vec());
        ring.push(Stream::Stdout, b"b".to_vec());
        assert_eq!(ring.read(0, usize::MAX).map(|chunks| chunks.len()), Ok(1));
        ring.push(Stream::Stdout, b"c".to_vec());
        let next = ring.read(1, usize::MAX);
        assert_eq!(next, Ok(vec![Chunk { seq: 2, stream: Stream::Stdout, data: b"c".to_vec() }]));
    }

    #[test]
    fn one_that_was_put_back_reads_as_before() {
        let mut ring = ring();
        for n in 0..200 {
            let stream = if n % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
            ring.push(stream, bytes(1 + n * 131 % 20_000, n));
            if n % 5 == 0 {
                let _ = ring.read(ring.last().saturating_sub(1), usize::MAX).expect("it is kept");
            }
        }
        let mut again = Ring::new(Arc::new(Share::new(64 << 20)));
        ring.chunks().for_each(|chunk| again.put_back(chunk.seq, chunk.stream, chunk.data.clone()));
        let first = ring.chunks().next().map_or(0, |chunk| chunk.seq);
        assert_eq!(again.last(), ring.last());
        assert_eq!(again.read(first, usize::MAX), ring.read(first, usize::MAX));
        again.push(Stream::Stdout, b"more".to_vec());
        assert_eq!(again.last(), ring.last() + 1);
    }

    #[test]
    fn a_principal_past_its_share_waits_sooner() {
        let share = Arc::new(Share::new(100_000));
        let mut ring = Ring::new(share);
        ring.push(Stream::Stdout, vec![0; 60_000]);
        assert!(!ring.is_full(false));
        ring.push(Stream::Stdout, vec![0; 60_000]);
        assert!(ring.is_full(false));
    }
}
