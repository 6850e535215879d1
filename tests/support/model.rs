//! A server of models on loopback, which does what a test wants: it limits, hangs, breaks off, talks nonsense, recovers.
//!
//! The unit tests of `models` use this file as well.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a server does with a request.
#[allow(dead_code, reason = "each of the two crates that use this file uses a part")]
pub enum Reply {
    /// Status, further fields, body.
    Answer(u16, &'static str, String),
    /// These bytes, whatever they are.
    Bytes(Vec<u8>),
    /// Nothing, until the other side goes.
    Hang,
    /// Closes at once, with what was sent unread: the other side gets a reset.
    Reset,
    /// A body that never ends.
    Endless,
}

/// A request as the server saw it.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "as above")]
pub struct Seen {
    pub path: String,
    /// In lower case.
    pub fields: String,
    pub body: serde_json::Value,
    /// The body as it came.
    pub text: String,
}

#[allow(dead_code, reason = "as above")]
pub struct Server {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections that are over.
    pub gone: Arc<AtomicUsize>,
}

#[allow(dead_code, reason = "as above")]
impl Server {
    /// Serves until the test ends.
    pub fn start(reply: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (seen, gone): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicUsize>) = Default::default();
        let (all, left, reply) = (Arc::clone(&seen), Arc::clone(&gone), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, left, reply) = (Arc::clone(&all), Arc::clone(&left), Arc::clone(&reply));
                std::thread::spawn(move || {
                    let _ = serve(stream, &all, &*reply);
                    left.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { url, seen, gone }
    }

    pub fn always(status: u16, fields: &'static str, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_, _| Reply::Answer(status, fields, body.clone()))
    }

    pub fn says(word: &str) -> Self {
        Self::always(200, "", &openai(word))
    }

    pub fn count(&self) -> usize {
        self.seen.lock().expect("not poisoned").len()
    }
}

fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Seen>>,
    reply: &dyn Fn(&Seen, usize) -> Reply,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut fields = String::new();
    while reader.read_line(&mut fields)? > 2 {}
    let fields = fields.to_ascii_lowercase();
    let length = fields.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let (text, body) = (String::from_utf8_lossy(&body).into_owned(), serde_json::from_slice(&body)?);
    let seen = Seen { path, fields, body, text };
    let number = {
        let mut all = all.lock().expect("not poisoned");
        all.push(seen.clone());
        all.len()
    };
    match reply(&seen, number) {
        Reply::Answer(status, fields, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())?;
        }
        Reply::Bytes(bytes) => stream.write_all(&bytes)?,
        Reply::Hang => drop(reader.read(&mut [0])?),
        Reply::Reset => nix::sys::socket::setsockopt(
            &stream,
            nix::sys::socket::sockopt::Linger,
            &libc::linger { l_onoff: 1, l_linger: 0 },
        )?,
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 X\r\n\r\n")?;
            while stream.write_all(&[b' '; 65536]).is_ok() {}
        }
    }
    Ok(())
}

/// An answer in OpenAI's form.
pub fn openai(word: &str) -> String {
    serde_json::json!({ "choices": [{ "message": { "content": word } }] }).to_string()
}
