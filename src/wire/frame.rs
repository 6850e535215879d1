//! Framing of the runner protocol: frames in, frames out, over any byte stream.

use super::runner::{FromRunner, MAX_FRAME, Stream, ToRunner};

/// Bytes before the data of an output frame: length, kind, id.
pub const OUTPUT_HEADER: usize = 4 + 1 + 8;

const CONTROL: u8 = 0;
const STDIN: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 3;

/// A message that travels as one frame.
pub trait Frame: Sized {
    /// Appends the frame to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the body of a frame of this kind.
    fn decode(kind: u8, body: &[u8]) -> Result<Self, FrameError>;
}

/// A frame that cannot be read. The connection ends with it: what follows cannot be trusted to be a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length is zero or over [`MAX_FRAME`].
    #[error("frame of {0} bytes; the limit is {MAX_FRAME}")]
    Length(usize),
    /// No such kind, or not in this direction.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// A data frame shorter than its header.
    #[error("data frame without an id")]
    Short,
    /// The JSON of a control frame does not fit.
    #[error("control frame does not read: {0}")]
    Control(#[from] serde_json::Error),
}

/// Collects bytes and gives frames. Holds at most one frame and what was read with it.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Room for at least `room` more bytes; call [`Self::filled`] with how many were put there.
    pub fn space(&mut self, room: usize) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let length = self.bytes.len();
        self.bytes.resize(length + room, 0);
        self.bytes.get_mut(length..).unwrap_or_default()
    }

    /// Says how many of the `room` bytes of the last [`Self::space`] were filled.
    pub fn filled(&mut self, room: usize, count: usize) {
        self.bytes.truncate(self.bytes.len() - room + count.min(room));
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.space(0);
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, where all of it has arrived.
    pub fn next_frame<F: Frame>(&mut self) -> Result<Option<F>, FrameError> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(FrameError::Length(length));
        }
        let Some((kind, body)) = rest.get(..length).and_then(|frame| frame.split_first()) else {
            return Ok(None);
        };
        let frame = F::decode(*kind, body)?;
        self.start += 4 + length;
        Ok(Some(frame))
    }

    /// Whether the stream stopped in the middle of a frame.
    pub fn is_mid_frame(&self) -> bool {
        self.start < self.bytes.len()
    }
}

/// The header of an output frame whose data follows it, so that a runner can read output into place.
pub fn output_header(id: u64, stream: Stream, length: usize) -> [u8; OUTPUT_HEADER] {
    let kind = match stream {
        Stream::Stdout => STDOUT,
        Stream::Stderr => STDERR,
    };
    let mut header = [0; OUTPUT_HEADER];
    let total = u32::try_from(1 + 8 + length).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&total.to_le_bytes());
    header[4] = kind;
    header[5..].copy_from_slice(&id.to_le_bytes());
    header
}

impl Frame for ToRunner {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stdin { id, data } => encode_data(STDIN, *id, data, out),
            control => encode_control(control, out),
        }
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Self, FrameError> {
        match kind {
            CONTROL => Ok(serde_json::from_slice(body)?),
            STDIN => decode_data(body).map(|(id, data)| Self::Stdin { id, data }),
            other => Err(FrameError::Kind(other)),
        }
    }
}

impl Frame for FromRunner {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Output { id, stream, data } => {
                out.extend_from_slice(&output_header(*id, *stream, data.len()));
                out.extend_from_slice(data);
            }
            control => encode_control(control, out),
        }
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Self, FrameError> {
        let stream = match kind {
            CONTROL => return Ok(serde_json::from_slice(body)?),
            STDOUT => Stream::Stdout,
            STDERR => Stream::Stderr,
            other => return Err(FrameError::Kind(other)),
        };
        decode_data(body).map(|(id, data)| Self::Output { id, stream, data })
    }
}

fn encode_data(kind: u8, id: u64, data: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(1 + 8 + data.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(data);
}

fn decode_data(body: &[u8]) -> Result<(u64, Vec<u8>), FrameError> {
    let (id, data) = body.split_first_chunk::<8>().ok_or(FrameError::Short)?;
    Ok((u64::from_le_bytes(*id), data.to_vec()))
}

fn encode_control(message: &impl serde::Serialize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, CONTROL]);
    // Our own types hold nothing that JSON cannot: string keys only, no maps with other keys, no floats.
    if serde_json::to_writer(&mut *out, message).is_err() {
        out.truncate(start);
        return;
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(header) = out.get_mut(start..start + 4) {
        header.copy_from_slice(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::runner::{Aftermath, Cause, End, Ended};

    fn messages() -> Vec<FromRunner> {
        vec![
            FromRunner::Credit { id: 7, bytes: 1 },
            FromRunner::Output { id: 7, stream: Stream::Stdout, data: vec![0, 255, b'\n'] },
            FromRunner::Output { id: u64::MAX, stream: Stream::Stderr, data: vec![] },
            FromRunner::Exited(Ended {
                id: 7,
                end: End::Killed { cause: Cause::Time },
                wall_us: 1,
                cpu_us: 2,
                max_rss_kib: 3,
                aftermath: Aftermath::default(),
                reached: Vec::new(),
                shell: None,
            }),
        ]
    }

    #[test]
    fn frames_survive_any_chunking() {
        let mut bytes = Vec::new();
        for message in messages() {
            message.encode(&mut bytes);
        }
        for chunk in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(chunk) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame::<FromRunner>().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, messages());
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_it_is_awaited() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.next_frame::<ToRunner>(), Err(FrameError::Length(_))));
        let mut decoder = Decoder::default();
        decoder.push(&0u32.to_le_bytes());
        assert!(matches!(decoder.next_frame::<ToRunner>(), Err(FrameError::Length(0))));
    }

    #[test]
    fn a_frame_of_the_other_direction_is_refused() {
        let mut bytes = Vec::new();
        ToRunner::Stdin { id: 1, data: vec![1] }.encode(&mut bytes);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        assert!(matches!(decoder.next_frame::<FromRunner>(), Err(FrameError::Kind(STDIN))));
    }
}
