//! How plain values look in `/openapi.json`: ids, times, and the words of enums.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::audit::{Action, ActorKind, Outcome};
use super::id::{AuditId, DesktopId, RequestId, SessionId, TokenId, UserId};
use super::reason::Reason;
use super::scope::{Scope, Scopes};
use super::time::Timestamp;
use super::user::Role;

type AnySchema = RefOr<Schema>;

/// A text of a format that JSON Schema or `OpenAPI` knows.
#[must_use]
pub fn text(format: &str, about: &str) -> AnySchema {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom(format.into())))
        .description(Some(about));
    text.into()
}

/// One of these words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>, about: &str) -> AnySchema {
    let words = words.into_iter().map(Value::from);
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .description(Some(about));
    text.into()
}

macro_rules! described {
    ($($name:ident: $schema:expr;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> AnySchema {
                $schema
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

described! {
    DesktopId: text("uuid", "Which desktop; it is in the path of its pages.");
    UserId: text("uuid", "Which user.");
    SessionId: text("uuid", "Public handle of a session, not its secret.");
    RequestId: text("uuid", "Which request.");
    AuditId: text("uuid", "Which entry of the audit log; as text they sort by time.");
    TokenId: text("uuid", "Public handle of an API token, not its secret.");
    Timestamp: text("date-time", "RFC 3339, UTC.");
    Scope: words(Scope::ALL.map(Scope::as_str), "What an API token may be used for.");
    Role: words([Self::Student, Self::Teacher, Self::Admin].map(Role::as_str), "What somebody may do here.");
    Reason: words(Reason::ALL.map(Reason::as_str), "Why a desktop ended or will end.");
    Action: words(Action::ALL.iter().map(|word| word.as_str()), "What happened.");
    Outcome: words(Outcome::ALL.iter().map(|word| word.as_str()), "How it ended.");
    ActorKind: words(ActorKind::ALL.iter().map(|word| word.as_str()), "What kind of somebody acted.");
}

impl PartialSchema for Scopes {
    fn schema() -> AnySchema {
        let scope = Ref::from_schema_name(Scope::name());
        ArrayBuilder::new().items(scope).into()
    }
}

impl ToSchema for Scopes {
    fn schemas(schemas: &mut Vec<(String, AnySchema)>) {
        schemas.push((Scope::name().into(), Scope::schema()));
    }
}
