//! Whether a request is one command and nothing else, word for word as it stands.

use super::start::Start;
use super::{Command, Facts, reader};
use crate::shell::{self, Budget, Input, Origin, Value};

/// What means something to a shell beyond a word: in text with any of it, what runs is more than what stands there.
const SPECIAL: &str = "$`\\|&;<>(){}*?[~!#%^";

/// The words of a request that is one simple command: an argv, or text of plain and quoted words. Nothing in it is expanded,
/// redirected, assigned, or runs beside it. Two readings must agree, the shell's and that of the words.
pub(super) fn alone(command: &Command, facts: &Facts) -> Option<Vec<String>> {
    let text = match command {
        Command::Argv(argv) => return (!argv.is_empty()).then(|| argv.clone()),
        Command::Shell(text) => text,
    };
    if text.contains(|c: char| SPECIAL.contains(c) || c.is_control()) {
        return None;
    }
    let words = shell_words::split(text).ok().filter(|words| !words.is_empty())?;
    let context = reader::of_request(facts, &Start::of(facts).cwd);
    let evaluation = shell::read(text, None, &context, &mut Budget::default()).ok()?;
    let [only] = evaluation.invocations.as_slice() else { return None };
    let plain = only.origin == Origin::Plain
        && !only.background
        && only.stdin == Input::Inherited
        && only.assignments.is_empty()
        && only.exported.is_empty()
        && only.redirects.is_empty()
        && only.files.is_empty()
        && evaluation.oddities.is_empty()
        && evaluation.written.is_empty();
    let same = only.argv.iter().map(Value::as_str).eq(words.iter().map(|word| Some(word.as_str())));
    (plain && same).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        alone(&Command::Shell(text.to_owned()), &crate::gate::tests::facts())
    }

    #[test]
    fn one_command_of_plain_words_is_alone() {
        assert_eq!(words("deploy --to prod").unwrap(), ["deploy", "--to", "prod"]);
        assert_eq!(words(" deploy 'a b' \"c d\" e=f ").unwrap(), ["deploy", "a b", "c d", "e=f"]);
    }

    #[test]
    fn whatever_runs_beside_it_or_changes_it_is_not() {
        for text in [
            "deploy; env",
            "deploy && env",
            "deploy | cat",
            "deploy & env",
            "deploy &",
            "deploy > out",
            "deploy < in",
            "deploy <<< x",
            "deploy\nenv",
            "deploy $(env)",
            "deploy `env`",
            "deploy $DEPLOY_TOKEN",
            "deploy \"$DEPLOY_TOKEN\"",
            "deploy *",
            "deploy ~/x",
            "deploy {a,b}",
            "A=b deploy",
            "PATH=/tmp deploy",
            "(deploy)",
            "{ deploy; }",
            "! deploy",
            "if deploy",
            "while deploy",
            "deploy # x",
            "deploy \\\nx",
            "deploy() { env; }",
            "deploy 'x",
            "deploy\u{85}env",
            "",
            " ",
        ] {
            assert_eq!(words(text), None, "{text}");
        }
    }
}
