//! Stdio through the protocol: terminals, and what a daemon does not take by descriptor.

use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::{Client, ClientError, Sent};
use crate::wire::rpc::{Chunk, Code, Data, Done, ExecId, OfExec, SessionId, Stream, WriteExec, Written};

/// Bytes of standard input in one request.
const PIECE: usize = 64 << 10;

/// Where the caller's stdio and the command's are joined.
#[derive(Debug)]
pub(super) struct Relay {
    session: SessionId,
    id: ExecId,
    /// The piece that the command has not taken yet.
    sent: Option<Sent>,
    /// Whether there is nothing more to send.
    ended: bool,
    /// Whether nobody reads what the command writes.
    unread: bool,
    /// The last chunk that was written.
    last: u64,
}

impl Relay {
    /// `stdin` is whether standard input goes this way, too.
    pub(super) fn new(session: &SessionId, id: &ExecId, stdin: bool) -> Self {
        Self { session: session.clone(), id: id.clone(), sent: None, ended: !stdin, unread: false, last: 0 }
    }

    /// The number of the last chunk that was written.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The reply to the last piece does not come any more. Whether there was one that is awaited.
    pub(super) fn give_up(&mut self) -> bool {
        self.sent.take().is_some()
    }

    /// Standard input, where more of it is wanted.
    pub(super) fn wants<'a>(&self, stdin: &'a std::io::Stdin) -> Option<BorrowedFd<'a>> {
        (self.sent.is_none() && !self.ended).then(|| stdin.as_fd())
    }

    /// Looks whether the last piece was taken.
    pub(super) fn settle(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let Some(sent) = self.sent else { return Ok(()) };
        match client.try_reply::<Written>(sent) {
            None => Ok(()),
            Some(Ok(_)) => {
                self.sent = None;
                Ok(())
            }
            // The command reads no more: it has closed its input, or has ended.
            Some(Err(ClientError::Refused(error)))
                if matches!(error.code, Code::StdinClosed | Code::NotRunning) =>
            {
                (self.sent, self.ended) = (None, true);
                Ok(())
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Sends what there is of standard input.
    pub(super) fn feed(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let mut piece = vec![0; PIECE];
        let count = match nix::unistd::read(std::io::stdin(), &mut piece) {
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(()),
            // A terminal that is gone has nothing more to say.
            Err(_) => 0,
        };
        piece.truncate(count);
        let (text, base64) = match Data::of(&piece) {
            Data::Text(text) => (Some(text), None),
            Data::Base64(base64) => (None, Some(base64)),
        };
        self.ended = count == 0;
        let params = WriteExec {
            session: Some(self.session.clone()),
            id: self.id.clone(),
            text,
            base64,
            end: self.ended,
        };
        self.sent = Some(client.submit("exec/write", &params, &[])?);
        Ok(())
    }

    /// Writes what the command has written. Where nobody reads it, the command is ended, as SIGPIPE would.
    pub(super) fn show(&mut self, chunk: Chunk, client: &mut Client) -> Result<(), ClientError> {
        // Another daemon may say again what the one before has said.
        if self.unread || chunk.seq <= self.last {
            return Ok(());
        }
        self.last = chunk.seq;
        let bytes = chunk.data.into_bytes().map_err(|error| ClientError::Strange(error.to_string()))?;
        let written = match chunk.stream {
            Stream::Stderr => std::io::stderr().write_all(&bytes),
            Stream::Stdout | Stream::Pty => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&bytes).and_then(|()| stdout.flush())
            }
        };
        if written.is_err() {
            self.unread = true;
            let of = OfExec { session: Some(self.session.clone()), id: self.id.clone() };
            match client.call(&of) {
                Ok(Done {}) | Err(ClientError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
