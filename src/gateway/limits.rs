//! What one client address may do how often: log in, show secrets that are none, and speak for the provider.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Audit;
use crate::authn::AuthnError;
use crate::clock::Clock;
use crate::model::audit::{Action, Actor, Event, Outcome};
use crate::model::rate::Rate;
use crate::rate::{self, Limiter, TooOften};
use crate::request::RequestContext;
use crate::request::client_addr::client_of;
use crate::respond::error::HttpError;
use crate::telemetry::metrics::Metrics;

/// Wrong sessions and tokens from one address. A class whose sessions are over stays below it, and a school
/// that does not is only told to ask more slowly: what is right passes in any case.
const WRONG_SECRETS: NonZeroU32 = match NonZeroU32::new(300) {
    Some(count) => count,
    None => NonZeroU32::MIN,
};
/// The period of [`WRONG_SECRETS`].
const WRONG_SECRETS_IN: Duration = Duration::from_secs(300);

/// Logout tokens from one address, which is the provider's if they are good. So many come at once where it ends the sessions
/// of a whole school, and one that is turned away may not come again.
const LOGOUTS: NonZeroU32 = match NonZeroU32::new(1000) {
    Some(count) => count,
    None => NonZeroU32::MIN,
};
/// The period of [`LOGOUTS`].
const LOGOUTS_IN: Duration = Duration::from_secs(60);

/// A step of a login. Each is counted by itself, so that a login is one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoginStep {
    /// `/login`: on the way to the provider.
    Begin,
    /// `/authorize`: back from there.
    Finish,
}

/// Counts by client address; IPv6 by /64.
#[derive(Debug)]
pub struct Limits {
    logins: Limiter<(LoginStep, IpAddr)>,
    wrong: Limiter<IpAddr>,
    logouts: Limiter<IpAddr>,
    /// What the audit log has been told already.
    told: Limiter<(&'static str, IpAddr)>,
    audit: Audit,
    metrics: Metrics,
}

impl Limits {
    /// Allows each address logins at this rate.
    #[must_use]
    pub fn new(logins: Rate, clock: Arc<dyn Clock>, (audit, metrics): (Audit, Metrics)) -> Self {
        let wrong = Rate::new(WRONG_SECRETS, WRONG_SECRETS_IN);
        Self {
            logins: Limiter::new(logins, clock.clone()),
            wrong: Limiter::new(wrong, clock.clone()),
            logouts: Limiter::new(Rate::new(LOGOUTS, LOGOUTS_IN), clock.clone()),
            told: Limiter::new(rate::NEWS, clock),
            audit,
            metrics,
        }
    }

    /// Counts a step of a login.
    pub(super) fn login(&self, step: LoginStep, context: &RequestContext) -> Result<(), TooOften> {
        let counted = self.logins.check(&(step, client_of(context.client)));
        counted.inspect_err(|_| self.limited("login", context))
    }

    /// Counts what says that it comes from the provider. Its signature costs more than the request.
    pub(super) fn provider_logout(&self, context: &RequestContext) -> Result<(), TooOften> {
        let counted = self.logouts.check(&client_of(context.client));
        counted.inspect_err(|_| self.limited("logout", context))
    }

    /// Counts a request whose session or token is none; says 429 instead of 401 when there were too many. The
    /// secret was looked up by then: whoever has a good one is never locked out by others at their address.
    pub(super) fn refused(&self, context: &RequestContext, error: HttpError) -> HttpError {
        let HttpError::Authn(refused) = &error else {
            return error;
        };
        match refused {
            AuthnError::TokenInBrowser => {
                self.tell(Action::TokenRefused, "token_in_browser", context);
                return error;
            }
            AuthnError::InvalidToken => self.tell(Action::TokenRefused, "token_invalid", context),
            AuthnError::InvalidSession => {}
            _ => return error,
        }
        match self.wrong.check(&client_of(context.client)) {
            Ok(()) => error,
            Err(too_often) => {
                self.limited("secret", context);
                too_often.into()
            }
        }
    }

    fn limited(&self, what: &'static str, context: &RequestContext) {
        self.metrics.rate_limited(what);
        self.tell(Action::RateLimited, what, context);
    }

    /// Tells the audit log, once in a while for each address.
    fn tell(&self, action: Action, reason: &'static str, context: &RequestContext) {
        if self
            .told
            .check(&(reason, client_of(context.client)))
            .is_ok()
        {
            let actor = Actor::anonymous().at(context.client, context.id);
            let event = Event::new(action, &actor);
            self.audit.record(event.outcome(Outcome::Refused, reason));
        }
    }
}
