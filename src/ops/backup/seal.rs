//! Secrets under a passphrase: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) with a key that Argon2id makes (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// What a sealed text begins with: the name of the format and of its parameters.
const MAGIC: &[u8; 16] = b"execward-sealed1";

/// Bytes of the salt and of the nonce, which follow it.
const SALT: usize = 16;
const NONCE: usize = 24;

/// RFC 9106, section 4, the second recommended choice: 64 MiB, three passes, four lanes.
fn key(passphrase: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, String> {
    let params = Params::new(64 << 10, 3, 4, Some(32)).map_err(|error| error.to_string())?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|error| error.to_string())?;
    Ok(key)
}

/// Seals.
///
/// # Errors
/// A sentence: there are no random numbers.
pub(super) fn seal(passphrase: &str, plain: &[u8]) -> Result<Vec<u8>, String> {
    let mut head = [0; SALT + NONCE];
    getrandom::fill(&mut head).map_err(|error| format!("no random numbers: {error}"))?;
    let (salt, nonce) = head.split_at(SALT);
    let cipher = XChaCha20Poly1305::new_from_slice(key(passphrase, salt)?.as_slice())
        .map_err(|error| error.to_string())?;
    let nonce = XNonce::try_from(nonce).map_err(|error| error.to_string())?;
    let sealed = cipher.encrypt(&nonce, plain).map_err(|_| "they cannot be encrypted".to_owned())?;
    Ok([&MAGIC[..], &head, &sealed].concat())
}

/// Opens what was sealed.
///
/// # Errors
/// A sentence: another passphrase, or not what was sealed.
pub(super) fn open(passphrase: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let rest =
        sealed.strip_prefix(MAGIC).ok_or("they are sealed in a way that this execward does not know")?;
    let (salt, rest) = rest.split_at_checked(SALT).ok_or("they are cut off")?;
    let (nonce, rest) = rest.split_at_checked(NONCE).ok_or("they are cut off")?;
    let cipher = XChaCha20Poly1305::new_from_slice(key(passphrase, salt)?.as_slice())
        .map_err(|error| error.to_string())?;
    let nonce = XNonce::try_from(nonce).map_err(|error| error.to_string())?;
    let plain =
        cipher.decrypt(&nonce, rest).map_err(|_| "another passphrase, or they were changed".to_owned())?;
    Ok(Zeroizing::new(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_and_a_change_shows() {
        let sealed = seal("correct horse", b"keys").expect("sealed");
        assert!(!sealed.windows(4).any(|part| part == b"keys"));
        assert_eq!(open("correct horse", &sealed).expect("opened").as_slice(), b"keys");
        assert!(open("correct hors", &sealed).is_err());
        for at in [0, 20, 45, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open("correct horse", &changed).is_err(), "{at}");
        }
        for most in [0, 15, 30, 60] {
            assert!(open("correct horse", &sealed[..most.min(sealed.len() - 1)]).is_err());
        }
        assert_ne!(seal("correct horse", b"keys").expect("sealed"), sealed);
    }
}
