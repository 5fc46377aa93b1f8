//! The proof that somebody may use a desktop. Only this layer can make one, the proxy takes nothing
//! else, and it can be withdrawn at any time.

use std::sync::Arc;

use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::authn::principal::Principal;
use crate::desktop::directory::{Entry, StreamPlace};
use crate::model::time::Timestamp;

/// May use this desktop, until one of the two ends.
#[derive(Clone, Debug)]
pub struct DesktopGrant {
    principal: Principal,
    desktop: Arc<Entry>,
}

impl DesktopGrant {
    pub(super) fn new(principal: Principal, desktop: Arc<Entry>) -> Self {
        Self { principal, desktop }
    }

    /// The desktop.
    #[must_use]
    pub fn desktop(&self) -> &Entry {
        &self.desktop
    }

    /// Who uses it.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Notes traffic from the browser: the desktop is in use, and so is the session or token.
    pub fn touch(&self, now: Timestamp) {
        self.desktop.touch(now);
        self.principal.touch(now);
    }

    /// Notes input of a person, which is traffic as well.
    pub fn input(&self, now: Timestamp) {
        self.desktop.input(now);
        self.principal.touch(now);
    }

    /// Notes traffic that has to count as use, because nobody can tell what it is.
    pub fn used(&self, now: Timestamp) {
        self.desktop.used(now);
        self.principal.touch(now);
    }

    /// Ends when the desktop stops running.
    pub fn desktop_gone(&self) -> WaitForCancellationFutureOwned {
        self.desktop.gone.clone().cancelled_owned()
    }

    /// Ends when the session or token does.
    pub fn principal_ended(&self) -> WaitForCancellationFutureOwned {
        self.principal.ended().clone().cancelled_owned()
    }

    /// A place for one more WebSocket to the desktop, unless there are `limit` already.
    #[must_use]
    pub fn stream(&self, limit: u32) -> Option<StreamPlace> {
        Entry::stream(&self.desktop, limit)
    }

    /// Whether either has ended.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.desktop.gone.is_cancelled() || self.principal.ended().is_cancelled()
    }

    /// Ends when either does.
    pub async fn revoked(&self) {
        tokio::select! {
            () = self.desktop_gone() => {}
            () = self.principal_ended() => {}
        }
    }
}
