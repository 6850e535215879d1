//! The output of one command, numbered, in bounded memory.
//!
//! Everything here has been redacted. A reader names the last chunk that it has and gets what comes after it. What was
//! given to a reader stays for a while, so that one who lost its connection on the way can have it again. What nobody
//! has read yet is either *held*, and the command waits when there is too much of it, or its *ends* are kept and the
//! middle is let go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wire::runner::Stream;

/// Bytes that are kept of one command.
const CAPACITY: usize = 1 << 20;

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

/// What happens to output that nobody has read when there is too much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Keep {
    /// The command waits.
    All,
    /// The beginning and the end stay.
    Ends,
}

/// The output of a stream as far as it was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::supervisor) struct Whole {
    pub(in crate::supervisor) head: Vec<u8>,
    pub(in crate::supervisor) left_out: u64,
    pub(in crate::supervisor) tail: Vec<u8>,
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
    /// The beginning, or everything.
    head: VecDeque<Chunk>,
    /// What came after a beginning that may not grow any more.
    tail: VecDeque<Chunk>,
    keep: Keep,
    last: u64,
    /// The last chunk that a reader was given.
    taken: u64,
    /// Cost of everything that is kept, and of what nobody has read.
    held: usize,
    unread: usize,
    /// Bytes that were let go unread, of stdout and stderr.
    lost: [u64; 2],
    /// Bytes that were given out and are kept no longer.
    gone: bool,
    share: Arc<Share>,
}

impl Ring {
    pub(in crate::supervisor) fn new(keep: Keep, share: Arc<Share>) -> Self {
        Self {
            head: VecDeque::new(),
            tail: VecDeque::new(),
            keep,
            last: 0,
            taken: 0,
            held: 0,
            unread: 0,
            lost: [0; 2],
            gone: false,
            share,
        }
    }

    /// Adds output.
    pub(in crate::supervisor) fn push(&mut self, stream: Stream, mut data: Vec<u8>) {
        if data.is_empty() {
            return;
        }
        let taken = self.taken;
        let last = self.tail.back_mut().or(self.head.back_mut());
        if let Some(last) = last.filter(|last| last.seq > taken && last.stream == stream)
            && last.data.len() + data.len() <= PIECE
        {
            let cost = data.len();
            last.data.append(&mut data);
            self.add(cost);
        } else {
            self.last += 1;
            let cost = data.len() + OVERHEAD;
            let chunk = Chunk { seq: self.last, stream, data };
            if self.tail.is_empty() && self.unread + cost <= CAPACITY / 2 {
                self.head.push_back(chunk);
            } else {
                self.tail.push_back(chunk);
            }
            self.add(cost);
        }
        self.shrink();
    }

    fn add(&mut self, cost: usize) {
        self.held += cost;
        self.unread += cost;
        self.share.bytes.fetch_add(cost, Ordering::Relaxed);
    }

    /// Lets go of what was read and is past the capacity; then, where only the ends are kept, of the middle.
    fn shrink(&mut self) {
        while self.held > CAPACITY {
            let queue = if self.head.is_empty() { &mut self.tail } else { &mut self.head };
            if queue.front().is_none_or(|chunk| chunk.seq > self.taken) {
                break;
            }
            let Some(chunk) = queue.pop_front() else { break };
            self.gone = true;
            self.forget(&chunk);
        }
        while self.keep == Keep::Ends && self.unread > CAPACITY && self.tail.len() > 1 {
            let Some(chunk) = self.tail.pop_front() else { break };
            if chunk.seq > self.taken {
                self.unread -= cost(&chunk);
                self.lost[index(chunk.stream)] += chunk.data.len() as u64;
            }
            self.forget(&chunk);
        }
    }

    fn forget(&mut self, chunk: &Chunk) {
        self.held -= cost(chunk);
        self.share.bytes.fetch_sub(cost(chunk), Ordering::Relaxed);
    }

    /// Changes what happens when there is too much.
    pub(in crate::supervisor) fn keep(&mut self, keep: Keep) {
        self.keep = keep;
        self.shrink();
    }

    /// Whether the command has to wait, given whether it waits already.
    pub(in crate::supervisor) fn is_full(&self, waits: bool) -> bool {
        let (high, low) = if self.share.is_used_up() { (SCARCE, SCARCE / 2) } else { (CAPACITY, LOW) };
        self.keep == Keep::All && self.unread > if waits { low } else { high }
    }

    /// What comes after chunk `after`, at most about `most` bytes of it but at least one chunk; and the number of the
    /// first one that should have come first, where that is gone. It counts as read.
    pub(in crate::supervisor) fn read(&mut self, after: u64, most: usize) -> Vec<Chunk> {
        let mut size = 0;
        let chunks: Vec<Chunk> = self
            .after(after)
            .take_while(|chunk| {
                let first = size == 0;
                size += chunk.data.len().max(1);
                first || size <= most
            })
            .cloned()
            .collect();
        if let Some(last) = chunks.last().map(|chunk| chunk.seq).filter(|last| *last > self.taken) {
            let taken: usize = self.after(self.taken).take_while(|chunk| chunk.seq <= last).map(cost).sum();
            self.unread -= taken;
            self.taken = last;
            self.shrink();
        }
        chunks
    }

    fn after(&self, after: u64) -> impl Iterator<Item = &Chunk> {
        let start = |queue: &VecDeque<Chunk>| queue.partition_point(|chunk| chunk.seq <= after);
        self.head.range(start(&self.head)..).chain(self.tail.range(start(&self.tail)..))
    }

    /// Number of the last chunk; 0 where there is none.
    pub(in crate::supervisor) fn last(&self) -> u64 {
        self.last
    }

    /// Bytes that were let go before anybody read them.
    pub(in crate::supervisor) fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }

    /// Everything of a stream; `None` where a reader has had some of it and it is gone.
    pub(in crate::supervisor) fn whole(&self, stream: Stream) -> Option<Whole> {
        if self.gone {
            return None;
        }
        let of = |queue: &VecDeque<Chunk>| -> Vec<u8> {
            queue
                .iter()
                .filter(|chunk| chunk.stream == stream)
                .flat_map(|chunk| chunk.data.iter().copied())
                .collect()
        };
        let left_out = self.lost[index(stream)];
        let (mut head, mut tail) = (of(&self.head), of(&self.tail));
        if left_out == 0 {
            head.append(&mut tail);
        }
        Some(Whole { head, left_out, tail })
    }

    /// Lets go of everything.
    pub(in crate::supervisor) fn clear(&mut self) {
        self.share.bytes.fetch_sub(self.held, Ordering::Relaxed);
        self.gone |= !self.head.is_empty() || !self.tail.is_empty();
        self.head = VecDeque::new();
        self.tail = VecDeque::new();
        (self.held, self.unread, self.taken) = (0, 0, self.last);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.share.bytes.fetch_sub(self.held, Ordering::Relaxed);
    }
}

fn cost(chunk: &Chunk) -> usize {
    chunk.data.len() + OVERHEAD
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keep: Keep) -> Ring {
        Ring::new(keep, Arc::new(Share::new(64 << 20)))
    }

    fn bytes(count: usize, from: usize) -> Vec<u8> {
        (from..from + count).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn a_reader_gets_everything_once_whatever_its_pace() {
        let mut ring = ring(Keep::All);
        let (mut written, mut read, mut after) = (0, Vec::new(), 0);
        for step in 0..2000 {
            let size = 1 + step * 37 % 5000;
            if !ring.is_full(false) {
                ring.push(Stream::Stdout, bytes(size, written));
                written += size;
            }
            if step % 3 == 0 {
                for chunk in ring.read(after, 9000) {
                    assert_eq!(chunk.seq, after + 1);
                    after = chunk.seq;
                    read.extend(chunk.data);
                }
            }
        }
        while after < ring.last() {
            for chunk in ring.read(after, 1) {
                after = chunk.seq;
                read.extend(chunk.data);
            }
        }
        assert!(read == bytes(written, 0));
        assert!(ring.held <= CAPACITY);
    }

    #[test]
    fn a_reader_that_comes_back_gets_it_again() {
        let mut ring = ring(Keep::All);
        for n in 0..100 {
            ring.push(Stream::Stdout, vec![n; 1000]);
            let _ = ring.read(u64::from(n), usize::MAX);
        }
        let again = ring.read(60, usize::MAX);
        assert_eq!(again.first().map(|chunk| (chunk.seq, chunk.data[0])), Some((61, 60)));
        assert_eq!(again.len(), 40);
    }

    #[test]
    fn the_command_waits_until_there_is_room_again() {
        let mut ring = ring(Keep::All);
        while !ring.is_full(false) {
            ring.push(Stream::Stdout, vec![0; 60_000]);
        }
        assert!(ring.held < CAPACITY + 70_000);
        let first = ring.read(0, CAPACITY / 4).last().map_or(0, |chunk| chunk.seq);
        assert!(ring.is_full(true) && !ring.is_full(false));
        let _ = ring.read(first, CAPACITY / 2);
        assert!(!ring.is_full(true));
    }

    #[test]
    fn the_ends_are_kept_and_what_is_between_is_counted() {
        let mut ring = ring(Keep::Ends);
        let total = CAPACITY * 4 + 77;
        for (n, piece) in bytes(total, 0).chunks(10_007).enumerate() {
            ring.push(Stream::Stdout, piece.to_vec());
            ring.push(Stream::Stderr, vec![n as u8]);
            assert!(ring.held <= CAPACITY + PIECE + OVERHEAD);
        }
        assert!(!ring.is_full(false));
        let whole = ring.whole(Stream::Stdout).expect("nobody has read");
        assert!(whole.head == bytes(whole.head.len(), 0) && whole.head.len() > CAPACITY / 3);
        let from = total - whole.tail.len();
        assert!(whole.tail == bytes(whole.tail.len(), from) && whole.tail.len() > CAPACITY / 3);
        assert_eq!(whole.head.len() as u64 + whole.left_out + whole.tail.len() as u64, total as u64);
        let chunks = ring.read(0, usize::MAX);
        let gaps = chunks.windows(2).filter(|pair| pair[0].seq + 1 != pair[1].seq).count();
        assert_eq!(gaps, 1);
    }

    #[test]
    fn a_byte_costs_more_than_a_byte_and_everything_is_given_back() {
        let share = Arc::new(Share::new(64 << 20));
        let mut ring = Ring::new(Keep::Ends, Arc::clone(&share));
        for n in 0..100_000 {
            let stream = if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            ring.push(stream, vec![b'x']);
        }
        assert!(ring.head.len() + ring.tail.len() <= CAPACITY / OVERHEAD);
        assert_eq!(share.used(), ring.held);
        drop(ring);
        assert_eq!(share.used(), 0);
    }

    #[test]
    fn small_writes_become_one_chunk_until_somebody_reads() {
        let mut ring = ring(Keep::All);
        ring.push(Stream::Stdout, b"a".to_vec());
        ring.push(Stream::Stdout, b"b".to_vec());
        assert_eq!(ring.read(0, usize::MAX).len(), 1);
        ring.push(Stream::Stdout, b"c".to_vec());
        let next = ring.read(1, usize::MAX);
        assert_eq!(next, [Chunk { seq: 2, stream: Stream::Stdout, data: b"c".to_vec() }]);
    }

    #[test]
    fn a_principal_past_its_share_waits_sooner() {
        let share = Arc::new(Share::new(100_000));
        let mut ring = Ring::new(Keep::All, share);
        ring.push(Stream::Stdout, vec![0; 60_000]);
        assert!(!ring.is_full(false));
        ring.push(Stream::Stdout, vec![0; 60_000]);
        assert!(ring.is_full(false));
    }
}
