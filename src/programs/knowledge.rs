//! What is known of programs: the data files, indexed by name and read when a program is first asked for.
//!
//! Reading all tables at start would cost every `execward check` milliseconds for a thousand programs of which it
//! needs three. The index is made by looking for table headers at the beginning of lines; a table is read once, when
//! its program is looked up. A test reads all of them and compares the index with a full TOML reader.

use std::borrow::Cow;
use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, OnceLock};

use foldhash::fast::FixedState;
use serde::Deserialize;

use super::grammar::Grammar;
use super::template::Template;

/// The data files that are compiled in.
pub(super) const SHIPPED: &[(&str, &str)] = &[
    ("coreutils", include_str!("../../policies/programs/coreutils.toml")),
    ("wrappers", include_str!("../../policies/programs/wrappers.toml")),
    ("launchers", include_str!("../../policies/programs/launchers.toml")),
    ("shells", include_str!("../../policies/programs/shells.toml")),
    ("system", include_str!("../../policies/programs/system.toml")),
    ("foreign", include_str!("../../policies/programs/foreign.toml")),
    ("git", include_str!("../../policies/programs/git.toml")),
    ("network", include_str!("../../policies/programs/network.toml")),
    ("packages", include_str!("../../policies/programs/packages.toml")),
    ("containers", include_str!("../../policies/programs/containers.toml")),
    ("cloud", include_str!("../../policies/programs/cloud.toml")),
    ("databases", include_str!("../../policies/programs/databases.toml")),
    ("interpreters", include_str!("../../policies/programs/interpreters.toml")),
    ("processes", include_str!("../../policies/programs/processes.toml")),
    ("builds", include_str!("../../policies/programs/builds.toml")),
    ("agents", include_str!("../../policies/programs/agents.toml")),
    ("hardware", include_str!("../../policies/programs/hardware.toml")),
    ("runners", include_str!("../../policies/programs/runners.toml")),
    ("services", include_str!("../../policies/programs/services.toml")),
    ("execward", include_str!("../../policies/programs/execward.toml")),
];

/// A data file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnowledgeError {
    /// Two tables claim one name.
    #[error("program `{name}` is described twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// The table of a program is not as it should be.
    #[error("program `{program}`: {message}")]
    Table {
        /// The program.
        program: String,
        /// What is wrong.
        message: String,
    },
}

/// What is known of programs, by name.
#[derive(Debug)]
pub struct Knowledge {
    entries: Vec<Entry>,
    index: HashMap<Cow<'static, str>, usize, FixedState>,
}

#[derive(Debug)]
struct Entry {
    name: Cow<'static, str>,
    text: Cow<'static, str>,
    program: OnceLock<Option<Box<Program>>>,
}

/// One program, or one subcommand of it.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) grammar: Grammar,
    pub(super) effects: Vec<Template>,
    pub(super) subcommands: HashMap<String, Subcommand, FixedState>,
    /// A subcommand may be cut short where that fits only one.
    pub(super) abbreviated: bool,
    /// The subcommand that is meant when none is named.
    pub(super) fallback: Option<String>,
    /// Words among the operands that make a remote effect.
    pub(super) verbs: Option<Verbs>,
    /// Leading operands with `=` are variables for the command that follows.
    pub(super) assignments: bool,
    /// Option whose value is the directory that it works in.
    pub(super) cwd: Option<usize>,
    /// An option in front of the subcommand that the subcommand is told too.
    pub(super) carried: Option<(usize, String)>,
    /// What Rust has to read because a grammar cannot.
    pub(super) hook: Option<String>,
    /// A file name may become an option that runs something (`tar cf x *`).
    pub(super) exec_options: bool,
    /// It is a file that interpreters are given (`python manage.py flush`).
    pub(super) is_file: bool,
    pub(super) examples: Vec<(String, String)>,
}

/// Where a subcommand leads.
#[derive(Debug)]
pub(super) enum Subcommand {
    /// To a table of its own.
    Table(Box<Program>),
    /// To another name of the same command.
    Same(String),
    /// Nowhere: it has no effects.
    Harmless,
}

/// Words by which command-line clients of remote services say what they do.
#[derive(Debug)]
pub(super) struct Verbs {
    pub(super) destroys: String,
    pub(super) changes: String,
    pub(super) reads: String,
    /// Of those that change, names of what is changed too: `gcloud run services list`.
    pub(super) nouns: String,
}

/// A table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Table {
    aliases: String,
    note: String,
    options: Option<String>,
    help: Option<String>,
    order: String,
    dash: String,
    respelled: Option<String>,
    bundle_first: bool,
    exec_options: bool,
    is_file: bool,
    assignments: bool,
    abbreviated: bool,
    fallback: Option<String>,
    cwd: Option<String>,
    carried: Option<String>,
    hook: Option<String>,
    harmless: String,
    destroys: Option<String>,
    changes: Option<String>,
    reads: Option<String>,
    nouns: String,
    effects: Vec<String>,
    sub: BTreeMap<String, Self>,
    examples: Vec<(String, String)>,
}

impl Knowledge {
    /// The knowledge that is compiled in.
    pub fn shipped() -> &'static Self {
        static SHIPPED_KNOWLEDGE: LazyLock<Knowledge> = LazyLock::new(|| {
            let mut knowledge = Knowledge { entries: Vec::new(), index: HashMap::default() };
            for (_, text) in SHIPPED {
                // names that are described twice keep their first table; a test makes sure that there are none
                let _ = knowledge.add_borrowed(text);
            }
            knowledge
        });
        &SHIPPED_KNOWLEDGE
    }

    /// Knowledge from the text of one data file.
    ///
    /// # Errors
    /// Returns an error when a table cannot be read, or when two tables claim one name.
    pub fn read(text: &str) -> Result<Self, KnowledgeError> {
        let mut knowledge = Self { entries: Vec::new(), index: HashMap::default() };
        for chunk in chunks(text) {
            knowledge.insert(Cow::Owned(chunk.name.to_owned()), Cow::Owned(chunk.text.to_owned()))?;
        }
        knowledge.verify()?;
        Ok(knowledge)
    }

    /// Reads every table.
    ///
    /// # Errors
    /// Returns the first table that cannot be read.
    pub fn verify(&self) -> Result<(), KnowledgeError> {
        for entry in &self.entries {
            compile_text(&entry.name, &entry.text)
                .map_err(|message| KnowledgeError::Table { program: entry.name.to_string(), message })?;
        }
        Ok(())
    }

    /// The examples of every table: program, command, expected effects as [`super::notation::brief`] writes them,
    /// joined by `; `. A table that cannot be read has none.
    pub fn examples(&self) -> Vec<(&str, &str, &str)> {
        let mut all = Vec::new();
        for entry in &self.entries {
            let Some(program) = self.find(&entry.name) else { continue };
            let mut pending = vec![program];
            while let Some(program) = pending.pop() {
                let own = program.examples.iter();
                all.extend(
                    own.map(|(command, effects)| (program.name.as_str(), command.as_str(), effects.as_str())),
                );
                pending.extend(program.subcommands.values().filter_map(|sub| match sub {
                    Subcommand::Table(sub) => Some(&**sub),
                    _ => None,
                }));
            }
        }
        all
    }

    /// Everything that is wrong with the tables.
    #[cfg(test)]
    pub(super) fn mistakes(&self) -> Vec<String> {
        let read = |entry: &Entry| {
            compile_text(&entry.name, &entry.text).err().map(|error| format!("{}: {error}", entry.name))
        };
        self.entries.iter().filter_map(read).collect()
    }

    /// The names that are known, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(AsRef::as_ref)
    }

    /// Whether a program of this name is known.
    pub fn knows(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Program> {
        let entry = self.entries.get(*self.index.get(name)?)?;
        entry.program.get_or_init(|| compile_text(&entry.name, &entry.text).ok().map(Box::new)).as_deref()
    }

    fn add_borrowed(&mut self, text: &'static str) -> Result<(), KnowledgeError> {
        let mut result = Ok(());
        for chunk in chunks(text) {
            result = result.and(self.insert(Cow::Borrowed(chunk.name), Cow::Borrowed(chunk.text)));
        }
        result
    }

    fn insert(&mut self, name: Cow<'static, str>, text: Cow<'static, str>) -> Result<(), KnowledgeError> {
        let at = self.entries.len();
        let mut result = Ok(());
        let aliases: Vec<Cow<'static, str>> = match &text {
            Cow::Borrowed(text) => aliases(text).map(Cow::Borrowed).collect(),
            Cow::Owned(text) => aliases(text).map(|alias| Cow::Owned(alias.to_owned())).collect(),
        };
        for key in aliases.into_iter().chain([name.clone()]) {
            match self.index.entry(key) {
                MapEntry::Occupied(taken) => {
                    result = Err(KnowledgeError::Twice { name: taken.key().to_string() });
                }
                MapEntry::Vacant(free) => {
                    free.insert(at);
                }
            }
        }
        self.entries.push(Entry { name, text, program: OnceLock::new() });
        result
    }
}

struct Chunk<'t> {
    name: &'t str,
    text: &'t str,
}

/// Cuts a data file at the headers of its programs: `[name]`, then `[name.sub.x]` belongs to it.
fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(name) = header(line)
            && found.last().is_none_or(|(_, last)| *last != name)
        {
            found.push((at, name));
        }
        at += line.len();
    }
    let ends: Vec<usize> = found.iter().skip(1).map(|(at, _)| *at).chain([text.len()]).collect();
    found
        .into_iter()
        .zip(ends)
        .filter_map(|((start, name), end)| Some(Chunk { name, text: text.get(start..end)? }))
        .collect()
}

/// The program that a header line names.
fn header(line: &str) -> Option<&str> {
    let inner = line.strip_prefix('[')?;
    if let Some(quoted) = inner.strip_prefix('"') {
        return quoted.split('"').next();
    }
    let end = inner.find(['.', ']'])?;
    inner.get(..end).filter(|name| !name.is_empty())
}

/// The other names of a program: the line that gives them stands right below its header.
fn aliases(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .nth(1)
        .and_then(|line| line.strip_prefix("aliases = \""))
        .and_then(|line| line.strip_suffix('"'))
        .unwrap_or_default()
        .split_whitespace()
}

/// The names that the index finds in a data file.
#[cfg(test)]
pub(super) fn names_of(text: &str) -> Vec<String> {
    let names = |chunk: Chunk<'_>| -> Vec<String> {
        std::iter::once(chunk.name).chain(aliases(chunk.text)).map(str::to_owned).collect()
    };
    chunks(text).into_iter().flat_map(names).collect()
}

fn compile_text(name: &str, text: &str) -> Result<Program, String> {
    let mut tables: BTreeMap<String, Table> = toml::from_str(text).map_err(|error| error.to_string())?;
    let table = tables.remove(name).ok_or("the table has another name than its header")?;
    compile(name, table)
}

fn compile(name: &str, table: Table) -> Result<Program, String> {
    let mut grammar = Grammar::read(table.options.as_deref().unwrap_or("..."))?;
    grammar.add_help(table.help.as_deref().unwrap_or("--help --version"));
    grammar.posix = match table.order.as_str() {
        "" => !table.sub.is_empty() || !table.harmless.is_empty(),
        "operands-last" => true,
        "any" => false,
        other => return Err(format!("order `{other}` is neither `any` nor `operands-last`")),
    };
    grammar.single_dash = match table.dash.as_str() {
        "" => false,
        "words" => true,
        other => return Err(format!("dash `{other}` is not `words`")),
    };
    grammar.bundle_first = table.bundle_first;
    grammar.respelled = table.respelled.as_deref().and_then(|option| grammar.find(option));
    let cwd = table.cwd.as_deref().and_then(|option| grammar.find(option));
    let carried = table.carried.and_then(|option| Some((grammar.find(&option)?, option)));
    let effects = table
        .effects
        .iter()
        .map(|line| Template::read(line, &grammar).map_err(|error| format!("in `{line}`: {error}")))
        .collect::<Result<Vec<_>, _>>()?;
    let mut subcommands = HashMap::default();
    for word in table.harmless.split_whitespace() {
        subcommands.insert(word.to_owned(), Subcommand::Harmless);
    }
    for (word, sub) in table.sub {
        for alias in sub.aliases.split_whitespace() {
            subcommands.insert(alias.to_owned(), Subcommand::Same(word.clone()));
        }
        let compiled = compile(&format!("{name} {word}"), sub)?;
        subcommands.insert(word, Subcommand::Table(Box::new(compiled)));
    }
    let verbs =
        (table.destroys.is_some() || table.changes.is_some() || table.reads.is_some()).then(|| Verbs {
            destroys: table.destroys.unwrap_or_default(),
            changes: table.changes.unwrap_or_default(),
            reads: table.reads.unwrap_or_default(),
            nouns: table.nouns,
        });
    let _ = table.note;
    Ok(Program {
        name: name.to_owned(),
        grammar,
        effects,
        subcommands,
        abbreviated: table.abbreviated,
        fallback: table.fallback,
        verbs,
        assignments: table.assignments,
        cwd,
        carried,
        hook: table.hook,
        exec_options: table.exec_options,
        is_file: table.is_file,
        examples: table.examples,
    })
}
