//! The data folder: everything that a server keeps, in one place that one process uses at a time.
//!
//! Owns the checks that come before anything that exists is changed: is it a folder, is its format known, is it free,
//! can it be written, is there space. Each refusal says what is the matter and what to do. It does not know what is in
//! the database ([`repo`](super::repo)) or in the certificates (transport), only where they are.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::repo::{DATABASE_FILE, FormatError, check_header};

/// Held as long as a process uses the folder; contains that process's number, for the message to the next one.
pub(super) const LOCK_FILE: &str = "lock";

/// Written, synced and removed at the start, to learn whether that can be done.
const PROBE_FILE: &str = "write-probe.tmp";

/// Size of the probe: enough for SQLite to open its log and commit, small enough to be quick on any disk.
const PROBE_BYTES: usize = 64 << 10;

/// Subfolder of the server's own certificates and their keys.
const CERTIFICATES_FOLDER: &str = "certificates";

/// Longest text that is read from a lock file.
const HOLDER_BYTES_MAX: u64 = 32;

/// A data folder that this process may use. It stays locked until this and every [`FolderLock`] is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    certificates: PathBuf,
    lock: FolderLock,
}

/// A share in the lock of a data folder. The operating system frees it when the last is gone, however that comes about.
#[derive(Debug, Clone)]
pub struct FolderLock {
    _file: Arc<File>,
}

/// Why a data folder can't be used. Nothing that was in it has been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataFolderError {
    /// There is something else of that name.
    #[error(
        "the data folder {path} can't be used because it or a part of its path is a file; name a folder"
    )]
    NotAFolder {
        /// The folder as it was named.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error(
        "the data folder {path} is in use by {holder}; stop that server first, or give this one a data folder of its own"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who uses it, in words.
        holder: String,
    },
    /// It can't be written.
    #[error(
        "the data folder {path} can't be written ({source}), so no drawing could be saved; give this user the right \
         to write there, mount it writable, or choose another data folder"
    )]
    ReadOnly {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No space is left, or no quota.
    #[error(
        "no space is left for the data folder {path} ({source}), so no drawing could be saved; free some there or \
         choose a data folder on another disk"
    )]
    Full {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its database is of a newer version, or isn't ours.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Anything else that the system refuses.
    #[error(
        "the data folder {path} can't be used: {action} failed ({source}); repair that or choose another data folder"
    )]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl DataFolder {
    /// Takes the folder at `path` for this process, making it (for this user alone) where it is missing.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let failed = |action: &'static str| move |source: io::Error| failure(path, action, source);

        make_folder(path).map_err(failed("making the folder"))?;
        check_header(&path.join(DATABASE_FILE)).map_err(failed("reading its database"))??;
        let mut file = lock(path)?;
        probe(&path.join(PROBE_FILE)).map_err(failed("writing a file for a test"))?;
        note_holder(&mut file).map_err(failed("writing the lock file"))?;
        let certificates = path.join(CERTIFICATES_FOLDER);
        make_folder(&certificates).map_err(failed("making its subfolder for certificates"))?;
        sync_folder(path).map_err(failed("syncing the folder"))?;

        Ok(Self {
            path: path.to_owned(),
            certificates,
            lock: FolderLock {
                _file: Arc::new(file),
            },
        })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Subfolder of the certificates that the server makes for itself, and of their private keys. It exists, and only
    /// this user can enter it.
    pub fn certificates(&self) -> &Path {
        &self.certificates
    }

    /// A share in the lock, for whatever must not outlive it.
    pub(super) fn lock(&self) -> FolderLock {
        self.lock.clone()
    }
}

/// Makes the folder and the missing part of its path, open to this user only, each entry synced to survive a loss of power.
fn make_folder(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        // Another process was quicker; the lock decides between the two.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(parent),
    }
}

fn lock(folder: &Path) -> Result<File, DataFolderError> {
    let path = folder.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| failure(folder, "opening the lock file", source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataFolderError::Locked {
            path: folder.to_owned(),
            holder: holder(&mut file),
        }),
        Err(TryLockError::Error(source)) => Err(failure(folder, "locking it", source)),
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(process)) if process == std::process::id() => {
            format!("this same process ({process})")
        }
        (Ok(_), Ok(process)) => format!("process {process}"),
        _ => "another process".to_owned(),
    }
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn probe(path: &Path) -> io::Result<()> {
    let written = File::create(path).and_then(|mut file| {
        // Not zeros, which a file system may store without taking space.
        file.write_all(&[0xa5; PROBE_BYTES])?;
        file.sync_all()
    });
    // Whatever came of it, and the first error is the one to tell.
    let removed = fs::remove_file(path);
    written.and(removed)
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere a folder can't be opened for this, and its file system orders such changes itself.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn failure(path: &Path, action: &'static str, source: io::Error) -> DataFolderError {
    use io::ErrorKind;
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotADirectory => DataFolderError::NotAFolder { path },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            DataFolderError::ReadOnly { path, source }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DataFolderError::Full { path, source },
        _ => DataFolderError::Unusable {
            path,
            action,
            source,
        },
    }
}

#[cfg(test)]
mod tests;
