//! Workspaces and directories that cannot be used.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{TRACE, nothing_ran};
use crate::support::{Ground, Output, as_everyone, command};

fn in_workspace(ground: &Ground, workspace: &str) -> Output {
    let mut command = ground.execward(["run", "--workspace", workspace, "--"]);
    command.args(["true"]);
    command.cwd(workspace_or_root(workspace)).output()
}

/// Where the process starts: the workspace itself where it can.
fn workspace_or_root(workspace: &str) -> &str {
    if fs::metadata(workspace).is_ok_and(|it| it.is_dir()) { workspace } else { "/" }
}

fn in_directory(ground: &Ground, directory: &str) -> Output {
    let workspace = ground.workspace().display().to_string();
    let mut command = ground.execward(["run", "--workspace", &workspace, "--cwd", directory, "--"]);
    command.args(TRACE);
    command.output()
}

#[test]
fn broad_workspaces_need_a_flag() {
    as_everyone(|ground| {
        let home = ground.account().home.display().to_string();
        for workspace in ["/", "/tmp", home.as_str()] {
            let output = in_workspace(ground, workspace).expect(125);
            let text = output.stderr();
            assert!(
                text.contains("hint:") && text.contains("--allow-broad-workspace"),
                "{workspace}: {text}"
            );
        }
    });
}

#[test]
fn a_workspace_that_is_missing_or_no_directory() {
    as_everyone(|ground| {
        in_workspace(ground, "/no/such/place").expect(125).complains(&["/no/such/place"]);
        let file = ground.write("file", "x").display().to_string();
        in_workspace(ground, &file).expect(125).complains(&["file"]);
    });
}

#[test]
fn a_working_directory_that_cannot_be_entered() {
    as_everyone(|ground| {
        let workspace = ground.workspace();
        ground.write("file", "x");
        symlink(ground.outside(), workspace.join("leaves")).expect("a link");
        symlink("loop", workspace.join("loop")).expect("a link");
        let cases = ["missing", "file", "leaves", "loop", "../outside"].map(|name| workspace.join(name));
        for case in cases
            .iter()
            .map(|path| path.display().to_string())
            .chain(["/etc".to_owned(), "/proc/self/cwd".to_owned()])
        {
            let output = in_directory(ground, &case);
            assert_eq!(output.code, Some(125), "{case}: {}", output.stderr());
            nothing_ran(ground, output).complains(&[]);
        }
        assert!(!ground.outside().join("ran").exists());
    });
}

#[test]
fn a_symbolic_link_that_stays_inside_is_entered() {
    as_everyone(|ground| {
        ground.write("real/file", "x");
        symlink("real", ground.workspace().join("alias")).expect("a link");
        let workspace = ground.workspace().join("alias").display().to_string();
        let output = in_directory(ground, &workspace);
        // Refused or entered, never elsewhere.
        match output.code {
            Some(0) => assert!(ground.workspace().join("real/ran").exists()),
            _ => drop(nothing_ran(ground, output).complains(&["alias"])),
        }
    });
}

#[test]
fn a_current_directory_that_was_removed() {
    as_everyone(|ground| {
        let execward = crate::support::ground::execward().display();
        let text = format!("mkdir gone && cd gone && rmdir ../gone && exec {execward} run -- touch ../ran");
        let output = ground.bare_shell(&text).output();
        assert_eq!(output.code, Some(125), "{}", output.stderr());
        nothing_ran(ground, output).complains(&[]);
    });
}

#[test]
fn a_workspace_that_vanishes_while_a_command_runs() {
    as_everyone(|ground| {
        let mut child = ground.shell("echo 1 > started; sleep 1; echo 2 > finished").spawn();
        let end = Instant::now() + Duration::from_secs(20);
        while !ground.workspace().join("started").exists() && Instant::now() < end {
            sleep(Duration::from_millis(10));
        }
        let away = ground.root().join("moved");
        fs::rename(ground.workspace(), &away).expect("a directory can be renamed");
        let status = command::wait(&mut child, Duration::from_secs(30)).expect("it ends");
        // The directory was opened once: the command goes on in it, whatever its name.
        assert!(status.success(), "{status:?}");
        assert!(away.join("finished").exists());
        fs::rename(&away, ground.workspace()).expect("a directory can be renamed");
    });
}
