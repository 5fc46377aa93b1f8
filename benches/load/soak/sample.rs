//! What the gateway takes, read from outside: `/proc`, its metrics, and its database.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::Place;
use super::ledger::Ledger;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked whether something is so.
const PERIOD: Duration = Duration::from_millis(500);
/// How long a gateway is left alone before the first look, so that its upkeep has run.
const SETTLE: Duration = Duration::from_secs(3);
/// A line of progress for so many looks.
const TELL: usize = 6;

/// What was read at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Since the first person came.
    pub at: Duration,
    /// Resident memory, and the part of it that is no file's; bytes.
    pub resident: u64,
    pub anonymous: u64,
    pub threads: u64,
    /// Open files by what they are.
    pub files: BTreeMap<&'static str, usize>,
    /// The database and its log, bytes.
    pub database: u64,
    pub wal: u64,
    /// Rows of each table, and the age of the oldest entry of the audit log.
    pub rows: BTreeMap<String, i64>,
    pub oldest: Duration,
    metrics: HashMap<String, f64>,
}

impl Sample {
    /// Open files, all together.
    pub fn open_files(&self) -> usize {
        self.files.values().sum()
    }

    /// The rows of a table.
    pub fn rows(&self, table: &str) -> i64 {
        self.rows.get(table).copied().unwrap_or_default()
    }

    /// The value of a series; 0 if there is none.
    pub fn metric(&self, series: &str) -> f64 {
        self.metrics.get(series).copied().unwrap_or_default()
    }

    /// The sum of all series of a name, whose labels are as wanted.
    pub fn sum(&self, name: &str, wanted: impl Fn(&str) -> bool) -> f64 {
        let of_name = self.metrics.iter().filter(|(series, _)| {
            let labels = series.strip_prefix(name);
            labels.is_some_and(|labels| {
                (labels.is_empty() || labels.starts_with('{')) && wanted(labels)
            })
        });
        of_name.fold(0.0, |sum, (_, value)| sum + value)
    }
}

/// How it was when nobody was there any more.
pub struct Emptied {
    pub sample: Sample,
    pub took: Duration,
    /// What is still there that should not be.
    pub left: Vec<String>,
}

/// Looks at the gateway.
pub struct Observer {
    place: Place,
    pid: u32,
    database: SqliteConnection,
    /// Before anybody came.
    pub before: Sample,
    pub samples: Vec<Sample>,
}

impl Observer {
    /// Opens what there is to be read.
    pub async fn start(place: &Place, pid: u32) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(place.database())
            .read_only(true);
        Ok(Self {
            place: place.clone(),
            pid,
            database: SqliteConnection::connect_with(&options)
                .await
                .context("no database")?,
            before: Sample::default(),
            samples: Vec::new(),
        })
    }

    /// Waits until the gateway answers, and looks at it as it is with nobody there.
    pub async fn wait_until_ready(&mut self, patience: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.metrics().await.is_err()
            || TcpStream::connect(("127.0.0.1", self.place.port))
                .await
                .is_err()
        {
            if begun.elapsed() > patience {
                bail!("the gateway does not answer");
            }
            sleep(PERIOD).await;
        }
        sleep(SETTLE).await;
        self.before = self.read(Duration::ZERO).await?;
        Ok(())
    }

    /// Takes a sample.
    pub async fn look(&mut self, at: Duration) -> anyhow::Result<()> {
        let sample = self.read(at).await?;
        self.samples.push(sample);
        Ok(())
    }

    /// Prints a line of progress now and then.
    pub fn tell(&self, ledger: &Ledger) {
        let Some(sample) = self
            .samples
            .last()
            .filter(|_| self.samples.len() % TELL == 1)
        else {
            return;
        };
        let books = ledger.now();
        eprintln!(
            "{:>4} s: {:>3} tunnels, {:>3} desktops, {:>5} starts, {:>5} logins, {:.1} MB resident, {} files, {} tasks, {} errors",
            sample.at.as_secs(),
            sample.metric("deskgate_tunnels"),
            sample.metric("deskgate_ports_used"),
            books.done.get("starts").copied().unwrap_or_default(),
            books.done.get("logins").copied().unwrap_or_default(),
            mb(sample.resident),
            sample.open_files(),
            sample.metric("deskgate_tasks"),
            books.errors.values().sum::<u64>(),
        );
    }

    /// Waits until everything that people brought is gone again.
    pub async fn wait_until_empty(&mut self, patience: Duration) -> anyhow::Result<Emptied> {
        let begun = Instant::now();
        loop {
            let sample = self.read(begun.elapsed()).await?;
            let left = self.left(&sample);
            if left.is_empty() || begun.elapsed() > patience {
                return Ok(Emptied {
                    sample,
                    took: begun.elapsed(),
                    left,
                });
            }
            sleep(PERIOD).await;
        }
    }

    /// What was not there before anybody came. Only people, who are not forgotten, their homes, what is told of them,
    /// and a counter for each kind of news may be.
    fn left(&self, sample: &Sample) -> Vec<String> {
        let mut left = Vec::new();
        for series in [
            "deskgate_tunnels",
            "deskgate_ports_used",
            "deskgate_sessions",
            "deskgate_requests_in_flight",
            "deskgate_tasks",
        ] {
            let (now, before) = (sample.metric(series), self.before.metric(series));
            if now > before {
                left.push(format!("{series} {now}, not {before}"));
            }
        }
        for (table, &rows) in &sample.rows {
            let stays = ["users", "homes", "audit_log", "meta"].contains(&&**table);
            let before = self.before.rows(table);
            if !stays && rows > before {
                left.push(format!("{rows} rows in {table}, not {before}"));
            }
        }
        for kind in ["browsers", "desktops", "listeners", "other"] {
            let count = |sample: &Sample| sample.files.get(kind).copied().unwrap_or_default();
            if count(sample) > count(&self.before) {
                left.push(format!(
                    "{} open files for {kind}, not {}",
                    count(sample),
                    count(&self.before)
                ));
            }
        }
        left
    }

    async fn read(&mut self, at: Duration) -> anyhow::Result<Sample> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))
            .context("the gateway has ended")?;
        let field = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        };
        let length = |suffix: &str| {
            let path = PathBuf::from(format!("{}{suffix}", self.place.database().display()));
            fs::metadata(path).map_or(0, |file| file.len())
        };
        let (database, wal) = (length(""), length("-wal"));
        let (rows, oldest) = self.rows().await?;
        Ok(Sample {
            at,
            resident: 1024 * field("VmRSS").context("no VmRSS")?,
            anonymous: 1024 * field("RssAnon").context("no RssAnon")?,
            threads: field("Threads").context("no Threads")?,
            files: self.files()?,
            database,
            wal,
            rows,
            oldest,
            metrics: self.metrics().await?,
        })
    }

    async fn rows(&mut self) -> anyhow::Result<(BTreeMap<String, i64>, Duration)> {
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
                .fetch_all(&mut self.database)
                .await?;
        let mut rows = BTreeMap::new();
        for table in tables {
            let count = AssertSqlSafe(format!("SELECT count(*) FROM \"{table}\""));
            let count: i64 = sqlx::query_scalar(count)
                .fetch_one(&mut self.database)
                .await?;
            rows.insert(table, count);
        }
        let age = "SELECT coalesce(unixepoch() * 1000 - min(at), 0) FROM audit_log";
        let age: i64 = sqlx::query_scalar(age)
            .fetch_one(&mut self.database)
            .await?;
        Ok((
            rows,
            Duration::from_millis(u64::try_from(age).unwrap_or_default()),
        ))
    }

    async fn metrics(&self) -> anyhow::Result<HashMap<String, f64>> {
        let asked = async {
            let mut tcp = TcpStream::connect(("127.0.0.1", self.place.metrics_port)).await?;
            let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            tcp.write_all(request.as_bytes()).await?;
            let mut text = String::new();
            tcp.read_to_string(&mut text).await?;
            anyhow::Ok(text)
        };
        let text = timeout(PATIENCE, asked).await.context("no metrics")??;
        let series = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Ok(series.collect())
    }

    /// What each open file is.
    fn files(&self) -> anyhow::Result<BTreeMap<&'static str, usize>> {
        let proc = PathBuf::from(format!("/proc/{}", self.pid));
        let sockets = self.sockets(&proc)?;
        let database = self.place.database();
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(proc.join("fd")).context("the gateway has ended")? {
            // It may be closed by now.
            let Ok(target) = fs::read_link(entry?.path()) else {
                continue;
            };
            let target = target.to_string_lossy();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            let kind = match inode {
                Some(inode) => sockets.get(inode).copied().unwrap_or("new sockets"),
                None if target.starts_with(&*database.to_string_lossy()) => "database",
                None => "other",
            };
            *files.entry(kind).or_default() += 1;
        }
        Ok(files)
    }

    /// What sockets are for, by inode.
    fn sockets(&self, proc: &std::path::Path) -> anyhow::Result<HashMap<String, &'static str>> {
        let mut sockets = HashMap::new();
        for line in fs::read_to_string(proc.join("net/unix"))?.lines().skip(1) {
            if let Some(inode) = line.split_whitespace().nth(6) {
                sockets.insert(inode.to_owned(), "engine");
            }
        }
        for line in fs::read_to_string(proc.join("net/tcp"))?.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let port = |at: usize| {
                let (_, port) = words.get(at)?.split_once(':')?;
                u16::from_str_radix(port, 16).ok()
            };
            let (Some(local), Some(remote), Some(inode)) = (port(1), port(2), words.get(9)) else {
                continue;
            };
            let kind = match (local, remote) {
                (_, 0) => "listeners",
                (_, remote) if remote == self.place.provider_port => "provider",
                (local, _) if local == self.place.port => "browsers",
                (local, _) if local == self.place.metrics_port => "metrics",
                _ => "desktops",
            };
            sockets.insert((*inode).to_owned(), kind);
        }
        Ok(sockets)
    }
}

/// Bytes as MB.
#[expect(clippy::cast_precision_loss, reason = "figures with three digits")]
pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
