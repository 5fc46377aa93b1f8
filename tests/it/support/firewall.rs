//! The firewall of this machine, for one test at a time, and another machine beside it that desktops should not reach. Both
//! need root; what they change is changed back when they are dropped.

use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as LocalAddr, UnixListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long other tests may have the firewall.
const TURN: Duration = Duration::from_secs(300);
/// How long the machine beside this one may take until it answers.
const START: Duration = Duration::from_secs(15);

fn run(program: &str, arguments: &[&str]) -> Output {
    let run = Command::new(program).args(arguments).output();
    run.unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn must(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The rules of `scripts/firewall`. While it exists, no other test, in whatever process, sets them or takes them away.
pub struct Firewall {
    script: &'static str,
    _turn: UnixListener,
}

impl Firewall {
    /// Without rules yet. `None` where they cannot be set, or are there already and not ours to change.
    pub async fn ours() -> Option<Self> {
        let name = LocalAddr::from_abstract_name("deskgate-test-firewall").unwrap();
        let begun = Instant::now();
        // The name goes with the process that has it, whichever way it ends.
        let turn = loop {
            match UnixListener::bind_addr(&name) {
                Ok(turn) => break turn,
                Err(error) => assert!(begun.elapsed() < TURN, "the firewall is in use: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let have = |arguments: &[&str]| run("iptables", arguments).status.success();
        if !have(&["-w", "-S", "INPUT"]) || have(&["-w", "-S", "DESKGATE-HOST"]) {
            println!("skipped: no rights to set firewall rules, or there are some already");
            return None;
        }
        Some(Self {
            script: "scripts/firewall",
            _turn: turn,
        })
    }

    /// Sets the rules, in place of those that are there.
    pub fn set(&self, options: &[&str]) {
        must(self.script, options);
    }

    /// The same on a machine whose name server is another.
    pub fn set_with_name_server(&self, server: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("nameserver {server}\n")).unwrap();
        let script = r#"mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$1""#;
        let path = file.path().display().to_string();
        must(
            "unshare",
            &["--mount", "sh", "-c", script, &path, self.script],
        );
    }

    /// What the script says to options that it does not take.
    pub fn refuses(&self, options: &[&str]) -> String {
        let output = run(self.script, options);
        assert!(!output.status.success(), "{options:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The rules of a chain, as iptables writes them.
    pub fn rules(chain: &str) -> String {
        must("iptables", &["-w", "-S", chain])
    }

    pub fn remove(&self) {
        must(self.script, &["--remove"]);
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A machine in the network around this one: it answers on port 80, at its own address and at the one where clouds tell a
/// machine its secrets.
pub struct Beside {
    server: Child,
    _empty: tempfile::TempDir,
}

impl Beside {
    /// This machine's address there. The range is for benchmarks (RFC 2544): nobody's network has it.
    pub const HERE: &str = "198.19.77.1";
    /// The other's.
    pub const THERE: &str = "198.19.77.2";
    pub const METADATA: &str = "169.254.169.254";

    const NAMESPACE: &str = "deskgate-test";
    const LINK: &str = "dgtest0";

    /// Starts it. The firewall is for one test at a time, and so is this.
    pub fn start(_: &Firewall) -> Self {
        // What a run left that was killed.
        Self::remove();
        let (space, link) = (Self::NAMESPACE, Self::LINK);
        let (here, there) = (format!("{}/30", Self::HERE), format!("{}/30", Self::THERE));
        let metadata = format!("{}/32", Self::METADATA);
        let ip = |arguments: &str| {
            let words: Vec<&str> = arguments.split(' ').collect();
            must("ip", &words);
        };
        ip(&format!("netns add {space}"));
        ip(&format!(
            "link add {link} type veth peer name dgtest1 netns {space}"
        ));
        ip(&format!("address add {here} dev {link}"));
        ip(&format!("link set {link} up"));
        for address in [&there, &metadata] {
            ip(&format!("-n {space} address add {address} dev dgtest1"));
        }
        ip(&format!("-n {space} link set dgtest1 up"));
        ip(&format!("route add {metadata} dev {link}"));
        let empty = tempfile::tempdir().unwrap();
        let server = Command::new("ip")
            .args(["netns", "exec", space, "python3", "-m", "http.server", "80"])
            .current_dir(empty.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let beside = Self {
            server,
            _empty: empty,
        };
        let door = SocketAddr::new(Self::METADATA.parse().unwrap(), 80);
        let begun = Instant::now();
        while TcpStream::connect_timeout(&door, Duration::from_secs(1)).is_err() {
            assert!(begun.elapsed() < START, "the machine beside never answers");
            std::thread::sleep(Duration::from_millis(50));
        }
        beside
    }

    fn remove() {
        run("ip", &["link", "delete", Self::LINK]);
        run("ip", &["netns", "delete", Self::NAMESPACE]);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // `ip netns exec` becomes the program that it starts.
        let _ = self.server.kill();
        let _ = self.server.wait();
        Self::remove();
    }
}
