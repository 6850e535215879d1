//! From an invocation to effects: finds the program, reads its arguments by its grammar, fills its templates.

use super::effect::{Effect, Operation, Target};
use super::filling::Filling;
use super::grammar::Parsed;
use super::knowledge::{Knowledge, Program, Subcommand};
use super::template::Verb;
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
    let found = match program_word::placed(word, &invocation.cwd) {
        Some(word) => program_word::find(&word, knowledge),
        None => program_word::find(word, knowledge),
    };
    let script = word.as_known().and_then(|word| {
        [b"/etc/init.d/".as_slice(), b"/etc/rc.d/"]
            .into_iter()
            .find_map(|directory| word.strip_prefix(directory))
    });
    if let Some(service) = script.filter(|_| arguments.first().and_then(Value::as_str) != Some("status")) {
        let action = arguments.first().map_or_else(|| "init script".to_owned(), Value::to_string);
        effects.push(Effect::Service { action, name: Value::known(service) });
    }
    if found.runs_file {
        effects.push(Effect::RunFile { path: word.clone(), language: None });
    }
    for program in &found.programs {
        // `GIT_WORK_TREE=/ git clean`
        let tree = || invocation.assignments.iter().rev().find(|(name, _)| name == "GIT_WORK_TREE");
        let cwd = if program.name == "git" { tree().map(|(_, tree)| tree.clone()) } else { None };
        let context = Context { invocation, knowledge, argv: &invocation.argv, cwd, depth: 0 };
        let before = effects.len();
        run(program, arguments, &context, effects);
        if found.runs_file && !program_word::is_standard_pattern(word) {
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
    let started = effects.iter().any(|effect| matches!(effect, Effect::Exec { .. } | Effect::Script { .. }));
    if found.programs.is_empty() || !started {
        // a script of the project is given texts as data far more often
        let unknown = found.programs.is_empty() && !found.runs_file;
        quoted(&invocation.argv, unknown, knowledge, effects);
    }
    if !found.programs.is_empty() && !started {
        after_dashes(&invocation.argv, knowledge, effects);
    }
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
        Some(Subcommand::Table(sub)) => match &program.carried {
            Some((id, option)) if parsed.has(*id) => {
                let option = Value::known(option.as_str());
                let arguments: Vec<Value> =
                    std::iter::once(option).chain(arguments.iter().cloned()).collect();
                run(sub, &arguments, context, effects);
            }
            _ => run(sub, arguments, context, effects),
        },
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
        if tail.len() < 2 || !named.is_some_and(|name| is_dangerous(name, knowledge)) {
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

/// A known program of which nothing says that it starts what stands behind `--` may do so all the same.
fn after_dashes(argv: &[Value], knowledge: &Knowledge, effects: &mut Vec<Effect>) {
    // what stands there is for a program of the project
    let project = ["cargo", "npm", "pnpm", "yarn", "bun", "deno", "dotnet", "go", "gradle"];
    if argv.first().and_then(Value::as_str).is_some_and(|name| project.contains(&name)) {
        return;
    }
    let Some(at) = argv.iter().position(|word| word.as_known() == Some(b"--")) else { return };
    let (Some(program), Some(tail)) = (argv.first(), argv.get(at + 1..)) else { return };
    let named = tail.first().and_then(program_word::standard_name);
    if tail.len() > 1 && named.is_some_and(|name| is_dangerous(name, knowledge)) {
        effects.push(guessed(program, tail.to_vec()));
    }
}

/// Parts of the names of options whose value is a command, in whatever program.
const COMMAND_OPTIONS: &[&str] = &[
    "exec", "command", "cmd", "shell", "wrap", "launcher", "run", "hook", "pager", "editor", "driver",
    "config", "under", "helper", "pack", "rsh", "prog", "filter", "action", "script",
];

/// A whole command in one word: the value of an option that is called as those are that start something, or, where nobody
/// described the program, any word.
fn quoted(argv: &[Value], unknown: bool, knowledge: &Knowledge, effects: &mut Vec<Effect>) {
    let Some((program, words)) = argv.split_first() else { return };
    let mut found = 0;
    let mut before = "";
    for word in words {
        let text = word.as_str().unwrap_or_default();
        let (option, value) = match text.split_once('=') {
            Some((option, value)) if option.starts_with('-') => (option, value),
            // `-x testenv.commands=rm x`
            Some((option, value)) if !before.is_empty() && !option.contains(char::is_whitespace) => {
                (option, value)
            }
            _ => (before, text),
        };
        before = if text.starts_with('-') { text } else { "" };
        let is_command = unknown || COMMAND_OPTIONS.iter().any(|part| option.contains(part));
        if !is_command || !value.contains(char::is_whitespace) {
            continue;
        }
        // `alias.x=!rm -rf /`, `runner="rm -rf /"`, `|rm -rf /`
        let value =
            value.rsplit_once("=\"").or_else(|| value.split_once("=!")).map_or(value, |(_, rest)| rest);
        let value = value.trim_start_matches(['|', '!', ' ']);
        // what is quoted as a whole, or has lost the quote in front, is read without
        let bare = value.trim_start_matches(['"', '\'']).trim_end_matches(['"', '\'']);
        let whole = words::split(value.as_bytes()).filter(|split| split.len() > 1);
        let Some(split) = whole.or_else(|| words::split(bare.as_bytes())) else { continue };
        let named = split.first().and_then(program_word::standard_name);
        if split.len() > 1 && named.is_some_and(|name| is_dangerous(name, knowledge)) {
            found += 1;
            if found > MAX_GUESSES {
                effects.push(Effect::Unreadable { program: program.to_string(), word: word.clone() });
                return;
            }
            effects.push(guessed(program, split));
        }
    }
}

fn guessed(program: &Value, argv: Vec<Value>) -> Effect {
    Effect::Exec {
        argv: argv.into(),
        via: format!("{program}{GUESS}"),
        target: Target::Here,
        assignments: Vec::new(),
        cwd: None,
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
        return matches!(hook.as_str(), "find" | "python" | "kill" | "pkill" | "redis");
    }
    // what a tool makes anew or edits loses little: a list of names of tools is no list of commands
    let looks = |verb: Verb| {
        matches!(
            verb,
            Verb::Read | Verb::Fetch | Verb::Privilege | Verb::Write(Operation::Create | Operation::Edit)
        )
    };
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
