//! What a command leaves in its workspace for others to execute is reported and set aside, and ordinary work goes on.

use std::fs;

use crate::support::{Ground, as_everyone};

/// A repository with a name in it, as its user makes it outside.
fn repository(ground: &Ground) {
    ground.bare(["git", "init", "-q", "."]).cwd(ground.workspace()).output().expect(0);
    ground.bare(["git", "config", "user.email", "a@example.org"]).cwd(ground.workspace()).output().expect(0);
}

/// Runs a script of the workspace, whose text the gate does not read. Gives what was found: path and fate.
fn found(ground: &Ground, script: &str) -> Vec<(String, String)> {
    ground.write("script", script);
    let report = ground.execward(["run", "--json", "--", "sh", "./script"]).output().json();
    assert_eq!(report["outcome"], "exited", "{report}");
    let found = report["aftermath"]["found"].as_array().cloned().unwrap_or_default();
    found.iter().map(|it| (it["path"].as_str().unwrap().to_owned(), it["fate"].to_string())).collect()
}

#[test]
fn a_setting_that_was_not_there_is_set_aside() {
    as_everyone(|ground| {
        repository(ground);
        let workspace = ground.workspace();
        let found = found(
            ground,
            "echo 'touch pwned' > .envrc; mkdir .vscode; echo {} > .vscode/tasks.json
             git init -q sub; echo 'touch pwned' > sub/.git/hooks/post-checkout",
        );
        let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        for path in [".envrc", ".vscode", "sub/.git/hooks/post-checkout"] {
            assert!(paths.contains(&path), "{path} in {found:?}");
            assert!(!workspace.join(path).exists(), "{path}");
            // A person can have it back.
            assert!(workspace.join(format!("{path}.execward-set-aside")).exists(), "{path}");
        }
    });
}

#[test]
fn an_executing_setting_of_git_is_taken_out_and_others_stay() {
    as_everyone(|ground| {
        repository(ground);
        let found = found(
            ground,
            "git config core.fsmonitor 'touch pwned'; git config user.name Ann; git remote add o https://h/x",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        let config = fs::read_to_string(ground.workspace().join(".git/config")).unwrap();
        assert!(!config.contains("fsmonitor"), "{config}");
        assert!(config.contains("Ann") && config.contains("https://h/x"), "{config}");
        let aside = fs::read_to_string(ground.workspace().join(".git/config.execward-set-aside")).unwrap();
        assert!(aside.contains("fsmonitor"), "{aside}");
    });
}

#[test]
fn ordinary_work_with_git_leaves_nothing_to_report() {
    as_everyone(|ground| {
        repository(ground);
        let found = found(
            ground,
            "set -e; echo a > a; git add .; git -c user.name=Ann commit -qm a; git checkout -qb side
             git tag t; git branch other; git clone -q . copy; git worktree add -q ../workspace/tree other
             git config user.name Ann; git status --short; git gc -q",
        );
        assert_eq!(found, []);
        let log = ground.bare(["git", "log", "--oneline"]).cwd(ground.workspace()).output().expect(0);
        assert_eq!(log.stdout().lines().count(), 1);
    });
}

#[test]
fn a_link_does_not_lead_the_look_outside() {
    as_everyone(|ground| {
        let outside = ground.outside();
        fs::create_dir_all(outside.join("victim/.git/hooks")).unwrap();
        fs::write(outside.join("victim/.git/hooks/pre-commit"), "mine").unwrap();
        fs::write(outside.join("victim/.envrc"), "mine").unwrap();
        ground.give_tree(&outside);
        let script = format!(
            "ln -s {0}/victim link; ln -s {0}/victim/.git .git; ln -s {0}/victim/.envrc .envrc",
            outside.display()
        );
        found(ground, &script);
        // What is outside is as it was, under its own name.
        assert_eq!(fs::read_to_string(outside.join("victim/.envrc")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(outside.join("victim/.git/hooks/pre-commit")).unwrap(), "mine");
        assert_eq!(fs::read_dir(outside.join("victim")).unwrap().count(), 2);
        // The link itself is what was made, and it is not obeyed.
        assert!(ground.workspace().join(".envrc").symlink_metadata().is_err());
    });
}
