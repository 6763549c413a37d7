//! Chunks that were cut before they were full, made into full ones.

use model::LogId;

use super::{Compression, Scattered};
use crate::{error::StorageError, store::Store, write::Write};

impl Store {
    /// Makes one chunk of each of these groups of chunks of a log that is complete, as Buildbot does when a log ends: they
    /// take less room, and are read faster. Chunks that are gone meanwhile are left alone.
    ///
    /// # Errors
    ///
    /// When the database cannot be read, or nothing can be written any more. The log is whole all the same.
    pub async fn merge_chunks(
        &self,
        log: LogId,
        scattered: Vec<Scattered>,
        compression: Compression,
    ) -> Result<(), StorageError> {
        if scattered.is_empty() {
            return Ok(());
        }
        // All of them are there for readers.
        self.commit(Vec::new()).await?;
        for Scattered { first_line, last_line, chunks, .. } in scattered {
            let count = u32::try_from(last_line - first_line + 1).unwrap_or(0);
            let found = self.log_lines(log, first_line, count).await?;
            if (found.first_line, found.num_lines) != (first_line, i64::from(count)) {
                continue;
            }
            let mut text = found.text.into_bytes();
            // There is no newline after the last line of a chunk.
            text.pop();
            let (content, compression) = compression.pack(text);
            let chunks = i64::try_from(chunks).unwrap_or(i64::MAX);
            self.submit(vec![Write::MergedChunks {
                log,
                first_line,
                last_line,
                chunks,
                content,
                compression,
            }])
            .await?;
        }
        Ok(())
    }
}
