//! Where a stream is, so that another process can go on from there with the same input.

use serde::{Deserialize, Serialize};

use super::Stream;

/// Said in place of what is left of an output, where its stream was left inside of a secret whose end is not known.
const WITHHELD: &[u8] = b"[the rest is withheld: execward was restarted in the middle of a secret]\n";

/// A place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// The first byte of the input that is needed to go on.
    pub from: u64,
    /// Bytes from there on that are decided, and that have left.
    scan: usize,
    sent: usize,
    /// A secret goes on that has been masked already.
    inside: bool,
    masked: u64,
}

impl Mark {
    /// Behind all of an output that had ended.
    pub const fn end(from: u64, masked: u64) -> Self {
        Self { from, scan: 0, sent: 0, inside: false, masked }
    }
}

impl Stream {
    /// Where it is now.
    pub fn mark(&self) -> Mark {
        let Self { scan, sent, swallowing, masked, gone, .. } = self;
        Mark { from: *gone, scan: *scan, sent: *sent, inside: swallowing.is_some(), masked: *masked }
    }

    /// How much of the input it has taken.
    pub fn taken(&self) -> u64 {
        self.gone + self.buffer.len() as u64
    }

    /// The same stream, new, goes on from `mark` with the input from [`Mark::from`] on. It was made by the same rules. A secret
    /// that was not over is taken not to end any more.
    pub fn resume(self, mark: Mark) -> Self {
        let Mark { from, scan, sent, inside, masked } = mark;
        Self { gone: from, scan, sent, masked, withheld: inside.then_some(false), ..self }
    }

    /// Whether nothing of what comes is let out; says so once.
    pub(super) fn is_withheld(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(said) = &mut self.withheld else { return false };
        if !std::mem::replace(said, true) {
            out.extend_from_slice(WITHHELD);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::redact::{Redactor, Rules};

    fn redactor() -> Redactor {
        Redactor::new(&Rules::builtin(), Vec::new())
    }

    fn secrets() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[a-z \n]{0,40}",
            Just("ghp_abcdefghijklmnopqrstuvwxyz0123456789".to_owned()),
            Just("export API_TOKEN=Zx81kQp0LmNvB7tY ".to_owned()),
            Just(
                "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n"
                    .to_owned()
            ),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn one_that_was_left_anywhere_comes_to_the_same(
            input in secrets(),
            cut in any::<prop::sample::Index>(),
            flushed in any::<bool>(),
        ) {
            let redactor = redactor();
            let cut = cut.index(input.len() + 1);
            let (mut whole, mut all) = (redactor.stream(), Vec::new());
            whole.push(&input[..cut], &mut all);
            if flushed {
                whole.flush_partial(&mut all);
            }
            whole.push(&input[cut..], &mut all);
            whole.finish(&mut all);
            let (mut first, mut out) = (redactor.stream(), Vec::new());
            first.push(&input[..cut], &mut out);
            if flushed {
                first.flush_partial(&mut out);
            }
            let mark = first.mark();
            prop_assert_eq!(first.taken(), cut as u64);
            drop(first);
            let mut second = redactor.stream().resume(mark);
            // In small pieces: the input comes again before it goes on.
            let from = usize::try_from(mark.from).unwrap();
            for piece in input[from..].chunks(7) {
                second.push(piece, &mut out);
            }
            second.finish(&mut out);
            prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&all));
            prop_assert_eq!(second.masked(), whole.masked());
        }
    }

    #[test]
    fn one_that_was_left_inside_of_a_secret_says_nothing_any_more() {
        let redactor = redactor();
        let (mut first, mut out) = (redactor.stream(), Vec::new());
        first.push(b"-----BEGIN RSA PRIVATE KEY-----\n", &mut out);
        first.push("MIIEowIBAAKCAQEA\n".repeat(3000).as_bytes(), &mut out);
        let mut second = redactor.stream().resume(first.mark());
        out.clear();
        second.push(b"MIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\nharmless\n", &mut out);
        second.finish(&mut out);
        assert_eq!(String::from_utf8_lossy(&out).matches("withheld").count(), 1, "{out:?}");
        assert!(!out.windows(4).any(|bytes| bytes == b"MIIE"));
    }
}
