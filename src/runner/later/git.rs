//! What git executes by itself: hooks, settings, and where both are looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Type;
use nix::sys::stat::{FileStat, SFlag};

use super::names::resolve;
use super::settings::{self, Setting};
use super::tree::{Tree, is_aside, kind, stamp};
use super::{Directory, Role, Watch, What};
use crate::wire::runner::{Fate, Found, FoundKind, LaterAction};

/// What of a repository's own directory is looked at; everything else there may come and go.
pub(super) const LOOKED_AT: [&str; 6] =
    ["hooks", "config", "config.worktree", "commondir", "modules", "worktrees"];

/// Largest file that git is expected to read here.
const MAX_FILE: u64 = 1 << 20;
/// Most hooks, modules and worktrees of one repository.
const MAX_PARTS: usize = 1024;
/// How deep the name of a module may be.
const MAX_MODULE_DEPTH: usize = 8;

/// Of each configuration, the settings that execute something and that were there before.
pub(super) type Configurations = BTreeMap<PathBuf, BTreeSet<(String, String)>>;

/// Whether git would execute what is at `path` by itself: in `hooks`, and not one of the samples that `git init` copies.
pub(super) fn is_hook(path: &Path, repository: &Path) -> bool {
    let is_inert =
        path.extension().is_some_and(|it| it == "sample") || path.file_name().is_some_and(is_aside);
    path.parent() == Some(&repository.join("hooks")) && !is_inert
}

impl Watch {
    /// A `.git` of whatever kind.
    pub(super) fn pointer(&mut self, path: &Path, new: bool) {
        let Ok(stat) = self.tree.stat(path) else { return };
        match kind(&stat) {
            SFlag::S_IFDIR => self.repository(path),
            SFlag::S_IFREG => {
                let base = path.parent().unwrap_or(Path::new(""));
                self.leads(path, base, b"gitdir:", Role::Pointer, new);
            }
            _ => self.meet(path, Role::Pointer, new),
        }
    }

    /// A file that names where a repository is: inside the workspace it is looked at there; one that leads out is found.
    fn leads(&mut self, path: &Path, base: &Path, prefix: &[u8], role: Role, new: bool) {
        let target = self.tree.read(path, MAX_FILE).ok().and_then(|(bytes, _)| {
            let rest = bytes.strip_prefix(prefix)?;
            let target = Path::new(OsStr::from_bytes(rest.trim_ascii())).to_owned();
            let target = resolve(&self.top, base, &target)?;
            // What cannot be reached without a symbolic link is not known to be inside.
            self.tree.directory(&target).is_ok().then_some(target)
        });
        match target {
            Some(target) => {
                if let Ok(stat) = self.tree.stat(path) {
                    self.known.insert(path.to_owned(), (stamp(&stat), role));
                }
                self.repository(&target);
            }
            None => self.meet(path, role, new),
        }
    }

    /// Looks at a repository: its hooks, its settings, and those of its modules and worktrees.
    pub(super) fn repository(&mut self, at: &Path) {
        if !self.look.repositories.insert(at.to_owned()) {
            return;
        }
        let Ok((_held, place)) = self.tree.directory(at) else {
            // A `.git` that is a symbolic link, or lies behind one.
            return self.meet(at, Role::Pointer, false);
        };
        self.look.directories += 1;
        let what = What::Git(at.to_owned());
        self.watch(&place, &Directory { path: at.to_owned(), what: what.clone() });
        self.hooks(at, &what);
        for name in ["config", "config.worktree"] {
            self.meet(&at.join(name), Role::Configuration, false);
        }
        let common = at.join("commondir");
        if self.tree.stat(&common).is_ok() {
            self.leads(&common, at, b"", Role::Common, false);
        }
        self.parts(&at.join("worktrees"), &what, MAX_MODULE_DEPTH);
        self.parts(&at.join("modules"), &what, 0);
    }

    fn hooks(&mut self, repository: &Path, what: &What) {
        let path = repository.join("hooks");
        if self.fixed.contains(&path) {
            return;
        }
        match self.tree.directory(&path) {
            Ok((fd, place)) => {
                self.watch(&place, &Directory { path: path.clone(), what: what.clone() });
                let (entries, all) = Tree::list(fd, MAX_PARTS);
                if !all {
                    self.look.unseen(format!("{} has more than {MAX_PARTS} entries", path.display()));
                }
                for (name, _) in entries {
                    let hook = path.join(name);
                    if is_hook(&hook, repository) {
                        self.meet(&hook, Role::Hook, false);
                    }
                }
            }
            // A symbolic link to where they are, or something else.
            Err(_) if self.tree.stat(&path).is_ok() => self.meet(&path, Role::Hook, false),
            Err(_) => {}
        }
    }

    /// Repositories below `modules` (whose names may have slashes) and `worktrees`.
    fn parts(&mut self, path: &Path, what: &What, depth: usize) {
        let Ok((fd, place)) = self.tree.directory(path) else { return };
        self.watch(&place, &Directory { path: path.to_owned(), what: what.clone() });
        let (entries, all) = Tree::list(fd, MAX_PARTS);
        if !all {
            self.look.unseen(format!("{} has more than {MAX_PARTS} entries", path.display()));
        }
        for (name, entry) in entries {
            let part = path.join(name);
            if entry.is_some_and(|entry| entry != Type::Directory) {
                continue;
            }
            if self.tree.stat(&part.join("HEAD")).is_ok() || depth == MAX_MODULE_DEPTH {
                self.repository(&part);
            } else if depth < MAX_MODULE_DEPTH {
                self.parts(&part, what, depth + 1);
            }
        }
    }

    /// Looks at a configuration: settings that execute something and were not there before are taken out of it.
    pub(super) fn configuration(&mut self, path: &Path, stat: &FileStat) {
        let news = self.is_news(path, stat, false);
        let read = self.tree.read(path, MAX_FILE).ok();
        let Some((bytes, stat)) = read else {
            // Not a file, or too large: whatever git makes of it.
            return self.reject(path, news);
        };
        let Some(all) = settings::parse(&bytes) else { return self.reject(path, news) };
        let executing: Vec<&Setting> = all.iter().filter(|it| self.executes(path, it)).collect();
        let pair = |it: &Setting| (it.key.clone(), it.value.clone());
        let before = self.configurations.get(path).cloned().unwrap_or_default();
        if !news {
            self.configurations.insert(path.to_owned(), executing.iter().map(|it| pair(it)).collect());
            self.known.insert(path.to_owned(), (stamp(&stat), Role::Configuration));
            return;
        }
        let new: Vec<&Setting> = executing.into_iter().filter(|it| !before.contains(&pair(it))).collect();
        if !new.is_empty() {
            let fate = match self.action {
                LaterAction::SetAside => {
                    match self.tree.replace(path, &settings::without(&bytes, &new), stat.st_mode) {
                        Ok(to) => Fate::SetAside { to: to.to_string_lossy().into_owned() },
                        Err(errno) => Fate::Stays { error: errno.desc().to_owned() },
                    }
                }
                _ => Fate::Left,
            };
            if !matches!(fate, Fate::SetAside { .. }) {
                // Said once.
                self.configurations.entry(path.to_owned()).or_default().extend(new.iter().map(|it| pair(it)));
            }
            for setting in new {
                let (path, setting) = (path.to_string_lossy().into_owned(), Some(setting.key.clone()));
                self.look.report(Found { path, kind: FoundKind::GitSetting, setting, fate: fate.clone() });
            }
        }
        if let Ok(stat) = self.tree.stat(path) {
            self.known.insert(path.to_owned(), (stamp(&stat), Role::Configuration));
        }
        self.configurations.entry(path.to_owned()).or_default();
    }

    /// A configuration that cannot be read as git would.
    fn reject(&mut self, path: &Path, news: bool) {
        if news {
            self.find(path, FoundKind::GitSetting, true);
        }
        match self.tree.stat(path) {
            Ok(stat) => drop(self.known.insert(path.to_owned(), (stamp(&stat), Role::Configuration))),
            Err(_) => drop(self.known.remove(path)),
        }
    }

    /// Whether git executes something for a setting, or works outside the workspace.
    fn executes(&self, path: &Path, setting: &Setting) -> bool {
        let Setting { key, value, .. } = setting;
        if !self.settings.iter().any(|pattern| settings::matches(pattern, key)) {
            return false;
        }
        match key.as_str() {
            // git's own monitor, or none.
            "core.fsmonitor" => {
                !["true", "false", "yes", "no", "on", "off", "1", "0", ""].contains(&value.as_str())
            }
            // As submodules have it: relative to the repository.
            "core.worktree" => {
                let repository = path.parent().unwrap_or(Path::new(""));
                resolve(&self.top, repository, Path::new(value)).is_none()
            }
            // A way of git's own, unless it starts a command.
            key if key.starts_with("submodule.") => value.starts_with('!'),
            _ => true,
        }
    }
}
