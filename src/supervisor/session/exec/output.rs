//! What a command writes: masked, kept within bounds, and read in numbered chunks or with the result.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::whole::{Shelf, Whole};
use super::{Exec, Inner};
use crate::redact::Mark;
use crate::supervisor::relay::Captured;
use crate::supervisor::session::diary::Entry;
use crate::supervisor::session::ring::{self, Gone, Ring, Share};
use crate::wire::rpc::{self, Chunk, Collected, Data};
use crate::wire::runner::{Stream, ToRunner};

/// Where output goes.
#[derive(Debug)]
pub(super) enum Sink {
    /// To readers, in numbered chunks.
    Chunks(Ring),
    /// Into the result.
    Collect(Box<[Kept; 2]>),
}

/// What is kept of one stream for the result. What its principal has no memory for is left out, and all of it is on disk
/// from the moment that something is: under a name, where another supervisor may go on with it.
#[derive(Debug)]
pub(super) struct Kept {
    captured: Captured,
    written: u64,
    whole: Option<Result<Whole, String>>,
    name: Option<PathBuf>,
    share: Arc<Share>,
    shelf: Arc<Shelf>,
}

impl Kept {
    pub(super) fn new(
        ends: (usize, usize),
        share: &Arc<Share>,
        shelf: &Arc<Shelf>,
        name: Option<PathBuf>,
    ) -> Self {
        Self {
            captured: Captured::bounded(ends.0, ends.1),
            written: 0,
            whole: None,
            name,
            share: Arc::clone(share),
            shelf: Arc::clone(shelf),
        }
    }

    fn push(&mut self, data: &[u8]) {
        let scarce = self.share.is_used_up();
        if self.whole.is_none() && (scarce || self.captured.room() < data.len()) {
            self.whole = Some(Whole::begin(&self.shelf, self.name.as_deref(), &self.captured.all()));
        }
        if let Some(Ok(whole)) = &mut self.whole {
            whole.push(data);
        }
        self.written += data.len() as u64;
        self.share.refund(self.captured.held());
        if scarce {
            self.captured.skip(data.len());
        } else {
            self.captured.push(data);
        }
        self.share.charge(self.captured.held());
    }

    /// Takes what another supervisor had of it, which is on disk where it was to be.
    fn put_back(&mut self, data: &[u8]) {
        self.written += data.len() as u64;
        self.share.refund(self.captured.held());
        self.captured.push(data);
        self.share.charge(self.captured.held());
    }

    /// Output was left out by another supervisor.
    fn skipped(&mut self, bytes: u64) {
        self.written += bytes;
        self.captured.skip(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Everything was put back: goes on with what is on disk, where anything is left out.
    fn go_on(&mut self) {
        if self.left_out() > 0 {
            self.whole = Some(match &self.name {
                Some(name) => Whole::again(&self.shelf, name, self.written),
                None => Err("it was not kept when execward was restarted".to_owned()),
            });
        }
    }

    /// Bytes that the result leaves out.
    pub(super) fn left_out(&self) -> u64 {
        self.captured.left_out()
    }

    /// Bytes from the beginning that can be had, and why not all, if so.
    fn had(&self) -> (u64, Option<String>) {
        match &self.whole {
            None => (self.written, None),
            Some(Ok(whole)) => {
                let (kept, left_out) = (whole.kept(), self.left_out());
                let lost = whole.missing().map(|why| self.lost(kept, left_out, why));
                (kept, lost)
            }
            Some(Err(why)) => {
                let (head, left_out, _) = self.captured.clone().into_parts();
                let head = head.len() as u64;
                (head, Some(self.lost(head, left_out, why)))
            }
        }
    }

    /// Which bytes cannot be had: what lies behind `kept`, and before the end that the result has.
    fn lost(&self, kept: u64, left_out: u64, why: &str) -> String {
        let (head, ..) = self.captured.clone().into_parts();
        let end = (head.len() as u64 + left_out).max(kept);
        format!("{why}: the bytes from {kept} to {end} are lost")
    }

    /// Why not all of it can be had.
    pub(super) fn missing(&self) -> Option<String> {
        self.had().1
    }

    pub(super) fn collected(&self) -> Collected {
        let (head, left_out, tail) = self.captured.clone().into_text_parts();
        Collected { data: data(head), left_out, tail: (left_out > 0).then(|| data(tail)) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.share.refund(self.captured.held());
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(in crate::supervisor) struct Output {
    pub(in crate::supervisor) chunks: Vec<Chunk>,
    pub(in crate::supervisor) exited: bool,
    pub(in crate::supervisor) closed: bool,
}

impl Exec {
    pub(super) fn is_passed(&self, stream: Stream) -> bool {
        self.passed[1 + index(stream)]
    }

    pub(super) fn push(&self, inner: &mut Inner, stream: Stream, data: Vec<u8>, mark: Mark) {
        let written = inner.diary.is_some() && !self.is_passed(stream);
        let noted = if written { data.clone() } else { Vec::new() };
        if self.is_passed(stream) {
            inner.passed.push(stream, data);
        } else {
            inner.sink.push(stream, data);
        }
        self.note_output(inner, stream, noted, mark);
    }

    /// Takes output. Says whether redaction may hold something back.
    pub(in crate::supervisor::session) fn output(&self, stream: Stream, data: &[u8]) -> bool {
        let hold = self.change(|inner| {
            let mut out = Vec::with_capacity(data.len() + 64);
            inner.redact[index(stream)].push(data, &mut out);
            inner.partial = self.is_passed(stream) || matches!(inner.sink, Sink::Chunks(_));
            let mark = inner.redact[index(stream)].mark();
            self.push(inner, stream, out, mark);
            inner.must_hold()
        });
        if hold {
            self.orders.send(ToRunner::Hold { id: self.number, held: true });
        }
        self.inner().partial
    }

    /// Nothing came for a while: lets out what redaction holds back but need not.
    pub(in crate::supervisor::session) fn idle(&self) {
        self.change(|inner| {
            inner.partial = false;
            for stream in [Stream::Stdout, Stream::Stderr] {
                let mut out = Vec::new();
                let redact = &mut inner.redact[index(stream)];
                redact.flush_partial(&mut out);
                let mark = redact.mark();
                self.push(inner, stream, out, mark);
            }
        });
    }

    /// Output that waits for a reader need not wait any more: what is left of it is what the pipes hold.
    pub(in crate::supervisor::session) fn unhold_for_good(&self) {
        let held = {
            let mut inner = self.inner();
            inner.unheld_for_good = true;
            std::mem::take(&mut inner.held)
        };
        if held {
            self.orders.send(ToRunner::Hold { id: self.number, held: false });
        }
    }

    /// Output after chunk `after`; waits where there is none yet and none has ended.
    ///
    /// # Errors
    /// When it is not kept, or not in chunks.
    pub(in crate::supervisor) async fn read(&self, after: u64, most: usize) -> Result<Output, rpc::Error> {
        let (output, unhold) = self
            .until(|inner| {
                let Sink::Chunks(ring) = &mut inner.sink else {
                    let why = "the output of this command is not kept in chunks";
                    return Some(Err(rpc::Error::new(rpc::Code::NotReadable, why)));
                };
                let chunks = match ring.read(after, most) {
                    Ok(chunks) => chunks,
                    Err(Gone { first }) => {
                        let why = format!("the output after {after} is not kept any more");
                        let hint = format!("what is kept begins with {first}: read after {}", first - 1);
                        return Some(Err(rpc::Error::new(rpc::Code::Gone, why).hint(hint)));
                    }
                };
                let last = chunks.last().map_or(after, |chunk| chunk.seq);
                let exited = inner.report.is_some();
                let closed = inner.closed && last >= ring.last();
                if chunks.is_empty() && !closed {
                    return None;
                }
                let unhold = inner.held && !ring.is_full(true) && !inner.passed.is_full(true);
                inner.held &= !unhold;
                let chunks = chunks
                    .into_iter()
                    .map(|chunk| Chunk {
                        seq: chunk.seq,
                        stream: if self.kind.terminal { rpc::Stream::Pty } else { chunk.stream.into() },
                        data: data(chunk.data),
                    })
                    .collect();
                Some(Ok((Output { chunks, exited, closed }, unhold)))
            })
            .await?;
        if unhold {
            self.orders.send(ToRunner::Hold { id: self.number, held: false });
        }
        Ok(output)
    }

    /// A part of its collected output.
    ///
    /// # Errors
    /// When it is not collected, or cannot be read from the disk.
    pub(in crate::supervisor) async fn range(
        &self,
        asked: &rpc::RangeExec,
    ) -> Result<rpc::Range, rpc::Error> {
        let failed = |error: std::io::Error| {
            rpc::Error::new(rpc::Code::Internal, format!("the output cannot be read from the disk: {error}"))
        };
        let (written, kept, missing, from) = {
            let inner = self.inner();
            let Sink::Collect(streams) = &inner.sink else {
                let why = "the output of this command is not collected";
                return Err(rpc::Error::new(rpc::Code::NotReadable, why));
            };
            let stream = match asked.stream {
                rpc::Stream::Stdout | rpc::Stream::Pty => &streams[0],
                rpc::Stream::Stderr => &streams[1],
            };
            let (kept, missing) = stream.had();
            let from = match &stream.whole {
                Some(Ok(whole)) => Ok(whole.reader().map_err(failed)?),
                _ => Err(stream.captured.all()),
            };
            (stream.written, kept, missing, from)
        };
        let offset = asked.offset.min(kept);
        let size = usize::try_from(kept - offset).unwrap_or(usize::MAX).min(asked.max_bytes.size());
        let mut bytes = match from {
            Err(all) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                all.get(start..).unwrap_or_default().iter().copied().take(size).collect()
            }
            Ok(file) => {
                let read = move || {
                    let mut bytes = vec![0; size];
                    file.read_exact_at(&mut bytes, offset).map(|()| bytes)
                };
                let read = tokio::task::spawn_blocking(read).await;
                read.map_err(std::io::Error::other).and_then(|read| read).map_err(failed)?
            }
        };
        // What follows is there for the next request: a character is not cut by the end of this one.
        if offset + (bytes.len() as u64) < written {
            let end = bytes.utf8_chunks().last().map_or(0, |last| last.invalid().len());
            if end < 4 && end < bytes.len() {
                bytes.truncate(bytes.len() - end);
            }
        }
        Ok(rpc::Range { data: data(bytes), offset, written, kept, missing })
    }

    /// The next output for a descriptor; `None` when there will be none.
    pub(in crate::supervisor::session) async fn for_descriptors(&self) -> Option<ring::Chunk> {
        let (chunk, unhold) = self
            .until(|inner| match inner.passed.pop() {
                None if inner.ended.is_some() => Some((None, false)),
                None => None,
                chunk => {
                    let full = matches!(&inner.sink, Sink::Chunks(ring) if ring.is_full(true));
                    let unhold = inner.held && !full && !inner.passed.is_full(true);
                    inner.held &= !unhold;
                    Some((chunk, unhold))
                }
            })
            .await;
        if unhold {
            self.orders.send(ToRunner::Hold { id: self.number, held: false });
        }
        chunk
    }

    /// Lets go of its output.
    pub(in crate::supervisor::session) fn forget(&self) {
        self.tear_up();
        self.change(|inner| inner.passed.clear());
        self.change(|inner| match &mut inner.sink {
            Sink::Chunks(ring) => ring.clear(),
            Sink::Collect(streams) => {
                for stream in streams.iter_mut() {
                    if let Some(name) = &stream.name {
                        // Nearly none has one.
                        let _ = std::fs::remove_file(name);
                    }
                    *stream = Kept::new((0, 0), &stream.share.clone(), &stream.shelf.clone(), None);
                }
            }
        });
    }
}

impl Inner {
    /// Whether the runner must be told now to leave the output where it is.
    fn must_hold(&mut self) -> bool {
        let full = matches!(&self.sink, Sink::Chunks(ring) if ring.is_full(false));
        let hold = !self.held && !self.unheld_for_good && (full || self.passed.is_full(false));
        self.held |= hold;
        hold
    }
}

impl Sink {
    fn push(&mut self, stream: Stream, data: Vec<u8>) {
        match self {
            Self::Chunks(ring) => ring.push(stream, data),
            Self::Collect(streams) => streams[index(stream)].push(&data),
        }
    }

    /// The number of the last chunk.
    pub(super) fn last(&self) -> u64 {
        match self {
            Self::Chunks(ring) => ring.last(),
            Self::Collect(_) => 0,
        }
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Chunks(ring) => ring.held(),
            Self::Collect(streams) => streams.iter().map(|stream| stream.captured.held()).sum(),
        }
    }

    /// Everything that is kept, as it can be put back.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let output = |seq, stream, data| Entry::Output { seq, stream, mark: None, data };
        match self {
            Self::Chunks(ring) => {
                ring.chunks().map(|chunk| output(chunk.seq, chunk.stream, chunk.data.clone())).collect()
            }
            Self::Collect(streams) => [Stream::Stdout, Stream::Stderr]
                .into_iter()
                .zip(streams.iter())
                .flat_map(|(stream, kept)| {
                    let (head, left_out, tail) = kept.captured.clone().into_parts();
                    let skipped = Entry::Skipped { stream, bytes: left_out };
                    [output(0, stream, head), skipped, output(0, stream, tail)]
                })
                .collect(),
        }
    }

    /// Puts output back that was kept before.
    pub(super) fn put_back(&mut self, seq: u64, stream: Stream, data: Vec<u8>) {
        match self {
            Self::Chunks(ring) => ring.put_back(seq, stream, data),
            Self::Collect(streams) => streams[index(stream)].put_back(&data),
        }
    }

    /// Everything was put back.
    pub(super) fn go_on(&mut self) {
        if let Self::Collect(streams) = self {
            streams.iter_mut().for_each(Kept::go_on);
        }
    }

    /// Output was left out before.
    pub(super) fn skipped(&mut self, stream: Stream, bytes: u64) {
        if let Self::Collect(streams) = self
            && bytes > 0
        {
            streams[index(stream)].skipped(bytes);
        }
    }
}

pub(super) fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

/// Bytes for JSON, without a copy where they are text.
fn data(bytes: Vec<u8>) -> Data {
    match String::from_utf8(bytes) {
        Ok(text) => Data::Text(text),
        Err(error) => Data::of(error.as_bytes()),
    }
}
