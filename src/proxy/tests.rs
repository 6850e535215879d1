use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::resolve::ResolveError;

/// Answers each name with its addresses in turn, the last one for ever.
#[derive(Debug, Default)]
struct Table(Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>);

impl Resolver for Table {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut table = self.0.lock().unwrap();
        match table.get_mut(name) {
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
            None => Err(ResolveError { name: name.to_owned(), why: "there is no such name".to_owned() }),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Decided(Decision),
    Ended(Ended),
}

#[derive(Debug, Clone, Default)]
struct Notes {
    events: Arc<Mutex<Vec<Event>>>,
    veto: bool,
    allow: Allowlist,
}

impl Witness for Notes {
    fn permitted(&self) -> Allowlist {
        self.allow.clone()
    }

    async fn decided(&self, decision: Decision) -> bool {
        self.events.lock().unwrap().push(Event::Decided(decision));
        !self.veto
    }

    fn ended(&self, ended: Ended) {
        self.events.lock().unwrap().push(Event::Ended(ended));
    }
}

struct Stand {
    address: SocketAddr,
    notes: Notes,
    serving: JoinHandle<()>,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn short() -> Patience {
    Patience { head: Duration::from_millis(300), dial: Duration::from_secs(5), idle: Duration::from_secs(60) }
}

async fn stand(allow: &[String], names: &[(&str, &[&[&str]])], patience: Patience, veto: bool) -> Stand {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let allow = Allowlist::new(allow.iter().map(|entry| entry.parse().unwrap()).collect());
    let notes = Notes { veto, allow, ..Notes::default() };
    let table = names
        .iter()
        .map(|(name, answers)| {
            let answers = answers.iter().map(|list| list.iter().map(|it| it.parse().unwrap()).collect());
            ((*name).to_owned(), answers.collect())
        })
        .collect();
    let proxy = Proxy {
        resolver: Arc::new(Table(Mutex::new(table))),
        witness: notes.clone(),
        patience,
        places: Arc::new(Semaphore::new(1000)),
    };
    Stand { address, notes, serving: tokio::spawn(proxy.serve(listener, std::future::pending())) }
}

impl Stand {
    /// Sends bytes and reads everything that comes back.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // It may have answered and closed before it was all sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn decisions(&self) -> Vec<Decision> {
        let events = self.notes.events.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Decided(decision) => Some(decision.clone()),
                Event::Ended(_) => None,
            })
            .collect()
    }

    /// The first end, once it is there.
    async fn end(&self) -> Ended {
        loop {
            let found = self.notes.events.lock().unwrap().iter().find_map(|event| match event {
                Event::Ended(ended) => Some(ended.clone()),
                Event::Decided(_) => None,
            });
            if let Some(ended) = found {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A server that keeps what each connection says up to the end of its head (and the chunk that came with it), and answers.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

async fn server(answer: &'static str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let index = {
                let mut heard = hears.lock().unwrap();
                heard.push(String::new());
                heard.len() - 1
            };
            let mut buffer = vec![0; 64 << 10];
            let mut answered = false;
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let whole = {
                    let mut heard = hears.lock().unwrap();
                    heard[index].push_str(&String::from_utf8_lossy(&buffer[..count]));
                    heard[index].contains("\r\n\r\n")
                };
                if whole && !answered {
                    answered = true;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        }
    });
    Server { port, heard }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kept: 1\r\nKeep-Alive: x\r\n\r\nhello";

#[tokio::test]
async fn a_request_is_passed_on_and_told() {
    let server = server(OK).await;
    let entry = format!("127.0.0.1:{}", server.port);
    let name = format!("good.test:{}", server.port);
    let stand =
        stand(&[entry.clone(), name.clone()], &[("good.test", &[&["127.0.0.1"]])], short(), false).await;
    let answer = stand
        .say(
            format!(
                "POST http://GOOD.test.:{}/a?key=1 HTTP/1.1\r\nHost: {name}\r\nProxy-Authorization: secret\r\nConnection: X-Hop, \
                 Content-Length\r\nX-Hop: 1\r\nX-Stays: 1\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nbody",
                server.port
            )
            .as_bytes(),
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
    let lower = answer.to_lowercase();
    assert!(
        lower.contains("x-kept: 1") && lower.contains("connection: close") && !lower.contains("keep-alive"),
        "{answer}"
    );
    let heard = server.heard.lock().unwrap()[0].to_lowercase();
    assert!(heard.starts_with("post /a?key=1 http/1.1\r\n") && heard.ends_with("\r\n\r\nbody"), "{heard}");
    for gone in ["secret", "x-hop", "upgrade", "keep-alive"] {
        assert!(!heard.contains(gone), "{gone} in {heard}");
    }
    for there in [format!("host: {name}\r\n"), "x-stays: 1\r\n".into(), "content-length: 4\r\n".into()] {
        assert!(heard.contains(&there), "{there} not in {heard}");
    }
    let decision = stand.decisions().remove(0);
    assert_eq!((decision.method.as_str(), decision.target.as_str()), ("POST", name.as_str()));
    assert_eq!((decision.path.as_deref(), decision.refused), (Some("/a?key=1"), None));
    assert_eq!(decision.addresses, [entry.parse().unwrap()]);
    let ended = stand.end().await;
    assert_eq!(
        (ended.connection, ended.address, ended.error.as_deref()),
        (decision.connection, Some(entry.parse().unwrap()), None)
    );
    assert!(ended.sent > 100 && ended.received == answer.len() as u64, "{ended:?}");
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_counts_them() {
    let server = server("echo").await;
    let entry = format!("127.0.0.1:{}", server.port);
    let stand = stand(std::slice::from_ref(&entry), &[], short(), false).await;
    let mut stream = TcpStream::connect(stand.address).await.unwrap();
    // Data behind the head, before the answer: it belongs into the tunnel.
    stream
        .write_all(format!("CONNECT {entry} HTTP/1.1\r\nHost: {entry}\r\n\r\nearly").as_bytes())
        .await
        .unwrap();
    let mut head = [0; 19];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK\r\n\r\n", "{:?}", String::from_utf8_lossy(&head));
    stream.write_all(b" late\r\n\r\n").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"echo");
    assert_eq!(server.heard.lock().unwrap()[0], "early late\r\n\r\n");
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut echo).await.unwrap(), 0);
    let ended = stand.end().await;
    assert_eq!(ended.error, None);
    assert_eq!(ended.received, 19 + 4);
}

/// Whatever is asked for in whatever spelling: the server on the loopback interface hears nothing.
#[tokio::test]
async fn no_spelling_reaches_a_place_that_is_not_named() {
    let server = server(OK).await;
    let port = server.port;
    let names: &[(&str, &[&[&str]])] = &[
        ("inside.test", &[&["127.0.0.1"]]),
        ("inside6.test", &[&["::1"]]),
        ("mapped.test", &[&["::ffff:127.0.0.1"]]),
        ("translated.test", &[&["64:ff9b::7f00:1"]]),
        ("metadata.test", &[&["169.254.169.254"]]),
        ("any.test", &[&["0.0.0.0"]]),
        ("evilgood.test", &[&["127.0.0.1"]]),
        ("localhost", &[&["127.0.0.1"]]),
    ];
    let allow: Vec<String> = [
        "inside.test",
        "inside6.test",
        "mapped.test",
        "translated.test",
        "metadata.test",
        "any.test",
        "*.good.test",
        "localhost",
    ]
    .iter()
    .map(|name| format!("{name}:{port}"))
    .collect();
    let stand = stand(&allow, names, short(), false).await;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1%25lo]",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "inside.test",
        "INSIDE.test.",
        "inside6.test",
        "mapped.test",
        "translated.test",
        "metadata.test",
        "any.test",
        "evilgood.test",
        "good.test",
        "169.254.169.254",
        "metadata.google.internal",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "x@inside.test",
        "x:y@127.0.0.1",
    ];
    for host in hosts {
        for bytes in [
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
            format!("CONNECT {host}:{port} HTTP/1.0\r\n\r\n"),
            format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"),
        ] {
            let answer = stand.say(bytes.as_bytes()).await;
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(matches!(status, "403" | "400" | "502"), "{bytes}: {answer}");
        }
    }
    assert_eq!(server.heard.lock().unwrap().len(), 0);
    assert!(
        stand.decisions().iter().all(|decision| decision.refused.is_some() && !decision.target.contains('@'))
    );
    // The control: the same server answers where it is named.
    let named = stand_for(&server).await;
    assert!(
        named
            .say(format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\n\r\n").as_bytes())
            .await
            .contains("hello")
    );
}

async fn stand_for(server: &Server) -> Stand {
    stand(&[format!("127.0.0.1:{}", server.port)], &[], short(), false).await
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_judged_address_is_dialled() {
    let (good, inside) = (server(OK).await, server(OK).await);
    let _ = &inside;
    let allow = [format!("127.0.0.1:{}", good.port), format!("rebind.test:{}", good.port)];
    // The second answer would be refused: nobody may ask for it.
    let stand =
        stand(&allow, &[("rebind.test", &[&["127.0.0.1"], &["169.254.169.254"]])], short(), false).await;
    let request = format!("GET http://rebind.test:{}/ HTTP/1.1\r\n\r\n", good.port);
    assert!(stand.say(request.as_bytes()).await.contains("hello"));
    assert!(stand.say(request.as_bytes()).await.contains("not public (metadata)"));
    assert_eq!(good.heard.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_empty_list_allows_nothing() {
    let server = server(OK).await;
    let stand = stand(&[], &[("good.test", &[&["127.0.0.1"]])], short(), false).await;
    for host in ["127.0.0.1", "good.test"] {
        let request = format!("GET http://{host}:{}/ HTTP/1.1\r\n\r\n", server.port);
        assert!(stand.say(request.as_bytes()).await.starts_with("HTTP/1.1 403 "));
    }
    assert_eq!(server.heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn one_connection_carries_one_request() {
    let server = server(OK).await;
    let at = format!("127.0.0.1:{}", server.port);
    let stand = stand_for(&server).await;
    // A second request in the same packet, to the same host, to another, as a tunnel.
    for second in [
        format!("GET http://{at}/second HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        "GET http://evil.test/second HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT evil.test:443 HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let first = format!("GET http://{at}/first HTTP/1.1\r\nHost: {at}\r\nConnection: keep-alive\r\n\r\n");
        let answer = stand.say((first + &second).as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let heard = server.heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 3);
    assert!(heard.iter().all(|heard| !heard.contains("second")), "{heard:?}");
}

#[tokio::test]
async fn requests_with_two_readings_are_refused() {
    let server = server(OK).await;
    let at = format!("127.0.0.1:{}", server.port);
    let stand = stand_for(&server).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    // One reading is taken, and the request is framed anew by it.
    for fields in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        stand
            .say(format!("POST http://{at}/ HTTP/1.1\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}").as_bytes())
            .await;
    }
    for heard in server.heard.lock().unwrap().drain(..) {
        let heard = heard.to_lowercase();
        assert!(heard.contains("transfer-encoding: chunked") && !heard.contains("content-length"), "{heard}");
        assert!(heard.ends_with("\r\n\r\n0\r\n\r\n"), "{heard}");
    }
    for fields in [
        "Content-Length: 4\r\nContent-Length: 40",
        "Content-Length: 4, 40",
        "Content-Length: +4",
        "Content-Length: 0x4",
        "Content-Length : 4",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Host: evil.test",
        "Bad\0Name: x",
        " folded: x",
    ] {
        let request =
            format!("POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = stand.say(request.as_bytes()).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{fields}: {answer}");
    }
    let connect = format!("CONNECT {at} HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    assert!(stand.say(connect.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    assert_eq!(server.heard.lock().unwrap().concat().matches("hidden").count(), 0);
}

#[tokio::test]
async fn a_redirect_goes_to_the_command_and_is_not_followed() {
    let inside = server(OK).await;
    let answer = Box::leak(
        format!(
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\n\r\n",
            inside.port
        )
        .into_boxed_str(),
    );
    let server = server(answer).await;
    let stand = stand_for(&server).await;
    let said = stand.say(format!("GET http://127.0.0.1:{}/ HTTP/1.1\r\n\r\n", server.port).as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 302 "), "{said}");
    assert_eq!(inside.heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_server_cannot_switch_protocols() {
    let server =
        server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await;
    let stand = stand_for(&server).await;
    let request = format!(
        "GET http://127.0.0.1:{}/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        server.port
    );
    let answer = stand.say(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn nothing_is_dialled_without_a_record() {
    let server = server(OK).await;
    let entry = format!("127.0.0.1:{}", server.port);
    let stand = stand(std::slice::from_ref(&entry), &[], short(), true).await;
    assert!(
        stand.say(format!("CONNECT {entry} HTTP/1.1\r\n\r\n").as_bytes()).await.starts_with("HTTP/1.1 503 ")
    );
    assert_eq!((stand.decisions().len(), server.heard.lock().unwrap().len()), (1, 0));
}

#[tokio::test]
async fn heads_that_are_too_long_or_never_end_are_given_up() {
    let server = server(OK).await;
    let stand = stand_for(&server).await;
    let long =
        format!("GET http://127.0.0.1:{}/ HTTP/1.1\r\nX: {}\r\n\r\n", server.port, "x".repeat(1 << 20));
    assert!(!stand.say(long.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let many = format!("GET http://127.0.0.1:{}/ HTTP/1.1\r\n{}\r\n", server.port, "X: 1\r\n".repeat(1000));
    assert!(!stand.say(many.as_bytes()).await.starts_with("HTTP/1.1 200"));
    // Ends by itself, though this side never does.
    stand.say(b"GET http://127.0.0.1").await;
    stand.say(b"").await;
    assert_eq!(server.heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn an_idle_tunnel_and_those_of_a_proxy_that_ends_are_cut() {
    let server = server("never").await;
    let entry = format!("127.0.0.1:{}", server.port);
    let idle = Patience { idle: Duration::from_millis(100), ..short() };
    let first = stand(std::slice::from_ref(&entry), &[], idle, false).await;
    let connect = format!("CONNECT {entry} HTTP/1.1\r\n\r\n");
    assert!(first.say(connect.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert!(first.end().await.error.is_some_and(|error| error.contains("too long")));
    let second = stand(&[entry], &[], short(), false).await;
    let mut stream = TcpStream::connect(second.address).await.unwrap();
    stream.write_all(connect.as_bytes()).await.unwrap();
    let mut head = [0; 19];
    stream.read_exact(&mut head).await.unwrap();
    second.serving.abort();
    assert!(matches!(stream.read(&mut head).await, Ok(0) | Err(_)));
    second.end().await;
}

#[tokio::test]
async fn bytes_that_are_no_request_get_no_connection() {
    let server = server(OK).await;
    let stand = stand_for(&server).await;
    let long = "a".repeat(5000);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://good.com\0.evil/ HTTP/1.1\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b"GET ftp://good.test/ HTTP/1.1\r\n\r\n",
        b"GET https://127.0.0.1/ HTTP/1.1\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\n\r\n",
        b"CONNECT good.test HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"\x05\x01\x00",
        long.as_bytes(),
    ] {
        let answer = stand.say(bytes).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{bytes:?}: {answer}");
    }
    assert_eq!(server.heard.lock().unwrap().len(), 0);
}
