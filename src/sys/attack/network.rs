//! Attempts on the network and on what processes share.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::Outcome::{Held, Open};
use super::files::HIDDEN;
use super::{Attempt, Outcome, World, all, attempt, reach, refused, tried};

/// How a network without a way out answers.
const NO_WAY: &[i32] = &[
    libc::ENETUNREACH,
    libc::ECONNREFUSED,
    libc::EHOSTUNREACH,
    libc::EPERM,
    libc::EACCES,
    libc::EAFNOSUPPORT,
    libc::EADDRNOTAVAIL,
    libc::EPROTONOSUPPORT,
    libc::ENOENT,
    libc::ENOSYS,
    libc::EOPNOTSUPP,
];

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("W1", |world| {
        tried("connect", connect(SocketAddr::from((Ipv4Addr::LOCALHOST, world.number("tcp")))), NO_WAY)
    }),
    ("W5", fast_open),
    ("W6", |world| {
        let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 262);
        if socket < 0 {
            return refused("MPTCP socket", &io::Error::last_os_error(), NO_WAY);
        }
        let address = inet(world.number("tcp"));
        attempt(
            "MPTCP connect",
            unsafe { libc::connect(socket, (&raw const address).cast(), 16) }.into(),
            NO_WAY,
        )
    }),
    ("W7", |_| {
        all([
            (libc::SOCK_STREAM, 132, "SCTP"),
            (libc::SOCK_SEQPACKET, 132, "SCTP"),
            (libc::SOCK_DCCP, 33, "DCCP"),
            (libc::SOCK_DGRAM, 136, "UDP-Lite"),
        ]
        .map(|(kind, protocol, name)| family(name, libc::AF_INET, kind, protocol)))
    }),
    ("W8", |world| {
        let send = UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.send_to(b"canary", (Ipv4Addr::LOCALHOST, world.number::<u16>("udp"))));
        match send {
            // Sent to its own loopback: the canary outside tells.
            Ok(_) if own_network(world) => Held("sent on its own loopback".to_owned()),
            other => tried("sendto", other, NO_WAY),
        }
    }),
    ("W9", |world| match TcpListener::bind((Ipv4Addr::LOCALHOST, world.number::<u16>("tcp"))) {
        Ok(_) => Held("the port of the host is free here".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Open("the port of the host is taken here".to_owned())
        }
        Err(error) => refused("bind", &error, NO_WAY),
    }),
    ("W11", |world| tried("connect", UnixStream::connect(world.outside("stream.sock")), HIDDEN)),
    ("W12", |world| {
        let address = UnixAddr::from_abstract_name(world.text("abstract")).unwrap();
        tried("connect", UnixStream::connect_addr(&address), NO_WAY)
    }),
    ("W13", |world| {
        let send =
            UnixDatagram::unbound().and_then(|it| it.send_to(b"canary", world.outside("datagram.sock")));
        tried("sendto", send, HIDDEN)
    }),
    ("W14", |_| tried("socketpair", socket_pair(), &[])),
    ("W14b", |_| tried("loopback", own_loopback(), &[])),
    ("W15", |_| {
        let places = [
            "/var/run/docker.sock",
            "/run/docker.sock",
            "/run/containerd/containerd.sock",
            "/run/dbus/system_bus_socket",
            "/run/systemd/private",
            "/run/user",
            "/run/snapd.socket",
            "/tmp/.X11-unix",
            "/dev/log",
        ];
        all(places.map(|place| tried(place, fs::metadata(place), HIDDEN)))
    }),
    // sock_diag, audit, connector, netfilter, uevents: ROUTE (0) alone serves ordinary programs.
    ("W21", |_| {
        all([4, 9, 11, 12, 15, 16, 20].map(|it| family("netlink", libc::AF_NETLINK, libc::SOCK_RAW, it)))
    }),
    ("W22", |_| {
        all([(17, libc::SOCK_RAW), (17, libc::SOCK_DGRAM), (44, libc::SOCK_RAW)]
            .map(|(it, kind)| family("packet", it, kind, 0)))
    }),
    ("W22b", |_| all([1, 6, 255].map(|protocol| family("raw", libc::AF_INET, libc::SOCK_RAW, protocol)))),
    ("W34", |world| {
        tried("connect", connect(SocketAddr::from((Ipv6Addr::LOCALHOST, world.number("tcp6")))), NO_WAY)
    }),
    ("W37", |world| {
        let port = format!(":{:04X} ", world.number::<u16>("tcp"));
        all(["/proc/net/tcp", "/proc/self/net/tcp", "/proc/1/net/tcp"].map(|place| match fs::read_to_string(
            place,
        ) {
            Ok(text) if text.contains(&port) => Open(format!("{place} shows a socket of the host")),
            Ok(_) => Held(format!("{place} shows other sockets")),
            Err(error) => refused(place, &error, HIDDEN),
        }))
    }),
    ("W38", |_| {
        let mut found: Vec<String> = fs::read_to_string("/proc/net/dev")
            .unwrap_or_default()
            .lines()
            .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
            .filter(|name| name != "lo")
            .collect();
        found.extend(
            fs::read_dir("/sys/class/net")
                .into_iter()
                .flatten()
                .flatten()
                .map(|it| it.file_name().to_string_lossy().into_owned())
                .filter(|name| name != "lo"),
        );
        if found.is_empty() { Held("loopback only".to_owned()) } else { Open(format!("{found:?}")) }
    }),
    ("K1", |_| family("AF_ALG", 38, libc::SOCK_SEQPACKET, 0)),
    ("K2", |_| family("AF_RXRPC", 33, libc::SOCK_DGRAM, 2)),
    ("K3", |_| family("NETLINK_XFRM", libc::AF_NETLINK, libc::SOCK_RAW, 6)),
    ("K4", |_| family("AF_VSOCK", 40, libc::SOCK_STREAM, 0)),
    ("K6", |_| {
        let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET];
        let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let others = (1..64).filter(|number| !known.contains(number));
        all(others.flat_map(|number| kinds.map(|kind| family(&format!("family {number}"), number, kind, 0))))
    }),
    ("I1", |world| {
        let refusals = &[libc::ENOENT, libc::EPERM, libc::EACCES, libc::ENOSYS];
        attempt("shmget", unsafe { libc::shmget(world.number("shm"), 0, 0) }.into(), refusals)
    }),
    ("I1b", |world| {
        let (key, refusals) = (world.number("shm"), &[libc::ENOENT, libc::EPERM, libc::EACCES, libc::ENOSYS]);
        all([
            attempt("msgget", unsafe { libc::msgget(key, 0) }.into(), refusals),
            attempt("semget", unsafe { libc::semget(key, 0, 0) }.into(), refusals),
        ])
    }),
    ("I2", |world| tried("read /dev/shm", fs::read(Path::new("/dev/shm").join(world.text("name"))), HIDDEN)),
    ("I2b", |world| tried("write /dev/shm", fs::write(Path::new("/dev/shm").join(inside(world)), "x"), &[])),
    ("I3", |world| tried("read /tmp", fs::read(Path::new("/tmp").join(world.text("name"))), HIDDEN)),
    ("I3b", |world| tried("write /tmp", fs::write(Path::new("/tmp").join(inside(world)), "x"), &[])),
    ("I6", |world| {
        let home = std::env::var("HOME").unwrap_or_default();
        tried("write to the home", fs::write(Path::new(&home).join(inside(world)), "x"), &[])
    }),
];

/// The name of what is made inside, for which the canary looks outside.
fn inside(world: &World) -> String {
    format!("{}-inside", world.text("name"))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_secs(2))
}

fn socket(family: i32, kind: i32, protocol: i32) -> i32 {
    unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) }
}

/// A family of sockets: any that can be made is open. That the kernel at hand lacks one shows nothing, but is no hole.
fn family(name: &str, number: i32, kind: i32, protocol: i32) -> Outcome {
    let result = socket(number, kind, protocol);
    let absent = [
        libc::EAFNOSUPPORT,
        libc::EPROTONOSUPPORT,
        libc::ESOCKTNOSUPPORT,
        libc::EPROTOTYPE,
        libc::ENOPROTOOPT,
        libc::ENODEV,
        libc::EINVAL,
    ];
    if result < 0 && absent.contains(&io::Error::last_os_error().raw_os_error().unwrap_or(0)) {
        return Held(format!("{name}: {}", io::Error::last_os_error()));
    }
    reach(name, result.into())
}

fn inet(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    }
}

/// sendto(2) with MSG_FASTOPEN connects without connect(2).
fn fast_open(world: &World) -> Outcome {
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0);
    if socket < 0 {
        return refused("socket", &io::Error::last_os_error(), NO_WAY);
    }
    let address = inet(world.number("tcp"));
    let sent = unsafe {
        libc::sendto(
            socket,
            b"canary".as_ptr().cast(),
            6,
            libc::MSG_FASTOPEN,
            (&raw const address).cast(),
            16,
        )
    };
    attempt("sendto with MSG_FASTOPEN", sent as i64, NO_WAY)
}

/// Whether the listener of the host cannot be seen from here.
fn own_network(world: &World) -> bool {
    connect(SocketAddr::from((Ipv4Addr::LOCALHOST, world.number("tcp")))).is_err()
}

fn socket_pair() -> io::Result<()> {
    let (mut one, mut other) = UnixStream::pair()?;
    one.write_all(b"x")?;
    other.read_exact(&mut [0])
}

fn own_loopback() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"x")?;
    server.read_exact(&mut [0])
}
