//! Images: which there are, and which may be used.

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::ListImagesOptions;

use super::error::engine;
use super::{DockerError, Engine};

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// Of its configuration: `sha256:...`.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// What it is called in registries: `name@sha256:...`.
    pub digests: Vec<String>,
    /// Bytes.
    pub size: i64,
}

impl From<ImageInspect> for Image {
    fn from(image: ImageInspect) -> Self {
        Self {
            id: image.id.unwrap_or_default(),
            names: image.repo_tags.unwrap_or_default(),
            digests: image.repo_digests.unwrap_or_default(),
            size: image.size.unwrap_or_default(),
        }
    }
}

pub(super) async fn list(docker: &Docker, of: &Engine) -> Result<Vec<Image>, DockerError> {
    let listed = docker.list_images(None::<ListImagesOptions>).await;
    let listed = listed.map_err(engine(of.shown(), "list its images"))?;
    // What an engine of before version 25 calls one that has no name.
    let named = |names: Vec<String>| names.into_iter().filter(|name| !name.starts_with("<none>")).collect();
    let images = listed.into_iter().map(|image| Image {
        id: image.id,
        names: named(image.repo_tags),
        digests: named(image.repo_digests),
        size: image.size,
    });
    Ok(images.collect())
}

/// Looks at one; a name that is none does not reach the engine.
pub(super) async fn inspect(docker: &Docker, of: &Engine, name: &str) -> Result<ImageInspect, DockerError> {
    if !is_name(name) {
        return Err(DockerError::BadImage(name.to_owned()));
    }
    match docker.inspect_image(name).await {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
            Err(DockerError::NoImage(name.to_owned()))
        }
        other => other.map_err(engine(of.shown(), "look at an image")),
    }
}

/// Whether a text can be an image's name, with a tag or a digest: nothing that means something else in a path of the
/// engine's or on a command line.
pub fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-:@".contains(c))
    };
    name.len() <= 255 && name.split('/').all(part) && !name.contains("..")
}

/// Whether one of the permitted names is this image's: `name` is any of its tags, `name:tag` that one, and
/// `name@sha256:...` only what has this digest, or this id where it never was in a registry.
pub fn permitted(images: &[String], name: &str, image: &Image) -> bool {
    let (bare, tag) = split(name);
    images.iter().any(|pattern| match pattern.split_once('@') {
        Some((of, digest)) => {
            let has = |known: &String| known == pattern || known.ends_with(&format!("@{digest}"));
            of == bare && (image.id == digest || image.digests.iter().any(has))
        }
        None => {
            let (of, wanted) = split(pattern);
            of == bare && wanted.is_none_or(|wanted| Some(wanted) == tag)
        }
    })
}

/// The name without tag and digest, and the tag.
fn split(name: &str) -> (&str, Option<&str>) {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        // A port is followed by a path.
        Some((bare, tag)) if !tag.contains('/') => (bare, Some(tag)),
        _ => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        for good in ["debian", "debian:12", "execward/base", "r.example:5000/a/b:t", "a@sha256:00ff"] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["", "-v", "--privileged", "a b", "../a", "a/../b", "/a", "a/", "a?x=1", "a%2e", "a\n", "-v/:/h"]
        {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_is_held_to_the_image_and_not_to_the_name() {
        let image = Image {
            id: "sha256:aa".into(),
            names: vec!["x/y:1".into()],
            digests: vec!["x/y@sha256:bb".into()],
            size: 0,
        };
        let may = |pattern: &str, name: &str| permitted(&[pattern.to_owned()], name, &image);
        assert!(may("x/y", "x/y") && may("x/y", "x/y:1") && may("x/y:1", "x/y:1"));
        assert!(!may("x/y:2", "x/y:1") && !may("x/z", "x/y") && !may("x", "x/y"));
        assert!(may("x/y@sha256:aa", "x/y:1") && may("x/y@sha256:bb", "x/y"));
        assert!(!may("x/y@sha256:cc", "x/y@sha256:cc") && !may("x/z@sha256:aa", "x/y"));
    }
}
