//! A network of the test's own: the namespace in which execward runs, and behind it a world with servers at public
//! addresses, at private ones, and at that of a cloud's metadata. What reaches a server is seen there.
//!
//! The addresses are the real thing to execward: no switch of it makes the tests possible.
#![allow(unsafe_code, reason = "the thread of a test enters namespaces of its own")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::{is_root, skip, tool};

/// execward's own address in the lab.
pub const OWN: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 1);
/// A server on the public internet.
pub const WEB: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 2);
/// A server of the intranet.
pub const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The metadata service.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// What servers heard, and at which of their addresses.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Vec<(SocketAddr, String)>>);

impl Heard {
    fn all(&self) -> MutexGuard<'_, Vec<(SocketAddr, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Lab {
    heard: Arc<Heard>,
}

/// Answers of the name server: each name has lists of addresses that take turns.
type Names = BTreeMap<&'static str, (usize, Vec<Vec<IpAddr>>)>;

/// Runs `test` in a lab of its own. A skip is said where none can be made.
pub fn lab(test: impl FnOnce(&Lab) + Send) {
    if !is_root() {
        return skip("network", "only root can make the network in which this is tested");
    }
    if !tool("ip") {
        return;
    }
    let result = thread::scope(|scope| scope.spawn(|| Lab::make().map(|lab| test(&lab))).join());
    match result {
        Ok(Ok(())) => {}
        Ok(Err(why)) => skip("network", &why),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Lab {
    fn make() -> Result<Self, String> {
        enter(libc::CLONE_NEWNET | libc::CLONE_NEWNS)?;
        // SAFETY: plain system call on constant strings.
        let private = unsafe {
            let none = c"none".as_ptr();
            libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null())
        };
        if private != 0 {
            return Err(format!("make mounts private: {}", std::io::Error::last_os_error()));
        }
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let resolv = directory.path().join("resolv.conf");
        fs::write(&resolv, format!("nameserver {WEB}\n")).map_err(|error| error.to_string())?;
        run(&["mount", "--bind", &resolv.to_string_lossy(), "/etc/resolv.conf"])?;

        let (tell, told) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let heard = Arc::new(Heard::default());
        let hears = Arc::clone(&heard);
        thread::spawn(move || world(&tell, &wait, hears));
        let world = told.recv().map_err(|error| error.to_string())??;
        run(&["ip", "link", "set", "lo", "up"])?;
        run(&[
            "ip",
            "link",
            "add",
            "own0",
            "type",
            "veth",
            "peer",
            "name",
            "world0",
            "netns",
            &world.to_string(),
        ])?;
        run(&["ip", "addr", "add", &format!("{OWN}/24"), "dev", "own0"])?;
        run(&["ip", "link", "set", "own0", "up"])?;
        run(&["ip", "route", "add", "default", "via", &WEB.to_string()])?;
        go.send(()).map_err(|error| error.to_string())?;
        told.recv().map_err(|error| error.to_string())??;
        let lab = Self { heard };
        for address in [WEB, PRIVATE, METADATA] {
            // Without execward all of them can be reached: that nothing is heard there shows something.
            let stream = TcpStream::connect_timeout(&(address, 80).into(), Duration::from_secs(10));
            let answered = stream.and_then(|mut stream| {
                stream.write_all(b"GET /control HTTP/1.1\r\n\r\n")?;
                stream.read_to_end(&mut Vec::new())
            });
            answered.map_err(|error| format!("the lab's {address} cannot be reached: {error}"))?;
        }
        lab.heard.all().clear();
        Ok(lab)
    }

    /// What was heard at an address so far.
    pub fn heard_at(&self, address: Ipv4Addr) -> Vec<String> {
        let heard = self.heard.all();
        heard.iter().filter(|(at, _)| at.ip() == address).map(|(_, text)| text.clone()).collect()
    }
}

/// The thread of the world: it makes the sockets, which stay where they were made.
fn world(tell: &mpsc::Sender<Result<i32, String>>, wait: &mpsc::Receiver<()>, heard: Arc<Heard>) {
    let entered = enter(libc::CLONE_NEWNET);
    // SAFETY: gettid cannot fail and touches no memory.
    let _ = tell.send(entered.map(|()| unsafe { libc::gettid() }));
    if wait.recv().is_err() {
        return;
    }
    let made = || -> Result<(), String> {
        run(&["ip", "addr", "add", &format!("{WEB}/24"), "dev", "world0"])?;
        for address in [PRIVATE, METADATA] {
            run(&["ip", "addr", "add", &format!("{address}/32"), "dev", "world0"])?;
        }
        run(&["ip", "link", "set", "world0", "up"])?;
        for port in [80, 443, 8080] {
            let listener =
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| error.to_string())?;
            let heard = Arc::clone(&heard);
            thread::spawn(move || serve(&listener, &heard));
        }
        let names = UdpSocket::bind((WEB, 53)).map_err(|error| error.to_string())?;
        thread::spawn(move || answer(&names));
        Ok(())
    };
    let _ = tell.send(made().map(|()| 0));
}

fn serve(listener: &TcpListener, heard: &Arc<Heard>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let heard = Arc::clone(heard);
        thread::spawn(move || {
            let Ok(at) = stream.local_addr() else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            let place = {
                let mut all = heard.all();
                all.push((at, String::new()));
                all.len() - 1
            };
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            while !text.windows(4).any(|it| it == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => text.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            let answer = if text.contains(" /redirect ") {
                format!("HTTP/1.1 302 Found\r\nLocation: http://{PRIVATE}/\r\nContent-Length: 0\r\n\r\n")
            } else {
                let body = format!("hello from {}\n", at.ip());
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            };
            if let Some(entry) = heard.all().get_mut(place) {
                entry.1 = text;
            }
            let _ = stream.write_all(answer.as_bytes());
        });
    }
}

/// A name server: RFC 1035, as far as these tests ask.
fn answer(socket: &UdpSocket) {
    let own =
        |addresses: &[&str]| -> Vec<IpAddr> { addresses.iter().map(|it| it.parse().unwrap()).collect() };
    let mut names: Names = [
        ("web.test", vec![own(&["20.0.0.2"])]),
        ("a.good.test", vec![own(&["20.0.0.2"])]),
        ("other.test", vec![own(&["20.0.0.2"])]),
        ("rebind.test", vec![own(&["20.0.0.2"]), own(&["10.0.0.5"])]),
        ("private.test", vec![own(&["10.0.0.5"])]),
        ("metadata.test", vec![own(&["169.254.169.254"])]),
        ("mapped.test", vec![own(&["::ffff:10.0.0.5"])]),
        ("sixtofour.test", vec![own(&["2002:a00:5::1"])]),
        ("nat64.test", vec![own(&["64:ff9b::a00:5"])]),
        ("own.test", vec![own(&["20.0.0.1"])]),
        ("loop.test", vec![own(&["127.0.0.1"])]),
        ("zero.test", vec![own(&["0.0.0.0"])]),
    ]
    .into_iter()
    .map(|(name, answers)| (name, (0, answers)))
    .collect();
    let mut buffer = [0; 1500];
    while let Ok((count, peer)) = socket.recv_from(&mut buffer) {
        if let Some(reply) = reply(&buffer[..count], &mut names) {
            let _ = socket.send_to(&reply, peer);
        }
    }
}

fn reply(query: &[u8], names: &mut Names) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let found = names.get_mut(labels.join(".").as_str());
    let known = found.is_some();
    let addresses = found.map_or_else(Vec::new, |(turn, answers)| {
        let addresses = answers[*turn % answers.len()].clone();
        // Both kinds of addresses are asked for at once.
        *turn += usize::from(kind == 1);
        addresses
    });
    let records: Vec<(u16, Vec<u8>)> = addresses
        .into_iter()
        .map(|address| match address {
            IpAddr::V4(v4) => (1, v4.octets().to_vec()),
            IpAddr::V6(v6) => (28, v6.octets().to_vec()),
        })
        .filter(|(of, _)| *of == kind)
        .collect();
    let mut reply = query.get(..2)?.to_vec();
    reply.extend([
        0x81,
        if known { 0x80 } else { 0x83 },
        0,
        1,
        0,
        u8::try_from(records.len()).ok()?,
        0,
        0,
        0,
        0,
    ]);
    reply.extend(question);
    for (of, data) in records {
        reply.extend([0xc0, 12]);
        reply.extend(of.to_be_bytes());
        // Of class IN, and for no time at all: the next question is asked anew.
        reply.extend([0, 1, 0, 0, 0, 0, 0, u8::try_from(data.len()).ok()?]);
        reply.extend(data);
    }
    Some(reply)
}

fn enter(flags: i32) -> Result<(), String> {
    // SAFETY: plain numbers; namespaces of the network and of mounts change for this thread only.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(format!("unshare: {}", std::io::Error::last_os_error())),
    }
}

fn run(argv: &[&str]) -> Result<(), String> {
    let output =
        Command::new(argv[0]).args(&argv[1..]).output().map_err(|error| format!("{argv:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{argv:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
