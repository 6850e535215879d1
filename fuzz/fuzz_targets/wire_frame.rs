//! Any bytes are frames or an error, however they are cut; what is a frame is the same frame after a round trip.
#![no_main]

use execward::wire::frame::{Decoder, Frame};
use execward::wire::runner::{FromRunner, ToRunner};
use libfuzzer_sys::fuzz_target;

fn frames<F: Frame>(bytes: &[u8], size: usize) -> (Vec<F>, bool) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for chunk in bytes.chunks(size.max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next_frame::<F>() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

fn check<F: Frame + PartialEq + std::fmt::Debug>(bytes: &[u8], size: usize) {
    let whole = frames::<F>(bytes, usize::MAX);
    assert_eq!(whole, frames::<F>(bytes, size));
    let mut encoded = Vec::new();
    for frame in &whole.0 {
        frame.encode(&mut encoded);
    }
    assert_eq!(frames::<F>(&encoded, size), (whole.0, true));
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    check::<ToRunner>(bytes, usize::from(size));
    check::<FromRunner>(bytes, usize::from(size));
});
