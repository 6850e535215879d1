//! From what a command starts to the next task: a program, a text for a shell, a file that the same text wrote.

use std::rc::Rc;
use std::sync::Arc;

use super::{Around, DEEPEST, Task, Walk, program_name};
use crate::gate::place::Place;
use crate::gate::{Decision, hardline, reader};
use crate::programs::Target;
use crate::shell::{self, Dialect, Input, Invocation, Piece, Redirect, RedirectKind, Value};

/// Words of a starter that are looked at for options.
const MOST_OPTIONS: usize = 64;

impl Walk<'_> {
    #[allow(clippy::too_many_arguments, reason = "the parts of one effect")]
    pub(super) fn exec(
        &mut self,
        task: &Task,
        argv: Arc<Vec<Value>>,
        via: String,
        target: Target,
        assignments: Vec<(String, Value)>,
        cwd: Option<Value>,
        guess: bool,
    ) -> Option<Task> {
        if task.around.via.len() >= DEEPEST {
            self.too_deep(task);
            return None;
        }
        if !self.looks_through(task.invocation.argv.len(), task.invocation.span) {
            return None;
        }
        let starter = &task.invocation;
        // The starter's own redirections are judged already; here-documents reach what it starts.
        let here = starter.redirects.iter().filter(|redirect| redirect.kind == RedirectKind::Here);
        let invocation = Invocation {
            span: starter.span,
            argv,
            assignments,
            exported: starter.exported.clone(),
            redirects: here.cloned().collect(),
            stdin: starter.stdin.clone(),
            cwd: match (cwd, &target) {
                // a directory of the container
                (Some(cwd), Target::Container(_)) if cwd.prefix().starts_with(b"/") => Arc::new(cwd),
                (Some(cwd), _) => Arc::new(join(&starter.cwd, &cwd)),
                (None, _) => Arc::clone(&starter.cwd),
            },
            background: starter.background,
            origin: starter.origin.clone(),
            files: starter.files.clone(),
        };
        let mut around = Around::clone(&task.around);
        self.mount(task, &target, &mut around);
        around.apart |= has_own_processes(&task.invocation.argv, &target);
        if !matches!(target, Target::Here | Target::User(_)) {
            around.discarded = matches!(target, Target::Container(_)) && is_discarded(starter);
        }
        around.via.push(via);
        around.target = inner_target(&around.target, target);
        Some(Task { invocation: Rc::new(invocation), around: Rc::new(around), group: task.group, guess })
    }

    pub(super) fn script(
        &mut self,
        task: &Task,
        dialect: Dialect,
        text: &Value,
        target: &Target,
        arguments: &[Value],
        guess: bool,
    ) -> Vec<Task> {
        if task.around.via.len() >= DEEPEST {
            self.too_deep(task);
            return Vec::new();
        }
        if !self.looks_through(task.invocation.argv.len(), task.invocation.span) {
            return Vec::new();
        }
        let (readable, holes) = reader::with_holes(text);
        let target = inner_target(&task.around.target, target.clone());
        let key = (readable.clone(), format!("{arguments:?}{holes:?}{target:?}{}", task.invocation.cwd));
        if task.around.within.iter().any(|text| **text == *readable) {
            self.restarted(task, &readable);
            return Vec::new();
        }
        if !self.texts.insert(key) {
            return Vec::new();
        }
        let here = matches!(target, Target::Here | Target::User(_));
        let context =
            reader::of_script(self.facts, &task.invocation, dialect, arguments, holes, &self.written, here);
        let span = task.invocation.span;
        let evaluation = shell::read(&readable, Some(span), &context, &mut self.budget);
        let stays = matches!(target, Target::Container(_)) && target == task.around.target;
        let discarded = task.around.discarded && stays;
        let mut around = Around { target, discarded, ..Around::clone(&task.around) };
        around.via.push(program_name(&task.invocation).to_owned());
        around.within.push(readable.into());
        around.files.extend(task.invocation.files.iter().cloned().map(Rc::new));
        let mut tasks = self.tasks(evaluation, span, &Rc::new(around), false);
        for inner in &mut tasks {
            inner.guess = guess;
        }
        tasks
    }

    /// What `docker run -v /:/host` and its like put into a container.
    fn mount(&self, task: &Task, target: &Target, around: &mut Around) {
        if !matches!(target, Target::Container(_)) {
            return;
        }
        let base = self.base(task);
        let resolve = |path: &str| {
            let place = Place::resolve(&Value::known(path), &base);
            place.readings.into_iter().next().map(|reading| reading.path).filter(|path| !path.is_loose())
        };
        let words: Vec<&str> = task.invocation.argv.iter().map(|word| word.as_str().unwrap_or("")).collect();
        for (index, word) in words.iter().enumerate() {
            let next = words.get(index + 1).copied().unwrap_or_default();
            let Some((source, name)) = mount_of(word, next) else { continue };
            if let (Some(source), Some(name)) = (resolve(source), resolve(name))
                && !name.components.is_empty()
            {
                Rc::make_mut(around.mounts.get_or_insert_default()).push((name, source));
            }
        }
    }

    /// A program word with blanks in it: no program is called so, but a starter that splits its words, or a person who
    /// takes a quote away, runs the text.
    pub(super) fn as_text(&mut self, task: &Task) -> Option<Vec<Task>> {
        let [word, ..] = task.invocation.argv.as_slice() else { return None };
        let text = word.as_known().filter(|text| text.trim_ascii().iter().any(u8::is_ascii_whitespace))?;
        let text = Value::known(text.trim_ascii());
        let context = reader::of_request(self.facts, &self.start.cwd);
        shell::read(text.as_str()?, None, &context, &mut self.budget).ok()?;
        Some(self.script(task, Dialect::Bash, &text, &Target::Here, &[], task.guess))
    }

    fn too_deep(&mut self, task: &Task) {
        let reason = format!("more than {DEEPEST} programs start each other");
        self.refuse("parse.too-much", task.invocation.span, &reason, "name the program itself");
    }

    /// A text that starts itself again: in the background, or more than once, it multiplies.
    fn restarted(&mut self, task: &Task, text: &str) {
        let times = self.restarts.entry(text.to_owned()).or_default();
        *times += 1;
        if *times > 1 || task.invocation.background {
            let (rule, reason) = hardline::FORK_BOMB;
            let effect = "a script starts itself without end".to_owned();
            self.found(
                rule,
                Decision::Hardline,
                task.invocation.span,
                &task.invocation.argv,
                effect,
                reason,
                "",
            );
        }
    }
}

/// `exec 3<<< text; bash <&3`: the text that the descriptor stands for.
pub(super) fn duplicated_input(invocation: &Invocation) -> Option<Input> {
    let standard = |redirect: &&Redirect| redirect.fd == Some(0);
    let last = invocation.redirects.iter().rev().find(standard)?;
    let number = last.target.as_str().filter(|_| last.kind == RedirectKind::Duplicate)?;
    let number: u32 = number.trim_end_matches('-').parse().ok().filter(|number| *number != 0)?;
    let of_number = |redirect: &&Redirect| redirect.fd == Some(number);
    let redirect = invocation.redirects.iter().rev().find(of_number)?;
    match redirect.kind {
        RedirectKind::Here => Some(match redirect.target.as_known() {
            Some(bytes) => Input::Known(bytes.to_vec()),
            None => Input::Text(redirect.target.clone()),
        }),
        RedirectKind::Read | RedirectKind::ReadWrite => Some(Input::File(redirect.target.clone())),
        _ => None,
    }
}

/// Whether what is started there has processes of its own. A root that is named by its path is a directory, and no more
/// than that; some options share the machine's processes, or its devices.
fn has_own_processes(starter: &[Value], target: &Target) -> bool {
    let Target::Container(name) = target else { return false };
    let shares = |(index, word): (usize, &Value)| {
        let next = || starter.get(index + 1).and_then(Value::as_str);
        match word.as_str() {
            Some("--pid" | "--cgroupns" | "--userns") => next() == Some("host"),
            Some(word) => {
                word.starts_with("--privileged")
                    || word.starts_with("--pid=")
                    || word.starts_with("--device")
                    || word.starts_with("--cap-add")
                    || word.starts_with("--profile")
                    || word.starts_with("--overrides")
            }
            None => false,
        }
    };
    !name.starts_with(['/', '.', '~']) && !starter.iter().take(MOST_OPTIONS).enumerate().any(shares)
}

/// Whether a command is `docker run --rm` with nothing of this machine's inside: every option is looked at, up to the image.
fn is_discarded(invocation: &Invocation) -> bool {
    const FLAGS: [&str; 11] = [
        "-i",
        "-t",
        "-it",
        "-ti",
        "--rm",
        "--init",
        "-q",
        "--quiet",
        "--interactive",
        "--tty",
        "--read-only",
    ];
    const VALUED: [&str; 18] = [
        "-e",
        "--env",
        "--name",
        "-w",
        "--workdir",
        "-u",
        "--user",
        "--platform",
        "--entrypoint",
        "--pull",
        "-h",
        "--hostname",
        "-m",
        "--memory",
        "--cpus",
        "--network",
        "--tmpfs",
        "--label",
    ];
    let mut words = invocation.argv.iter().skip(1).map(|word| word.as_str().unwrap_or("-"));
    if !matches!(program_name(invocation), "docker" | "podman" | "nerdctl") || words.next() != Some("run") {
        return false;
    }
    let mut removed = false;
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match name {
            _ if FLAGS.contains(&word) => removed |= word == "--rm",
            _ if VALUED.contains(&name) => {
                if value.is_none() {
                    words.next();
                }
            }
            _ => return removed && !word.starts_with('-'),
        }
    }
    false
}

/// The directory and its name in the container, where the word (with the one behind it) puts one there.
fn mount_of<'w>(word: &'w str, next: &'w str) -> Option<(&'w str, &'w str)> {
    let bind = |value: &'w str| {
        let mut parts = value.split(':');
        Some((parts.next()?, parts.next()?)).filter(|(source, _)| source.starts_with(['/', '.', '~']))
    };
    let fields = |value: &'w str| {
        let field = |names: &[&str]| {
            let pairs = value.split(',').filter_map(|part| part.split_once('='));
            pairs.into_iter().find(|(name, _)| names.contains(name)).map(|(_, value)| value)
        };
        Some((field(&["source", "src"])?, field(&["target", "destination", "dst"])?))
    };
    match word {
        "-v" | "--volume" | "-B" | "--bind" => bind(next),
        "--mount" => fields(next),
        _ => {
            if let Some(value) = word.strip_prefix("--mount=") {
                return fields(value);
            }
            let value = word.strip_prefix("--volume=").or_else(|| word.strip_prefix("--bind="));
            bind(value.or_else(|| word.strip_prefix("-v"))?)
        }
    }
}

/// Where what is started runs: on a host or in a container it stays there.
fn inner_target(outer: &Target, inner: Target) -> Target {
    match (outer, inner) {
        (Target::Host(_) | Target::Container(_), Target::Here | Target::User(_)) => outer.clone(),
        (Target::User(_), Target::Here) => outer.clone(),
        (_, inner) => inner,
    }
}

/// A directory that a program changes to, seen from the directory that it starts in.
fn join(outer: &Value, inner: &Value) -> Value {
    if inner.prefix().first() == Some(&b'/') || inner.pieces.is_empty() {
        return inner.clone();
    }
    let mut joined = outer.clone();
    joined.push(Piece::known(b"/"));
    for piece in &inner.pieces {
        joined.push(piece.clone());
    }
    joined
}
