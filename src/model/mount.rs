//! What desktops share: volumes and directories of the host, for everybody or for each group of a list.
//!
//! No path depends on what a person can choose. A group counts only if the configuration names it, and
//! its name is written in a strict alphabet before it becomes part of a name.

use std::fmt::Write as _;

/// The placeholder for a group.
pub const GROUP: &str = "{group}";
/// Longest group name in a path, bytes.
const MAX_GROUP: usize = 64;

/// Something that appears in the containers of many people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMount {
    /// Volume name, or absolute path on the host; may hold [`GROUP`].
    pub source: String,
    /// Absolute path inside; may hold [`GROUP`].
    pub target: String,
    /// Whether nothing can be changed there.
    pub read_only: bool,
    /// With [`GROUP`]: the groups that have such a folder.
    pub groups: Vec<String>,
}

/// A mount with its names filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Volume name, or absolute path on the host.
    pub source: String,
    /// Absolute path inside.
    pub target: String,
    /// Whether nothing can be changed there.
    pub read_only: bool,
}

impl SharedMount {
    /// Whether there is one for each group.
    #[must_use]
    pub fn is_per_group(&self) -> bool {
        self.source.contains(GROUP) || self.target.contains(GROUP)
    }

    /// The mounts of somebody in `groups`, in the order of the configured list.
    #[must_use]
    pub fn of(&self, groups: &[String]) -> Vec<Mount> {
        let mount = |source: String, target: String| Mount {
            source,
            target,
            read_only: self.read_only,
        };
        if !self.is_per_group() {
            return vec![mount(self.source.clone(), self.target.clone())];
        }
        let theirs = self.groups.iter().filter(|group| groups.contains(group));
        theirs
            .filter_map(|group| folder_name(group))
            .map(|name| {
                mount(
                    self.source.replace(GROUP, &name),
                    self.target.replace(GROUP, &name),
                )
            })
            .collect()
    }
}

/// `group` as a part of volume names and paths: letters, digits, `-` and inner dots stay, and every other byte is
/// `_` with two hex digits, so that two groups never share a folder. `None` for what is empty, has control characters
/// or is too long.
#[must_use]
pub fn folder_name(group: &str) -> Option<String> {
    if group.is_empty() || group.chars().any(char::is_control) {
        return None;
    }
    let mut name = String::with_capacity(group.len());
    for (at, byte) in group.bytes().enumerate() {
        let kept = byte.is_ascii_alphanumeric() || (matches!(byte, b'-' | b'.') && at > 0);
        if kept {
            name.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "_{byte:02x}");
        }
    }
    (name.len() <= MAX_GROUP).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_folder_for_each_group_that_is_configured_and_theirs() {
        let classes = SharedMount {
            source: "class-{group}".into(),
            target: "/mnt/Classes/{group}".into(),
            read_only: false,
            groups: vec!["klasse.8a".into(), "klasse.8b".into(), "Chor AG".into()],
        };
        let theirs = ["Chor AG", "klasse.8a", "../../etc"].map(str::to_owned);
        let mounts = classes.of(&theirs);
        let sources: Vec<&str> = mounts.iter().map(|mount| mount.source.as_str()).collect();
        assert_eq!(sources, ["class-klasse.8a", "class-Chor_20AG"]);
        assert_eq!(mounts[1].target, "/mnt/Classes/Chor_20AG");
        assert!(classes.of(&[]).is_empty());
    }

    #[test]
    fn names_that_could_mean_another_place() {
        assert_eq!(folder_name(".."), Some("_2e.".into()));
        assert_eq!(folder_name("a/b"), Some("a_2fb".into()));
        assert_eq!(folder_name("-v"), Some("_2dv".into()));
        assert_eq!(folder_name("ä"), Some("_c3_a4".into()));
        for refused in ["", "a\nb", "a\0", &"x".repeat(65), &"/".repeat(22)] {
            assert_eq!(folder_name(refused), None, "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_one_plain_segment_and_no_two_are_alike(a in "\\PC{1,20}", b in "\\PC{1,20}") {
            if let Some(name) = folder_name(&a) {
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
                prop_assert!(!name.starts_with(['.', '-']));
                if a != b {
                    prop_assert_ne!(Some(name), folder_name(&b));
                }
            }
        }
    }
}
