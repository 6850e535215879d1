//! From an effect to an act: where it happens, what flows into it, and what the gate itself finds.

use super::*;
use crate::programs::{Operation, SecretNames};

/// Most words that are looked through: each of 5,000 operands of `rm` has all of them looked at once or twice.
const MOST_LOOKED: usize = 32 << 20;

impl Walk<'_> {
    /// Counts the words of a command, which are looked through for each thing that it does. Whether that goes on: past the bound
    /// the request is refused. `rm {1..200}{1..200}` would be looked through forty thousand times.
    pub(super) fn looks_through(&mut self, words: usize, span: Span) -> bool {
        self.looked = self.looked.saturating_add(words);
        if self.looked <= MOST_LOOKED {
            return true;
        }
        if !self.over {
            self.over = true;
            let reason = "one command does too much with too many words";
            self.refuse("parse.too-much", span, reason, "split the command into smaller ones");
        }
        false
    }

    /// Records an act, and the gate's own findings on it.
    pub(super) fn act(
        &mut self,
        effect: Effect,
        task: &Task,
        base: &Base,
        scene: &Arc<Scene>,
        guess: bool,
        gives: &mut Feed,
    ) {
        if keeps_to_programs(&effect, base) {
            return;
        }
        if !Sources::has_hole(&effect) {
            return self.one_act(effect, task, base, scene, guess, gives);
        }
        for effect in self.spread(effect, task) {
            self.one_act(effect, task, base, scene, guess, gives);
        }
    }

    fn one_act(
        &mut self,
        effect: Effect,
        task: &Task,
        base: &Base,
        scene: &Arc<Scene>,
        guess: bool,
        gives: &mut Feed,
    ) {
        if !self.looks_through(scene.argv.len(), scene.span) {
            return;
        }
        let effect = self.at_home(effect, task);
        let own = path_of(&effect).map(|path| Place::resolve(path, base));
        let (place, on_host) = self.through_mounts(own, &effect, task, base);
        let mut act = Act { effect, place, scene: Arc::clone(scene), settled: false };
        let ground = if on_host { Arc::clone(&self.start.ground) } else { self.ground_of(&act.scene.target) };
        if act.takes_trees()
            && let Some(place) = &mut act.place
        {
            place.look_below(&ground);
        }
        self.recognise_made(&mut act, task);
        self.learn_made(&act, task);
        match &act.effect {
            Effect::Fetch { .. } => *gives = (*gives).max(Feed::Network),
            Effect::Read { .. } if act.may_be().has(PathClass::Credential) => {
                *gives = (*gives).max(Feed::Credential);
            }
            _ => {}
        }
        self.receive(&act, base, *gives);
        if guess {
            // The operands of a program that nobody knows look like a command, but may be data.
            let found = hardline::findings(&act, &ground).next().is_some();
            self.survey.findings.extend(opaque::launched(&act, found));
            return;
        }
        let before = self.survey.findings.len();
        self.survey.findings.extend(hardline::findings(&act, &ground));
        act.settled = self.survey.findings.len() > before;
        self.survey.findings.extend(opaque::findings(&act));
        self.survey.findings.extend(opaque::device(&act, base));
        let given = given::effects(&act.effect, base);
        // what a container loses that is gone afterwards is nobody's
        let of_container = matches!(
            act.effect,
            Effect::Delete { .. }
                | Effect::Write { .. }
                | Effect::Metadata { .. }
                | Effect::Package { action: Operation::Install | Operation::Uninstall, .. }
                | Effect::Persist { .. }
        );
        if task.around.discarded && of_container {
            return;
        }
        if self.was_received(&act) {
            self.survey.findings.push(opaque::received(&act));
        }
        self.survey.acts.push(act);
        for effect in given {
            self.one_act(effect, task, base, scene, false, gives);
        }
    }

    /// `~/` in a program's table is the home; a tilde that stands in the command's own words is one that the shell left.
    fn at_home(&self, mut effect: Effect, task: &Task) -> Effect {
        let tilde = |value: &Value| value.prefix().contains(&b'~');
        let own = || {
            let redirects = task.invocation.redirects.iter().map(|redirect| &redirect.target);
            task.invocation.argv.iter().chain(redirects).any(tilde)
        };
        let rest = path_of(&effect).and_then(Value::as_known).and_then(|path| path.strip_prefix(b"~/"));
        if let Some(rest) = rest.filter(|_| !own()) {
            let home = Value::known([self.facts.home.as_bytes(), b"/", rest].concat());
            if let Some(path) = path_of_mut(&mut effect) {
                *path = home;
            }
        }
        effect
    }

    /// A path of a container that leads to this machine, as the place that it is here.
    pub(super) fn through_mounts(
        &self,
        own: Option<Place>,
        effect: &Effect,
        task: &Task,
        inside: &Base,
    ) -> (Option<Place>, bool) {
        let here = matches!(task.around.target, Target::Here | Target::User(_));
        let reached = |place: &Place| {
            let below = |path: &Path| {
                task.around.mounts().iter().any(|(name, _)| name.surely_holds(&path.components))
            };
            place.readings.iter().any(|reading| below(&reading.path))
        };
        if here || task.around.mounts().is_empty() || !own.as_ref().is_some_and(reached) {
            return (own, false);
        }
        let mut base =
            Base { cwd: None, ground: Arc::clone(&self.start.ground), links: task.around.mounts().to_vec() };
        // the directory in the container, where that leads here
        let directory = inside.cwd.as_ref().map(|cwd| Path::resolve(&Value::known(cwd.to_string()), &base));
        base.cwd = directory.filter(|cwd| !cwd.is_loose());
        (path_of(effect).map(|path| Place::resolve(path, &base)), true)
    }

    /// Remembers what a command puts where, of what it receives from the network.
    pub(super) fn receive(&mut self, act: &Act, base: &Base, gives: Feed) {
        let from_network = gives == Feed::Network || act.scene.fed == Feed::Network;
        if !from_network || self.received.len() >= MOST_RECEIVED {
            return;
        }
        match &act.effect {
            Effect::Write { .. } => {
                let readings = act.place.iter().flat_map(|place| &place.readings);
                let paths =
                    readings.filter(|reading| !reading.path.is_loose()).map(|reading| reading.path.clone());
                self.received.extend(paths.filter(|path| !path.components.is_empty()));
            }
            // `curl -O URL` keeps the name.
            Effect::Fetch { url } => {
                let name = url.as_str().and_then(|url| url.split(['?', '#']).next()?.rsplit('/').next());
                if let (Some(name), Some(cwd)) = (name.filter(|name| !name.is_empty()), &base.cwd) {
                    let mut path = cwd.clone();
                    path.push(name.as_bytes());
                    self.received.push(path);
                }
            }
            _ => {}
        }
    }

    /// Whether a file that is run was received from the network by the same text.
    pub(super) fn was_received(&self, act: &Act) -> bool {
        matches!(act.effect, Effect::RunFile { .. })
            && !self.received.is_empty()
            && act
                .place
                .iter()
                .flat_map(|place| &place.readings)
                .any(|reading| self.received.iter().any(|path| path.surely_holds(&reading.path.components)))
    }

    pub(super) fn ground_of(&self, target: &Target) -> Arc<Ground> {
        match target {
            Target::Here | Target::User(_) => Arc::clone(&self.start.ground),
            Target::Host(_) => {
                Arc::clone(self.elsewhere.get_or_init(|| Arc::new(self.start.ground.elsewhere(false))))
            }
            Target::Container(_) => {
                Arc::clone(self.contained.get_or_init(|| Arc::new(self.start.ground.elsewhere(true))))
            }
        }
    }

    /// What a command carries in its words: `curl -d "$(env)"`.
    pub(super) fn carried(&mut self, task: &Task) -> Feed {
        let argv = &task.invocation.argv;
        let before = std::iter::once(None).chain(argv.iter().map(Some));
        if before.zip(argv.iter()).any(|(before, word)| tells_secret(before, word)) {
            return Feed::Credential;
        }
        let holes =
            task.invocation.argv.iter().flat_map(|word| &word.pieces).filter_map(|piece| match piece {
                Piece::Unknown(hole) => Some(hole.source.as_str()),
                Piece::Known(_) | Piece::Glob(_) => None,
            });
        let base = self.base(task);
        for source in holes.take(MOST_HOLES) {
            let inner = source.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
            let inner = inner.or_else(|| source.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')));
            let Some(inner) = inner else { continue };
            let context = reader::of_request(self.facts, &task.invocation.cwd);
            let Ok(evaluation) = shell::read(inner, None, &context, &mut self.budget) else { continue };
            let is_secret = |effect: &Effect| match effect {
                Effect::Read { path } => Place::resolve(path, &base).may_be().has(PathClass::Credential),
                _ => false,
            };
            let tells = |invocation: &Invocation| {
                shows_environment(invocation)
                    || effects(invocation, Knowledge::shipped()).iter().any(is_secret)
            };
            if evaluation.invocations.iter().any(tells) {
                return Feed::Credential;
            }
        }
        Feed::Plain
    }

    /// How the paths of a command are resolved: the same for all that stay where the request began.
    pub(super) fn base(&self, task: &Task) -> Rc<Base> {
        let ground = self.ground_of(&task.around.target);
        let here = matches!(task.around.target, Target::Here | Target::User(_));
        let cwd = &task.invocation.cwd;
        let stays = here && cwd.as_str() == Some(self.facts.cwd.as_str());
        if stays && self.links.is_empty() {
            return Rc::clone(&self.start.base);
        }
        let mut base = Base { ground, ..Base::clone(&self.start.base) };
        if here {
            base.links.clone_from(&self.links);
        } else {
            base.cwd = None;
        }
        if !stays && !cwd.pieces.is_empty() {
            base.cwd = Some(Path::resolve(cwd, &base)).filter(|path| !path.is_loose());
        }
        Rc::new(base)
    }

    pub(super) fn fed(&self, task: &Task) -> Feed {
        let Input::Pipe(from) = &task.invocation.stdin else { return Feed::Plain };
        let Some((group, _)) = task.group else { return Feed::Plain };
        let Some(group) = self.groups.get(group) else { return Feed::Plain };
        from.iter().filter_map(|index| group.feeds.get(*index)).copied().max().unwrap_or(Feed::Plain)
    }
}

/// How far back a pipeline is followed for the text that comes through it.
pub(super) const FARTHEST: usize = 8;

/// The text that a command of a pipeline writes, as far as it stands in its words or comes to it: plain words, what a
/// filter may pass on, and, where the text is going to be run, the literals of code that prints.
pub(super) fn written(
    writer: &Invocation,
    invocations: &[Rc<Invocation>],
    runs_input: bool,
    depth: usize,
    lines: &mut Vec<u8>,
) {
    let Some((program, words)) = writer.argv.split_first() else { return };
    let mut line = |text: &[u8]| {
        lines.extend_from_slice(text);
        lines.push(b'\n');
    };
    match program.as_str().map(|program| program.rsplit('/').next().unwrap_or(program)) {
        Some("echo" | "printf") => {
            let words: Vec<&[u8]> = words.iter().filter_map(Value::as_known).collect();
            line(&words.join(&b' '));
        }
        _ if !runs_input || depth == 0 => {}
        // without end
        Some("yes") => {
            let words: Vec<&[u8]> = words.iter().filter_map(Value::as_known).collect();
            line(&[b"while :; do\n", words.join(&b' ').as_slice(), b"\ndone"].concat());
        }
        Some(
            "cat" | "sort" | "uniq" | "head" | "tail" | "tac" | "shuf" | "grep" | "egrep" | "fgrep" | "rg"
            | "tee" | "nl" | "fold" | "column" | "paste" | "expand" | "unexpand" | "fmt" | "pv" | "sponge"
            | "stdbuf" | "unbuffer" | "cut" | "tr" | "sed" | "awk" | "perl",
        ) if writer.stdin != Input::Inherited => match &writer.stdin {
            Input::Known(bytes) => line(bytes),
            Input::Text(text) => text.as_known().into_iter().for_each(line),
            Input::Pipe(from) => {
                for from in from.iter().filter_map(|index| invocations.get(*index)) {
                    written(from, invocations, runs_input, depth - 1, lines);
                }
            }
            _ => {}
        },
        _ => programs::literals(writer, Knowledge::shipped()).iter().for_each(|literal| line(literal)),
    }
}

/// Whether a word tells the value of a variable that is called as secrets are. Where it says who asks (a header, `-u`, what
/// stands before the `@` of a URL) it is not told but used.
fn tells_secret(before: Option<&Value>, word: &Value) -> bool {
    let who = before.and_then(Value::as_str).is_some_and(|option| {
        let name = option.trim_start_matches('-');
        option.starts_with('-')
            && [
                "u",
                "user",
                "U",
                "proxy-user",
                "oauth2-bearer",
                "H",
                "header",
                "password",
                "token",
                "b",
                "cookie",
                "cert",
                "key",
            ]
            .contains(&name)
    });
    let names_header = word.prefix().iter().position(|byte| *byte == b':').is_some_and(|at| {
        let (name, rest) = word.prefix().split_at(at);
        let proper = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        !name.is_empty() && name.iter().all(proper) && !rest.starts_with(b"://")
    });
    let is_secret = |piece: &Piece| match piece {
        Piece::Unknown(hole) => is_secret_name(&hole.source),
        Piece::Known(_) | Piece::Glob(_) => false,
    };
    let in_front_of_host =
        |at: usize| matches!(word.pieces.get(at + 1), Some(Piece::Known(next)) if next.starts_with(b"@"));
    !who && !names_header
        && word.pieces.iter().enumerate().any(|(at, piece)| is_secret(piece) && !in_front_of_host(at))
}

/// `$API_TOKEN`, `${DB_PASSWORD}`, and not the half of a pair that is made to be shown.
fn is_secret_name(source: &str) -> bool {
    let Some(name) = source.strip_prefix('$') else { return false };
    let name = name.trim_start_matches('{').trim_end_matches('}');
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && SecretNames::shipped().has(name)
        && !name.to_ascii_uppercase().contains("PUBLIC")
}

/// A search path that leads only to the system's programs, to those of a home and of the project is an ordinary one.
pub(super) fn keeps_to_programs(effect: &Effect, base: &Base) -> bool {
    let Effect::Persist { what, value } = effect else { return false };
    let ordinary = |entry: &str| {
        let classes = Place::resolve(&Value::known(entry), base).may_be();
        let where_programs_are = ClassSet::of(&[PathClass::System, PathClass::Home]);
        // A project's own programs: `node_modules/.bin`, `bin`.
        let programs = entry.ends_with("/bin") || entry.ends_with("/.bin");
        let own = classes.has(PathClass::Workspace) && (programs || what != "PATH");
        own || entry.starts_with('/') && classes.meets(where_programs_are) && !classes.has(PathClass::Temp)
    };
    matches!(what.as_str(), "PATH" | "LD_LIBRARY_PATH" | "DYLD_LIBRARY_PATH")
        // `export A=/x PATH=$A/bin` reads `$A` before it is set
        && value.with_unset_empty().as_str().is_some_and(|path| path.split(':').all(ordinary))
}

/// The name of the program without its directories; empty where it is not known.
pub(super) fn program_name(invocation: &Invocation) -> &str {
    super::super::act::program_name(&invocation.argv)
}

/// Whether a command prints the environment, in which credentials are: `env`, `printenv`, `export -p`.
pub(super) fn shows_environment(invocation: &Invocation) -> bool {
    let Some((_, arguments)) = invocation.argv.split_first() else { return false };
    match program_name(invocation) {
        "env" => arguments.iter().all(|word| matches!(word.as_str(), Some("-0" | "--null"))),
        "printenv" => arguments.iter().all(|word| word.prefix().starts_with(b"-")),
        "set" => arguments.is_empty(),
        "export" | "declare" | "typeset" => {
            arguments.is_empty()
                || arguments.iter().all(|word| matches!(word.as_str(), Some("-p" | "-x" | "-px" | "-xp")))
        }
        _ => false,
    }
}

/// The path of an effect that has one, as it is borrowed.
macro_rules! path {
    ($effect:expr, $borrow:ident) => {
        match $effect {
            Effect::Delete { path, .. }
            | Effect::Write { path, .. }
            | Effect::Read { path }
            | Effect::Metadata { path, .. }
            | Effect::RunFile { path, .. }
            | Effect::Device { path, .. }
            | Effect::Mount { path } => Some(path),
            Effect::Send { path, .. } => path.$borrow(),
            _ => None,
        }
    };
}

/// The path of an effect that has one.
pub(super) fn path_of(effect: &Effect) -> Option<&Value> {
    path!(effect, as_ref)
}

/// The same, to be replaced.
fn path_of_mut(effect: &mut Effect) -> Option<&mut Value> {
    path!(effect, as_mut)
}
