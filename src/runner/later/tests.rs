//! The watch on a directory of this process's own: what a sandbox adds is tested from outside.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;
use crate::wire::runner::{FileId, Identity, Later, Limits, Network, View, Workspace};

struct Place {
    directory: tempfile::TempDir,
    watch: Option<Watch>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), watch: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| error.to_string())
    }

    fn open(&mut self, action: LaterAction) {
        // What was there is older than the clock's tick.
        std::thread::sleep(Duration::from_millis(20));
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let data: toml::Table = toml::from_str(include_str!("../../../policies/view.toml")).unwrap();
        let list = |name: &str| -> Vec<String> { data["workspace"][name].clone().try_into().unwrap() };
        let paths = |name: &str| list(name).into_iter().map(PathBuf::from).collect::<Vec<_>>();
        let spec = SandboxSpec {
            ground: Ground::Host,
            identity: Identity { uid, gid, name: String::new(), home: "/nowhere".into() },
            workspace: Workspace {
                path: self.directory.path().to_owned(),
                id: FileId { dev: 0, ino: 0 },
                writable: true,
                owner: None,
                masked: Vec::new(),
                frozen: [paths("frozen"), paths("nested")].concat(),
                later: Later {
                    action,
                    nested: paths("nested"),
                    reported: paths("reported"),
                    settings: list("settings"),
                },
            },
            view: View::default(),
            network: Network::None,
            limits: Limits {
                memory: 0,
                swap: 0,
                cpus: None,
                processes: 0,
                file_size: None,
                open_files: 0,
                tmpfs: 0,
            },
            hostname: String::new(),
            minimum: crate::wire::runner::Level::Full,
            outlives_ms: 0,
        };
        let mount = fs::File::open(self.directory.path()).unwrap();
        self.watch = Watch::new(&spec, mount.into());
    }

    /// What is found, as `path` or `path:setting`, in order of their names.
    fn look(&mut self) -> Vec<String> {
        let aftermath = self.watch.as_mut().unwrap().look();
        assert_eq!(aftermath.unseen, None);
        let name = |it: &Found| {
            let setting = it.setting.as_ref().map(|it| format!(":{it}")).unwrap_or_default();
            let fate = match &it.fate {
                Fate::SetAside { to } => {
                    assert!(self.path(to).symlink_metadata().is_ok(), "{to} is there");
                    ""
                }
                Fate::Left => " left",
                Fate::Stays { .. } => " stays",
            };
            format!("{}{setting}{fate}", it.path)
        };
        let mut names: Vec<_> = aftermath.found.iter().map(name).collect();
        names.sort();
        names
    }

    fn git(&self, directory: &str, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "protocol.file.allow=always"]);
        let output = git.args(arguments).current_dir(self.path(directory)).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_appears_is_set_aside_at_any_depth_and_only_once() {
    let mut place = Place::new();
    place.write("old/project/.vscode/tasks.json", "ours");
    place.write("sub/x", "");
    place.open(LaterAction::SetAside);
    place.write(".envrc", "evil");
    place.write("a/b/c/.vscode/tasks.json", "evil");
    place.write("sub/.github/copilot-instructions.md", "evil");
    place.write("sub/.MCP.json", "evil");
    place.write("sub/CLAUDE.md", "read me");
    place.write("old/project/.vscode/launch.json", "evil");
    symlink("/etc", place.path("sub/.idea")).unwrap();
    let found = place.look();
    let expected = [
        ".envrc",
        "a/b/c/.vscode",
        "old/project/.vscode/launch.json",
        "sub/.MCP.json",
        "sub/.github/copilot-instructions.md",
        "sub/.idea",
        "sub/CLAUDE.md left",
    ];
    assert_eq!(found, expected);
    assert_eq!(place.read(".envrc.execward-set-aside"), "evil");
    assert_eq!(place.read("a/b/c/.vscode.execward-set-aside/tasks.json"), "evil");
    assert_eq!(place.read("old/project/.vscode/tasks.json"), "ours");
    assert_eq!(place.look(), NOTHING);
    // Undone, it is found again; and once everything is watched, by events alone.
    fs::rename(place.path(".envrc.execward-set-aside"), place.path(".envrc")).unwrap();
    place.write("new/deep/.cursor/mcp.json", "evil");
    place.write("old/project/.vscode/tasks.json", "changed");
    assert_eq!(place.look(), [".envrc", "new/deep/.cursor", "old/project/.vscode/tasks.json"]);
    assert_eq!(place.look(), NOTHING);
}

#[test]
fn what_is_moved_with_its_project_stays() {
    let mut place = Place::new();
    place.write("one/.vscode/tasks.json", "ours");
    place.git(".", &["init", "-q", "two"]);
    place.write("plain/tasks.json", "evil");
    place.open(LaterAction::SetAside);
    assert_eq!(place.look(), NOTHING);
    fs::rename(place.path("one"), place.path("three")).unwrap();
    fs::rename(place.path("two"), place.path("four")).unwrap();
    assert_eq!(place.look(), NOTHING);
    fs::rename(place.path("plain"), place.path("three/.idea")).unwrap();
    assert_eq!(place.look(), ["three/.idea"]);
}

#[test]
fn an_old_directory_that_takes_a_place_is_found_whatever_its_times_say() {
    let mut place = Place::new();
    place.write("plain/tasks.json", "evil");
    place.write("file", "evil");
    place.open(LaterAction::SetAside);
    fs::rename(place.path("plain"), place.path(".vscode")).unwrap();
    fs::rename(place.path("file"), place.path(".envrc")).unwrap();
    // As if nothing had been moved, but made in it.
    place.write(".vscode/new", "evil");
    assert_eq!(place.look(), [".envrc", ".vscode"]);
    assert_eq!(place.look(), NOTHING);
}

#[test]
fn git_works_as_it_does_and_leaves_nothing_to_find() {
    let mut place = Place::new();
    place.git(".", &["init", "-q", "."]);
    place.write("f", "1");
    place.git(".", &["add", "."]);
    place.git(".", &["commit", "-qm", "x"]);
    place.open(LaterAction::SetAside);
    place.git(".", &["config", "user.name", "me"]);
    place.git(".", &["remote", "add", "origin", "https://example.org/x"]);
    place.git(".", &["worktree", "add", "-q", "tree"]);
    place.git(".", &["clone", "-q", ".", "clone"]);
    place.git(".", &["init", "-q", "--bare", "bare.git"]);
    let module = place.path("tree").display().to_string();
    place.git("clone", &["submodule", "--quiet", "add", &module, "part/one"]);
    assert_eq!(place.look(), NOTHING);
    place.write("f", "2");
    place.git(".", &["commit", "-qam", "y"]);
    place.git("tree", &["commit", "-q", "--allow-empty", "-m", "z"]);
    place.git(".", &["gc", "-q"]);
    assert_eq!(place.look(), NOTHING);
    assert_eq!(place.read(".git/config").matches("name = me").count(), 1);
}

#[test]
fn what_git_executes_is_found_wherever_it_is() {
    let mut place = Place::new();
    place.git(".", &["init", "-q", "."]);
    place.git(".", &["config", "filter.lfs.clean", "git-lfs clean"]);
    place.git(".", &["init", "-q", "nested"]);
    place.open(LaterAction::SetAside);
    place.git(".", &["config", "core.fsmonitor", "./evil"]);
    place.git(".", &["config", "user.name", "me"]);
    place.git(".", &["init", "-q", "--bare", "bare"]);
    place.git("bare", &["config", "core.sshCommand", "evil"]);
    place.git("nested", &["worktree", "add", "-q", "--orphan", "tree"]);
    place.write("nested/.git/hooks/post-checkout", "evil");
    place.write("nested/.git/modules/a/b/HEAD", "ref: x");
    place.write("nested/.git/modules/a/b/config", "[Alias] x = !evil\n");
    place.write("nested/.git/worktrees/tree/config.worktree", "[core]\nhooksPath = .\n");
    place.write("pointer/.git", "gitdir: /elsewhere/.git\n");
    place.write("nested/.git/commondir", "../../../elsewhere\n");
    assert_eq!(
        place.look(),
        [
            ".git/config:core.fsmonitor",
            "bare/config:core.sshcommand",
            "nested/.git/commondir",
            "nested/.git/hooks/post-checkout",
            "nested/.git/modules/a/b/config:alias.x",
            "nested/.git/worktrees/tree/config.worktree:core.hookspath",
            "pointer/.git",
        ]
    );
    let kept = place.read(".git/config");
    assert!(kept.contains("git-lfs clean") && kept.contains("name = me") && !kept.contains("evil"), "{kept}");
    assert!(place.read(".git/config.execward-set-aside").contains("evil"));
    assert_eq!(place.look(), NOTHING);
    // A setting that was there, changed.
    place.git(".", &["config", "filter.lfs.clean", "evil"]);
    fs::hard_link(place.path(".git/config"), place.path("other-name")).unwrap();
    assert_eq!(place.look(), [".git/config:filter.lfs.clean"]);
    place.write(".git/config", "[core\nwhat is this");
    assert_eq!(place.look(), [".git/config"]);
}

#[test]
fn traps_neither_hold_nor_lead_astray() {
    let mut place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("config"), "[core]\nfsmonitor = evil\n").unwrap();
    place.git(".", &["init", "-q", "."]);
    place.open(LaterAction::SetAside);
    let fifo = |name: &str| {
        fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
        nix::unistd::mkfifo(&place.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    };
    fifo("a/.git");
    fifo("b/.git/config");
    fifo("c/.envrc");
    fs::create_dir(place.path("d")).unwrap();
    symlink(outside.path(), place.path("d/.git")).unwrap();
    symlink(outside.path(), place.path("e")).unwrap();
    place.write("f/.git", "gitdir: ../e");
    place.write("g/.git/HEAD", "");
    symlink(outside.path().join("config"), place.path("g/.git/config")).unwrap();
    place.write("h/closed/.envrc", "evil");
    fs::set_permissions(place.path("h/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    place.write("i/.git/config", &"#".repeat(2 << 20));
    let mut expected = vec![
        "a/.git",
        "b/.git/config",
        "c/.envrc",
        "d/.git",
        "f/.git",
        "g/.git/config",
        "h/closed/.envrc",
        "i/.git/config",
    ];
    if !nix::unistd::geteuid().is_root() {
        // In a sandbox the runner may look there, whatever the mode.
        expected.retain(|it| *it != "h/closed/.envrc");
    }
    assert_eq!(place.look(), expected);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    fs::set_permissions(place.path("h/closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_watch_that_cannot_be_trusted_walks() {
    let mut place = Place::new();
    place.write("a/x", "");
    place.open(LaterAction::Report);
    assert_eq!(place.look(), NOTHING);
    place.watch.as_mut().unwrap().inotify = None;
    place.write("a/.envrc", "evil");
    place.write("a/.vscode/x", "evil");
    assert_eq!(place.look(), ["a/.envrc left", "a/.vscode left"]);
    assert_eq!(place.look(), NOTHING);
}

#[test]
fn what_is_too_much_is_said() {
    let mut place = Place::new();
    place.open(LaterAction::SetAside);
    for number in 0..MAX_DIRECTORIES + 10 {
        fs::create_dir(place.path(&format!("d{number}"))).unwrap();
    }
    for number in 0..MAX_FOUND + 6 {
        place.write(&format!("d{number}/.envrc"), "evil");
    }
    let aftermath = place.watch.as_mut().unwrap().look();
    assert!(aftermath.unseen.is_some());
    assert!(!aftermath.found.is_empty());
    let left =
        (0..MAX_FOUND + 6).filter(|number| fs::exists(place.path(&format!("d{number}/.envrc"))).unwrap());
    assert!(left.count() <= 20, "most were looked at");
}

#[test]
#[ignore = "a measurement"]
fn what_a_look_costs() {
    let mut place = Place::new();
    place.git(".", &["init", "-q", "."]);
    for number in 0..1000 {
        place.write(&format!("d{}/e{number}/x", number % 30), "");
    }
    let now = Instant::now();
    place.open(LaterAction::SetAside);
    eprintln!("open {:?} (20 ms of it sleep)", now.elapsed());
    let now = Instant::now();
    place.look();
    eprintln!("first look {:?}", now.elapsed());
    let now = Instant::now();
    for _ in 0..1000 {
        place.look();
    }
    eprintln!("quiet look {:?}", now.elapsed() / 1000);
}
