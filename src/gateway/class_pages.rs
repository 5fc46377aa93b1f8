//! The pages of teachers: fills the portal's views, and does what their forms say. Who comes in is decided as for the
//! API of teachers, and what is done is done by it.

use hyper::{Method, StatusCode};

use super::admin_pages::words;
use super::auth::query_value;
use super::forms::Form;
use super::{Gateway, pages};
use crate::api::LOOK_LIMIT;
use crate::authn::origin::Side;
use crate::authz::classes::TeacherGrant;
use crate::model::audit::Actor;
use crate::portal::{self, Class, ClassFigures, Classes, LookPage, Place, Shell};
use crate::request::{Request, RequestContext, Response};
use crate::respond::error::HttpError;
use crate::respond::{html, redirect};

impl Gateway {
    /// `/class`: one's classes, or the one that `name` says.
    pub(super) async fn class_page(
        &self,
        context: &RequestContext,
        request: Request,
    ) -> Result<Response, HttpError> {
        let who = match self.authenticated(context, Side::Portal, &request).await {
            Ok(who) => who,
            Err(error) => return self.sign_in_first(context, Side::Portal, &request, error),
        };
        let grant = self.api.teacher(&who)?;
        let token = self.page_token(&who, &request)?;
        let shell = pages::shell(context.lang, who.user(), token.as_deref(), Place::Class);
        if *request.method() == Method::POST {
            let form = self.read_form(&who, request).await?;
            let actor = who.actor(context);
            return self.class_act(shell, (&grant, &actor), &form).await;
        }
        let page = match query_value(request.uri().query(), "name") {
            Some(name) => self.one_class(shell, &grant, &name).await?,
            None => self.all_classes(shell, &grant).await?,
        };
        Ok(html(StatusCode::OK, page))
    }

    /// `/class/look`: a page that begins a look at the desktop `id` when somebody presses its button.
    pub(super) async fn look_page(
        &self,
        context: &RequestContext,
        request: &Request,
    ) -> Result<Response, HttpError> {
        let who = match self.authenticated(context, Side::Portal, request).await {
            Ok(who) => who,
            Err(error) => return self.sign_in_first(context, Side::Portal, request, error),
        };
        let grant = self.api.teacher(&who)?;
        let token = self.page_token(&who, request)?;
        let query = |name| query_value(request.uri().query(), name);
        let id = query("id").unwrap_or_default();
        let (desktop, pupil) = self.api.to_look_at(&grant, &id).await?;
        let template = self.desktops.template(&desktop.template);
        let title = template.map_or(desktop.template.as_str(), |template| {
            context.lang.pick(&template.title.de, &template.title.en)
        });
        let class = query("class");
        let classes = grant.classes();
        let page = LookPage {
            lang: context.lang,
            shell: pages::shell(context.lang, who.user(), token.as_deref(), Place::Class),
            desktop_id: &desktop.id.to_string(),
            pupil: &pupil,
            title,
            class: class.as_deref().filter(|name| classes.contains(name)),
            minutes: LOOK_LIMIT.as_secs() / 60,
        };
        Ok(html(StatusCode::OK, portal::look(&page)))
    }

    async fn all_classes(
        &self,
        shell: Shell<'_>,
        grant: &TeacherGrant,
    ) -> Result<String, HttpError> {
        let mut classes = Vec::new();
        for name in grant.classes() {
            let members = self.api.class(grant, name).await?;
            let desktops = members.iter().flat_map(|(_, desktops)| desktops);
            classes.push(ClassFigures {
                name: name.to_owned(),
                pupils: members.len(),
                live: desktops.filter(|one| one.status.is_live()).count(),
            });
        }
        Ok(portal::classes(&Classes {
            lang: shell.lang,
            shell,
            classes: &classes,
        }))
    }

    async fn one_class(
        &self,
        shell: Shell<'_>,
        grant: &TeacherGrant,
        name: &str,
    ) -> Result<String, HttpError> {
        let pupils = self.api.class(grant, name).await?;
        Ok(portal::class(&Class {
            lang: shell.lang,
            shell,
            name,
            pupils: &pupils,
            templates: self.desktops.templates(),
            now: self.authenticator.now(),
            look: self.api.look(),
        }))
    }

    /// Starts or stops what a form says; a stop after a question.
    async fn class_act(
        &self,
        shell: Shell<'_>,
        (grant, actor): (&TeacherGrant, &Actor),
        form: &Form,
    ) -> Result<Response, HttpError> {
        let class = form.field("class").unwrap_or_default();
        let act = form.field("act").unwrap_or_default();
        let one = form.field("id").filter(|_| act == "stop-one");
        let confirmed = form.field("confirmed").is_some_and(|word| word == "yes");
        if act == "start" {
            let template = form.field("template");
            let started = self
                .api
                .start_class((grant, actor), &class, template.as_deref());
            return Ok(done(shell, &class, started.await?));
        }
        if !confirmed {
            let page = portal::class_ask(shell, &class, one.as_deref());
            return Ok(html(StatusCode::OK, page));
        }
        let failures = match one {
            Some(id) => {
                self.api.stop_of_class((grant, actor), &id).await?;
                Vec::new()
            }
            None => self.api.stop_class((grant, actor), &class, None).await?,
        };
        Ok(done(shell, &class, failures))
    }
}

/// Back to the class, or first to what did not work for whom.
fn done(shell: Shell<'_>, class: &str, failures: Vec<(String, HttpError)>) -> Response {
    if failures.is_empty() {
        return redirect(StatusCode::SEE_OTHER, &portal::class_address(class));
    }
    let failures = failures
        .into_iter()
        .map(|(name, error)| format!("{name}: {}", words(&error, shell.lang)));
    let failures: Vec<String> = failures.collect();
    html(
        StatusCode::OK,
        portal::class_failures(shell, class, &failures),
    )
}
