//! Who was let in, who waits to be, and how their asks are answered.

use rusqlite::{OptionalExtension as _, params};

use super::{StateError, Store};

/// Somebody who was let in by a pairing code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRow {
    /// The user.
    pub uid: u32,
    /// Its name when it was let in.
    pub name: String,
    /// Who let it in.
    pub approver: (u32, String),
    /// When: milliseconds since 1970.
    pub at: i64,
}

/// A pairing code that waits: its salted hash, and never itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingRow {
    /// Its name, which says nothing of the code.
    pub id: String,
    /// Who asked.
    pub uid: u32,
    /// Who shares its places.
    pub bucket: u32,
    /// Random, of this code alone.
    pub salt: Vec<u8>,
    /// Of salt and code.
    pub hash: Vec<u8>,
    /// When it was made: milliseconds since 1970.
    pub created: i64,
    /// Until when it counts.
    pub expires: i64,
}

/// How the asks of a principal are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeRow {
    /// The user.
    pub uid: u32,
    /// The mode.
    pub mode: String,
    /// Who set it.
    pub approver: (u32, String),
    /// When: milliseconds since 1970.
    pub at: i64,
}

impl Store {
    /// Keeps a code that waits, unless `most` of its bucket, or `in_all` of everybody, wait already. Whether it is kept.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn add_pairing(&self, pairing: &PairingRow, most: u32, in_all: u32) -> Result<bool, StateError> {
        self.change(|all| {
            all.execute("DELETE FROM pairings WHERE expires <= ?1", [pairing.created])?;
            let (own, everybody): (u32, u32) = all.query_row(
                "SELECT count(*) FILTER (WHERE bucket = ?1), count(*) FROM pairings",
                [pairing.bucket],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if own >= most || everybody >= in_all {
                return Ok(false);
            }
            let PairingRow { id, uid, bucket, salt, hash, created, expires } = pairing;
            all.execute(
                "INSERT INTO pairings (id, uid, bucket, salt, hash, created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![id, uid, bucket, salt, hash, created, expires],
            )?;
            Ok(true)
        })
    }

    /// The codes that wait, oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn pairings(&self, now: i64) -> Result<Vec<PairingRow>, StateError> {
        self.look(|connection| {
            connection
                .prepare(
                    "SELECT id, uid, bucket, salt, hash, created, expires FROM pairings WHERE expires > ?1
                     ORDER BY created, id",
                )?
                .query_map([now], |row| {
                    Ok(PairingRow {
                        id: row.get(0)?,
                        uid: row.get(1)?,
                        bucket: row.get(2)?,
                        salt: row.get(3)?,
                        hash: row.get(4)?,
                        created: row.get(5)?,
                        expires: row.get(6)?,
                    })
                })?
                .collect()
        })
    }

    /// Lets somebody in whose code waits: uses all of its codes up. `false` where the code is gone meanwhile.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn pair(&self, pairing: &str, principal: &PrincipalRow) -> Result<bool, StateError> {
        self.change(|all| {
            let uid: Option<u32> = all
                .query_row(
                    "SELECT uid FROM pairings WHERE id = ?1 AND expires > ?2",
                    params![pairing, principal.at],
                    |row| row.get(0),
                )
                .optional()?;
            if uid != Some(principal.uid) {
                return Ok(false);
            }
            all.execute("DELETE FROM pairings WHERE uid = ?1", [principal.uid])?;
            let PrincipalRow { uid, name, approver, at } = principal;
            all.execute(
                "INSERT OR REPLACE INTO principals (uid, name, approver_uid, approver, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![uid, name, approver.0, approver.1, at],
            )?;
            Ok(true)
        })
    }

    /// Everybody who was let in.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn principals(&self) -> Result<Vec<PrincipalRow>, StateError> {
        self.look(|connection| {
            connection
                .prepare("SELECT uid, name, approver_uid, approver, at FROM principals ORDER BY uid")?
                .query_map([], |row| {
                    Ok(PrincipalRow {
                        uid: row.get(0)?,
                        name: row.get(1)?,
                        approver: (row.get(2)?, row.get(3)?),
                        at: row.get(4)?,
                    })
                })?
                .collect()
        })
    }

    /// Puts somebody out, and its waiting codes with it. Whether there was anybody.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn unpair(&self, uid: u32) -> Result<bool, StateError> {
        self.change(|all| {
            let codes = all.execute("DELETE FROM pairings WHERE uid = ?1", [uid])?;
            Ok(all.execute("DELETE FROM principals WHERE uid = ?1", [uid])? + codes > 0)
        })
    }

    /// Sets how a principal's asks are answered; `None` is by a person.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn set_mode(&self, uid: u32, mode: Option<&ModeRow>) -> Result<(), StateError> {
        self.change(|all| {
            all.execute("DELETE FROM modes WHERE uid = ?1", [uid])?;
            if let Some(ModeRow { mode, approver, at, .. }) = mode {
                all.execute(
                    "INSERT INTO modes (uid, mode, approver_uid, approver, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![uid, mode, approver.0, approver.1, at],
                )?;
            }
            Ok(())
        })
    }

    /// The modes of all principals that have one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn modes(&self) -> Result<Vec<ModeRow>, StateError> {
        self.look(|connection| {
            connection
                .prepare("SELECT uid, mode, approver_uid, approver, at FROM modes ORDER BY uid")?
                .query_map([], |row| {
                    Ok(ModeRow {
                        uid: row.get(0)?,
                        mode: row.get(1)?,
                        approver: (row.get(2)?, row.get(3)?),
                        at: row.get(4)?,
                    })
                })?
                .collect()
        })
    }
}
