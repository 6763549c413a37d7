//! Unpacking what a worker uploaded, which is whatever the worker likes.
//!
//! Nothing is made outside the destination, and no link in it leads out of it:
//! - every part of a name is an ordinary one, and every directory on the way to it is a real directory, not a link;
//! - a symbolic link goes up only at its beginning, where it starts from real directories, and never above the
//!   destination; so what it leads through are such links again;
//! - a hard link is to a file unpacked before;
//! - devices, pipes and sockets are refused.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use tar::{Archive, Entry, EntryType};
use worker_protocol::Compression;

/// Bounds on what is unpacked: a few bytes can be an archive of any size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Files, directories and links.
    pub(crate) entries: u64,
    /// Bytes of all files together.
    pub(crate) bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 64 << 30 }
    }
}

/// Unpacks `archive` so that its contents are in `destination`, which is made if it is not there. Files that are there
/// already are replaced. Blocks.
///
/// # Errors
///
/// When the archive is broken, names what it must not, is larger than the limits, or the disk refuses. A destination
/// that was not there before is then not there either.
pub(crate) fn unpack(
    archive: &Path,
    compression: Compression,
    destination: &Path,
    limits: Limits,
) -> io::Result<()> {
    let file = File::open(archive)?;
    let stream: Box<dyn Read> = match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(file)),
    };
    if destination.exists() {
        return unpack_into(stream, destination, limits);
    }
    let parent = destination.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent)?;
    let fresh = tempfile::Builder::new().prefix(".ganger-transfer-").tempdir_in(parent)?;
    unpack_into(stream, fresh.path(), limits)?;
    // The temporary directory is for its owner alone; what it becomes is as any other.
    let sample = fresh.path().join(".ganger-mode");
    fs::create_dir(&sample)?;
    let permissions = fs::metadata(&sample)?.permissions();
    fs::remove_dir(&sample)?;
    fs::set_permissions(fresh.path(), permissions)?;
    let fresh = fresh.keep();
    fs::rename(&fresh, destination).inspect_err(|_| {
        if let Err(error) = fs::remove_dir_all(&fresh) {
            tracing::warn!(%error, path = %fresh.display(), "unpacked directory cannot be removed");
        }
    })
}

fn unpack_into(stream: Box<dyn Read>, root: &Path, limits: Limits) -> io::Result<()> {
    let mut archive = Archive::new(stream);
    let (mut entries, mut bytes) = (0, 0u64);
    for entry in archive.entries()? {
        let mut entry = entry?;
        entries += 1;
        bytes = bytes.saturating_add(entry.size());
        if entries > limits.entries || bytes > limits.bytes {
            let Limits { entries, bytes } = limits;
            return Err(refused(format!("the archive has more than {entries} entries or {bytes} bytes")));
        }
        let name = entry.path()?.into_owned();
        unpack_entry(&mut entry, &name, root)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", name.display())))?;
    }
    Ok(())
}

fn unpack_entry(entry: &mut Entry<'_, Box<dyn Read>>, name: &Path, root: &Path) -> io::Result<()> {
    // buildbot-worker 4.3.0 calls the uploaded directory itself `/`.
    let inside = if name == Path::new("/") { PathBuf::new() } else { ordinary(name)? };
    let kind = entry.header().entry_type();
    if inside.as_os_str().is_empty() {
        return if kind == EntryType::Directory { Ok(()) } else { Err(refused("it has no name")) };
    }
    let depth = make_parents(root, &inside)?;
    let path = root.join(&inside);
    match kind {
        EntryType::Directory => match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_real_directory(&path)? => Ok(()),
            done => done,
        },
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => write_file(entry, &path),
        EntryType::Symlink => {
            let target = entry.link_name()?.ok_or_else(|| refused("it is a link to nothing"))?;
            check_link(&target, depth)?;
            make_room(&path)?;
            symlink(&target, &path)
        }
        EntryType::Link => {
            let target = entry.link_name()?.ok_or_else(|| refused("it is a link to nothing"))?;
            let target = ordinary(&target)?;
            check_parents(root, &target)?;
            let target = root.join(target);
            if !fs::symlink_metadata(&target)?.is_file() {
                return Err(refused("it is a hard link to what is no file"));
            }
            if target == path {
                return Ok(());
            }
            make_room(&path)?;
            fs::hard_link(&target, &path)
        }
        // Headers that stand for themselves; the reader has used them.
        EntryType::XGlobalHeader => Ok(()),
        other => Err(refused(format!("an entry of type {:?} is refused", other.as_byte() as char))),
    }
}

fn write_file(entry: &mut Entry<'_, Box<dyn Read>>, path: &Path) -> io::Result<()> {
    make_room(path)?;
    let mode = entry.header().mode().unwrap_or(0o644);
    // Its owner can read and write it, others cannot write it, and it never runs as somebody else.
    let mode = mode & 0o755 | 0o600;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let modified = entry.header().mtime().ok();
    io::copy(entry, &mut file)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    if let Some(modified) = modified.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at))) {
        file.set_modified(modified)?;
    }
    Ok(())
}

/// The name without `.`; refused with anything that leads elsewhere.
fn ordinary(name: &Path) -> io::Result<PathBuf> {
    let mut inside = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            _ => return Err(refused("the name leads out of the upload")),
        }
    }
    Ok(inside)
}

/// Makes the directories above `inside`, none of which may be a link. Answers how many there are.
fn make_parents(root: &Path, inside: &Path) -> io::Result<usize> {
    let mut path = root.to_owned();
    let mut depth = 0;
    for part in inside.parent().into_iter().flat_map(Path::components) {
        path.push(part);
        depth += 1;
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !is_real_directory(&path)? {
                    return Err(refused("what should be a directory above it is none"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(depth)
}

fn check_parents(root: &Path, inside: &Path) -> io::Result<()> {
    let mut path = root.to_owned();
    for part in inside.parent().into_iter().flat_map(Path::components) {
        path.push(part);
        if !is_real_directory(&path)? {
            return Err(refused("it is a link through a link"));
        }
    }
    Ok(())
}

fn is_real_directory(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.is_dir())
}

/// A symbolic link `depth` directories below the destination may go up at most so far, and only at its beginning.
fn check_link(target: &Path, depth: usize) -> io::Result<()> {
    let (mut up, mut down) = (0, false);
    for part in target.components() {
        match part {
            Component::ParentDir if down => return Err(refused("it is a link that goes down and up again")),
            Component::ParentDir => up += 1,
            Component::Normal(_) => down = true,
            Component::CurDir => {}
            _ => return Err(refused("it is a link to an absolute path")),
        }
    }
    if up > depth { Err(refused("it is a link that leads out of the upload")) } else { Ok(()) }
}

/// Removes a file or link that is in the way.
fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(refused("there is a directory of this name")),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}
