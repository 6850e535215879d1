//! A small disk under the state directory, which can be full.

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::super::*;

/// How much there is room for.
const SIZE: &str = "384m";

pub(super) struct Disk {
    place: PathBuf,
}

impl Disk {
    /// Puts one where the state is to be, for root's or for the user's daemon. `None`, with a skip said, where it cannot be.
    pub(super) fn under(directory: &Path) -> Option<Self> {
        if !crate::support::is_root() {
            skip("root", "only root can mount a disk that is full");
            return None;
        }
        let place = directory.join("state");
        fs::create_dir(&place).unwrap();
        let (uid, gid) = OWNER.with_borrow(|owner| (owner.uid, owner.gid));
        let options = format!("size={SIZE},mode=0700,uid={uid},gid={gid}");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("execward-test"), &place, Some("tmpfs"), flags, Some(options.as_str())).unwrap();
        Some(Self { place })
    }

    /// Leaves no room on it.
    pub(super) fn fill(&self) {
        let mut file = File::create(self.place.join("filler")).unwrap();
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Makes room again.
    pub(super) fn free(&self) {
        fs::remove_file(self.place.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.place, MntFlags::MNT_DETACH);
    }
}
