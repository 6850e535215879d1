//! Reads a policy file with what it includes, and holds it against its own examples.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use toml::Spanned;

use super::document::{Document, RuleDocument, Verdict};
use super::examples::hold;
use super::index::Index;
use super::rule::{Rule, is_plain};
use super::sections::{Approval, Later, LimitsSection, Scan};
use super::{
    Backend, BackendName, Choice, Layer, Policy, PolicyError, Profile, Role, profile, secrets, spans,
};
use crate::redact;

/// The longest policy that is read, with everything that it includes: 4 MiB, some 20,000 rules.
const LONGEST: usize = 4 << 20;

/// Most files that a policy includes, and most that stand between it and one of them.
const MOST_INCLUDED: usize = 64;
const DEEPEST: usize = 8;

/// A file that is included.
#[derive(Debug, Clone)]
pub struct Included {
    /// Its name for messages, the same for the same file however it is named: by it, circles are found.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Finds an included file: what is asked for, and the name of the file that asks. The error is a sentence.
pub type Find<'a> = dyn Fn(&str, &str) -> Result<Included, String> + 'a;

/// Whether examples were held against a policy of this digest before.
pub type Known<'a> = dyn Fn(&[u8; 32]) -> bool + 'a;

/// How a policy is read.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    /// Whose it is.
    pub role: Role,
    /// What stands above it: its profiles can be named, and its examples are judged with it.
    pub beneath: Option<&'a Policy>,
    /// Where included files come from; `None` where there are none to be had.
    pub find: Option<&'a Find<'a>>,
    /// Whether examples were held against exactly this policy before, by its digest ([`Policy::digest`]).
    pub examples_hold: Option<&'a Known<'a>>,
}

impl fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("role", &self.role).finish_non_exhaustive()
    }
}

/// A file that was read.
struct Source {
    name: String,
    text: String,
    document: Document,
}

impl Source {
    fn refuse(&self, mistake: &Mistake) -> PolicyError {
        let keys: Vec<&str> = mistake.keys.iter().map(String::as_str).collect();
        let span = mistake.span.clone().or_else(|| spans::of(&self.text, &keys, mistake.element.as_deref()));
        PolicyError::at(&self.name, &self.text, span, &mistake.message, mistake.hint)
    }
}

impl<'a> Loader<'a> {
    /// Reads a policy that stands alone and includes nothing.
    pub fn new(role: Role) -> Self {
        Self { role, beneath: None, find: None, examples_hold: None }
    }

    /// Reads a layer beneath another. It is joined to it by [`Policy::over`].
    pub fn beneath(upper: &'a Policy, role: Role) -> Self {
        Self { beneath: Some(upper), ..Self::new(role) }
    }

    /// Reads it. `name` is the file's name for messages.
    ///
    /// # Errors
    /// The first mistake, with its line, a caret and a hint.
    pub fn load(self, text: &str, name: &str) -> Result<Policy, PolicyError> {
        let mut sources = Vec::new();
        self.read(Included { name: name.to_owned(), text: text.to_owned() }, &mut Vec::new(), &mut sources)?;
        let policy = self.policy(&sources)?;
        if self.examples_hold.is_some_and(|known| known(&policy.digest)) {
            return Ok(policy);
        }
        for source in &sources {
            for rule in &source.document.rule {
                for example in &rule.get_ref().examples {
                    hold(&policy, self.beneath, rule.get_ref(), example)
                        .map_err(|mistake| source.refuse(&mistake))?;
                }
            }
        }
        Ok(policy)
    }

    /// Reads a file and, before it, what it includes.
    fn read(
        self,
        file: Included,
        above: &mut Vec<String>,
        sources: &mut Vec<Source>,
    ) -> Result<(), PolicyError> {
        let Included { name, text } = file;
        let whole = sources.iter().map(|source| source.text.len()).sum::<usize>() + text.len();
        if whole > LONGEST {
            return Err(PolicyError::at(&name, "", None, "the policy is longer than 4 MiB", ""));
        }
        let document: Document =
            toml::from_str(&text).map_err(|error| PolicyError::from_toml(&name, &text, &error))?;
        let source = Source { name, text, document };
        above.push(source.name.clone());
        for include in &source.document.include {
            let refuse = |message: String, hint| source.refuse(&Mistake::new(include.span(), message, hint));
            if self.role == Role::Project {
                let hint = "write the rules here: a project's policy is one file";
                return Err(refuse("the policy of a project includes nothing".to_owned(), hint));
            }
            let Some(find) = self.find else {
                return Err(refuse("nothing can be included here".to_owned(), ""));
            };
            if sources.len() >= MOST_INCLUDED || above.len() > DEEPEST {
                let message = format!("more than {MOST_INCLUDED} files, or more than {DEEPEST} deep");
                return Err(refuse(message, "put the rules into fewer files"));
            }
            let asked = include.get_ref();
            let found = find(asked, &source.name).map_err(|error| {
                let absent = error.to_ascii_lowercase().contains("no such file");
                let hint = if absent { "name a file beside this one" } else { "" };
                refuse(format!("`{asked}` is not included: {error}"), hint)
            })?;
            if above.contains(&found.name) {
                return Err(refuse(format!("`{asked}` includes itself"), "take one of the two lines out"));
            }
            let name = found.name.clone();
            if !sources.iter().any(|source| source.name == name) {
                self.read(found, above, sources)?;
            }
            // What holds is said by the file that includes; what it leaves out must not be taken for what it includes.
            let included = sources.iter().find(|source| source.name == name);
            let sections = included.map(|source| source.document.sections()).unwrap_or_default();
            if let Some(section) = sections.iter().find(|section| !spans::says(&source.text, section)) {
                let section =
                    if *section == "default" { "`default`".to_owned() } else { format!("[{section}]") };
                let message = format!(
                    "`{asked}` has {section}, and only rules, profiles and shapes of secrets are included"
                );
                return Err(refuse(message, "write it here too, as it shall hold: what stands here counts"));
            }
        }
        above.pop();
        sources.push(source);
        Ok(())
    }

    fn policy(self, sources: &[Source]) -> Result<Policy, PolicyError> {
        let Some(main) = sources.last() else {
            return Err(PolicyError::at("policy", "", None, "there is no policy", ""));
        };
        let document = &main.document;
        let base = self.base(document).map_err(|mistake| main.refuse(&mistake))?;
        let scan = document
            .scan
            .over(if self.beneath.is_some() { Scan::everything() } else { Scan::default() })
            .map_err(|(message, wrong)| {
                main.refuse(&Mistake::of(&["scan", "accept"], message, ACCEPT_HINT).element(&wrong))
            })?;
        let mut profiles = BTreeMap::new();
        for source in sources {
            named_profiles(&source.document, &base, &mut profiles)
                .map_err(|mistake| source.refuse(&mistake))?;
        }
        let mut seen = BTreeMap::new();
        for source in sources {
            self.check(&source.document, &profiles, &mut seen).map_err(|mistake| source.refuse(&mistake))?;
        }
        let documents = || sources.iter().flat_map(|source| &source.document.rule).map(Spanned::get_ref);
        let rules: Vec<Rule> = documents().map(Rule::new).collect();
        let examples =
            documents().map(|rule| rule.examples.iter().map(|example| example.get_ref().clone()).collect());
        let above = self.beneath.map(|upper| upper.approval.timeout);
        let unsaid = above.unwrap_or(Approval::default().timeout);
        Ok(Policy {
            roots: document.workspace.roots.clone(),
            later: document.workspace.later.unwrap_or(match self.beneath {
                Some(_) => Later::Allow,
                None => Later::default(),
            }),
            scan,
            redaction: self.redaction(sources)?,
            approval: Approval { timeout: document.approval.timeout.unwrap_or(unsaid) },
            choice: self.choice(document, &base, &profiles),
            profiles,
            base,
            layers: vec![Arc::new(Layer {
                role: self.role,
                default: document.default,
                index: Index::new(&rules),
                giving: (0..)
                    .zip(&rules)
                    .filter(|(_, rule)| !rule.secrets.is_empty())
                    .map(|(at, _)| at)
                    .collect(),
                rules,
                examples: examples.collect(),
            })],
            name: main.name.clone(),
            digest: digest(self.role, self.beneath, sources),
        })
    }

    /// The profile of the sections at the top. In a lower layer, what they do not say takes nothing away.
    fn base(self, document: &Document) -> Result<Profile, Mistake> {
        let unsaid = if self.beneath.is_some() { Profile::everything() } else { Profile::default() };
        for root in document.workspace.roots.iter().flatten() {
            if !root.starts_with('/') {
                let message = format!("the workspace root `{root}` is not an absolute path");
                return Err(Mistake::of(&["workspace", "roots"], message, "start it with `/`").element(root));
            }
        }
        let stated = Profile {
            pass: document.environment.as_ref().map(|own| own.pass.clone()).unwrap_or_default(),
            masked: document.sandbox.masked.clone(),
            ..Profile::default()
        };
        proper(&stated).map_err(|improper| improper.at(&[]))?;
        usable(&document.limits, &[])?;
        let network = match &document.network {
            Some(section) => {
                let mistake = |message| {
                    Mistake::of(&["network", "allow"], format!("[network]: {message}"), NETWORK_HINT)
                };
                section.network().map_err(mistake)?
            }
            None => unsaid.network,
        };
        Ok(Profile {
            name: profile::DEFAULT.to_owned(),
            backend: match document.sandbox.backend {
                _ if document.sandbox.launcher.is_some() => {
                    if document.sandbox.backend.is_some() {
                        let message = "[sandbox]: `launcher` stands in place of `backend`".to_owned();
                        return Err(Mistake::of(&["sandbox", "backend"], message, "leave one of them out"));
                    }
                    Backend::Launcher(document.sandbox.launcher.clone().unwrap_or_default())
                }
                Some(BackendName::Docker) => {
                    let image = document.sandbox.image.as_deref().unwrap_or(profile::DEFAULT_IMAGE);
                    Backend::Docker(image.to_owned())
                }
                Some(BackendName::Jail) | None => Backend::Jail,
            },
            network,
            workspace: document.workspace.access.unwrap_or(unsaid.workspace),
            limits: document.limits.over(&unsaid.limits),
            pass: if document.environment.is_some() { stated.pass } else { unsaid.pass },
            masked: stated.masked,
            minimum: document.sandbox.minimum.unwrap_or(unsaid.minimum),
            selectable: true,
        })
    }

    /// What requesters may ask for. What the policy itself names is among it, but for what stands above a lower layer.
    fn choice(self, document: &Document, base: &Profile, profiles: &BTreeMap<String, Profile>) -> Choice {
        let section = &document.sandbox;
        let unsaid = match self.beneath {
            Some(_) => Choice { images: Vec::new(), ..Choice::default() },
            None => Choice::default(),
        };
        let mut backends = section.backends.clone().unwrap_or(unsaid.backends);
        backends.extend(base.backend.kind());
        let mut images = section.images.clone().map_or(unsaid.images, |images| vec![images]);
        for list in &mut images {
            list.extend(section.image.clone());
            for profile in profiles.values() {
                if let Backend::Docker(image) = &profile.backend {
                    list.push(image.clone());
                }
            }
        }
        let named = |backend: &Backend| match backend {
            Backend::Launcher(name) => Some(name.clone()),
            Backend::Jail | Backend::Docker(_) => None,
        };
        let of_profiles = std::iter::once(base).chain(profiles.values()).filter_map(|it| named(&it.backend));
        let of_profiles: Vec<String> = of_profiles.collect();
        let launchers = match &section.launchers {
            None if of_profiles.is_empty() => unsaid.launchers,
            said => Some(said.iter().flatten().cloned().chain(of_profiles).collect()),
        };
        let says = section.backend.is_some() || section.launcher.is_some();
        let backend = says.then(|| base.backend.clone());
        Choice { backends, images, image: section.image.clone(), launchers, backend }
    }

    /// The shapes of secrets, with what the files add to them.
    fn redaction(self, sources: &[Source]) -> Result<Option<redact::Rules>, PolicyError> {
        let mut all = None;
        for source in sources {
            let Some(first) = source.document.redact.first() else { continue };
            let refuse = |message, hint| source.refuse(&Mistake::new(first.span(), message, hint));
            if self.role == Role::Project {
                // What is masked is masked in questions to people as well, and whoever asks may have written this.
                let hint = "put it into the policy of the machine or of its operator";
                return Err(refuse("the policy of a project adds no shapes of secrets".to_owned(), hint));
            }
            let own: Vec<_> = source.document.redact.iter().map(|own| own.get_ref().clone()).collect();
            let joined = all.unwrap_or_else(redact::Rules::builtin).with(&own);
            all = Some(joined.map_err(|error| {
                refuse(error.to_string(), "policies/redact.toml says what each field of such a rule means")
            })?);
        }
        Ok(all)
    }

    /// What the types cannot say of the rules.
    fn check(
        self,
        document: &Document,
        profiles: &BTreeMap<String, Profile>,
        seen: &mut BTreeMap<String, ()>,
    ) -> Result<(), Mistake> {
        for rule in &document.rule {
            let inner = rule.get_ref();
            let id = inner.id.get_ref();
            let at = inner.id.span();
            let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            if id.is_empty() || !id.chars().all(proper) {
                let hint = "use lower-case letters, digits, `-` and `.`, as in `delete.outside-workspace`";
                return Err(Mistake::new(at, format!("`{id}` is not a rule id"), hint));
            }
            let own = ["hardline", "opaque", "parse", "scan", "text", "request", "policy"];
            if own.iter().any(|own| id.split('.').next() == Some(own)) {
                let hint = "such ids name what is compiled in";
                return Err(Mistake::new(at, format!("the rule id `{id}` is reserved"), hint));
            }
            if seen.insert(id.clone(), ()).is_some() {
                return Err(Mistake::new(
                    at,
                    format!("there are two rules with the id `{id}`"),
                    "give one of them another id",
                ));
            }
            if inner.reason.get_ref().trim().is_empty() {
                let hint = "say in a few words what would go wrong: the person who is asked reads it";
                return Err(Mistake::new(inner.reason.span(), "the reason is empty".to_owned(), hint));
            }
            let deceives = |text: &str| self.role == Role::Project && !is_plain(text);
            if deceives(inner.reason.get_ref()) || deceives(&inner.hint) {
                // whoever is asked reads it, and whoever asks may have written it
                let span = if deceives(&inner.hint) { rule.span() } else { inner.reason.span() };
                let message =
                    "the reason or the hint has more than one line, or characters that deceive".to_owned();
                return Err(Mistake::new(span, message, "write one line of plain text"));
            }
            if inner.condition().is_empty() {
                let hint = "say of what it speaks: `effect`, `program`, `arguments`, ...; for everything, set `default`";
                return Err(Mistake::new(rule.span(), format!("the rule `{id}` has no condition"), hint));
            }
            if let Some(except) = inner.except.iter().find(|except| except.get_ref().is_empty()) {
                let hint = "an empty exception would switch the rule off";
                return Err(Mistake::new(except.span(), "the exception has no condition".to_owned(), hint));
            }
            if let Some(secret) = inner.secrets.first() {
                self.check_secrets(inner).map_err(|(message, hint)| {
                    Mistake::new(secret.span(), format!("the rule `{id}` {message}"), hint)
                })?;
            }
            for secret in &inner.secrets {
                if let Some((message, hint)) = secret.get_ref().mistake() {
                    return Err(Mistake::new(secret.span(), message, hint));
                }
            }
            if let Some(name) = &inner.run_under {
                let known = name.get_ref() == profile::DEFAULT
                    || profiles.contains_key(name.get_ref())
                    || self.beneath.is_some_and(|upper| upper.profile(name.get_ref()).is_some());
                if !known {
                    let message = format!("there is no profile `{}`", name.get_ref());
                    return Err(Mistake::new(name.span(), message, "define it as [profile.NAME]"));
                }
            }
        }
        Ok(())
    }
}

impl Loader<'_> {
    /// Whether a rule may give secrets at all.
    fn check_secrets(self, rule: &RuleDocument) -> Result<(), (&'static str, &'static str)> {
        let literal = |name: &String| !name.contains(['*', '?', '[', '\\']);
        let named = rule.program.as_ref().is_some_and(|program| program.0.iter().all(literal));
        if self.role == Role::Project {
            return Err((
                "is a project's, and gives no secrets",
                "put it into the policy of the machine or of its operator",
            ));
        }
        if rule.decision == Verdict::Deny {
            return Err(("denies, and gives secrets", "what does not run needs none"));
        }
        if !named {
            return Err((
                "gives secrets to any program",
                "name each program in full: `program = \"deploy\"`",
            ));
        }
        if rule.arguments.is_none() {
            return Err((
                "gives secrets whatever the arguments are",
                "who chooses them may have it sent elsewhere: `arguments = { exactly = [\"--to\", \"prod\"] }`",
            ));
        }
        if rule.effect.is_some() || rule.via.is_some() || rule.fed.is_some() || rule.target.is_some() {
            return Err((
                "gives secrets by what a command does",
                "give them by `program` and `arguments`: what else it does is for other rules",
            ));
        }
        if rule.secrets.len() > secrets::MOST {
            return Err(("gives more than 16 secrets", "put them into one file"));
        }
        Ok(())
    }
}

const ACCEPT_HINT: &str = "`execward scan` prints it behind the name of each file";

pub(super) struct Mistake {
    span: Option<std::ops::Range<usize>>,
    /// Where no span is kept: the keys that lead to it, and the element of a list.
    keys: Vec<String>,
    element: Option<String>,
    message: String,
    hint: &'static str,
}

impl Mistake {
    pub(super) fn new(span: std::ops::Range<usize>, message: String, hint: &'static str) -> Self {
        Self { span: Some(span), keys: Vec::new(), element: None, message, hint }
    }

    /// A mistake in what these keys lead to.
    fn of(keys: &[&str], message: String, hint: &'static str) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self { span: None, keys, element: None, message, hint }
    }

    /// The same, in this element of the list.
    fn element(self, element: &str) -> Self {
        Self { element: Some(element.to_owned()), ..self }
    }
}

/// Adds the profiles of a file.
fn named_profiles(
    document: &Document,
    base: &Profile,
    profiles: &mut BTreeMap<String, Profile>,
) -> Result<(), Mistake> {
    for (name, section) in &document.profile {
        let (at, name) = (name.span(), name.get_ref());
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(named) {
            let hint = "use lower-case letters, digits and `-`, as in `no-network`";
            return Err(Mistake::new(at, format!("`{name}` is not the name of a profile"), hint));
        }
        if name == profile::DEFAULT {
            let message = "the profile `default` is what the sections at the top say".to_owned();
            return Err(Mistake::new(at, message, "write [network], [limits], [environment] or [sandbox]"));
        }
        let refuse =
            |message: &str, hint| Mistake::new(at.clone(), format!("profile `{name}`: {message}"), hint);
        let stated = section.get_ref();
        if let Some(environment) = &stated.environment {
            let own = Profile { pass: environment.pass.clone(), ..Profile::default() };
            proper(&own).map_err(|improper| improper.at(&["profile", name]))?;
        }
        let own = Profile { masked: stated.masked.clone(), ..Profile::default() };
        proper(&own).map_err(|improper| improper.at(&["profile", name]))?;
        usable(&stated.limits, &["profile", name])?;
        let mut profile = stated.over(name, base).map_err(|message| refuse(message, NETWORK_HINT))?;
        profile.selectable = profile.beyond(base).is_empty() || stated.selectable;
        if profiles.insert(name.clone(), profile).is_some() {
            return Err(refuse("it is there twice", "give one of them another name"));
        }
    }
    Ok(())
}

const NETWORK_HINT: &str = "as in `network = { mode = \"proxy\", allow = [\"registry.npmjs.org:443\"] }`";

/// What the types cannot say of a profile's own lists.
fn proper(profile: &Profile) -> Result<(), Improper> {
    for name in &profile.pass {
        let stem = name.strip_suffix('*').unwrap_or(name);
        if stem.is_empty() || !stem.chars().all(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err(Improper {
                keys: ["environment", "pass"].as_slice(),
                value: name.clone(),
                what: "is not the name of a variable",
                hint: "a name is letters, digits and `_`; a trailing `*` stands for any rest",
            });
        }
    }
    for path in &profile.masked {
        let rest = path.strip_prefix("~/").unwrap_or(path);
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        if rest.is_empty()
            || rest.contains('\0')
            || rest.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(Improper {
                keys: ["masked"].as_slice(),
                value: path.clone(),
                what: "cannot be masked",
                hint: "name it by an absolute path, below the home (`~/x`) or below the workspace (`x/y`)",
            });
        }
    }
    Ok(())
}

/// An element of a list that cannot be one.
struct Improper {
    /// Where the list is in a profile; at the top, what is masked stands in [sandbox].
    keys: &'static [&'static str],
    value: String,
    what: &'static str,
    hint: &'static str,
}

impl Improper {
    fn at(self, section: &[&str]) -> Mistake {
        let Self { keys, value, what, hint } = self;
        let top: &[&str] = if section.is_empty() && keys.len() == 1 { &["sandbox"] } else { &[] };
        let whole: Vec<&str> = [section, top, keys].concat();
        let message = match section {
            [_, profile] => format!("profile `{profile}`: `{value}` {what}"),
            _ => format!("`{value}` {what}"),
        };
        Mistake::of(&whole, message, hint).element(&value)
    }
}

/// Limits under which no command can run are refused: whoever writes a zero means something else.
fn usable(limits: &LimitsSection, section: &[&str]) -> Result<(), Mistake> {
    const HINT: &str =
        "leave it out for what holds elsewhere; to have nothing run, write `default = \"deny\"`";
    let wrong = [
        ("time", limits.time.is_some_and(|time| time.is_zero())),
        ("cpu", limits.cpu.is_some_and(|cpu| cpu.as_secs() == 0)),
        ("idle", limits.idle.is_some_and(|idle| idle.is_zero())),
        ("memory", limits.memory.is_some_and(|memory| memory.0 < LEAST_MEMORY)),
        ("processes", limits.processes == Some(0)),
        ("open-files", limits.open_files.is_some_and(|files| files < LEAST_FILES)),
    ];
    let Some((key, _)) = wrong.into_iter().find(|(_, wrong)| *wrong) else { return Ok(()) };
    let keys = [section, &["limits", key]].concat();
    Err(Mistake::of(&keys, format!("no command can run with this `{key}`"), HINT))
}

/// A program with its libraries does not start in less.
const LEAST_MEMORY: u64 = 1 << 20;
/// The three standard descriptors, and one to load a library through.
const LEAST_FILES: u32 = 4;

/// Over everything that a verdict depends on: execward's version, what stands above, and each file with its length.
fn digest(role: Role, upper: Option<&Policy>, sources: &[Source]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"execward policy\0");
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    hasher.update([0]);
    hasher.update(role.name().as_bytes());
    hasher.update(upper.map_or([0; 32], |upper| upper.digest));
    for source in sources {
        hasher.update((source.text.len() as u64).to_le_bytes());
        hasher.update(source.text.as_bytes());
    }
    hasher.finalize().into()
}
