//! Sorts paths into classes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use foldhash::fast::FixedState;

use super::Facts;
use super::class::{ClassSet, PathClass};
use super::pattern::NamePattern;
use super::place::{Component, Path};
use super::tables;

/// The paths of one request that classes are made of.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The user's home.
    pub(crate) home: Arc<Path>,
    /// Other users' homes that are known.
    pub(crate) homes: Vec<Path>,
    /// Workspace roots.
    pub(crate) workspaces: Vec<Path>,
    /// Whether the user's home is one: `/` is the home of service users.
    has_home: bool,
    /// Whether this is a container, where a build's output is that wherever it lies.
    contained: bool,
}

/// A set of path patterns, read from the tables, with an index: nearly all entries start with a literal name, and nearly
/// all paths are literal, so that few entries are looked at for one path.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    /// By anchor.
    indices: [Index; 3],
    /// Entries for a name anywhere that are one pattern and no more: only the last component can be one.
    lasts: Lasts,
}

/// Patterns for a last component.
#[derive(Debug, Default)]
struct Lasts {
    /// By the byte that every such name ends with.
    by_byte: HashMap<u8, Vec<usize>, FixedState>,
    /// Those that may end with any byte.
    others: Vec<usize>,
    all: Vec<usize>,
}

impl Lasts {
    fn add(&mut self, index: usize, last: Option<u8>) {
        match last {
            Some(byte) => self.by_byte.entry(byte).or_default().push(index),
            None => self.others.push(index),
        }
        self.all.push(index);
    }

    /// The entries that a component can be held against.
    fn candidates(&self, component: &Component) -> impl Iterator<Item = usize> {
        let (some, others) = match component {
            Component::Name(name) => {
                (name.last().and_then(|byte| self.by_byte.get(byte)), Some(&self.others))
            }
            Component::Pattern(_) | Component::Deep => (Some(&self.all), None),
        };
        some.into_iter().flatten().chain(others.into_iter().flatten()).copied()
    }
}

/// Entries whose first component is one name.
#[derive(Debug, Default)]
struct Named {
    /// By the name of the second.
    by_second: HashMap<Vec<u8>, Vec<usize>, FixedState>,
    /// Those whose second component is a pattern, or that have none.
    others: Vec<usize>,
    all: Vec<usize>,
}

impl Named {
    fn add(&mut self, index: usize, second: Option<Vec<u8>>) {
        self.all.push(index);
        match second {
            Some(name) => self.by_second.entry(name).or_default().push(index),
            None => self.others.push(index),
        }
    }

    /// The entries that what is below the first component can be held against.
    fn candidates(&self, second: Option<&Component>) -> (&[usize], &[usize]) {
        match second {
            Some(Component::Name(name)) => {
                (self.by_second.get(&**name).map_or(&[], Vec::as_slice), &self.others)
            }
            _ => (&self.all, &[]),
        }
    }
}

/// The entries of one anchor.
#[derive(Debug, Default)]
struct Index {
    /// By the name of the first component.
    by_name: HashMap<Vec<u8>, Named, FixedState>,
    /// By the first byte of that name, for paths that begin with a pattern.
    by_byte: HashMap<u8, Vec<usize>, FixedState>,
    /// Entries whose first component is a pattern, or that have none.
    others: Vec<usize>,
    all: Vec<usize>,
    /// The classes of all entries.
    classes: ClassSet,
}

#[derive(Debug)]
struct Entry {
    anchor: Anchor,
    parts: Vec<Part>,
    /// Whether all below the path is meant too.
    open: bool,
    class: PathClass,
    /// Whether it takes what it names out of the class (`!` in the table).
    taken_out: bool,
}

/// One component of an [`Entry`].
#[derive(Debug, Clone)]
struct Part {
    pattern: NamePattern,
    /// The name, where the pattern is one: by far the most, and quick to compare.
    literal: Option<Vec<u8>>,
    /// The byte that every such name begins with, and the one that it ends with, where there is one.
    first: Option<u8>,
    last: Option<u8>,
}

/// How a pattern in a path is held against an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Some name that the pattern stands for is meant.
    Maybe,
    /// As [`Reach::Maybe`], but `*` alone is not taken for every name that there is: `cat *` names no `id_rsa`.
    Pointed,
    /// A glob is taken for every name that it matches, since it will be expanded to them; a hole for none.
    Expanded,
    /// Every name that the pattern stands for is meant: for classes that make an effect harmless.
    Surely,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Root,
    Home,
    Anywhere,
}

static CLASSES: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    for (class, patterns) in tables::CLASSES {
        table.add(*class, patterns);
    }
    table
});

static SHARED: LazyLock<Table> = LazyLock::new(|| Table::new(&["/tmp", "/var/tmp", "/dev/shm"]));

/// Whether a home is a service's: nobody lives in `/var/cache/man`, and what is guarded below `/var` is so by itself.
fn is_of_service(home: &Path) -> bool {
    let system =
        [b"var".as_slice(), b"usr", b"run", b"bin", b"sbin", b"dev", b"proc", b"etc", b"lib", b"nonexistent"];
    home.components.first().is_some_and(|first| system.iter().any(|name| first.may_be(name)))
}

impl Ground {
    /// Reads the facts.
    pub(crate) fn new(facts: &Facts) -> Self {
        let home = Path::literal(&facts.home);
        let homes = facts.homes.values().map(|home| Path::literal(home));
        let homes = homes.filter(|other| *other != home && !is_of_service(other));
        Self {
            has_home: !home.components.is_empty(),
            contained: false,
            homes: homes.filter(|home| !home.components.is_empty()).collect(),
            workspaces: facts.workspaces.iter().map(|root| Path::literal(root)).collect(),
            home: Arc::new(home),
        }
    }

    /// The same homes without the workspaces: for what runs on another host or in a container.
    pub(crate) fn elsewhere(&self, contained: bool) -> Self {
        Self { workspaces: Vec::new(), contained, ..self.clone() }
    }

    /// Whether this is a home as a whole, or may be: a home by name, `/root`, or any direct child of `/home`.
    pub(crate) fn is_home(&self, path: &[Component]) -> bool {
        let same = |home: &Path| home.components.len() == path.len() && home.may_hold(path);
        (self.has_home && same(&self.home))
            || self.homes.iter().any(same)
            || matches!(path, [only] if only.may_be(b"root"))
            || matches!(path, [first, second] if first.may_be(b"home") && !self.is_workspace_part(second))
            || matches!(path, [Component::Name(first), _] if **first == *b"Users")
    }

    /// Whether a workspace lies at this child of `/home`: `/home/runner` may be the workspace of a build host.
    fn is_workspace_part(&self, second: &Component) -> bool {
        let Component::Name(name) = second else { return false };
        self.workspaces.iter().any(|workspace| {
            matches!(workspace.components.as_slice(), [first, only] if first.may_be(b"home") && only.may_be(name))
        })
    }

    /// Whether the path is a directory above a home: its loss takes the home along.
    pub(crate) fn is_above_home(&self, path: &[Component]) -> bool {
        let above = |home: &Path| {
            path.len() < home.components.len()
                && path.iter().zip(&home.components).all(|(part, own)| match own {
                    Component::Name(name) => part.may_be(name),
                    _ => false,
                })
        };
        (self.has_home && above(&self.home)) || self.homes.iter().any(above)
    }

    /// The part of a path below a home, with whether the home is the user's own.
    fn below_home<'a>(&self, path: &'a [Component]) -> Option<(&'a [Component], bool)> {
        let below = |home: &Path| home.may_hold(path).then(|| path.get(home.components.len()..)).flatten();
        if self.has_home
            && let Some(rest) = below(&self.home)
        {
            return Some((rest, true));
        }
        if let Some(rest) = self.homes.iter().find_map(below) {
            return Some((rest, false));
        }
        match path {
            [first, rest @ ..] if first.may_be(b"root") => Some((rest, false)),
            [first, _, rest @ ..] if first.may_be(b"home") => Some((rest, false)),
            _ => None,
        }
    }
}

/// The classes of a path.
pub(crate) fn classify(path: &Path, ground: &Ground) -> ClassSet {
    let components = path.components.as_slice();
    let mut classes = ClassSet::NONE;
    if components.is_empty() {
        classes.insert(PathClass::Root);
    }
    let home = ground.below_home(components);
    let holding = ground.workspaces.iter().filter(|workspace| workspace.surely_holds(components));
    let below = holding.map(|workspace| workspace.components.len()).max().unwrap_or_default();
    classes |= CLASSES.classes(components, home.map(|(rest, _)| rest), below);
    if path.is_loose() {
        return classes;
    }
    // `/???` may be `/usr`: the table has matched it. `/var/lib/x` below a workspace at `/var/lib/x` is the workspace's.
    let tail = path.without_broad_tail();
    for workspace in &ground.workspaces {
        if workspace.surely_holds(components) {
            classes.insert(PathClass::Workspace);
        }
        if tail.len() <= workspace.components.len() && covers_literal(tail, &workspace.components) {
            classes.insert(PathClass::WorkspaceRoot);
        }
    }
    // What is temporary is nobody's, also below `/var`.
    if classes.has(PathClass::Temp) {
        classes = classes.without(&[PathClass::System]);
    }
    // Emptying a shared directory is not the same as removing something of one's own from it.
    if SHARED.may_hold(tail, Reach::Maybe) {
        classes.insert(PathClass::System);
    }
    let in_workspace = classes.has(PathClass::Workspace);
    match home {
        Some((_, true)) if !in_workspace => classes.insert(PathClass::Home),
        Some((_, false)) if !in_workspace => classes.insert(PathClass::OtherHome),
        _ => {}
    }
    if in_workspace {
        let location = [PathClass::Temp, PathClass::Mounted, PathClass::Elsewhere];
        classes = classes.without(&location);
        if ground.workspaces.iter().any(|workspace| workspace.components.len() >= 2) {
            classes = classes.without(&[PathClass::System]);
        }
    } else {
        if !ground.contained {
            classes = classes.without(&[PathClass::Build]);
        }
        let somewhere = ClassSet::of(&[
            PathClass::Root,
            PathClass::System,
            PathClass::Mounted,
            PathClass::Temp,
            PathClass::Device,
            PathClass::Stream,
            PathClass::Kernel,
            PathClass::Home,
            PathClass::OtherHome,
        ]);
        if !classes.meets(somewhere) {
            classes.insert(if components.first().is_some_and(|first| first.may_be(b"proc")) {
                PathClass::System
            } else {
                PathClass::Elsewhere
            });
        }
    }
    classes
}

/// The classes of what may lie below a path.
pub(crate) fn covers(path: &Path, ground: &Ground) -> ClassSet {
    if path.is_loose() {
        return ClassSet::NONE;
    }
    let components = path.components.as_slice();
    let mut classes = CLASSES.covered(components, ground);
    let holds = |root: &Path| {
        components.len() <= root.components.len() && covers_literal(components, &root.components)
    };
    if ground.has_home && holds(&ground.home) {
        classes.insert(PathClass::Home);
    }
    if ground.homes.iter().any(holds) {
        classes.insert(PathClass::OtherHome);
    }
    if ground.workspaces.iter().any(holds) {
        classes.insert(PathClass::Workspace);
    }
    classes
}

/// Whether the path, which may hold patterns, is the start of a literal one.
fn covers_literal(path: &[Component], literal: &[Component]) -> bool {
    path.iter().zip(literal).all(|(part, own)| matches!(own, Component::Name(name) if part.may_be(name)))
}

impl Table {
    /// A table of one class.
    pub(crate) fn new(patterns: &[&str]) -> Self {
        let mut table = Self::default();
        table.add(PathClass::System, patterns);
        table
    }

    fn add(&mut self, class: PathClass, patterns: &[&str]) {
        for pattern in patterns {
            for alternative in braces(pattern) {
                let entry = Entry::parse(&alternative, class);
                let index = self.entries.len();
                let name = |at: usize| entry.parts.get(at).and_then(|part| part.literal.clone());
                let (literal, second) = (name(0), name(1));
                let single = entry.parts.len() == 1 && !entry.open && literal.is_none();
                if single && entry.anchor == Anchor::Anywhere {
                    self.lasts.add(index, entry.parts.first().and_then(|part| part.last));
                } else if let Some(own) = self.indices.get_mut(entry.anchor as usize) {
                    own.all.push(index);
                    own.classes.insert(class);
                    match literal {
                        Some(name) => {
                            if let Some(byte) = name.first() {
                                own.by_byte.entry(*byte).or_default().push(index);
                            }
                            own.by_name.entry(name).or_default().add(index, second);
                        }
                        None => own.others.push(index),
                    }
                }
                self.entries.push(entry);
            }
        }
    }

    /// The entries of an anchor that a path can be held against.
    fn candidates(&self, anchor: Anchor, path: &[Component]) -> impl Iterator<Item = &Entry> {
        const NONE: &[usize] = &[];
        let lists: [&[usize]; 3] = match (self.indices.get(anchor as usize), path.first()) {
            (None, _) => [NONE; 3],
            (Some(own), Some(Component::Name(name))) => {
                let named = own.by_name.get(&**name).map_or((NONE, NONE), |own| own.candidates(path.get(1)));
                [named.0, named.1, &own.others]
            }
            (Some(own), Some(Component::Pattern(pattern))) => match pattern.first_byte() {
                Some(byte) => [own.by_byte.get(&byte).map_or(NONE, Vec::as_slice), &own.others, NONE],
                None => [&own.all, NONE, NONE],
            },
            (Some(own), Some(Component::Deep)) => [&own.all, NONE, NONE],
            (Some(own), None) => [&own.others, NONE, NONE],
        };
        lists.into_iter().flatten().filter_map(|index| self.entries.get(*index))
    }

    /// The classes of the entries that the path may be, or may be below.
    ///
    /// What a build makes lies below a workspace, of which `below` is the depth: a workspace in `~/tmp` is nothing that a build
    /// makes again.
    fn classes(&self, path: &[Component], home: Option<&[Component]>, below: usize) -> ClassSet {
        let mut classes = ClassSet::NONE;
        let mut out = ClassSet::NONE;
        let mut hold = |entry: &Entry, path: &[Component]| {
            let set = if entry.taken_out { &mut out } else { &mut classes };
            if !set.has(entry.class) && entry.takes_at(path, entry.reach()) {
                set.insert(entry.class);
            }
        };
        let mut pointed = ClassSet::NONE;
        let made = |entry: &Entry, from: usize| entry.class != PathClass::Build || from >= below;
        for entry in self.candidates(Anchor::Root, path) {
            hold(entry, path);
        }
        let loose = path_is_loose(path);
        if let Some(rest) = home {
            for entry in self.candidates(Anchor::Home, rest) {
                hold(entry, rest);
            }
        } else if loose && let Some(rest) = path.get(1..) {
            for entry in self.candidates(Anchor::Home, rest).filter(|_| !rest.is_empty()) {
                if !entry.taken_out && entry.takes_at(rest, Reach::Pointed) {
                    pointed.insert(entry.class);
                }
            }
        }
        if let Some(last) = path.len().checked_sub(1).and_then(|last| path.get(last..)) {
            let entries = last.iter().flat_map(|component| self.lasts.candidates(component));
            let from = path.len().saturating_sub(1);
            for entry in entries.filter_map(|index| self.entries.get(index)).filter(|entry| made(entry, from))
            {
                hold(entry, last);
            }
        }
        for from in 0..path.len() {
            let Some(rest) = path.get(from..) else { break };
            for entry in self.candidates(Anchor::Anywhere, rest).filter(|entry| made(entry, from)) {
                hold(entry, rest);
            }
        }
        (classes | pointed).minus(out)
    }

    /// Whether the path may be one of the table's, or below an open one.
    pub(crate) fn may_hold(&self, path: &[Component], reach: Reach) -> bool {
        self.candidates(Anchor::Root, path).any(|entry| entry.takes_at(path, reach))
    }

    /// The classes of the entries that lie below the path.
    fn covered(&self, path: &[Component], ground: &Ground) -> ClassSet {
        let mut classes = ClassSet::NONE;
        let mut cover = |anchor: Anchor, path: &[Component]| {
            // of the root, or a home, all entries lie below
            if path.is_empty() {
                classes |= self.indices.get(anchor as usize).map_or(ClassSet::NONE, |own| own.classes);
                return;
            }
            for entry in self.candidates(anchor, path) {
                if !entry.taken_out && !classes.has(entry.class) && entry.starts_with(path) {
                    classes.insert(entry.class);
                }
            }
        };
        cover(Anchor::Root, path);
        if let Some(rest) = ground.has_home.then(|| rest_of_home(path, &ground.home)).flatten() {
            cover(Anchor::Home, rest);
        }
        classes
    }
}

/// What of the path is below the home; empty where the path is the home or above it.
fn rest_of_home<'a>(path: &'a [Component], home: &Path) -> Option<&'a [Component]> {
    covers_literal(path, &home.components).then(|| path.get(home.components.len()..).unwrap_or(&[]))
}

impl Entry {
    fn parse(pattern: &str, class: PathClass) -> Self {
        let (taken_out, pattern) = pattern.strip_prefix('!').map_or((false, pattern), |rest| (true, rest));
        let (anchor, rest) = if let Some(rest) = pattern.strip_prefix("~/") {
            (Anchor::Home, rest)
        } else if let Some(rest) = pattern.strip_prefix("**/") {
            (Anchor::Anywhere, rest)
        } else {
            (Anchor::Root, pattern)
        };
        let (rest, open) = rest.strip_suffix("/**").map_or((rest, false), |rest| (rest, true));
        let parts = rest.split('/').filter(|part| !part.is_empty()).map(|part| Part {
            pattern: NamePattern::parse(part.as_bytes()),
            literal: (!part.contains(['*', '?', '['])).then(|| part.as_bytes().to_vec()),
            first: part.bytes().next().filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'.'),
            last: part.bytes().last().filter(|byte| !matches!(byte, b'*' | b'?' | b']')),
        });
        Self { anchor, parts: parts.collect(), open, class, taken_out }
    }

    /// How a pattern in a path is held against the entry.
    fn reach(&self) -> Reach {
        match self.anchor {
            // These make an effect harmless.
            _ if self.taken_out => Reach::Surely,
            _ if matches!(self.class, PathClass::Build | PathClass::Stream | PathClass::Temp) => {
                Reach::Surely
            }
            // A hole that may be anything is no certainty, and what is said of these is no question.
            _ if self.class == PathClass::Execward => Reach::Expanded,
            Anchor::Anywhere => Reach::Pointed,
            Anchor::Root | Anchor::Home => Reach::Maybe,
        }
    }

    fn takes_at(&self, path: &[Component], reach: Reach) -> bool {
        (path.len() == self.parts.len() || (self.open && path.len() > self.parts.len()))
            && self.parts.iter().zip(path).all(|(part, component)| part.takes(component, reach))
            && !(self.class == PathClass::Credential && !self.taken_out && self.is_met_by_extension(path))
    }

    /// Whether a name of the entry is met by a pattern that says no more than how names end: `/etc/*.conf` may be
    /// `/etc/krb5.conf`, but nobody means that.
    fn is_met_by_extension(&self, path: &[Component]) -> bool {
        self.parts.iter().zip(path).any(|(part, component)| {
            let named = |pattern: &NamePattern| pattern.is_extension() && !pattern.points_at(&part.pattern);
            matches!(component, Component::Pattern(pattern) if named(pattern))
        })
    }

    /// Whether the entry lies strictly below the path.
    fn starts_with(&self, path: &[Component]) -> bool {
        path.len() < self.parts.len()
            && self.parts.iter().zip(path).all(|(part, component)| part.takes(component, Reach::Maybe))
    }
}

fn path_is_loose(path: &[Component]) -> bool {
    matches!(path.first(), Some(Component::Deep))
}

impl Part {
    fn takes(&self, component: &Component, reach: Reach) -> bool {
        match (component, &self.literal) {
            (Component::Name(name), Some(literal)) => **name == **literal,
            (Component::Name(name), None) => {
                let may = |own: Option<u8>, theirs: Option<&u8>| own.is_none() || own.as_ref() == theirs;
                may(self.first, name.first()) && may(self.last, name.last()) && self.pattern.may_be(name)
            }
            (Component::Deep, _) => false,
            (Component::Pattern(pattern), _) if reach == Reach::Surely => pattern.surely_is(&self.pattern),
            (Component::Pattern(pattern), _) if reach == Reach::Expanded && pattern.has_hole() => {
                pattern.surely_is(&self.pattern)
            }
            (Component::Pattern(pattern), _) if reach == Reach::Pointed && pattern.is_broad() => false,
            (Component::Pattern(pattern), None) if reach == Reach::Pointed => {
                pattern.points_at(&self.pattern)
            }
            (Component::Pattern(pattern), Some(literal)) => pattern.may_be(literal),
            (Component::Pattern(pattern), None) => pattern.may_meet(&self.pattern),
        }
    }
}

/// Brace alternatives of a table's pattern: `/{,usr/}bin` is `/bin` and `/usr/bin`.
fn braces(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let Some((list, after)) = rest.split_once('}') else { return vec![pattern.to_owned()] };
    list.split(',').flat_map(|choice| braces(&format!("{before}{choice}{after}"))).collect()
}
