//! Lines of input, one at a time and bounded.

use std::io::{self, BufRead};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads one line into `bytes`, without its newline. One that is longer than `most` is read past and not kept.
pub(super) fn read_line(input: &mut impl BufRead, bytes: &mut Vec<u8>, most: usize) -> io::Result<Line> {
    bytes.clear();
    let mut any = false;
    let mut too_long = false;
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Ok(match (any, too_long) {
                (false, _) => Line::End,
                (true, false) => Line::Whole,
                (true, true) => Line::TooLong,
            });
        }
        any = true;
        let newline = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..newline.unwrap_or(buffer.len())];
        too_long |= bytes.len() + part.len() > most;
        if !too_long {
            bytes.extend_from_slice(part);
        }
        let taken = part.len() + usize::from(newline.is_some());
        input.consume(taken);
        if newline.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
    }
}
