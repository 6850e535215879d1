//! The names that policies have for effects and what is said of them.

use serde::de::{Deserialize, Deserializer, Error as _};

use crate::programs::{Attribute, Effect, Language, Operation};
use crate::shell::Dialect;

/// The kinds of [`Effect`], as policies name them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Delete,
    Write,
    Read,
    Metadata,
    Exec,
    Script,
    RunFile,
    Fetch,
    Send,
    Listen,
    Kill,
    Power,
    Privilege,
    Account,
    Package,
    Service,
    Device,
    Mount,
    Kernel,
    Repository,
    Database,
    Remote,
    Persist,
    Flood,
    Unreadable,
    Opaque,
    /// An effect that this version of the policy language has no word for.
    #[serde(skip)]
    Other,
}

/// A value of an enumeration of the effects, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<T>(&'static str, std::marker::PhantomData<T>);

/// Enumerations whose names policies use.
pub(crate) trait Named: Copy + 'static {
    /// What the enumeration is, for messages.
    const WHAT: &'static str;
    /// All values.
    const ALL: &'static [Self];

    /// The name of a value.
    fn name(self) -> &'static str;
}

impl Named for Operation {
    const WHAT: &'static str = "way to write or remove";
    const ALL: &'static [Self] = &[
        Self::Remove,
        Self::Truncate,
        Self::Overwrite,
        Self::Append,
        Self::Create,
        Self::Make,
        Self::Edit,
        Self::Move,
        Self::Link,
        Self::Format,
        Self::Shred,
        Self::Install,
        Self::Uninstall,
        Self::Publish,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Truncate => "truncate",
            Self::Overwrite => "overwrite",
            Self::Append => "append",
            Self::Create => "create",
            Self::Make => "make",
            Self::Edit => "edit",
            Self::Move => "move",
            Self::Link => "link",
            Self::Format => "format",
            Self::Shred => "shred",
            Self::Install => "install",
            Self::Uninstall => "uninstall",
            Self::Publish => "publish",
        }
    }
}

impl Named for Attribute {
    const WHAT: &'static str = "attribute";
    const ALL: &'static [Self] = &[Self::Mode, Self::Owner, Self::Extended, Self::Times];

    fn name(self) -> &'static str {
        match self {
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Extended => "extended",
            Self::Times => "times",
        }
    }
}

impl Named for Language {
    const WHAT: &'static str = "language";
    const ALL: &'static [Self] = &[
        Self::Shell(Dialect::Bash),
        Self::OtherShell,
        Self::Python,
        Self::Perl,
        Self::Ruby,
        Self::JavaScript,
        Self::Php,
        Self::Lua,
        Self::Awk,
        Self::Sed,
        Self::Make,
        Self::Editor,
        Self::Sql,
        Self::Other,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Shell(_) => "shell",
            Self::OtherShell => "other-shell",
            Self::Python => "python",
            Self::Perl => "perl",
            Self::Ruby => "ruby",
            Self::JavaScript => "javascript",
            Self::Php => "php",
            Self::Lua => "lua",
            Self::Awk => "awk",
            Self::Sed => "sed",
            Self::Make => "make",
            Self::Editor => "editor",
            Self::Sql => "sql",
            Self::Other => "other",
        }
    }
}

impl<'de, T: Named> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut names = T::ALL.iter().map(|value| value.name());
        if let Some(name) = names.clone().find(|name| *name == text) {
            return Ok(Self(name, std::marker::PhantomData));
        }
        Err(D::Error::custom(super::error::unknown_name(T::WHAT, &text, &mut names)))
    }
}

impl<T: Named> Word<T> {
    pub(super) fn is(&self, value: T) -> bool {
        self.0 == value.name()
    }
}

impl Kind {
    /// How many kinds there are.
    pub(crate) const COUNT: usize = Self::Other as usize + 1;

    /// The kind of an effect.
    pub(crate) fn of(effect: &Effect) -> Self {
        match effect {
            Effect::Delete { .. } => Self::Delete,
            Effect::Write { .. } => Self::Write,
            Effect::Read { .. } => Self::Read,
            Effect::Metadata { .. } => Self::Metadata,
            Effect::Exec { .. } => Self::Exec,
            Effect::Script { .. } => Self::Script,
            Effect::RunFile { .. } => Self::RunFile,
            Effect::Fetch { .. } => Self::Fetch,
            Effect::Send { .. } => Self::Send,
            Effect::Listen { .. } => Self::Listen,
            Effect::Kill { .. } => Self::Kill,
            Effect::Power => Self::Power,
            Effect::Privilege { .. } => Self::Privilege,
            Effect::Account { .. } => Self::Account,
            Effect::Package { .. } => Self::Package,
            Effect::Service { .. } => Self::Service,
            Effect::Device { .. } => Self::Device,
            Effect::Mount { .. } => Self::Mount,
            Effect::Kernel { .. } => Self::Kernel,
            Effect::Repository { .. } => Self::Repository,
            Effect::Database { .. } => Self::Database,
            Effect::Remote { .. } => Self::Remote,
            Effect::Persist { .. } => Self::Persist,
            Effect::Flood { .. } => Self::Flood,
            Effect::Unreadable { .. } => Self::Unreadable,
            Effect::Opaque { .. } => Self::Opaque,
            #[allow(unreachable_patterns)]
            _ => Self::Other,
        }
    }
}
