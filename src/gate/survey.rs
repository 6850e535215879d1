//! The gate's walk: a command becomes acts and findings.
//!
//! Every simple command gives effects; an effect that starts another program or text for a shell is followed, in the
//! order of the text, with one budget for all. What is over the budget, or cannot be read, is a finding that refuses: a
//! bound never downgrades a verdict.

mod acts;
mod built;
mod deceptive;
mod endless;
mod follow;
mod inputs;
mod leaks;
mod made;
mod scheduled;
mod written;

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use self::acts::{program_name, shows_environment};
use super::act::{Act, Feed, Scene};
use super::classify::Ground;
use super::place::{Base, Path, Place};
use super::sources::Sources;
use super::start::Start;
use super::{ClassSet, Command, Decision, Facts, Finding, Judgement, PathClass};
use super::{aliases, given, hardline, opaque, reader, text};
use crate::programs::{self, Effect, Knowledge, Language, Target, effects, is_guess};
use crate::shell::{
    self, Budget, Evaluation, Input, Invocation, Oddity, Origin, Piece, ReadError, Span, Step, Value, Written,
};

/// What a command does, as far as it can be known before running, with the findings that no policy is asked about.
#[derive(Debug, Default)]
pub struct Survey {
    acts: Vec<Act>,
    findings: Vec<Finding>,
}

/// Commands that are followed for one request, whatever leads to them; so many words of one count as one more.
const MOST_COMMANDS: usize = 20_000;
const WORDS_OF_ONE: usize = 8;
/// Starters inside starters: `sudo env nice ...`.
const DEEPEST: usize = 48;
/// The longest request that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// Files from the network that are remembered; a text that fetches more is not an ordinary one.
const MOST_RECEIVED: usize = 64;
/// Holes of one command whose commands are looked at.
const MOST_HOLES: usize = 8;
/// Names that a program lists for the next one.
const MOST_LISTED: usize = 32;
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
        judgement.drop_weaker();
        judgement
    }
}

/// The walk through one request.
struct Walk<'f> {
    facts: &'f Facts,
    start: Rc<Start>,
    /// For what runs on another host or in a container: neither this directory nor these workspaces are there.
    elsewhere: OnceCell<Arc<Ground>>,
    contained: OnceCell<Arc<Ground>>,
    links: Vec<(Path, Path)>,
    /// Programs that the text put under another name.
    programs: Vec<(Path, Value)>,
    /// Names that the text made the shell remember for other programs.
    hashed: Vec<(Vec<u8>, Value)>,
    /// What the text received from the network, and where it put it.
    received: Vec<Path>,
    /// What the text wrote, and what is in it.
    written: Vec<Written>,
    /// Whether it holds characters that deceive where they stand in names.
    marked: bool,
    /// The request, where it is a text, and the commands at its top once somebody has asked.
    text: Rc<str>,
    steps: Option<Vec<Step>>,
    /// What it has made so far, and whether it has moved something since.
    made: Vec<made::Made>,
    moved: bool,
    /// Bytes of what will be run later that may still be read.
    scheduled: Cell<usize>,
    /// Scripts that it put into a package, for a package manager to run.
    scripts: Vec<Value>,
    /// Sources that the text compiled.
    compiled: Vec<Value>,
    /// How many bytes of written files may still be read again.
    unread: Cell<usize>,
    /// What it wrote to files whose names are known only when it runs.
    unnamed: Vec<(String, Value)>,
    budget: Budget,
    commands: usize,
    /// Words that were looked through for what commands do.
    looked: usize,
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
#[derive(Debug)]
struct Group {
    invocations: Rc<[Rc<Invocation>]>,
    /// Where the output of each comes from; plain past the end.
    feeds: Vec<Feed>,
}

/// A command that waits to be looked at.
#[derive(Debug, Clone)]
struct Task {
    invocation: Rc<Invocation>,
    around: Rc<Around>,
    /// Which evaluation it belongs to, and its index there.
    group: Option<(usize, usize)>,
    guess: bool,
}

/// What led to a command; the commands of one text share it.
#[derive(Debug, Clone)]
struct Around {
    target: Target,
    /// Directories of this machine that are in the container that it runs in: the name there, the path here.
    mounts: Option<Rc<Vec<(Path, Path)>>>,
    /// Whether that is a container with processes of its own.
    apart: bool,
    /// Whether it runs in a container that has nothing of this machine's and is gone afterwards.
    discarded: bool,
    /// The programs that started each other, outermost first.
    via: Vec<String>,
    /// Files that the texts around it wrote, with their content.
    files: Vec<Rc<(Value, Input)>>,
    /// The texts that it stands in, innermost last.
    within: Vec<Rc<str>>,
}

impl Around {
    /// Here, and nothing around it.
    fn nothing() -> Rc<Self> {
        let (via, files, within) = (Vec::new(), Vec::new(), Vec::new());
        Rc::new(Self {
            target: Target::Here,
            mounts: None,
            apart: false,
            discarded: false,
            via,
            files,
            within,
        })
    }

    fn mounts(&self) -> &[(Path, Path)] {
        self.mounts.as_ref().map_or(&[], |mounts| mounts.as_slice())
    }
}

impl<'f> Walk<'f> {
    fn new(facts: &'f Facts) -> Self {
        Self {
            facts,
            start: Start::of(facts),
            elsewhere: OnceCell::new(),
            contained: OnceCell::new(),
            links: Vec::new(),
            programs: Vec::new(),
            hashed: Vec::new(),
            received: Vec::new(),
            written: Vec::new(),
            marked: false,
            text: Rc::from(""),
            steps: None,
            made: Vec::new(),
            moved: false,
            scheduled: Cell::new(LONGEST),
            scripts: Vec::new(),
            compiled: Vec::new(),
            unread: Cell::new(built::MOST_READ),
            unnamed: Vec::new(),
            budget: Budget::default(),
            commands: 0,
            looked: 0,
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
            argv: Arc::new(argv.iter().map(|word| Value::known(word.as_bytes())).collect()),
            span,
            assignments: Vec::new(),
            exported: Vec::new(),
            redirects: Vec::new(),
            stdin: Input::Inherited,
            cwd: Arc::clone(&self.start.cwd),
            background: false,
            origin: Origin::Plain,
            files: Vec::new(),
        };
        self.run(vec![Task {
            invocation: Rc::new(invocation),
            around: Around::nothing(),
            group: None,
            guess: false,
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
        self.text = Rc::from(text);
        let evaluation =
            shell::read(text, None, &reader::of_request(self.facts, &self.start.cwd), &mut self.budget);
        let tasks = self.tasks(evaluation, span, &Around::nothing(), true);
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
            effect: text::render(&effect),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
            run_under: String::new(),
        });
    }

    /// Turns an evaluation into tasks, and its oddities into findings. `outer` is where the text stands in the request,
    /// `own` whether it is the request's.
    fn tasks(
        &mut self,
        evaluation: Result<Evaluation, ReadError>,
        outer: Span,
        around: &Rc<Around>,
        own: bool,
    ) -> Vec<Task> {
        let evaluation = match evaluation {
            Ok(evaluation) => evaluation,
            Err(ReadError::Parse(error)) => {
                let span = if own { Span { start: error.at, end: outer.end.max(error.at) } } else { outer };
                let reason =
                    if own { error.to_string() } else { format!("the text that a shell is given: {error}") };
                self.refuse("parse.unreadable", span, &reason, "");
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
        self.remember(evaluation.written);
        let group = self.groups.len();
        let invocations: Rc<[Rc<Invocation>]> = evaluation.invocations.into_iter().map(Rc::new).collect();
        self.groups.push(Group { invocations: Rc::clone(&invocations), feeds: Vec::new() });
        let make = |(index, invocation): (usize, &Rc<Invocation>)| Task {
            invocation: Rc::clone(invocation),
            around: Rc::clone(around),
            group: Some((group, index)),
            guess: false,
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
                // a sum has one digit more now and then
                let number = value.as_known().is_some_and(|known| known.iter().all(u8::is_ascii_digit));
                if !number && before.is_some_and(|before| before > 0 && length >= 2 * before) {
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
                let effect = format!("{name} starts itself without end");
                let (rule, reason) = hardline::FORK_BOMB;
                self.found(rule, Decision::Hardline, *span, &[], effect, reason, "");
            }
            Oddity::Crowd { span } => {
                let effect =
                    "a loop starts process after process, or fills a file, and waits for nothing".to_owned();
                let reason = "more than the machine may bear";
                self.found(
                    "opaque.growth",
                    Decision::Ask,
                    *span,
                    &[],
                    effect,
                    reason,
                    "bound it with `xargs -P`",
                );
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
        let mut stack = tasks;
        stack.reverse();
        while let Some(task) = stack.pop() {
            self.commands += 1 + task.invocation.argv.len() / WORDS_OF_ONE;
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
            let invocation = Rc::make_mut(&mut task.invocation);
            Arc::make_mut(&mut invocation.argv).remove(0);
        }
        if self.marked {
            self.deceptive_words(&task);
        }
        let mut inner = self.reading(&task);
        if let Some(original) = self.original(&task) {
            let mut invocation = Invocation::clone(&task.invocation);
            if let Some(word) = Arc::make_mut(&mut invocation.argv).first_mut() {
                *word = original;
            }
            inner.extend(self.reading(&Task { invocation: Rc::new(invocation), ..task.clone() }));
        }
        if let Some(invocation) = reader::unset_empty(&task.invocation) {
            inner.extend(self.reading(&Task { invocation: Rc::new(invocation), ..task.clone() }));
        }
        if let Some(text) = self.as_text(&task) {
            inner.extend(text);
        }
        for stdin in self.known_inputs(&task) {
            let invocation = Invocation { stdin, ..Invocation::clone(&task.invocation) };
            inner.extend(self.reading(&Task { invocation: Rc::new(invocation), ..task.clone() }));
        }
        inner
    }

    /// One command in one reading: its acts, and what it starts.
    fn reading(&mut self, task: &Task) -> Vec<Task> {
        let knowledge = Knowledge::shipped();
        let invocation = &task.invocation;
        let base = self.base(task);
        let all = effects(invocation, knowledge);
        let mut fed = self.fed(task);
        let leaves = |effect: &Effect| matches!(effect, Effect::Send { .. } | Effect::Fetch { .. });
        if fed < Feed::Credential && all.iter().any(leaves) {
            fed = fed.max(self.carried(task));
        }
        let scene = Arc::new(Scene {
            argv: Arc::clone(&invocation.argv),
            program: program_name(invocation).into(),
            span: invocation.span,
            target: task.around.target.clone(),
            apart: task.around.apart,
            via: task.around.via.clone(),
            fed,
            redirects: invocation.redirects.iter().map(|redirect| redirect.target.clone()).collect(),
            has_effects: !all.is_empty(),
            reads_trees: OnceLock::new(),
        });
        // what is received is received before it is written
        let mut gives = fed;
        if all.iter().any(|effect| matches!(effect, Effect::Fetch { .. })) {
            gives = gives.max(Feed::Network);
        }
        if shows_environment(invocation) {
            gives = gives.max(Feed::Credential);
        }
        if let Some(what) = endless::fills(task, self.invocations_of(task)) {
            let reason = "a file grows until the disk is full";
            self.found(
                "opaque.growth",
                Decision::Ask,
                invocation.span,
                &invocation.argv,
                what,
                reason,
                "bound it with `head -c`",
            );
        }
        self.leaks(task, &all);
        let mut inner = Vec::new();
        aliases::learn(invocation, &base, &mut self.links);
        aliases::learn_program(invocation, &base, &mut self.programs);
        aliases::learn_hashed(invocation, &mut self.hashed);
        let effects = self.with_contents(all, task, &base);
        written::learn_scripts(invocation, &mut self.scripts);
        self.learn_compiled(invocation);
        self.learn_unnamed(invocation);
        self.learn_moved(invocation);
        for effect in effects {
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
                } if task.around.via.len() < DEEPEST => {
                    if text.as_known().is_none() {
                        self.act(effect.clone(), task, &base, &scene, guess, &mut gives);
                    }
                    inner.extend(self.script(task, dialect, text, target, arguments, guess));
                }
                other => {
                    self.learn_written(&other, task);
                    self.act(other, task, &base, &scene, guess, &mut gives);
                }
            }
        }
        if !task.guess && !invocation.argv.is_empty() {
            let start = Effect::Exec {
                argv: Arc::clone(&invocation.argv),
                via: task.around.via.last().cloned().unwrap_or_default(),
                target: task.around.target.clone(),
                assignments: Vec::new(),
                cwd: None,
            };
            self.survey.acts.push(Act { effect: start, place: None, scene, settled: false });
        }
        if let Some((group, index)) = task.group
            && gives > Feed::Plain
            && let Some(group) = self.groups.get_mut(group)
        {
            group.feeds.resize(group.feeds.len().max(index + 1), Feed::Plain);
            if let Some(feed) = group.feeds.get_mut(index) {
                *feed = (*feed).max(gives);
            }
        }
        inner
    }

    /// The commands of the text that a command stands in.
    fn invocations_of(&self, task: &Task) -> &[Rc<Invocation>] {
        let group = task.group.and_then(|(group, _)| self.groups.get(group));
        group.map_or(&[], |group| &group.invocations)
    }

    /// An effect for each thing that a hole in the operand stands for.
    fn spread(&mut self, effect: Effect, task: &Task) -> Vec<Effect> {
        let group = task.group.and_then(|(group, _)| self.groups.get(group));
        let invocations = group.map_or_else(|| Rc::from([]), |group| Rc::clone(&group.invocations));
        let mut sources = Sources {
            facts: self.facts,
            budget: &mut self.budget,
            invocations: &invocations,
            stdin: &task.invocation.stdin,
            cwd: &task.invocation.cwd,
            written: &self.written,
        };
        sources.spread(effect)
    }
}
