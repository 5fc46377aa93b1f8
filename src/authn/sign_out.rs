//! What follows from the end of sessions, whoever ended them and from where: their desktops do as
//! `DESKTOP_ON_LOGOUT` says, and the audit log hears of it. Their streams have ended by then.

use std::sync::Arc;

use super::session::Sessions;
use crate::audit::Audit;
use crate::config::OnLogout;
use crate::desktop::Desktops;
use crate::model::audit::{Action, Actor, Event, Object};
use crate::model::id::DesktopId;
use crate::model::reason::Reason;
use crate::store::sessions::EndedSession;
use crate::tasks::Tasks;
use crate::telemetry::ErrorChain;

/// Sessions, and what their end means for others.
#[derive(Clone, Debug)]
pub struct SignOut {
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// What they may have started.
    pub desktops: Desktops,
    /// Who did what.
    pub audit: Audit,
    /// Ends desktops, which takes its time.
    pub tasks: Tasks,
    /// What becomes of the desktops.
    pub on_logout: OnLogout,
}

impl SignOut {
    /// Does what follows from the end of these sessions. `action` is [`Action::Logout`] for the session that
    /// its person left, and [`Action::SessionEnded`] for any other.
    pub fn follow(&self, ended: &[EndedSession], action: Action, by: &Actor) {
        for session in ended {
            self.follow_one(session, Event::new(action, by), action.as_str());
        }
    }

    /// The same where somebody else ended them, for this reason.
    pub fn follow_because(&self, ended: &[EndedSession], reason: &'static str, by: &Actor) {
        for session in ended {
            let event = Event::new(Action::SessionEnded, by).reason(reason);
            self.follow_one(session, event, reason);
        }
    }

    fn follow_one(&self, session: &EndedSession, event: Event, why: &'static str) {
        let by = event.actor.clone();
        let event = event.subject(session.user);
        self.audit.record(event.object(Object::Session(session.id)));
        tracing::info!(user = %session.user, session = %session.id, why, "session ended");
        for desktop in &session.desktops {
            self.end_desktop(*desktop, &by);
        }
    }

    fn end_desktop(&self, id: DesktopId, by: &Actor) {
        let (desktops, on_logout, by) = (self.desktops.clone(), self.on_logout, by.clone());
        self.tasks.spawn("logout", async move {
            let done = match on_logout {
                OnLogout::Keep => return,
                OnLogout::Remove => desktops.remove(id, &by, Reason::Logout).await,
                OnLogout::Stop => desktops.stop(id, &by, Reason::Logout).await,
            };
            if let Err(error) = done {
                tracing::warn!(desktop = %id, error = %ErrorChain(&error), "a logout left a desktop");
            }
        });
    }
}
