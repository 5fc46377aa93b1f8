//! The `desktop_certificates` table: which certificate a desktop showed at its start, for every gateway.

use super::{Database, StoreError, on_pool};
use crate::model::id::DesktopId;

impl Database {
    /// Remembers a desktop's certificate. The first one counts.
    pub async fn pin_certificate(
        &self,
        desktop: DesktopId,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        on_pool!(self, |pool| {
            sqlx::query(
                "INSERT INTO desktop_certificates (desktop_id, fingerprint) VALUES ($1, $2)
                 ON CONFLICT (desktop_id) DO NOTHING",
            )
            .bind(desktop.to_string())
            .bind(fingerprint)
            .execute(pool)
            .await?;
            Ok(())
        })
    }

    /// The certificate that a desktop showed first.
    pub async fn pinned_certificate(
        &self,
        desktop: DesktopId,
    ) -> Result<Option<String>, StoreError> {
        on_pool!(self, |pool| {
            let sql = "SELECT fingerprint FROM desktop_certificates WHERE desktop_id = $1";
            Ok(sqlx::query_scalar(sql)
                .bind(desktop.to_string())
                .fetch_optional(pool)
                .await?)
        })
    }
}
