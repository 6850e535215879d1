//! The configuration as it may be shown to others: no comment, no address beyond its host, nothing that looks like a secret.

use std::fs;
use std::io::Error;
use std::path::Path;

use regex::{Captures, Regex};

use super::take::{below, is_plain};
use super::{BackupError, Places, io};
use crate::programs::SecretNames;
use crate::redact::{Redactor, Rules};

/// What is put in the place of what is left out.
const GONE: &str = "...";

/// Every file of configuration, in one text.
///
/// # Errors
/// When one cannot be read, or is no TOML: what it holds is not known then.
pub fn share(places: &Places) -> Result<String, BackupError> {
    let mut text = String::from(
        "# The configuration of an execward, to be shown to others. Comments, what follows the host of an address, and what looks\n\
         # like a secret are left out. Names of users, programs and directories are in it.\n",
    );
    for (name, path) in below(&places.config)? {
        if !is_plain(&name) || path.starts_with(&places.state) {
            continue;
        }
        let read = fs::read_to_string(&path).map_err(io("read", &path))?;
        text.push_str(&format!("\n# ---- {name}\n\n{}", shared(&path, &read)?));
    }
    Ok(text)
}

fn shared(path: &Path, text: &str) -> Result<String, BackupError> {
    // The reader's own message quotes the line.
    let table: toml::Table = toml::from_str(text).map_err(|_| BackupError::Archive {
        path: path.to_owned(),
        what: "it is no TOML, and so it is not known what to leave out".to_owned(),
    })?;
    let mut value = toml::Value::Table(table);
    let url =
        Regex::new(r#"(?i)([a-z][a-z0-9+.-]*://)(?:[^/\s"'@]*@)?([^/\s"'?#;|&<>()]*)([^\s"';|&<>()]*)"#);
    scrub(&mut value, url.ok().as_ref());
    let text = toml::to_string(&value).map_err(|error| io("write", path)(Error::other(error)))?;
    Ok(Redactor::new(&Rules::builtin(), Vec::new()).text(&text).0)
}

/// Leaves out of every value what may be a secret.
fn scrub(value: &mut toml::Value, url: Option<&Regex>) {
    match value {
        toml::Value::String(text) => {
            let Some(url) = url else { return };
            let host = |found: &Captures<'_>| {
                let tail = if found[3].is_empty() { String::new() } else { format!("/{GONE}") };
                format!("{}{}{tail}", &found[1], &found[2])
            };
            *text = url.replace_all(text, host).into_owned();
        }
        toml::Value::Array(all) => all.iter_mut().for_each(|value| scrub(value, url)),
        toml::Value::Table(all) => {
            for (key, value) in all.iter_mut() {
                // A job's variables are given to what it runs: whatever they are called, they are nobody else's.
                // Of an address its host is shown.
                let is_address = key == "webhook" && value.is_str();
                if key == "env" || (is_secret(key) && !is_address && !are_names(key, value)) {
                    hide(value);
                } else {
                    scrub(value, url);
                }
            }
        }
        _ => {}
    }
}

/// Whether they are the variables that a policy passes, by name.
fn are_names(key: &str, value: &toml::Value) -> bool {
    let is_name = |value: &toml::Value| {
        let name = value.as_str().unwrap_or_default();
        !name.is_empty()
            && name.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || b"_*".contains(&it))
    };
    key == "pass" && value.as_array().is_some_and(|all| all.iter().all(is_name))
}

/// Hides every text and number in a value; names of variables stay.
fn hide(value: &mut toml::Value) {
    match value {
        toml::Value::Table(all) => all.iter_mut().for_each(|(_, value)| hide(value)),
        toml::Value::Array(all) => all.iter_mut().for_each(hide),
        toml::Value::Boolean(_) => {}
        other => *other = toml::Value::String(GONE.to_owned()),
    }
}

/// Whether what has this name is a secret, whatever it looks like; the name of a file with one is none.
fn is_secret(key: &str) -> bool {
    SecretNames::shipped().has(&key.replace('-', "_")) && !key.ends_with("_file") && !key.ends_with("_limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_a_secret_is_shared() {
        let shared = |text: &str| shared(Path::new("c"), text).expect("it is TOML");
        let all = shared(
            "# the comment-secret\n[notify]\nwebhook = \"https://me:word-secret@hooks.example.com/T/path-secret?x=q-secret\"\n\
             [jobs]\nfallback = { webhook = \"https://hooks.example.com/other-secret\", chat = \"1\" }\n\
             [environment]\nAPI_TOKEN = \"value-secret\"\nsecret_file = \"/etc/execward/hook\"\n\
             list = [\"curl https://h/list-secret\", \"ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z56\"]\n",
        );
        assert!(!all.contains("-secret") && !all.contains("ghp_aB3d") && !all.contains("word"), "{all}");
        assert!(all.contains("https://hooks.example.com/...") && all.contains("/etc/execward/hook"), "{all}");
        let job = shared(
            "command = { shell = \"curl https://h/x; curl -u admin:word-secret9 https://h\" }\n\
             [env]\nAUTH = \"one-secret\"\nPIN = 1234\n[other]\npass = \"two-secret\"\ntokens = [\"three-secret\"]\n",
        );
        assert!(!job.contains("-secret") && !job.contains("1234") && job.contains("AUTH"), "{job}");
        assert!(job.contains("https://h/...; curl"), "{job}");
        assert!(
            super::shared(Path::new("c"), "key = secret")
                .is_err_and(|error| { !error.to_string().contains("secret") })
        );
    }
}
