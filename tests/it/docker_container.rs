//! What of a template reaches the real engine, and what it is worth inside: rights, files, and what desktops share.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use deskgate::clock::{Clock, SystemClock};
use deskgate::demo;
use deskgate::model::user::{Identity, User};
use serde_json::{Value, json};

use crate::support::docker::{Real, docker};
use crate::support::gateway::identity;

/// What a command in a container says, if it goes well, and otherwise what it complains of.
fn inside(container: &str, user: &[&str], command: &str) -> Result<String, String> {
    let output = Command::new("docker")
        .arg("exec")
        .args(user)
        .args([container, "bash", "-c", command])
        .output()
        .expect("the docker client");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// The user that the template says.
fn does(container: &str, command: &str) -> Result<String, String> {
    inside(container, &[], command)
}

async fn member(real: &Real, name: &str, groups: &[&str]) -> User {
    let identity = Identity {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..identity(name)
    };
    let database = &real.core.database;
    let user = database.upsert_user(&identity, SystemClock.timestamp());
    user.await.unwrap()
}

/// A directory of the host that everybody may write to, with a file in it.
fn folder(directory: &Path, name: &str) {
    let path = directory.join(name);
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    std::fs::write(path.join("note"), name).unwrap();
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_desktops_see_the_folders_of_their_groups_and_write_where_they_may() {
    let host = tempfile::tempdir().unwrap();
    let shared = host.path();
    std::fs::set_permissions(shared, Permissions::from_mode(0o755)).unwrap();
    for name in ["material", "class-8a", "class-8b"] {
        folder(shared, name);
    }
    let place = shared.display();
    let template = format!(
        "id = 'desk'\nimage = '{}'\nhome = 'none'\nmounts = [\
            {{ source = '{place}/material', target = '/shared/material', read_only = true }},\
            {{ source = '{place}/class-{{group}}', target = '/shared/class/{{group}}', \
               groups = ['8a', '8b'], read_only = false }}]",
        demo::IMAGE
    );
    let real = Real::with_templates("18410-18419", &[template]).await;
    let start = async |name: &str, groups: &[&str]| {
        let user = member(&real, name, groups).await;
        real.desktop_of(&user, "desk").await.container_name
    };
    // A group that the template does not name gives nothing, whatever it is called.
    let (mia, ben) = (start("mia", &["8a", "../8b"]), start("ben", &["8b"]));
    let (mia, ben) = tokio::join!(mia, ben);
    let guest = start("guest", &["material", "9c"]).await;

    for (container, own) in [(&mia, "8a"), (&ben, "8b")] {
        assert_eq!(does(container, "ls /shared/class"), Ok(own.into()));
        let note = does(container, "cat /shared/class/*/note");
        assert_eq!(note, Ok(format!("class-{own}")));
        let write = format!("echo from-{own} >/shared/class/{own}/work");
        assert_eq!(does(container, &write), Ok(String::new()));
        let written = std::fs::read_to_string(shared.join(format!("class-{own}/work")));
        assert_eq!(written.unwrap(), format!("from-{own}\n"));
    }
    assert!(does(&mia, "cat /shared/class/8b/note").is_err());
    assert!(does(&mia, "ls /shared/class/8a/../8b").is_err());
    assert_eq!(does(&guest, "ls /shared"), Ok("material".into()));

    for container in [&mia, &ben, &guest] {
        assert_eq!(
            does(container, "cat /shared/material/note"),
            Ok("material".into())
        );
        // Neither the person nor root, who has no rights either to mount it anew.
        for user in [&[][..], &["--user", "0"]] {
            for change in [
                "echo x >/shared/material/note",
                "touch /shared/material/new",
            ] {
                let refused = inside(container, user, change).unwrap_err();
                assert!(refused.contains("Read-only file system"), "{refused}");
            }
            let again = "mount -o remount,bind,rw /shared/material";
            assert!(inside(container, user, again).is_err());
        }
    }
    let note = std::fs::read_to_string(shared.join("material/note"));
    assert_eq!(note.unwrap(), "material");
    real.clean().await;
}

/// Everything that a template can say of its sandbox; the profile forbids links.
fn confined(profile: &Path) -> String {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO" }],
    });
    std::fs::write(profile, filter.to_string()).unwrap();
    format!(
        "id = 'desk'
        image = '{}'
        home = 'none'
        network = 'none'
        user = '1000:1234'
        init = true
        read_only = true
        tmpfs = {{ '/tmp' = 'size=64m,mode=1777', '/home/kasm-user' = 'uid=1000,exec' }}
        cap_add = ['CHOWN']
        devices = ['/dev/full:/dev/desk-full:rw']
        seccomp = '{}'
        stop = {{ signal = 'SIGINT' }}
        memory = '1g'
        shm_size = '96m'
        cpus = 1.5
        pids = 400",
        demo::IMAGE,
        profile.display()
    )
}

#[tokio::test]
#[ignore = "needs the Docker engine"]
async fn docker_containers_are_confined_as_their_template_says() {
    let directory = tempfile::tempdir().unwrap();
    let template = confined(&directory.path().join("profile.json"));
    let real = Real::with_templates("18420-18429", &[template]).await;
    let user = real.user("pupil").await;
    let desktop = real.desktop_of(&user, "desk").await;
    let name = &desktop.container_name;

    let said: Value = serde_json::from_str(&docker(&["inspect", name])).unwrap();
    let (config, host) = (&said[0]["Config"], &said[0]["HostConfig"]);
    assert_eq!(config["User"], "1000:1234");
    assert_eq!(config["StopSignal"], "SIGINT");
    for (member, value) in [
        ("Init", json!(true)),
        ("ReadonlyRootfs", json!(true)),
        ("Privileged", json!(false)),
        ("CapAdd", json!(["CHOWN"])),
        ("CapDrop", json!(["ALL"])),
        ("Dns", json!(["127.0.0.1"])),
        ("Memory", json!(1 << 30)),
        ("MemorySwap", json!(1 << 30)),
        ("ShmSize", json!(96 << 20)),
        ("NanoCpus", json!(1_500_000_000)),
        ("PidsLimit", json!(400)),
        (
            "Devices",
            json!([{ "PathOnHost": "/dev/full", "PathInContainer": "/dev/desk-full", "CgroupPermissions": "rw" }]),
        ),
        (
            "Tmpfs",
            json!({ "/tmp": "size=64m,mode=1777", "/home/kasm-user": "uid=1000,exec" }),
        ),
    ] {
        assert_eq!(host[member], value, "{member}");
    }
    let published = host["PortBindings"].as_object();
    assert!(published.is_none_or(serde_json::Map::is_empty));
    let options = host["SecurityOpt"].as_array().unwrap();
    assert_eq!(options.len(), 2, "{options:?}");
    assert_eq!(options[0], "no-new-privileges");
    let profile = options[1].as_str().unwrap();
    assert!(profile.starts_with("seccomp={") && profile.contains("symlinkat"));

    // And what that is worth.
    assert_eq!(does(name, "cat /proc/1/comm"), Ok("docker-init".into()));
    assert_eq!(does(name, "id -u; id -g"), Ok("1000\n1234".into()));
    let status = does(name, "cat /proc/self/status").unwrap();
    for line in ["CapBnd:\t0000000000000001", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let refused = inside(name, &["--user", "0"], "touch /usr/x").unwrap_err();
    assert!(refused.contains("Read-only file system"), "{refused}");
    let full = "dd if=/dev/zero of=/tmp/x bs=1M count=100 2>&1; stat -c %s /tmp/x; rm /tmp/x";
    let full = does(name, full).unwrap();
    assert!(full.contains("No space left"), "{full}");
    let refused = does(name, "ln -s a /tmp/link").unwrap_err();
    assert!(refused.contains("Operation not permitted"), "{refused}");
    let full = does(name, "test -c /dev/desk-full && echo x >/dev/desk-full").unwrap_err();
    assert!(full.contains("No space left"), "{full}");
    real.clean().await;
}
