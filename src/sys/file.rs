//! What nix does not say of a file.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use nix::NixPath;

/// When what stands at `path` below a directory was made, as seconds and nanoseconds: statx(2), `STATX_BTIME`. `None`
/// where the file system does not remember.
pub fn born(directory: BorrowedFd<'_>, path: &Path) -> Option<(i64, i64)> {
    // SAFETY: statx is plain data for which all zeroes are a value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let said = path.with_nix_path(|path| {
        // SAFETY: the path ends in NUL and the buffer outlives the call.
        unsafe {
            libc::statx(
                directory.as_raw_fd(),
                path.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                libc::STATX_BTIME,
                &raw mut stat,
            )
        }
    });
    let known = said == Ok(0) && stat.stx_mask & libc::STATX_BTIME != 0;
    known.then(|| (stat.stx_btime.tv_sec, i64::from(stat.stx_btime.tv_nsec)))
}
