//! From an invocation to effects: finds the program, reads its arguments by its grammar, fills its templates.

use super::effect::{Effect, Language, Operation, Target};
use super::grammar::Parsed;
use super::knowledge::{Knowledge, Program, Subcommand};
use super::template::{Condition, Selection, Setting, Template, Test, Verb};
use super::{hooks, program_word, redirects, variables, words};
use crate::shell::{Input, Invocation, Value};

/// How many command lines are guessed in the operands of one unknown program. More are refused as unreadable.
const MAX_GUESSES: usize = 6;

/// What one command will do to the world, as far as its words tell.
///
/// Programs that start other programs have the effect [`Effect::Exec`] or [`Effect::Script`]; following them is for
/// the caller, who builds the inner invocation and asks again. The caller bounds how often it does so.
pub fn effects(invocation: &Invocation, knowledge: &Knowledge) -> Vec<Effect> {
    let mut effects = Vec::new();
    redirects::effects(invocation, &mut effects);
    for (name, value) in &invocation.assignments {
        variables::assigned(name, value, invocation.argv.is_empty(), &mut effects);
    }
    if let Some((word, arguments)) = invocation.argv.split_first() {
        command(invocation, word, arguments, knowledge, &mut effects);
    }
    effects.retain(|effect| !is_void(effect));
    effects.dedup();
    effects
}

/// The effects of a program word with its arguments.
fn command(
    invocation: &Invocation,
    word: &Value,
    arguments: &[Value],
    knowledge: &Knowledge,
    effects: &mut Vec<Effect>,
) {
    let found = program_word::find(word, knowledge);
    if found.runs_file {
        effects.push(Effect::RunFile { path: word.clone(), language: None });
    }
    for program in &found.programs {
        let context = Context { invocation, knowledge, argv: &invocation.argv, cwd: None, depth: 0 };
        let before = effects.len();
        run(program, arguments, &context, effects);
        if found.runs_file {
            // `./script` is most likely not script(1): what such a program would do with no more than its name, or with
            // words that it does not know, says nothing of the file
            let mut index = 0;
            effects.retain(|effect| {
                index += 1;
                index <= before || !is_idle(effect, invocation)
            });
        }
    }
    script_files(invocation, knowledge, effects);
    if found.programs.is_empty() {
        if !found.runs_file {
            effects.push(Effect::Opaque { argv: invocation.argv.to_vec() });
        }
        guess(&invocation.argv, knowledge, effects);
    }
}

/// What is known of a file that an interpreter is given, with the words behind it: `python manage.py flush`.
fn script_files(invocation: &Invocation, knowledge: &Knowledge, effects: &mut Vec<Effect>) {
    let given = effects.iter().find_map(|effect| match effect {
        Effect::RunFile { path, .. } => invocation.argv.iter().skip(1).position(|word| word == path),
        _ => None,
    });
    let Some((file, arguments)) = given.and_then(|at| invocation.argv.get(at + 1..)?.split_first()) else {
        return;
    };
    let name = words::basename(file);
    let program = name.as_ref().and_then(Value::as_str).and_then(|name| knowledge.find(name));
    if let Some(program) = program.filter(|program| program.is_file) {
        let context = Context { invocation, knowledge, argv: &invocation.argv, cwd: None, depth: 0 };
        run(program, arguments, &context, effects);
    }
}

/// Whether an effect follows from no word of the command.
fn is_idle(effect: &Effect, invocation: &Invocation) -> bool {
    match effect {
        Effect::Script { text, .. } => text.as_known().is_none() && invocation.stdin == Input::Inherited,
        Effect::Unreadable { .. } | Effect::Opaque { .. } => true,
        Effect::Mount { path } => path.pieces.is_empty(),
        _ => invocation.argv.len() == 1 && !matches!(effect, Effect::Script { .. } | Effect::RunFile { .. }),
    }
}

/// Effects that nobody needs to hear of: reading and writing what holds nothing.
fn is_void(effect: &Effect) -> bool {
    match effect {
        Effect::Read { path } | Effect::Write { path, .. } => redirects::is_void(path),
        _ => false,
    }
}

/// What templates are filled from, beside the arguments.
pub(super) struct Context<'c> {
    pub(super) invocation: &'c Invocation,
    pub(super) knowledge: &'c Knowledge,
    /// The whole command, for effects that show it.
    pub(super) argv: &'c [Value],
    /// The directory that an option changes to.
    pub(super) cwd: Option<Value>,
    pub(super) depth: usize,
}

/// The effects of a known program.
pub(super) fn run(program: &Program, arguments: &[Value], context: &Context<'_>, effects: &mut Vec<Effect>) {
    if let Some(hook) = &program.hook
        && hooks::run(hook, program, arguments, context, effects)
    {
        return;
    }
    let parsed = program.grammar.parse(arguments);
    run_parsed(program, parsed, context, effects);
}

/// The effects of a known program whose arguments are read.
pub(super) fn run_parsed(
    program: &Program,
    mut parsed: Parsed,
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    if parsed.help {
        return;
    }
    let mut assignments = Vec::new();
    if program.assignments {
        take_assignments(&mut parsed, &mut assignments, effects);
    }
    let cwd = program.cwd.and_then(|id| parsed.values(id).last().cloned()).or_else(|| context.cwd.clone());
    let inner = Context { cwd, argv: context.argv, depth: context.depth + 1, ..*context };
    let filling = Filling { program, parsed: &parsed, context: &inner, assignments: &assignments };
    for template in &program.effects {
        filling.fill(template, effects);
    }
    for word in parsed.unread.iter().take(MAX_GUESSES) {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
    }
    if !parsed.unread.is_empty() {
        guess(context.argv, context.knowledge, effects);
    }
    if program.exec_options && parsed.open_glob {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: first_glob(&parsed) });
    }
    if let Some(verbs) = &program.verbs {
        hooks::remote::effects(program, verbs, &parsed, &inner, effects);
    }
    if !program.subcommands.is_empty() {
        subcommand(program, &parsed, &inner, effects);
    }
}

fn first_glob(parsed: &Parsed) -> Value {
    parsed.operands.iter().find(|operand| operand.has_glob()).cloned().unwrap_or_default()
}

/// `env A=1 B=2 command`.
fn take_assignments(parsed: &mut Parsed, assignments: &mut Vec<(String, Value)>, effects: &mut Vec<Effect>) {
    let mut count = 0;
    for operand in &parsed.operands {
        let Some((name, value)) = words::cut(operand, b'=').filter(|(name, _)| !name.is_empty()) else {
            break;
        };
        let name = String::from_utf8_lossy(&name).into_owned();
        variables::assigned(&name, &value, false, effects);
        assignments.push((name, value));
        count += 1;
    }
    parsed.operands.drain(..count);
}

fn subcommand(program: &Program, parsed: &Parsed, context: &Context<'_>, effects: &mut Vec<Effect>) {
    // tables are finite, but an alias could name an alias
    if context.depth > 8 {
        return;
    }
    let (name, arguments) = match parsed.operands.split_first() {
        Some((word, rest)) => match word.as_str() {
            Some(word) => (word.to_owned(), rest),
            None => return unknown_subcommand(program, context, effects),
        },
        None => (String::new(), parsed.operands.as_slice()),
    };
    let entry = program.subcommands.get(&name).or_else(|| shortened(program, &name));
    let entry = match entry {
        Some(Subcommand::Same(other)) => program.subcommands.get(other),
        other => other,
    };
    match entry {
        Some(Subcommand::Table(sub)) => run(sub, arguments, context, effects),
        Some(Subcommand::Harmless | Subcommand::Same(_)) => {}
        None => match &program.fallback {
            Some(fallback) if fallback == "none" => {}
            Some(fallback) => {
                if let Some(Subcommand::Table(sub)) = program.subcommands.get(fallback) {
                    run(sub, &parsed.operands, context, effects);
                }
            }
            // a program that is asked for nothing prints its help; verbs were looked at already
            None if name.is_empty() || program.verbs.is_some() => {}
            None => unknown_subcommand(program, context, effects),
        },
    }
}

/// A subcommand that is cut short (`ip r`, `nmcli c`), where that fits only one.
fn shortened<'p>(program: &'p Program, name: &str) -> Option<&'p Subcommand> {
    if !program.abbreviated || name.is_empty() {
        return None;
    }
    let mut fitting: Vec<(&String, &Subcommand)> =
        program.subcommands.iter().filter(|(known, _)| known.starts_with(name)).collect();
    // where several fit, the one that does something counts
    fitting.sort_by_key(|(known, sub)| (matches!(sub, Subcommand::Harmless), known.len(), known.as_str()));
    fitting.first().map(|(_, sub)| match sub {
        Subcommand::Same(other) => program.subcommands.get(other).unwrap_or(sub),
        other => other,
    })
}

fn unknown_subcommand(program: &Program, context: &Context<'_>, effects: &mut Vec<Effect>) {
    let _ = program;
    effects.push(Effect::Opaque { argv: context.argv.to_vec() });
    guess(context.argv, context.knowledge, effects);
}

/// A program that nobody described may be a launcher: operands that look like a command that does something are
/// judged as that command. The name of the starter says that this is a guess; see [`is_guess`].
pub(super) fn guess(argv: &[Value], knowledge: &Knowledge, effects: &mut Vec<Effect>) {
    let Some(program) = argv.first() else { return };
    let via = format!("{program}{GUESS}");
    let mut found = 0;
    for (at, word) in argv.iter().enumerate().skip(1) {
        let tail = argv.get(at..).unwrap_or_default();
        let named = word.as_str().and_then(|_| program_word::standard_name(word));
        if tail.len() < 2 || !named.is_some_and(|name| is_dangerous(&name, knowledge)) {
            continue;
        }
        if found == MAX_GUESSES {
            effects.push(Effect::Unreadable { program: program.to_string(), word: word.clone() });
            return;
        }
        found += 1;
        effects.push(Effect::Exec {
            argv: tail.to_vec().into(),
            via: via.clone(),
            target: Target::Here,
            assignments: Vec::new(),
            cwd: None,
        });
    }
}

const GUESS: &str = " (a guess)";

/// Whether an effect is a guess: the operands of an unknown program look like a command, but may be data.
pub fn is_guess(effect: &Effect) -> bool {
    matches!(effect, Effect::Exec { via, .. } if via.ends_with(GUESS))
}

/// Whether a program does more than look. Starters are left out: what they start is looked at by itself, and so
/// guesses do not multiply.
fn is_dangerous(name: &str, knowledge: &Knowledge) -> bool {
    // a lone `.` is far more often a directory than `source`
    let Some(program) = knowledge.find(name).filter(|_| name != ".") else { return false };
    if let Some(hook) = &program.hook {
        return hook == "find";
    }
    let looks = |verb: Verb| matches!(verb, Verb::Read | Verb::Fetch | Verb::Privilege);
    let starts = program.effects.iter().any(|template| template.verb == Verb::Exec);
    !starts
        && (program.effects.iter().any(|template| !looks(template.verb))
            || program.subcommands.values().any(|sub| matches!(sub, Subcommand::Table(_))))
}

/// Whether a program is known to do more than look; starters count.
pub(super) fn is_more_than_looking(name: &str, knowledge: &Knowledge) -> bool {
    let Some(program) = knowledge.find(name) else { return false };
    program.hook.is_some() || !program.effects.is_empty() || !program.subcommands.is_empty()
}

/// One program's templates with its arguments.
struct Filling<'f> {
    program: &'f Program,
    parsed: &'f Parsed,
    context: &'f Context<'f>,
    assignments: &'f [(String, Value)],
}

impl Filling<'_> {
    fn fill(&self, template: &Template, effects: &mut Vec<Effect>) {
        // what nothing lifts must not be found in words that nobody knows: those are asked about by other effects
        let sure = matches!(template.verb, Verb::Power | Verb::Flood)
            || template.selections.first() == Some(&Selection::Literal("-1".to_owned()));
        let holds = template
            .conditions
            .iter()
            .all(|alternatives| alternatives.iter().any(|one| self.holds(one, sure)));
        if !holds {
            return;
        }
        match template.verb {
            Verb::Exec => self.exec(template, effects),
            Verb::Words => self.words(template, effects),
            Verb::Script(language) | Verb::Code(language) => self.script(template, language, effects),
            Verb::Power => effects.push(Effect::Power),
            Verb::Privilege => effects.push(Effect::Privilege { what: self.literal(template) }),
            Verb::Package(action) => {
                let (manager, names) = self.named(template);
                if names.is_empty() && template.selections.len() > 1 {
                    return;
                }
                effects.push(Effect::Package { manager, action, names });
            }
            Verb::Service | Verb::Kernel | Verb::Repository | Verb::Remote | Verb::Persist | Verb::Flood => {
                self.action(template, effects);
            }
            Verb::Unreadable => {
                let word = self.values(template).into_iter().next().unwrap_or_default();
                effects.push(Effect::Unreadable { program: self.program.name.clone(), word });
            }
            _ => self.each(template, effects),
        }
    }

    fn holds(&self, condition: &Condition, sure: bool) -> bool {
        let parsed = self.parsed;
        let (known, holds) = match &condition.test {
            Test::Has(id) => (true, parsed.has(*id)),
            Test::OptionMatches(id, pattern) => (
                parsed.values(*id).all(|value| value.as_known().is_some()),
                parsed.values(*id).any(|value| words::matches(value, pattern)),
            ),
            Test::OperandMatches(at, pattern) => match self.operand(*at) {
                Some(value) => (value.as_known().is_some(), words::matches(value, pattern)),
                None => (true, false),
            },
            Test::AnyOperandMatches(pattern) => (
                true,
                parsed
                    .operands
                    .iter()
                    .any(|value| value.as_known().is_some() && words::matches(value, pattern)),
            ),
            Test::Count(order, count) => (true, parsed.operands.len().cmp(count) == *order),
            Test::Key(key) => (true, self.key(key).is_some()),
            Test::Stdin => (true, self.context.invocation.stdin != Input::Inherited),
        };
        // what is not known must not lift a condition, whichever way it is written
        if known { holds != condition.negated } else { !sure }
    }

    /// The operand at a place that counts from 1, or from the end when negative.
    fn operand(&self, at: isize) -> Option<&Value> {
        let operands = &self.parsed.operands;
        let index =
            if at < 0 { operands.len().checked_add_signed(at)? } else { usize::try_from(at - 1).ok()? };
        operands.get(index)
    }

    fn key(&self, key: &str) -> Option<Value> {
        let mut found = None;
        for operand in &self.parsed.operands {
            if let Some((name, value)) = words::cut(operand, b'=')
                && name == key.as_bytes()
            {
                found = Some(value);
            }
        }
        found
    }

    fn select(&self, selection: &Selection) -> Vec<Value> {
        match selection {
            Selection::Operands(from, to) => {
                let operands = &self.parsed.operands;
                let len = operands.len();
                let place = |at: isize| {
                    if at < 0 { len.checked_add_signed(at) } else { usize::try_from(at - 1).ok() }
                };
                match (place(*from), place(*to)) {
                    (Some(from), Some(to)) if from <= to => {
                        operands.get(from..len.min(to + 1)).unwrap_or_default().to_vec()
                    }
                    _ => Vec::new(),
                }
            }
            Selection::Option(id) => self.parsed.values(*id).cloned().collect(),
            Selection::Key(key) => self.key(key).into_iter().collect(),
            Selection::Literal(text) => vec![Value::known(text.as_bytes())],
            Selection::Stdin => vec![self.stdin()],
        }
    }

    fn stdin(&self) -> Value {
        stdin_text(&self.context.invocation.stdin)
    }

    fn values(&self, template: &Template) -> Vec<Value> {
        template.selections.iter().flat_map(|selection| self.select(selection)).collect()
    }

    fn literal(&self, template: &Template) -> String {
        words::join(&self.values(template)).to_string()
    }

    /// The first selection as a name, the others as what it is about.
    fn named(&self, template: &Template) -> (String, Vec<Value>) {
        let mut selections = template.selections.iter();
        let name = selections.next().map(|first| words::join(&self.select(first)).to_string());
        (name.unwrap_or_default(), selections.flat_map(|selection| self.select(selection)).collect())
    }

    fn setting<'t>(&self, template: &'t Template, wanted: Setting) -> Option<&'t Selection> {
        template.settings.iter().find(|(setting, _)| *setting == wanted).map(|(_, selection)| selection)
    }

    fn setting_value(&self, template: &Template, wanted: Setting) -> Option<Value> {
        self.setting(template, wanted).and_then(|selection| self.select(selection).pop())
    }

    fn recursive(&self, template: &Template) -> bool {
        match self.setting(template, Setting::Recursive) {
            Some(Selection::Option(id)) => {
                self.parsed.has(*id) || (self.parsed.open && self.parsed.operands.len() > 1)
            }
            Some(_) => true,
            None => false,
        }
    }

    fn target(&self, template: &Template) -> Target {
        if let Some(host) = self.setting_value(template, Setting::Host) {
            return Target::Host(host.to_string());
        }
        if let Some(container) = self.setting_value(template, Setting::Container) {
            return Target::Container(container.to_string());
        }
        match self.setting(template, Setting::User) {
            Some(selection) => {
                let user = self.select(selection).pop();
                Target::User(user.map_or_else(|| "root".to_owned(), |user| user.to_string()))
            }
            None => Target::Here,
        }
    }

    /// A path below the directory that an option named.
    fn placed(&self, path: Value) -> Value {
        match &self.context.cwd {
            Some(cwd) if !path.prefix().starts_with(b"/") && !path.prefix().starts_with(b"~") => {
                words::in_directory(cwd, &path)
            }
            _ => path,
        }
    }

    fn exec(&self, template: &Template, effects: &mut Vec<Effect>) {
        let mut argv = self.values(template);
        // `kubectl exec pod -c web -- command`: options that stand behind an operand are no program
        if argv.first().is_some_and(|word| word.prefix().starts_with(b"-"))
            && let Some(at) = argv.iter().position(|word| word.as_known() == Some(b"--"))
        {
            argv.drain(..at);
        }
        if argv.first().and_then(Value::as_known) == Some(b"--") {
            argv.remove(0);
        }
        if argv.is_empty() {
            return;
        }
        if self.setting(template, Setting::Trailing).is_some() {
            argv.push(words::unknown("words that arrive later"));
        }
        let cwd = self.setting_value(template, Setting::Cwd).or_else(|| self.context.cwd.clone());
        effects.push(Effect::Exec {
            argv: argv.into(),
            via: self.program.name.clone(),
            target: self.target(template),
            assignments: self.assignments.to_vec(),
            cwd,
        });
    }

    /// A command line that a program splits by itself.
    fn words(&self, template: &Template, effects: &mut Vec<Effect>) {
        for value in self.values(template) {
            match value.as_known().and_then(words::split) {
                Some(argv) if argv.is_empty() => {}
                Some(argv) => effects.push(Effect::Exec {
                    argv: argv.into(),
                    via: self.program.name.clone(),
                    target: self.target(template),
                    assignments: self.assignments.to_vec(),
                    cwd: self.context.cwd.clone(),
                }),
                None => effects.push(Effect::Unreadable { program: self.program.name.clone(), word: value }),
            }
        }
    }

    fn script(&self, template: &Template, language: Language, effects: &mut Vec<Effect>) {
        let target = self.target(template);
        let arguments = template.settings.iter().filter(|(setting, _)| *setting == Setting::Arguments);
        let arguments: Vec<Value> = arguments.flat_map(|(_, selection)| self.select(selection)).collect();
        let mut texts = Vec::new();
        for selection in &template.selections {
            match (selection, &self.context.invocation.stdin) {
                (Selection::Stdin, Input::File(path)) => {
                    effects.push(Effect::RunFile { path: path.clone(), language: Some(language) });
                }
                _ => texts.extend(self.select(selection)),
            }
        }
        if self.setting(template, Setting::Join).is_some() && !texts.is_empty() {
            texts = vec![words::join(&texts)];
        }
        for text in texts {
            super::code::effects(language, &text, self.context, effects);
            if matches!(template.verb, Verb::Script(_)) {
                let (target, arguments) = (target.clone(), arguments.clone());
                effects.push(Effect::Script { language, text, target, arguments });
            }
        }
    }

    /// Effects with an action and what it is about; they happen even when nothing is named.
    fn action(&self, template: &Template, effects: &mut Vec<Effect>) {
        let (action, mut values) = self.named(template);
        // `persist LD_PRELOAD --preload` does nothing without the option
        let needs_value =
            matches!(template.selections.get(1), Some(Selection::Option(_) | Selection::Key(_)));
        if values.is_empty() && !needs_value {
            values.push(Value::default());
        }
        let destructive = self.setting(template, Setting::Destructive).is_some();
        for value in values {
            let action = action.clone();
            effects.push(match template.verb {
                Verb::Service => Effect::Service { action, name: value },
                Verb::Kernel => Effect::Kernel { what: action, value },
                Verb::Repository => Effect::Repository { action, target: value },
                Verb::Persist => Effect::Persist { what: action, value },
                Verb::Flood => Effect::Flood { what: action },
                _ => Effect::Remote { action, resource: value, destructive },
            });
        }
    }

    /// Effects that happen to each selected word.
    fn each(&self, template: &Template, effects: &mut Vec<Effect>) {
        let recursive = self.recursive(template);
        let into = self.setting(template, Setting::Into).map(|selection| self.select(selection));
        for value in self.values(template) {
            match template.verb {
                Verb::Delete(how) => {
                    effects.push(Effect::Delete { path: self.placed(value), recursive, how });
                }
                Verb::Write(how) => self.write(value, how, into.as_deref(), effects),
                Verb::Read => effects.push(Effect::Read { path: self.placed(value) }),
                Verb::Metadata(attribute) => effects.push(Effect::Metadata {
                    path: self.placed(value),
                    recursive,
                    attribute,
                    value: self.setting_value(template, Setting::Value).unwrap_or_default(),
                }),
                Verb::Run(language) => effects.push(Effect::RunFile { path: self.placed(value), language }),
                Verb::Fetch => effects.push(Effect::Fetch { url: value }),
                Verb::Send => {
                    let path = self.setting_value(template, Setting::Path);
                    let path = path.map(|path| self.placed(sent_file(path)));
                    effects.push(Effect::Send { url: value, path });
                }
                Verb::Listen => effects.push(Effect::Listen { address: value }),
                Verb::Kill => {
                    let signal = self.setting_value(template, Setting::Signal).unwrap_or_default();
                    effects.push(Effect::Kill { target: value, signal });
                }
                Verb::Account => effects.push(Effect::Account { name: value }),
                Verb::Device(how) => effects.push(Effect::Device { path: self.placed(value), how }),
                Verb::Mount => effects.push(Effect::Mount { path: self.placed(value) }),
                Verb::Database => effects.push(Effect::Database { statement: value }),
                Verb::GitSetting => variables::git_setting(&value, effects),
                Verb::SshSetting => variables::ssh_setting(&value, effects),
                Verb::TarAction => variables::tar_action(&value, effects),
                Verb::AptSetting => variables::apt_setting(&value, effects),
                Verb::Variable => {
                    if let Some((name, value)) = words::cut(&value, b'=') {
                        variables::assigned(&String::from_utf8_lossy(&name), &value, true, effects);
                    }
                }
                _ => {}
            }
        }
    }

    /// A destination may be a directory: then a file of the same name appears in it.
    fn write(&self, path: Value, how: Operation, into: Option<&[Value]>, effects: &mut Vec<Effect>) {
        let path = self.placed(path);
        for source in into.unwrap_or_default() {
            if let Some(name) = words::basename(source) {
                effects.push(Effect::Write { path: words::in_directory(&path, &name), how });
            }
        }
        effects.push(Effect::Write { path, how });
    }
}

/// The file in `@FILE`, `name=@FILE`, `name=<FILE`, as clients of HTTP name what they send.
fn sent_file(value: Value) -> Value {
    match value.prefix().iter().position(|byte| matches!(byte, b'@' | b'<')) {
        Some(at) => words::skip(&value, at + 1),
        None => value,
    }
}

/// Standard input as text.
pub(super) fn stdin_text(stdin: &Input) -> Value {
    match stdin {
        Input::Known(bytes) => Value::known(bytes.clone()),
        Input::Text(text) => text.clone(),
        Input::File(path) => words::unknown(&format!("the content of {path}")),
        Input::Pipe(_) => words::unknown("what the pipe brings"),
        Input::Inherited => words::unknown("what standard input brings"),
    }
}
