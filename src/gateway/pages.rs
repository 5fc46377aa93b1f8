//! Our pages and the health answers: fills the portal's views from what is known.

use hyper::header::{HeaderValue, RETRY_AFTER, UPGRADE};
use hyper::{Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::Gateway;
use super::auth::query_value;
use crate::authn::oidc::SIGNED_OUT;
use crate::authn::origin::Side;
use crate::authn::{Authenticated, AuthnError};
use crate::authz::grant::DesktopGrant;
use crate::desktop::Desktops;
use crate::model::desktop::{Desktop, State};
use crate::model::reason::Reason;
use crate::model::schema;
use crate::model::template::{Home as TemplateHome, Template, fill};
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::portal::{
    self, Account, AccountToken, Card, CardDesktop, Device, Home, Place, Shell, SignIn, Waiting,
};
use crate::request::lang::Lang;
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::{html, json as json_answer, reason};
use crate::store::api_tokens::StoredToken;

/// What a desktop is said to be whose template is gone.
const NOT_OFFERED: &str = "no longer offered";
/// What a fetch is for (Fetch Metadata); no script can forge it.
const FETCH_DEST: &str = "sec-fetch-dest";

/// What the browser will do with the answer, if it says so.
fn destination(request: &Request) -> Option<&HeaderValue> {
    request.headers().get(FETCH_DEST)
}

/// Whether it is for a tab, as the browser says and no script can.
pub(super) fn is_document(request: &Request) -> bool {
    destination(request).is_some_and(|dest| dest == "document")
}

/// Whether somebody opens a page in a tab, as far as the browser says what it wants it for.
pub(super) fn is_visit(context: &RequestContext, request: &Request) -> bool {
    let page = context.wants_page && request.method().is_safe();
    let plain = page && !request.headers().contains_key(UPGRADE);
    plain && destination(request).is_none_or(|dest| dest == "document")
}

/// Where a person who opens the bare address of a desktop is sent: its entry page, whose query tells
/// the client the way back through us. `None` when the request is no such visit.
pub(super) fn entry(
    grant: &DesktopGrant,
    context: &RequestContext,
    rest: &str,
    request: &Request,
) -> Option<String> {
    let desktop = grant.desktop();
    if !(context.wants_page && request.method() == Method::GET && rest == "/") {
        return None;
    }
    let template = &desktop.template;
    let arrived = is_at_entry(&template.entry, request.uri().query().unwrap_or_default());
    (!arrived).then(|| {
        format!(
            "/desktop/{}{}",
            desktop.id,
            fill(&template.entry, desktop.id)
        )
    })
}

/// Whether a visit to the bare address with this query is one to the entry page already: it has what the entry's query
/// begins with, which for most clients is the way back through us.
fn is_at_entry(entry: &str, query: &str) -> bool {
    let (path, wanted) = entry.split_once('?').unwrap_or((entry, ""));
    let names = |query: &str| {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.map(|(name, _)| name.into_owned()).collect::<Vec<_>>()
    };
    let first = names(wanted).into_iter().next();
    path == "/" && first.is_none_or(|first| names(query).contains(&first))
}

/// The process lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    #[schema(schema_with = live_word)]
    status: &'static str,
}

fn live_word() -> RefOr<Schema> {
    schema::words(["ok"], "Always the same.")
}

/// Whether the process can do its work, and what is missing.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    #[schema(schema_with = ready_words)]
    status: &'static str,
    #[schema(schema_with = part_words)]
    database: &'static str,
    #[schema(schema_with = part_words)]
    engine: &'static str,
}

fn ready_words() -> RefOr<Schema> {
    schema::words(
        ["ok", "unavailable", "draining"],
        "All together; `draining` while it stops.",
    )
}

fn part_words() -> RefOr<Schema> {
    schema::words(["ok", "unavailable"], "Whether it answers.")
}

/// `/healthz`
pub(super) fn live() -> Response {
    json_answer(StatusCode::OK, &Live { status: "ok" })
}

impl Gateway {
    /// `/readyz`
    pub(super) async fn ready(&self) -> Response {
        let word = |ok: bool| if ok { "ok" } else { "unavailable" };
        let draining = self.tasks.soft().is_cancelled();
        let database = self.database.ping().await.is_ok();
        let engine = self.desktops.engine_ready().await.is_ok();
        let ready = database && engine && !draining;
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let readiness = Readiness {
            status: if draining { "draining" } else { word(ready) },
            database: word(database),
            engine: word(engine),
        };
        json_answer(status, &readiness)
    }

    /// The start page: one's desktops, or the way to sign in.
    pub(super) async fn home(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<Response, HttpError> {
        let who = match self.authenticator.authenticate(request.headers()).await {
            Ok(who) => who,
            Err(AuthnError::NoSession | AuthnError::InvalidSession) => {
                let page = SignIn {
                    lang: context.lang,
                    return_to: "/",
                    provider: &self.authenticator.provider_name(),
                    signed_out: query_value(request.uri().query(), "state").as_deref()
                        == Some(SIGNED_OUT),
                };
                return Ok(html(StatusCode::OK, portal::sign_in(&page)));
            }
            Err(error) => return Err(error.into()),
        };
        who.seen_from(context.client);
        let (user, session) = (who.user(), who.session()?);
        // A desktop's script could fetch this page, but it cannot navigate to it and read it.
        let token =
            is_document(request).then(|| self.authenticator.origin().csrf_token(&session.hash));
        let now = self.authenticator.now();
        let cards = cards(&self.desktops, user, (context.lang, now)).await?;
        let page = Home {
            lang: context.lang,
            shell: shell(context.lang, user, token.as_deref(), Place::Home),
            cards: &cards,
            look: self.api.look_at(user),
        };
        Ok(html(StatusCode::OK, portal::home(&page)))
    }

    /// Where one is signed in.
    pub(super) async fn account(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<Response, HttpError> {
        let who = match self.authenticated(context, Side::Portal, request).await {
            Ok(who) => who,
            Err(error) => return self.sign_in_first(context, Side::Portal, request, error),
        };
        let (user, session) = (who.user(), who.session()?);
        let token =
            is_document(request).then(|| self.authenticator.origin().csrf_token(&session.hash));
        let listed = self.sign_out.sessions.list(user.id).await?;
        let devices = listed.into_iter().map(|listed| Device {
            id: listed.id.to_string(),
            current: listed.id == session.id,
            name: listed.device,
            address: listed
                .last_address
                .or(listed.address)
                .map(|ip| ip.to_string()),
            since: listed.created_at.to_string(),
            last_seen: listed.last_seen.to_string(),
        });
        let mut devices: Vec<Device> = devices.collect();
        devices.sort_by_key(|device| !device.current);
        let tokens = self.authenticator.tokens().list(Some(user.id)).await?;
        let tokens: Vec<AccountToken> = tokens.into_iter().map(token_row).collect();
        let page = Account {
            lang: context.lang,
            shell: shell(context.lang, user, token.as_deref(), Place::Account),
            devices: &devices,
            tokens: &tokens,
        };
        Ok(html(StatusCode::OK, portal::account(&page)))
    }

    /// A desktop that does not run: a page that waits for it, or 503.
    pub(super) fn waiting(
        &self,
        context: &RequestContext,
        request: &Request,
        (who, desktop): (&Authenticated, &Desktop),
    ) -> Result<Response, HttpError> {
        let template = self.desktops.template(&desktop.template);
        let lost = is_lost(&self.desktops, desktop);
        if !(context.wants_page && request.method().is_safe()) {
            let state = desktop.status.as_str();
            return Err(HttpError::NotRunning(if lost {
                NOT_OFFERED
            } else {
                state
            }));
        }
        let title = template.map_or(desktop.template.as_str(), |template| {
            context.lang.pick(&template.title.de, &template.title.en)
        });
        let recorded = desktop.status_reason.as_deref();
        let word = recorded.filter(|_| !lost);
        let word = word.or(lost.then_some(Reason::TemplateGone.as_str()));
        let reason = word.map(|word| reason::sentence(word, context.lang));
        // Another one cannot be started either.
        let session = who.session().ok().filter(|_| is_document(request));
        let session = session.filter(|_| template.is_some());
        let token = session.map(|session| self.authenticator.origin().csrf_token(&session.hash));
        let page = Waiting {
            lang: context.lang,
            desktop_id: &desktop.id.to_string(),
            title,
            status: if lost {
                "error"
            } else {
                desktop.status.as_str()
            },
            reason_code: word,
            reason: reason.as_deref(),
            log: log_of(desktop),
            template: &desktop.template,
            look: self.api.look_at(who.user()),
            csrf_token: token.as_deref(),
        };
        let mut response = html(StatusCode::SERVICE_UNAVAILABLE, portal::waiting(&page));
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(1));
        Ok(response)
    }
}

/// What surrounds a page of this person.
pub(super) fn shell<'a>(
    lang: Lang,
    user: &'a User,
    token: Option<&'a str>,
    place: Place,
) -> Shell<'a> {
    Shell {
        lang,
        user_name: user.identity.display_name(),
        role: user.identity.role.as_str(),
        csrf_token: token,
        place,
    }
}

/// Whether a desktop is up that cannot be reached, because its template is not configured any more.
fn is_lost(desktops: &Desktops, row: &Desktop) -> bool {
    row.status.is_up() && desktops.template(&row.template).is_none()
}

fn reason_of(desktop: &Desktop, lang: Lang) -> Option<String> {
    let word = desktop.status_reason.as_deref()?;
    Some(reason::sentence(word, lang).into_owned())
}

/// What a desktop that failed wrote last. Its own user is all who gets to see the page.
fn log_of(desktop: &Desktop) -> Option<&str> {
    let reason = Reason::from_word(desktop.status_reason.as_deref()?)?;
    let detail = desktop.status_detail.as_deref();
    detail.filter(|_| reason.is_from_inside())
}

fn token_row(token: StoredToken) -> AccountToken {
    let text = |at: Timestamp| at.to_string();
    AccountToken {
        id: token.id.to_string(),
        name: token.name,
        scopes: token.scopes.to_words(),
        expires_at: token.expires_at.map(text),
        last_used: token.last_used.map(text),
    }
}

/// The templates that a user may start and those of which they have a desktop, live ones first.
async fn cards(
    desktops: &Desktops,
    user: &User,
    (lang, now): (Lang, Timestamp),
) -> Result<Vec<Card>, HttpError> {
    let rows = desktops.list(user).await?;
    let mut templates: Vec<&Template> = desktops
        .templates_for(user)
        .map(|template| &**template)
        .collect();
    // A desktop that runs is shown although its template is no longer for this user.
    for row in rows.iter().filter(|row| row.status.is_live()) {
        if let Some(template) = desktops.template(&row.template)
            && !templates.iter().any(|known| known.id == template.id)
        {
            templates.push(template);
        }
    }
    let live = |template: &Template| {
        let of_template = |row: &&Desktop| row.template == template.id;
        rows.iter()
            .filter(of_template)
            .any(|row| row.status.is_live())
    };
    templates.sort_by_key(|template| !live(template));
    let cards = templates.into_iter().map(|template| {
        let of_template = || rows.iter().filter(|row| row.template == template.id);
        let row = of_template()
            .find(|row| row.status.is_live())
            .or_else(|| of_template().next());
        card(
            template,
            row.map(|row| on_card(desktops, row, (lang, now))),
            lang,
        )
    });
    // What runs without a template has a card too: it counts for the person's quota until it is ended.
    let lost = rows.iter().filter(|row| is_lost(desktops, row)).map(|row| {
        let desktop = on_card(desktops, row, (lang, now));
        let reason = reason::sentence(Reason::TemplateGone.as_str(), lang);
        Card {
            template: row.template.clone(),
            title: row.template.clone(),
            description: String::new(),
            icon: "desktop".into(),
            has_home: false,
            desktop: Some(CardDesktop {
                status_reason: Some(reason.into_owned()),
                ..desktop
            }),
        }
    });
    Ok(lost.chain(cards).collect())
}

fn on_card(desktops: &Desktops, row: &Desktop, (lang, now): (Lang, Timestamp)) -> CardDesktop {
    let ago = |then: Timestamp| now.since(then);
    let up = row.status.is_up();
    CardDesktop {
        id: row.id.to_string(),
        status: row.status.as_str().to_owned(),
        status_reason: reason_of(row, lang).filter(|_| row.status != State::Running),
        url: format!("/desktop/{}/", row.id),
        uptime: row.started_at.filter(|_| up).map(ago),
        last_use: row.last_input.filter(|_| up).map(ago),
        time_left: desktops.planned(row).map(|planned| planned.at.since(now)),
    }
}

fn card(template: &Template, desktop: Option<CardDesktop>, lang: Lang) -> Card {
    Card {
        template: template.id.clone(),
        title: lang.pick(&template.title.de, &template.title.en).to_owned(),
        description: lang
            .pick(&template.description.de, &template.description.en)
            .to_owned(),
        icon: template.icon.clone(),
        has_home: template.home == TemplateHome::Volume,
        desktop,
    }
}

#[cfg(test)]
mod tests {
    use super::is_at_entry;

    #[test]
    fn a_visit_is_led_to_the_entry_once() {
        let kasm = "/?path=desktop/{id}/websockify&resize=remote";
        assert!(!is_at_entry(kasm, "") && !is_at_entry(kasm, "resize=remote"));
        assert!(is_at_entry(kasm, "path=x"));
        assert!(is_at_entry("/", ""));
        assert!(!is_at_entry("/?lang=de", "") && is_at_entry("/?lang=de", "lang=de"));
        assert!(!is_at_entry("/vnc.html?path=x", "path=x"), "another page");
    }
}
