//! The pages of admins: fills the portal's views. Who comes in is decided as for the API of admins.

use hyper::StatusCode;

use super::{Gateway, pages};
use crate::authn::Authenticated;
use crate::authn::origin::Side;
use crate::authz::admin::authorize_admin;
use crate::authz::policy::Area;
use crate::portal::{self, AdminOverview, Place, Section};
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::html;

/// What an admin needs to look after for a section.
const fn area(section: Section) -> Area {
    match section {
        Section::Overview => Area::Desktops,
    }
}

impl Gateway {
    /// `/admin` and what is below it.
    pub(super) async fn admin_page(
        &self,
        context: &RequestContext,
        section: Section,
        request: Request,
    ) -> Result<Response, HttpError> {
        let who = match self.authenticated(context, Side::Portal, &request).await {
            Ok(who) => who,
            Err(error) => return self.sign_in_first(context, Side::Portal, &request, error),
        };
        who.session()?;
        authorize_admin(&who.principal, area(section))?;
        let token = self.page_token(&who, &request)?;
        let place = Place::Admin(section);
        let shell = pages::shell(context.lang, who.user(), token.as_deref(), place);
        match section {
            Section::Overview => {
                let page = AdminOverview {
                    lang: context.lang,
                    shell,
                    now: &self.api.watch().look().await?,
                };
                Ok(html(StatusCode::OK, portal::admin_overview(&page)))
            }
        }
    }

    /// The token for a page's forms. A desktop's script could fetch the page, but it cannot navigate to it and read it.
    pub(super) fn page_token(
        &self,
        who: &Authenticated,
        request: &Request,
    ) -> Result<Option<String>, HttpError> {
        let session = who.session()?;
        let origin = self.authenticator.origin();
        Ok(pages::is_document(request).then(|| origin.csrf_token(&session.hash)))
    }
}
