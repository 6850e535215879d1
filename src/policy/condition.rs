//! What a rule speaks of: programs, argument shapes, effects, path classes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::host::{self, HostPattern};
pub(crate) use super::names::Kind;
use super::names::Word;
use crate::gate::Facts;
use crate::gate::act::{Act, Feed};
use crate::gate::class::{ClassSet, PathClass};
use crate::gate::pattern::{text_matches, value_text};
use crate::gate::place::{FirstNames, PathGlob};
use crate::programs::code::is_inert;
use crate::programs::{Attribute, Effect, Language, Operation, Target};

/// How sure a match must be. A rule that tightens speaks of what may happen; an exception, or a rule that allows,
/// only of what certainly does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sureness {
    May,
    Must,
}

/// One value or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Many<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrList<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrList<T> {
            type Value = Many<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::<E>::new(text)).map(|one| Many(vec![one]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = list.next_element()? {
                    all.push(item);
                }
                if all.is_empty() {
                    return Err(A::Error::custom("the list is empty: nothing would ever match"));
                }
                Ok(Many(all))
            }
        }
        deserializer.deserialize_any(OneOrList(std::marker::PhantomData))
    }
}

/// What a rule or an exception speaks of. All that is given must hold.
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[serde(expecting = "a table of conditions, such as { program = \"git\" }")]
pub(crate) struct Condition {
    /// The program's name without directories; `*` and `?` are patterns.
    pub(crate) program: Option<Many<String>>,
    /// What stands among the arguments.
    pub(crate) arguments: Option<Arguments>,
    /// What it does.
    pub(crate) effect: Option<Effects>,
    /// Where it runs.
    pub(crate) target: Option<Many<Where>>,
    /// A program that leads to it (`sudo`, `xargs`).
    pub(crate) via: Option<Many<String>>,
    /// Where its standard input comes from.
    pub(crate) fed: Option<Many<Source>>,
    /// Who asked: a user name or a uid.
    pub(crate) principal: Option<Many<String>>,
    /// The profile under which the session or the run was asked for.
    pub(crate) session: Option<Many<String>>,
    /// What will run it: `jail`, `docker`, ...
    pub(crate) backend: Option<Many<String>>,
}

/// The shape of an argument list. A pattern stands for one argument each; `*` never spans two.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[serde(expecting = "a table such as { first = \"push\", none = \"--dry-run\" }")]
pub(crate) struct Arguments {
    /// The arguments, all of them in order; a pattern stands for an option only where it begins with `-` itself.
    pub(crate) exactly: Option<Vec<String>>,
    /// The first arguments that are not options, in order (`["push"]`, `["stash", "drop"]`).
    pub(crate) first: Option<Many<String>>,
    /// At least one argument is one of these.
    pub(crate) any: Option<Many<String>>,
    /// Each of these is an argument.
    pub(crate) all: Option<Many<String>>,
    /// No argument is one of these.
    pub(crate) none: Option<Many<String>>,
}

/// Where a command runs, in policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Where {
    Here,
    User,
    Host,
    Container,
}

/// Where input comes from, in policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    Plain,
    Credential,
    Network,
}

/// Effects that a rule speaks of: any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effects(pub(crate) Vec<(Kind, Details)>);

/// What must hold of an effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[serde(expecting = "a table of what must hold of the effect, such as { path = \"workspace\" }")]
pub(crate) struct Details {
    /// Classes and path patterns; `!` before one means that it must not be that.
    pub(crate) path: Option<Many<Selector>>,
    /// Host names and patterns of a connection; `!` before one means that it must not be that.
    pub(crate) host: Option<Many<HostPattern>>,
    /// Whether it is a redirection of the shell that does it (`> file`).
    pub(crate) redirected: Option<bool>,
    /// Whole trees.
    pub(crate) recursive: Option<bool>,
    /// How something is written or removed.
    pub(crate) how: Option<Many<Word<Operation>>>,
    /// Which attribute is changed.
    pub(crate) attribute: Option<Many<Word<Attribute>>>,
    /// The language of a script.
    pub(crate) language: Option<Many<Word<Language>>>,
    /// Whether the text of a script, or the program word of a command, is known before running.
    pub(crate) known: Option<bool>,
    /// Whether code plainly only computes and prints.
    pub(crate) inert: Option<bool>,
    /// Whether a remote change destroys.
    pub(crate) destructive: Option<bool>,
    /// What the effect says of itself: a mode, an action, a URL, a signal, a statement.
    pub(crate) value: Option<Many<String>>,
    /// What it is done to, where that is not a path: a ref, a unit, a package, a resource.
    pub(crate) name: Option<Many<String>>,
}

/// A path condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(super) negated: bool,
    pub(super) what: Selected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    Class(PathClass),
    Glob(PathGlob),
}

impl Details {
    /// The names with which every path begins that the details speak of; `None` where some path may begin with any name.
    pub(crate) fn first_names(&self) -> Option<Vec<FirstNames>> {
        let names = |selector: &Selector| match &selector.what {
            Selected::Glob(glob) => glob.first_names(),
            Selected::Class(_) => None,
        };
        let positive = self.path.as_ref()?.0.iter().filter(|selector| !selector.negated);
        let names: Option<Vec<_>> = positive.map(names).collect();
        names.filter(|names| !names.is_empty())
    }
}

impl Selector {
    /// A path that it asks for, as it is written, with the home of examples in the place of `~`.
    pub(super) fn pattern(&self) -> Option<String> {
        match &self.what {
            Selected::Glob(glob) if !self.negated => Some(glob.written("/home/user")),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (negated, name) = text.strip_prefix('!').map_or((false, text.as_str()), |rest| (true, rest));
        let what = if name.starts_with('/') || name.starts_with("~/") {
            if name.split('/').any(|part| matches!(part, "." | "..")) {
                let message = format!("`{name}` leads nowhere: a path in a policy has no `.` and no `..`");
                return Err(D::Error::custom(message));
            }
            Selected::Glob(PathGlob::parse(name))
        } else {
            Selected::Class(PathClass::from_name(name).ok_or_else(|| {
                D::Error::custom(super::error::unknown_name(
                    "path class",
                    name,
                    PathClass::ALL.map(PathClass::name),
                ))
            })?)
        };
        Ok(Self { negated, what })
    }
}

impl<'de> Deserialize<'de> for Effects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Effects;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an effect (\"power\"), a list of effects, or a table such as { delete = { path = \"!workspace\" } }")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Effects, E> {
                let kind = Kind::deserialize(serde::de::value::StrDeserializer::<E>::new(text))?;
                Ok(Effects(vec![(kind, Details::default())]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Effects, A::Error> {
                let mut all = Vec::new();
                while let Some(kind) = list.next_element::<Kind>()? {
                    all.push((kind, Details::default()));
                }
                if all.is_empty() {
                    return Err(A::Error::custom("the list is empty: nothing would ever match"));
                }
                Ok(Effects(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Effects, A::Error> {
                let mut all = Vec::new();
                while let Some((kind, details)) = map.next_entry::<Kind, Details>()? {
                    all.push((kind, details));
                }
                if all.is_empty() {
                    return Err(A::Error::custom("the table is empty: nothing would ever match"));
                }
                Ok(Effects(all))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Condition {
    /// Whether nothing is asked for; such a condition holds of everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.program.is_none()
            && self.arguments.is_none()
            && self.effect.is_none()
            && self.target.is_none()
            && self.via.is_none()
            && self.fed.is_none()
            && self.principal.is_none()
            && self.session.is_none()
            && self.backend.is_none()
    }

    /// Whether the act is one that the condition speaks of.
    pub(crate) fn matches(&self, act: &Act, facts: &Facts, sureness: Sureness) -> bool {
        let scene = &act.scene;
        let named = |names: &Option<Many<String>>, is: &str| {
            names.as_ref().is_none_or(|names| any_text(names, is.as_bytes()))
        };
        let session = if facts.profile.is_empty() { super::profile::DEFAULT } else { &facts.profile };
        self.principal.as_ref().is_none_or(|names| {
            any_text(names, facts.user.as_bytes()) || any_text(names, facts.uid.to_string().as_bytes())
        }) && named(&self.session, session)
            && named(&self.backend, &facts.backend)
            && self.effect.as_ref().is_none_or(|effects| effects.matches(act, sureness))
            && self.program.as_ref().is_none_or(|names| any_text(names, &scene.program))
            && self
                .via
                .as_ref()
                .is_none_or(|names| scene.via.iter().any(|via| any_text(names, via.as_bytes())))
            && self.target.as_ref().is_none_or(|wanted| wanted.0.contains(&Where::of(&scene.target)))
            && self.fed.as_ref().is_none_or(|wanted| wanted.0.contains(&Source::of(scene.fed)))
            && self.arguments.as_ref().is_none_or(|shape| shape.matches(act, sureness))
    }
}

impl Where {
    fn of(target: &Target) -> Self {
        match target {
            Target::Here => Self::Here,
            Target::User(_) => Self::User,
            Target::Host(_) => Self::Host,
            Target::Container(_) => Self::Container,
        }
    }
}

impl Source {
    fn of(feed: Feed) -> Self {
        match feed {
            Feed::Plain => Self::Plain,
            Feed::Credential => Self::Credential,
            Feed::Network => Self::Network,
        }
    }
}

impl Arguments {
    fn matches(&self, act: &Act, sureness: Sureness) -> bool {
        let arguments = act.scene.argv.get(1..).unwrap_or(&[]);
        let texts: Vec<Cow<'_, [u8]>> = arguments.iter().map(value_text).collect();
        // An argument that is not known may be any word: that can only matter to a rule that tightens.
        let unknown = arguments.iter().any(|argument| argument.as_known().is_none());
        let has = |pattern: &str| texts.iter().any(|text| text_matches(pattern, text));
        let may_have = |pattern: &str| has(pattern) || (sureness == Sureness::May && unknown);
        let mut operands = texts.iter().filter(|text| !text.starts_with(b"-"));
        let fits = |(pattern, text): (&String, &Cow<'_, [u8]>)| {
            text_matches(pattern, text) && (pattern.starts_with('-') || !text.starts_with(b"-"))
        };
        self.exactly.as_ref().is_none_or(|exactly| match (unknown, sureness) {
            (true, Sureness::May) => true,
            (true, Sureness::Must) => false,
            (false, _) => exactly.len() == texts.len() && exactly.iter().zip(&texts).all(fits),
        }) && self.first.as_ref().is_none_or(|first| {
            first.0.iter().all(|pattern| operands.next().is_some_and(|text| text_matches(pattern, text)))
        }) && self.any.as_ref().is_none_or(|any| any.0.iter().any(|pattern| has(pattern)))
            && self.all.as_ref().is_none_or(|all| all.0.iter().all(|pattern| may_have(pattern)))
            && self.none.as_ref().is_none_or(|none| {
                !none.0.iter().any(|pattern| has(pattern)) && (sureness == Sureness::May || !unknown)
            })
    }
}

impl Effects {
    fn matches(&self, act: &Act, sureness: Sureness) -> bool {
        let kind = Kind::of(&act.effect);
        self.0.iter().any(|(wanted, details)| *wanted == kind && details.matches(act, sureness))
    }
}

impl Details {
    /// What is asked that an effect of this kind never has.
    pub(super) fn foreign(&self, kind: Kind) -> Option<String> {
        let no = |asked: bool, has: &[Kind], what: &str| {
            (asked && !has.contains(&kind)).then(|| format!("no effect of this kind has `{what}`"))
        };
        use Kind::{
            Delete, Device, Fetch, Listen, Metadata, Mount, Package, Read, Remote, RunFile, Script, Send,
            Write,
        };
        no(self.path.is_some(), &[Delete, Write, Read, Metadata, RunFile, Device, Mount, Send], "path")
            .or_else(|| no(self.host.is_some(), &[Fetch, Send, Listen, Remote], "host"))
            .or_else(|| no(self.redirected == Some(true), &[Delete, Write, Read, Fetch, Send], "redirected"))
            .or_else(|| no(self.recursive.is_some(), &[Delete, Metadata], "recursive"))
            .or_else(|| no(self.how.is_some(), &[Delete, Write, Device, Package], "how"))
            .or_else(|| no(self.attribute.is_some(), &[Metadata], "attribute"))
            .or_else(|| no(self.language.is_some(), &[Script, RunFile], "language"))
            .or_else(|| no(self.inert.is_some(), &[Script], "inert"))
            .or_else(|| no(self.destructive.is_some(), &[Remote], "destructive"))
    }

    fn matches(&self, act: &Act, sureness: Sureness) -> bool {
        let effect = &act.effect;
        self.recursive.is_none_or(|wanted| match effect {
            Effect::Delete { recursive, .. } | Effect::Metadata { recursive, .. } => *recursive == wanted,
            _ => false,
        }) && self.how.as_ref().is_none_or(|wanted| match effect {
            Effect::Delete { how, .. } | Effect::Write { how, .. } | Effect::Device { how, .. } => {
                wanted.0.iter().any(|word| word.is(*how))
            }
            Effect::Package { action, .. } => wanted.0.iter().any(|word| word.is(*action)),
            _ => false,
        }) && self.attribute.as_ref().is_none_or(|wanted| match effect {
            Effect::Metadata { attribute, .. } => wanted.0.iter().any(|word| word.is(*attribute)),
            _ => false,
        }) && self.language.as_ref().is_none_or(|wanted| match effect {
            Effect::Script { language, .. } | Effect::RunFile { language: Some(language), .. } => {
                wanted.0.iter().any(|word| word.is(*language))
            }
            _ => false,
        }) && self.redirected.is_none_or(|wanted| is_redirected(act) == wanted)
            && self.host.as_ref().is_none_or(|wanted| host::matches(wanted, effect, sureness))
            && self.known.is_none_or(|wanted| is_known(effect) == wanted)
            && self.inert.is_none_or(|wanted| match effect {
                Effect::Script { language, text, .. } => is_inert(*language, text) == wanted,
                _ => false,
            })
            && self.destructive.is_none_or(|wanted| match effect {
                Effect::Remote { destructive, .. } => *destructive == wanted,
                _ => false,
            })
            && self.value.as_ref().is_none_or(|wanted| any_text(wanted, &value_of(effect)))
            && self
                .name
                .as_ref()
                .is_none_or(|wanted| names_of(effect).iter().any(|name| any_text(wanted, name)))
            && self.path.as_ref().is_none_or(|selectors| path_matches(selectors, act, sureness))
    }
}

/// Whether a path is among the selectors. Positive ones are alternatives; every negative one must hold.
///
/// A place has several readings (holes, globs, several operands in one word): a rule that tightens is met when one
/// reading meets it, an exception only when all do. A pattern in a path (`~/D*/x`) may be what a selector names, or surely is:
/// what tightens looks for the first and is kept off by the second alone, and what loosens the other way round.
fn path_matches(selectors: &Many<Selector>, act: &Act, sureness: Sureness) -> bool {
    let Some(place) = &act.place else { return false };
    let holds = |classes: ClassSet, below: ClassSet, path: &crate::gate::place::Path| {
        let is = |selector: &Selector, classes: ClassSet| match &selector.what {
            Selected::Class(class) => classes.has(*class),
            Selected::Glob(glob) => match (sureness, selector.negated) {
                (Sureness::May, false) | (Sureness::Must, true) => glob.may_match(path, &place.home),
                (Sureness::May, true) | (Sureness::Must, false) => glob.surely_matches(path, &place.home),
            },
        };
        let mut positive = selectors.0.iter().filter(|selector| !selector.negated).peekable();
        let wanted = positive.peek().is_none() || positive.any(|selector| is(selector, classes | below));
        wanted
            && selectors.0.iter().filter(|selector| selector.negated).all(|selector| !is(selector, classes))
    };
    let readings = &place.readings;
    match sureness {
        Sureness::May => {
            let below = act.takes_trees();
            readings.iter().any(|reading| {
                holds(reading.classes, if below { reading.covers } else { ClassSet::NONE }, &reading.path)
            })
        }
        Sureness::Must => {
            !readings.is_empty()
                && readings.iter().all(|reading| {
                    reading.is_definite() && holds(reading.classes, ClassSet::NONE, &reading.path)
                })
        }
    }
}

fn any_text(patterns: &Many<String>, text: &[u8]) -> bool {
    patterns.0.iter().any(|pattern| text_matches(pattern, text))
}

/// Whether a redirection has the effect. A word that stands in a redirection and among the arguments counts as one.
fn is_redirected(act: &Act) -> bool {
    let path = match &act.effect {
        Effect::Delete { path, .. } | Effect::Write { path, .. } | Effect::Read { path } => path,
        Effect::Fetch { url } | Effect::Send { url, .. } => url,
        _ => return false,
    };
    act.scene.redirects.contains(path)
}

/// Whether the part of the effect that decides what runs is known before running.
fn is_known(effect: &Effect) -> bool {
    match effect {
        Effect::Script { text, .. } => text.as_known().is_some(),
        Effect::RunFile { path, .. } => path.as_known().is_some(),
        Effect::Opaque { argv } => argv.first().is_some_and(|word| word.as_known().is_some()),
        Effect::Exec { argv, .. } => argv.first().is_some_and(|word| word.as_known().is_some()),
        _ => true,
    }
}

/// What an effect says of itself.
fn value_of(effect: &Effect) -> Cow<'_, [u8]> {
    match effect {
        Effect::Metadata { value, .. } => value_text(value),
        Effect::Fetch { url } | Effect::Send { url, .. } => value_text(url),
        Effect::Listen { address } => value_text(address),
        Effect::Kill { signal, .. } => value_text(signal),
        Effect::Privilege { what } => Cow::Borrowed(what.as_bytes()),
        Effect::Package { manager, .. } => Cow::Borrowed(manager.as_bytes()),
        Effect::Service { action, .. } => Cow::Borrowed(action.as_bytes()),
        Effect::Kernel { what, .. } | Effect::Persist { what, .. } => Cow::Borrowed(what.as_bytes()),
        Effect::Repository { action, .. } | Effect::Remote { action, .. } => Cow::Borrowed(action.as_bytes()),
        Effect::Database { statement } => value_text(statement),
        Effect::Exec { via, .. } => Cow::Borrowed(via.as_bytes()),
        Effect::Unreadable { program, .. } => Cow::Borrowed(program.as_bytes()),
        _ => Cow::Borrowed(b""),
    }
}

/// What it is done to.
fn names_of(effect: &Effect) -> Vec<Cow<'_, [u8]>> {
    match effect {
        Effect::Kill { target, .. } | Effect::Repository { target, .. } => vec![value_text(target)],
        Effect::Account { name } | Effect::Service { name, .. } => vec![value_text(name)],
        Effect::Package { names, .. } => names.iter().map(value_text).collect(),
        Effect::Kernel { value, .. } | Effect::Persist { value, .. } => vec![value_text(value)],
        Effect::Remote { resource, .. } => vec![value_text(resource)],
        Effect::Unreadable { word, .. } => vec![value_text(word)],
        _ => Vec::new(),
    }
}
