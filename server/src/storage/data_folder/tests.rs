//! What a data folder promises: one user at a time, and a clear refusal before anything in it is changed.

use std::collections::BTreeMap;

use super::*;
use crate::storage::repo::{Repository, Sqlite, StorageError};

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    let files = entries
        .map(|entry| entry.expect("the entry can be read").path())
        .filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), fs::read(path).expect("the file can be read")))
        .collect()
}

/// A folder with a database whose version was raised by a newer program.
fn newer_folder(root: &Path, write_ahead: bool) -> PathBuf {
    let path = root.join("newer");
    let folder = DataFolder::open(&path).expect("a new folder opens");
    drop(Sqlite::open(&folder).expect("a new database opens"));
    let connection =
        rusqlite::Connection::open(path.join(DATABASE_FILE)).expect("the database opens");
    connection
        .set_db_config(
            rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            write_ahead,
        )
        .expect("the setting is known");
    connection
        .pragma_update(None, "user_version", 7)
        .expect("the version can be set");
    path
}

#[test]
fn a_missing_folder_is_made_for_this_user_alone() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let path = root.path().join("a/b/data");
    let folder = DataFolder::open(&path).expect("it is made");
    assert!(folder.certificates().is_dir());
    #[cfg(unix)]
    for made in [
        path.as_path(),
        folder.certificates(),
        &root.path().join("a"),
    ] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(made).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", made.display());
    }
    assert!(!path.join(PROBE_FILE).exists(), "the probe is removed");
}

#[test]
fn a_second_user_is_refused_until_the_first_is_gone() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let first = DataFolder::open(root.path()).expect("the first opens");
    let before = contents(root.path());

    let refused = DataFolder::open(root.path()).expect_err("the second is refused");
    assert!(
        matches!(refused, DataFolderError::Locked { .. }),
        "{refused:?}"
    );
    assert!(
        refused
            .to_string()
            .contains(&std::process::id().to_string()),
        "names the holder: {refused}"
    );
    assert_eq!(contents(root.path()), before);

    drop(first);
    DataFolder::open(root.path()).expect("free again");
}

#[test]
fn the_database_keeps_the_folder_locked() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = DataFolder::open(root.path()).expect("it opens");
    let database = Sqlite::open(&folder).expect("it opens");
    let reader = database.reader().expect("it opens");
    drop(folder);
    assert!(matches!(
        DataFolder::open(root.path()),
        Err(DataFolderError::Locked { .. })
    ));
    drop(database);
    assert!(matches!(
        DataFolder::open(root.path()),
        Err(DataFolderError::Locked { .. })
    ));
    drop(reader);
    DataFolder::open(root.path()).expect("free again");
}

#[test]
fn a_file_in_the_way_is_refused_and_kept() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let file = root.path().join("data");
    fs::write(&file, "mine").expect("it can be written");
    for path in [file.clone(), file.join("below")] {
        let refused = DataFolder::open(&path).expect_err("a file is no folder");
        assert!(
            matches!(refused, DataFolderError::NotAFolder { .. }),
            "{refused:?}"
        );
    }
    assert_eq!(fs::read(&file).expect("it is there"), b"mine");
}

#[test]
fn a_newer_format_is_refused_and_not_one_byte_changed() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let path = newer_folder(root.path(), false);
    let before = contents(&path);

    let refused = DataFolder::open(&path).expect_err("newer");
    assert!(
        matches!(
            refused,
            DataFolderError::Format(FormatError::Newer { found: 7, .. })
        ),
        "{refused:?}"
    );
    let message = refused.to_string();
    assert!(
        message.contains("version 7") && message.contains("up to 3"),
        "names both: {message}"
    );
    assert_eq!(contents(&path), before);
}

#[test]
fn a_newer_format_still_in_the_write_ahead_log_is_refused_too() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let path = newer_folder(root.path(), true);
    let before = contents(&path);
    let database = path.join(DATABASE_FILE);
    let log = path.join(format!("{DATABASE_FILE}-wal"));
    assert!(before[&log].len() > 4_096, "the version is in the log only");

    let folder = DataFolder::open(&path).expect("the header is of the older version");
    let refused = Sqlite::open(&folder).expect_err("newer");
    assert!(
        matches!(
            refused,
            StorageError::Format(FormatError::Newer { found: 7, .. })
        ),
        "{refused:?}"
    );
    let after = contents(&path);
    assert_eq!(after[&database], before[&database]);
    assert_eq!(after[&log], before[&log]);
}

#[test]
fn a_database_of_something_else_is_refused_and_not_changed() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let database = root.path().join(DATABASE_FILE);

    fs::write(&database, "not a database, but somebody's notes").expect("it can be written");
    let before = contents(root.path());
    let refused = DataFolder::open(root.path()).expect_err("text");
    assert!(
        matches!(
            refused,
            DataFolderError::Format(FormatError::Foreign { .. })
        ),
        "{refused:?}"
    );
    assert_eq!(contents(root.path()), before);

    fs::remove_file(&database).expect("it can be removed");
    let connection = rusqlite::Connection::open(&database).expect("it opens");
    connection
        .execute_batch("CREATE TABLE recipe (name TEXT)")
        .expect("it can be made");
    drop(connection);
    let bytes = fs::read(&database).expect("it is there");
    let folder = DataFolder::open(root.path()).expect("the header tells nothing");
    let refused = Sqlite::open(&folder).expect_err("another program's table");
    assert!(
        matches!(refused, StorageError::Format(FormatError::Foreign { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&database).expect("it is there"), bytes);
}

#[test]
fn an_empty_database_file_is_a_new_one() {
    let root = tempfile::tempdir().expect("a temporary folder");
    fs::write(root.path().join(DATABASE_FILE), "").expect("it can be written");
    let folder = DataFolder::open(root.path()).expect("it opens");
    Sqlite::open(&folder).expect("it opens");
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().expect("a temporary folder");
    let sealed = root.path().join("sealed");
    fs::create_dir(&sealed).expect("it can be made");
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).expect("it is ours");
    // No permission binds the superuser, but even for that one nothing can be made in the kernel's own folder.
    let unbound = fs::write(sealed.join("file"), "").is_ok();
    let path = if unbound {
        Path::new("/sys/kernel")
    } else {
        &sealed
    };
    let refused = DataFolder::open(path).expect_err("nothing can be made there");
    assert!(
        matches!(refused, DataFolderError::ReadOnly { .. }),
        "{refused:?}"
    );
}

#[test]
fn what_the_system_says_becomes_what_to_do() {
    let path = Path::new("data");
    let text =
        |kind: io::ErrorKind| failure(path, "writing a file for a test", kind.into()).to_string();
    for kind in [
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem,
    ] {
        assert!(text(kind).contains("mount it writable"), "{kind}");
    }
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        assert!(text(kind).contains("free some"), "{kind}");
    }
    assert!(text(io::ErrorKind::TimedOut).contains("writing a file for a test"));
}

#[test]
fn a_probe_that_fails_leaves_nothing_behind() {
    let root = tempfile::tempdir().expect("a temporary folder");
    probe(&root.path().join(PROBE_FILE)).expect("there is space here");
    assert_eq!(contents(root.path()).len(), 0);
    #[cfg(target_os = "linux")]
    {
        // A device that is always full. Its name can't be removed by the probe, so it goes through a link.
        let link = root.path().join(PROBE_FILE);
        std::os::unix::fs::symlink("/dev/full", &link).expect("a link can be made");
        let error = probe(&link).expect_err("always full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(!link.is_symlink());
    }
}
