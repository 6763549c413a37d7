//! The master's end of a transfer: a file that is uploaded, or what is downloaded.
//!
//! An upload goes to a temporary file beside its destination, which takes its place only when all of it is there: nobody
//! ever sees half a file, and what was there before a failed upload stays.

use std::{
    fs::{FileTimes, Permissions},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tempfile::{NamedTempFile, TempPath};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
};
use worker_protocol::MAX_BLOCK;

/// The master's end of one transfer. After an error it takes everything and keeps nothing, so that the worker gets its
/// answers and ends the command.
#[derive(Debug)]
pub(crate) struct Transfer {
    end: End,
    error: Option<String>,
}

#[derive(Debug)]
enum End {
    Upload(Upload),
    File { file: File, path: PathBuf },
    Text(Bytes),
}

#[derive(Debug)]
struct Upload {
    file: File,
    temporary: TempPath,
    destination: PathBuf,
    /// How many more bytes are taken.
    room: Option<u64>,
    whole: bool,
    times: Option<FileTimes>,
}

impl Transfer {
    /// An upload to `destination`, whose directories are made as needed.
    ///
    /// # Errors
    ///
    /// When there can be no such file; the text names it.
    pub(crate) async fn upload(destination: &Path, max_size: Option<u64>) -> Result<Self, String> {
        let to = destination.to_owned();
        let made = blocking(move || {
            let directory = to.parent().unwrap_or_else(|| Path::new("."));
            std::fs::create_dir_all(directory)?;
            if to.is_dir() {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            tempfile::Builder::new().prefix(".ganger-transfer-").tempfile_in(directory)
        });
        let (file, temporary) = made
            .await
            .map(NamedTempFile::into_parts)
            .map_err(|error| cannot("write", destination, &error))?;
        let destination = destination.to_owned();
        let file = File::from_std(file);
        let upload = Upload { file, temporary, destination, room: max_size, whole: false, times: None };
        Ok(Self { end: End::Upload(upload), error: None })
    }

    /// A file of the master.
    pub(crate) async fn file(path: &Path) -> io::Result<Self> {
        let file = File::open(path).await?;
        if file.metadata().await?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self { end: End::File { file, path: path.to_owned() }, error: None })
    }

    /// Text, sent as a file.
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self { end: End::Text(text.into()), error: None }
    }

    /// What went wrong on the master's side.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.clone()
    }

    /// The next block of an upload.
    pub(crate) async fn write(&mut self, data: &[u8]) {
        let End::Upload(upload) = &mut self.end else {
            return self.fail("the worker writes into a download".to_owned());
        };
        if self.error.is_some() {
            return;
        }
        if let Some(room) = &mut upload.room {
            match room.checked_sub(data.len() as u64) {
                Some(left) => *room = left,
                None => return self.fail("the worker sends more than `maxsize`".to_owned()),
            }
        }
        if let Err(error) = upload.file.write_all(data).await {
            let error = cannot("write", &upload.destination, &error);
            self.fail(error);
        }
    }

    /// All of an upload is there.
    pub(crate) async fn close(&mut self) {
        let End::Upload(upload) = &mut self.end else { return };
        if self.error.is_some() || upload.whole {
            return;
        }
        let done = match upload.file.flush().await {
            Ok(()) => upload.file.sync_data().await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => upload.whole = true,
            Err(error) => {
                let error = cannot("write", &upload.destination, &error);
                self.fail(error);
            }
        }
    }

    /// When the uploaded file was read and written on the worker. Times that no file can have are left out.
    pub(crate) fn set_times(&mut self, accessed: f64, modified: f64) {
        if let End::Upload(upload) = &mut self.end
            && let (Some(accessed), Some(modified)) = (time(accessed), time(modified))
        {
            upload.times = Some(FileTimes::new().set_accessed(accessed).set_modified(modified));
        }
    }

    /// The next block of a download; empty at its end.
    pub(crate) async fn read(&mut self, max: usize) -> Bytes {
        // A worker may ask for anything.
        let max = max.min(MAX_BLOCK as usize);
        match &mut self.end {
            _ if self.error.is_some() => Bytes::new(),
            End::Text(text) => text.split_to(max.min(text.len())),
            End::File { file, path } => {
                let mut block = Vec::with_capacity(max);
                match file.take(max as u64).read_to_end(&mut block).await {
                    Ok(_) => block.into(),
                    Err(error) => {
                        let error = cannot("read", path, &error);
                        self.fail(error);
                        Bytes::new()
                    }
                }
            }
            End::Upload(_) => {
                self.fail("the worker reads from an upload".to_owned());
                Bytes::new()
            }
        }
    }

    /// Puts an uploaded file in its place.
    ///
    /// # Errors
    ///
    /// When it is not whole or cannot be put there.
    pub(crate) async fn keep(self, mode: Option<u32>) -> Result<(), String> {
        let upload = self.whole()?;
        let (file, path) = (upload.file.into_std().await, upload.destination);
        let to = path.clone();
        blocking(move || {
            if let Some(mode) = mode {
                set_mode(&file, mode)?;
            }
            if let Some(times) = upload.times {
                file.set_times(times)?;
            }
            upload.temporary.persist(&to).map_err(|error| error.error)
        })
        .await
        .map_err(|error| cannot("write", &path, &error))
    }

    /// The uploaded file where it is: it goes away when the answer does.
    ///
    /// # Errors
    ///
    /// When it is not whole.
    pub(crate) fn take(self) -> Result<TempPath, String> {
        self.whole().map(|upload| upload.temporary)
    }

    fn whole(self) -> Result<Upload, String> {
        match self {
            Self { error: Some(error), .. } => Err(error),
            Self { end: End::Upload(upload), .. } if upload.whole => Ok(upload),
            Self { end: End::Upload(upload), .. } => {
                Err(format!("the worker never sent the end of {}", upload.destination.display()))
            }
            _ => Err("nothing was uploaded".to_owned()),
        }
    }

    fn fail(&mut self, error: String) {
        self.error.get_or_insert(error);
    }
}

#[cfg(unix)]
fn set_mode(file: &std::fs::File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(Permissions::from_mode(mode))
}

fn time(seconds: f64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("the master cannot {what} {}: {error}", path.display())
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}
