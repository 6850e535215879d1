//! Standing grants.

use rusqlite::{Row, params};

use super::{StateError, Store};

/// A standing grant. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// Its name.
    pub id: String,
    /// The session that it ends with; `None` for one that outlives sessions.
    pub session: Option<String>,
    /// Whose commands it is for.
    pub uid: u32,
    /// What it is bound to, as JSON.
    pub bound: String,
    /// Who gave it.
    pub approver: (u32, String),
    /// When.
    pub created: i64,
    /// Until when.
    pub expires: i64,
    /// When it was taken back, and by whom.
    pub revoked: Option<(i64, String)>,
    /// How often it let a command run.
    pub uses: u64,
    /// When it last did.
    pub last_used: Option<i64>,
}

const COLUMNS: &str =
    "id, session, uid, bound, approver_uid, approver, created, expires, revoked, revoked_by, uses, last_used";

/// Grants that are over are shown for so long.
const KEPT_MS: i64 = 90 * 24 * 3600 * 1000;

impl Store {
    /// Keeps a new grant.
    ///
    /// # Errors
    /// When it is not on disk.
    pub fn add_grant(&self, grant: &GrantRow) -> Result<(), StateError> {
        self.change(|all| {
            all.execute(
                "DELETE FROM grants WHERE max(coalesce(revoked, expires), expires) < ?1",
                [grant.created - KEPT_MS],
            )?;
            all.execute(
                "INSERT INTO grants (id, scope, session, uid, bound, approver_uid, approver, created, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    grant.id,
                    if grant.session.is_some() { "session" } else { "always" },
                    grant.session,
                    grant.uid,
                    grant.bound,
                    grant.approver.0,
                    grant.approver.1,
                    grant.created,
                    grant.expires
                ],
            )
            .map(drop)
        })
    }

    /// All grants, the oldest first; those that are over among them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn grants(&self) -> Result<Vec<GrantRow>, StateError> {
        self.look(|connection| {
            connection
                .prepare(&format!("SELECT {COLUMNS} FROM grants ORDER BY created, id"))?
                .query_map([], read)?
                .collect()
        })
    }

    /// Takes a grant back. Whether there was one to take back.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn revoke_grant(&self, id: &str, at: i64, by: &str) -> Result<bool, StateError> {
        self.change(|all| {
            let changed = all.execute(
                "UPDATE grants SET revoked = ?2, revoked_by = ?3 WHERE id = ?1 AND revoked IS NULL",
                params![id, at, by],
            )?;
            Ok(changed > 0)
        })
    }

    /// Counts a use.
    ///
    /// # Errors
    /// When that is not on disk.
    pub fn use_grant(&self, id: &str, at: i64) -> Result<(), StateError> {
        self.change(|all| {
            all.execute("UPDATE grants SET uses = uses + 1, last_used = ?2 WHERE id = ?1", params![id, at])
                .map(drop)
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<GrantRow> {
    let revoked: Option<i64> = row.get(8)?;
    let by: Option<String> = row.get(9)?;
    Ok(GrantRow {
        id: row.get(0)?,
        session: row.get(1)?,
        uid: row.get(2)?,
        bound: row.get(3)?,
        approver: (row.get(4)?, row.get(5)?),
        created: row.get(6)?,
        expires: row.get(7)?,
        revoked: revoked.map(|at| (at, by.unwrap_or_default())),
        uses: row.get::<_, i64>(10).map(|uses| uses.try_into().unwrap_or(0))?,
        last_used: row.get(11)?,
    })
}
