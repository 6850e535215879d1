//! What a process may do to outlive the command that started it, and what it carries when it starts.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::World;

/// The act of this name, if there is one. An act does something and judges nothing: the test looks from outside.
pub(super) fn act(id: &str) -> Option<fn(&World)> {
    Some(match id {
        "R17" => |world| detach(world),
        "R18" => |world| {
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            beat(world.text("beat"));
        },
        "beat" => |world| beat(world.text("beat")),
        "R19" => |world| {
            fs::write(world.text("beat"), "stopping").unwrap();
            unsafe { libc::raise(libc::SIGSTOP) };
            beat(world.text("beat"));
        },
        "R21" => |_| {
            // Orphans that end at once: somebody must reap them.
            for _ in 0..1000 {
                if fork() == 0 {
                    if fork() == 0 {
                        unsafe { libc::_exit(0) };
                    }
                    unsafe { libc::_exit(0) };
                }
                unsafe { libc::wait(std::ptr::null_mut()) };
            }
            sleep(Duration::from_millis(200));
            let zombies = zombies();
            println!("zombies {zombies}");
        },
        "R22" => |world| race(world),
        "status" => |_| {
            print!("{}", fs::read_to_string("/proc/self/status").unwrap());
        },
        _ => return None,
    })
}

fn fork() -> i32 {
    unsafe { libc::fork() }
}

/// Writes a growing number for a minute: who looks twice sees whether it lives.
fn beat(path: &str) {
    for count in 0..600 {
        let _ = fs::write(path, count.to_string());
        sleep(Duration::from_millis(100));
    }
}

/// The classic daemon: two forks, a session of its own, a subreaper above, every descriptor closed, signals ignored.
fn detach(world: &World) {
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    if fork() == 0 {
        unsafe { libc::setsid() };
        if fork() == 0 {
            unsafe { libc::setsid() };
            for signal in 1..32 {
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            for descriptor in 0..64 {
                unsafe { libc::close(descriptor) };
            }
            beat(world.text("beat"));
        }
        unsafe { libc::_exit(0) };
    }
    // Long enough for the first beat, so that the test can tell a daemon that was ended from one that never was.
    sleep(Duration::from_millis(300));
}

/// Forks faster than a loop that kills one by one: each process starts its successor and ends. Bounded to half a
/// minute, and to one living line of processes.
fn race(world: &World) {
    let beat = world.text("beat").to_owned();
    let start = std::time::Instant::now();
    let mut count = 0u64;
    while start.elapsed() < Duration::from_secs(30) {
        if fork() != 0 {
            unsafe { libc::_exit(0) };
        }
        unsafe { libc::setsid() };
        count += 1;
        if count.is_multiple_of(50) {
            let _ = fs::write(&beat, count.to_string());
        }
    }
}

/// Processes in /proc that have ended and were not reaped.
fn zombies() -> usize {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
        .count()
}
