//! `execward fallback`: the providers of models that assess commands, and that stand in for each other.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use zeroize::Zeroizing;

use super::exit::Exit;
use super::screen::{Screen, shown};
use super::session::{At, Trouble, done, words};
use crate::client::ClientError;
use crate::http::{Key, MAX_KEYS};
use crate::supervisor::{Local, ModelFiles, NewProvider, add_provider, remove_provider};
use crate::wire::rpc::{ModelProvider, ModelTested, Models, Nothing, Policy, Socket, TestModel};

pub(super) const EXAMPLES: &str = "\
In mode `smart` a model is asked before a person. A question goes to the first provider that is well, and where that fails to
the next. `add` and `remove` change execward.toml and the file of keys, and have a running daemon read them; keys come from
standard input, never from arguments, which everybody on the host can read.

Examples:
  execward fallback add local --api openai --base-url http://127.0.0.1:8000/v1 --model qwen < key
  execward fallback add main --first --api anthropic --base-url https://api.anthropic.com --model claude-x < key
  execward fallback add main < another-key     a second key of the same provider
  execward fallback list
  execward fallback test                       asks each, with each of its keys

Exit codes: 0 done (test: each has a key that serves), 1 not, 2 it could not be tried.";

/// Providers of models.
#[derive(Debug, Subcommand)]
pub(super) enum Fallback {
    /// Show the chain, and how each provider stands
    List {
        #[command(flatten)]
        at: At,
    },
    /// Add a provider, or a key to one that is there
    Add(Add),
    /// Take a provider out, and its keys
    Remove {
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        at: At,
        /// Its name
        name: String,
    },
    /// Ask each provider, or one, with each of its keys: that costs what a short question costs
    Test {
        #[command(flatten)]
        at: At,
        /// Its name
        name: Option<String>,
    },
}

/// What to add.
#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    at: At,
    /// Its name, for keys, records and the others here
    name: String,
    /// What it speaks
    #[arg(long, requires_all = ["base_url", "model"])]
    api: Option<Api>,
    /// Its address: https, or http to this machine by its number
    #[arg(long, value_name = "URL", requires = "api")]
    base_url: Option<String>,
    /// The model to ask
    #[arg(long, value_name = "NAME", requires = "api")]
    model: Option<String>,
    /// Which of its keys is taken: fill-first, round-robin, least-used or random
    #[arg(long, value_name = "HOW", requires = "api")]
    strategy: Option<String>,
    /// Certificates (PEM) that its own is held against, in place of the host's
    #[arg(long, value_name = "FILE", requires = "api")]
    ca: Option<String>,
    /// Ask it before all others
    #[arg(long, requires = "api")]
    first: bool,
    /// Read no key
    #[arg(long)]
    no_key: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Api {
    Openai,
    Anthropic,
}

/// Which files.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// The configuration; without it the system's for root, else your own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The daemon's state, where the keys are
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(super) fn fallback(arguments: Fallback, screen: Screen) -> Exit {
    done(carry_out(arguments, screen), screen)
}

fn carry_out(arguments: Fallback, screen: Screen) -> Result<Exit, Trouble> {
    match arguments {
        Fallback::List { at } => {
            let models: Models = at.connect(Socket::Operator)?.ask("model/list", &Nothing {})?;
            Ok(at.say(&models, lines, screen))
        }
        Fallback::Add(add) => add.carry_out(screen),
        Fallback::Remove { files, at, name } => {
            let (files, uid) = files.find()?;
            remove_provider(&files, &name, uid).map_err(|error| error.to_string())?;
            reread(&at, screen)
        }
        Fallback::Test { at, name } => test(&at, name, screen),
    }
}

impl Files {
    fn find(self) -> Result<(ModelFiles, u32), Trouble> {
        let local = Local::look(self.state).map_err(|error| error.to_string())?;
        let config = self.config.map(|path| std::path::absolute(&path).unwrap_or(path));
        Ok((ModelFiles::find(config, &local.directories), local.principal.uid))
    }
}

impl Add {
    fn carry_out(self, screen: Screen) -> Result<Exit, Trouble> {
        let api = self.api.map(|api| match api {
            Api::Openai => "openai".to_owned(),
            Api::Anthropic => "anthropic".to_owned(),
        });
        let settings = [
            ("api", api),
            ("base_url", self.base_url),
            ("model", self.model),
            ("strategy", self.strategy),
            ("ca", self.ca),
        ];
        let settings = settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let provider = NewProvider { name: self.name, settings, first: self.first };
        if self.no_key && provider.settings.is_empty() {
            return Err("nothing to add: say what the provider is with --api, or give a key"
                .to_owned()
                .into());
        }
        let key = if self.no_key { None } else { Some(read_key(screen)?) };
        let (files, uid) = self.files.find()?;
        add_provider(&files, &provider, key.as_ref(), uid).map_err(|error| error.to_string())?;
        reread(&self.at, screen)
    }
}

/// One line from standard input.
fn read_key(screen: Screen) -> Result<Key, String> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        screen.note("the key, and Enter (it is shown as you type; a file or a password manager can be piped in instead)");
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_KEYS).unwrap_or(0)));
    let read = if stdin.is_terminal() {
        stdin.read_line(&mut text).map(drop)
    } else {
        (&mut stdin).take(MAX_KEYS).read_to_string(&mut text).map(drop)
    };
    read.map_err(|error| format!("the key on standard input: {error}"))?;
    let key = Zeroizing::new(text.trim().to_owned());
    if key.is_empty() { Err("no key on standard input".to_owned()) } else { Ok(Key::from(key)) }
}

/// Has a daemon that runs take what was changed.
fn reread(at: &At, screen: Screen) -> Result<Exit, Trouble> {
    match at.connect(Socket::Operator) {
        Ok(mut client) => {
            let _: Policy = client.ask("policy/reload", &Nothing {})?;
            screen.note("the daemon has taken it");
            Ok(Exit::SUCCESS)
        }
        Err(ClientError::NoDaemon(_)) => {
            screen.note("a daemon takes it when it starts");
            Ok(Exit::SUCCESS)
        }
        Err(error) => Err(error.into()),
    }
}

fn test(at: &At, name: Option<String>, screen: Screen) -> Result<Exit, Trouble> {
    let mut client = at.connect(Socket::Operator)?;
    let models: Models = client.ask("model/list", &Nothing {})?;
    let chosen = |one: &ModelProvider| name.as_ref().is_none_or(|name| *name == one.provider);
    let names: Vec<String> = match &name {
        Some(name) if !models.providers.iter().any(chosen) => vec![name.clone()],
        _ => models.providers.iter().filter(|one| chosen(one)).map(|one| one.provider.clone()).collect(),
    };
    if names.is_empty() {
        screen.note("there is no provider: `execward fallback add` adds one");
    }
    let mut all_serve = !names.is_empty();
    for name in names {
        let tested = client.call(&TestModel { provider: words(name.clone())? })?;
        all_serve &= tested.keys.iter().any(|key| key.served);
        let printed = at.say(&tested, |tested| tested_lines(&name, tested), screen);
        if printed != Exit::SUCCESS {
            return Ok(printed);
        }
    }
    Ok(if all_serve { Exit::SUCCESS } else { Exit::NO })
}

fn tested_lines(name: &str, tested: &ModelTested) -> String {
    let name = shown(name);
    if tested.keys.is_empty() {
        return format!("{name}  no key\n");
    }
    let mut out = String::new();
    for key in &tested.keys {
        let said = match (key.ms, &key.why) {
            (Some(ms), _) => format!("served in {ms} ms"),
            (None, why) => shown(why.as_deref().unwrap_or("no answer")),
        };
        out += &format!("{name}  key {}  {said}\n", shown(&key.key));
    }
    out
}

fn lines(models: &Models) -> String {
    if models.providers.is_empty() {
        return "no provider: in mode smart a person is asked\n".to_owned();
    }
    models.providers.iter().enumerate().map(|(index, one)| line(index + 1, one)).collect()
}

fn line(number: usize, one: &ModelProvider) -> String {
    let ModelProvider { provider, model, host, keys_well, keys_resting, keys_dead, .. } = one;
    let state = if one.well { "well" } else { "not asked" };
    let until = one.until.as_ref().map(|until| format!(" until {}", shown(until))).unwrap_or_default();
    let why = one.why.as_ref().map(|why| format!(": {}", shown(why))).unwrap_or_default();
    let (provider, model, host) = (shown(provider), shown(model), shown(host));
    let keys = format!("{keys_well} keys ({keys_resting} resting, {keys_dead} dead)");
    format!("{number}. {provider}  {model}  {host}  {keys}  {state}{until}{why}\n")
}
