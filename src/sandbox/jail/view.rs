//! What a jail shows of the host, from `policies/view.toml`.

use std::path::PathBuf;

use serde::Deserialize;

const DATA: &str = include_str!("../../../policies/view.toml");

/// The data file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ViewData {
    pub(super) system: System,
    pub(super) home: Home,
    pub(super) workspace: WorkspaceData,
}

/// Absolute paths.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct System {
    pub(super) visible: Vec<PathBuf>,
    pub(super) masked: Vec<PathBuf>,
}

/// Paths relative to a home.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Home {
    pub(super) visible: Vec<PathBuf>,
    pub(super) masked: Vec<PathBuf>,
    pub(super) stores: Vec<PathBuf>,
}

/// Paths relative to a workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkspaceData {
    pub(super) masked: Vec<PathBuf>,
    pub(super) frozen: Vec<PathBuf>,
    pub(super) nested: Vec<PathBuf>,
    pub(super) reported: Vec<PathBuf>,
    pub(super) settings: Vec<String>,
}

/// The shipped view.
pub(super) fn shipped() -> Result<ViewData, toml::de::Error> {
    toml::from_str(DATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_view_reads_and_keeps_to_its_kinds_of_path() {
        let data = shipped().unwrap();
        for path in data.system.visible.iter().chain(&data.system.masked) {
            assert!(path.is_absolute(), "{} must be absolute", path.display());
        }
        let Home { visible, masked, stores } = &data.home;
        let WorkspaceData { masked: hidden, frozen, nested, reported, settings } = &data.workspace;
        for setting in settings {
            assert_eq!(*setting, setting.to_lowercase(), "sections and names are compared in lower case");
            assert!(setting.contains('.'), "{setting} names no section");
        }
        for path in [frozen, nested, reported].into_iter().flatten() {
            assert_eq!(path.as_os_str().to_ascii_lowercase(), path.as_os_str(), "names are compared folded");
        }
        for path in [visible, masked, stores, hidden, frozen, nested, reported].into_iter().flatten() {
            assert!(path.is_relative(), "{} must be relative", path.display());
            assert!(!path.components().any(|part| part.as_os_str() == ".."), "{}", path.display());
        }
        // A store that is visible would be no secret.
        for store in stores {
            assert!(!visible.iter().any(|path| path.starts_with(store)), "{} is a store", store.display());
        }
    }
}
