//! What stands outside the sandbox and must stay untouched: the canaries.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::sys::attack::{Shared, Terminal, has_attribute};

const SECRET: &str = "CANARY-secret-of-the-host\n";
const FILE: &str = "CANARY file of the host\n";

/// Where the canaries are put. All of it was made for the purpose.
#[derive(Debug, Clone)]
pub struct Place {
    /// Holds the canaries; beside it, the directory `workspace` that probes run in.
    pub directory: PathBuf,
    /// What commands run in.
    pub workspace: PathBuf,
    /// Of the requester: probes write to theirs, which must not be it.
    pub home: PathBuf,
    /// A home with a credential in it.
    pub keeper: PathBuf,
    /// Where execward's state really is.
    pub state: PathBuf,
    /// Where the requester's execward takes it to be.
    pub state_as_seen: PathBuf,
    /// User and group of the requester, whose the canaries are.
    pub owner: (u32, u32),
}

/// The canaries of one place.
#[derive(Debug)]
pub struct Outside {
    place: Place,
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
    terminal: Terminal,
}

impl Outside {
    /// Makes them.
    ///
    /// # Errors
    /// Of whatever could not be made.
    pub fn new(place: Place) -> io::Result<Self> {
        let Place { directory, workspace, keeper, state, owner, .. } = &place;
        put(&directory.join("secret"), SECRET, 0o644, *owner)?;
        put(&directory.join("file"), FILE, 0o644, *owner)?;
        put(&state.join("canary"), "state", 0o600, *owner)?;
        put(&workspace.join(".env"), "TOKEN=CANARY\n", 0o644, *owner)?;
        put(&workspace.join(".git/HEAD"), "ref: refs/heads/main\n", 0o644, *owner)?;
        put(&workspace.join(".git/hooks/pre-commit"), "#!/bin/sh\n", 0o644, *owner)?;
        let name = format!("execward-canary-{}", directory.display().to_string().replace('/', "-"));
        for place in ["/dev/shm", "/tmp"] {
            put(&Path::new(place).join(&name), SECRET, 0o644, *owner)?;
        }
        let key = keeper.join(".ssh/id_canary");
        if !key.exists() && keeper != Path::new("/root") {
            put(&key, SECRET, 0o600, fs::metadata(keeper).map_or(*owner, |it| (it.uid(), it.gid())))?;
        }
        let victim = victim(*owner)?;
        let address = mapped(victim.id())?;
        let abstract_name = SocketAddr::from_abstract_name(&name)?;
        let stream = UnixListener::bind(directory.join("stream.sock"))?;
        let datagram = UnixDatagram::bind(directory.join("datagram.sock"))?;
        for socket in ["stream.sock", "datagram.sock"] {
            give(&directory.join(socket), *owner)?;
        }
        let terminal = Terminal::open()?;
        give(&terminal.path, *owner)?;
        let outside = Self {
            name,
            victim: Mutex::new(victim),
            address,
            tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
            tcp6: TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok(),
            udp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
            stream,
            datagram,
            abstract_stream: UnixListener::bind_addr(&abstract_name)?,
            shared: Shared::new()?,
            terminal,
            place,
        };
        outside.tcp.set_nonblocking(true)?;
        outside.udp.set_nonblocking(true)?;
        outside.stream.set_nonblocking(true)?;
        outside.datagram.set_nonblocking(true)?;
        outside.abstract_stream.set_nonblocking(true)?;
        if let Some(listener) = &outside.tcp6 {
            listener.set_nonblocking(true)?;
        }
        Ok(outside)
    }

    /// What a probe is told: `key=value`.
    pub fn arguments(&self) -> Vec<String> {
        let victim = self.victim.lock().unwrap_or_else(PoisonError::into_inner).id();
        let port = |listener: &TcpListener| listener.local_addr().map_or(1, |address| address.port());
        vec![
            format!("outside={}", self.place.directory.display()),
            format!("home={}", self.place.keeper.display()),
            format!("state={}", self.place.state_as_seen.display()),
            format!("name={}", self.name),
            format!("abstract={}", self.name),
            format!("victim={victim}"),
            format!("address={}", self.address),
            format!("tcp={}", port(&self.tcp)),
            format!("tcp6={}", self.tcp6.as_ref().map_or(1, port)),
            format!("udp={}", self.udp.local_addr().map_or(1, |address| address.port())),
            format!("shm={}", self.shared.key),
            format!("terminal={}", self.terminal.path.display()),
            format!("host={}", nix::unistd::gethostname().unwrap_or_default().to_string_lossy()),
            format!("group={}", group()),
        ]
    }

    /// Where its terminal is.
    pub fn terminal(&self) -> &Path {
        &self.terminal.path
    }

    /// A terminal for a child to take as its controlling one.
    ///
    /// # Errors
    /// Of open(2).
    pub fn new_terminal(&self) -> io::Result<File> {
        File::options().read(true).write(true).open(&self.terminal.path)
    }

    /// Puts everything back. What cannot be put back shows as damage.
    pub fn reset(&self) {
        let (directory, owner) = (&self.place.directory, self.place.owner);
        let file = directory.join("file");
        // A new one: attributes and other names go with the old.
        let _ = fs::remove_file(&file);
        let _ = put(&file, FILE, 0o644, owner);
        let _ = put(&directory.join("to-remove"), "x", 0o644, owner);
        for name in ["new", "renamed"] {
            let _ = fs::remove_file(directory.join(name));
        }
        for path in self.made_inside() {
            let _ = fs::remove_file(path);
        }
        let workspace = &self.place.workspace;
        let _ = fs::rename(workspace.join(".git2"), workspace.join(".git"));
        for name in ["hardlink", "renamed", "link"] {
            let _ = fs::remove_file(workspace.join(name));
        }
        self.connections();
        let _ = File::options().write(true).open(&file).and_then(|it| it.set_modified(std::time::UNIX_EPOCH));
    }

    /// What was damaged since the last reset; `None` where nothing was.
    pub fn damage(&self) -> Option<String> {
        let directory = &self.place.directory;
        let file = directory.join("file");
        let Ok(stat) = fs::metadata(&file) else { return Some("the file outside is gone".to_owned()) };
        let changed = fs::read(&file).map_or(true, |bytes| bytes != FILE.as_bytes());
        let gone = {
            let mut victim = self.victim.lock().unwrap_or_else(PoisonError::into_inner);
            victim.try_wait().map_or(true, |ended| ended.is_some())
        };
        let found = [
            (changed, "the file outside changed"),
            (stat.mode() & 0o7777 != 0o644, "the mode of the file outside changed"),
            ((stat.uid(), stat.gid()) != self.place.owner, "the owner of the file outside changed"),
            (stat.mtime() != 0, "the times of the file outside changed"),
            (stat.nlink() != 1, "the file outside has another name"),
            (has_attribute(&file), "the file outside has an attribute"),
            (!directory.join("to-remove").exists(), "a file outside was removed"),
            (directory.join("new").exists(), "a file was made outside"),
            (directory.join("renamed").exists(), "a file was moved outside"),
            (self.made_inside().iter().any(|path| path.exists()), "what was made inside is seen outside"),
            (gone, "the victim is gone"),
            (self.connections() > 0, "something reached a socket of the host"),
        ];
        found.into_iter().find_map(|(damaged, what)| damaged.then(|| what.to_owned()))
    }

    fn made_inside(&self) -> [PathBuf; 3] {
        let name = format!("{}-inside", self.name);
        [Path::new("/dev/shm").join(&name), Path::new("/tmp").join(&name), self.place.home.join(&name)]
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
        let mut victim = self.victim.lock().unwrap_or_else(PoisonError::into_inner);
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

/// The longest path of a control group that this process is in: cgroups(7).
fn group() -> String {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.max_by_key(|path| path.len()).unwrap_or("/").to_owned()
}

/// Writes a file of this owner's, with the directories that it needs.
fn put(path: &Path, text: &str, mode: u32, owner: (u32, u32)) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let missing: Vec<&Path> = parent.ancestors().take_while(|directory| !directory.exists()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
        give(directory, owner)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    give(path, owner)
}

fn give(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let is = fs::symlink_metadata(path)?;
    if is.uid() == uid && is.gid() == gid { Ok(()) } else { chown(path, Some(uid), Some(gid)) }
}

/// A process to be attacked, of this user.
fn victim((uid, gid): (u32, u32)) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("sleep");
    command.arg("600").env("CANARY", "in the environment");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if nix::unistd::geteuid().as_raw() != uid {
        command.uid(uid).gid(gid);
    }
    command.spawn()
}

/// An address that is mapped in a process, once it has executed its program.
fn mapped(pid: u32) -> io::Result<usize> {
    for _ in 0..1000 {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let first = maps.lines().find(|line| line.contains(" r--p ") || line.contains(" r-xp "));
        if name.trim() == "sleep"
            && let Some((start, _)) = first.and_then(|line| line.split_once('-'))
            && let Ok(address) = usize::from_str_radix(start, 16)
        {
            return Ok(address);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(io::Error::other("the process to be attacked did not start"))
}
