//! The proof that somebody may use a desktop. Only this layer can make one, the proxy takes nothing
//! else, and it can be withdrawn at any time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
    pub fn desktop(&self) -> &Arc<Entry> {
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

    /// Notes traffic that no person caused: clients ask for pictures and send signs of life by themselves, for as
    /// long as their tab is open. The desktop is in use, but whoever went away from it does not use the session.
    pub fn traffic(&self, now: Timestamp) {
        self.desktop.touch(now);
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

/// Waits for the end of a grant, on behalf of one request after another: what they share is set up once.
pub struct Revocation {
    grant: DesktopGrant,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Revocation {
    /// Of this grant.
    #[must_use]
    pub fn of(grant: DesktopGrant) -> Self {
        Self {
            gone: Box::pin(grant.desktop_gone()),
            ended: Box::pin(grant.principal_ended()),
            grant,
        }
    }

    /// Whether `grant` ends with the same session or token and the same desktop.
    #[must_use]
    pub fn is_of(&self, grant: &DesktopGrant) -> bool {
        // The one that is held here stays where it is.
        std::ptr::eq(self.grant.principal.ended(), grant.principal.ended())
            && Arc::ptr_eq(&self.grant.desktop, &grant.desktop)
    }

    /// Ready when either has ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.ended.as_mut().poll(cx)
    }
}
