//! The pages of admins: fills the portal's views, and does what their forms say. Who comes in is decided as for the
//! API of admins, and what is done is done by it.

use hyper::{Method, StatusCode, Uri};

use super::forms::Form;
use super::{Gateway, pages};
use crate::api::lists;
use crate::authn::Authenticated;
use crate::authn::origin::Side;
use crate::authz::admin::{AdminGrant, authorize_admin};
use crate::authz::policy::{Action, Area};
use crate::model::audit::Actor;
use crate::portal::{self, AdminAsk, AdminOverview, Asked, Place, Section, Shell, UsedImage};
use crate::request::lang::Lang;
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::{german, html, redirect};
use crate::store::overview::Page;

/// Rows of a page at most, so that a form with all of them is read.
const MOST_ROWS: u32 = 100;

/// What an admin needs to look after for a section.
const fn area(section: Section) -> Area {
    match section {
        Section::Overview | Section::Desktops | Section::Templates => Area::Desktops,
        Section::Users => Area::Users,
        Section::Sessions => Area::Sessions,
        Section::Images => Area::Images,
        Section::Audit => Area::Audit,
    }
}

/// The query of a page, for the addresses of those next to it.
fn asked(uri: &Uri, page: Page) -> Asked {
    let query = uri.query().unwrap_or_default().as_bytes();
    Asked {
        pairs: url::form_urlencoded::parse(query).into_owned().collect(),
        limit: page.limit,
        offset: page.offset,
    }
}

fn bounded(page: Page) -> Page {
    let limit = page.limit.min(MOST_ROWS);
    Page { limit, ..page }
}

/// The query that a form brings back, written anew: it goes into a header.
fn back(form: &Form) -> String {
    let said = form.field("back").unwrap_or_default();
    let pairs = url::form_urlencoded::parse(said.trim_start_matches('?').as_bytes());
    let mut query = url::form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
    query.extend_pairs(pairs).finish()
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
        let grant = authorize_admin(&who.principal, area(section))?;
        let token = self.page_token(&who, &request)?;
        let place = Place::Admin(section);
        let shell = pages::shell(context.lang, who.user(), token.as_deref(), place);
        if *request.method() == Method::POST {
            let form = self.read_form(&who, request).await?;
            let actor = who.actor(context);
            return self
                .admin_act((section, shell), (grant, &actor), &form)
                .await;
        }
        let page = self.section(&who, (section, shell), request.uri()).await?;
        Ok(html(StatusCode::OK, page))
    }

    async fn section(
        &self,
        who: &Authenticated,
        (section, shell): (Section, Shell<'_>),
        uri: &Uri,
    ) -> Result<String, HttpError> {
        let everything = Page {
            limit: MOST_ROWS,
            offset: 0,
        };
        Ok(match section {
            Section::Overview => portal::admin_overview(&AdminOverview {
                lang: shell.lang,
                shell,
                now: &self.api.watch().look().await?,
            }),
            Section::Desktops => {
                let (filter, sort, page) = lists::desktops(uri)?;
                let page = bounded(page);
                let listed = self.database.list_all_desktops(&filter, sort, page);
                let listed = listed.await?;
                let desktops = listed.rows.iter().map(|(desktop, _)| desktop);
                let usage = self.desktops.usage(desktops).await;
                let usage = |id| usage.get(&id).copied();
                portal::admin_desktops(shell, &asked(uri, page), &listed, usage)
            }
            Section::Users => {
                let (filter, sort, page) = lists::users(uri)?;
                let listed = self.database.list_users(&filter, sort, page).await?;
                portal::admin_users(shell, &asked(uri, page), &listed)
            }
            Section::Sessions => {
                let (user, page) = lists::sessions(uri)?;
                let page = bounded(page);
                let listed = self.database.list_all_sessions(user.as_deref(), page);
                let own = who.principal.session_id();
                portal::admin_sessions(shell, &asked(uri, page), &listed.await?, own)
            }
            Section::Images => {
                let images = self.desktops.images().await?;
                let used = images.into_iter().map(|image| UsedImage {
                    templates: self.desktops.templates_of(&image.names),
                    image,
                });
                let (used, pulls) = (used.collect::<Vec<_>>(), self.desktops.pulls());
                portal::admin_images(shell, &asked(uri, everything), &used, &pulls)
            }
            Section::Templates => {
                let templates = self.desktops.templates();
                portal::admin_templates(shell, &asked(uri, everything), templates)
            }
            Section::Audit => {
                let (filter, limit) = lists::audit(uri)?;
                let entries = self.audit.list(&filter, limit).await?;
                let full = u32::try_from(entries.len()).is_ok_and(|count| count == limit);
                let last = entries.last().filter(|_| full);
                let next = last.map(|entry| entry.id.to_string());
                portal::admin_audit(shell, &asked(uri, everything), &entries, next.as_deref())
            }
        })
    }

    /// Does what a form says, after a question where something ends.
    async fn admin_act(
        &self,
        (section, shell): (Section, Shell<'_>),
        (grant, actor): (AdminGrant, &Actor),
        form: &Form,
    ) -> Result<Response, HttpError> {
        let act = form.field("act").unwrap_or_default();
        let (ids, back) = (form.fields("id"), back(form));
        let confirmed = form.field("confirmed").is_some_and(|word| word == "yes");
        let ask = AdminAsk {
            shell,
            section,
            act: &act,
            ids: &ids,
            back: &back,
        };
        let failures = match (section, &*act) {
            (Section::Images, "pull") => {
                let image = form.field("image").unwrap_or_default();
                self.api.pull(grant, actor, &image)?;
                Vec::new()
            }
            (Section::Desktops, "stop" | "remove") if confirmed && !ids.is_empty() => {
                let action = if act == "stop" {
                    Action::Stop
                } else {
                    Action::Remove
                };
                self.api.act_on(grant, actor, &ids, action).await
            }
            (Section::Sessions, "revoke") if confirmed && !ids.is_empty() => {
                self.api.end_sessions(grant, actor, &ids).await
            }
            _ => {
                let page = portal::admin_ask(&ask);
                return Ok(html(StatusCode::OK, page));
            }
        };
        if failures.is_empty() {
            let to = format!("{}{back}", section.path());
            return Ok(redirect(StatusCode::SEE_OTHER, to.trim_end_matches('?')));
        }
        let words = failures.iter().map(|error| words(error, shell.lang));
        let words: Vec<String> = words.collect();
        Ok(html(StatusCode::OK, portal::admin_failures(&ask, &words)))
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

/// What went wrong, for people.
pub(super) fn words(error: &HttpError, lang: Lang) -> String {
    let row = error.row();
    let detail = german::detail(error, &row, lang);
    format!("{detail} ({})", row.code)
}
