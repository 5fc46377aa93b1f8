//! Small pictures that are good for a few seconds, so that a desktop is asked once however many people look at a wall,
//! and the gateway takes a few at a time however many desktops there are. In memory only, and soon forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::Instant;

use super::{Picture, PictureError};
use crate::model::id::DesktopId;

/// How old a picture may be.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// How long a desktop of which there was none is not asked again: one that answers slowly, or never, would take the
/// places of others.
const BAD_FOR: Duration = Duration::from_secs(15);
/// Pictures that are taken at the same time.
const PARALLEL: usize = 8;
/// How long a picture waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Desktops that are remembered. A picture is about 10 kB.
const MAX_KEPT: usize = 1024;

/// What was taken, and when.
type Taken = (Instant, Result<Picture, Arc<PictureError>>);

/// The pictures.
#[derive(Debug)]
pub struct Kept {
    /// Held by whoever takes the next one, so that others wait for that.
    slots: Mutex<HashMap<DesktopId, Arc<AsyncMutex<Option<Taken>>>>>,
    turns: Semaphore,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
            turns: Semaphore::new(PARALLEL),
        }
    }
}

impl Kept {
    /// The picture of a desktop: the last one, or one that `take` takes now.
    ///
    /// # Errors
    /// There is none, or too many are being taken.
    pub async fn get(
        &self,
        id: DesktopId,
        take: impl Future<Output = Result<Picture, PictureError>>,
    ) -> Result<Picture, PictureError> {
        let slot = self.slot(id).ok_or(PictureError::Busy)?;
        let mut last = slot.lock().await;
        if let Some((at, taken)) = &*last
            && at.elapsed() < good_for(taken)
        {
            return taken.clone().map_err(PictureError::Lately);
        }
        *last = None;
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| PictureError::Busy)?;
        let taken = take.await.map_err(Arc::new);
        *last = Some((Instant::now(), taken.clone()));
        taken.map_err(PictureError::Lately)
    }

    /// Forgets what is too old to be shown.
    pub fn sweep(&self) {
        self.slots().retain(|_, slot| {
            // Whoever holds one, or waits for it, goes on.
            if Arc::strong_count(slot) > 1 {
                return true;
            }
            let last = slot.try_lock();
            last.is_ok_and(|last| {
                let good = |(at, taken): &Taken| at.elapsed() < good_for(taken);
                last.as_ref().is_some_and(good)
            })
        });
    }

    fn slot(&self, id: DesktopId) -> Option<Arc<AsyncMutex<Option<Taken>>>> {
        let mut slots = self.slots();
        if !slots.contains_key(&id) && slots.len() >= MAX_KEPT {
            return None;
        }
        Some(slots.entry(id).or_default().clone())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<DesktopId, Arc<AsyncMutex<Option<Taken>>>>> {
        // No code panics while it holds the lock, and a map is whole between any two calls anyway.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn good_for(taken: &Result<Picture, Arc<PictureError>>) -> Duration {
    match taken {
        Ok(_) => GOOD_FOR,
        Err(_) => BAD_FOR,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    fn picture() -> Picture {
        Picture {
            bytes: "picture".into(),
            content_type: "image/jpeg",
        }
    }

    async fn taken(count: &AtomicUsize) -> Result<Picture, PictureError> {
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(picture())
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_look_at_one_desktop_take_one_picture() {
        let (kept, count, id) = (Kept::default(), AtomicUsize::new(0), DesktopId::random());
        let looks = (0..30).map(|_| kept.get(id, taken(&count)));
        let seen = join_all(looks).await;
        assert!(seen.iter().all(|one| one.as_ref().ok() == Some(&picture())));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let moment = Duration::from_millis(1);
        tokio::time::advance(GOOD_FOR.saturating_sub(moment)).await;
        kept.get(id, taken(&count)).await.expect("a picture");
        assert_eq!(count.load(Ordering::Relaxed), 1, "still good");
        tokio::time::advance(moment).await;
        kept.get(id, taken(&count)).await.expect("a picture");
        assert_eq!(count.load(Ordering::Relaxed), 2, "too old");
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_are_taken_at_a_time() {
        let (kept, now, most) = (Kept::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let looks = (0..30).map(|_| {
            kept.get(DesktopId::random(), async {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                Ok(picture())
            })
        });
        assert!(join_all(looks).await.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::Relaxed), PARALLEL);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_desktops_do_not_keep_others_waiting_for_ever() {
        let kept = Kept::default();
        let slow = || {
            kept.get(DesktopId::random(), async {
                tokio::time::sleep(PATIENCE * 2).await;
                Err(PictureError::Timeout)
            })
        };
        let mut looks: Vec<_> = (0..PARALLEL).map(|_| slow()).collect();
        looks.push(slow());
        let last = join_all(looks).await.pop().expect("the last");
        assert!(matches!(last, Err(PictureError::Busy)), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_desktop_without_a_picture_is_left_alone_for_a_while() {
        let (kept, count, id) = (Kept::default(), AtomicUsize::new(0), DesktopId::random());
        let fails = || async {
            count.fetch_add(1, Ordering::Relaxed);
            Err(PictureError::Timeout)
        };
        for _ in 0..3 {
            assert!(kept.get(id, fails()).await.is_err());
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        tokio::time::advance(BAD_FOR).await;
        kept.get(id, taken(&count)).await.expect("a picture");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_forgotten_and_there_is_an_end_to_it() {
        let (kept, count) = (Kept::default(), AtomicUsize::new(0));
        let looks = (0..MAX_KEPT).map(|_| kept.slot(DesktopId::random()));
        let held: Vec<_> = looks.collect();
        let refused = kept.get(DesktopId::random(), taken(&count)).await;
        assert!(matches!(refused, Err(PictureError::Busy)));
        kept.sweep();
        assert_eq!(kept.slots().len(), MAX_KEPT, "somebody holds them");
        drop(held);
        kept.sweep();
        assert_eq!(kept.slots().len(), 0);
        let id = DesktopId::random();
        kept.get(id, taken(&count)).await.expect("a picture");
        kept.sweep();
        assert_eq!(kept.slots().len(), 1);
        tokio::time::advance(GOOD_FOR).await;
        kept.sweep();
        assert_eq!(kept.slots().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_goes_away_leaves_the_work_to_the_next() {
        let (kept, count, id) = (Kept::default(), AtomicUsize::new(0), DesktopId::random());
        let gone = tokio::time::timeout(Duration::from_millis(500), kept.get(id, taken(&count)));
        assert!(gone.await.is_err());
        kept.get(id, taken(&count)).await.expect("a picture");
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
