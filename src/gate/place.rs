//! Where a path leads: lexical resolution as the kernel would walk it, with globs and holes carried along.
//!
//! No file is looked at, so symbolic links that stand on disk are not followed; those that the same text makes are
//! (see [`Base::links`]). What cannot be known stays a pattern, and is held against every class it may be in.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::shell::{Bytes, Piece, Value};

use super::class::{ClassSet, PathClass};
use super::classify::{Ground, classify, covers};
use super::pattern::NamePattern;

/// A place: all that a path operand may stand for.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// What the operand may be, the plain reading first. A hole that may be empty gives a second reading.
    pub readings: SmallVec<[Reading; 1]>,
    /// The home for which `~/` in policies stands.
    pub(crate) home: Arc<Path>,
}

/// One thing that an operand may stand for.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The path.
    pub path: Path,
    /// What it is.
    pub classes: ClassSet,
    /// What may lie below it, or in it through a glob. Looked up for effects on whole trees only.
    pub covers: ClassSet,
    /// Whether the reading takes a hole that may be empty to be empty.
    pub assumes_empty: bool,
}

/// An absolute path without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path {
    pub(crate) components: Vec<Component>,
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Component {
    /// Exactly this name.
    Name(Bytes),
    /// Any name that matches.
    Pattern(NamePattern),
    /// Any directories, or none: the path starts with something that is not known.
    Deep,
}

/// What paths are resolved against.
#[derive(Debug, Clone)]
pub struct Base {
    /// The working directory; `None` where it is not known.
    pub(crate) cwd: Option<Path>,
    /// The paths that classes are made of.
    pub(crate) ground: Arc<Ground>,
    /// Links and bind mounts that the same text makes: from, to.
    pub(crate) links: Vec<(Path, Path)>,
}

impl Component {
    pub(crate) fn may_be(&self, name: &[u8]) -> bool {
        match self {
            Self::Name(own) => **own == *name,
            Self::Pattern(pattern) => pattern.may_be(name),
            Self::Deep => true,
        }
    }

    fn is_broad(&self) -> bool {
        match self {
            Self::Name(_) => false,
            Self::Pattern(pattern) => !pattern.has_hole() && pattern.is_broad(),
            Self::Deep => false,
        }
    }
}

impl Path {
    /// A path from literal text; relative text is taken as absolute.
    pub(crate) fn literal(text: &str) -> Self {
        let mut path = Self::default();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    path.components.pop();
                }
                name => path.components.push(Component::Name(name.into())),
            }
        }
        path
    }

    /// Where a value leads as it stands, without what it is.
    pub(crate) fn resolve(value: &Value, base: &Base) -> Self {
        walk(&value.pieces, base)
    }

    /// Enters a name.
    pub(crate) fn push(&mut self, name: &[u8]) {
        self.components.push(Component::Name(name.into()));
    }

    /// Whether the path starts with something unknown.
    pub(crate) fn is_loose(&self) -> bool {
        matches!(self.components.first(), Some(Component::Deep))
    }

    /// Whether each component is a name.
    pub(crate) fn is_literal(&self) -> bool {
        self.components.iter().all(|component| matches!(component, Component::Name(_)))
    }

    /// The path without trailing components that take a directory's whole content: `/usr/*` is `/usr`.
    pub(crate) fn without_broad_tail(&self) -> &[Component] {
        let mut components = self.components.as_slice();
        while let Some((last, rest)) = components.split_last() {
            if !last.is_broad() {
                break;
            }
            components = rest;
        }
        components
    }

    /// Whether `self`, a literal path, is `other` or a directory above it. `other` may hold patterns.
    pub(crate) fn may_hold(&self, other: &[Component]) -> bool {
        self.components.len() <= other.len()
            && self.components.iter().zip(other).all(|(own, theirs)| match own {
                Component::Name(name) => theirs.may_be(name),
                _ => true,
            })
    }

    /// Whether `self` is `other` or a directory above it, whatever the patterns in `other` stand for.
    pub(crate) fn surely_holds(&self, other: &[Component]) -> bool {
        self.components.len() <= other.len()
            && self.components.iter().zip(other).all(|(own, theirs)| own == theirs)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.components.is_empty() {
            return f.write_str("/");
        }
        for component in &self.components {
            match component {
                Component::Name(name) => write!(f, "/{}", String::from_utf8_lossy(name))?,
                Component::Pattern(pattern) => write!(f, "/{pattern}")?,
                Component::Deep => f.write_str("...")?,
            }
        }
        Ok(())
    }
}

impl Reading {
    /// Whether the path is known but for globs inside it.
    pub fn is_definite(&self) -> bool {
        !self.classes.has(PathClass::Unknown) && !self.assumes_empty
    }
}

impl Place {
    /// Every class that any reading is in.
    pub fn may_be(&self) -> ClassSet {
        self.readings.iter().fold(ClassSet::NONE, |all, reading| all | reading.classes)
    }

    /// Resolves an operand. The plain reading comes first; if a hole may be empty, the reading in which it is follows.
    pub fn resolve(value: &Value, base: &Base) -> Self {
        let mut readings = SmallVec::new();
        let mut add = |pieces: &[Piece], assumes_empty: bool| {
            let reading = Reading::of(pieces, base, assumes_empty);
            if !readings
                .iter()
                .any(|other: &Reading| other.path == reading.path && other.classes == reading.classes)
            {
                readings.push(reading);
            }
        };
        add(&value.pieces, false);
        let may_be_empty = |piece: &Piece| matches!(piece, Piece::Unknown(unknown) if unknown.may_be_empty);
        if value.pieces.iter().any(may_be_empty) {
            let without: Vec<Piece> =
                value.pieces.iter().filter(|piece| !may_be_empty(piece)).cloned().collect();
            add(&without, true);
            if value.pieces.first().is_some_and(may_be_empty) {
                add(value.pieces.get(1..).unwrap_or(&[]), true);
            }
        }
        Self { readings, home: Arc::clone(&base.ground.home) }
    }

    /// Looks up what may lie below each reading, for an effect on whole trees.
    pub(crate) fn look_below(&mut self, ground: &Ground) {
        for reading in self.readings.iter_mut().filter(|reading| !reading.classes.has(PathClass::Empty)) {
            reading.covers = covers(&reading.path, ground);
            // A hole that may be empty is no certainty, and what is said of this class is no question.
            if reading.assumes_empty || reading.path.components.iter().any(is_free_hole) {
                reading.covers = reading.covers.without(&[PathClass::Execward]);
            }
        }
    }
}

impl Reading {
    fn of(pieces: &[Piece], base: &Base, assumes_empty: bool) -> Self {
        if pieces.is_empty() {
            let classes = ClassSet::of(&[PathClass::Empty]);
            return Self { path: Path::default(), classes, covers: ClassSet::NONE, assumes_empty };
        }
        let path = walk(pieces, base);
        let mut classes = classify(&path, &base.ground);
        // A hole by itself between slashes may hold `..`; one with text around it hardly does.
        if path.is_loose() || path.components.iter().any(is_free_hole) && !confined(pieces) {
            classes.insert(PathClass::Unknown);
        }
        // What the shell has just made holds no keys, whatever its name.
        if classes.has(PathClass::Temp) && classes.has(PathClass::Credential) && is_fresh(pieces) {
            classes = classes.without(&[PathClass::Credential]);
        }
        Self { path, classes, covers: ClassSet::NONE, assumes_empty }
    }
}

fn is_free_hole(component: &Component) -> bool {
    matches!(component, Component::Pattern(pattern) if pattern.has_hole() && pattern.is_anything())
}

/// Whether the hole is a temporary file or directory that was just made, rather than one that was found.
fn is_fresh(pieces: &[Piece]) -> bool {
    confined(pieces)
        && matches!(pieces.first(), Some(Piece::Unknown(unknown))
            if !unknown.source.contains("find") && !unknown.source.contains("ls"))
}

/// Whether every hole is a path that the shell or a program made below a known directory.
fn confined(pieces: &[Piece]) -> bool {
    pieces.iter().all(|piece| !matches!(piece, Piece::Unknown(unknown) if unknown.below.is_none()))
}

/// Walks the pieces as the kernel walks a path.
fn walk(pieces: &[Piece], base: &Base) -> Path {
    if let Some(path) = drive(pieces) {
        return path;
    }
    let mut walker = Walker { path: Path::default(), base };
    // by far the most
    if let [Piece::Known(bytes)] = pieces {
        if bytes.first() != Some(&b'/') {
            walker.start();
        }
        bytes.split(|byte| *byte == b'/').for_each(|name| walker.name(name));
        return walker.path;
    }
    let pieces = &slashes_out(pieces);
    let rest = match pieces.split_first() {
        Some((Piece::Known(bytes), _)) if bytes.first() == Some(&b'/') => pieces.as_slice(),
        Some((Piece::Unknown(unknown), rest)) => {
            match &unknown.below {
                Some(below) => {
                    walker.path = walk(&[Piece::known(below.as_slice())], base);
                    walker
                        .enter(Component::Pattern(NamePattern::from_pieces(pieces.get(..1).unwrap_or(&[]))));
                }
                None => walker.path.components.push(Component::Deep),
            }
            rest
        }
        _ => {
            walker.start();
            pieces.as_slice()
        }
    };
    let mut part: Vec<Piece> = Vec::new();
    for piece in rest {
        match piece {
            Piece::Known(bytes) => {
                let mut segments = bytes.split(|byte| *byte == b'/');
                if let Some(first) = segments.next() {
                    push_known(&mut part, first);
                }
                for segment in segments {
                    walker.take(&mut part);
                    push_known(&mut part, segment);
                }
            }
            // A slash inside a bracket expression ends the component for a shell.
            Piece::Glob(_) | Piece::Unknown(_) => part.push(piece.clone()),
        }
    }
    walker.take(&mut part);
    walker.path
}

/// The root for a drive of Windows as a whole (`C:\\`, `C:/*`), and a directory of the system for one of its own: a text that
/// names them is for WSL, MSYS or another machine. No file is called so where they do not exist.
fn drive(pieces: &[Piece]) -> Option<Path> {
    let (Piece::Known(bytes), more) = pieces.split_first()? else { return None };
    let [letter, b':', b'\\' | b'/', rest @ ..] = &**bytes else { return None };
    let whole = match more {
        [] => true,
        [Piece::Glob(pattern)] => &**pattern == b"*",
        _ => false,
    };
    if !letter.is_ascii_alphabetic() || !whole {
        return None;
    }
    let rest = String::from_utf8_lossy(rest).to_ascii_lowercase();
    match rest.trim_end_matches(['\\', '/', '*']) {
        "" => Some(Path::default()),
        "windows"
        | "windows\\system32"
        | "windows/system32"
        | "users"
        | "program files"
        | "program files (x86)"
        | "programdata" => Some(Path::literal("/usr")),
        _ => None,
    }
}

/// Patterns without the slashes that a library call may leave in them (`glob("/etc/*")`).
fn slashes_out(pieces: &[Piece]) -> Vec<Piece> {
    let mut apart = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let Piece::Glob(bytes) = piece else {
            apart.push(piece.clone());
            continue;
        };
        for (index, part) in bytes.split(|byte| *byte == b'/').enumerate() {
            if index > 0 {
                apart.push(Piece::known(b"/"));
            }
            if part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'(')) {
                apart.push(Piece::glob(part));
            } else if !part.is_empty() {
                apart.push(Piece::known(part));
            }
        }
    }
    apart
}

fn push_known(part: &mut Vec<Piece>, bytes: &[u8]) {
    if !bytes.is_empty() {
        part.push(Piece::known(bytes));
    }
}

struct Walker<'a> {
    path: Path,
    base: &'a Base,
}

/// More components than the kernel would walk (PATH_MAX is 4096 bytes).
const MOST_COMPONENTS: usize = 2048;

impl Walker<'_> {
    /// Starts where relative paths do.
    fn start(&mut self) {
        match &self.base.cwd {
            Some(cwd) => {
                // room for the names that follow
                self.path.components.reserve(cwd.components.len() + 4);
                self.path.components.extend_from_slice(&cwd.components);
            }
            None => self.path.components.push(Component::Deep),
        }
    }

    fn name(&mut self, name: &[u8]) {
        match name {
            b"" | b"." => {}
            b".." => self.leave(),
            _ => self.enter(Component::Name(name.into())),
        }
    }

    /// Enters the component that the pieces make up, and forgets them.
    fn take(&mut self, part: &mut Vec<Piece>) {
        let pieces = std::mem::take(part);
        match pieces.as_slice() {
            [] => {}
            [Piece::Known(name)] => self.name(name),
            _ => self.enter(Component::Pattern(NamePattern::from_pieces(&pieces))),
        }
    }

    fn leave(&mut self) {
        if !matches!(self.path.components.last(), Some(Component::Deep)) {
            self.path.components.pop();
        }
    }

    fn enter(&mut self, component: Component) {
        if self.path.components.len() >= MOST_COMPONENTS {
            return;
        }
        self.path.components.push(component);
        self.follow();
    }

    /// Follows the links that are known: those of `/proc`, and those that the text makes.
    fn follow(&mut self) {
        let components = self.path.components.as_slice();
        // where a directory is not known at all it may be `/proc`, too, and hardly ever is
        let of_processes = |first: &Component| !matches!(first, Component::Deep) && first.may_be(b"proc");
        if components.len() >= 3 && components.first().is_some_and(of_processes) {
            let link = match components {
                [_, _, last] | [_, _, Component::Name(_), _, last] => Some(last),
                _ => None,
            };
            let in_task =
                components.len() == 5 && !components.get(2).is_some_and(|part| part.may_be(b"task"));
            match link {
                Some(last) if !in_task && last.may_be(b"root") => {
                    self.path.components.clear();
                    return;
                }
                Some(last) if !in_task && last.may_be(b"cwd") => {
                    if let Some(cwd) = &self.base.cwd {
                        self.path = cwd.clone();
                    }
                    return;
                }
                _ => {}
            }
        }
        if let Some((_, to)) = self.base.links.iter().rev().find(|(from, _)| *from == self.path) {
            self.path = to.clone();
        }
    }
}

/// A path pattern of a policy: `/srv/data/**`, `~/notes/*.txt`. `*` stays within a component, a final `**` takes all
/// that is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathGlob {
    from_home: bool,
    parts: Vec<NamePattern>,
    open: bool,
}

/// The first name of a path, and the second where it is known.
pub(crate) type FirstNames = (Vec<u8>, Option<Vec<u8>>);

impl PathGlob {
    pub(crate) fn parse(text: &str) -> Self {
        let (from_home, rest) = text.strip_prefix("~/").map_or((false, text), |rest| (true, rest));
        let (rest, open) = rest.strip_suffix("/**").map_or((rest, false), |rest| (rest, true));
        let parts =
            rest.split('/').filter(|part| !part.is_empty()).map(|part| NamePattern::parse(part.as_bytes()));
        Self { from_home, parts: parts.collect(), open }
    }

    /// The names with which every path of the pattern begins, two at most; `None` where there is no such name. A part of a path
    /// that is itself a pattern may be any of them.
    pub(crate) fn first_names(&self) -> Option<FirstNames> {
        let first = self.parts.first().filter(|_| !self.from_home)?.literal()?;
        Some((first, self.parts.get(1).and_then(NamePattern::literal)))
    }

    /// As it was written, below this home where it stands below one.
    pub(crate) fn written(&self, home: &str) -> String {
        let start = if self.from_home { home } else { "" };
        let parts: String = self.parts.iter().map(|part| format!("/{part}")).collect();
        format!("{start}{parts}{}", if self.open { "/**" } else { "" })
    }

    /// Whether every path of another pattern is one of this one, as far as their words tell.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let named = self.parts.iter().zip(&other.parts).all(|(own, theirs)| theirs.surely_is(own));
        let enough = match self.open {
            true => other.parts.len() >= self.parts.len(),
            false => other.parts.len() == self.parts.len() && !other.open,
        };
        self.from_home == other.from_home && enough && named
    }

    /// Whether the path may be one of the pattern's. A part of the path that is itself a pattern may be anything.
    pub(crate) fn may_match(&self, path: &Path, home: &Path) -> bool {
        self.holds(path, home, |part, component| match component {
            Component::Name(name) => part.may_be(name),
            Component::Pattern(_) | Component::Deep => true,
        })
    }

    /// Whether the path is one of the pattern's, whatever the patterns in it stand for.
    pub(crate) fn surely_matches(&self, path: &Path, home: &Path) -> bool {
        self.holds(path, home, |part, component| match component {
            Component::Name(name) => part.may_be(name),
            Component::Pattern(pattern) => pattern.surely_is(part),
            Component::Deep => false,
        }) && (!self.from_home || home.surely_holds(&path.components))
    }

    fn holds(&self, path: &Path, home: &Path, is: impl Fn(&NamePattern, &Component) -> bool) -> bool {
        let mut components = path.components.as_slice();
        if self.from_home {
            if !home.may_hold(components) {
                return false;
            }
            components = components.get(home.components.len()..).unwrap_or(&[]);
        }
        let enough =
            components.len() == self.parts.len() || (self.open && components.len() > self.parts.len());
        enough && self.parts.iter().zip(components).all(|(part, component)| is(part, component))
    }
}
