//! `chalkboard backup`: a copy of everything as of one moment, made while the server runs.
//!
//! Owns the backup's file and that it is either the one before or the new one, whole. What is copied is
//! [`Archive`]'s. A backup is a store of the same format in one file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use rusqlite::Connection;

use super::doctor::DAMAGED;
use super::{FAILURE, fail, say};
use crate::examination::{Examined, Until, examine};
use crate::storage::repo::prepare_file;
use crate::storage::{Archive, ArchiveError, Copied, StorageError};

pub(super) const ABOUT: &str = "\
Copy everything that is stored to a file, while the server runs.

The copy is of one moment, is synced, and every board that something was copied of is read back and checked before this \
ends. Where FILE is an earlier backup of \
the same store, only what has come since is added, and until that is done FILE stays what it was. Nothing is ever \
written into the data folder.";

pub(super) const EXAMPLES: &str = "\
Examples:
  Every hour, from cron, adding what is new:
      chalkboard backup --data /var/lib/chalkboard --to /mnt/backup/chalkboard.sqlite3

  One file a day:
      chalkboard backup --data /var/lib/chalkboard --to /mnt/backup/$(date +%F).sqlite3

Bring it back with chalkboard restore; look into it with chalkboard doctor --data FILE.

Exit codes: 0 the backup is there and whole, 3 it is there but something in the store is damaged (and in the copy, as it \
is), 1 there is none, 2 the arguments can't be used.";

/// What to copy where.
#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// Data folder of the server. [default: ./data]
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "data",
        hide_default_value = true
    )]
    data: PathBuf,
    /// File of the backup, outside of the data folder: a new one, or an earlier backup of the same store.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BackupError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{path} is in the data folder; a backup belongs elsewhere, best on another disk")]
    Inside { path: PathBuf },
    #[error(
        "{path} can't be written ({source}); name a file in a folder that exists and has space"
    )]
    Unwritable { path: PathBuf, source: io::Error },
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// A backup that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) copied: Copied,
    pub(super) is_new: bool,
    /// What was added to, read back.
    pub(super) examined: Vec<Examined>,
}

pub(super) fn run(arguments: &BackupArguments) -> ExitCode {
    let begun = Instant::now();
    let made = match backup(&arguments.data, &arguments.to) {
        Ok(made) => made,
        Err(error) => return fail(FAILURE, &error),
    };
    let Copied {
        boards,
        records,
        bytes,
        ..
    } = made.copied;
    let kind = if made.is_new { "new" } else { "added to" };
    let size = std::fs::metadata(&arguments.to).map_or(0, |file| file.len());
    say(&format!(
        "backup {kind} {}: {boards} boards, {records} records and {bytes} bytes copied in {:.2} s; the file has {size} \
         bytes",
        arguments.to.display(),
        begun.elapsed().as_secs_f64()
    ));
    let damaged: Vec<&Examined> = made
        .examined
        .iter()
        .filter(|board| !board.problems.is_empty())
        .collect();
    for board in &damaged {
        for problem in &board.problems {
            say(&format!(
                "board {} is damaged in the store, and in the backup as it is: {problem}",
                board.board
            ));
        }
    }
    if damaged.is_empty() {
        say("what was copied was read back and is whole");
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DAMAGED)
    }
}

/// Makes or continues a backup, and reads it back.
pub(super) fn backup(data: &Path, to: &Path) -> Result<Made, BackupError> {
    let unwritable = |source| BackupError::Unwritable {
        path: to.to_owned(),
        source,
    };
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().map_err(unwritable)?;
    if data
        .canonicalize()
        .is_ok_and(|data| parent.starts_with(data))
    {
        return Err(BackupError::Inside {
            path: to.to_owned(),
        });
    }
    let source = Archive::of_folder(data)?;
    let is_new = !to.exists();
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let target = if is_new { partial.as_path() } else { to };
    if is_new {
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(error)),
            _ => {}
        }
        // For this user alone, as the data folder is.
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&partial).map_err(unwritable)?;
    } else {
        // Refuses what is no backup before it is opened as a database.
        Archive::of_file(to)?;
    }
    let mut connection = Connection::open(target)?;
    prepare_file(&mut connection, target)?;
    let transaction = connection.transaction()?;
    let copied = source.copy_into(&transaction, to, None, &HashMap::new())?;
    transaction.commit()?;
    connection
        .close()
        .map_err(|(_, error)| StorageError::from(error))?;
    if is_new {
        File::open(target)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(target, to))
            .and_then(|()| File::open(&parent)?.sync_all())
            .map_err(unwritable)?;
    }
    drop(source);

    let mut archive = Archive::of_file(to)?;
    let mut examined = Vec::new();
    for &board in &copied.changed {
        examined.push(examine(&mut archive, board, Until::End)?);
    }
    let file = archive.integrity();
    if let Some(line) = file.first() {
        return Err(unwritable(io::Error::other(line.clone())));
    }
    Ok(Made {
        copied,
        is_new,
        examined,
    })
}
