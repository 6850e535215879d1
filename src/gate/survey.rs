//! The gate's walk: a command becomes acts and findings.
//!
//! Every simple command gives effects; an effect that starts another program or text for a shell is followed, in the
//! order of the text, with one budget for all. What is over the budget, or cannot be read, is a finding that refuses: a
//! bound never downgrades a verdict.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::act::{Act, Feed, Scene};
use super::classify::Ground;
use super::place::{Base, Path, Place};
use super::sources::Sources;
use super::{Command, Decision, Facts, Finding, Judgement};
use super::{aliases, hardline, opaque, reader, text};
use crate::programs::{self, Effect, Knowledge, Language, Target, effects, is_guess};
use crate::shell::{
    self, Budget, Dialect, Evaluation, Input, Invocation, Oddity, Origin, Piece, ReadError, RedirectKind,
    Span, Unknown, Value,
};

/// What a command does, as far as it can be known before running, with the findings that no policy is asked about.
#[derive(Debug, Default)]
pub struct Survey {
    acts: Vec<Act>,
    findings: Vec<Finding>,
}

/// Commands that are followed for one request, whatever leads to them.
const MOST_COMMANDS: usize = 20_000;
/// Starters inside starters: `sudo env nice ...`.
const DEEPEST: usize = 48;
/// The longest request that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// Findings that are kept beside the strictest; a person reads no more.
const MOST_FINDINGS: usize = 200;

/// Reads a command and follows all that it starts.
pub fn survey(command: &Command, facts: &Facts) -> Survey {
    let mut walk = Walk::new(facts);
    match command {
        Command::Argv(argv) => walk.argv(argv),
        Command::Shell(text) => walk.shell(text),
    }
    walk.survey.findings.truncate(MOST_FINDINGS);
    walk.survey
}

impl Survey {
    /// The effects, each in its context.
    pub fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// What the gate found by itself.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Puts the policy's findings to the gate's own. There is no way to take one of the gate's away.
    pub fn conclude(self, of_policy: Vec<Finding>) -> Judgement {
        let mut findings = self.findings;
        findings.extend(of_policy);
        let mut judgement = Judgement::from_findings(findings);
        judgement.findings.dedup_by(|later, earlier| {
            later.rule == earlier.rule
                && later.span == earlier.span
                && later.argv == earlier.argv
                && later.effect == earlier.effect
        });
        judgement
    }
}

/// The walk through one request.
struct Walk<'f> {
    facts: &'f Facts,
    ground: Arc<Ground>,
    /// For what runs on another host or in a container: neither this directory nor these workspaces are there.
    elsewhere: Arc<Ground>,
    links: Vec<(Path, Path)>,
    budget: Budget,
    commands: usize,
    over: bool,
    /// Texts that were followed, with what they were given: a script that calls itself is read once.
    texts: HashSet<(String, String)>,
    /// How often each text started itself again.
    restarts: HashMap<String, usize>,
    /// The texts that were evaluated.
    groups: Vec<Group>,
    survey: Survey,
}

/// The commands of one text.
#[derive(Debug, Default)]
struct Group {
    invocations: Rc<Vec<Invocation>>,
    /// Where the output of each comes from.
    feeds: Vec<Feed>,
}

/// A command that waits to be looked at.
#[derive(Debug, Clone)]
struct Task {
    invocation: Invocation,
    target: Target,
    via: Vec<String>,
    /// Which evaluation it belongs to, and its index there.
    group: Option<(usize, usize)>,
    guess: bool,
    /// Files that the texts around it wrote, with their content.
    files: Rc<Vec<(Value, Input)>>,
    /// The texts that it stands in, innermost last, with how often each has started itself again.
    within: Rc<Vec<String>>,
}

impl<'f> Walk<'f> {
    fn new(facts: &'f Facts) -> Self {
        let ground = Ground::new(facts);
        let elsewhere = ground.elsewhere();
        Self {
            facts,
            ground: Arc::new(ground),
            elsewhere: Arc::new(elsewhere),
            links: Vec::new(),
            budget: Budget::default(),
            commands: 0,
            over: false,
            texts: HashSet::new(),
            restarts: HashMap::new(),
            groups: Vec::new(),
            survey: Survey::default(),
        }
    }

    fn argv(&mut self, argv: &[String]) {
        let span = Span {
            start: 0,
            end: u32::try_from(argv.iter().map(String::len).sum::<usize>()).unwrap_or(u32::MAX),
        };
        let refused = match argv.first() {
            None => Some("the command is empty"),
            Some(program) if program.is_empty() => Some("the program's name is empty"),
            _ if argv.iter().any(|word| word.contains('\0')) => {
                Some("an argument holds a NUL byte, which ends it for the program")
            }
            _ if argv.iter().map(String::len).sum::<usize>() > LONGEST => {
                Some("the command is longer than 1 MiB")
            }
            _ => None,
        };
        if let Some(reason) = refused {
            return self.refuse("parse.unreadable", span, reason, "");
        }
        for word in argv {
            self.deceptive(word, span);
        }
        let invocation = Invocation {
            argv: argv.iter().map(|word| Value::known(word.as_bytes())).collect(),
            span,
            spans: vec![span; argv.len()],
            assignments: Vec::new(),
            exported: Vec::new(),
            redirects: Vec::new(),
            stdin: Input::Inherited,
            cwd: Value::known(self.facts.cwd.as_bytes()),
            background: false,
            origin: Origin::Plain,
            files: Vec::new(),
        };
        self.run(vec![Task {
            invocation,
            target: Target::Here,
            via: Vec::new(),
            group: None,
            guess: false,
            files: Rc::default(),
            within: Rc::default(),
        }]);
    }

    fn shell(&mut self, text: &str) {
        let span = Span { start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) };
        let refused = match text {
            _ if text.contains('\0') => {
                Some("the text holds a NUL byte: a shell drops it, and reads another text than a person")
            }
            _ if text.len() > LONGEST => Some("the text is longer than 1 MiB"),
            _ => None,
        };
        if let Some(reason) = refused {
            return self.refuse("parse.unreadable", span, reason, "");
        }
        self.deceptive(text, span);
        let evaluation = shell::read(text, None, &reader::of_request(self.facts), &mut self.budget);
        let tasks = self.tasks(evaluation, span, &Target::Here, &[], true);
        self.run(tasks);
    }

    fn refuse(&mut self, rule: &str, span: Span, reason: &str, hint: &str) {
        self.found(rule, Decision::Deny, span, &[], String::new(), reason, hint);
    }

    #[allow(clippy::too_many_arguments, reason = "a finding has so many parts")]
    fn found(
        &mut self,
        rule: &str,
        decision: Decision,
        span: Span,
        argv: &[Value],
        effect: String,
        reason: &str,
        hint: &str,
    ) {
        self.survey.findings.push(Finding {
            rule: rule.to_owned(),
            decision,
            span,
            argv: argv.iter().map(Value::to_string).collect(),
            effect,
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        });
    }

    fn deceptive(&mut self, shown: &str, span: Span) {
        if let Some(what) = text::deception(shown) {
            let reason = format!("the text holds {what}: what is shown is not what runs");
            self.found(
                "text.deceptive",
                Decision::Ask,
                span,
                &[],
                "shows one thing and runs another".to_owned(),
                &reason,
                "write plain ASCII",
            );
        }
    }

    /// Turns an evaluation into tasks, and its oddities into findings. `outer` is where the text stands in the request,
    /// `own` whether it is the request's.
    fn tasks(
        &mut self,
        evaluation: Result<Evaluation, ReadError>,
        outer: Span,
        target: &Target,
        via: &[String],
        own: bool,
    ) -> Vec<Task> {
        let evaluation = match evaluation {
            Ok(evaluation) => evaluation,
            Err(ReadError::Parse(error)) => {
                let span = if own { Span { start: error.at, end: outer.end.max(error.at) } } else { outer };
                self.refuse("parse.unreadable", span, &error.to_string(), "");
                return Vec::new();
            }
            Err(error) => {
                self.refuse(
                    "parse.too-much",
                    outer,
                    &error.to_string(),
                    "split the command into smaller ones",
                );
                return Vec::new();
            }
        };
        for oddity in &evaluation.oddities {
            self.oddity(oddity);
        }
        self.growing(&evaluation.invocations);
        let group = self.groups.len();
        let invocations = Rc::new(evaluation.invocations);
        self.groups.push(Group {
            feeds: vec![Feed::Plain; invocations.len()],
            invocations: Rc::clone(&invocations),
        });
        let make = |(index, invocation): (usize, &Invocation)| Task {
            invocation: invocation.clone(),
            target: target.clone(),
            via: via.to_vec(),
            group: Some((group, index)),
            guess: false,
            files: Rc::default(),
            within: Rc::default(),
        };
        invocations.iter().enumerate().map(make).collect()
    }

    /// `while :; do x=$x$x; done`: a variable that doubles each time round fills the memory.
    fn growing(&mut self, invocations: &[Invocation]) {
        let mut lengths: HashMap<(Span, &str), usize> = HashMap::new();
        let alone = invocations.iter().filter(|invocation| invocation.argv.is_empty());
        let mut doubled = None;
        for invocation in alone {
            for (name, value) in &invocation.assignments {
                let Some(length) = value.as_known().map(<[u8]>::len) else { continue };
                let before = lengths.insert((invocation.span, name), length);
                if before.is_some_and(|before| before > 0 && length >= 2 * before) {
                    doubled = Some((invocation.span, name.clone()));
                }
            }
        }
        if let Some((span, name)) = doubled {
            let effect = format!("${name} at least doubles each time round");
            self.found("opaque.growth", Decision::Ask, span, &[], effect, "a loop fills the memory", "");
        }
    }

    fn oddity(&mut self, oddity: &Oddity) {
        match oddity {
            Oddity::SelfForking { name, span } => {
                let effect = format!("{} starts itself without end", text::render(name));
                let (rule, reason) = hardline::FORK_BOMB;
                self.found(rule, Decision::Hardline, *span, &[], effect, reason, "");
            }
            Oddity::TailDoesNotParse { span, message } => {
                let reason = format!("{message}; a shell would run what stands before it first");
                self.refuse("parse.unreadable", *span, &reason, "");
            }
            Oddity::Dialect { span, message, .. } => {
                self.refuse("parse.dialect", *span, message, "write it so that every shell reads it alike");
            }
            Oddity::Opaque { span, message } => {
                self.found(
                    "opaque.construct",
                    Decision::Ask,
                    *span,
                    &[],
                    message.clone(),
                    "what it runs cannot be known before running",
                    "",
                );
            }
        }
    }

    /// Looks at the tasks in order; what one starts comes before its successor.
    fn run(&mut self, tasks: Vec<Task>) {
        let mut stack: Vec<Task> = tasks.into_iter().rev().collect();
        while let Some(task) = stack.pop() {
            self.commands += 1;
            if self.commands > MOST_COMMANDS {
                if !self.over {
                    self.over = true;
                    let reason = format!("more than {MOST_COMMANDS} commands would have to be followed");
                    self.refuse(
                        "parse.too-much",
                        task.invocation.span,
                        &reason,
                        "split the command into smaller ones",
                    );
                }
                return;
            }
            let mut inner = self.step(task);
            inner.reverse();
            stack.append(&mut inner);
        }
    }

    /// One command, in each of its readings: as it stands, and with every variable that nothing sets read as empty.
    fn step(&mut self, mut task: Task) -> Vec<Task> {
        // `ssh host -- command`: no program is called `--`.
        if task.invocation.argv.first().and_then(Value::as_str) == Some("--") {
            task.invocation.argv.remove(0);
            task.invocation.spans.drain(..task.invocation.spans.len().min(1));
        }
        let mut inner = self.reading(&task);
        if let Some(invocation) = reader::unset_empty(&task.invocation) {
            inner.extend(self.reading(&Task { invocation, ..task.clone() }));
        }
        if let Some(stdin) = self.known_input(&task) {
            let invocation = Invocation { stdin, ..task.invocation.clone() };
            inner.extend(self.reading(&Task { invocation, ..task }));
        }
        inner
    }

    /// What is known of an input to which several commands write: plain words of some
    /// (`(crontab -l; echo '...') | crontab -`), or names that a program lists.
    fn known_input(&self, task: &Task) -> Option<Input> {
        let Input::Pipe(writers) = &task.invocation.stdin else { return None };
        let (group, _) = task.group?;
        let invocations = &self.groups.get(group)?.invocations;
        let mut lines = Vec::new();
        for writer in writers.iter().filter_map(|index| invocations.get(*index)) {
            if let Some(listed) = programs::output(writer) {
                return Some(Input::Text(listed));
            }
            let (program, words) = writer.argv.split_first()?;
            if matches!(program.as_str(), Some("echo" | "printf")) {
                let words: Vec<&[u8]> = words.iter().filter_map(Value::as_known).collect();
                lines.extend(words.join(&b' '));
                lines.push(b'\n');
            }
        }
        (!lines.is_empty()).then_some(Input::Known(lines))
    }

    /// One command in one reading: its acts, and what it starts.
    fn reading(&mut self, task: &Task) -> Vec<Task> {
        let knowledge = Knowledge::shipped();
        let invocation = &task.invocation;
        let base = self.base(task);
        let fed = self.fed(task);
        let all = effects(invocation, knowledge);
        let scene = Arc::new(Scene {
            argv: invocation.argv.clone(),
            program: program_name(invocation),
            span: invocation.span,
            target: task.target.clone(),
            via: task.via.clone(),
            fed,
            has_effects: !all.is_empty(),
        });
        let mut gives = fed;
        let mut inner = Vec::new();
        aliases::learn(invocation, &base, &mut self.links);
        for effect in all.into_iter().flat_map(|effect| with_content(effect, task)) {
            let guess = task.guess || is_guess(&effect);
            match effect {
                Effect::Exec { argv, via, target, assignments, cwd } => {
                    if let Some(started) = self.exec(task, argv, via, target, assignments, cwd, guess) {
                        inner.push(started);
                    }
                }
                Effect::Script {
                    language: Language::Shell(dialect),
                    ref text,
                    ref target,
                    ref arguments,
                } if task.via.len() < DEEPEST => {
                    if text.as_known().is_none() {
                        self.act(effect.clone(), task, &base, &scene, guess, &mut gives);
                    }
                    inner.extend(self.script(task, dialect, text, target, arguments, guess));
                }
                other => self.act(other, task, &base, &scene, guess, &mut gives),
            }
        }
        if !task.guess && !invocation.argv.is_empty() {
            let start = Effect::Exec {
                argv: invocation.argv.clone(),
                via: task.via.last().cloned().unwrap_or_default(),
                target: task.target.clone(),
                assignments: Vec::new(),
                cwd: None,
            };
            self.survey.acts.push(Act { effect: start, place: None, scene });
        }
        if let Some((group, index)) = task.group
            && let Some(feed) = self.groups.get_mut(group).and_then(|group| group.feeds.get_mut(index))
        {
            *feed = (*feed).max(gives);
        }
        inner
    }

    /// The effect, or one for each thing that a hole in its operand stands for.
    fn spread(&mut self, effect: Effect, task: &Task) -> Vec<Effect> {
        let invocations = task
            .group
            .and_then(|(group, _)| self.groups.get(group))
            .map(|group| Rc::clone(&group.invocations));
        let invocations = invocations.unwrap_or_default();
        let mut sources = Sources {
            facts: self.facts,
            budget: &mut self.budget,
            invocations: &invocations,
            stdin: &task.invocation.stdin,
            cwd: &task.invocation.cwd,
        };
        sources.spread(effect)
    }

    /// Records an act, and the gate's own findings on it.
    fn act(
        &mut self,
        effect: Effect,
        task: &Task,
        base: &Base,
        scene: &Arc<Scene>,
        guess: bool,
        gives: &mut Feed,
    ) {
        for effect in self.spread(effect, task) {
            let place = path_of(&effect).map(|path| Place::resolve(path, base));
            let act = Act { effect, place, scene: Arc::clone(scene) };
            match &act.effect {
                Effect::Fetch { .. } => *gives = (*gives).max(Feed::Network),
                Effect::Read { .. } if act.may_be().has(super::PathClass::Credential) => {
                    *gives = (*gives).max(Feed::Credential)
                }
                _ => {}
            }
            let ground = self.ground_of(&act.scene.target);
            for mut finding in hardline::findings(&act, &ground) {
                if guess {
                    // The operands of a program that nobody knows look like a command, but may be data.
                    "opaque.launcher".clone_into(&mut finding.rule);
                    finding.decision = Decision::Ask;
                    "if this program starts its operands as a command, it is on the hardline list"
                        .clone_into(&mut finding.reason);
                }
                self.survey.findings.push(finding);
            }
            if !guess {
                self.survey.findings.extend(opaque::findings(&act));
                self.survey.acts.push(act);
            }
        }
    }

    fn ground_of(&self, target: &Target) -> Arc<Ground> {
        match target {
            Target::Here | Target::User(_) => Arc::clone(&self.ground),
            Target::Host(_) | Target::Container(_) => Arc::clone(&self.elsewhere),
        }
    }

    fn base(&self, task: &Task) -> Base {
        let ground = self.ground_of(&task.target);
        let here = matches!(task.target, Target::Here | Target::User(_));
        let mut base = Base { cwd: Some(Path::literal(&self.facts.cwd)), ground, links: Vec::new() };
        if here {
            base.links.clone_from(&self.links);
        } else {
            base.cwd = None;
        }
        let cwd = &task.invocation.cwd;
        let stays = cwd.as_str() == Some(self.facts.cwd.as_str());
        if (!here || !stays) && !cwd.pieces.is_empty() {
            let place = Place::resolve(cwd, &base);
            base.cwd =
                place.readings.into_iter().next().map(|reading| reading.path).filter(|path| !path.is_loose());
        }
        base
    }

    fn fed(&self, task: &Task) -> Feed {
        let Input::Pipe(from) = &task.invocation.stdin else { return Feed::Plain };
        let Some((group, _)) = task.group else { return Feed::Plain };
        let Some(group) = self.groups.get(group) else { return Feed::Plain };
        from.iter().filter_map(|index| group.feeds.get(*index)).copied().max().unwrap_or(Feed::Plain)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one effect")]
    fn exec(
        &mut self,
        task: &Task,
        argv: Vec<Value>,
        via: String,
        target: Target,
        assignments: Vec<(String, Value)>,
        cwd: Option<Value>,
        guess: bool,
    ) -> Option<Task> {
        if task.via.len() >= DEEPEST {
            self.too_deep(task);
            return None;
        }
        let mut invocation = task.invocation.clone();
        invocation.spans = vec![invocation.span; argv.len()];
        invocation.argv = argv;
        // The starter's own redirections are judged already; here-documents reach what it starts.
        invocation.redirects.retain(|redirect| redirect.kind == RedirectKind::Here);
        invocation.assignments = assignments;
        if let Some(cwd) = cwd {
            invocation.cwd = join(&invocation.cwd, &cwd);
        }
        let mut chain = task.via.clone();
        chain.push(via);
        Some(Task {
            invocation,
            target: inner_target(&task.target, target),
            via: chain,
            group: task.group,
            guess,
            files: Rc::clone(&task.files),
            within: Rc::clone(&task.within),
        })
    }

    fn script(
        &mut self,
        task: &Task,
        dialect: Dialect,
        text: &Value,
        target: &Target,
        arguments: &[Value],
        guess: bool,
    ) -> Vec<Task> {
        if task.via.len() >= DEEPEST {
            self.too_deep(task);
            return Vec::new();
        }
        let (readable, holes) = reader::with_holes(text);
        let target = inner_target(&task.target, target.clone());
        let key = (readable.clone(), format!("{arguments:?}{holes:?}{target:?}{}", task.invocation.cwd));
        if task.within.contains(&readable) {
            self.restarted(task, &readable);
            return Vec::new();
        }
        if !self.texts.insert(key) {
            return Vec::new();
        }
        let here = matches!(target, Target::Here | Target::User(_));
        let context = reader::of_script(self.facts, &task.invocation, dialect, arguments, holes, here);
        let span = task.invocation.span;
        let evaluation = shell::read(&readable, Some(span), &context, &mut self.budget);
        let mut via = task.via.clone();
        via.push(program_name(&task.invocation));
        let mut tasks = self.tasks(evaluation, span, &target, &via, false);
        let mut within = task.within.to_vec();
        within.push(readable);
        let within = Rc::new(within);
        let mut files = task.files.to_vec();
        files.extend(task.invocation.files.iter().cloned());
        let files = Rc::new(files);
        for inner in &mut tasks {
            inner.guess = guess;
            inner.files = Rc::clone(&files);
            inner.within = Rc::clone(&within);
        }
        tasks
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

/// A file that the same text wrote, a process substitution or a here-document is run as the text that is in it.
fn with_content(effect: Effect, task: &Task) -> Vec<Effect> {
    let Effect::RunFile { path, language } = &effect else { return vec![effect] };
    let invocation = &task.invocation;
    let files = task.files.iter().rev().chain(&invocation.files);
    let content = files.into_iter().find(|(name, _)| name == path).map(|(_, content)| content.clone());
    let Some(content) = content.or_else(|| descriptor(path, invocation)) else { return vec![effect] };
    let text = match content {
        Input::Known(bytes) => Value::known(bytes),
        Input::Text(value) => value,
        Input::Pipe(_) | Input::File(_) | Input::Inherited => {
            Value::unknown(Unknown { source: path.to_string(), may_be_empty: true, ..Unknown::default() })
        }
    };
    let language = language.unwrap_or(Language::Shell(Dialect::Bash));
    let mut found = programs::code::code_effects(language, &text, invocation, Knowledge::shipped());
    found.push(Effect::Script { language, text, target: Target::Here, arguments: Vec::new() });
    found
}

/// `/dev/fd/3` with `3<<< text`, `/dev/stdin`.
fn descriptor(path: &Value, invocation: &Invocation) -> Option<Input> {
    let path = path.as_str()?;
    let number = ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|directory| path.strip_prefix(directory));
    let number: u32 = if path == "/dev/stdin" { 0 } else { number?.parse().ok()? };
    let mut here = invocation.redirects.iter().rev().filter(|redirect| redirect.kind == RedirectKind::Here);
    if let Some(redirect) = here.find(|redirect| redirect.fd.unwrap_or(0) == number) {
        return Some(Input::Text(redirect.target.clone()));
    }
    (number == 0).then(|| invocation.stdin.clone()).filter(|stdin| *stdin != Input::Inherited)
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
    joined.push(Piece::Known(b"/".to_vec()));
    for piece in &inner.pieces {
        joined.push(piece.clone());
    }
    joined
}

/// The name of the program without its directories; empty where it is not known.
fn program_name(invocation: &Invocation) -> String {
    let Some(word) = invocation.argv.first().and_then(Value::as_str) else { return String::new() };
    word.rsplit('/').next().unwrap_or(word).to_owned()
}

/// The path of an effect that has one.
fn path_of(effect: &Effect) -> Option<&Value> {
    match effect {
        Effect::Delete { path, .. }
        | Effect::Write { path, .. }
        | Effect::Read { path }
        | Effect::Metadata { path, .. }
        | Effect::RunFile { path, .. }
        | Effect::Device { path, .. }
        | Effect::Mount { path } => Some(path),
        Effect::Send { path, .. } => path.as_ref(),
        _ => None,
    }
}
