//! Which names are obeyed, and where.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::wire::runner::{FoundKind, Workspace};

/// A name that tools obey, of one part or more.
#[derive(Debug)]
pub(super) struct Place {
    parts: Vec<String>,
    /// In any directory, or at the top of the workspace only.
    nested: bool,
    pub(super) kind: FoundKind,
    /// Whether it is set aside, where anything is.
    pub(super) aside: bool,
}

/// The place in `places` with this number, matched up to this part.
pub(super) type Matched = (usize, usize);

/// All places of a workspace. What belongs to git is known to [`super::git`].
pub(super) fn places(workspace: &Workspace) -> Vec<Place> {
    let place = |path: &Path, nested, kind, aside| {
        let path = path.strip_prefix(&workspace.path).unwrap_or(path);
        let parts: Vec<String> = path.iter().map(fold).collect();
        let meant = path.is_relative() && parts.first().is_some_and(|first| first != ".git");
        meant.then_some(Place { parts, nested, kind, aside })
    };
    let later = &workspace.later;
    let frozen = workspace.frozen.iter().filter_map(|path| place(path, false, FoundKind::Settings, true));
    let nested = later.nested.iter().filter_map(|path| place(path, true, FoundKind::Settings, true));
    let reported = later.reported.iter().filter_map(|path| place(path, true, FoundKind::Instructions, false));
    // Of two that name the same the first counts: one that is only reported must not hide one that is set aside.
    nested.chain(frozen).chain(reported).collect()
}

/// A name as a file system that does not tell letters of two cases apart would see it: `.GIT` is `.git` there
/// (CVE-2021-21300), and a workspace may be copied to one.
pub(super) fn fold(name: &OsStr) -> String {
    let text = String::from_utf8_lossy(name.as_bytes());
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // What case folding does and to_lowercase does not; and what HFS+ does not see at all (CVE-2014-9390).
    let seen = text.chars().filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'));
    seen.flat_map(char::to_lowercase).map(|c| if c == '\u{17f}' { 's' } else { c }).collect()
}

/// What an entry of a directory is, given what that directory's own name matched so far: a place, and what goes on.
pub(super) fn look_up(
    places: &[Place],
    top: bool,
    so_far: &[Matched],
    name: &str,
) -> (Option<usize>, Vec<Matched>) {
    let (mut whole, mut begun) = (None, Vec::new());
    let begins =
        places.iter().enumerate().filter(|(_, place)| place.nested || top).map(|(index, _)| (index, 0));
    for (index, part) in so_far.iter().copied().chain(begins) {
        let Some(place) =
            places.get(index).filter(|place| place.parts.get(part).is_some_and(|it| it == name))
        else {
            continue;
        };
        if part + 1 < place.parts.len() {
            begun.push((index, part + 1));
        } else if whole.is_none_or(|whole| index < whole) {
            whole = Some(index);
        }
    }
    (whole, begun)
}

/// Where `target` leads from `base`, both inside the workspace at `top`, by names alone; `None` where it leads out.
pub(super) fn resolve(top: &Path, base: &Path, target: &Path) -> Option<PathBuf> {
    let (mut at, rest) = match target.strip_prefix(top) {
        Ok(inside) if target.is_absolute() => (PathBuf::new(), inside),
        _ if target.is_absolute() => return None,
        _ => (base.to_owned(), target),
    };
    for part in rest.components() {
        match part {
            std::path::Component::Normal(name) => at.push(name),
            std::path::Component::ParentDir => at.pop().then_some(())?,
            _ => {}
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_every_spelling() {
        for name in [".git", ".GIT", ".gi\u{200c}t", ".G\u{200d}iT"] {
            assert_eq!(fold(OsStr::new(name)), ".git", "{name:?}");
        }
        assert_eq!(fold(OsStr::new(".cur\u{17f}or")), ".cursor");
        assert_ne!(fold(OsStr::new("git")), ".git");
    }

    #[test]
    fn links_are_followed_by_name_and_stay_inside() {
        let go = |base: &str, target: &str| resolve(Path::new("/w"), Path::new(base), Path::new(target));
        assert_eq!(go("a/b", "../../.git/modules/x"), Some(".git/modules/x".into()));
        assert_eq!(go("a", "/w/c"), Some("c".into()));
        assert_eq!(go("a", "../.."), None);
        assert_eq!(go("a", "/elsewhere"), None);
        assert_eq!(go("a", "/w/../x"), None);
        assert_eq!(go("a/b", "../.."), Some("".into()));
    }
}
