//! What the mounts of all templates mean together: none of them leads through a path that people in desktops can change.
//!
//! The engine follows links: in a source on its host, in a target inside the container. Whoever can write to a
//! directory can put a link in the place of whatever is in it, though not of the directory itself. A link on the way to
//! a source leads to any place of the host; one on the way to a target has been a way out of the container as well
//! (CVE-2021-30465), and puts the mount where nobody meant it to be.

use std::collections::HashMap;

use super::mistake::Mistake;
use crate::model::mount::{Mount, SharedMount};
use crate::model::template::{Home, Template};

/// Sources to which desktops can write, with the template that lets them.
type Writable<'a> = HashMap<String, &'a str>;

/// Notes each source and target that somebody in a desktop could replace by a link, and each target that is taken.
pub(super) fn check(templates: &[Template], mistakes: &mut Vec<Mistake>) {
    let writable = writable(templates);
    for template in templates {
        let mut note = |place: &str, found: &str, expected: String| {
            mistakes.push(Mistake {
                key: format!("template {:?}, {place}", template.id),
                found: Some(found.to_owned()),
                expected,
            });
        };
        let mut inside = Inside::new(template, &writable);
        for (index, shared) in template.mounts.iter().enumerate() {
            let mounts = all_of(shared);
            let mut sources = mounts.iter().map(|mount| &mount.source);
            if let Some(expected) = sources.find_map(|source| source_fault(source, &writable)) {
                let place = format!("mounts {}, source", index + 1);
                note(&place, &shared.source, expected);
            }
            if let Some(expected) = inside.taken(index, &mounts) {
                let place = format!("mounts {}, target", index + 1);
                note(&place, &shared.target, expected);
            }
        }
        for (index, shared) in template.mounts.iter().enumerate() {
            let mut targets = all_of(shared).into_iter().map(|mount| mount.target);
            if let Some(expected) = targets.find_map(|target| inside.fault(&target)) {
                let place = format!("mounts {}, target", index + 1);
                note(&place, &shared.target, expected);
            }
        }
        if let Some(home) = inside.home
            && let Some(expected) = inside.fault(home)
        {
            note("home_path", home, expected);
        }
    }
}

fn writable(templates: &[Template]) -> Writable<'_> {
    let mut writable = Writable::new();
    for template in templates {
        let shared = template.mounts.iter().filter(|shared| !shared.read_only);
        for mount in shared.flat_map(all_of) {
            writable.entry(mount.source).or_insert(&template.id);
        }
    }
    writable
}

/// The mounts of somebody who is in every group.
fn all_of(shared: &SharedMount) -> Vec<Mount> {
    let mounts = shared.of(&shared.groups).into_iter();
    // What could not be read has been noted.
    let read = mounts.filter(|mount| !mount.source.is_empty() && !mount.target.is_empty());
    read.collect()
}

/// The paths above `path`, itself not among them.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| &path[..at]);
    ends.filter(|path| !path.is_empty())
}

/// What a source should be that lies where people can put links.
fn source_fault(source: &str, writable: &Writable<'_>) -> Option<String> {
    let (outer, by) = above(source).find_map(|outer| writable.get_key_value(outer))?;
    Some(format!(
        "a directory that is not below {outer:?}, to which desktops of template {by:?} can write: the engine would \
         follow a link that somebody put there to any place of its host. Take {outer:?} itself, or a directory beside it"
    ))
}

/// What is mounted where in containers of one template.
struct Inside<'a> {
    writable: &'a Writable<'a>,
    /// Where the home is, if it outlives the container: links in it do so too.
    home: Option<&'a str>,
    /// Sources by their targets, with the number of the mount.
    sources: HashMap<String, (String, usize)>,
}

impl<'a> Inside<'a> {
    fn new(template: &'a Template, writable: &'a Writable<'a>) -> Self {
        let lasts = template.home == Home::Volume && !template.home_path.is_empty();
        Self {
            writable,
            home: lasts.then_some(template.home_path.as_str()),
            sources: HashMap::new(),
        }
    }

    /// Takes the targets of the mount at `index`; says what they should be if one is taken already.
    fn taken(&mut self, index: usize, mounts: &[Mount]) -> Option<String> {
        let mut taken = None;
        for mount in mounts {
            if self.home == Some(&mount.target) {
                taken = Some("a place outside the home, which is there itself (home_path)".into());
            }
            let there = (mount.source.clone(), index);
            if let Some((_, other)) = self.sources.insert(mount.target.clone(), there) {
                let other = other + 1;
                taken = Some(format!("a place of its own: mounts {other} is there"));
            }
        }
        taken
    }

    /// What a target should be on the way to which people can put links.
    fn fault(&self, target: &str) -> Option<String> {
        let remedy = "the mount would follow a link that somebody put there. Choose a place such as /mnt/material or \
                      /srv/material";
        above(target).find_map(|outer| {
            if self.home == Some(outer) {
                return Some(format!(
                    "a place outside the home {outer:?}, where people can write: {remedy}"
                ));
            }
            let (source, _) = self.sources.get(outer)?;
            let source = format!("{source}{}", &target[outer.len()..]);
            let mut above = above(&source);
            let (_, by) = above.find_map(|outer| self.writable.get_key_value(outer))?;
            Some(format!(
                "a place outside {outer:?}, what is mounted there desktops of template {by:?} can write to: {remedy}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template::RawTemplate;

    /// The mistakes of these templates, each of which is given without `id` and `image`.
    fn mistakes(templates: &[&str]) -> Vec<String> {
        let mut mistakes = Vec::new();
        let resolve = |(at, text): (usize, &&str)| {
            let text = format!("id = 't{at}'\nimage = 'i'\n{text}");
            let raw: RawTemplate = toml::from_str(&text).expect("TOML");
            raw.resolve(&mut mistakes)
        };
        let templates: Vec<Template> = templates.iter().enumerate().map(resolve).collect();
        check(&templates, &mut mistakes);
        mistakes.iter().map(ToString::to_string).collect()
    }

    fn mounts(mounts: &str) -> String {
        format!("mounts = [{mounts}]")
    }

    #[test]
    fn a_source_below_what_others_can_write_to_is_refused_over_all_templates() {
        let everybody = "{ source = '/srv/classes', target = '/mnt/all', read_only = false }";
        let of_class =
            "{ source = '/srv/classes/{group}', target = '/mnt/{group}', groups = ['8a'] }";
        for order in [[everybody, of_class], [of_class, everybody]] {
            let [first, second] = order.map(mounts);
            let found = mistakes(&[&first, &second]);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(found[0].contains("/srv/classes/{group}"), "{found:?}");
            assert!(found[0].contains("below \"/srv/classes\""), "{found:?}");
            assert_eq!(mistakes(&[&mounts(&order.join(", "))]).len(), 1);
        }
        let by_class = "{ source = '/srv/{group}', target = '/mnt/{group}', read_only = false, groups = ['8a', '8b'] }";
        let deep = "{ source = '/srv/8b/tasks/1', target = '/mnt/tasks' }";
        assert_eq!(mistakes(&[&mounts(by_class), &mounts(deep)]).len(), 1);
    }

    #[test]
    fn beside_above_and_in_the_same_place_nobody_can_put_a_link() {
        let everybody =
            mounts("{ source = '/srv/classes/8a', target = '/mnt/all', read_only = false }");
        for source in [
            "/srv/classes/8a",
            "/srv/classes",
            "/srv/classes/8ab",
            "/srv/classes/8b/x",
            "classes",
        ] {
            let other = mounts(&format!("{{ source = '{source}', target = '/mnt/x' }}"));
            let found = mistakes(&[&everybody, &other]);
            assert_eq!(found, Vec::<String>::new(), "{source}");
        }
        let read_only = mounts("{ source = '/srv/classes', target = '/mnt/all' }");
        let below = mounts("{ source = '/srv/classes/8a', target = '/mnt/x' }");
        assert_eq!(mistakes(&[&read_only, &below]), Vec::<String>::new());
    }

    #[test]
    fn a_target_in_a_home_that_lasts_is_refused_with_a_better_place() {
        let inside = "{ source = 'material', target = '/home/kasm-user/Material' }";
        let found = mistakes(&[&mounts(inside)]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("mounts 1, target"), "{found:?}");
        assert!(found[0].contains("/mnt/"), "{found:?}");
        let none = format!("home = 'none'\n{}", mounts(inside));
        assert_eq!(mistakes(&[&none]), Vec::<String>::new());
        let elsewhere = format!("home_path = '/home/user'\n{}", mounts(inside));
        assert_eq!(mistakes(&[&elsewhere]), Vec::<String>::new());
        let at_it = mounts("{ source = 'material', target = '/home/kasm-user' }");
        assert_eq!(mistakes(&[&at_it]).len(), 1);
    }

    #[test]
    fn a_target_below_another_is_refused_where_people_can_write_on_the_way() {
        let tasks = "{ source = 'tasks', target = '/mnt/all/tasks' }";
        let volume = |writable: bool| {
            format!(
                "{{ source = 'all', target = '/mnt/all', read_only = {} }}",
                !writable
            )
        };
        let both = |writable| mounts(&format!("{tasks}, {}", volume(writable)));
        assert_eq!(mistakes(&[&both(true)]).len(), 1);
        assert_eq!(mistakes(&[&both(false)]), Vec::<String>::new());
        // Whoever reads there may meet a link that teachers, say, made in desktops of theirs.
        let found = mistakes(&[&both(false), &mounts(&volume(true))]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("\"t0\", mounts 1, target"), "{found:?}");
        // A directory of the host, in which the place itself is where people write.
        let tree = "{ source = '/srv/all', target = '/mnt/all' }";
        let tasks = "{ source = '/srv/all/tasks', target = '/mnt/all/tasks', read_only = false }";
        let deeper = "{ source = 'deep', target = '/mnt/all/tasks/1' }";
        let tree = mounts(&format!("{tree}, {tasks}"));
        assert_eq!(mistakes(&[&tree]), Vec::<String>::new());
        let deeper = tree.replace(']', &format!(", {deeper}]"));
        assert_eq!(mistakes(&[&deeper]).len(), 1);
    }

    #[test]
    fn a_home_in_what_people_share_is_refused() {
        let homes = mounts("{ source = 'homes', target = '/home', read_only = false }");
        let found = mistakes(&[&homes]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("home_path"), "{found:?}");
        let read_only = mounts("{ source = 'homes', target = '/home' }");
        assert_eq!(mistakes(&[&read_only]), Vec::<String>::new());
    }

    #[test]
    fn a_place_is_given_once() {
        let two = mounts(
            "{ source = 'one', target = '/mnt/8a' }, { source = 'b-{group}', target = '/mnt/{group}', groups = ['8a'] }",
        );
        let found = mistakes(&[&two]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("mounts 2, target"), "{found:?}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once_and_once_for_all_groups() {
        let classes = "{ source = '/srv/all/{group}', target = '/home/kasm-user/{group}', groups = ['8a', '8b', '8c'] }";
        let all = "{ source = '/srv/all', target = '/mnt/all', read_only = false }";
        let found = mistakes(&[&mounts(classes), &mounts(all), &mounts(classes)]);
        assert_eq!(found.len(), 4, "{found:#?}");
    }
}
