//! Signatures as signify(1) makes them: a line of comment, then base64 of `Ed`, the number of the key, and an Ed25519 key or
//! signature over the bytes of the file. The number only names the key; it proves nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

const ALGORITHM: &[u8] = b"Ed";

/// A key that is trusted.
#[derive(Debug, Clone)]
pub(super) struct Key {
    number: [u8; 8],
    key: VerifyingKey,
}

/// The keys of a file: one after the other, comments between them.
pub(super) fn keys(text: &str) -> Result<Vec<Key>, String> {
    let mut found = Vec::new();
    for (index, line) in lines(text) {
        let wrong = |what: &str| format!("line {}: {what}", index + 1);
        let (number, rest) = parts(line).ok_or_else(|| wrong("no key as signify(1) writes it"))?;
        let bytes = <[u8; 32]>::try_from(rest.as_slice())
            .map_err(|_| wrong("no public key: it has another length"))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| wrong("no Ed25519 key"))?;
        found.push(Key { number, key });
    }
    Ok(found)
}

/// Which of the keys has signed these bytes, as text.
pub(super) fn verify(bytes: &[u8], signature: &str, keys: &[Key]) -> Result<String, &'static str> {
    let (_, line) = lines(signature).next().ok_or("the file of the signature is empty")?;
    let (number, rest) = parts(line).ok_or("the signature is none as signify(1) writes it")?;
    let rest =
        <[u8; 64]>::try_from(rest.as_slice()).map_err(|_| "the signature has another length than one has")?;
    let signature = Signature::from_bytes(&rest);
    let mut named = keys.iter().filter(|key| key.number == number).peekable();
    if named.peek().is_none() {
        return Err("the signature is of a key that is not trusted here");
    }
    let signer = named.find(|key| key.key.verify_strict(bytes, &signature).is_ok());
    signer
        .map(|key| super::bring::hex(&key.number))
        .ok_or("the signature does not fit: this is not what was signed")
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let told =
        |line: &str| !line.is_empty() && !line.starts_with("untrusted comment:") && !line.starts_with('#');
    text.lines().map(str::trim).enumerate().filter(move |(_, line)| told(line))
}

fn parts(line: &str) -> Option<([u8; 8], Vec<u8>)> {
    let bytes = STANDARD.decode(line).ok()?;
    let (number, rest) = bytes.strip_prefix(ALGORITHM)?.split_first_chunk::<8>()?;
    Some((*number, rest.to_vec()))
}
