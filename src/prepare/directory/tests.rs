use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use nix::sys::stat::Mode;

use super::*;

struct Tree {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

/// Whether the kernel lets this process call openat2(2): not inside execward's own jail, whose filter sends programs to
/// older calls. Said aloud where it does not.
fn openat2_is_here() -> bool {
    let here = Root::open(Path::new("/")).is_ok();
    if !here {
        eprintln!("skipped: openat2(2) is not available to this process");
    }
    here
}

/// `root/{w/{sub,file,fifo,in -> sub,abs -> .../w/sub,out -> ../other,up -> ..},other}`
fn tree() -> Tree {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("w/sub")).unwrap();
    fs::create_dir(root.join("other")).unwrap();
    fs::write(root.join("w/file"), "").unwrap();
    nix::unistd::mkfifo(&root.join("w/fifo"), Mode::S_IRWXU).unwrap();
    for (target, link) in
        [("sub", "in"), ("../other", "out"), ("..", "up"), ("loop", "loop"), ("gone", "dangling")]
    {
        symlink(target, root.join("w").join(link)).unwrap();
    }
    symlink(root.join("w/sub"), root.join("w/abs")).unwrap();
    symlink(root.join("w"), root.join("alias")).unwrap();
    Tree { _dir: dir, root }
}

impl Tree {
    fn open(&self, path: &str) -> Result<Directory, DirectoryError> {
        open(&self.root.join(path), &[Root::open(&self.root.join("w")).unwrap()])
    }
}

#[test]
fn directories_inside_are_opened_and_named_by_what_they_are() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    for (path, real) in [
        ("w", "w"),
        ("w/", "w"),
        ("w/sub", "w/sub"),
        ("w/./sub/../sub", "w/sub"),
        ("w/in", "w/sub"),
        ("w/abs", "w/sub"),
        ("alias/sub", "w/sub"),
        ("w/up/w/sub", "w/sub"),
    ] {
        let directory = tree.open(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(directory.path, tree.root.join(real), "{path}");
        let metadata = fs::metadata(tree.root.join(real)).unwrap();
        assert_eq!(directory.id, FileId { dev: metadata.dev(), ino: metadata.ino() });
        assert_eq!(directory.owner, (metadata.uid(), metadata.gid()));
    }
}

#[test]
fn everything_else_is_refused_by_name() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    let error = |path: &str| tree.open(path).unwrap_err();
    assert!(matches!(error("w/none"), DirectoryError::Missing { .. }));
    assert!(matches!(error("w/dangling"), DirectoryError::Missing { .. }));
    assert!(matches!(error("w/file"), DirectoryError::NotADirectory { .. }));
    assert!(matches!(error("w/file/x"), DirectoryError::NotADirectory { .. }));
    assert!(matches!(error("w/fifo"), DirectoryError::NotADirectory { .. }));
    assert!(matches!(error("w/loop"), DirectoryError::Links { .. }));
    assert!(matches!(error("other"), DirectoryError::Outside { .. }));
    assert!(matches!(error("w/out"), DirectoryError::Leaves { .. }));
    assert!(matches!(error("w/up"), DirectoryError::Leaves { .. }));
    assert!(matches!(error("w/../other"), DirectoryError::Leaves { .. }));
    assert!(matches!(open(Path::new("w"), &[]).unwrap_err(), DirectoryError::NotAbsolute { .. }));
    assert!(matches!(open(Path::new("/dev/null"), &[]).unwrap_err(), DirectoryError::NotADirectory { .. }));
    assert!(matches!(open(Path::new("/"), &[]).unwrap_err(), DirectoryError::Outside { .. }));
}

#[test]
fn a_root_does_not_hold_what_only_begins_like_it() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    fs::create_dir(tree.root.join("w2")).unwrap();
    assert!(matches!(tree.open("w2").unwrap_err(), DirectoryError::Outside { .. }));
}

#[test]
fn magic_links_of_proc_are_refused() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    let root = [Root::open(&tree.root.join("w")).unwrap()];
    let fd = fs::File::open(tree.root.join("w/sub")).unwrap();
    for path in
        [format!("/proc/self/fd/{}", fd.as_raw_fd()), "/proc/self/cwd".into(), "/proc/self/root".into()]
    {
        assert!(matches!(open(Path::new(&path), &root).unwrap_err(), DirectoryError::Links { .. }), "{path}");
    }
}

#[test]
fn exchanging_the_path_does_not_move_the_descriptor() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    let directory = tree.open("w/sub").unwrap();
    fs::rename(tree.root.join("w/sub"), tree.root.join("w/moved")).unwrap();
    symlink("/", tree.root.join("w/sub")).unwrap();
    let (id, _, links) = identify(&directory.fd).unwrap();
    assert_eq!((id, links > 0), (directory.id, true));
    assert_eq!(path_of(directory.fd.as_fd()).unwrap(), tree.root.join("w/moved"));
    assert!(matches!(tree.open("w/sub").unwrap_err(), DirectoryError::Leaves { .. }));
}

#[test]
fn a_root_that_was_moved_holds_what_it_held_and_not_its_successor() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    let roots = [Root::open(&tree.root.join("w")).unwrap()];
    fs::rename(tree.root.join("w"), tree.root.join("moved")).unwrap();
    fs::create_dir_all(tree.root.join("w/sub")).unwrap();
    assert!(open(&tree.root.join("moved/sub"), &roots).is_ok());
    assert!(open(&tree.root.join("w/sub"), &roots).is_err());
}

#[test]
fn names_may_hold_anything_but_must_be_text() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    let odd = "w/a\nb \u{1b}[31m;$(x) \u{202e}é";
    fs::create_dir(tree.root.join(odd)).unwrap();
    assert_eq!(tree.open(odd).unwrap().path, tree.root.join(odd));
    let error = tree.open("w/no\nne").unwrap_err().to_string();
    assert!(error.contains("no\\nne: no such directory") && !error.contains('\n'), "{error}");

    let bytes = tree.root.join("w").join(std::ffi::OsString::from_vec(b"\xff".to_vec()));
    fs::create_dir(&bytes).unwrap();
    assert!(matches!(open(&bytes, &[]).unwrap_err(), DirectoryError::NotText { .. }));
    symlink(&bytes, tree.root.join("w/text")).unwrap();
    assert!(matches!(tree.open("w/text").unwrap_err(), DirectoryError::NotText { .. }));
    let nul = tree.root.join("w/a\0b");
    assert!(open(&nul, &[]).is_err());
}

#[test]
fn a_directory_that_may_not_be_searched_is_an_error_with_its_reason() {
    if !openat2_is_here() {
        return;
    }
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: root may search every directory");
        return;
    }
    let tree = tree();
    fs::create_dir_all(tree.root.join("w/locked/x")).unwrap();
    fs::set_permissions(tree.root.join("w/locked"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = tree.open("w/locked/x").unwrap_err();
    fs::set_permissions(tree.root.join("w/locked"), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

#[test]
fn a_removed_directory_is_noticed() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    let roots = [Root::open(&tree.root.join("w/sub")).unwrap()];
    fs::remove_dir(tree.root.join("w/sub")).unwrap();
    assert!(matches!(open(&tree.root.join("w/sub"), &roots).unwrap_err(), DirectoryError::Missing { .. }));
    fs::create_dir(tree.root.join("w/sub")).unwrap();
    assert!(open(&tree.root.join("w/sub"), &roots).is_err(), "another directory at the same path");
}

#[test]
fn a_workspace_is_checked_by_what_it_is() {
    if !openat2_is_here() {
        return;
    }
    let tree = tree();
    let state = [tree.root.join("w/sub")];
    let rules = WorkspaceRules { home: &tree.root.join("other"), state: &state, allow_broad: false };
    let error = |path: &str| workspace(&tree.root.join(path), rules).unwrap_err().to_string();
    assert!(error("w/out").contains("is a home directory"));
    assert!(error("w/in").contains("never a workspace"));
    assert!(error("w").contains("holds execward's own state"));
    assert!(workspace(&tree.root.join("other"), WorkspaceRules { allow_broad: true, ..rules }).is_ok());
    symlink("/", tree.root.join("slash")).unwrap();
    assert!(error("slash").contains("whole file system"));
}
