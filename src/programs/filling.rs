//! A program's templates, filled with what it is given: effects.

use smallvec::{SmallVec, smallvec};

use super::effect::{Effect, Language, Operation, Target};
use super::engine::{Context, stdin_text};
use super::grammar::Parsed;
use super::knowledge::Program;
use super::template::{Condition, Selection, Setting, Template, Test, Verb};
use super::{elsewhere, variables, words};
use crate::shell::{Dialect, Input, Value};

/// What a selection selects.
type Values = SmallVec<[Value; 2]>;

/// One program's templates with its arguments.
pub(super) struct Filling<'f> {
    pub(super) program: &'f Program,
    pub(super) parsed: &'f Parsed,
    pub(super) context: &'f Context<'f>,
    pub(super) assignments: &'f [(String, Value)],
}

impl Filling<'_> {
    pub(super) fn fill(&self, template: &Template, effects: &mut Vec<Effect>) {
        // what nothing lifts must not be found in words that nobody knows: those are asked about by other effects
        let sure = matches!(template.verb, Verb::Power | Verb::Flood)
            || matches!(template.selections.first(), Some(Selection::Literal(text)) if text == "-1");
        let holds = template
            .conditions
            .iter()
            .all(|alternatives| alternatives.iter().any(|one| self.holds(one, sure)));
        if !holds {
            return;
        }
        match template.verb {
            Verb::Exec => self.exec(template, effects),
            Verb::Words | Verb::Commas => self.words(template, effects),
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
                // how a word begins or ends may tell enough
                Some(value) if words::cannot_match(value, pattern) => (true, false),
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

    fn select(&self, selection: &Selection) -> Values {
        match selection {
            Selection::Operands(from, to) => {
                let operands = &self.parsed.operands;
                let len = operands.len();
                let place = |at: isize| {
                    if at < 0 { len.checked_add_signed(at) } else { usize::try_from(at - 1).ok() }
                };
                match (place(*from), place(*to)) {
                    (Some(from), Some(to)) if from <= to => {
                        operands.get(from..len.min(to + 1)).unwrap_or_default().into()
                    }
                    _ => Values::new(),
                }
            }
            Selection::Option(id) => self.parsed.values(*id).cloned().collect(),
            Selection::Key(key) => self.key(key).into_iter().collect(),
            Selection::Literal(text) => smallvec![Value::known(text.as_bytes())],
            Selection::Stdin => smallvec![self.stdin()],
        }
    }

    fn stdin(&self) -> Value {
        stdin_text(&self.context.invocation.stdin)
    }

    fn values(&self, template: &Template) -> Values {
        if let [only] = template.selections.as_slice() {
            return self.select(only);
        }
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
        // `setarch x86_64 -R command`: no program is called so; behind an image these are words for its own program
        if self.setting(template, Setting::Container).is_none() {
            let is_option = |word: &&Value| word.prefix().starts_with(b"-") && word.as_known().is_some();
            let options = argv.iter().take_while(is_option).count();
            argv.drain(..options);
        }
        if argv.is_empty() {
            return;
        }
        if self.setting(template, Setting::Trailing).is_some() {
            argv.push(words::unknown("words that arrive later"));
        }
        let cwd = self.setting_value(template, Setting::Cwd).or_else(|| self.context.cwd.clone());
        effects.push(Effect::Exec {
            argv: argv.into_vec().into(),
            via: self.program.name.clone(),
            target: self.target(template),
            assignments: self.assignments.to_vec(),
            cwd,
        });
    }

    /// A command line that a program splits by itself.
    fn words(&self, template: &Template, effects: &mut Vec<Effect>) {
        for value in self.values(template) {
            let split = match (template.verb, value.as_str()) {
                (Verb::Commas, Some(text)) => Some(text.split(',').map(Value::known).collect()),
                _ => value.as_known().and_then(words::split),
            };
            match split {
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
        let before = effects.len();
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
        if let Some(cwd) = &self.context.cwd {
            elsewhere::happen_in(cwd, effects.get_mut(before..).unwrap_or_default());
        }
    }

    /// `node -`, `awk -f /dev/stdin`: what standard input brings is the program.
    fn run_stdin(&self, template: &Template, language: Language, effects: &mut Vec<Effect>) {
        if let Input::File(path) = &self.context.invocation.stdin {
            effects.push(Effect::RunFile { path: path.clone(), language: Some(language) });
            return;
        }
        let text = self.stdin();
        super::code::effects(language, &text, self.context, effects);
        let target = self.target(template);
        effects.push(Effect::Script { language, text, target, arguments: Vec::new() });
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
                Verb::Read => {
                    // `@file`, as clients of HTTP name what they send
                    let value =
                        if value.prefix().contains(&b'@') && self.sends() { sent_file(value) } else { value };
                    effects.push(Effect::Read { path: self.placed(value) });
                }
                Verb::Metadata(attribute) => effects.push(Effect::Metadata {
                    path: self.placed(value),
                    recursive,
                    attribute,
                    value: self.setting_value(template, Setting::Value).unwrap_or_default(),
                }),
                Verb::Run(Some(language)) if words::names_stdin(&value) => {
                    self.run_stdin(template, language, effects);
                }
                Verb::Run(language) => effects.push(Effect::RunFile { path: self.placed(value), language }),
                Verb::Fetch => {
                    // the machine's own files, whoever asks for them
                    let file = value
                        .as_str()
                        .and_then(|url| url.strip_prefix("file://"))
                        .map(|rest| Value::known(rest.strip_prefix("localhost").unwrap_or(rest)));
                    effects.extend(file.map(|path| Effect::Read { path }));
                    effects.push(Effect::Fetch { url: value });
                }
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
                Verb::Setting => effects.push(shell(setting_text(&value))),
                Verb::Marked if value.prefix().starts_with(b"|") || value.prefix().starts_with(b"!") => {
                    effects.push(shell(words::skip(&value, 1)));
                }
                Verb::Marked => self.write(value, Operation::Overwrite, None, effects),
                Verb::Variable => {
                    if let Some((name, value)) = words::cut(&value, b'=') {
                        variables::assigned(&String::from_utf8_lossy(&name), &value, true, effects);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the program sends as well.
    fn sends(&self) -> bool {
        self.program.effects.iter().any(|template| template.verb == Verb::Send)
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

/// Text for a shell, run here.
fn shell(text: Value) -> Effect {
    let language = Language::Shell(Dialect::Posix);
    Effect::Script { language, text, target: Target::Here, arguments: Vec::new() }
}

/// The text of `name=text`, `name=!text`, `name="text"`.
fn setting_text(value: &Value) -> Value {
    let text = words::behind(value, b'=').unwrap_or_else(|| value.clone());
    let Some(known) = text.as_known() else { return text };
    let known = known.trim_ascii();
    let known = known.strip_prefix(b"!").unwrap_or(known);
    // `runner=["rm", "x"]`
    if let Some(list) = known.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        let words = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        return Value::known(words.collect::<Vec<_>>().join(&b' '));
    }
    let bare = known.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    Value::known(bare.unwrap_or(known))
}

/// The file in `@FILE`, `name=@FILE`, `name=<FILE`, as clients of HTTP name what they send.
fn sent_file(value: Value) -> Value {
    match value.prefix().iter().position(|byte| matches!(byte, b'@' | b'<')) {
        Some(at) => words::skip(&value, at + 1),
        None => value,
    }
}
