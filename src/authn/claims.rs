//! From what a provider says of a person to our [`Identity`]: names, groups and roles in every shape
//! that is known to be sent, from the claims that the operator names. A pure function; the shapes are its tests.

use serde_json::{Map, Value};

use crate::config::ClaimsConfig;
use crate::model::user::{Identity, Role};

/// Fields of a group or role object that name it.
const NAME_FIELDS: [&str; 4] = ["act", "name", "id", "displayName"];
/// How deep lists of lists are followed.
const MAX_DEPTH: u8 = 3;

/// The person that `claims` of the subject at the issuer describe.
#[must_use]
pub fn identity(
    issuer: &str,
    subject: &str,
    claims: &Map<String, Value>,
    config: &ClaimsConfig,
) -> Identity {
    let text = |names: &[String]| {
        let mut found = names.iter().filter_map(|name| find(claims, name));
        found.find_map(|value| {
            let text = value.as_str()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        })
    };
    let groups = groups(claims, config);
    let (name, email) = (text(&config.name), text(&config.email));
    let username = text(&config.username)
        .or_else(|| name.clone())
        .or_else(|| email.clone());
    Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        username: username.unwrap_or_else(|| subject.to_owned()),
        name,
        email,
        role: role(&groups, config),
        groups,
    }
}

/// The claim of this name; or, where a dot stands in it, the member of an object. Names may have dots of their
/// own (`https://school.example/groups`), so that the whole name is tried before its parts.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut dots = name.match_indices('.');
    dots.find_map(|(at, _)| find(claims.get(&name[..at])?.as_object()?, &name[at + 1..]))
}

fn role(groups: &[String], config: &ClaimsConfig) -> Role {
    let has = |wanted: &[String]| wanted.iter().any(|name| groups.contains(name));
    if has(&config.admin_names) {
        Role::Admin
    } else if has(&config.teacher_names) {
        Role::Teacher
    } else {
        Role::Student
    }
}

/// All names of all groups and roles that the operator wants, each once, in order.
fn groups(claims: &Map<String, Value>, config: &ClaimsConfig) -> Vec<String> {
    let mut all = Vec::new();
    let sources = config.groups.iter().chain(&config.roles);
    for value in sources.filter_map(|name| find(claims, name)) {
        names_in(value, MAX_DEPTH, &mut all);
    }
    let mut found: Vec<String> = Vec::new();
    for name in all {
        let wanted = &config.groups_only;
        if !wanted.is_empty() && !wanted.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut prefixes = config.groups_strip.iter();
        let name = prefixes
            .find_map(|prefix| name.strip_prefix(prefix.as_str()))
            .unwrap_or(name)
            .trim();
        if !name.is_empty() && !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}

/// The names in a claim: a text, a list of texts or objects, or an object whose values are such objects. An object
/// whose values name nothing is one whose keys do (Zitadel's roles).
fn names_in<'a>(value: &'a Value, depth: u8, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text.trim()),
        Value::Array(items) if depth > 0 => {
            for item in items {
                match item {
                    Value::Object(fields) => found.extend(names_of(fields)),
                    Value::Array(_) => {}
                    other => names_in(other, depth - 1, found),
                }
            }
        }
        Value::Object(items) if depth > 0 => {
            for (key, item) in items {
                let Value::Object(fields) = item else {
                    names_in(item, depth - 1, found);
                    continue;
                };
                let before = found.len();
                found.extend(names_of(fields));
                if found.len() == before {
                    found.push(key.trim());
                }
            }
        }
        _ => {}
    }
}

/// What an object that stands for a group or role is called.
fn names_of(fields: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let texts = NAME_FIELDS
        .iter()
        .filter_map(|field| fields.get(*field)?.as_str());
    texts.map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> ClaimsConfig {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ClaimsConfig {
            username: list(&["preferred_username"]),
            name: list(&["name"]),
            email: list(&["email"]),
            groups: list(&["groups", "iserv:groups"]),
            roles: list(&["roles", "iserv:roles"]),
            groups_only: Vec::new(),
            groups_strip: Vec::new(),
            admin_names: list(&["ROLE_ADMIN"]),
            teacher_names: list(&["ROLE_TEACHER", "Lehrer"]),
        }
    }

    fn with(config: &ClaimsConfig, claims: Value) -> Identity {
        let Value::Object(claims) = claims else {
            panic!("an object")
        };
        identity("https://school.example", "42", &claims, config)
    }

    fn of(claims: Value) -> Identity {
        with(&config(), claims)
    }

    #[test]
    fn groups_as_an_object_whose_values_carry_act_and_name() {
        let who = of(json!({"groups": {"1": {"id": 1, "act": "klasse.8a", "name": "Klasse 8a"}}}));
        assert_eq!(who.groups, ["klasse.8a", "Klasse 8a"]);
        assert_eq!(who.role, Role::Student);
    }

    #[test]
    fn groups_as_a_list_of_objects_and_roles_with_display_names() {
        let who = of(json!({
            "preferred_username": "j.weber",
            "groups": [{"act": "kollegium", "name": "Kollegium"}],
            "roles": [{"id": "ROLE_TEACHER", "displayName": "Lehrer"}],
        }));
        assert_eq!(
            who.groups,
            ["kollegium", "Kollegium", "ROLE_TEACHER", "Lehrer"]
        );
        assert_eq!(who.role, Role::Teacher);
        assert_eq!(who.username, "j.weber");
    }

    #[test]
    fn lists_of_strings() {
        let who = of(json!({"groups": ["a", "a", ""], "roles": ["ROLE_ADMIN", "ROLE_TEACHER"]}));
        assert_eq!(who.groups, ["a", "ROLE_ADMIN", "ROLE_TEACHER"]);
        assert_eq!(who.role, Role::Admin, "the highest role counts");
    }

    #[test]
    fn nonsense_gives_a_student_without_groups() {
        for claims in [
            json!({}),
            json!({"groups": 7, "roles": null}),
            json!({"groups": [[["x"]], {"n": 1}]}),
        ] {
            let who = of(claims);
            assert_eq!((who.role, who.groups.len()), (Role::Student, 0));
            assert_eq!(who.username, "42");
        }
    }

    #[test]
    fn iservs_newer_names_and_its_numbers_as_keys() {
        let who = of(json!({
            "iserv:groups": {"17": {"id": 17, "uuid": "u", "act": "klasse.8a", "name": "Klasse 8a"}},
            "iserv:roles": [{"uuid": "v", "id": "ROLE_TEACHER", "displayName": "Lehrkraft"}],
        }));
        assert_eq!(
            who.groups,
            ["klasse.8a", "Klasse 8a", "ROLE_TEACHER", "Lehrkraft"]
        );
        assert_eq!(who.role, Role::Teacher);
    }

    #[test]
    fn role_names_are_compared_exactly() {
        for near in [
            "role_admin",
            "ROLE_ADMINS",
            "ROLE_ADMIN/x",
            "/ROLE_ADMIN",
            "ROLE\u{200b}_ADMIN",
        ] {
            assert_eq!(of(json!({"groups": [near]})).role, Role::Student, "{near}");
        }
        assert_eq!(of(json!({"groups": " ROLE_ADMIN "})).role, Role::Admin);
    }

    #[test]
    fn claims_are_found_where_the_operator_says() {
        let mut config = config();
        config.username = vec!["upn".into(), "nickname".into()];
        config.name = vec!["profile.display".into()];
        config.groups = vec![
            "https://school.example/groups".into(),
            "resource_access.desk.roles".into(),
        ];
        config.roles = vec![
            "realm_access.roles".into(),
            "urn:zitadel:iam:org:project:roles".into(),
        ];
        let who = with(
            &config,
            json!({
                "preferred_username": "ignored", "nickname": "anna", "upn": 7,
                "profile": {"display": "Anna Schmidt"},
                "https://school.example/groups": ["8a"],
                "groups": ["ignored"],
                "realm_access": {"roles": ["ROLE_TEACHER", "offline_access"]},
                "resource_access": {"desk": {"roles": ["user"]}, "account": {"roles": ["manage"]}},
                "urn:zitadel:iam:org:project:roles": {"helper": {"2023": "school.example"}},
            }),
        );
        assert_eq!(
            (who.username.as_str(), who.name.as_deref()),
            ("anna", Some("Anna Schmidt"))
        );
        assert_eq!(
            who.groups,
            ["8a", "user", "ROLE_TEACHER", "offline_access", "helper"]
        );
        assert_eq!(who.role, Role::Teacher);
    }

    #[test]
    fn groups_are_chosen_and_shortened_by_prefix() {
        let mut config = config();
        config.groups_only = vec!["/school/".into(), "ROLE_".into()];
        config.groups_strip = vec!["/school/".into()];
        let who = with(
            &config,
            json!({"groups": ["/school/8a", "/club/chess", "/school/", "ROLE_ADMIN"]}),
        );
        assert_eq!(who.groups, ["8a", "ROLE_ADMIN"]);
        assert_eq!(who.role, Role::Admin);
    }

    #[test]
    fn somebody_with_nothing_but_an_address_is_called_by_it() {
        let who = of(json!({"email": "anna@school.example"}));
        assert_eq!(
            (who.username.as_str(), who.name),
            ("anna@school.example", None)
        );
    }
}
