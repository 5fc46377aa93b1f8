//! How a desktop shows that somebody looks at it: the command of its template, and the words for it.

/// What stands for whether a look begins or ends.
const STATE: &str = "{state}";
/// What stands for the words.
const TEXT: &str = "{text}";
/// Longest name in the words, characters.
const MAX_NAME: usize = 80;

/// What the desktop is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookState {
    /// Somebody looks at it from now on.
    Begin,
    /// Nobody does any more.
    End,
}

impl LookState {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Begin, Self::End];

    /// The word in place of `{state}`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::End => "end",
        }
    }

    /// What stands around the name in a line of each language.
    const fn around(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Begin => [
                ("Dein Desktop wird gerade von ", " angesehen."),
                ("Your desktop is being looked at by ", "."),
            ],
            Self::End => [
                ("Dein Desktop wird nicht mehr von ", " angesehen."),
                ("Your desktop is no longer looked at by ", "."),
            ],
        }
    }

    /// The words, in both languages, since a desktop's is not known. They never begin with the name: a program must not
    /// take it for an option.
    fn words(self, name: &str) -> String {
        let lines = self
            .around()
            .map(|(before, behind)| [before, name, behind].concat());
        lines.join("\n")
    }

    /// The name, if these are words that [`Self::words`] could have made.
    fn name_in(self, words: &str) -> Option<&str> {
        let [(before, behind), _] = self.around();
        let line = words.split('\n').next()?;
        let name = line.strip_prefix(before)?.strip_suffix(behind)?;
        (plain(name) == name && self.words(name) == words).then_some(name)
    }
}

/// A name without what could make another text of a line, and not longer than a line is.
fn plain(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let separates = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    let kept = name
        .chars()
        .filter(|&c| !c.is_control() && !turns(c) && !separates(c));
    kept.take(MAX_NAME).collect()
}

/// The command that shows it. `{state}` and `{text}` are each an argument of their own, so that nothing has to be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice(Vec<String>);

impl Notice {
    /// A command whose arguments name both, each once, and the program neither.
    #[must_use]
    pub fn new(command: Vec<String>) -> Option<Self> {
        let program = command.first().filter(|program| !program.is_empty())?;
        let holds = |word: &str| word.contains(STATE) || word.contains(TEXT);
        let once = |placeholder| {
            let mut uses = command.iter().filter(|word| word.contains(placeholder));
            uses.next().is_some_and(|word| word == placeholder) && uses.next().is_none()
        };
        let fits = !holds(program)
            && once(STATE)
            && once(TEXT)
            && !command.iter().any(|word| word.contains('\0'));
        fits.then_some(Self(command))
    }

    /// The command for a look of somebody with this name.
    #[must_use]
    pub fn command(&self, state: LookState, name: &str) -> Vec<String> {
        self.filled(state, &state.words(&plain(name)))
    }

    /// Whether [`Self::command`] could have made this.
    #[must_use]
    pub fn makes(&self, command: &[String]) -> bool {
        let Some(place) = self.0.iter().position(|word| word == TEXT) else {
            return false;
        };
        let text = command.get(place).map_or("", String::as_str);
        LookState::ALL.into_iter().any(|state| {
            state.name_in(text).is_some() && self.filled(state, text).as_slice() == command
        })
    }

    fn filled(&self, state: LookState, text: &str) -> Vec<String> {
        let words = self.0.iter().map(|word| match word.as_str() {
            STATE => state.as_str().to_owned(),
            TEXT => text.to_owned(),
            other => other.to_owned(),
        });
        words.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice(words: &[&str]) -> Option<Notice> {
        Notice::new(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn both_placeholders_are_arguments_of_their_own() {
        assert!(notice(&["show", "{state}", "{text}"]).is_some());
        assert!(notice(&["show", "--for", "{text}", "--", "{state}"]).is_some());
        for wrong in [
            &[][..],
            &["", "{state}", "{text}"],
            &["show", "{text}"],
            &["show", "{state}"],
            &["{text}", "{state}"],
            &["sh", "-c", "show {state} '{text}'"],
            &["show", "{state}", "{text}", "{text}"],
            &["show", "{state}", "{text}", "--title={text}"],
            &["show", "{state}", "{text}", "\0"],
        ] {
            assert_eq!(notice(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_words_are_one_argument_in_both_languages() {
        let notice = notice(&["show", "{state}", "{text}"]).expect("a notice");
        assert_eq!(
            notice.command(LookState::Begin, "Frau \u{202e}Leh\nmann"),
            [
                "show",
                "begin",
                "Dein Desktop wird gerade von Frau Lehmann angesehen.\nYour desktop is being looked at by Frau Lehmann."
            ]
        );
        assert_eq!(notice.command(LookState::End, "A. B")[1], "end");
    }

    #[test]
    fn only_what_it_makes_is_taken_for_its_own() {
        let notice = notice(&["show", "{state}", "{text}", "-x"]).expect("a notice");
        let made = notice.command(LookState::Begin, "Frau Lehmann");
        for place in 0..made.len() {
            let mut other = made.clone();
            other[place].push('x');
            assert!(!notice.makes(&other), "{other:?}");
        }
        let [mut longer, mut ended] = [made.clone(), made.clone()];
        longer.push("more".into());
        ended[1] = "end".into();
        assert!(!notice.makes(&longer) && !notice.makes(&ended) && !notice.makes(&[]));
        assert!(!notice.makes(&made[..3]));
    }

    proptest! {
        #[test]
        fn it_knows_its_own_commands_whatever_the_name(name in ".{0,120}") {
            let notice = notice(&["show", "{state}", "{text}"]).expect("a notice");
            for state in LookState::ALL {
                let command = notice.command(state, &name);
                prop_assert!(notice.makes(&command), "{command:?}");
                prop_assert!(!command[2].starts_with('-') && command[2].lines().count() == 2);
            }
        }
    }
}
