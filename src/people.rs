//! What is stored about one person: handing it out, and deleting it. The users of a school are minors, and both
//! are their right (GDPR, articles 15 and 17).

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::audit::Audit;
use crate::authn::session::Sessions;
use crate::desktop::{DesktopError, Desktops};
use crate::model::audit::{Action, Actor, Event};
use crate::model::id::{RequestId, UserId};
use crate::model::reason::Reason;
use crate::model::user::User;
use crate::store::audit::{Entry, Filter};
use crate::store::{Database, StoreError};

/// Entries of the audit log that are read at once.
const BATCH: u32 = 1000;

/// Why a person's data could not be handed out or deleted.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A desktop, its container or a volume could not be removed. What was done up to then stays done, and
    /// the rest is done by the next try.
    #[error(transparent)]
    Desktop(#[from] DesktopError),
}

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Forgotten {
    /// Sessions that ended.
    pub sessions: u64,
    /// API tokens that were deleted.
    pub tokens: u64,
    /// Desktops whose containers and rows were removed.
    pub desktops: u64,
    /// Volumes with files of theirs.
    pub volumes: u64,
    /// Entries of the audit log that name the person no more.
    pub audit_entries: u64,
    /// What stands there instead.
    pub pseudonym: String,
}

/// Everybody who is known.
#[derive(Clone, Debug)]
pub struct People {
    database: Database,
    sessions: Arc<Sessions>,
    desktops: Desktops,
    audit: Audit,
}

impl People {
    /// The people in this database.
    #[must_use]
    pub fn new(
        database: Database,
        sessions: Arc<Sessions>,
        desktops: Desktops,
        audit: Audit,
    ) -> Self {
        Self {
            database,
            sessions,
            desktops,
            audit,
        }
    }

    /// Somebody, by id.
    pub async fn find(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.database.find_user(id).await
    }

    /// Everybody whose id or name this is.
    pub async fn named(&self, text: &str) -> Result<Vec<User>, StoreError> {
        self.database.find_users_named(text).await
    }

    /// Everything that is stored about a person, without the secrets that are theirs alone.
    pub async fn export(&self, user: &User, by: &Actor) -> Result<Value, StoreError> {
        let mut filter = Filter {
            user: Some(user.id.to_string()),
            ..Filter::default()
        };
        let mut audit = Vec::new();
        loop {
            let entries = self.audit.list(&filter, BATCH).await?;
            let Some(last) = entries.last() else { break };
            filter.before = Some(last.id);
            audit.extend(entries.iter().map(Entry::to_json));
        }
        let mut value = self.database.export_user(user.id).await?;
        if let Value::Object(tables) = &mut value {
            tables.insert("audit_log".into(), Value::Array(audit));
        }
        let event = Event::new(Action::UserExported, by);
        self.audit.record(event.subject(user.id));
        Ok(value)
    }

    /// Ends and deletes everything of a person; what happened stays in the audit log, under a pseudonym. If they
    /// log in again they are somebody new.
    ///
    /// # Errors
    /// Engine or database do not answer. The row of the person goes last, so that it can be tried again.
    pub async fn forget(&self, user: &User, by: &Actor) -> Result<Forgotten, PeopleError> {
        // In this order: nobody starts a desktop any more, then none is left, then nothing uses the volumes.
        let sessions = self.sessions.end_all_of(user.id).await?.len();
        let tokens = self.database.delete_tokens_of(user.id).await?;
        let mut desktops = 0;
        for desktop in self.desktops.list(user).await? {
            let removed = self.desktops.remove(desktop.id, by, Reason::UserForgotten);
            match removed.await {
                Ok(_) => desktops += 1,
                Err(DesktopError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let volumes = self.desktops.remove_homes(user.id).await?;
        let pseudonym = format!("forgotten-{}", RequestId::random());
        // What this gateway still has to write about them must be there before it is changed.
        self.audit.flush().await;
        let audit_entries = self.database.forget_user(user.id, &pseudonym).await?;
        let mut by = by.clone();
        if by.user == Some(user.id) {
            // An admin who forgets themselves is nobody any more.
            by = Actor::anonymous();
            by.name = Some(pseudonym.clone());
        }
        let event = Event::new(Action::UserForgotten, &by);
        self.audit.record(event.detail("pseudonym", &pseudonym));
        tracing::info!(desktops, volumes, audit_entries, "a user was forgotten");
        Ok(Forgotten {
            sessions: u64::try_from(sessions).unwrap_or(u64::MAX),
            tokens,
            desktops,
            volumes,
            audit_entries,
            pseudonym,
        })
    }
}
