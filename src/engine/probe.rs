//! The container with which `deskgate check` tries what a desktop reaches: like a desktop's, but with nobody's files, and
//! under a name of its own, so that no gateway takes it for an orphan.

use std::net::IpAddr;

use super::spec::{Belongings, ContainerSpec, Place, container_name};
use crate::config::Reach;
use crate::model::desktop::Desktop;
use crate::model::id::{DesktopId, UserId};
use crate::model::subnet::SubnetPool;
use crate::model::template::{Home, Template};
use crate::model::time::Timestamp;

/// How long it waits to be told what to try, in seconds; then it ends by itself.
const LIFE: &str = "300";

/// Tries to connect with whatever the image has, and says by its exit code what became of it: 10 somebody answers, 11 the
/// machine answers that nobody does, 12 nothing comes back, 13 the image has nothing to try with.
const KNOCK: &str = r#"
export LC_ALL=C
if command -v bash && command -v timeout; then
    said=$(timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" 2>&1)
elif command -v python3; then
    said=$(python3 -c "import socket; socket.create_connection(('$1', $2), 3)" 2>&1)
elif command -v nc && nc -h 2>&1 | grep -q -e -z; then
    said=$(nc -z -v -w 3 "$1" "$2" 2>&1)
else
    exit 13
fi
case "$? $said" in
    "0 "*) exit 10 ;;
    *efused*) exit 11 ;;
    *) exit 12 ;;
esac
"#;

/// Has a name looked up with whatever the image has, and says by its exit code what became of it, as [`KNOCK`] does: 10, 12
/// or 13.
const LOOK_UP: &str = r#"
export LC_ALL=C RES_OPTIONS="timeout:2 attempts:1"
if command -v getent; then
    getent hosts "$1" && exit 10
elif command -v python3; then
    python3 -c "import socket, sys; socket.getaddrinfo(sys.argv[1], None)" "$1" && exit 10
else
    exit 13
fi
exit 12
"#;
/// Longest name in the DNS, bytes (RFC 1035, section 2.3.4, written as text).
const MAX_NAME: usize = 253;

/// The name in the labels of such containers of an installation.
#[must_use]
pub fn instance(instance: &str) -> String {
    format!("{instance}-check")
}

/// Where they go; `instance` is their own.
#[must_use]
pub fn place(instance: &str, subnets: Option<SubnetPool>) -> Place<'_> {
    Place {
        instance,
        reach: Reach::Network,
        subnets,
    }
}

/// Describes one that waits to be told what to try.
#[must_use]
pub fn spec(template: &Template, place: Place<'_>, id: DesktopId) -> ContainerSpec {
    let bare = Template {
        home: Home::None,
        mounts: Vec::new(),
        ..template.clone()
    };
    let name = container_name(place.instance, id);
    let desktop = Desktop::queued(&bare, id, UserId::NIL, name, Timestamp::default());
    let command = ["/bin/sh", "-c", "sleep \"$0\"", LIFE];
    ContainerSpec {
        command: Some(command.map(str::to_owned).into()),
        ..ContainerSpec::new(&bare, &desktop, "", place, &Belongings::default())
    }
}

/// The command that tries to connect to an address.
#[must_use]
pub fn knock(address: IpAddr, port: u16) -> Vec<String> {
    let (address, port) = (address.to_string(), port.to_string());
    let command = ["/bin/sh", "-c", KNOCK, "knock", &address, &port];
    command.map(str::to_owned).into()
}

/// The command that has a name looked up. `None` for what is no name of the DNS.
#[must_use]
pub fn look_up(name: &str) -> Option<Vec<String>> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= MAX_NAME
        && name.bytes().all(fits);
    is_name.then(|| {
        ["/bin/sh", "-c", LOOK_UP, "look-up", name]
            .map(str::to_owned)
            .into()
    })
}

/// Whether a command is one of [`knock`] or [`look_up`].
#[must_use]
pub fn is_attempt(command: &[String]) -> bool {
    match command {
        [.., address, port] if command.len() == 6 => {
            let target = address.parse().ok().zip(port.parse().ok());
            target.is_some_and(|(address, port)| knock(address, port) == command)
        }
        [.., name] => look_up(name).is_some_and(|ours| ours == command),
        [] => false,
    }
}
