//! The client's side of the protocol: for the command line, for tests, and for the conformance run.
//!
//! Blocking and single-threaded: one socket, and signals where a command runs in the foreground. It trusts the daemon
//! with the caller's descriptors and says so only to a daemon of root or of the caller's own user.

mod again;
mod connection;
mod environment;
mod foreground;
mod relay;
pub mod replay;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub use connection::{Connection, Incoming};
pub use environment::variables;
pub use foreground::{Foreground, Ran, Stdio, Watch, Where};

use crate::wire::rpc::{
    Error, Event, Hello, Id, Method, Notification, PROTOCOL, Reply, Request, Socket, Welcome, Words,
};

/// The directory of the system's sockets.
pub const SYSTEM_SOCKETS: &str = "/run/execward";

/// How long a request may take that nobody asked to wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a daemon may listen, the system's first. `runtime` is `$XDG_RUNTIME_DIR`; one that is not absolute does not count.
pub fn socket_paths(socket: Socket, runtime: Option<&Path>) -> Vec<PathBuf> {
    let name = format!("{}.sock", socket.name());
    let own =
        runtime.filter(|runtime| runtime.is_absolute()).map(|runtime| runtime.join("execward").join(&name));
    [Some(Path::new(SYSTEM_SOCKETS).join(&name)), own].into_iter().flatten().collect()
}

/// Why a daemon could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon listens on {}", .0.display())]
    NoDaemon(PathBuf),
    /// The socket cannot be used.
    #[error("{}: {error}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// Somebody else's daemon: it would get the caller's command and descriptors.
    #[error("the daemon on {} belongs to uid {uid}, neither root nor the caller", path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The daemon went away.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon does not answer.
    #[error("the daemon did not answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// The socket failed.
    #[error("the connection to the daemon: {0}")]
    Broken(std::io::Error),
    /// What the daemon said cannot be read.
    #[error("the daemon said something that cannot be understood: {0}")]
    Strange(String),
    /// The daemon refused.
    #[error("{0}")]
    Refused(Error),
    /// Another daemon came after the one that was asked, and somebody else's.
    #[error("the daemon on {} belonged to uid {before}, and uid {now} listens there now", path.display())]
    Replaced {
        /// The socket.
        path: PathBuf,
        /// Whose the first was.
        before: u32,
        /// Whose this is.
        now: u32,
    },
    /// The daemon was restarted, and how the command goes on is not known.
    #[error("the daemon was restarted: {0}")]
    Lost(String),
    /// The caller's terminal or signals cannot be used.
    #[error("{what}: {errno}")]
    Terminal {
        /// What was being done.
        what: &'static str,
        /// The system's words.
        errno: nix::errno::Errno,
    },
}

impl ClientError {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> String {
        match self {
            Self::NoDaemon(_) => {
                "start one with `execward serve`, or name its socket with --socket".to_owned()
            }
            Self::Connect { error, .. } if error.kind() == std::io::ErrorKind::PermissionDenied => {
                "the operators' socket is for members of the group execward-operators".to_owned()
            }
            Self::Refused(error) => error.data.hint.clone(),
            Self::Lost(_) => {
                "look at what the command was to do, and run it anew where that is not done".to_owned()
            }
            _ => String::new(),
        }
    }

    /// Whether the connection is no more, so that another one may be made in its place.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Closed | Self::Broken(_))
    }
}

/// A connection on which `hello` has been said.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    path: PathBuf,
    /// The user of whoever listens.
    owner: u32,
    welcome: Welcome,
    /// How long a request may take that nobody asked to wait.
    patience: Duration,
    next: u64,
    replies: BTreeMap<u64, Result<Box<RawValue>, Error>>,
    events: VecDeque<Event>,
}

/// The number of a request whose reply is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent(u64);

impl Client {
    /// Connects to a socket and says hello. `check` is whether a daemon of another ordinary user is refused, as it should
    /// be wherever the path was not chosen by the caller.
    ///
    /// # Errors
    /// When nobody listens there ([`ClientError::NoDaemon`]), or nobody that may be asked.
    pub fn connect(path: &Path, check: bool) -> Result<Self, ClientError> {
        Self::connect_within(path, check, PATIENCE)
    }

    /// The same for whoever has less time: what listens there, and each request, may take no longer than this.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_within(path: &Path, check: bool, patience: Duration) -> Result<Self, ClientError> {
        Self::greet(path, patience, |uid| {
            if check && uid != 0 && uid != nix::unistd::geteuid().as_raw() {
                return Err(ClientError::Stranger { path: path.to_owned(), uid });
            }
            Ok(())
        })
    }

    /// Says hello to whoever listens, if its user may be asked.
    fn greet(
        path: &Path,
        patience: Duration,
        may: impl FnOnce(u32) -> Result<(), ClientError>,
    ) -> Result<Self, ClientError> {
        let connection = Connection::open(path, patience)?;
        let owner = connection.peer_uid()?;
        may(owner)?;
        Self::say_hello(connection, path, owner, patience)
    }

    fn say_hello(
        mut connection: Connection,
        path: &Path,
        owner: u32,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        let hello = Hello {
            protocol: PROTOCOL,
            client: Words::try_from(concat!("execward ", env!("CARGO_PKG_VERSION")).to_owned()).ok(),
        };
        let request = request(0, Hello::NAME, &hello)?;
        match connection.send(&request, &[]) {
            // Whoever may not connect is told why at once, and nothing of theirs is read: what was said is there all the same.
            Ok(()) | Err(ClientError::Closed) => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + patience;
        let reply = loop {
            match connection.receive(Some(deadline))? {
                Incoming::Line(line) => match read(&line)? {
                    Message::Reply(_, result) => break result,
                    Message::Event(_) => {}
                },
                Incoming::Nothing => return Err(ClientError::Silent(patience)),
                Incoming::End => return Err(ClientError::Closed),
            }
        };
        let welcome = understood(&reply.map_err(ClientError::Refused)?)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            owner,
            welcome,
            patience,
            next: 1,
            replies: BTreeMap::new(),
            events: VecDeque::new(),
        })
    }

    /// Connects once more to the same socket, where a daemon of the same user has come after the one that has gone. Replies that
    /// were awaited do not come any more.
    ///
    /// # Errors
    /// As [`Self::connect`]; [`ClientError::Replaced`] where it is another user's.
    fn reconnect(&mut self, patience: Duration) -> Result<(), ClientError> {
        let (path, before) = (&self.path, self.owner);
        let fresh = Self::greet(path, patience, |now| {
            if now == before {
                Ok(())
            } else {
                Err(ClientError::Replaced { path: path.clone(), before, now })
            }
        })?;
        // Numbers of requests go on: what was sent before is told from what is sent now.
        *self = Self { patience: self.patience, next: self.next.max(fresh.next), ..fresh };
        Ok(())
    }

    /// Connects to the socket that EXECWARD_SOCKET names, which is for agents, or else to the first of the usual sockets on
    /// which somebody listens: root's for everybody, then the caller's own.
    ///
    /// # Errors
    /// When none of them can be used; [`ClientError::NoDaemon`] where there is none.
    pub fn find(socket: Socket) -> Result<Self, ClientError> {
        Self::find_within(socket, PATIENCE)
    }

    /// The same for whoever has less time; see [`Self::connect_within`].
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_within(socket: Socket, patience: Duration) -> Result<Self, ClientError> {
        if let (Socket::Agent, Some(path)) = (socket, std::env::var_os("EXECWARD_SOCKET")) {
            return Self::connect_within(Path::new(&path), false, patience);
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let paths = socket_paths(socket, runtime.as_deref());
        let mut first = None;
        for path in paths {
            match Self::connect_within(&path, true, patience) {
                Err(ClientError::NoDaemon(path)) => {
                    first.get_or_insert(ClientError::NoDaemon(path));
                }
                other => return other,
            }
        }
        Err(first.unwrap_or(ClientError::Closed))
    }

    /// What the daemon said of itself and of the caller.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// When the daemon refuses ([`ClientError::Refused`]) or cannot be asked.
    pub fn call<M: Method>(&mut self, params: &M) -> Result<M::Result, ClientError> {
        self.ask(M::NAME, params)
    }

    /// Asks by the method's name, where several methods take the same parameters.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn ask<R: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<R, ClientError> {
        let sent = self.submit(method, params, &[])?;
        self.reply(sent, Some(self.patience))
    }

    /// Sends a request with descriptors, to whose reply [`Self::reply`] leads.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn submit(
        &mut self,
        method: &str,
        params: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Sent, ClientError> {
        let number = self.next;
        self.next += 1;
        self.connection.send(&request(number, method, params)?, fds)?;
        Ok(Sent(number))
    }

    /// Waits for a reply. Notifications that come before it are kept.
    ///
    /// # Errors
    /// As [`Self::call`]; [`ClientError::Silent`] where it has not come in time.
    pub fn reply<R: DeserializeOwned>(
        &mut self,
        sent: Sent,
        wait: Option<Duration>,
    ) -> Result<R, ClientError> {
        let deadline = wait.map(|wait| Instant::now() + wait);
        loop {
            if let Some(result) = self.replies.remove(&sent.0) {
                return understood(&result.map_err(ClientError::Refused)?);
            }
            if !self.take(deadline)? {
                return Err(ClientError::Silent(wait.unwrap_or_default()));
            }
        }
    }

    /// A reply, if it has come.
    fn try_reply<R: DeserializeOwned>(&mut self, sent: Sent) -> Option<Result<R, ClientError>> {
        let result = self.replies.remove(&sent.0)?;
        Some(result.map_err(ClientError::Refused).and_then(|result| understood(&result)))
    }

    /// The next notification; `None` where none has come in time.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn event(&mut self, wait: Option<Duration>) -> Result<Option<Event>, ClientError> {
        let deadline = wait.map(|wait| Instant::now() + wait);
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if !self.take(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Whether a notification, or a line that was not looked at, is there already: nothing on the socket tells of it.
    fn has_more(&self) -> bool {
        !self.events.is_empty() || self.connection.has_more()
    }

    /// Takes one message in; whether there was one.
    fn take(&mut self, deadline: Option<Instant>) -> Result<bool, ClientError> {
        match self.connection.receive(deadline)? {
            Incoming::Line(line) => match read(&line)? {
                Message::Reply(number, result) => {
                    self.replies.insert(number, result);
                }
                Message::Event(event) => self.events.push_back(*event),
            },
            Incoming::Nothing => return Ok(false),
            Incoming::End => return Err(ClientError::Closed),
        }
        Ok(true)
    }
}

/// A line from the daemon.
enum Message {
    Reply(u64, Result<Box<RawValue>, Error>),
    Event(Box<Event>),
}

fn read(line: &[u8]) -> Result<Message, ClientError> {
    let strange = |error: serde_json::Error| ClientError::Strange(error.to_string());
    if let Ok(reply) = serde_json::from_slice::<Reply>(line) {
        return match (reply.id, reply.result) {
            (Some(Id::Number(number)), result) => Ok(Message::Reply(number, result)),
            // About a line of ours that could not be read: no request of this client is meant to be such a line.
            (None, Err(error)) => Err(ClientError::Refused(error)),
            (id, _) => {
                Err(ClientError::Strange(format!("a reply to the request {id:?}, which was not made")))
            }
        };
    }
    let notification: Notification = serde_json::from_slice(line).map_err(strange)?;
    Event::read(&notification).map(|event| Message::Event(Box::new(event))).map_err(strange)
}

fn request(number: u64, method: &str, params: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    let strange = |error: serde_json::Error| ClientError::Strange(error.to_string());
    let request = Request::new(Id::Number(number), method, params).map_err(strange)?;
    let mut line = serde_json::to_vec(&request).map_err(strange)?;
    line.push(b'\n');
    Ok(line)
}

fn understood<R: DeserializeOwned>(result: &RawValue) -> Result<R, ClientError> {
    serde_json::from_str(result.get()).map_err(|error| ClientError::Strange(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_asked_first_and_a_relative_directory_never() {
        let paths = socket_paths(Socket::Agent, Some(Path::new("/run/user/1000")));
        assert_eq!(
            paths,
            [Path::new("/run/execward/agent.sock"), Path::new("/run/user/1000/execward/agent.sock")]
        );
        assert_eq!(socket_paths(Socket::Operator, Some(Path::new("tmp"))).len(), 1);
        assert_eq!(socket_paths(Socket::Operator, None), [Path::new("/run/execward/operator.sock")]);
    }

    #[test]
    fn nobody_there_is_told_from_trouble() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("agent.sock");
        assert!(matches!(Client::connect(&missing, true), Err(ClientError::NoDaemon(_))));
        drop(std::os::unix::net::UnixListener::bind(&missing).unwrap());
        assert!(matches!(Client::connect(&missing, true), Err(ClientError::NoDaemon(_))), "a stale socket");
        assert!(matches!(
            Client::connect(directory.path(), true),
            Err(ClientError::Connect { .. } | ClientError::NoDaemon(_))
        ));
    }

    #[test]
    fn who_is_turned_away_before_saying_anything_is_told_why() {
        use std::io::Write;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let connection = Connection::open(&path, PATIENCE).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1002,\"message\":\"m\",\"data\":{\"kind\":\"not-permitted\",\"reason\":\"r\"}}}\n").unwrap();
        drop(stream);
        let error = Client::say_hello(connection, &path, 0, PATIENCE).unwrap_err();
        assert!(
            matches!(&error, ClientError::Refused(error) if error.code == crate::wire::rpc::Code::NotPermitted),
            "{error}"
        );
    }

    #[test]
    fn replies_come_in_any_order_between_notifications() {
        use std::io::{BufRead, BufReader, Write};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut stream = stream;
            assert!(lines.next().unwrap().unwrap().contains(r#""method":"hello""#));
            let welcome = r#"{"protocol":1,"server":{"name":"x","version":"1"},"principal":{"uid":1,"gid":1,"name":"","new":1},"role":"agent","separation":"uid","limits":{"frame":1,"depth":1,"command":1,"sessions":1,"execs":1,"requests":1,"output":1},"methods":[],"new":7}"#;
            writeln!(stream, r#"{{"jsonrpc":"2.0","id":0,"result":{welcome}}}"#).unwrap();
            lines.next();
            lines.next();
            stream.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"new/thing\",\"params\":{}}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"res").unwrap();
            stream.write_all(b"ult\":{}}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1100,\"message\":\"m\",\"data\":{\"kind\":\"unknown-session\",\"reason\":\"r\"}}}\n").unwrap();
        });
        let mut client = Client::connect(&path, true).unwrap();
        assert_eq!(client.welcome().separation, crate::wire::rpc::Separation::Uid);
        let nothing = crate::wire::rpc::Nothing {};
        let first = client.submit("session/list", &nothing, &[]).unwrap();
        let second = client.submit("session/list", &nothing, &[]).unwrap();
        let wait = Some(Duration::from_secs(5));
        let error = client.reply::<serde_json::Value>(first, wait).unwrap_err();
        assert!(
            matches!(error, ClientError::Refused(error) if error.code == crate::wire::rpc::Code::UnknownSession)
        );
        client.reply::<crate::wire::rpc::Done>(second, wait).unwrap();
        assert_eq!(client.event(wait).unwrap(), Some(Event::Other("new/thing".to_owned())));
        server.join().unwrap();
        assert!(matches!(client.event(wait), Err(ClientError::Closed)));
    }
}
