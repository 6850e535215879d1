//! Changes of `execward.toml` and of the file of keys, as `execward fallback` makes them: comments and order stay, and what would
//! not be read again is not written.

use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};
use zeroize::Zeroizing;

use super::config::{Config, ConfigError};
use super::form;
use super::models::ModelFiles;
use crate::http::{Key, Keys, KeysError};
use crate::private;
use crate::supervisor::policy_file::{self, PolicyFileError};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The configuration cannot be read, or would not be read any more.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file of keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// There is no such provider, or there is one already, or its key is none.
    #[error("{0}")]
    Wrong(String),
    /// A file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// A provider as the command line names it.
#[derive(Debug, Clone, Default)]
pub struct NewProvider {
    /// Its name.
    pub name: String,
    /// Settings of its table, as TOML has them.
    pub settings: Vec<(&'static str, String)>,
    /// In front of all others.
    pub first: bool,
}

/// Adds a provider, with a key where one is given. One that is there already only gets the key.
///
/// # Errors
/// When it is not written; then neither file has changed, or the key is there and the provider is not.
pub fn add_provider(
    files: &ModelFiles,
    provider: &NewProvider,
    key: Option<&Key>,
    uid: u32,
) -> Result<(), EditError> {
    let mut document = config(files, uid)?;
    let known = position(&mut document, &provider.name)?.is_some();
    if known && !provider.settings.is_empty() {
        let why =
            format!("there is a provider `{}` already: remove it first, or give only a key", provider.name);
        return Err(EditError::Wrong(why));
    }
    if !known {
        let mut table = Table::new();
        table.insert("name", value(&provider.name));
        for (name, setting) in &provider.settings {
            table.insert(name, value(setting));
        }
        insert(providers(&mut document)?, table, provider.first);
    }
    let text = document.to_string();
    Config::parse(&files.config, &text)?;
    if let Some(key) = key {
        if !key.is_sound() {
            return Err(EditError::Wrong(
                "a key has 8 to 4096 printable characters and no blanks".to_owned(),
            ));
        }
        change_keys(files, uid, |models| {
            let keys = models.entry(&provider.name).or_insert_with(|| value(Array::new()));
            if let Some(keys) = keys.as_array_mut()
                && !keys.iter().any(|known| known.as_str() == Some(key.expose()))
            {
                keys.push(key.expose());
            }
        })?;
    }
    if known { Ok(()) } else { put(&files.config, &text) }
}

/// Takes a provider out, and its keys.
///
/// # Errors
/// When there is none of the name, or a file is not written.
pub fn remove_provider(files: &ModelFiles, name: &str, uid: u32) -> Result<(), EditError> {
    let mut document = config(files, uid)?;
    let Some(index) = position(&mut document, name)? else {
        return Err(EditError::Wrong(format!("there is no provider `{}`", name.escape_default())));
    };
    providers(&mut document)?.remove(index);
    let text = document.to_string();
    Config::parse(&files.config, &text)?;
    put(&files.config, &text)?;
    change_keys(files, uid, |models| drop(models.remove(name)))
}

fn config(files: &ModelFiles, uid: u32) -> Result<DocumentMut, EditError> {
    let text = match policy_file::read(&files.config, uid) {
        Ok(text) => text,
        Err(PolicyFileError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(ConfigError::File(error).into()),
    };
    Config::parse(&files.config, &text)?;
    // What is added is of this form, and so is the rest.
    let (text, _) = form::current(&files.config, &text)?;
    text.parse().map_err(|error: toml_edit::TomlError| EditError::Wrong(error.to_string()))
}

fn providers(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, EditError> {
    let models = document.entry("models").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let list = models
        .as_table_mut()
        .map(|models| models.entry("provider").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())));
    let inline = || {
        EditError::Wrong("the providers are not written as [[models.provider]]: change them by hand".into())
    };
    list.and_then(Item::as_array_of_tables_mut).ok_or_else(inline)
}

fn position(document: &mut DocumentMut, name: &str) -> Result<Option<usize>, EditError> {
    let mut all = providers(document)?.iter();
    Ok(all.position(|one| one.get("name").and_then(Item::as_str) == Some(name)))
}

fn insert(list: &mut ArrayOfTables, table: Table, first: bool) {
    if !first || list.is_empty() {
        return list.push(table);
    }
    // Tables know where they stood in the file: one that comes first takes the place of the one that did.
    let mut all: Vec<Table> = std::mem::take(list).into_iter().collect();
    let places: Vec<Option<isize>> = all.iter().map(Table::position).collect();
    all.insert(0, table);
    for (table, place) in all.iter_mut().zip(places.into_iter().chain([None])) {
        table.set_position(place);
    }
    *list = all.into_iter().collect();
}

fn change_keys(files: &ModelFiles, uid: u32, change: impl FnOnce(&mut Table)) -> Result<(), EditError> {
    // Refused where it would not be used.
    Keys::read(&files.keys, uid)?;
    let text = Keys::text(&files.keys, uid)?.unwrap_or_default();
    let unreadable =
        || EditError::Wrong("the file of keys is not written in tables: change it by hand".to_owned());
    let mut document: DocumentMut = text.parse().map_err(|_| unreadable())?;
    let models = document.entry("models").or_insert_with(|| Item::Table(Table::new()));
    change(models.as_table_mut().ok_or_else(unreadable)?);
    let text = Zeroizing::new(document.to_string());
    private::replace(&files.keys, text.as_bytes())
        .map_err(|error| EditError::Write { path: files.keys.clone(), error })
}

/// Replaces the configuration.
fn put(path: &Path, text: &str) -> Result<(), EditError> {
    form::put(path, text, 0o644).map_err(|error| EditError::Write { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn new(name: &str, first: bool) -> NewProvider {
        let settings = [("api", "openai"), ("base_url", "https://h/v1"), ("model", "m")];
        let settings = settings.map(|(name, value)| (name, value.to_owned())).to_vec();
        NewProvider { name: name.to_owned(), settings, first }
    }

    #[test]
    fn comments_stay_and_what_is_wrong_is_not_written() {
        // As for a policy: nobody else may be able to write above it.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let uid = nix::unistd::geteuid().as_raw();
        let path = |name: &str| directory.path().join(name);
        let files = ModelFiles { config: path("execward.toml"), keys: path("state/keys.toml") };
        let read = |path: &Path| fs::read_to_string(path).expect("it is there");
        fs::write(&files.config, "# mine\n[limits]\nsessions = 3 # few\n").expect("written");
        let key = |text: &str| Key::from(Zeroizing::new(text.to_owned()));
        add_provider(&files, &new("a", false), Some(&key("sk-secret-1")), uid).expect("added");
        add_provider(&files, &new("b", false), None, uid).expect("added");
        add_provider(&files, &new("c", true), None, uid).expect("added");
        let text = read(&files.config);
        assert!(text.starts_with("# mine\n[limits]\nsessions = 3 # few\n"), "{text}");
        let names = |text: &str| -> Vec<String> {
            let config = Config::parse(&files.config, text).expect("it reads");
            config.models.provider.into_iter().map(|provider| provider.name).collect()
        };
        assert_eq!(names(&text), ["c", "a", "b"]);
        assert!(!text.contains("secret"));
        // A second key for one that is there.
        let only = NewProvider { name: "a".into(), ..NewProvider::default() };
        for _ in 0..2 {
            add_provider(&files, &only, Some(&key("sk-secret-2")), uid).expect("added");
        }
        let keys = Keys::read(&files.keys, uid).expect("keys");
        assert_eq!(keys.of_model("a").len(), 2);
        assert_eq!(fs::metadata(&files.keys).expect("it is there").mode() & 0o777, 0o600);
        // What is wrong changes nothing.
        let before = (read(&files.config), read(&files.keys));
        let mut plain = new("d", false);
        plain.settings[1].1 = "http://h/v1".into();
        let wrong =
            [(plain, None), (new("a", false), None), (new("d e", false), None), (only, Some("blank in it"))];
        for (provider, text) in wrong {
            let error = add_provider(&files, &provider, text.map(key).as_ref(), uid).expect_err("refused");
            assert!(!error.to_string().contains("blank in it"), "{error}");
        }
        assert!(remove_provider(&files, "z", uid).is_err());
        assert_eq!((read(&files.config), read(&files.keys)), before);
        remove_provider(&files, "a", uid).expect("removed");
        assert_eq!(names(&read(&files.config)), ["c", "b"]);
        assert!(!read(&files.keys).contains("secret"));
    }
}
