//! A picture of a real desktop, of the demo's image. Run by `scripts/test`, which has engine and image.

use std::collections::HashSet;
use std::io::Cursor;
use std::time::Duration;

use deskgate::desktop::Found;
use deskgate::model::desktop::State;
use deskgate::model::reason::Reason;
use deskgate::picture::{Bound, Pictures};
use zune_jpeg::JpegDecoder;

use crate::support::docker::{Real, tester};
use crate::support::gateway::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// Width, height, and how many colours a JPEG has.
fn facts(jpeg: &[u8]) -> (usize, usize, usize) {
    let mut decoder = JpegDecoder::new(Cursor::new(jpeg));
    let pixels = decoder.decode().expect("a JPEG");
    let (width, height) = decoder.dimensions().expect("a size");
    let colours: HashSet<&[u8]> = pixels.chunks(3).collect();
    (width, height, colours.len())
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_shows_a_real_desktop_small_and_large() {
    let real = Real::new("18360-18369").await;
    let desktops = &real.core.desktops;
    let user = real.user("pupil").await;
    let (desktop, _) = desktops.start(&user, &tester(), None).await.unwrap();
    let launched = desktops.wait_launched(desktop.id, PATIENCE).await;
    let desktop = launched.unwrap().unwrap();
    let reason = &desktop.status_reason;
    assert_eq!(desktop.status, State::Running, "{reason:?}");
    let found = desktops.find(desktop.id).await.unwrap();
    let Some(Found::Up(entry)) = found else {
        panic!("it runs")
    };
    let pictures = Pictures::new(desktops.dialer().clone());
    // A desktop that answers has perhaps not drawn all of itself yet.
    eventually("it has more than one colour", async || {
        let bound = Bound {
            width: 320,
            height: 240,
        };
        let small = pictures.take(&entry, bound).await.expect("a picture");
        let (width, height, colours) = facts(&small.bytes);
        assert_eq!((width, height), (320, 180));
        colours > 100
    })
    .await;
    let bound = Bound {
        width: 1280,
        height: 1280,
    };
    let mut view = pictures.view(entry.clone());
    let large = view.next(bound).await.expect("a picture");
    let (width, height, colours) = facts(&large.bytes);
    assert_eq!((width, height), (1280, 720));
    assert!(colours > 1000, "{colours}");
    drop(view);
    let thumbnail = pictures.thumbnail(&entry).await.expect("a picture");
    assert_eq!(facts(&thumbnail.bytes).0, 320);

    let seen = desktops.get(desktop.id).await.unwrap().unwrap();
    assert_eq!(seen.last_accessed, None);
    let stopped = desktops.remove(desktop.id, &tester(), Reason::Asked).await;
    stopped.unwrap();
    real.clean().await;
}
