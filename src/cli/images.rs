//! `execward images`: which images the engine has, whether commands may run in them, and how execward's own are made.

use std::fmt::Write as _;
use std::io;
use std::process::{Command, ExitStatus};

use clap::{Subcommand, ValueEnum};
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
    /// Make execward's own images, of Debian's packages (as root, by debootstrap) or from a registry
    Build {
        /// Which
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<Own>,
        /// From an image of Debian's in a registry, by `docker build`
        #[arg(long, conflicts_with = "mirror")]
        registry: bool,
        /// Where packages come from: of a snapshot, the same image comes out each time
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}

/// The images that execward comes with.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Own {
    /// Debian with git, curl, ripgrep and python3
    Base,
    /// The same with compilers, make, node and npm
    Build,
    /// A static busybox, and nothing else
    Minimal,
}

/// What makes them, as it lies in `images/`: the binary needs no copy of its sources beside it.
const RECIPES: [(&str, &str); 6] = [
    ("build", include_str!("../../images/build")),
    ("base.packages", include_str!("../../images/base.packages")),
    ("build.packages", include_str!("../../images/build.packages")),
    ("base.Dockerfile", include_str!("../../images/base.Dockerfile")),
    ("build.Dockerfile", include_str!("../../images/build.Dockerfile")),
    ("minimal.Dockerfile", include_str!("../../images/minimal.Dockerfile")),
];

/// An image as it is listed.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    permitted: bool,
    #[serde(flatten)]
    image: &'a Image,
}

pub(super) fn images(arguments: &Images, screen: Screen) -> Exit {
    match arguments {
        Images::List { json } => ask(screen, async |engine, policy| {
            let images = engine.images().await?;
            Ok(print(screen, &list(&images, policy, *json), Exit::SUCCESS))
        }),
        Images::Check { image: name } => ask(screen, async |engine, policy| {
            let image = engine.image(name).await?;
            if !may(policy, name, &image) {
                return Err(DockerError::Image(name.clone()));
            }
            Ok(print(screen, &format!("{name}: {}\n", image.id), Exit::SUCCESS))
        }),
        Images::Build { images, registry, mirror } => match build(images, *registry, mirror.as_deref()) {
            Ok(status) if status.success() => Exit::SUCCESS,
            // The recipe has said why.
            Ok(_) => Exit::NO,
            Err(error) => {
                let hint = "it needs bash, and a directory for temporary files";
                failed(screen, &format!("cannot start the recipe of the images: {error}"), hint)
            }
        },
    }
}

/// Asks the engine of this machine something about its images.
fn ask(screen: Screen, question: impl AsyncFn(&Engine, &Policy) -> Result<Exit, DockerError>) -> Exit {
    let local = match Local::look(None) {
        Ok(local) => local,
        Err(error) => return failed(screen, &error, error.hint()),
    };
    let policy = match load_policy(None, &local.directories, local.principal.uid) {
        Ok(policy) => policy,
        Err(error) => return failed(screen, &error, &error.hint()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(screen, &error, ""),
    };
    let engine = Engine::new(Options::local(&local.directories.containers()));
    match runtime.block_on(question(&engine, &policy)) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = failed(screen, &error, &error.hint());
            let is_no =
                matches!(error, DockerError::NoImage(_) | DockerError::Image(_) | DockerError::BadImage(_));
            if is_no { Exit::NO } else { exit }
        }
    }
}

fn failed(screen: Screen, error: &dyn std::fmt::Display, hint: &str) -> Exit {
    screen.error(error);
    screen.hint(hint);
    Exit::USAGE
}

/// Runs the recipe; what it says goes where this process's output goes.
fn build(images: &[Own], registry: bool, mirror: Option<&str>) -> io::Result<ExitStatus> {
    let directory = tempfile::Builder::new().prefix("execward-images-").tempdir()?;
    for (name, content) in RECIPES {
        std::fs::write(directory.path().join(name), content)?;
    }
    let mut recipe = Command::new("bash");
    recipe.arg(directory.path().join("build"));
    if registry {
        recipe.arg("--registry");
    }
    recipe.args(mirror.into_iter().flat_map(|mirror| ["--mirror", mirror]));
    let names = images.iter().filter_map(Own::to_possible_value);
    recipe.args(names.map(|name| name.get_name().to_owned())).status()
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
