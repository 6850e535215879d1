//! The stream.

/// One output on its way out.
#[derive(Debug)]
pub struct Stream {}

impl Stream {
    /// Takes bytes and appends to `out` what can leave.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(input);
    }

    /// Lets out what an idle interactive output holds back, except what may be the beginning of a secret.
    pub fn flush_partial(&mut self, _out: &mut Vec<u8>) {}

    /// The output has ended: appends everything that is left.
    pub fn finish(&mut self, _out: &mut Vec<u8>) {}

    /// How many places were masked so far.
    pub fn masked(&self) -> u64 {
        0
    }
}
