//! Where a result goes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a result goes. It is kept with what waits for it, so that a job that is changed or gone loses nothing; secrets are in
/// files of their own and are read when they are needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A file to which a line of JSON is added.
    File(PathBuf),
    /// A command that gets a line of JSON on standard input, and says with its exit status whether it took it.
    Command {
        /// A program and its arguments.
        argv: Vec<String>,
        /// The directory that it may change.
        directory: PathBuf,
        /// The profile of the policy that it runs under.
        profile: Option<String>,
    },
    /// A POST.
    Webhook(Hook),
    /// The operators' own list.
    Queue,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Where to.
    pub url: Place,
    /// In which words.
    pub template: Template,
    /// Telegram's name of the chat.
    pub chat: Option<String>,
    /// A file with the key that signs it.
    pub secret_file: Option<PathBuf>,
    /// Certificates (PEM) that the server's is held against, in place of the host's.
    pub ca: Option<PathBuf>,
}

/// A URL, or the file that has it: for most services whoever knows the URL may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// As it is.
    Url(String),
    /// In a file.
    File(PathBuf),
}

/// In which words a webhook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Template {
    /// execward's own: everything, as JSON.
    #[default]
    Json,
    /// An incoming webhook of Slack.
    Slack,
    /// A webhook of Discord.
    Discord,
    /// `sendMessage` of Telegram's bots.
    Telegram,
}

/// A target, and what it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// Where to.
    pub target: Target,
    /// What of.
    pub when: When,
}

/// What a target is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Every result.
    #[default]
    Always,
    /// What is not `ok`.
    Failure,
}

impl Target {
    /// For a list, on one line, without what must stay secret.
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("file {}", path.display()),
            Self::Command { argv, .. } => format!("command {}", argv.first().map_or("", String::as_str)),
            Self::Webhook(Hook { url: Place::Url(url), .. }) => format!("webhook {}", host(url)),
            Self::Webhook(Hook { url: Place::File(path), .. }) => format!("webhook of {}", path.display()),
            Self::Queue => "queue".to_owned(),
        }
    }
}

/// The host of a URL: what stands behind it is often a secret.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let hook = |url: &str| {
            let url = Place::Url(url.to_owned());
            Target::Webhook(Hook { url, template: Template::Slack, chat: None, secret_file: None, ca: None })
                .shown()
        };
        assert_eq!(hook("https://hooks.slack.com/services/T/B/secret"), "webhook hooks.slack.com");
        assert_eq!(hook("https://user:pass@example.com:8443?token=x"), "webhook example.com:8443");
    }
}
