//! `Location` of a desktop's redirect, translated into the desktop's path. One that would leave it is
//! refused: after a redirect, a content security policy no longer looks at paths.

use url::{Position, Url};

use super::target::Target;
use crate::model::id::DesktopId;

/// What the browser should be told instead of `location`, the answer to a request for `target`.
/// `None` when it would lead out of the desktop.
#[must_use]
pub fn location(location: &str, target: &Target, id: DesktopId, origin: &str) -> Option<String> {
    let prefix = format!("/desktop/{id}");
    // As seen from the desktop, which knows nothing of the prefix and was asked under our host.
    let base = Url::parse(origin).ok()?.join(target.as_str()).ok()?;
    let to = base.join(location).ok()?;
    if to.origin() != base.origin() || !to.username().is_empty() || to.password().is_some() {
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
        let origin = "https://desk.example";
        let target = Target::parse("/dir/page", None).expect("a path");
        let check = |text: &str| location(text, &target, id, origin);
        let inside = |rest: &str| Some(format!("/desktop/{id}{rest}"));
        assert_eq!(check("/other/"), inside("/other/"));
        assert_eq!(check("sub/x?y#z"), inside("/dir/sub/x?y#z"));
        assert_eq!(check("https://desk.example/dir/"), inside("/dir/"));
        assert_eq!(check(&format!("/desktop/{id}/dir/")), inside("/dir/"));
        assert_eq!(check("/../../x"), inside("/x"));
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
            "https://a@desk.example/",
            "javascript:alert(1)",
            "/%2e%2e%2fapi",
            "/a//b",
        ] {
            assert_eq!(check(out), None, "{out}");
        }
    }
}
