//! A daemon that somebody else starts: a command of the operator's restarts it.

use super::*;

#[test]
fn a_command_of_the_operators_restarts_it() {
    as_both(|| {
        let Some(house) = House::start() else { return };
        let (_client, session, workspace) = house.count();
        let file = house.file("next", &as_version(NEXT));
        let pid = house.daemon.pid();
        // One that fails is told, and the daemon goes on as it was.
        let (code, said) = house.to(&file, &["--restart", "exit 3"]);
        assert!(code == Some(1) && said.contains("`exit 3` failed"), "{said}");
        assert_eq!(
            (house.status()["version"].as_str(), house.status()["pid"].as_i64()),
            (Some(OWN), Some(pid.into()))
        );
        // One that ends the daemon and starts it as it was started.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let words: Vec<&str> = line
            .strip_suffix(&[0])
            .unwrap()
            .split(|byte| *byte == 0)
            .map(|word| str::from_utf8(word).unwrap())
            .collect();
        let script = house.file("restart", restart(&words).as_bytes());
        give(&script);
        let command = format!("sh {}", script.display());
        let (code, said) = house.to(&file, &["--restart", &command]);
        assert_eq!(code, Some(0), "{said}\n{}", house.daemon.log());
        assert_eq!(house.status()["version"], version(NEXT));
        assert_ne!(house.status()["pid"], pid);
        assert!(said.contains("goes on with 1 of 1 sessions"), "{said}");
        let (code, said) = house.upgraded(&["--rollback"]);
        assert_eq!((code, &house.status()["version"]), (Some(0), &json!(OWN)), "{said}");
        house.counted(&session, &workspace);
    });
}

/// A script that ends the daemon of this command line, whichever process that is, and starts it again.
fn restart(words: &[&str]) -> String {
    let socket = words.iter().position(|word| *word == "--socket-dir").map(|at| words[at + 1]).unwrap();
    let again: Vec<String> = words.iter().map(|word| shell_words::quote(word).into_owned()).collect();
    format!(
        "pid=\nfor at in /proc/[0-9]*; do\n  tr '\\0' ' ' < $at/cmdline 2> /dev/null | grep -q -- ' serve .*{socket}' && pid=\"$pid ${{at#/proc/}}\"\ndone\n\
         kill -TERM $pid\nwhile cat $(printf '/proc/%s/cmdline ' $pid) 2> /dev/null | grep -q .; do sleep 0.05; done\n\
         setsid {} < /dev/null > /dev/null 2>&1 &\n",
        again.join(" ")
    )
}
