//! What a webhook carries so that its receiver knows whose it is: a signature, the moment, and a name of its own.
//!
//! `execward-signature: sha256=HEX` is the HMAC-SHA256 of `TIMESTAMP.DELIVERY.BODY` under a key that both sides have. A receiver
//! computes it again, compares in constant time, and refuses a timestamp that is minutes old and a delivery that it has seen.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Key;

/// The fields that go with a body of JSON. `delivery` is random; one that is sent again keeps it.
pub fn signed(
    key: &Key,
    body: &[u8],
    delivery: [u8; 16],
    now: Timestamp,
) -> Vec<(&'static str, Zeroizing<String>)> {
    let (time, delivery) = (now.as_second().to_string(), hex(&delivery));
    let signature = signature(key.expose().as_bytes(), now.as_second(), &delivery, body);
    [
        ("content-type", "application/json".to_owned()),
        ("execward-timestamp", time),
        ("execward-delivery", delivery),
        ("execward-signature", signature),
    ]
    .map(|(name, value)| (name, Zeroizing::new(value)))
    .to_vec()
}

/// What proves that a body comes from whoever has the key: `sha256=HEX`. With time and name in it, one that was overheard is of
/// no use later.
pub fn signature(key: &[u8], seconds: i64, delivery: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.{delivery}.").as_bytes());
    mac.update(body);
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_openssl_says() {
        let key = Key::from(Zeroizing::new("a-long-random-text".to_owned()));
        let now = Timestamp::from_second(1_700_000_000).expect("a moment");
        let fields = signed(&key, b"{\"waiting\":1}", [0xab; 16], now);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("content-type", "application/json"),
                ("execward-timestamp", "1700000000"),
                ("execward-delivery", "abababababababababababababababab"),
                // printf '1700000000.abab[...].{"waiting":1}' | openssl dgst -sha256 -hmac a-long-random-text
                (
                    "execward-signature",
                    "sha256=dbce2fdefa820870782548b7379bc94384c87e461777ea9500910c078023f7b8"
                ),
            ]
        );
    }
}
