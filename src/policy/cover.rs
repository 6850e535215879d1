//! What the words of conditions tell of each other: that one holds wherever another does, or that one never holds.

use super::condition::{Arguments, Condition, Details, Many, Selected, Selector};
use super::names::Kind;
use crate::gate::pattern::text_matches;

/// Names that a policy may give to what runs a command.
const BACKENDS: [&str; 3] = ["jail", "docker", "launcher"];

/// Names of signals, without `SIG`.
const SIGNALS: [&str; 33] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS",
];

/// Whether a pattern stands for one text, itself.
fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '\\'])
}

/// Whether a pattern, by its words, matches whatever another one does. A no is no proof.
fn wider(own: &str, other: &str) -> bool {
    let begins =
        |own: &str| own.strip_suffix('*').is_some_and(|start| is_literal(start) && other.starts_with(start));
    own == other || begins(own) || is_literal(other) && text_matches(own, other.as_bytes())
}

fn within(own: &Option<Many<String>>, other: &Option<Many<String>>) -> bool {
    let Some(own) = own else { return true };
    let covered = |item: &String| own.0.iter().any(|wide| wider(wide, item));
    other.as_ref().is_some_and(|other| other.0.iter().all(covered))
}

fn among<T: PartialEq>(own: &Option<Many<T>>, other: &Option<Many<T>>) -> bool {
    let Some(own) = own else { return true };
    other.as_ref().is_some_and(|other| other.0.iter().all(|item| own.0.contains(item)))
}

impl Condition {
    /// Whether this condition, by its words, holds wherever the other one does. A no is no proof.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let arguments = self.arguments.is_none() || self.arguments == other.arguments;
        let effects = self.effect.as_ref().is_none_or(|own| {
            other.effect.as_ref().is_some_and(|other| {
                other.0.iter().all(|(kind, details)| {
                    own.0.iter().any(|(wide, open)| wide == kind && open.covers(details))
                })
            })
        });
        within(&self.program, &other.program)
            && arguments
            && effects
            && among(&self.target, &other.target)
            && within(&self.via, &other.via)
            && among(&self.fed, &other.fed)
            && within(&self.principal, &other.principal)
            && within(&self.session, &other.session)
            && within(&self.backend, &other.backend)
    }

    /// Whether several conditions together cover this one: each of its programs is covered by one of them.
    pub(crate) fn is_covered_by(&self, others: &[Self]) -> bool {
        let covered = |condition: &Self| others.iter().any(|other| other.covers(condition));
        let one = |program: &String| Self { program: Some(Many(vec![program.clone()])), ..self.clone() };
        covered(self)
            || self
                .program
                .as_ref()
                .is_some_and(|programs| programs.0.iter().all(|program| covered(&one(program))))
    }

    /// Why no act can meet the condition, where its words tell.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let named = |names: &Option<Many<String>>, wrong: &dyn Fn(&String) -> bool| {
            names.as_ref().and_then(|names| names.0.iter().find(|name| wrong(name)).cloned())
        };
        let no_name = |name: &String| name.is_empty() || name.contains(['/', ' ', '\t', '\n']);
        if let Some(program) = named(&self.program, &no_name) {
            return Some(format!(
                "`{program}` is no program: its name stands alone, without directory and arguments"
            ));
        }
        let no_backend = |name: &String| {
            is_literal(name) && !BACKENDS.contains(&name.as_str()) && !name.starts_with("launcher:")
        };
        if let Some(backend) = named(&self.backend, &no_backend) {
            return Some(format!("there is no backend `{backend}`: `jail`, `docker`, `launcher:NAME`"));
        }
        if let Some(why) = self.arguments.as_ref().and_then(Arguments::contradiction) {
            return Some(why);
        }
        let effects = self.effect.as_ref()?;
        let dead = |(kind, details): &(Kind, Details)| {
            details.contradiction(*kind).or_else(|| details.foreign(*kind))
        };
        let reasons: Vec<Option<String>> = effects.0.iter().map(dead).collect();
        if reasons.iter().all(Option::is_some) { reasons.into_iter().next().flatten() } else { None }
    }
}

impl Arguments {
    fn contradiction(&self) -> Option<String> {
        let none = self.none.as_ref()?;
        let excluded = |asked: &String| none.0.iter().any(|pattern| wider(pattern, asked));
        let list =
            |asked: &Option<Many<String>>| asked.as_ref().map_or(&[] as &[String], |asked| &asked.0).to_vec();
        let any = list(&self.any);
        let never = if any.iter().all(excluded) { any.into_iter().next() } else { None };
        let must = list(&self.all)
            .into_iter()
            .chain(list(&self.first))
            .chain(self.exactly.clone().unwrap_or_default());
        let asked = never.or_else(|| must.into_iter().find(excluded))?;
        Some(format!("`{asked}` is asked for and excluded among its arguments"))
    }
}

impl Details {
    /// Whether these details hold wherever the others do: they are the same but for the path, which may be a wider one.
    fn covers(&self, other: &Self) -> bool {
        if *self == Self::default() || self == other {
            return true;
        }
        let same = Self { path: None, ..self.clone() } == Self { path: None, ..other.clone() };
        let same = same || Self { path: None, ..self.clone() } == Self::default();
        let (Some(own), Some(theirs)) = (&self.path, &other.path) else { return same && self.path.is_none() };
        let positive = |many: &Many<Selector>| -> Vec<Selector> {
            many.0.iter().filter(|selector| !selector.negated).cloned().collect()
        };
        let (wide, narrow) = (positive(own), positive(theirs));
        let covered = |one: &Selector| wide.iter().any(|wide| wide.covers(one));
        let kept =
            own.0.iter().filter(|selector| selector.negated).all(|selector| theirs.0.contains(selector));
        same && kept && (wide.is_empty() || !narrow.is_empty() && narrow.iter().all(covered))
    }

    /// Why no effect of this kind can meet it, where its words tell.
    fn contradiction(&self, kind: Kind) -> Option<String> {
        if kind == Kind::Kill
            && let Some(values) = &self.value
            && let Some(signal) = values.0.iter().find(|value| is_literal(value) && !is_signal(value))
        {
            return Some(format!("there is no signal `{signal}`"));
        }
        let selectors = &self.path.as_ref()?.0;
        let mut positive = selectors.iter().filter(|selector| !selector.negated).peekable();
        positive.peek()?;
        let excluded =
            |wanted: &Selector| selectors.iter().any(|other| other.negated && other.covers(wanted));
        positive.all(excluded).then(|| "a path is asked for and excluded".to_owned())
    }
}

impl Selector {
    /// Whether what it selects, negated or not, holds all that another one selects.
    fn covers(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            (Selected::Glob(wide), Selected::Glob(narrow)) => wide.covers(narrow),
            (own, theirs) => own == theirs,
        }
    }
}

/// `9`, `KILL`, `SIGKILL`, `RTMIN+1`, and nothing for the default.
fn is_signal(name: &str) -> bool {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    name.bytes().all(|byte| byte.is_ascii_digit())
        || SIGNALS.contains(&bare)
        || bare.starts_with("RTMIN")
        || bare.starts_with("RTMAX")
}
