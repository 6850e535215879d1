//! Attempts on files outside the workspace and on what the workspace must keep.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::Outcome::{Held, Inconclusive, Open};
use super::{Attempt, Outcome, World, all, attempt, reach, refused, tried};

/// How a path that is not in the view, or is read-only in it, answers.
pub(super) const HIDDEN: &[i32] = &[libc::ENOENT, libc::EACCES, libc::EPERM, libc::EROFS, libc::ENOTDIR];

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("F1", |world| read(&world.outside("secret"))),
    ("F1b", |world| tried("append", OpenOptions::new().append(true).open(world.outside("file")), HIDDEN)),
    ("F1c", |world| tried("create", File::create(world.outside("new")), HIDDEN)),
    ("F2", dot_dot),
    ("F3", |world| through_link(world, "secret", read)),
    ("F3b", |world| {
        through_link(world, "file", |link| {
            tried("append", OpenOptions::new().append(true).open(link), HIDDEN)
        })
    }),
    ("F5", |world| {
        by_prefixes(world, &["/proc/self/root", "/proc/1/root", "/proc/thread-self/root", &parent()])
    }),
    ("F6", |world| {
        by_prefixes(world, &["/", "/.", "/proc/./self/root/", "//proc/thread-self/root", "/usr/.."])
    }),
    ("F7", |world| {
        tried("link", fs::hard_link(world.outside("file"), "hardlink"), with(HIDDEN, libc::EXDEV))
    }),
    ("F8", |world| {
        fs::write("to-rename", "x").unwrap();
        tried("rename", fs::rename("to-rename", world.outside("renamed")), with(HIDDEN, libc::EXDEV))
    }),
    ("F9", |world| {
        let path = c_path(&world.outside("file"));
        attempt("truncate", unsafe { libc::truncate(path.as_ptr(), 3) }.into(), HIDDEN)
    }),
    ("F9b", |world| {
        tried("O_TRUNC", OpenOptions::new().write(true).truncate(true).open(world.outside("file")), HIDDEN)
    }),
    ("F10", change_metadata),
    ("F11", read_metadata),
    ("F12", watch),
    ("F13", by_handle),
    ("F14", |_| inherited()),
    ("F15", |_| tried("reopen", OpenOptions::new().write(true).open("/proc/self/fd/107"), HIDDEN)),
    ("F17", |world| tried("chdir", std::env::set_current_dir(world.outside("")), HIDDEN)),
    ("F21", |_| make_node("character-device", libc::S_IFCHR, libc::makedev(1, 3))),
    ("F21b", |_| make_node("block-device", libc::S_IFBLK, libc::makedev(7, 200))),
    ("F21c", |_| devices()),
    ("F24", |_| set_id("chmod", |path| unsafe { libc::syscall(libc::SYS_chmod, path.as_ptr(), 0o4755) })),
    ("F24b", |_| {
        set_id("fchmodat2", |path| unsafe { libc::syscall(452, libc::AT_FDCWD, path.as_ptr(), 0o4755, 0) })
    }),
    ("F24c", |_| {
        set_id("open", |path| unsafe {
            libc::unlink(path.as_ptr());
            libc::umask(0);
            libc::syscall(
                libc::SYS_openat,
                libc::AT_FDCWD,
                path.as_ptr(),
                libc::O_CREAT | libc::O_RDWR,
                0o6755,
            )
        })
    }),
    ("F24d", |_| {
        set_id("mkdir", |path| unsafe {
            libc::unlink(path.as_ptr());
            libc::mkdir(path.as_ptr(), 0o755);
            libc::syscall(libc::SYS_fchmodat, libc::AT_FDCWD, path.as_ptr(), 0o2755)
        })
    }),
    ("F24e", |_| {
        set_id("mknod", |path| unsafe {
            libc::unlink(path.as_ptr());
            libc::umask(0);
            libc::syscall(libc::SYS_mknodat, libc::AT_FDCWD, path.as_ptr(), libc::S_IFREG | 0o4755, 0)
        })
    }),
    ("F24f", |_| {
        set_id("fchmod", |path| unsafe {
            let file = libc::open(path.as_ptr(), libc::O_RDONLY);
            // A filter that compares 64 bits sees another number than the kernel, which takes 32.
            libc::syscall(libc::SYS_fchmod, file, 0x1_0000_0000_u64 | 0o4755)
        })
    }),
    ("F30", |_| {
        let hook = OpenOptions::new().append(true).open(".git/hooks/pre-commit");
        tried("open a hook for writing", hook, &[libc::EROFS, libc::EACCES, libc::EPERM])
    }),
    ("F31", |_| {
        tried(
            "rename .git",
            fs::rename(".git", ".git2"),
            &[libc::EBUSY, libc::EPERM, libc::EACCES, libc::EXDEV],
        )
    }),
    ("F36", |_| match fs::read_to_string(".env") {
        Ok(text) if text.contains("CANARY") => Open("read .env".to_owned()),
        Ok(text) => Held(format!(".env shows {} bytes", text.len())),
        Err(error) => refused("read .env", &error, HIDDEN),
    }),
    ("F37", |world| {
        let places = [world.text("state"), "/etc/execward", "/run/execward"];
        all(places.map(|place| match fs::read_dir(place).map(Iterator::count) {
            Ok(0) => Held(format!("{place} is empty")),
            Ok(count) => Open(format!("{place} shows {count} entries")),
            Err(error) => refused(place, &error, HIDDEN),
        }))
    }),
    ("F41", |world| {
        let parent = world.outside("");
        let parent = parent.parent().unwrap();
        match fs::read_dir(parent) {
            Ok(mut entries) => {
                match entries.find(|entry| entry.as_ref().is_ok_and(|it| it.file_name() == "outside")) {
                    Some(_) => Open(format!("{} lists what is beside the workspace", parent.display())),
                    None => Held(format!("{} lists the workspace only", parent.display())),
                }
            }
            Err(error) => refused("list", &error, HIDDEN),
        }
    }),
    ("F41b", |world| {
        let path = Path::new(world.text("home")).join(".ssh/id_canary");
        tried("stat a key", fs::metadata(path), HIDDEN)
    }),
    ("F45", |_| {
        let here = File::open(".").unwrap();
        let fitrim = 0xc018_5879_u64;
        // Without an argument: the kernel fails with EFAULT once it has allowed the call.
        reach("FITRIM", unsafe { ioctl(&here, fitrim, 0) })
    }),
    ("F45b", |_| {
        let file = File::create("immutable").unwrap();
        let (set, immutable) = (0x4008_6602_u64, 0x10_i64);
        let outcome = attempt(
            "FS_IMMUTABLE_FL",
            unsafe { ioctl(&file, set, &raw const immutable as u64) },
            &[libc::EPERM, libc::EACCES],
        );
        let clear = 0_i64;
        unsafe { ioctl(&file, set, &raw const clear as u64) };
        let _ = fs::remove_file("immutable");
        outcome
    }),
    ("F46", |_| {
        all(["/usr/bin", "/etc", "/etc/passwd", "/usr/lib", "/"].map(|place| {
            let path = CString::new(place).unwrap();
            let result =
                unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), libc::W_OK) };
            attempt(place, result, HIDDEN)
        }))
    }),
    ("F47", |world| tried("unlink", fs::remove_file(world.outside("to-remove")), HIDDEN)),
];

fn read(path: &Path) -> Outcome {
    tried(&format!("read {}", path.display()), fs::read(path), with(HIDDEN, libc::ELOOP))
}

/// `refusals` and one more.
fn with(refusals: &[i32], more: i32) -> &'static [i32] {
    Box::leak(refusals.iter().copied().chain([more]).collect())
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

unsafe fn ioctl(file: &File, request: u64, argument: u64) -> i64 {
    use std::os::fd::AsRawFd;
    unsafe { libc::syscall(libc::SYS_ioctl, file.as_raw_fd(), request, argument) }
}

fn parent() -> String {
    format!("/proc/{}/root", std::os::unix::process::parent_id())
}

fn dot_dot(world: &World) -> Outcome {
    let absolute = world.outside("secret");
    let up = "../".repeat(20);
    all([read(Path::new("../outside/secret")), read(Path::new(&format!("{up}{}", absolute.display())))])
}

fn through_link(world: &World, name: &str, act: impl Fn(&Path) -> Outcome) -> Outcome {
    let link = Path::new("link");
    let _ = fs::remove_file(link);
    std::os::unix::fs::symlink(world.outside(name), link).unwrap();
    let outcome = act(link);
    let _ = fs::remove_file(link);
    outcome
}

fn by_prefixes(world: &World, prefixes: &[&str]) -> Outcome {
    let secret = world.outside("secret");
    all(prefixes.iter().map(|prefix| read(Path::new(&format!("{prefix}{}", secret.display())))))
}

fn change_metadata(world: &World) -> Outcome {
    let path = world.outside("file");
    let raw = c_path(&path);
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    all([
        tried("chmod", fs::set_permissions(&path, fs::Permissions::from_mode(0o600)), HIDDEN),
        attempt(
            "utimensat",
            unsafe { libc::utimensat(libc::AT_FDCWD, raw.as_ptr(), std::ptr::null(), 0) }.into(),
            HIDDEN,
        ),
        attempt("chown", unsafe { libc::chown(raw.as_ptr(), uid, gid) }.into(), HIDDEN),
        attempt(
            "setxattr",
            unsafe { libc::setxattr(raw.as_ptr(), c"user.execward".as_ptr(), c"x".as_ptr().cast(), 1, 0) }
                .into(),
            HIDDEN,
        ),
    ])
}

fn read_metadata(world: &World) -> Outcome {
    let path = world.outside("secret");
    let raw = c_path(&path);
    let mut statfs = unsafe { std::mem::zeroed::<libc::statfs>() };
    let mut handle = [0u8; 256];
    handle[0] = 128;
    let mut mount = 0i32;
    all([
        tried("stat", fs::symlink_metadata(&path), HIDDEN),
        attempt("access", unsafe { libc::syscall(libc::SYS_access, raw.as_ptr(), libc::F_OK) }, HIDDEN),
        attempt("statfs", unsafe { libc::statfs(raw.as_ptr(), &raw mut statfs) }.into(), HIDDEN),
        attempt(
            "name_to_handle_at",
            unsafe {
                let handle = handle.as_mut_ptr();
                libc::syscall(
                    libc::SYS_name_to_handle_at,
                    libc::AT_FDCWD,
                    raw.as_ptr(),
                    handle,
                    &raw mut mount,
                    0,
                )
            },
            with(HIDDEN, libc::ENOSYS),
        ),
    ])
}

fn watch(world: &World) -> Outcome {
    let path = c_path(&world.outside(""));
    let inotify = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
    if inotify < 0 {
        return refused("inotify_init", &std::io::Error::last_os_error(), &[libc::ENOSYS, libc::EPERM]);
    }
    attempt(
        "inotify_add_watch",
        unsafe { libc::inotify_add_watch(inotify, path.as_ptr(), libc::IN_OPEN) }.into(),
        HIDDEN,
    )
}

fn by_handle(_: &World) -> Outcome {
    let mut handle = [0u8; 256];
    handle[0] = 128;
    let (mut mount, here) = (0i32, File::open(".").unwrap());
    unsafe {
        use std::os::fd::AsRawFd;
        let named = libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            c".".as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount,
            0,
        );
        if named < 0 {
            // A made-up handle: the kernel checks the right to use handles before it looks at one.
            handle[0] = 8;
            handle[4] = 1;
        }
        let opened =
            libc::syscall(libc::SYS_open_by_handle_at, here.as_raw_fd(), handle.as_ptr(), libc::O_RDONLY);
        attempt("open_by_handle_at", opened, &[libc::EPERM, libc::ENOSYS])
    }
}

/// Descriptors above 2; the one that reads the directory is its own.
fn inherited() -> Outcome {
    let open: Vec<i32> =
        (3..1024).filter(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0).collect();
    if open.is_empty() { Held("0, 1 and 2 only".to_owned()) } else { Open(format!("descriptors {open:?}")) }
}

fn make_node(name: &str, kind: libc::mode_t, device: libc::dev_t) -> Outcome {
    let path = CString::new(name).unwrap();
    let outcome = attempt(
        "mknod",
        unsafe { libc::mknod(path.as_ptr(), kind | 0o600, device) }.into(),
        &[libc::EPERM, libc::EACCES, libc::ENOSYS],
    );
    let _ = fs::remove_file(name);
    outcome
}

fn devices() -> Outcome {
    let names = [
        "mem",
        "port",
        "kmsg",
        "kvm",
        "fuse",
        "net/tun",
        "vhost-net",
        "vsock",
        "sda",
        "vda",
        "nvme0n1",
        "loop0",
        "loop-control",
        "mapper/control",
        "dri/card0",
        "nvidia0",
        "uinput",
        "console",
        "tty1",
        "hwrng",
        "rtc0",
        "snapshot",
    ];
    let found: Vec<&str> = names.into_iter().filter(|name| Path::new("/dev").join(name).exists()).collect();
    if found.is_empty() { Held("none of them".to_owned()) } else { Open(format!("/dev has {found:?}")) }
}

/// Whether `act` on a fresh file leaves a set-user-id or set-group-id bit. The bit counts, not the answer.
fn set_id(name: &str, act: impl Fn(&CString) -> i64) -> Outcome {
    let file = format!("set-id-{name}");
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o644).open(&file).unwrap();
    let result = act(&CString::new(file.as_str()).unwrap());
    let error = std::io::Error::last_os_error();
    let mode = fs::symlink_metadata(&file).map(|it| it.mode());
    let _ = fs::remove_file(&file);
    let _ = fs::remove_dir(&file);
    match mode {
        Ok(mode) if mode & 0o6000 != 0 => Open(format!("{name} made mode {mode:o}")),
        _ if result >= 0 => Held(format!("{name} left the bit out")),
        _ if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS | libc::EACCES)) => {
            Held(format!("{name}: {error}"))
        }
        _ => Inconclusive(format!("{name}: {error}")),
    }
}
