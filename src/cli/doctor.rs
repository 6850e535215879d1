//! `execward doctor`: what this host really holds.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use crate::ops::doctor::{Check, Examined, Health, examine, mend};
use crate::supervisor::Local;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Try every escape that the sandbox promises to stop, on this host and with this policy
    #[arg(long, conflicts_with = "fix")]
    attack: bool,
    /// Mend what is safe to mend: take from others what they may do with execward's own files
    #[arg(long)]
    fix: bool,
    /// The policy to look at, in place of the one in force
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The configuration to look at, in place of execward.toml in its usual place
    #[arg(long, value_name = "FILE", conflicts_with = "attack")]
    config: Option<PathBuf>,
    /// The state directory to look at
    #[arg(long, value_name = "DIR", conflicts_with = "attack")]
    state: Option<PathBuf>,
    /// The directory of a daemon's sockets to look at, as `execward serve` was given it
    #[arg(long, value_name = "DIR", conflicts_with = "attack")]
    socket_dir: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn doctor(doctor: &Doctor, screen: Screen) -> Exit {
    if doctor.attack {
        return escapes(doctor, screen);
    }
    let local = match Local::look(doctor.state.clone()) {
        Ok(local) => local,
        Err(error) => {
            screen.error(&error);
            screen.hint(error.hint());
            return Exit::USAGE;
        }
    };
    if doctor.fix {
        match mend(&local.directories) {
            Ok(mended) => mended
                .iter()
                .for_each(|path| screen.note(format_args!("for its owner alone now: {}", path.display()))),
            Err(error) => {
                screen.error(format_args!("{} cannot be mended: {error}", local.directories.state.display()));
            }
        }
    }
    let checks = examine(&Examined {
        local: &local,
        config: doctor.config.clone(),
        policy: doctor.policy.clone(),
        sockets: doctor.socket_dir.clone(),
        at_rest: false,
    });
    let text: String =
        checks.iter().map(|check| if doctor.json { json(check) } else { words(check) }).collect();
    let worst = checks.iter().map(|check| check.health).max().unwrap_or(Health::Failure);
    print(screen, &text, Exit::of_health(worst))
}

fn json(check: &Check) -> String {
    serde_json::to_string(check).unwrap_or_default() + "\n"
}

fn words(check: &Check) -> String {
    let mut text = format!("{:8} {:15} {}\n", check.health, check.name, shown(&check.found));
    for (label, what) in [("means", &check.means), ("mend", &check.mend)] {
        if !what.is_empty() {
            text.push_str(&format!("{:24} {label}: {}\n", "", shown(what)));
        }
    }
    text
}

#[cfg(not(target_arch = "x86_64"))]
fn escapes(_: &Doctor, screen: Screen) -> Exit {
    screen.error("the escape probes speak the system calls of x86-64, which this is not");
    Exit::USAGE
}

#[cfg(target_arch = "x86_64")]
fn escapes(doctor: &Doctor, screen: Screen) -> Exit {
    attack::attack(doctor, screen).unwrap_or_else(|error| {
        screen.error(format_args!("the attack cannot be made: {error}"));
        Exit::USAGE
    })
}

#[cfg(target_arch = "x86_64")]
mod attack {
    use std::fs;
    use std::io::{self, Write as _};
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

    use super::{Doctor, Exit, Path, PathBuf, Screen, shown};
    use crate::cli::screen::unwritten;
    use crate::ops::attack::{self, Backend, Outside, Place, Row, Said, Verdict, control};
    use crate::ops::scratch::Scratch;
    use crate::ops::trial::run;
    use crate::stage::Outcome;
    use crate::sys::attack::NAME;

    /// The jail, as a private supervisor builds it: the same pipeline, the same runner.
    struct Jail<'a> {
        policy: Option<&'a Path>,
        place: &'a Place,
    }

    impl Backend for Jail<'_> {
        fn name(&self) -> &'static str {
            "jail"
        }

        fn run(&mut self, argv: Vec<String>) -> Said {
            let completed = run(argv, &self.place.workspace, &self.place.state, self.policy);
            let stdout = completed.stdout.map(|stdout| stdout.into_text_parts().0).unwrap_or_default();
            match completed.report.outcome {
                Outcome::Exited { .. } => Said::of(&String::from_utf8_lossy(&stdout), None),
                Outcome::Signaled { signal } => Said::of(&String::from_utf8_lossy(&stdout), Some(signal)),
                Outcome::Failed { error, hint } => Said::Inconclusive(format!("{error} {hint}")),
                other => Said::Inconclusive(format!("it did not run: {other:?}")),
            }
        }
    }

    pub(super) fn attack(doctor: &Doctor, screen: Screen) -> io::Result<Exit> {
        let directory = Scratch::new("attack", 0o755)?;
        let within = |name: &str| directory.join(name);
        let place = Place {
            directory: within("outside"),
            workspace: within("workspace"),
            home: std::env::var_os("HOME").map_or_else(|| within("home"), PathBuf::from),
            keeper: within("keeper"),
            state: within("state"),
            state_as_seen: within("state"),
            owner: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
        };
        for path in [&place.directory, &place.workspace, &place.keeper] {
            fs::create_dir(path)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&place.state)?;
        let program = place.workspace.join(NAME);
        fs::copy("/proc/self/exe", &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let controls = control::run().unwrap_or_else(|why| {
            screen.note(format_args!(
                "no throw-away world can be made here, so that what is held cannot be told from what never works: {why}"
            ));
            Default::default()
        });
        let outside = Outside::new(place.clone())?;
        let mut stdout = io::stdout().lock();
        let mut written = Ok(());
        let mut jail = Jail { policy: doctor.policy.as_deref(), place: &place };
        let rows = attack::attack(&mut jail, &outside, &controls, |row| {
            if written.is_ok() {
                written = writeln!(stdout, "{}", line(row, doctor.json));
            }
        });
        if let Err(error) = written.and_then(|()| stdout.flush()) {
            return Ok(unwritten(screen, &error));
        }
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        if !doctor.json {
            screen.note(format_args!(
                "{} held, {} open, {} inconclusive, {} not applicable",
                count(Verdict::Held),
                count(Verdict::Open),
                count(Verdict::Inconclusive),
                count(Verdict::NotApplicable)
            ));
        }
        // A list of which nothing is shown is no good news either.
        let bad = count(Verdict::Open) > 0 || count(Verdict::Held) == 0;
        Ok(if bad { Exit::NO } else { Exit::SUCCESS })
    }

    fn line(row: &Row, json: bool) -> String {
        if json {
            return serde_json::to_string(row).unwrap_or_default();
        }
        let layers: Vec<String> = row.layers.iter().map(ToString::to_string).collect();
        let by = if layers.is_empty() { String::new() } else { format!(" [{}]", layers.join(", ")) };
        let mut line =
            format!("{:14} {:5} {}{by}: {}", row.verdict.to_string(), row.id, row.name, shown(&row.detail));
        if !row.control.is_empty() {
            line.push_str(&format!("; control: {}", shown(&row.control)));
        }
        line
    }
}
