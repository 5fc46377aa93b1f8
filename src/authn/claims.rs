//! From what a provider says of a person to our [`Identity`]: names, groups and roles in every shape
//! that is known to be sent. A pure function; IServ's shapes are its tests.

use serde_json::{Map, Value};

use crate::model::user::{Identity, Role};

/// Claims that hold groups or roles, under the names that providers use.
const GROUP_CLAIMS: [&str; 4] = ["groups", "roles", "iserv:groups", "iserv:roles"];
/// Fields of a group or role object that name it.
const NAME_FIELDS: [&str; 4] = ["act", "name", "id", "displayName"];

/// Which names give which role.
#[derive(Clone, Debug, Default)]
pub struct RoleNames {
    /// Names that make an admin.
    pub admin: Vec<String>,
    /// Names that make a teacher.
    pub teacher: Vec<String>,
}

/// The person that `claims` of the subject at the issuer describe.
#[must_use]
pub fn identity(
    issuer: &str,
    subject: &str,
    claims: &Map<String, Value>,
    names: &RoleNames,
) -> Identity {
    let text = |claim: &str| {
        let text = claims.get(claim)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let groups = groups(claims);
    let (name, email) = (text("name"), text("email"));
    let username = text("preferred_username")
        .or_else(|| name.clone())
        .or_else(|| email.clone());
    Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        username: username.unwrap_or_else(|| subject.to_owned()),
        name,
        email,
        role: role(&groups, names),
        groups,
    }
}

fn role(groups: &[String], names: &RoleNames) -> Role {
    let has = |wanted: &[String]| wanted.iter().any(|name| groups.contains(name));
    if has(&names.admin) {
        Role::Admin
    } else if has(&names.teacher) {
        Role::Teacher
    } else {
        Role::Student
    }
}

/// All names of all groups and roles, each once, in order.
fn groups(claims: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for claim in GROUP_CLAIMS {
        match claims.get(claim) {
            Some(Value::Array(items)) => items.iter().for_each(|item| names_of(item, &mut found)),
            Some(Value::Object(items)) => {
                items.values().for_each(|item| names_of(item, &mut found));
            }
            Some(item) => names_of(item, &mut found),
            None => {}
        }
    }
    found
}

fn names_of(item: &Value, found: &mut Vec<String>) {
    let mut add = |value: &Value| {
        if let Some(name) = value
            .as_str()
            .map(str::trim)
            .filter(|name| !name.is_empty())
            && !found.iter().any(|known| known == name)
        {
            found.push(name.to_owned());
        }
    };
    match item {
        Value::Object(fields) => NAME_FIELDS
            .iter()
            .filter_map(|field| fields.get(*field))
            .for_each(add),
        other => add(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(claims: Value) -> Identity {
        let names = RoleNames {
            admin: vec!["ROLE_ADMIN".into()],
            teacher: vec!["ROLE_TEACHER".into(), "Lehrer".into()],
        };
        let Value::Object(claims) = claims else {
            panic!("an object")
        };
        identity("https://school.example", "42", &claims, &names)
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
}
