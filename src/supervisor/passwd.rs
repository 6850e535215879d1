//! Who the user is, from `/etc/passwd` alone.
//!
//! A statically linked glibc loads shared objects for `getpwuid`; the file is read here instead, so users that only a
//! directory service knows have a number and no name. `$HOME` and `$USER` are not asked: whoever starts execward sets
//! them.

use std::collections::BTreeMap;

/// Where the users are.
const PASSWD: &str = "/etc/passwd";

/// Homes that are told to the gate at most: each is compared with each path.
const MAX_HOMES: usize = 4096;

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory, absolute.
    pub home: String,
}

/// The users of this machine.
#[derive(Debug, Clone, Default)]
pub struct Users(Vec<User>);

impl Users {
    /// Reads the file; a machine without it (an empty container) has no users.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read() -> std::io::Result<Self> {
        match std::fs::read(PASSWD) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads passwd(5). A line that is not one of it is passed over, as libc does.
    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(user).collect())
    }

    /// The first user with this id, as getpwuid(3) finds it.
    pub fn by_uid(&self, uid: u32) -> Option<&User> {
        self.0.iter().find(|user| user.uid == uid)
    }

    /// The first user with this name, as getpwnam(3) finds it.
    pub fn by_name(&self, name: &str) -> Option<&User> {
        self.0.iter().find(|user| user.name == name)
    }

    /// Name to home of everybody.
    pub fn homes(&self) -> BTreeMap<String, String> {
        self.0.iter().take(MAX_HOMES).map(|user| (user.name.clone(), user.home.clone())).collect()
    }
}

fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(['#', '+', '-']))?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1).filter(|home| home.starts_with('/'))?;
    Some(User { name: name.to_owned(), uid, gid, home: home.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "root:x:0:0:root:/root:/bin/bash\n\
        # a comment\n\
        +nis\n\
        broken:x\n\
        ann:x:1000:1000:Ann,,,:/home/ann:/bin/zsh\n\
        twin:x:1000:1000::/home/twin:\n\
        homeless:x:5:5:::/bin/sh\n";

    #[test]
    fn the_first_user_with_an_id_counts() {
        let users = Users::parse(TEXT);
        assert_eq!(users.by_uid(0).map(|user| user.home.as_str()), Some("/root"));
        assert_eq!(users.by_uid(1000).map(|user| (user.name.as_str(), user.gid)), Some(("ann", 1000)));
        assert_eq!(users.by_uid(7), None);
    }

    #[test]
    fn lines_that_name_no_user_and_home_are_passed_over() {
        let homes = Users::parse(TEXT).homes();
        assert_eq!(homes.keys().collect::<Vec<_>>(), ["ann", "root", "twin"]);
    }
}
