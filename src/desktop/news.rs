//! Changes of desktops, whoever makes them. Those of this gateway are told as they happen; those of other gateways
//! on the same database are found by comparing all rows with what was told, whenever one has been announced there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};

use super::{Change, Desktops, Inner};
use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::store::StoreError;
use crate::store::notify::DESKTOPS;
use crate::telemetry::ErrorChain;

/// How many changes a slow listener may be behind before it misses some.
const CHANGE_BACKLOG: usize = 256;
/// How often the database is asked whether there is something new.
const CHECK_PERIOD: Duration = Duration::from_millis(500);
/// How long more is waited for once something was heard: changes come in groups.
const SETTLE: Duration = Duration::from_millis(50);

/// What was told of desktops.
#[derive(Debug)]
pub(super) struct News {
    /// Shared by all who listen, who are many in a rush.
    changes: broadcast::Sender<Arc<Change>>,
    state: Mutex<Told>,
    heard: Notify,
}

#[derive(Debug, Default)]
struct Told {
    /// How each row was when it was told last, and when in the order of this gateway's own words that was. There
    /// are as many as rows.
    rows: HashMap<DesktopId, (Desktop, u64)>,
    words: u64,
    /// The announcements that are accounted for.
    revision: Option<i64>,
}

impl Default for News {
    fn default() -> Self {
        Self {
            changes: broadcast::channel(CHANGE_BACKLOG).0,
            state: Mutex::default(),
            heard: Notify::new(),
        }
    }
}

impl News {
    fn told(&self) -> MutexGuard<'_, Told> {
        // The map is whole between any two calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    /// Tells of a change that this gateway made.
    pub(super) fn tell(&self, change: Change) {
        let mut told = self.told();
        told.words += 1;
        let (words, desktop) = (told.words, change.desktop());
        if matches!(change, Change::Removed(_)) {
            told.rows.remove(&desktop.id);
        } else {
            told.rows.insert(desktop.id, (desktop.clone(), words));
        }
        // Nobody listening is fine.
        let _ = self.changes.send(Arc::new(change));
    }

    /// Tells what is new in `rows`, which are at least as new as `revision`. Returns whether one that waited for its turn
    /// has moved on.
    fn account(&self, rows: &[Desktop], since: u64, revision: i64) -> bool {
        let (moved_on, complete) = self.compare(rows, since);
        let mut told = self.told();
        if complete {
            told.revision = Some(revision);
        } else if told.revision.is_none() {
            // Everything else was taken for known; the next look finds the rest.
            told.revision = Some(revision - 1);
        }
        moved_on
    }

    /// Tells how `rows`, read after this gateway's word number `since`, differ from what was told. Returns whether
    /// one that waited for its turn has moved on, and whether all is accounted for.
    fn compare(&self, rows: &[Desktop], since: u64) -> (bool, bool) {
        let mut told = self.told();
        let first = told.revision.is_none();
        let (mut moved_on, mut complete) = (false, true);
        let mut tell = |change: Change, before: Option<&Desktop>| {
            moved_on |= before.is_some_and(|row| row.status == State::Queued);
            if !first {
                let _ = self.changes.send(Arc::new(change));
            }
        };
        let mut old = std::mem::take(&mut told.rows);
        for row in rows {
            let (before, word) = old.remove(&row.id).unzip();
            let word = word.unwrap_or_default();
            if word > since {
                // What this gateway said meanwhile may be newer than the row that was read.
                complete = false;
                told.rows
                    .extend(before.map(|before| (row.id, (before, word))));
                continue;
            }
            if before.as_ref().is_none_or(|before| differs(before, row)) {
                tell(Change::To(row.clone()), before.as_ref());
            }
            told.rows.insert(row.id, (row.clone(), word));
        }
        for (id, (row, word)) in old {
            if word > since {
                complete = false;
                told.rows.insert(id, (row, word));
            } else {
                tell(Change::Removed(row.clone()), Some(&row));
            }
        }
        (moved_on, complete)
    }
}

/// Whether two states of a row differ in more than activity, which is not told. That a look goes on is none either.
fn differs(before: &Desktop, now: &Desktop) -> bool {
    let name = |desktop: &Desktop| desktop.watched.as_ref().map(|watched| watched.by);
    let same_look = name(before) == name(now);
    let same_activity = Desktop {
        last_accessed: now.last_accessed,
        last_input: now.last_input,
        last_used: now.last_used,
        gateway: now.gateway,
        watched: now.watched.clone(),
        ..before.clone()
    };
    !same_look || same_activity != *now
}

impl Desktops {
    /// Looks whenever something may have changed, until the soft stop.
    pub fn spawn_news(&self) {
        let (watching, listening) = (self.clone(), self.clone());
        let tasks = &self.inner.parts.tasks;
        tasks.until_soft("desktop watch", async move { watching.watch_rows().await });
        tasks.until_soft("desktop news", async move {
            let Inner { news, parts, .. } = &*listening.inner;
            parts.database.hear(DESKTOPS, &news.heard).await;
        });
    }

    async fn watch_rows(&self) {
        loop {
            if let Err(error) = self.follow_rows().await {
                tracing::debug!(error = %ErrorChain(&error), "changes of desktops are not known");
            }
            tokio::select! {
                () = tokio::time::sleep(CHECK_PERIOD) => {}
                () = self.inner.news.heard.notified() => tokio::time::sleep(SETTLE).await,
            }
        }
    }

    /// Tells what other gateways did, and ends the streams of what is not up any more.
    ///
    /// # Errors
    /// The database does not answer. Streams go on then.
    pub async fn follow_rows(&self) -> Result<(), StoreError> {
        let (news, parts) = (&self.inner.news, &self.inner.parts);
        // The count first: what is announced later is found by the next look, even if this one sees it too.
        let revision = parts.database.revision(DESKTOPS).await?;
        let since = {
            let told = news.told();
            if told.revision == Some(revision) {
                return Ok(());
            }
            told.words
        };
        let entries = self.inner.directory.ids();
        let rows = parts.database.all_desktops(parts.engine.name()).await?;
        self.drop_stale_entries(&entries, &rows);
        self.take_over_naps(&rows);
        let moved_on = news.account(&rows, since, revision);
        if moved_on {
            self.announce_queue().await;
        }
        Ok(())
    }
}

/// Waits for news of this desktop, or until some were missed, which may have been among them. What happens to others,
/// and much does in a rush, is none.
pub(super) async fn next_of(changes: &mut broadcast::Receiver<Arc<Change>>, id: DesktopId) {
    while let Ok(change) = changes.recv().await {
        if change.desktop().id == id {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::model::id::UserId;
    use crate::model::template::Template;
    use crate::model::time::Timestamp;

    fn desktop(status: State) -> Desktop {
        let template = Template::kasm("image".into(), 6901);
        let (id, user) = (DesktopId::random(), UserId::random());
        Desktop {
            status,
            host_port: Some(7000),
            ..Desktop::queued(&template, id, user, "name".into(), Timestamp::default())
        }
    }

    fn heard(changes: &mut broadcast::Receiver<Arc<Change>>) -> Vec<(DesktopId, State, bool)> {
        let mut heard = Vec::new();
        while let Ok(change) = changes.try_recv() {
            let desktop = change.desktop();
            let removed = matches!(*change, Change::Removed(_));
            heard.push((desktop.id, desktop.status, removed));
        }
        heard
    }

    #[test]
    fn what_others_did_is_told_once_and_the_first_look_tells_nothing() {
        let news = News::default();
        let mut changes = news.subscribe();
        let mut row = desktop(State::Queued);
        assert_eq!(news.compare(std::slice::from_ref(&row), 0), (false, true));
        news.told().revision = Some(1);
        assert_eq!(heard(&mut changes), []);
        row.status = State::Creating;
        row.last_accessed = Some(Timestamp::default());
        assert_eq!(news.compare(std::slice::from_ref(&row), 0), (true, true));
        assert_eq!(heard(&mut changes), [(row.id, State::Creating, false)]);
        row.last_accessed = None;
        assert_eq!(news.compare(std::slice::from_ref(&row), 0), (false, true));
        assert_eq!(heard(&mut changes), [], "activity is not told");
        assert_eq!(news.compare(&[], 0), (false, true));
        assert_eq!(heard(&mut changes), [(row.id, State::Creating, true)]);
        assert!(news.told().rows.is_empty());
    }

    #[test]
    fn who_waits_for_one_desktop_is_not_woken_by_others() {
        let news = News::default();
        let mut changes = news.subscribe();
        let (mine, other) = (desktop(State::Queued), desktop(State::Queued));
        for _ in 0..3 {
            news.tell(Change::To(other.clone()));
        }
        assert_eq!(next_of(&mut changes, mine.id).now_or_never(), None);
        news.tell(Change::To(other.clone()));
        news.tell(Change::To(mine.clone()));
        assert_eq!(next_of(&mut changes, mine.id).now_or_never(), Some(()));
        for _ in 0..=CHANGE_BACKLOG {
            news.tell(Change::To(other.clone()));
        }
        assert_eq!(
            next_of(&mut changes, mine.id).now_or_never(),
            Some(()),
            "some were missed"
        );
    }

    #[test]
    fn an_old_row_never_follows_this_gateways_newer_word() {
        let news = News::default();
        news.told().revision = Some(1);
        let mut changes = news.subscribe();
        let old = desktop(State::Starting);
        let new = Desktop {
            status: State::Running,
            ..old.clone()
        };
        news.tell(Change::To(new.clone()));
        heard(&mut changes);
        assert_eq!(news.compare(&[old], 0), (false, false));
        assert_eq!(news.compare(&[], 0), (false, false));
        assert_eq!(heard(&mut changes), []);
        assert_eq!(news.compare(&[new], 1), (false, true));
        assert_eq!(heard(&mut changes), [], "it was told");
    }
}
