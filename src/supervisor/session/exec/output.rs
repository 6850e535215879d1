//! What a command writes: masked, kept within bounds, and read in numbered chunks or with the result.

use std::sync::Arc;

use super::{Exec, Inner};
use crate::supervisor::relay::Captured;
use crate::supervisor::session::ring::{self, Gone, Ring, Share};
use crate::wire::rpc::{self, Chunk, Collected, Data};
use crate::wire::runner::{Stream, ToRunner};

/// Where output goes.
#[derive(Debug)]
pub(super) enum Sink {
    /// To readers, in numbered chunks.
    Chunks(Ring),
    /// Into the result. What its principal has no memory for is left out.
    Collect { captured: [Captured; 2], share: Arc<Share> },
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

    pub(super) fn push(&self, inner: &mut Inner, stream: Stream, data: Vec<u8>) {
        if self.is_passed(stream) {
            inner.passed.push(stream, data);
        } else {
            inner.sink.push(stream, data);
        }
    }

    /// Takes output. Says whether redaction may hold something back.
    pub(in crate::supervisor::session) fn output(&self, stream: Stream, data: &[u8]) -> bool {
        let hold = self.change(|inner| {
            let mut out = Vec::with_capacity(data.len() + 64);
            inner.redact[index(stream)].push(data, &mut out);
            inner.partial = self.is_passed(stream) || matches!(inner.sink, Sink::Chunks(_));
            self.push(inner, stream, out);
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
                inner.redact[index(stream)].flush_partial(&mut out);
                self.push(inner, stream, out);
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
        self.change(|inner| inner.passed.clear());
        self.change(|inner| match &mut inner.sink {
            Sink::Chunks(ring) => ring.clear(),
            sink @ Sink::Collect { .. } => {
                let captured = [(); 2].map(|()| Captured::bounded(0, 0));
                *sink = Sink::Collect { captured, share: Arc::clone(&self.share) };
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
            Self::Collect { captured, share } => {
                let captured = &mut captured[index(stream)];
                let scarce = share.is_used_up();
                share.refund(captured.held());
                if scarce {
                    captured.skip(data.len());
                } else {
                    captured.push(&data);
                }
                share.charge(captured.held());
            }
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Self::Collect { captured, share } = self {
            share.refund(captured.iter().map(Captured::held).sum());
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

pub(super) fn collected(captured: Captured) -> Collected {
    let (head, left_out, tail) = captured.into_text_parts();
    Collected { data: data(head), left_out, tail: (left_out > 0).then(|| data(tail)) }
}
