//! What is told of the attempts: which of them are fine, which are not, and what to do about those.

use std::net::IpAddr;

use crate::cli::check::report::Report;
use crate::engine::spec::Place;
use crate::model::template::{NetworkPolicy, Template};

/// What no desktop ever reaches, whether somebody listens there or not.
pub(super) const ANOTHER_DESKTOP: &str = "another desktop";

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    /// Somebody answers there.
    Open,
    /// The machine answers that nobody does.
    Refused,
    /// Nothing comes back.
    Silent,
    /// The image has nothing to try with.
    NoTool,
}

/// Something that a desktop may reach, or not.
pub(super) struct Target {
    pub(super) what: String,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// A service that nobody but the gateway should reach.
    pub(super) private: bool,
}

pub(super) fn no_image(template: &Template, report: &mut Report) {
    report.warn(
        "reach",
        format!(
            "not tried for template {}: its image is not here",
            template.id
        ),
        "bring the image, then run this again",
    );
}

pub(super) fn no_tool(template: &Template, report: &mut Report) {
    report.warn(
        "reach",
        format!(
            "not tried for template {}: its image has neither bash, python3 nor nc",
            template.id
        ),
        "see SECURITY.md for what containers reach",
    );
}

/// What is around a desktop, of which it should reach nothing.
pub(super) fn around(
    targets: &[Target],
    knocks: &[Knock],
    (template, place): (&Template, Place<'_>),
    report: &mut Report,
) {
    let remedy = if place.subnets.is_some() {
        "run scripts/firewall as root on the engine's host (SECURITY.md, the network of a desktop)"
    } else {
        "set DESKTOP_SUBNETS, then run scripts/firewall as root on the engine's host (SECURITY.md)"
    };
    let mut fine = true;
    for (target, knock) in targets.iter().zip(knocks) {
        let (what, how) = match knock {
            Knock::Open => (&target.what, "and somebody answers"),
            Knock::Refused => (&target.what, "where nobody listens now"),
            Knock::Silent | Knock::NoTool => continue,
        };
        fine = false;
        let found = format!(
            "a desktop of template {} reaches {what} at {}:{}, {how}",
            template.id, target.address, target.port
        );
        if target.private && (*knock == Knock::Open || target.what == ANOTHER_DESKTOP) {
            report.fail("reach", found, remedy);
        } else {
            report.warn("reach", found, remedy);
        }
    }
    if fine {
        report.ok(
            "reach",
            format!(
                "a desktop of template {} reaches no other desktop, not this machine, its network, the database or the metadata address",
                template.id
            ),
        );
    }
}

/// Something outside, which a desktop reaches if its template says so.
pub(super) fn outside(target: &Target, knock: Knock, template: &Template, report: &mut Report) {
    let (id, what) = (&template.id, &target.what);
    let reached = matches!(knock, Knock::Open | Knock::Refused);
    match (template.network, reached) {
        (NetworkPolicy::Internet, true) => report.ok("reach", format!("a desktop of template {id} reaches {what}")),
        (NetworkPolicy::Internet, false) => report.warn(
            "reach",
            format!("a desktop of template {id} does not reach {what}, though network is \"internet\""),
            "if desktops need it: scripts/firewall --allow ADDRESS for one in your own network, otherwise see the host's forwarding and firewall",
        ),
        (NetworkPolicy::None, false) => report.ok("reach", format!("a desktop of template {id} reaches nothing outside")),
        (NetworkPolicy::None, true) => report.fail(
            "reach",
            format!("a desktop of template {id} reaches {what}, though network is \"none\""),
            "see how the engine keeps internal networks apart: its iptables setting must be on",
        ),
    }
}

/// A name outside, whose address a desktop learns if its template lets it outside: questions to name servers carry out
/// whatever somebody writes into them.
pub(super) fn name(name: &str, found: Knock, template: &Template, report: &mut Report) {
    let id = &template.id;
    match (template.network, found) {
        (_, Knock::NoTool) => report.warn(
            "reach",
            format!("names were not tried for template {id}: its image has neither getent nor python3"),
            "see SECURITY.md for what containers reach",
        ),
        (NetworkPolicy::Internet, Knock::Open) => report.ok("reach", format!("a desktop of template {id} finds {name} by its name")),
        (NetworkPolicy::Internet, _) => report.warn(
            "reach",
            format!("a desktop of template {id} does not find {name} by its name, though network is \"internet\""),
            "see the name servers in the host's /etc/resolv.conf, and run scripts/firewall again if they have changed",
        ),
        (NetworkPolicy::None, Knock::Open) => report.fail(
            "reach",
            format!("a desktop of template {id} has the name {name} looked up outside, though network is \"none\""),
            "see why the engine answers: Docker from 23.0.11, 25.0.5 or 26.0 on does not (SECURITY.md, the network of a desktop)",
        ),
        (NetworkPolicy::None, _) => report.ok("reach", format!("a desktop of template {id} has no name looked up outside")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::cli::check::report::Outcome;
    use crate::engine::probe;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 1));

    fn template(network: NetworkPolicy) -> Template {
        Template {
            id: "exam".into(),
            network,
            ..Template::kasm("image:1".into(), 6901)
        }
    }

    fn target(what: &str, private: bool) -> Target {
        Target {
            what: what.into(),
            address: HOST,
            port: 22,
            private,
        }
    }

    /// What is told of one thing around a desktop: how it is, the sentence and what to do.
    fn of_one(target: Target, knock: Knock, subnets: &str) -> (Outcome, String, String) {
        let mut report = Report::default();
        let place = probe::place("school-check", subnets.parse().ok());
        let template = template(NetworkPolicy::Internet);
        around(&[target], &[knock], (&template, place), &mut report);
        only(&report)
    }

    fn only(report: &Report) -> (Outcome, String, String) {
        let [(check, outcome, found, remedy)] = report.lines().collect::<Vec<_>>()[..] else {
            panic!("one line")
        };
        assert_eq!(check, "reach");
        assert!(found.contains("template exam"), "{found}");
        (outcome, found.into(), remedy.unwrap_or_default().into())
    }

    #[test]
    fn what_answers_is_told_by_how_much_it_matters() {
        for (what, private, knock, outcome) in [
            ("the database", true, Knock::Open, Outcome::Fail),
            ("the database", true, Knock::Refused, Outcome::Warn),
            ("the database", true, Knock::Silent, Outcome::Ok),
            ("this machine's ssh", false, Knock::Open, Outcome::Warn),
            ("this machine's ssh", false, Knock::Refused, Outcome::Warn),
            ("this machine's ssh", false, Knock::Silent, Outcome::Ok),
            (ANOTHER_DESKTOP, true, Knock::Open, Outcome::Fail),
            // A desktop that can say so has been reached.
            (ANOTHER_DESKTOP, true, Knock::Refused, Outcome::Fail),
            (ANOTHER_DESKTOP, true, Knock::Silent, Outcome::Ok),
        ] {
            let (told, found, remedy) = of_one(target(what, private), knock, "10.213.0.0/16");
            assert_eq!(told, outcome, "{what} {knock:?}");
            if outcome == Outcome::Ok {
                assert!(found.contains("reaches no other desktop"), "{found}");
                assert_eq!(remedy, "");
                continue;
            }
            assert!(
                found.contains(&format!("reaches {what} at 192.168.7.1:22")),
                "{found}"
            );
            let answers = found.ends_with("and somebody answers");
            assert_eq!(answers, knock == Knock::Open, "{found}");
            assert!(remedy.starts_with("run scripts/firewall"), "{remedy}");
        }
        let (_, _, remedy) = of_one(target("the database", true), Knock::Open, "off");
        assert!(remedy.starts_with("set DESKTOP_SUBNETS, then run scripts/firewall"));
    }

    #[test]
    fn each_thing_that_answers_has_a_line_and_one_is_enough_for_not_fine() {
        let targets = ["the database", "this machine's ssh", "the metadata address"];
        let targets = targets.map(|what| target(what, true));
        let knocks = [Knock::Silent, Knock::Refused, Knock::Open];
        let mut report = Report::default();
        let place = probe::place("school-check", None);
        let template = template(NetworkPolicy::None);
        around(&targets, &knocks, (&template, place), &mut report);
        let outcomes: Vec<Outcome> = report.lines().map(|(_, outcome, ..)| outcome).collect();
        assert_eq!(outcomes, [Outcome::Warn, Outcome::Fail]);
    }

    #[test]
    fn the_outside_is_reached_by_those_whose_template_says_so() {
        use NetworkPolicy::{Internet, None};
        for (network, knock, outcome, words) in [
            (Internet, Knock::Open, Outcome::Ok, "reaches the provider"),
            (
                Internet,
                Knock::Refused,
                Outcome::Ok,
                "reaches the provider",
            ),
            (
                Internet,
                Knock::Silent,
                Outcome::Warn,
                "does not reach the provider",
            ),
            (None, Knock::Silent, Outcome::Ok, "reaches nothing outside"),
            (None, Knock::Refused, Outcome::Fail, "reaches the provider"),
            (None, Knock::Open, Outcome::Fail, "reaches the provider"),
        ] {
            let mut report = Report::default();
            let provider = target("the provider", false);
            outside(&provider, knock, &template(network), &mut report);
            let (told, found, remedy) = only(&report);
            assert_eq!(told, outcome, "{network:?} {knock:?}");
            assert!(found.contains(words), "{found}");
            assert_eq!(remedy.is_empty(), outcome == Outcome::Ok, "{remedy}");
        }
    }

    #[test]
    fn names_are_found_by_those_whose_template_lets_them_outside() {
        use NetworkPolicy::{Internet, None};
        for (network, found, outcome, words) in [
            (Internet, Knock::Open, Outcome::Ok, "finds id.test"),
            (
                Internet,
                Knock::Silent,
                Outcome::Warn,
                "does not find id.test",
            ),
            (
                None,
                Knock::Silent,
                Outcome::Ok,
                "has no name looked up outside",
            ),
            (
                None,
                Knock::Open,
                Outcome::Fail,
                "has the name id.test looked up outside",
            ),
            (None, Knock::NoTool, Outcome::Warn, "names were not tried"),
        ] {
            let mut report = Report::default();
            name("id.test", found, &template(network), &mut report);
            let (told, said, remedy) = only(&report);
            assert_eq!(told, outcome, "{network:?} {found:?}");
            assert!(said.contains(words), "{said}");
            assert_eq!(remedy.is_empty(), outcome == Outcome::Ok, "{remedy}");
        }
    }
}
