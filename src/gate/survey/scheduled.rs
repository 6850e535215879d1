//! Files that something else will run: what a text writes into a crontab, a unit or a shell's startup is judged as it is
//! written, since nobody is asked when it runs.

use super::written::{MOST_FOLLOWED, is};
use super::{Task, Walk, program_name};
use crate::gate::place::{Base, Place};
use crate::programs::{Effect, Language, Target, cron_command};
use crate::shell::{Dialect, Value};

/// How a file is read by what runs it.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Lines of a crontab, with a user in each or without one.
    Crontab { user: bool },
    /// A unit of systemd.
    Unit,
    /// Text for a shell.
    Script,
}

/// Directories, and names, of what is run later by itself.
const FORMS: &[(&str, Form)] = &[
    ("/etc/cron.d/", Form::Crontab { user: true }),
    ("/etc/crontab", Form::Crontab { user: true }),
    ("/var/spool/cron/", Form::Crontab { user: false }),
    ("/etc/cron.hourly/", Form::Script),
    ("/etc/cron.daily/", Form::Script),
    ("/etc/cron.weekly/", Form::Script),
    ("/etc/cron.monthly/", Form::Script),
    ("/etc/periodic/", Form::Script),
    ("/etc/rc.local", Form::Script),
    ("/etc/profile.d/", Form::Script),
    ("/etc/init.d/", Form::Script),
    ("/etc/local.d/", Form::Script),
    ("/etc/update-motd.d/", Form::Script),
    ("/.bashrc", Form::Script),
    ("/.bash_profile", Form::Script),
    ("/.bash_login", Form::Script),
    ("/.bash_logout", Form::Script),
    ("/.profile", Form::Script),
    ("/.zshrc", Form::Script),
    ("/.zshenv", Form::Script),
    ("/.zprofile", Form::Script),
    ("/.xinitrc", Form::Script),
    ("/.xprofile", Form::Script),
    ("/systemd/system/", Form::Unit),
    ("/systemd/user/", Form::Unit),
];

impl Walk<'_> {
    /// Adds what the files that a command writes will do, and those that it gives to cron.
    pub(super) fn scheduled(&self, effect: &Effect, task: &Task, base: &Base, found: &mut Vec<Effect>) {
        match effect {
            Effect::Write { path, .. } => self.contents_of(path, None, base, found),
            Effect::Service { action, .. }
                if action == "schedule" && program_name(&task.invocation) == "crontab" =>
            {
                let files =
                    task.invocation.argv.iter().skip(1).filter(|word| !word.prefix().starts_with(b"-"));
                for path in files.take(MOST_FOLLOWED) {
                    self.contents_of(path, Some(Form::Crontab { user: false }), base, found);
                }
            }
            _ => {}
        }
    }

    fn contents_of(&self, path: &Value, form: Option<Form>, base: &Base, found: &mut Vec<Effect>) {
        let known = |file: &[u8]| {
            let file = std::str::from_utf8(file).ok()?;
            FORMS.iter().find_map(|(place, form)| file.contains(place).then_some(*form))
        };
        let of_form = |file: &[u8]| form.or_else(|| known(file));
        let mut place = None;
        for file in self.written.iter().take(MOST_FOLLOWED) {
            let (Some(form), Some(content)) = (of_form(&file.path), &file.content) else { continue };
            let place = place.get_or_insert_with(|| Place::resolve(path, base));
            if !place.readings.iter().any(|reading| is(&reading.path, &file.path)) {
                continue;
            }
            // many commands may write to one file, and each of them sees all of it
            let Some(left) = self.scheduled.get().checked_sub(content.prefix().len() + 64) else {
                let program = "what is run later".to_owned();
                return found.push(Effect::Unreadable { program, word: path.clone() });
            };
            self.scheduled.set(left);
            match (form, content.as_known()) {
                (Form::Script, _) => found.push(script(content.clone())),
                (Form::Crontab { user }, Some(text)) => {
                    let lines = text.split(|byte| *byte == b'\n');
                    let commands = lines.filter_map(|line| cron_command(line, user));
                    found.extend(commands.take(MOST_FOLLOWED).map(script));
                }
                (Form::Unit, Some(text)) => {
                    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                    let commands = lines.filter_map(|line| {
                        let (key, value) =
                            line.split_at_checked(line.iter().position(|byte| *byte == b'=')?)?;
                        key.starts_with(b"Exec").then(|| value.get(1..)).flatten()
                    });
                    // marks in front of the program are no part of it
                    let bare = |text: &[u8]| {
                        let at = text
                            .iter()
                            .position(|byte| !matches!(byte, b'-' | b'@' | b'+' | b'!' | b':' | b'|'));
                        script(Value::known(text.get(at.unwrap_or(0)..).unwrap_or_default()))
                    };
                    found.extend(commands.take(MOST_FOLLOWED).map(bare));
                }
                _ => {}
            }
        }
    }
}

fn script(text: Value) -> Effect {
    let language = Language::Shell(Dialect::Bash);
    Effect::Script { language, text, target: Target::Here, arguments: Vec::new() }
}
