//! What the text itself has made before, and so loses nothing by removing: a file that it wrote anew, a directory that was not
//! there, a program that it compiled.
//!
//! Only what stands at the top of the request counts, where the order of the text is the order in which it runs, and only what
//! surely ran before: `false && echo > a; rm a` removes what was there.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Task, Walk, program_name};
use crate::gate::PathClass;
use crate::gate::act::Act;
use crate::gate::place::{Path, Place};
use crate::programs::{Effect, Operation, Target};
use crate::shell::{self, Limits, Origin, Step, Value};

/// Things that are remembered; a text that makes more is asked about.
const MOST: usize = 64;

/// Programs that make a program of sources.
const COMPILERS: &[&str] =
    &["gcc", "g++", "cc", "c++", "clang", "clang++", "tcc", "gfortran", "rustc", "go", "zig", "nvcc"];

/// One thing that the text made.
#[derive(Debug)]
pub(super) struct Made {
    path: Path,
    step: Step,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// What was there is gone, whatever it was.
    Overwritten,
    /// It was not there: `mkdir` fails where something is.
    Directory,
    /// A program, of sources that would themselves be run without a question.
    Compiled,
    /// A directory with a Python of its own, and with what was installed for that.
    Environment,
}

impl Walk<'_> {
    /// Notes what an act makes.
    pub(super) fn learn_made(&mut self, act: &Act, task: &Task) {
        match &act.effect {
            // Something else may stand there now.
            Effect::Delete { how: Operation::Move, .. } => self.moved = true,
            Effect::Write { path, how } if self.made.len() < MOST => {
                let Some(how) = self.how_made(path, *how, act, task) else { return };
                let (Some(step), Some(path)) = (self.step_of(task), known_path(act)) else { return };
                self.made.push(Made { path, step, how });
            }
            _ => {}
        }
    }

    fn how_made(&self, path: &Value, how: Operation, act: &Act, task: &Task) -> Option<How> {
        // as it stands, and not in a reading in which something is taken to be empty
        let (group, index) = task.group?;
        let own = self.groups.get(group)?.invocations.get(index)?;
        if !own.argv.contains(path) && !own.redirects.iter().any(|redirect| redirect.target == *path) {
            return None;
        }
        let program = program_name(&task.invocation);
        let arguments = task.invocation.argv.get(1..).unwrap_or_default();
        match how {
            Operation::Make if program == "mkdir" => {
                let plain = !arguments.iter().any(|word| word.prefix().starts_with(b"-"));
                plain.then_some(How::Directory)
            }
            Operation::Create if makes_environment(program, arguments) => Some(How::Environment),
            Operation::Overwrite if COMPILERS.contains(&program) => {
                Some(if self.sources_are_own(path, task) { How::Compiled } else { How::Overwritten })
            }
            Operation::Overwrite if act.scene.redirects.contains(path) || program == "tee" => {
                Some(How::Overwritten)
            }
            _ => None,
        }
    }

    /// Whether a compiler reads only what is the workspace's, the system's, or was written by this text.
    fn sources_are_own(&self, output: &Value, task: &Task) -> bool {
        let base = self.base(task);
        let own = |word: &Value| {
            if word == output || word.prefix().starts_with(b"-") {
                return true;
            }
            // arguments in a file: whatever is in it
            if word.prefix().starts_with(b"@") {
                return false;
            }
            let place = Place::resolve(word, &base);
            let classes = place.may_be();
            let in_workspace = classes.has(PathClass::Workspace) && !classes.has(PathClass::Unknown);
            let absolute = |path: &[u8]| {
                let bare = path.strip_prefix(b"./").unwrap_or(path);
                let cwd = task.invocation.cwd.as_known().filter(|_| !path.starts_with(b"/"));
                cwd.map_or_else(|| path.to_vec(), |cwd| [cwd, b"/", bare].concat())
            };
            let is_written = |path: &[u8]| {
                self.written.iter().any(|file| *file.path == *path || file.path == absolute(path))
            };
            in_workspace || word.as_known().is_some_and(is_written)
        };
        self.received.is_empty() && task.invocation.argv.iter().skip(1).all(own)
    }

    /// Takes what the text has made itself for that.
    pub(super) fn recognise_made(&mut self, act: &mut Act, task: &Task) {
        if self.made.is_empty() || self.moved {
            return;
        }
        let tree = match &act.effect {
            Effect::Delete { how: Operation::Remove, recursive, .. } => Some(*recursive),
            Effect::RunFile { .. } => None,
            _ => return,
        };
        let (Some(step), Some(path)) = (self.step_of(task), known_path(act)) else { return };
        let is = |made: &&Made| match (made.how, tree) {
            (How::Compiled, None) => made.step.succeeded_before(&step),
            (How::Environment, None) => made.step.ran_before(&step),
            (_, None) => false,
            (How::Directory, Some(_)) | (_, Some(true)) => made.step.succeeded_before(&step),
            (_, Some(false)) => made.step.ran_before(&step),
        };
        let named = |made: &&Made| match made.how {
            How::Environment if tree.is_none() => is_program_of(&made.path, &path),
            _ => made.path == path,
        };
        if !self.made.iter().filter(named).any(|made| is(&made)) {
            return;
        }
        for reading in act.place.iter_mut().flat_map(|place| &mut place.readings) {
            if tree.is_none() {
                reading.classes = reading.classes.without(&[PathClass::Temp]);
            }
            if tree.is_none() || reading.classes.has(PathClass::Workspace) {
                reading.classes.insert(PathClass::Build);
            }
        }
    }

    /// The step of the request that a command is.
    fn step_of(&mut self, task: &Task) -> Option<Step> {
        let invocation = &task.invocation;
        let at_top = task.group.is_some_and(|(group, _)| group == 0)
            && task.around.within.is_empty()
            && task.around.target == Target::Here
            && invocation.origin == Origin::Plain;
        if !at_top {
            return None;
        }
        let steps = self.steps.get_or_insert_with(|| {
            // `set -C` has a redirection fail that would replace a file
            let guarded = |invocation: &Rc<shell::Invocation>| {
                let words = invocation.argv.iter().skip(1);
                program_name(invocation) == "set"
                    && words.clone().any(|word| word.as_str().is_none_or(|word| word.contains(['C', 'n'])))
            };
            if self.groups.first().is_none_or(|group| group.invocations.iter().any(guarded)) {
                return Vec::new();
            }
            let script = shell::parse(&self.text, self.facts.dialect, false, Limits::default());
            let mut steps = script.map_or_else(|_| Vec::new(), |script| shell::steps(&script));
            // what is read in several ways does one of them
            let mut readings: HashMap<u32, usize> = HashMap::new();
            for invocation in self.groups.first().iter().flat_map(|group| group.invocations.iter()) {
                if invocation.origin == Origin::Plain {
                    *readings.entry(invocation.span.start).or_default() += 1;
                }
            }
            steps.retain(|step| readings.get(&step.start) == Some(&1));
            steps
        });
        let at = steps.binary_search_by_key(&invocation.span.start, |step| step.start).ok()?;
        steps.get(at).copied()
    }
}

/// Whether a command makes an environment of Python: `python -m venv x`, `uv venv x`.
fn makes_environment(program: &str, arguments: &[Value]) -> bool {
    let word = |at: usize| arguments.get(at).and_then(Value::as_str).unwrap_or_default();
    match program {
        "virtualenv" => true,
        "uv" => word(0) == "venv",
        _ => program.starts_with("python") && word(0) == "-m" && matches!(word(1), "venv" | "virtualenv"),
    }
}

/// Whether a file is a program of an environment: it lies in its `bin`.
fn is_program_of(environment: &Path, file: &Path) -> bool {
    let Some((_, directory)) = file.components.split_last() else { return false };
    let mut programs = environment.clone();
    programs.push(b"bin");
    directory == programs.components.as_slice()
}

/// The path of an act, where it is one and known.
fn known_path(act: &Act) -> Option<Path> {
    let [reading] = act.place.as_ref()?.readings.as_slice() else { return None };
    let known = reading.is_definite() && !reading.path.is_loose() && reading.path.is_literal();
    known.then(|| reading.path.clone())
}
