//! A database of a test's own on the PostgreSQL server that the tests may use, if there is one.

use std::path::PathBuf;

use sqlx::{Connection, Executor, PgConnection};
use url::Url;

/// The variable that names the server, and a database on it.
pub const VARIABLE: &str = "DESKGATE_TEST_POSTGRES";

pub struct OwnDatabase {
    server: String,
    name: String,
    pub url: String,
}

impl OwnDatabase {
    /// `None` where there is no server.
    pub async fn create() -> Option<Self> {
        let Ok(server) = std::env::var(VARIABLE) else {
            println!("skipped: {VARIABLE} is not set; scripts/test sets it");
            return None;
        };
        let unique = deskgate::model::id::RequestId::random().to_string();
        let name = format!("test_{}", unique.replace('-', ""));
        let mut url: Url = server.parse().expect("an address");
        url.set_path(&name);
        let this = Self {
            server,
            name,
            url: url.into(),
        };
        this.run("CREATE DATABASE").await;
        Some(this)
    }

    /// Forgets it, whoever is still connected.
    pub async fn drop(self) {
        self.run("DROP DATABASE").await;
    }

    async fn run(&self, what: &str) {
        let force = if what.starts_with("DROP") {
            " WITH (FORCE)"
        } else {
            ""
        };
        let statement = format!("{what} {}{force}", self.name);
        self.admin(&statement).await;
    }

    /// Runs a statement beside the database.
    pub async fn admin(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.server)
            .await
            .expect("the server answers");
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        connection.execute(statement).await.expect("it is done");
        connection.close().await.expect("it closes");
    }

    /// The name, for statements about it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A program of the server's package, the newest where there are several: an older one refuses a newer server.
pub fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let versions = versions.map(|version| version.expect("a directory").path());
    let number = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.parse::<u32>().ok())
    };
    let newest = versions.max_by_key(number).expect("a version");
    newest.join("bin").join(name)
}
