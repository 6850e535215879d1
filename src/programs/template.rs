//! The notation in which the data files write effects: `delete @* recursive:-r if !-i`.
//!
//! A line is a verb, its selections and flags, then conditions behind `if`, all of which must hold.
//!
//! | selection | stands for |
//! |---|---|
//! | `@*` `@2` `@-1` `@2..` `@..-1` | operands: all, the second, the last, from the second on, all but the last |
//! | `-o` `--output` | the values of an option |
//! | `$of` | the value of a `key=value` operand |
//! | `'text'`, `word` | itself |
//! | `stdin` | what standard input is |
//!
//! | condition | holds when |
//! |---|---|
//! | `-r` | the option is there |
//! | `-o=a,b*` | one of its values matches a pattern |
//! | `@1=a,b*` | that operand matches a pattern |
//! | `@*=a,b*` | any operand matches a pattern |
//! | `@>1` `@=0` `@<3` | so many operands are there |
//! | `$of` | the operand with this key is there |
//! | `x\|y`, `!x` | one of these, not this |

use super::effect::{Attribute, Language, Operation};
use super::grammar::Grammar;
use crate::shell::Dialect;

/// One effect of a program, with holes for its arguments.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) verb: Verb,
    pub(super) selections: Vec<Selection>,
    pub(super) settings: Vec<(Setting, Selection)>,
    /// All must hold; each is a list of alternatives.
    pub(super) conditions: Vec<Vec<Condition>>,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Delete(Operation),
    Write(Operation),
    Read,
    Metadata(Attribute),
    Exec,
    Script(Language),
    Code(Language),
    Run(Option<Language>),
    Fetch,
    Send,
    Listen,
    Kill,
    Power,
    Privilege,
    Account,
    Package(Operation),
    Service,
    Device(Operation),
    Mount,
    Kernel,
    Repository,
    Database,
    Remote,
    Persist,
    Flood,
    /// A `key=value` setting of git that may hold a command.
    GitSetting,
    /// An option of ssh (`-o ProxyCommand=...`).
    SshSetting,
    /// An action of tar's checkpoints (`exec=...`).
    TarAction,
    /// `Name::Pre-Invoke::=command` of apt.
    AptSetting,
    /// `NAME=value`, as `env` and `export` take them.
    Variable,
    /// The words of a command line in one argument, run without a shell.
    Words,
    /// The same with commas in the place of blanks (`gcc -wrapper rm,-rf`).
    Commas,
    /// Shell text behind the `=` of a setting, as it may be quoted there (`--config alias.x=!text`).
    Setting,
    /// Shell text in a value that begins with `|` or `!`; any other names a file to write (`strace -o`).
    Marked,
    /// Refused, whatever follows.
    Unreadable,
}

/// What is chosen of the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// Operands from..=to, counted from 1, from the end when negative.
    Operands(isize, isize),
    /// Values of the option with this number.
    Option(usize),
    /// `key=value` operand.
    Key(String),
    Literal(String),
    Stdin,
}

/// A named part of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// Whole trees, always or when an option is there.
    Recursive,
    /// A user, a host, a container to run in.
    User,
    Host,
    Container,
    /// The directory to run in.
    Cwd,
    /// New value of an attribute.
    Value,
    /// The signal.
    Signal,
    /// Arguments of a script.
    Arguments,
    /// The file that is sent.
    Path,
    /// Names that appear below a destination directory.
    Into,
    /// A remote effect that destroys.
    Destructive,
    /// Words are joined by blanks into one text.
    Join,
    /// The operand ends with further words that come by standard input.
    Trailing,
}

/// When an effect happens.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) negated: bool,
    pub(super) test: Test,
}

#[derive(Debug)]
pub(super) enum Test {
    Has(usize),
    OptionMatches(usize, String),
    OperandMatches(isize, String),
    AnyOperandMatches(String),
    Count(std::cmp::Ordering, usize),
    Key(String),
    Stdin,
}

impl Template {
    /// Reads a line of the notation; the error says what in it cannot be read.
    pub(super) fn read(line: &str, grammar: &Grammar) -> Result<Self, String> {
        let mut tokens = tokens(line)?.into_iter();
        let verb = tokens.next().ok_or("an effect needs a verb")?;
        let mut template = Self {
            verb: verb_of(&verb.text).ok_or_else(|| format!("`{}` is no effect", verb.text))?,
            selections: Vec::new(),
            settings: Vec::new(),
            conditions: Vec::new(),
        };
        let mut in_conditions = false;
        for token in tokens {
            if !token.quoted && token.text == "if" {
                in_conditions = true;
            } else if in_conditions {
                template.conditions.push(alternatives(&token.text, grammar)?);
            } else {
                template.argument(&token, grammar)?;
            }
        }
        Ok(template)
    }

    fn argument(&mut self, token: &Token, grammar: &Grammar) -> Result<(), String> {
        if token.quoted {
            self.selections.push(Selection::Literal(token.text.clone()));
            return Ok(());
        }
        match (self.verb, token.text.as_str()) {
            (Verb::Delete(how) | Verb::Write(how) | Verb::Device(how) | Verb::Package(how), word)
                if operation(word).is_some() =>
            {
                let how = operation(word).unwrap_or(how);
                self.verb = match self.verb {
                    Verb::Delete(_) => Verb::Delete(how),
                    Verb::Write(_) => Verb::Write(how),
                    Verb::Device(_) => Verb::Device(how),
                    _ => Verb::Package(how),
                };
            }
            (Verb::Script(_), word) if language(word).is_some() => {
                self.verb = Verb::Script(language(word).unwrap_or(Language::Other));
            }
            (Verb::Code(_), word) if language(word).is_some() => {
                self.verb = Verb::Code(language(word).unwrap_or(Language::Other));
            }
            (Verb::Run(_), word) if language(word).is_some() => self.verb = Verb::Run(language(word)),
            (_, word) => {
                if let Some((name, value)) = word.split_once(':')
                    && let Some(setting) = setting(name)
                {
                    self.settings.push((setting, selection(value, grammar)?));
                } else if let Some(setting) = setting(word) {
                    self.settings.push((setting, Selection::Literal(String::new())));
                } else {
                    self.selections.push(selection(word, grammar)?);
                }
            }
        }
        Ok(())
    }
}

struct Token {
    text: String,
    quoted: bool,
}

fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let (text, after) = quoted.split_once('\'').ok_or("a quote does not end")?;
            tokens.push(Token { text: text.to_owned(), quoted: true });
            rest = after.trim_start();
        } else {
            let (text, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            tokens.push(Token { text: text.to_owned(), quoted: false });
            rest = after.trim_start();
        }
    }
    Ok(tokens)
}

fn verb_of(word: &str) -> Option<Verb> {
    Some(match word {
        "delete" => Verb::Delete(Operation::Remove),
        "write" => Verb::Write(Operation::Overwrite),
        "read" => Verb::Read,
        "mode" => Verb::Metadata(Attribute::Mode),
        "owner" => Verb::Metadata(Attribute::Owner),
        "extended" => Verb::Metadata(Attribute::Extended),
        "times" => Verb::Metadata(Attribute::Times),
        "exec" => Verb::Exec,
        "words" => Verb::Words,
        "commas" => Verb::Commas,
        "setting" => Verb::Setting,
        "marked" => Verb::Marked,
        "script" => Verb::Script(Language::Shell(Dialect::Posix)),
        "code" => Verb::Code(Language::Other),
        "run" => Verb::Run(None),
        "fetch" => Verb::Fetch,
        "send" => Verb::Send,
        "listen" => Verb::Listen,
        "kill" => Verb::Kill,
        "power" => Verb::Power,
        "privilege" => Verb::Privilege,
        "account" => Verb::Account,
        "package" => Verb::Package(Operation::Install),
        "service" => Verb::Service,
        "device" => Verb::Device(Operation::Overwrite),
        "mount" => Verb::Mount,
        "kernel" => Verb::Kernel,
        "repository" => Verb::Repository,
        "database" => Verb::Database,
        "remote" => Verb::Remote,
        "persist" => Verb::Persist,
        "flood" => Verb::Flood,
        "git-setting" => Verb::GitSetting,
        "ssh-setting" => Verb::SshSetting,
        "tar-action" => Verb::TarAction,
        "apt-setting" => Verb::AptSetting,
        "variable" => Verb::Variable,
        "unreadable" => Verb::Unreadable,
        _ => return None,
    })
}

fn operation(word: &str) -> Option<Operation> {
    Some(match word {
        "remove" => Operation::Remove,
        "truncate" => Operation::Truncate,
        "overwrite" => Operation::Overwrite,
        "append" => Operation::Append,
        "create" => Operation::Create,
        "make" => Operation::Make,
        "edit" => Operation::Edit,
        "move" => Operation::Move,
        "link" => Operation::Link,
        "format" => Operation::Format,
        "shred" => Operation::Shred,
        "install" => Operation::Install,
        "uninstall" => Operation::Uninstall,
        "publish" => Operation::Publish,
        _ => return None,
    })
}

/// The name of a language in the data files.
pub(super) fn language(word: &str) -> Option<Language> {
    Some(match word {
        "sh" => Language::Shell(Dialect::Posix),
        "bash" => Language::Shell(Dialect::Bash),
        "other-shell" => Language::OtherShell,
        "python" => Language::Python,
        "perl" => Language::Perl,
        "ruby" => Language::Ruby,
        "javascript" => Language::JavaScript,
        "php" => Language::Php,
        "lua" => Language::Lua,
        "awk" => Language::Awk,
        "sed" => Language::Sed,
        "make" => Language::Make,
        "editor" => Language::Editor,
        "sql" => Language::Sql,
        "other" => Language::Other,
        _ => return None,
    })
}

fn setting(word: &str) -> Option<Setting> {
    Some(match word {
        "recursive" => Setting::Recursive,
        "as" => Setting::User,
        "host" => Setting::Host,
        "in" => Setting::Container,
        "cwd" => Setting::Cwd,
        "value" => Setting::Value,
        "signal" => Setting::Signal,
        "args" => Setting::Arguments,
        "path" => Setting::Path,
        "into" => Setting::Into,
        "destructive" => Setting::Destructive,
        "join" => Setting::Join,
        "trailing" => Setting::Trailing,
        _ => return None,
    })
}

fn selection(word: &str, grammar: &Grammar) -> Result<Selection, String> {
    if let Some(literal) = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Ok(Selection::Literal(literal.to_owned()));
    }
    if let Some(range) = word.strip_prefix('@') {
        let number = |text: &str, empty: isize| {
            if text.is_empty() {
                Ok(empty)
            } else {
                text.parse::<isize>().map_err(|_| format!("`{word}` selects no operands"))
            }
        };
        return Ok(match (range, range.split_once("..")) {
            ("*", _) => Selection::Operands(1, -1),
            (_, Some((from, to))) => {
                // `@..-1` is all but the last
                let to = if to.starts_with('-') { number(to, -1)? - 1 } else { number(to, -1)? };
                Selection::Operands(number(from, 1)?, to)
            }
            (one, None) => {
                let one = number(one, 1)?;
                Selection::Operands(one, one)
            }
        });
    }
    if let Some(key) = word.strip_prefix('$') {
        return Ok(Selection::Key(key.to_owned()));
    }
    if word == "stdin" {
        return Ok(Selection::Stdin);
    }
    if (word.starts_with('-') && word.len() > 1) || word == "+" {
        return grammar
            .find(word)
            .map(Selection::Option)
            .ok_or_else(|| format!("option `{word}` is not in the grammar"));
    }
    Ok(Selection::Literal(word.to_owned()))
}

fn alternatives(text: &str, grammar: &Grammar) -> Result<Vec<Condition>, String> {
    text.split('|').map(|word| condition(word, grammar)).collect()
}

fn condition(word: &str, grammar: &Grammar) -> Result<Condition, String> {
    let (negated, word) = match word.strip_prefix('!') {
        Some(word) => (true, word),
        None => (false, word),
    };
    let unknown = || format!("condition `{word}` cannot be read");
    let count = |text: &str| text.parse().map_err(|_| unknown());
    let test = if let Some(rest) = word.strip_prefix("@>") {
        Test::Count(std::cmp::Ordering::Greater, count(rest)?)
    } else if let Some(rest) = word.strip_prefix("@<") {
        Test::Count(std::cmp::Ordering::Less, count(rest)?)
    } else if let Some(rest) = word.strip_prefix("@=") {
        Test::Count(std::cmp::Ordering::Equal, count(rest)?)
    } else if let Some(pattern) = word.strip_prefix("@*=") {
        Test::AnyOperandMatches(pattern.to_owned())
    } else if let Some(rest) = word.strip_prefix('@') {
        let (at, pattern) = rest.split_once('=').ok_or_else(unknown)?;
        Test::OperandMatches(at.parse().map_err(|_| unknown())?, pattern.to_owned())
    } else if let Some(key) = word.strip_prefix('$') {
        Test::Key(key.to_owned())
    } else if word == "stdin" {
        Test::Stdin
    } else {
        let (name, pattern) = match word.split_once('=') {
            Some((name, pattern)) => (name, Some(pattern)),
            None => (word, None),
        };
        let id = grammar.find(name).ok_or_else(|| format!("option `{name}` is not in the grammar"))?;
        pattern.map_or(Test::Has(id), |pattern| Test::OptionMatches(id, pattern.to_owned()))
    };
    Ok(Condition { negated, test })
}
