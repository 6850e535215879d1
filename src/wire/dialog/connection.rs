//! A connection: bytes and descriptors in, requests out.

use std::marker::PhantomData;

use super::table::{Calls, Phase, row};
use crate::wire::lines::{LineError, Lines};
use crate::wire::rpc::{Code, Error, Hello, Id, PROTOCOL, Request};

/// Descriptors that a peer may send and that nobody asked for; with more it is not listened to any longer.
pub const UNASKED: u64 = 64;

/// Descriptors that may wait for the end of their line, and for those of the lines before it.
const WAITING: usize = 4;

/// What a peer sends, up to the point at which somebody must act on it. `F` is a descriptor: dropping one closes it.
#[derive(Debug)]
pub struct Dialog<C, F> {
    phase: Phase,
    lines: Lines,
    /// Bytes that came.
    offset: u64,
    /// Descriptors of lines that have not been taken, and with which byte they came.
    fds: Vec<(u64, F)>,
    unasked: u64,
    calls: PhantomData<fn() -> C>,
}

/// What comes next.
#[derive(Debug)]
pub enum Step<C, F> {
    /// Nothing, until more bytes do.
    Starved,
    /// The first request, as it should be. It is to be answered with a welcome.
    Hello {
        /// What the reply is called.
        id: Id,
        /// What was said.
        hello: Hello,
    },
    /// A request that may be made on this socket now.
    Call {
        /// What the reply is called.
        id: Id,
        /// What is asked.
        call: C,
        /// What came with it: no more than it names.
        fds: Vec<F>,
    },
    /// An error, to be answered; what follows is taken still.
    Refused {
        /// What the reply is called; `None` where that could not be read.
        id: Option<Id>,
        /// Why.
        error: Error,
    },
    /// An error, to be answered, with which the connection ends.
    Last {
        /// What the reply is called; `None` where that could not be read.
        id: Option<Id>,
        /// Why.
        error: Error,
    },
}

impl<C, F> Default for Dialog<C, F> {
    fn default() -> Self {
        Self {
            phase: Phase::Connected,
            lines: Lines::default(),
            offset: 0,
            fds: Vec::new(),
            unasked: 0,
            calls: PhantomData,
        }
    }
}

impl<C: Calls, F> Dialog<C, F> {
    /// Takes what came in one read. The kernel ends a read with the message that has descriptors, so that they came with
    /// its last byte; `cut` says that it dropped some.
    pub fn receive(&mut self, bytes: &[u8], fds: Vec<F>, cut: bool) {
        if self.phase == Phase::Ended {
            return;
        }
        self.lines.push(bytes);
        self.offset += bytes.len() as u64;
        if cut || self.fds.len() + fds.len() > WAITING {
            // More than any request has.
            self.unasked += fds.len() as u64 + u64::from(cut);
        } else {
            let at = self.offset.saturating_sub(1);
            self.fds.extend(fds.into_iter().map(|fd| (at, fd)));
        }
    }

    /// What comes next of what was taken.
    pub fn step(&mut self) -> Step<C, F> {
        if self.phase == Phase::Ended {
            return Step::Starved;
        }
        if self.unasked > UNASKED {
            let why = "too many descriptors came that nobody asked for";
            return self.last(None, Error::new(Code::Descriptors, why));
        }
        let (request, end) = match self.lines.next_line() {
            Ok(None) => return Step::Starved,
            Ok(Some(line)) => (Request::read(line.bytes), line.end),
            // After a line that could not be read nothing can be taken for what it seems.
            Err(error) => return self.unreadable(error),
        };
        let with = self.fds.iter().take_while(|(at, _)| *at < end).count();
        let mut fds: Vec<F> = self.fds.drain(..with).map(|(_, fd)| fd).collect();
        let taken = request.and_then(|request| {
            self.take(&request)
                .map(|taken| (request.id.clone(), taken))
                .map_err(|error| (Some(request.id), error))
        });
        let named = match &taken {
            Ok((_, Taken::Call(call))) => call.descriptors(),
            _ => 0,
        };
        if fds.len() > named {
            self.unasked += fds.len() as u64;
            fds.clear();
        }
        match taken {
            Ok((id, Taken::Hello(hello))) => {
                self.phase = Phase::Greeted;
                Step::Hello { id, hello }
            }
            Ok((id, Taken::Call(call))) => Step::Call { id, call, fds },
            Err((id, error)) if self.phase == Phase::Connected => self.last(id, error),
            Err((id, error)) => Step::Refused { id, error },
        }
    }

    /// Reads a request that the table permits now.
    fn take(&self, request: &Request) -> Result<Taken<C>, Error> {
        let row = row::<C>(&request.method);
        if row.map_or(Phase::Greeted, |row| row.phase) != self.phase {
            return Err(match self.phase {
                Phase::Connected => Error::new(Code::Hello, "the first request must be hello")
                    .hint("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"protocol\":1}}"),
                _ => Error::new(Code::Hello, "hello was said before"),
            });
        }
        if self.phase == Phase::Greeted {
            // A method without a row has no parameters either: reading it says what there is.
            return C::read(request).map(Taken::Call);
        }
        let hello: Hello = request.parameters()?;
        if hello.protocol != PROTOCOL {
            let why = format!("this server speaks version {PROTOCOL} of the protocol");
            return Err(Error::new(Code::Version, why));
        }
        Ok(Taken::Hello(hello))
    }

    fn unreadable(&mut self, error: LineError) -> Step<C, F> {
        self.last(None, error.into())
    }

    /// Ends the connection: nothing more is taken, and nothing is kept of what came.
    fn last(&mut self, id: Option<Id>, error: Error) -> Step<C, F> {
        self.phase = Phase::Ended;
        self.lines = Lines::default();
        self.fds = Vec::new();
        Step::Last { id, error }
    }

    /// How far the connection has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Bytes of the line that is being collected, once [`Self::step`] has nothing more.
    pub fn waiting(&self) -> usize {
        self.lines.waiting()
    }

    /// Whether it has stopped in the middle of a line.
    pub fn is_mid_line(&self) -> bool {
        self.lines.is_mid_line()
    }

    /// Descriptors that came and that nobody asked for.
    pub fn unasked(&self) -> u64 {
        self.unasked
    }

    /// Descriptors that wait for the end of their line.
    pub fn held(&self) -> usize {
        self.fds.len()
    }
}

/// A request that is permitted.
enum Taken<C> {
    Hello(Hello),
    Call(C),
}
