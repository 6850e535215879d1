//! The command of a launcher: words with places in them that execward fills.
//!
//! A place is filled inside its word, and never becomes another word. What fills it is execward's own, but for the
//! workspace, which is of plain characters.

use std::path::Path;

use crate::sandbox::image::Image;

/// How the runner gets to where the command leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Runner {
    /// It is sent over the stream, once for each place and version.
    #[default]
    Sent,
    /// It is there: the command itself starts it.
    There(String),
}

/// A command with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    words: Vec<String>,
    runner: Runner,
}

/// Why a template is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// No word.
    #[error("a launcher needs a `preset`, or a `command` of one word at least")]
    Empty,
    /// A place that there is not.
    #[error(
        "`{{{0}}}` stands for nothing: there are {{script}}, {{remote}}, {{runner}}, {{binary}}, {{name}}, {{workspace}}, {{memory}} and {{processes}}"
    )]
    Place(String),
    /// The binary is sent, and nobody is told to take it; or the other way round.
    #[error(
        "the command must have {{script}} or {{remote}} in it, so that something takes the runner there, or `runner` must name it"
    )]
    NotTaken,
}

/// What fills the places.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    pub(super) image: &'a Image,
    /// A path of the binary on this machine.
    pub(super) binary: &'a Path,
    pub(super) name: &'a str,
    pub(super) workspace: &'a str,
    /// In MiB.
    pub(super) memory: u64,
    pub(super) processes: u64,
}

const PLACES: [&str; 9] =
    ["script", "scriptjson", "remote", "runner", "binary", "name", "workspace", "memory", "processes"];

impl Template {
    /// A command. `runner` is the path of an execward that is there already.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn new(words: Vec<String>, runner: Option<String>) -> Result<Self, TemplateError> {
        if words.first().is_none_or(String::is_empty) {
            return Err(TemplateError::Empty);
        }
        let mut takes = runner.is_some();
        for word in &words {
            for place in places(word) {
                if !PLACES.contains(&place) {
                    return Err(TemplateError::Place(place.to_owned()));
                }
                takes |= matches!(place, "script" | "scriptjson" | "remote" | "binary");
            }
        }
        if !takes {
            return Err(TemplateError::NotTaken);
        }
        Ok(Self { words, runner: runner.map_or(Runner::Sent, Runner::There) })
    }

    /// Whether the shell there has to be told whether the binary is sent.
    pub(super) fn sends(&self) -> bool {
        let asks =
            |word: &String| places(word).any(|place| matches!(place, "script" | "scriptjson" | "remote"));
        self.runner == Runner::Sent && self.words.iter().any(asks)
    }

    /// Whether a path of the binary on this machine is in it.
    pub(super) fn mounts(&self) -> bool {
        self.words.iter().any(|word| places(word).any(|place| place == "binary"))
    }

    /// The words.
    pub(super) fn fill(&self, with: &Filling<'_>) -> Vec<String> {
        let script = match &self.runner {
            Runner::Sent => script(with.image),
            Runner::There(path) => format!("exec {} runner stdio", shell_words::quote(path)),
        };
        let runner = match &self.runner {
            Runner::Sent => String::new(),
            Runner::There(path) => path.clone(),
        };
        let fill = |place: &str| match place {
            "remote" => format!("exec /bin/sh -c {}", shell_words::quote(&script)),
            "script" => script.clone(),
            // Within the quotes of a JSON string.
            "scriptjson" => {
                let quoted = serde_json::Value::from(script.as_str()).to_string();
                quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
            }
            "runner" => runner.clone(),
            "binary" => with.binary.to_string_lossy().into_owned(),
            "name" => with.name.to_owned(),
            "workspace" => with.workspace.to_owned(),
            "memory" => with.memory.to_string(),
            "processes" => with.processes.to_string(),
            _ => String::new(),
        };
        self.words.iter().map(|word| filled(word, fill)).collect()
    }
}

/// The names in braces. Braces around anything but lower-case letters are what they are: JSON has some.
fn places(word: &str) -> impl Iterator<Item = &str> {
    word.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())).then_some(name)
    })
}

/// In one pass: what fills a place is not looked at again.
fn filled(word: &str, fill: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    for (at, part) in word.split('{').enumerate() {
        match part.split_once('}').filter(|(name, _)| at > 0 && PLACES.contains(name)) {
            Some((name, rest)) => {
                out.push_str(&fill(name));
                out.push_str(rest);
            }
            None => {
                if at > 0 {
                    out.push('{');
                }
                out.push_str(part);
            }
        }
    }
    out
}

/// What a shell there does: looks whether it has this very binary, takes it off standard input where it has not, and
/// becomes it. It waits for a word before it says anything, and is answered before it reads more, so that nothing is lost
/// where the stream is attached late, and nothing is read that is the runner's. Without a quote, an exclamation mark or a
/// line break: whichever shell reads it around it leaves it as it is.
fn script(image: &Image) -> String {
    let (digest, size) = (&image.digest, image.size);
    format!(
        "umask 077; read -r go || exit 1; f() {{ echo \"execward fail $1\"; exit 1; }}; d=$HOME; \
         case $d in /?*) [ -w \"$d\" ] && d=$d/.cache/execward || d= ;; *) d= ;; esac; d=${{d:-/tmp/execward-$(id -u)}}; \
         mkdir -p \"$d\" 2>/dev/null; if [ -h \"$d\" ]; then f \"$d is a link\"; fi; [ -O \"$d\" ] || f \"$d is not ours\"; \
         chmod 700 \"$d\" || f \"$d cannot be made private\"; r=$d/runner-{digest}; \
         same() {{ s=$(sha256sum < \"$1\" 2>/dev/null) && [ \"${{s%% *}}\" = {digest} ]; }}; \
         if [ -f \"$r\" ] && same \"$r\"; then :; else t=$(mktemp \"$d/new-XXXXXX\") || f \"no room in $d\"; echo \"execward need\"; \
         head -c {size} > \"$t\" && same \"$t\" && chmod 500 \"$t\" && mv -f \"$t\" \"$r\" || {{ rm -f \"$t\"; f \"what came is not what was sent\"; }}; fi; \
         echo \"execward have\"; exec \"$r\" runner stdio"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[&str]) -> Vec<String> {
        all.iter().map(|word| (*word).to_owned()).collect()
    }

    fn image() -> Image {
        Image { digest: "ab".repeat(32), size: 42 }
    }

    fn fill(template: &Template) -> Vec<String> {
        template.fill(&Filling {
            image: &image(),
            binary: Path::new("/run/x"),
            name: "execward-1",
            workspace: "/w/{name}",
            memory: 512,
            processes: 7,
        })
    }

    #[test]
    fn places_are_filled_within_their_word_and_once() {
        let template = Template::new(
            words(&[
                "run",
                "--bind={workspace}:{workspace}",
                "{\"a\":{\"b\":1}}",
                "{name} {memory}M",
                "{binary}",
            ]),
            None,
        );
        let filled = fill(&template.unwrap());
        assert_eq!(
            filled,
            ["run", "--bind=/w/{name}:/w/{name}", "{\"a\":{\"b\":1}}", "execward-1 512M", "/run/x"]
        );
    }

    #[test]
    fn a_template_says_how_its_runner_comes() {
        assert_eq!(Template::new(Vec::new(), None), Err(TemplateError::Empty));
        assert_eq!(Template::new(words(&["ssh", "{host}"]), None), Err(TemplateError::Place("host".into())));
        assert_eq!(Template::new(words(&["ssh", "host"]), None), Err(TemplateError::NotTaken));
        let there =
            Template::new(words(&["ssh", "host", "{remote}"]), Some("/opt/it's/execward".into())).unwrap();
        assert!(!there.sends());
        let line = shell_words::split(&fill(&there)[2]).unwrap();
        assert_eq!(line[..3], ["exec", "/bin/sh", "-c"]);
        assert_eq!(shell_words::split(&line[3]).unwrap(), ["exec", "/opt/it's/execward", "runner", "stdio"]);
    }

    #[test]
    fn the_script_is_one_that_any_shell_passes_on() {
        let script = script(&image());
        assert!(!script.contains(['\'', '!', '\n', '`']), "{script}");
        assert!(script.contains(&"ab".repeat(32)));
    }
}
