//! Who may connect, and as what: the kernel says who a peer is, and this says what that means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config;
use crate::supervisor::passwd::Users;
use crate::wire::peer::Peer;
use crate::wire::rpc::{KnownPrincipal, Mode, Role, Separation};

/// Where the groups are.
const GROUPS: &str = "/etc/group";

/// The group whose members may have commands run by a daemon of root.
pub(super) const AGENTS: &str = "execward-agents";

/// The group whose members may answer for them.
pub(super) const OPERATORS: &str = "execward-operators";

/// A user or a group, as a file names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Name", into = "Name")]
#[schemars(with = "Name")]
pub(super) enum Who {
    Uid(u32),
    User(String),
    Group(String),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Name {
    /// A uid.
    Number(u32),
    /// A user, or a `@group`.
    Text(String),
}

impl From<Who> for Name {
    fn from(who: Who) -> Self {
        match who {
            Who::Uid(uid) => Self::Number(uid),
            Who::User(name) => Self::Text(name),
            Who::Group(name) => Self::Text(format!("@{name}")),
        }
    }
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
#[derive(Debug)]
pub(super) struct Principals {
    agents: Members,
    approvers: Members,
    admins: Members,
    auditors: Members,
    /// Agents who were let in by a code.
    paired: RwLock<BTreeSet<u32>>,
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
    pub(super) fn find(config: &config::Principals, own: u32, paired: &[u32]) -> std::io::Result<Self> {
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
        let members = |who: &[Who]| {
            let mut members = Members::default();
            for who in who {
                match who {
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
        let config::Principals { agents, operators, approvers, admins, auditors } = config;
        // Who is named for one of an operator's roles has that one; where nobody is named at all, the standing ones have all.
        let named = [approvers, admins, auditors].iter().any(|role| role.is_some());
        let all = match operators {
            Some(operators) => operators.clone(),
            None if named => Vec::new(),
            None => standing(OPERATORS),
        };
        let role = |own: &Option<Vec<Who>>| members(&[&all[..], own.as_deref().unwrap_or_default()].concat());
        Ok(Self {
            agents: members(&agents.clone().unwrap_or_else(|| standing(AGENTS))),
            approvers: role(approvers),
            admins: role(admins),
            auditors: role(auditors),
            paired: RwLock::new(paired.iter().copied().collect()),
            own,
            users,
        })
    }

    pub(super) fn is_agent(&self, peer: &Peer) -> bool {
        self.agents.has(peer) || self.paired().contains(&peer.uid)
    }

    /// Whether it has any role on the operators' socket.
    pub(super) fn is_operator(&self, peer: &Peer) -> bool {
        !self.roles(peer).is_empty()
    }

    /// What it may do on the operators' socket.
    pub(super) fn roles(&self, peer: &Peer) -> Vec<Role> {
        let roles =
            [(Role::Approver, &self.approvers), (Role::Admin, &self.admins), (Role::Auditor, &self.auditors)];
        roles.into_iter().filter(|(_, members)| members.has(peer)).map(|(role, _)| role).collect()
    }

    /// Whether something stands between a requester and those who approve: not where it could answer itself, let itself do
    /// so, or become whoever runs the daemon.
    pub(super) fn separation(&self, peer: &Peer) -> Separation {
        let answers = self.approvers.has(peer) || self.admins.has(peer);
        if peer.uid == 0 || peer.uid == self.own || answers { Separation::None } else { Separation::Uid }
    }

    /// Whether something separates the agents from those who approve, as far as the configuration says: all that there are beside
    /// root, and whoever runs the daemon, whom nothing separates.
    pub(super) fn separates(&self) -> Separation {
        let paired = self.paired();
        let is_other = |uid: &&u32| **uid != 0 && **uid != self.own;
        let others: Vec<&u32> = self.agents.uids.iter().chain(paired.iter()).filter(is_other).collect();
        let answers = |uid: &&u32| self.approvers.uids.contains(uid) || self.admins.uids.contains(uid);
        let are_any = !others.is_empty() || !self.agents.gids.is_empty();
        if self.own == 0 && are_any && !others.iter().any(answers) {
            Separation::Uid
        } else {
            Separation::None
        }
    }

    fn paired(&self) -> RwLockReadGuard<'_, BTreeSet<u32>> {
        self.paired.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an agent in.
    pub(super) fn let_in(&self, uid: u32) {
        self.paired.write().unwrap_or_else(PoisonError::into_inner).insert(uid);
    }

    /// Puts an agent out that was let in. Whether it was in, and is not named in the configuration besides.
    pub(super) fn put_out(&self, uid: u32) -> bool {
        let was_in = self.paired.write().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        was_in && !self.agents.uids.contains(&uid)
    }

    /// Those whom the configuration names.
    pub(super) fn listed(&self) -> Vec<KnownPrincipal> {
        let all = [
            ("agent", &self.agents),
            ("approver", &self.approvers),
            ("admin", &self.admins),
            ("auditor", &self.auditors),
        ];
        let mut listed: BTreeMap<(Option<u32>, Option<u32>), Vec<String>> = BTreeMap::new();
        for (role, members) in all {
            let uids = members.uids.iter().map(|uid| (Some(*uid), None));
            for who in uids.chain(members.gids.iter().map(|gid| (None, Some(*gid)))) {
                let roles = listed.entry(who).or_default();
                if !roles.iter().any(|known| known == role) {
                    roles.push(role.to_owned());
                }
            }
        }
        let known = listed.into_iter().map(|((uid, gid), roles)| KnownPrincipal {
            uid,
            gid,
            name: uid.map_or_else(|| format!("gid {}", gid.unwrap_or_default()), |uid| self.name(uid)),
            roles,
            by: "config".to_owned(),
            mode: Mode::Manual,
        });
        known.collect()
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
        let config = config::Principals { agents, operators, ..Default::default() };
        Principals::find(&config, own, &[]).expect("this machine has users")
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

    #[test]
    fn who_is_named_for_one_role_has_that_one() {
        let config = config::Principals {
            agents: Some(vec![Who::Uid(5)]),
            approvers: Some(vec![Who::Uid(6)]),
            auditors: Some(vec![Who::Uid(7), Who::Uid(5)]),
            ..Default::default()
        };
        let it = Principals::find(&config, 0, &[8]).expect("this machine has users");
        assert_eq!(it.roles(&peer(6, &[])), [Role::Approver]);
        assert_eq!(it.roles(&peer(7, &[])), [Role::Auditor]);
        assert_eq!(it.roles(&peer(0, &[])), [], "root is not named");
        // Who only reads the log cannot answer for itself.
        assert_eq!(it.separation(&peer(5, &[])), Separation::Uid);
        assert!(it.is_agent(&peer(8, &[])), "a code let it in");
        assert!(it.put_out(8) && !it.is_agent(&peer(8, &[])) && !it.put_out(8));
        it.let_in(5);
        assert!(!it.put_out(5) && it.is_agent(&peer(5, &[])), "the configuration stands");
    }
}
