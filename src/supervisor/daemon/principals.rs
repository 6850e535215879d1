//! Who may connect, and as what: the kernel says who a peer is, and this says what that means.

use serde::Deserialize;

use super::config;
use crate::supervisor::passwd::Users;
use crate::wire::peer::Peer;
use crate::wire::rpc::Separation;

/// Where the groups are.
const GROUPS: &str = "/etc/group";

/// The group whose members may have commands run by a daemon of root.
pub(super) const AGENTS: &str = "execward-agents";

/// The group whose members may answer for them.
pub(super) const OPERATORS: &str = "execward-operators";

/// A user or a group, as a file names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Name")]
pub(super) enum Who {
    Uid(u32),
    User(String),
    Group(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Number(u32),
    Text(String),
}

impl TryFrom<Name> for Who {
    type Error = &'static str;

    fn try_from(name: Name) -> Result<Self, Self::Error> {
        match name {
            Name::Number(uid) => Ok(Self::Uid(uid)),
            Name::Text(text) => match text.strip_prefix('@') {
                Some("") => Err("a group has a name after the @"),
                Some(group) => Ok(Self::Group(group.to_owned())),
                None if text.is_empty() => Err("a user has a name"),
                None => Ok(Self::User(text)),
            },
        }
    }
}

/// Who may do what.
#[derive(Debug, Clone)]
pub(super) struct Principals {
    agents: Members,
    operators: Members,
    /// Whoever runs the daemon.
    own: u32,
    users: Users,
}

#[derive(Debug, Clone, Default)]
struct Members {
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl Members {
    fn has(&self, peer: &Peer) -> bool {
        self.uids.contains(&peer.uid) || self.gids.iter().any(|&gid| peer.is_in_group(gid))
    }
}

impl Principals {
    /// Looks the names up. One that nobody has is passed over, aloud: it gives nobody anything.
    pub(super) fn find(config: &config::Principals, own: u32) -> std::io::Result<Self> {
        let users = Users::read()?;
        let groups = match std::fs::read(GROUPS) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let standing = |group: &str| {
            let mut who = vec![Who::Uid(own)];
            who.extend((own == 0 && gid_of(&groups, group).is_some()).then(|| Who::Group(group.to_owned())));
            who
        };
        let members = |who: Option<&Vec<Who>>, group: &str| {
            let mut members = Members::default();
            for who in who.cloned().unwrap_or_else(|| standing(group)) {
                match &who {
                    Who::Uid(uid) => members.uids.push(*uid),
                    Who::User(name) => match users.by_name(name) {
                        Some(user) => members.uids.push(user.uid),
                        None => tracing::warn!(user = name, "no such user"),
                    },
                    Who::Group(name) => match gid_of(&groups, name) {
                        Some(gid) => members.gids.push(gid),
                        None => tracing::warn!(group = name, "no such group"),
                    },
                }
            }
            members
        };
        Ok(Self {
            agents: members(config.agents.as_ref(), AGENTS),
            operators: members(config.operators.as_ref(), OPERATORS),
            own,
            users,
        })
    }

    pub(super) fn is_agent(&self, peer: &Peer) -> bool {
        self.agents.has(peer)
    }

    pub(super) fn is_operator(&self, peer: &Peer) -> bool {
        self.operators.has(peer)
    }

    /// Whether something stands between a requester and those who approve: not where it could answer itself, and not
    /// where it could become whoever runs the daemon.
    pub(super) fn separation(&self, peer: &Peer) -> Separation {
        if peer.uid == 0 || peer.uid == self.own || self.is_operator(peer) {
            Separation::None
        } else {
            Separation::Uid
        }
    }

    /// Login name, or the number.
    pub(super) fn name(&self, uid: u32) -> String {
        self.users.by_uid(uid).map_or_else(|| uid.to_string(), |user| user.name.clone())
    }
}

/// The number of a group that exists.
pub(super) fn find_group(name: &str) -> Option<u32> {
    gid_of(&std::fs::read_to_string(GROUPS).ok()?, name)
}

/// The users that group(5) names as members; those whose own group it is are not among them.
pub(super) fn members_of(name: &str) -> Vec<String> {
    let groups = std::fs::read_to_string(GROUPS).unwrap_or_default();
    let line = groups.lines().find(|line| line.split(':').next() == Some(name));
    let members = line.and_then(|line| line.split(':').nth(3)).unwrap_or_default();
    members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

/// Reads group(5). Who is in it is the kernel's to say: it keeps the groups of a process that connects.
fn gid_of(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer { uid, gid: uid, groups: groups.to_vec(), pid: None, process: None }
    }

    fn principals(own: u32, agents: Option<Vec<Who>>, operators: Option<Vec<Who>>) -> Principals {
        Principals::find(&config::Principals { agents, operators }, own).expect("this machine has users")
    }

    #[test]
    fn a_group_is_found_by_its_name() {
        let groups = "root:x:0:\nbuild:x:70:ann,ben\nbroken\n";
        assert_eq!(gid_of(groups, "build"), Some(70));
        assert_eq!(gid_of(groups, "broken"), None);
        assert_eq!(gid_of(groups, "bui"), None);
    }

    #[test]
    fn without_a_word_only_whoever_runs_it_may_connect() {
        let own = principals(4711, None, None);
        assert!(own.is_agent(&peer(4711, &[])) && own.is_operator(&peer(4711, &[])));
        assert!(!own.is_agent(&peer(4712, &[4711])) && !own.is_agent(&peer(0, &[])));
    }

    #[test]
    fn what_could_answer_for_itself_is_not_separated() {
        let it = principals(0, Some(vec![Who::Uid(5), Who::Uid(6)]), Some(vec![Who::Uid(6)]));
        assert_eq!(it.separation(&peer(5, &[])), Separation::Uid);
        assert_eq!(it.separation(&peer(6, &[])), Separation::None);
        assert_eq!(it.separation(&peer(0, &[])), Separation::None);
        assert!(!it.is_agent(&peer(0, &[])), "who is named counts, and nobody else");
    }
}
