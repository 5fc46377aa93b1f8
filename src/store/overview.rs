//! What admins see of all people: users, desktops with their owners, sessions, and how many there are of each.

use sqlx::Row;

use super::conditions::Conditions;
use super::containers::{self, LIVE};
use super::users::{USER_COLUMNS, user_from};
use super::{Database, StoreError, on_pool};
use crate::model::desktop::{Desktop, State};
use crate::model::id::{DesktopId, SessionId, UserId};
use crate::model::time::Timestamp;
use crate::model::user::{Role, User};

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many at most.
    pub limit: u32,
    /// How many are passed over.
    pub offset: u32,
}

/// What a list is sorted by, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort<T> {
    /// What.
    pub by: T,
    /// The largest first.
    pub descending: bool,
}

impl<T> Sort<T> {
    fn sql(&self, expression: &str, last: &str) -> String {
        let direction = if self.descending { "DESC" } else { "ASC" };
        format!("{expression} {direction}, {last}")
    }
}

/// What desktops are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesktopOrder {
    /// When the start was asked for.
    Created,
    /// Last traffic from a browser.
    LastAccessed,
    /// The owner's name.
    User,
    /// The template.
    Template,
    /// The state.
    Status,
}

/// Which desktops are wanted; all that is said must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesktopFilter {
    /// One of these states; empty: any.
    pub status: Vec<State>,
    /// The owner's id or name.
    pub user: Option<String>,
    /// The template's id.
    pub template: Option<String>,
    /// Part of the owner's name, the template's id or the container's name.
    pub text: Option<String>,
}

/// What users are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserOrder {
    /// Their name.
    Name,
    /// The last login.
    LastLogin,
    /// When they first came.
    Created,
}

/// Which users are wanted; all that is said must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Their role.
    pub role: Option<Role>,
    /// Part of a name or mail address.
    pub text: Option<String>,
}

/// A user as admins see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// Who.
    pub user: User,
    /// The first login.
    pub created_at: Timestamp,
    /// The last login.
    pub last_login: Timestamp,
    /// Their live desktops.
    pub live_desktops: i64,
    /// Their sessions.
    pub sessions: i64,
}

/// A session as admins see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSession {
    /// Public handle.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// What they are called.
    pub username: String,
    /// What it was begun with, for people; empty if unknown.
    pub device: String,
    /// Where it was last used, as of the last write.
    pub address: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// Its absolute end.
    pub expires_at: Timestamp,
    /// Last use, as of the last write.
    pub last_seen: Timestamp,
}

/// A page of a list, and how long the whole list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The page.
    pub rows: Vec<T>,
    /// All that fit the filter.
    pub total: i64,
}

/// How many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Desktops in each state in which there are any.
    pub desktops: Vec<(State, i64)>,
    /// People who ever signed in and were not forgotten.
    pub users: i64,
    /// Sessions that are not over.
    pub sessions: i64,
    /// People with a live desktop.
    pub users_with_desktops: i64,
    /// The most live desktops that one person has.
    pub most_of_one_user: i64,
}

/// Binds texts in their order, after whatever was bound.
macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = query.bind(value);
        }
        query
    }};
}

/// A desktop and its owner, from a row of both tables.
macro_rules! owned_from {
    ($row:expr) => {{
        let row = $row;
        let desktop = containers::desktop_from(&containers::Columns {
            text: &|column| row.try_get(column),
            number: &|column| row.try_get(column),
        })?;
        Ok((desktop, user_from(&|column| row.try_get(column))?))
    }};
}

impl Database {
    /// A desktop with its owner, by one statement whether there is one or not.
    pub async fn find_owned_desktop(
        &self,
        id: DesktopId,
    ) -> Result<Option<(Desktop, User)>, StoreError> {
        let sql = format!(
            "SELECT {}, {USER_COLUMNS}
             FROM containers JOIN users ON users.id = containers.user_id WHERE containers.id = $1",
            containers::qualified()
        );
        on_pool!(self, |pool| {
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.to_string());
            let row = query.fetch_optional(pool).await?;
            row.map(|row| owned_from!(row)).transpose()
        })
    }

    /// Everybody's desktops with their owners.
    pub async fn list_all_desktops(
        &self,
        filter: &DesktopFilter,
        sort: Sort<DesktopOrder>,
        page: Page,
    ) -> Result<Listed<(Desktop, User)>, StoreError> {
        let mut conditions = Conditions::new("1 = 1", 1);
        if !filter.status.is_empty() {
            let states: Vec<String> = filter
                .status
                .iter()
                .map(|state| format!("'{}'", state.as_str()))
                .collect();
            let any = states.join(", ");
            conditions.require(&format!("containers.status IN ({any})"));
        }
        conditions.add(filter.user.clone(), "(users.id = ? OR users.username = ?)");
        conditions.add(filter.template.clone(), "containers.template = ?");
        let columns = [
            "users.username",
            "users.name",
            "containers.template",
            "containers.container_name",
        ];
        conditions.contains(filter.text.as_deref(), &columns);
        let order = match sort.by {
            DesktopOrder::Created => "containers.created_at",
            DesktopOrder::LastAccessed => "COALESCE(containers.last_accessed, 0)",
            DesktopOrder::User => "LOWER(users.username)",
            DesktopOrder::Template => "containers.template",
            DesktopOrder::Status => "containers.status",
        };
        let from = format!(
            "FROM containers JOIN users ON users.id = containers.user_id WHERE {}",
            conditions.sql
        );
        let rows = format!(
            "SELECT {}, {USER_COLUMNS} {from} ORDER BY {} LIMIT {} OFFSET {}",
            containers::qualified(),
            sort.sql(order, "containers.id"),
            page.limit,
            page.offset
        );
        let total = format!("SELECT COUNT(*) AS n {from}");
        on_pool!(self, |pool| {
            let query = sqlx::query(sqlx::AssertSqlSafe(rows));
            let found = bind_all!(query, &conditions.values);
            let found = found.fetch_all(&mut *pool).await?;
            let rows: Result<Vec<_>, StoreError> =
                found.iter().map(|row| owned_from!(row)).collect();
            let query = sqlx::query(sqlx::AssertSqlSafe(total));
            let total = bind_all!(query, &conditions.values).fetch_one(pool).await?;
            Ok(Listed {
                rows: rows?,
                total: total.try_get("n")?,
            })
        })
    }

    /// Everybody who ever signed in.
    pub async fn list_users(
        &self,
        filter: &UserFilter,
        sort: Sort<UserOrder>,
        page: Page,
    ) -> Result<Listed<KnownUser>, StoreError> {
        let mut conditions = Conditions::new("1 = 1", 1);
        let role = filter.role.map(|role| role.as_str().to_owned());
        conditions.add(role, "users.role = ?");
        let columns = ["users.username", "users.name", "users.email"];
        conditions.contains(filter.text.as_deref(), &columns);
        let order = match sort.by {
            UserOrder::Name => "LOWER(users.username)",
            UserOrder::LastLogin => "users.last_login",
            UserOrder::Created => "users.created_at",
        };
        let rows = format!(
            "SELECT {USER_COLUMNS}, users.created_at, users.last_login,
                 (SELECT COUNT(*) FROM containers WHERE containers.user_id = users.id AND {LIVE}) AS live_desktops,
                 (SELECT COUNT(*) FROM oauth_sessions WHERE oauth_sessions.user_id = users.id) AS sessions
             FROM users WHERE {} ORDER BY {} LIMIT {} OFFSET {}",
            conditions.sql,
            sort.sql(order, "users.id"),
            page.limit,
            page.offset
        );
        let total = format!("SELECT COUNT(*) AS n FROM users WHERE {}", conditions.sql);
        on_pool!(self, |pool| {
            let query = sqlx::query(sqlx::AssertSqlSafe(rows));
            let found = bind_all!(query, &conditions.values);
            let found = found.fetch_all(&mut *pool).await?;
            let rows: Result<Vec<_>, StoreError> = found
                .iter()
                .map(|row| {
                    Ok(KnownUser {
                        user: user_from(&|column| row.try_get(column))?,
                        created_at: Timestamp::from_millis(row.try_get("created_at")?),
                        last_login: Timestamp::from_millis(row.try_get("last_login")?),
                        live_desktops: row.try_get("live_desktops")?,
                        sessions: row.try_get("sessions")?,
                    })
                })
                .collect();
            let query = sqlx::query(sqlx::AssertSqlSafe(total));
            let total = bind_all!(query, &conditions.values).fetch_one(pool).await?;
            Ok(Listed {
                rows: rows?,
                total: total.try_get("n")?,
            })
        })
    }

    /// Everybody's sessions, or those of one user by id or name, the last used first.
    pub async fn list_all_sessions(
        &self,
        user: Option<&str>,
        page: Page,
    ) -> Result<Listed<KnownSession>, StoreError> {
        let mut conditions = Conditions::new("1 = 1", 1);
        let user = user.map(str::to_owned);
        conditions.add(user, "(users.id = ? OR users.username = ?)");
        let from = format!(
            "FROM oauth_sessions JOIN users ON users.id = oauth_sessions.user_id WHERE {}",
            conditions.sql
        );
        let rows = format!(
            "SELECT oauth_sessions.id AS session_key, users.id AS user_key, users.username,
                 oauth_sessions.device, COALESCE(oauth_sessions.last_address, oauth_sessions.address) AS seen_at,
                 oauth_sessions.created_at, oauth_sessions.expires_at, oauth_sessions.last_seen
             {from} ORDER BY oauth_sessions.last_seen DESC, oauth_sessions.id LIMIT {} OFFSET {}",
            page.limit, page.offset
        );
        let total = format!("SELECT COUNT(*) AS n {from}");
        on_pool!(self, |pool| {
            let query = sqlx::query(sqlx::AssertSqlSafe(rows));
            let found = bind_all!(query, &conditions.values);
            let found = found.fetch_all(&mut *pool).await?;
            let rows: Result<Vec<_>, StoreError> = found
                .iter()
                .map(|row| {
                    let (id, user): (String, String) =
                        (row.try_get("session_key")?, row.try_get("user_key")?);
                    let corrupt = |id: &str| StoreError::Corrupt(format!("id {id:?}"));
                    Ok(KnownSession {
                        id: id.parse().map_err(|_| corrupt(&id))?,
                        user_id: user.parse().map_err(|_| corrupt(&user))?,
                        username: row.try_get("username")?,
                        device: row.try_get("device")?,
                        address: row.try_get("seen_at")?,
                        created_at: Timestamp::from_millis(row.try_get("created_at")?),
                        expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
                        last_seen: Timestamp::from_millis(row.try_get("last_seen")?),
                    })
                })
                .collect();
            let query = sqlx::query(sqlx::AssertSqlSafe(total));
            let total = bind_all!(query, &conditions.values).fetch_one(pool).await?;
            Ok(Listed {
                rows: rows?,
                total: total.try_get("n")?,
            })
        })
    }

    /// How many there are of everything.
    pub async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        on_pool!(self, |pool| {
            let desktops =
                sqlx::query("SELECT status, COUNT(*) AS n FROM containers GROUP BY status")
                    .fetch_all(&mut *pool)
                    .await?;
            let mut counts = Counts::default();
            for row in desktops {
                let word: String = row.try_get("status")?;
                let state = State::from_word(&word)
                    .ok_or_else(|| StoreError::Corrupt(format!("status {word:?}")))?;
                counts.desktops.push((state, row.try_get("n")?));
            }
            let users = sqlx::query("SELECT COUNT(*) AS n FROM users")
                .fetch_one(&mut *pool)
                .await?;
            let sessions =
                sqlx::query("SELECT COUNT(*) AS n FROM oauth_sessions WHERE expires_at > $1")
                    .bind(now.millis())
                    .fetch_one(&mut *pool)
                    .await?;
            let owners = sqlx::query(sqlx::AssertSqlSafe(format!(
                "SELECT COUNT(*) AS owners, CAST(COALESCE(MAX(n), 0) AS BIGINT) AS most FROM
                 (SELECT COUNT(*) AS n FROM containers WHERE {LIVE} GROUP BY user_id) AS owned"
            )))
            .fetch_one(pool)
            .await?;
            counts.users_with_desktops = owners.try_get("owners")?;
            counts.most_of_one_user = owners.try_get("most")?;
            counts.users = users.try_get("n")?;
            counts.sessions = sessions.try_get("n")?;
            Ok(counts)
        })
    }
}
