//! What stands outside the sandbox and must stay untouched: the canaries.
#![allow(unsafe_code, reason = "terminals, attributes and System V objects have no safe calls in std")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;

use crate::support::Ground;
use crate::support::account::Account;

/// Canaries of one ground.
#[derive(Debug)]
pub struct Outside {
    directory: PathBuf,
    /// Of the requester.
    home: PathBuf,
    /// The home that holds a credential.
    keeper: PathBuf,
    state: PathBuf,
    name: String,
    victim: Mutex<Child>,
    address: usize,
    tcp: TcpListener,
    tcp6: Option<TcpListener>,
    udp: UdpSocket,
    stream: UnixListener,
    datagram: UnixDatagram,
    abstract_stream: UnixListener,
    shared: Shared,
    terminal: (OwnedFd, PathBuf),
    owner: (u32, u32),
}

const SECRET: &str = "CANARY-secret-of-the-host\n";
const FILE: &str = "CANARY file of the host\n";

impl Outside {
    pub fn new(ground: &Ground) -> Self {
        let directory = ground.outside();
        let account = ground.account().clone();
        ground.put(&directory.join("secret"), SECRET.as_bytes(), 0o644);
        ground.put(&directory.join("file"), FILE.as_bytes(), 0o644);
        ground.put(&ground.state().join("canary"), b"state", 0o600);
        ground.write(".env", "TOKEN=CANARY\n");
        ground.write(".git/HEAD", "ref: refs/heads/main\n");
        ground.write(".git/hooks/pre-commit", "#!/bin/sh\n");
        let name = format!("execward-canary-{}", ground.root().display().to_string().replace('/', "-"));
        for place in ["/dev/shm", "/tmp"] {
            let path = Path::new(place).join(&name);
            fs::write(&path, SECRET).expect("a canary can be written");
            ground.give(&path);
        }
        // As root, another user's: root's own home is not ours to write to.
        let keeper = if account.uid == 0 {
            Account::user().unwrap_or_else(|| account.clone())
        } else {
            account.clone()
        };
        let key = keeper.home.join(".ssh/id_canary");
        if !key.exists() && crate::support::is_root() && keeper.uid != 0 {
            ground.put(&key, SECRET.as_bytes(), 0o600);
        }
        let mut victim = ground.bare(["sleep", "600"]).env("CANARY", "in the environment").spawn();
        victim.stdout.take();
        victim.stderr.take();
        let address = mapped(victim.id());
        let stream = UnixListener::bind(directory.join("stream.sock")).expect("a socket file");
        let datagram = UnixDatagram::bind(directory.join("datagram.sock")).expect("a socket file");
        for socket in ["stream.sock", "datagram.sock"] {
            ground.give(&directory.join(socket));
        }
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a short name");
        let outside = Self {
            home: account.home.clone(),
            keeper: keeper.home,
            state: ground.state(),
            victim: Mutex::new(victim),
            address,
            tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"),
            tcp6: TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok(),
            udp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"),
            stream,
            datagram,
            abstract_stream: UnixListener::bind_addr(&abstract_name).expect("an abstract socket"),
            shared: Shared::new(),
            terminal: terminal(account.uid),
            owner: (account.uid, account.gid),
            name,
            directory,
        };
        outside.tcp.set_nonblocking(true).expect("a mode");
        outside.udp.set_nonblocking(true).expect("a mode");
        outside.stream.set_nonblocking(true).expect("a mode");
        outside.datagram.set_nonblocking(true).expect("a mode");
        outside.abstract_stream.set_nonblocking(true).expect("a mode");
        if let Some(listener) = &outside.tcp6 {
            listener.set_nonblocking(true).expect("a mode");
        }
        outside
    }

    /// What the probe is told: `key=value`.
    pub fn arguments(&self) -> Vec<String> {
        let victim = self.victim.lock().expect("no other test panicked").id();
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        vec![
            format!("outside={}", self.directory.display()),
            format!("home={}", self.keeper.display()),
            format!("state={}", self.state_path().display()),
            format!("name={}", self.name),
            format!("abstract={}", self.name),
            format!("victim={victim}"),
            format!("address={}", self.address),
            format!("tcp={}", port(&self.tcp)),
            format!("tcp6={}", self.tcp6.as_ref().map_or(1, port)),
            format!("udp={}", self.udp.local_addr().expect("an address").port()),
            format!("shm={}", self.shared.key),
            format!("terminal={}", self.terminal.1.display()),
        ]
    }

    /// Where execward keeps its state, as seen from a process that has the ground's state mounted there.
    fn state_path(&self) -> PathBuf {
        if !crate::support::is_root() {
            return self.state.clone();
        }
        if self.owner.0 == 0 { "/var/lib/execward".into() } else { self.home.join(".local/state/execward") }
    }

    /// A terminal for a child to take as its controlling one.
    pub fn new_terminal(&self) -> OwnedFd {
        File::options()
            .read(true)
            .write(true)
            .open(&self.terminal.1)
            .expect("the terminal can be opened")
            .into()
    }

    /// Puts everything back.
    pub fn reset(&self) {
        let file = self.directory.join("file");
        // A new one: attributes and other names go with the old.
        let _ = fs::remove_file(&file);
        fs::write(&file, FILE).expect("a canary can be written");
        fs::write(self.directory.join("to-remove"), "x").expect("a canary can be written");
        for path in [file, self.directory.join("to-remove")] {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
            if crate::support::is_root() {
                std::os::unix::fs::chown(&path, Some(self.owner.0), Some(self.owner.1)).expect("an owner");
            }
        }
        for name in ["new", "renamed"] {
            let _ = fs::remove_file(self.directory.join(name));
        }
        for path in self.made_inside() {
            let _ = fs::remove_file(path);
        }
        let workspace = self.directory.with_file_name("workspace");
        let _ = fs::rename(workspace.join(".git2"), workspace.join(".git"));
        for name in ["hardlink", "renamed", "link"] {
            let _ = fs::remove_file(workspace.join(name));
        }
        self.connections();
        let file = self.directory.join("file");
        let earlier =
            File::options().write(true).open(&file).and_then(|it| it.set_modified(std::time::UNIX_EPOCH));
        earlier.expect("a time can be set");
    }

    /// What was damaged since the last reset; `None` where nothing was.
    pub fn damage(&self) -> Option<String> {
        let file = self.directory.join("file");
        let stat = fs::metadata(&file).ok()?;
        let mut victim = self.victim.lock().expect("no other test panicked");
        let found = [
            (fs::read(&file).ok()? != FILE.as_bytes(), "the file outside changed"),
            (stat.mode() & 0o7777 != 0o644, "the mode of the file outside changed"),
            ((stat.uid(), stat.gid()) != self.owner, "the owner of the file outside changed"),
            (stat.mtime() != 0, "the times of the file outside changed"),
            (stat.nlink() != 1, "the file outside has another name"),
            (has_attribute(&file), "the file outside has an attribute"),
            (!self.directory.join("to-remove").exists(), "a file outside was removed"),
            (self.directory.join("new").exists(), "a file was made outside"),
            (self.directory.join("renamed").exists(), "a file was moved outside"),
            (self.made_inside().iter().any(|path| path.exists()), "what was made inside is seen outside"),
            (victim.try_wait().ok()?.is_some(), "the victim is gone"),
            (self.connections() > 0, "something reached a socket of the host"),
        ];
        found.into_iter().find_map(|(damaged, what)| damaged.then(|| what.to_owned()))
    }

    fn made_inside(&self) -> [PathBuf; 3] {
        let name = format!("{}-inside", self.name);
        [Path::new("/dev/shm").join(&name), Path::new("/tmp").join(&name), self.home.join(&name)]
    }

    /// How many connections and datagrams came in since it was last asked.
    fn connections(&self) -> usize {
        let mut buffer = [0; 64];
        let mut count = 0;
        while self.tcp.accept().is_ok() || self.tcp6.as_ref().is_some_and(|it| it.accept().is_ok()) {
            count += 1;
        }
        while self.stream.accept().is_ok() || self.abstract_stream.accept().is_ok() {
            count += 1;
        }
        while self.udp.recv(&mut buffer).is_ok() || self.datagram.recv(&mut buffer).is_ok() {
            count += 1;
        }
        count
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let mut victim = self.victim.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = victim.kill();
        let _ = victim.wait();
        for place in ["/dev/shm", "/tmp"] {
            let _ = fs::remove_file(Path::new(place).join(&self.name));
        }
        for path in self.made_inside() {
            let _ = fs::remove_file(path);
        }
    }
}

fn has_attribute(path: &Path) -> bool {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path holds no NUL");
    // SAFETY: both strings end in NUL, and a null buffer of size 0 asks for the size only.
    unsafe { libc::getxattr(path.as_ptr(), c"user.execward".as_ptr(), std::ptr::null_mut(), 0) >= 0 }
}

/// An address that is mapped in a process, once it has executed its program.
fn mapped(pid: u32) -> usize {
    for _ in 0..500 {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let mut maps = String::new();
        let read =
            File::open(format!("/proc/{pid}/maps")).and_then(|mut file| file.read_to_string(&mut maps));
        if read.is_ok() && program.to_string_lossy().contains("sleep") {
            let first = maps.lines().find(|line| line.contains(" r--p ") || line.contains(" r-xp "));
            if let Some((start, _)) = first.and_then(|line| line.split_once('-')) {
                return usize::from_str_radix(start, 16).expect("an address");
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the victim did not start");
}

/// A terminal: its other end is kept open, so that it stays.
fn terminal(uid: u32) -> (OwnedFd, PathBuf) {
    // SAFETY: posix_openpt gives a descriptor that is ours alone; ptsname_r writes into our buffer.
    unsafe {
        let other = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(other >= 0, "no terminal: {}", std::io::Error::last_os_error());
        let other = OwnedFd::from_raw_fd(other);
        use std::os::fd::AsRawFd;
        assert_eq!(libc::unlockpt(other.as_raw_fd()), 0);
        let mut name = [0 as libc::c_char; 64];
        assert_eq!(libc::ptsname_r(other.as_raw_fd(), name.as_mut_ptr(), name.len()), 0);
        let path = PathBuf::from(std::ffi::CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned());
        if crate::support::is_root() {
            std::os::unix::fs::chown(&path, Some(uid), None).expect("root can give a terminal away");
        }
        (other, path)
    }
}

/// System V objects of the host.
#[derive(Debug)]
struct Shared {
    key: i32,
    memory: i32,
    queue: i32,
    semaphores: i32,
}

impl Shared {
    fn new() -> Self {
        static NUMBER: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let key = 0x6578_0000 | (i32::try_from(std::process::id() & 0xff).unwrap_or(0) << 8) | number;
        // SAFETY: plain System V calls on objects that this test makes and removes.
        unsafe {
            let mode = libc::IPC_CREAT | 0o666;
            let made = Self {
                key,
                memory: libc::shmget(key, 4096, mode),
                queue: libc::msgget(key, mode),
                semaphores: libc::semget(key, 1, mode),
            };
            assert!(made.memory >= 0 && made.queue >= 0 && made.semaphores >= 0, "no System V objects");
            made
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: removes the objects that `new` made.
        unsafe {
            libc::shmctl(self.memory, libc::IPC_RMID, std::ptr::null_mut());
            libc::msgctl(self.queue, libc::IPC_RMID, std::ptr::null_mut());
            libc::semctl(self.semaphores, 0, libc::IPC_RMID);
        }
    }
}
