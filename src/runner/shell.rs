//! What a shell says of itself when it ends: its environment, written to a file in memory that it was given.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use nix::Result;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use crate::wire::runner::ShellState;

/// Most that a shell may say.
const MOST: usize = 256 << 10;

/// Where a shell says it. Nothing in it is trusted: the command can write what it likes.
#[derive(Debug)]
pub(super) struct State(File);

impl State {
    /// Of a fixed size: memory that a command could fill by it counts as nobody's where there is no cgroup.
    pub(super) fn new() -> Result<Self> {
        let file = memfd_create("execward-shell", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&file, i64::try_from(MOST).map_err(|_| Errno::EFBIG)?)?;
        let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self(OwnedFd::into(file)))
    }

    /// What it said; `None` where it said nothing, or more than there is room for.
    pub(super) fn read(&self) -> Option<ShellState> {
        let mut bytes = vec![0; MOST];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        parse(&bytes)
    }
}

impl AsFd for State {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `NAME=value` and NUL, again and again, up to an empty one. What is not UTF-8 is left out: it could neither be judged nor passed.
fn parse(bytes: &[u8]) -> Option<ShellState> {
    let end = bytes.windows(2).position(|pair| pair == [0, 0])?;
    let mut state = ShellState::default();
    for entry in bytes.get(..end)?.split(|byte| *byte == 0) {
        let Some((name, value)) = std::str::from_utf8(entry).ok().and_then(|entry| entry.split_once('='))
        else {
            continue;
        };
        state.env.insert(name.to_owned(), value.to_owned());
    }
    (!state.env.is_empty()).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_environment_is_read() {
        let of = |bytes: &[u8]| parse(bytes).map(|state| state.env.into_iter().collect::<Vec<_>>());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(of(b"A=1\0B=x=y\nz\0\0\0rest"), Some(vec![pair("A", "1"), pair("B", "x=y\nz")]));
        // The last one counts; what is no text does not.
        assert_eq!(of(b"A=1\0A=2\0B=\xff\0noise\0\0"), Some(vec![pair("A", "2")]));
        // Cut off, empty, or full to the last byte.
        assert_eq!((of(b"A=1\0B"), of(b""), of(b"\0\0"), of(&[b'x'; 100])), (None, None, None, None));
    }

    #[test]
    fn the_file_takes_no_more_than_its_size() {
        let state = State::new().unwrap();
        assert_eq!(state.read(), None);
        let writer = File::from(state.as_fd().try_clone_to_owned().unwrap());
        writer.write_all_at(b"A=1\0", 0).unwrap();
        assert!(state.read().is_some_and(|state| state.env["A"] == "1"));
        assert!(writer.write_all_at(&vec![b'x'; MOST + 1], 0).is_err());
        assert!(writer.set_len(0).is_err());
        assert_eq!(writer.metadata().unwrap().len(), MOST as u64);
    }
}
