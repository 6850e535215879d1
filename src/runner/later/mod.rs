//! What a command leaves in its workspace for others to execute or obey later, outside any sandbox: git hooks and
//! settings, settings of agents, editors and shells. What of it exists when a session opens is read-only at its usual
//! place ([`super::root`]); what appears or changes is found here after each command, reported, and set aside: renamed
//! beside itself to a name that nothing obeys, from which a person can rename it back.
//!
//! A command that does nothing of the kind must cost next to nothing. So directories are watched by inotify(7), and
//! what exists already is known by its stamp (inode and ctime, which only the clock sets): where no event waits and no
//! stamp differs, nothing is looked at. The first looks, and one after which the watches cannot be trusted, walk the
//! tree, within bounds; what they find is new where its ctime is of this session. A session of one command never has an
//! inotify instance: the kernel takes some 20 ms to end one.
//!
//! Commands that still run can undo what is done here, and are found out at the next end. Everything happens on a mount
//! that leads nowhere else ([`tree`]), as the commands' own user.

mod git;
mod names;
mod settings;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Type;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::stat::{FileStat, SFlag};
use nix::time::{ClockId, clock_gettime};

use self::names::{Matched, Place, fold, look_up, places};
use self::tree::{Stamp, Tree, is_aside, kind, stamp};
use crate::sys::process::FilesAs;
use crate::wire::runner::{Aftermath, Fate, Found, FoundKind, Ground, LaterAction, MAX_FOUND, SandboxSpec};

/// Most directories that are walked and watched, the shallow ones first.
const MAX_DIRECTORIES: usize = 4096;
/// Most entries that are read of them in one look.
const MAX_ENTRIES: usize = 200_000;
/// Longest look.
const MAX_TIME: Duration = Duration::from_millis(300);
/// Most events that are read before the tree is walked instead.
const MAX_EVENTS: usize = 16_384;
/// The look that begins to watch.
const WATCHED_FROM: u32 = 2;
/// Where programs keep what others wrote: walked last.
const DEPENDENCIES: [&str; 6] = ["node_modules", "target", "vendor", ".venv", "venv", "__pycache__"];

/// The clock while what is there at the start is taken note of: nothing is newer.
const START: (i64, i64) = (i64::MAX, 0);

/// Watches one workspace for a session.
#[derive(Debug)]
pub(super) struct Watch {
    tree: Tree,
    /// Where the workspace is, for links that name it.
    top: PathBuf,
    /// The commands' user and group.
    ids: (u32, u32),
    action: LaterAction,
    places: Vec<Place>,
    settings: Vec<String>,
    /// What changed from here on was changed in this session.
    since: (i64, i64),
    /// What commands see read-only: what happens there was not them.
    fixed: BTreeSet<PathBuf>,
    known: BTreeMap<PathBuf, (Stamp, Role)>,
    /// The directories at places of the workspace's own level that were there at the start, by inode: their times would not
    /// show that an older directory was moved there and something was made in it.
    stood: BTreeMap<PathBuf, u64>,
    /// What the configurations said before commands could change them.
    configurations: git::Configurations,
    looks: u32,
    inotify: Option<Inotify>,
    watched: HashMap<WatchDescriptor, Directory>,
    /// Whether everything within bounds is watched.
    walked: bool,
    look: Look,
}

/// A file that is known, by what reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// At a place, the one with this number.
    Place(usize),
    Hook,
    Configuration,
    /// A `.git` file.
    Pointer,
    /// A `commondir` file.
    Common,
}

/// A directory that is to be looked at, or is watched.
#[derive(Debug, Clone)]
struct Directory {
    path: PathBuf,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// Any directory, with what its name began.
    Plain(Vec<Matched>),
    /// At a place, or in one.
    Place(usize),
    /// A repository, or what holds its hooks or those of its parts: its own directory.
    Git(PathBuf),
}

/// One look at the workspace.
#[derive(Debug, Default)]
struct Look {
    found: Aftermath,
    queue: VecDeque<Directory>,
    last: VecDeque<Directory>,
    repositories: BTreeSet<PathBuf>,
    directories: usize,
    entries: usize,
    until: Option<Instant>,
}

impl Watch {
    /// Takes note of what there is. `mount` is the workspace, with nothing mounted in it. `None` where nothing is looked
    /// for: commands cannot write, or the policy does not mind.
    pub(super) fn new(spec: &SandboxSpec, mount: OwnedFd) -> Option<Self> {
        let workspace = &spec.workspace;
        if !workspace.writable || workspace.later.action == LaterAction::Allow {
            return None;
        }
        let mut watch = Self {
            tree: Tree::new(mount),
            top: workspace.path.clone(),
            ids: (spec.identity.uid, spec.identity.gid),
            action: workspace.later.action,
            places: places(workspace),
            settings: workspace.later.settings.clone(),
            since: START,
            fixed: BTreeSet::new(),
            known: BTreeMap::new(),
            stood: BTreeMap::new(),
            configurations: git::Configurations::new(),
            looks: 0,
            inotify: None,
            watched: HashMap::new(),
            walked: false,
            look: Look::default(),
        };
        let _as = FilesAs::enter(watch.ids.0, watch.ids.1).ok()?;
        let frozen = workspace.frozen.iter().map(|path| path.strip_prefix(&watch.top).unwrap_or(path));
        // Without mounts nothing is.
        let mounted = spec.ground != Ground::Bare;
        let fixed = frozen.filter(|path| mounted && watch.tree.stat(path).is_ok());
        watch.fixed = fixed.map(Path::to_owned).collect();
        // With the clock at its end nothing is new: this is what was there.
        watch.look = Look::start();
        watch.visit(&Directory { path: PathBuf::new(), what: What::Plain(Vec::new()) });
        let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE).map(|now| (now.tv_sec(), now.tv_nsec()));
        watch.since = now.unwrap_or((0, 0));
        Some(watch)
    }

    /// Looks at what has happened since the last look, and sets aside what is not to be obeyed.
    pub(super) fn look(&mut self) -> Aftermath {
        self.looks = self.looks.saturating_add(1);
        // Neither is a matter of whose files they are, and nearly always there is nothing.
        let (events, trusted) = self.hear();
        let changed = self.changed();
        if trusted && self.walked && events.is_empty() && changed.is_empty() {
            return Aftermath::default();
        }
        self.walked &= trusted;
        let Ok(_as) = FilesAs::enter(self.ids.0, self.ids.1) else {
            // What was heard is lost.
            self.walked = false;
            let unseen = Some("the runner could not look as the commands' user".to_owned());
            return Aftermath { unseen, ..Aftermath::default() };
        };
        self.look = Look::start();
        if self.looks == WATCHED_FROM {
            // As the commands' user, of whom there may be a limited number of these.
            self.inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok();
        }
        for (path, role) in changed {
            self.meet(&path, role, false);
        }
        self.heed(events);
        if !self.walked {
            self.walk();
        }
        self.go_on();
        std::mem::take(&mut self.look).found
    }

    /// Known files whose stamp is another one now, or that are not there.
    fn changed(&self) -> Vec<(PathBuf, Role)> {
        let changed = self.known.iter().filter(|(path, (known, _))| {
            self.tree.stat(path).map_or_else(|_| true, |stat| stamp(&stat) != *known)
        });
        changed.map(|(path, (_, role))| (path.clone(), *role)).collect()
    }

    /// What inotify has to say, and whether that can be trusted: all of it before the first is acted on, because what is read
    /// after a look at what it is about would be lost.
    fn hear(&self) -> (Vec<InotifyEvent>, bool) {
        let mut events = Vec::new();
        loop {
            match self.inotify.as_ref().map(Inotify::read_events) {
                Some(Ok(more)) if events.len() < MAX_EVENTS => events.extend(more),
                Some(Err(Errno::EAGAIN)) => return (events, true),
                Some(Err(Errno::EINTR)) => {}
                _ => return (events, false),
            }
        }
    }

    /// Looks at what inotify has spoken of.
    fn heed(&mut self, events: Vec<InotifyEvent>) {
        let lost = AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_MOVE_SELF;
        for event in events {
            if event.mask.intersects(lost) {
                self.walked = false;
            } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.watched.remove(&event.wd);
            } else if let (Some(name), Some(directory)) = (event.name, self.watched.get(&event.wd).cloned()) {
                let is_directory = event.mask.contains(AddWatchFlags::IN_ISDIR);
                let entry = if is_directory { Type::Directory } else { Type::File };
                self.entry(&directory, &name, Some(entry), true);
            }
        }
    }

    /// Walks everything, within bounds, and watches it from then on.
    fn walk(&mut self) {
        self.watched.clear();
        self.walked = self.inotify.is_some();
        self.look.queue.push_back(Directory { path: PathBuf::new(), what: What::Plain(Vec::new()) });
    }

    /// Looks at the directories that have turned up, and at what turns up in them.
    fn go_on(&mut self) {
        while let Some(next) = self.look.queue.pop_front().or_else(|| self.look.last.pop_front()) {
            let late = self.look.until.is_some_and(|until| Instant::now() > until);
            let many = self.look.directories >= MAX_DIRECTORIES || self.watched.len() >= MAX_DIRECTORIES;
            if late || many || self.look.entries >= MAX_ENTRIES {
                let at = next.path.display();
                self.look.unseen(format!(
                    "the workspace has more directories than are looked at ({MAX_DIRECTORIES} of them, \
                     {MAX_ENTRIES} entries, {} ms): not at {at} and what came after it",
                    MAX_TIME.as_millis()
                ));
                self.look.queue.clear();
                self.look.last.clear();
                return;
            }
            self.visit(&next);
        }
    }

    fn visit(&mut self, directory: &Directory) {
        let Ok((fd, place)) = self.tree.directory(&directory.path) else { return };
        self.look.directories += 1;
        // Before it is read: what is made in between is found twice rather than never.
        self.watch(&place, directory);
        let (entries, all) = Tree::list(fd, MAX_ENTRIES.saturating_sub(self.look.entries));
        if !all {
            self.look.unseen(format!("{} could not be read to its end", directory.path.display()));
        }
        self.look.entries += entries.len();
        for (name, entry) in &entries {
            self.entry(directory, name, *entry, false);
        }
        let has = |wanted: &str| entries.iter().any(|(name, _)| name == wanted);
        // A directory that looks like a repository without a working tree is one, for git (safe.bareRepository).
        if matches!(directory.what, What::Plain(_)) && has("HEAD") && has("objects") && has("refs") {
            self.repository(&directory.path);
        }
    }

    fn watch(&mut self, place: &str, directory: &Directory) {
        let Some(inotify) = &self.inotify else { return };
        let mask = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        match inotify.add_watch(place, mask) {
            Ok(watch) => drop(self.watched.insert(watch, directory.clone())),
            // Used up, by the command or by others: then the tree is walked each time.
            Err(_) => self.walked = false,
        }
    }

    /// Looks at what is called `name` in a directory. `new` where it is known to have just come there.
    fn entry(&mut self, directory: &Directory, name: &OsStr, entry: Option<Type>, new: bool) {
        let path = directory.path.join(name);
        let folded = fold(name);
        let so_far = match &directory.what {
            What::Git(repository) => {
                if directory.path == *repository && !git::LOOKED_AT.contains(&folded.as_str()) {
                    return;
                }
                if new && git::is_hook(&path, repository) {
                    self.meet(&path, Role::Hook, true);
                }
                return self.repository(&repository.clone());
            }
            What::Place(index) => {
                let (index, what) = (*index, directory.what.clone());
                return match (folded.as_str(), entry) {
                    _ if is_aside(name) => {}
                    (".git", _) => self.pointer(&path, new),
                    (_, Some(Type::Directory)) => self.look.queue.push_back(Directory { path, what }),
                    _ => self.meet(&path, Role::Place(index), new),
                };
            }
            What::Plain(so_far) => so_far,
        };
        if folded == ".git" {
            return self.pointer(&path, new);
        }
        let top = directory.path.as_os_str().is_empty();
        let (whole, begun) = look_up(&self.places, top, so_far, &folded);
        if let Some(index) = whole {
            return self.meet(&path, Role::Place(index), new);
        }
        if entry.is_none_or(|entry| entry == Type::Directory) && !self.fixed.contains(&path) {
            let next = Directory { path, what: What::Plain(begun) };
            let later = DEPENDENCIES.contains(&folded.as_str());
            if later { &mut self.look.last } else { &mut self.look.queue }.push_back(next);
        } else if entry == Some(Type::Symlink) && !begun.is_empty() {
            // The way to a place, through somewhere else.
            let (index, _) = begun[0];
            self.meet(&path, Role::Place(index), new);
        }
    }

    /// Looks at something that is read by what `role` says, and acts where it has come or changed.
    fn meet(&mut self, path: &Path, role: Role, new: bool) {
        if self.fixed.iter().any(|fixed| path.starts_with(fixed)) {
            return;
        }
        let Ok(stat) = self.tree.stat(path) else {
            self.known.remove(path);
            return;
        };
        if self.known.get(path).is_some_and(|(known, _)| *known == stamp(&stat)) {
            return;
        }
        let directory = kind(&stat) == SFlag::S_IFDIR;
        match role {
            Role::Configuration => return self.configuration(path, &stat),
            Role::Pointer if directory => return self.repository(path),
            Role::Hook if directory => return,
            Role::Place(_) if directory && self.since == START => {
                self.stood.insert(path.to_owned(), stat.st_ino);
                return;
            }
            Role::Place(index) if directory && !new && !self.is_new_directory(path, &stat) => {
                self.look.queue.push_back(Directory { path: path.to_owned(), what: What::Place(index) });
                return;
            }
            _ => {}
        }
        if !self.is_news(path, &stat, new) && !directory {
            self.known.insert(path.to_owned(), (stamp(&stat), role));
            return;
        }
        let (found, aside) = match role {
            Role::Place(index) => {
                self.places.get(index).map_or((FoundKind::Settings, true), |it| (it.kind, it.aside))
            }
            Role::Hook => (FoundKind::GitHook, true),
            _ => (FoundKind::GitPointer, true),
        };
        self.find(path, found, aside);
        match self.tree.stat(path) {
            Ok(stat) => drop(self.known.insert(path.to_owned(), (stamp(&stat), role))),
            Err(_) => drop(self.known.remove(path)),
        }
    }

    fn is_news(&self, path: &Path, stat: &FileStat, new: bool) -> bool {
        match self.known.get(path) {
            Some((known, _)) => *known != stamp(stat),
            None => new || (stat.st_ctime, stat.st_ctime_nsec) >= self.since,
        }
    }

    /// Whether a directory at a place came there in this session. One in which something was merely made is older than
    /// that; one that was moved there shows it by its ctime alone, or by not being the one that stood there.
    fn is_new_directory(&self, path: &Path, stat: &FileStat) -> bool {
        if path.parent() == Some(Path::new("")) {
            return self.stood.get(path) != Some(&stat.st_ino);
        }
        if self.tree.born(path).is_some_and(|born| born >= self.since) {
            return true;
        }
        let changed = (stat.st_ctime, stat.st_ctime_nsec) >= self.since;
        changed && (stat.st_mtime, stat.st_mtime_nsec) < self.since
    }

    /// Reports something that is obeyed as a whole, and sets it aside where it is to be.
    fn find(&mut self, path: &Path, kind: FoundKind, aside: bool) {
        let fate = if aside && self.action == LaterAction::SetAside {
            match self.tree.set_aside(path) {
                Ok(to) => Fate::SetAside { to: to.to_string_lossy().into_owned() },
                Err(errno) => Fate::Stays { error: errno.desc().to_owned() },
            }
        } else {
            Fate::Left
        };
        self.look.report(Found { path: path.to_string_lossy().into_owned(), kind, setting: None, fate });
    }
}

impl Look {
    fn start() -> Self {
        Self { until: Some(Instant::now() + MAX_TIME), ..Self::default() }
    }

    fn report(&mut self, found: Found) {
        if self.found.found.len() < MAX_FOUND {
            self.found.found.push(found);
        } else {
            self.found.more += 1;
        }
    }

    /// The first reason stands.
    fn unseen(&mut self, why: String) {
        self.found.unseen.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests;
