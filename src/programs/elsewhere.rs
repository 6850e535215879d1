//! Effects of what runs in another directory than its starter does: `make -C DIR`, `os.chdir(DIR)`, `parallel --wd DIR`.

use super::effect::{Effect, Language, Target};
use super::words;
use crate::shell::{Piece, Value};

/// Has effects happen in a directory: what they name relative to where they run is below it. One that is not known is passed
/// over, and leaves them where they are.
pub(super) fn happen_in(directory: &Value, effects: &mut [Effect]) {
    let Some(known) = directory.as_known().filter(|known| !known.is_empty() && !known.contains(&b'\''))
    else {
        return;
    };
    for effect in effects {
        match effect {
            Effect::Exec { cwd, .. } => {
                *cwd = Some(cwd.take().map_or_else(|| directory.clone(), |inner| below(directory, &inner)));
            }
            Effect::Script {
                language: Language::Shell(_),
                text,
                target: Target::Here | Target::User(_),
                ..
            } => {
                let enter = Value::known([b"cd -- '", known, b"'\n"].concat());
                *text = words::concat(&[&enter, text]);
            }
            Effect::Delete { path, .. }
            | Effect::Write { path, .. }
            | Effect::Read { path }
            | Effect::Metadata { path, .. }
            | Effect::RunFile { path, .. } => *path = below(directory, path),
            _ => {}
        }
    }
}

/// A path seen from a directory, where it is relative.
pub(super) fn below(directory: &Value, path: &Value) -> Value {
    match path.pieces.first() {
        None | Some(Piece::Unknown(_)) => path.clone(),
        Some(Piece::Known(bytes)) if matches!(bytes.first(), Some(b'/' | b'~')) => path.clone(),
        _ => words::in_directory(directory, path),
    }
}
