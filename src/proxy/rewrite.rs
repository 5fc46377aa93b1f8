//! `Location` of a desktop's redirect, translated into the desktop's path. One that would leave it is
//! refused: after a redirect, a content security policy no longer looks at paths.

use url::{Position, Url};

use super::target::Target;
use crate::model::id::DesktopId;
use crate::model::template::prefix_of;

/// What the browser should be told instead of `location`, the answer to a request for `target`.
/// `None` when it would lead out of the desktop. `origins` are ours and the one that the desktop takes itself for.
#[must_use]
pub fn location(
    location: &str,
    target: &Target,
    id: DesktopId,
    origins: [&str; 2],
) -> Option<String> {
    let prefix = prefix_of(id);
    let ours = Url::parse(origins[0]).ok()?;
    let seen = Url::parse(origins[1]).ok()?;
    let to = ours.join(target.as_str()).ok()?.join(location).ok()?;
    let here = to.origin() == ours.origin() || to.origin() == seen.origin();
    if !here || !to.username().is_empty() || to.password().is_some() {
        return None;
    }
    let path = &to[Position::BeforePath..];
    // A desktop that was told its prefix uses it; any other path is below it.
    let inside = path
        .strip_prefix(&prefix)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    Target::parse(&to_path(inside), None).ok()?;
    Some(format!("{prefix}{inside}"))
}

fn to_path(text: &str) -> String {
    text.split(['?', '#']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let id = DesktopId::random();
        let origins = ["https://desk.example", "http://10.0.0.2:8080"];
        let target = Target::parse("/dir/page", None).expect("a path");
        let check = |text: &str| location(text, &target, id, origins);
        let inside = |rest: &str| Some(format!("/desktop/{id}{rest}"));
        assert_eq!(check("/other/"), inside("/other/"));
        assert_eq!(check("sub/x?y#z"), inside("/dir/sub/x?y#z"));
        assert_eq!(check("https://desk.example/dir/"), inside("/dir/"));
        assert_eq!(check(&format!("/desktop/{id}/dir/")), inside("/dir/"));
        assert_eq!(check("http://10.0.0.2:8080/dir/"), inside("/dir/"));
        assert_eq!(check("/../../x"), inside("/x"));
        let told = target
            .clone()
            .below(Some(&prefix_of(id)))
            .expect("short enough");
        assert_eq!(location("sub/x", &told, id, origins), inside("/dir/sub/x"));
        // Another desktop's path is only a path of this one.
        let other = DesktopId::random();
        assert_eq!(
            check(&format!("/desktop/{other}/")),
            inside(&format!("/desktop/{other}/"))
        );
        for out in [
            "https://evil.example/",
            "//evil.example/",
            "\\\\evil.example",
            "http://desk.example/",
            "https://desk.example:444/",
            "http://10.0.0.2/",
            "https://10.0.0.2:8080/",
            "https://a@desk.example/",
            "javascript:alert(1)",
            "/%2e%2e%2fapi",
            "/a//b",
        ] {
            assert_eq!(check(out), None, "{out}");
        }
    }
}
