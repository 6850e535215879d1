//! `execward images`: which images the engine has, and whether commands may run in them.

use std::fmt::Write as _;

use clap::Subcommand;
use serde::Serialize;

use super::exit::Exit;
use super::screen::{Screen, print};
use crate::policy::{BackendName, Policy};
use crate::sandbox::docker::{DockerError, Engine, Image, Options, permitted};
use crate::supervisor::{Local, load_policy};

/// Images of containers.
#[derive(Debug, Subcommand)]
pub(super) enum Images {
    /// List the images that the engine has, and say which of them the policy permits
    List {
        /// Print one JSON object for each
        #[arg(long)]
        json: bool,
    },
    /// Say whether commands can run in an image: it is here, and the policy permits it
    Check {
        /// Its name
        #[arg(value_name = "NAME")]
        image: String,
    },
}

/// An image as it is listed.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    permitted: bool,
    #[serde(flatten)]
    image: &'a Image,
}

pub(super) fn images(arguments: &Images, screen: Screen) -> Exit {
    let failed = |error: &dyn std::fmt::Display, hint: &str| {
        screen.error(error);
        screen.hint(hint);
        Exit::USAGE
    };
    let local = match Local::look(None) {
        Ok(local) => local,
        Err(error) => return failed(&error, error.hint()),
    };
    let policy = match load_policy(None, &local.directories, local.principal.uid) {
        Ok(policy) => policy,
        Err(error) => return failed(&error, &error.hint()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, ""),
    };
    let engine = Engine::new(Options::local(&local.directories.containers()));
    match arguments {
        Images::List { json } => match runtime.block_on(engine.images()) {
            Ok(images) => print(screen, &list(&images, &policy, *json), Exit::SUCCESS),
            Err(error) => failed(&error, &error.hint()),
        },
        Images::Check { image: name } => {
            let checked = runtime.block_on(engine.image(name)).and_then(|image| {
                if may(&policy, name, &image) { Ok(image) } else { Err(DockerError::Image(name.clone())) }
            });
            match checked {
                Ok(image) => print(screen, &format!("{name}: {}\n", image.id), Exit::SUCCESS),
                Err(error @ (DockerError::NoImage(_) | DockerError::Image(_) | DockerError::BadImage(_))) => {
                    failed(&error, &error.hint());
                    Exit::NO
                }
                Err(error) => failed(&error, &error.hint()),
            }
        }
    }
}

/// Whether a requester may ask for this image by this name.
fn may(policy: &Policy, name: &str, image: &Image) -> bool {
    policy.choice.backends.contains(&BackendName::Docker)
        && policy.choice.images.iter().all(|list| permitted(list, name, image))
}

fn list(images: &[Image], policy: &Policy, json: bool) -> String {
    let mut text = String::new();
    for image in images {
        let permitted = image.names.iter().any(|name| may(policy, name, image));
        if json {
            let listed = Listed { permitted, image };
            let _ = writeln!(text, "{}", serde_json::to_string(&listed).unwrap_or_default());
        } else {
            let may = if permitted { "permitted" } else { "-" };
            let id = image.id.trim_start_matches("sha256:").get(..12).unwrap_or_default();
            let names = if image.names.is_empty() { "(no name)".to_owned() } else { image.names.join(" ") };
            let _ = writeln!(text, "{id}  {:>6} MB  {may:<9}  {names}", image.size / 1_000_000);
        }
    }
    text
}
