//! Redaction in chunks gives the same bytes and the same count as redaction of the whole.
#![no_main]

use execward::redact::{Redactor, Rules, Secret};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static REDACTOR: LazyLock<Redactor> =
    LazyLock::new(|| Redactor::new(&Rules::builtin(), vec![Secret::new("known", "tell-nobody-this")]));

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let mut stream = REDACTOR.stream();
    stream.push(bytes, &mut whole);
    stream.finish(&mut whole);
    let mut chunked = REDACTOR.stream();
    for chunk in bytes.chunks(usize::from(size).max(1)) {
        chunked.push(chunk, &mut parts);
    }
    chunked.finish(&mut parts);
    assert_eq!(whole, parts);
    assert_eq!(stream.masked(), chunked.masked());
    assert!(!whole.windows(16).any(|window| window == b"tell-nobody-this"));
});
