//! Objects of the host that a probe must not reach, and which no safe library makes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};

/// A terminal. Its other end is kept open, so that it stays.
#[derive(Debug)]
pub struct Terminal {
    _other: OwnedFd,
    /// Where it is.
    pub path: PathBuf,
}

impl Terminal {
    /// Opens one.
    ///
    /// # Errors
    /// Of posix_openpt(3) and its kin.
    pub fn open() -> io::Result<Self> {
        let mut name = [0 as libc::c_char; 64];
        let (other, path) = unsafe {
            let other = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
            if other < 0 {
                return Err(io::Error::last_os_error());
            }
            let other = OwnedFd::from_raw_fd(other);
            if libc::unlockpt(other.as_raw_fd()) != 0
                || libc::ptsname_r(other.as_raw_fd(), name.as_mut_ptr(), name.len()) != 0
            {
                return Err(io::Error::last_os_error());
            }
            (other, std::ffi::CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned())
        };
        Ok(Self { _other: other, path: path.into() })
    }
}

/// Whether a file has the attribute that probes set: xattr(7).
pub fn has_attribute(file: &Path) -> bool {
    let Ok(path) = CString::new(file.as_os_str().as_encoded_bytes()) else { return false };
    unsafe { libc::getxattr(path.as_ptr(), c"user.execward".as_ptr(), std::ptr::null_mut(), 0) >= 0 }
}

/// System V objects of the host: sysvipc(7).
#[derive(Debug)]
pub struct Shared {
    /// Their key.
    pub key: i32,
    memory: i32,
    queue: i32,
    semaphores: i32,
}

impl Shared {
    /// Makes one of each kind.
    ///
    /// # Errors
    /// Where the kernel makes none.
    pub fn new() -> io::Result<Self> {
        static NUMBER: AtomicI32 = AtomicI32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let key = 0x6578_0000 | (i32::try_from(std::process::id() & 0xff).unwrap_or(0) << 8) | number;
        let mode = libc::IPC_CREAT | 0o666;
        let made = unsafe {
            Self {
                key,
                memory: libc::shmget(key, 4096, mode),
                queue: libc::msgget(key, mode),
                semaphores: libc::semget(key, 1, mode),
            }
        };
        if made.memory < 0 || made.queue < 0 || made.semaphores < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(made)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        unsafe {
            libc::shmctl(self.memory, libc::IPC_RMID, std::ptr::null_mut());
            libc::msgctl(self.queue, libc::IPC_RMID, std::ptr::null_mut());
            libc::semctl(self.semaphores, 0, libc::IPC_RMID);
        }
    }
}
