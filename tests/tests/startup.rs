//! A server that can't do its work says what is wrong and what to do, ends with an error, and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use chalkboard_tests::server_process::{ServerProcess, binary, command, run_to_end};
use chalkboard_tests::waiting::within;

/// Every file below a folder with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                found.insert(path, bytes);
            }
        }
    }
    found
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// It ended with an error that says all of this, and nothing on standard output.
#[track_caller]
fn check_refusal(output: &Output, says: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    assert!(
        output.status.code().is_some(),
        "it ended by itself: {errors}"
    );
    assert!(!errors.contains("panicked"), "{errors}");
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    for part in says {
        assert!(errors.contains(part), "{part:?} in {errors}");
    }
}

async fn serve(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    run_to_end(
        &[&["serve", "--port", "0", "--quic-port", "0"], arguments].concat(),
        environment,
    )
    .await
}

#[tokio::test]
async fn help_names_every_option() {
    let help = run_to_end(&["serve", "--help"], &[]).await;
    assert!(help.status.success());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for option in [
        "config",
        "data",
        "ephemeral",
        "listen",
        "port",
        "quic-port",
        "public-url",
        "allow-origin",
        "allow-plain-http",
        "tls-cert",
        "tls-key",
        "shards",
        "room-threads",
        "tick-hz",
        "presence-bytes",
        "log",
        "log-format",
        "help",
    ] {
        assert!(help.contains(&format!("--{option}")), "{option}");
        let variable = format!("CHALKBOARD_{}", option.to_uppercase().replace('-', "_"));
        assert!(option == "help" || help.contains(&variable), "{variable}");
    }
    assert!(help.contains("Examples:"));
    let bare = run_to_end(&[], &[]).await;
    let bare = String::from_utf8_lossy(&bare.stderr).into_owned();
    assert!(bare.contains("chalkboard serve"), "{bare}");
}

#[tokio::test]
async fn mistyped_names_and_bad_values_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let file = folder.path().join("chalkboard.toml");
    std::fs::write(&file, "prot = 8080\n").expect("a file");
    let (file, data) = (text(&file), text(&data));
    check_refusal(
        &serve(&["--data", data, "--prot", "1"], &[]).await,
        &["--prot", "--port"],
    );
    check_refusal(
        &serve(&["--data", data], &[("CHALKBOARD_QUICPORT", "1")]).await,
        &["CHALKBOARD_QUICPORT", "CHALKBOARD_QUIC_PORT"],
    );
    check_refusal(
        &serve(&["--data", data, "--config", file], &[]).await,
        &["chalkboard.toml", "`prot`", "`port`", "--help"],
    );
    check_refusal(
        &serve(
            &["--data", data, "--config", &format!("{file}.missing")],
            &[],
        )
        .await,
        &["chalkboard.toml.missing", "--config"],
    );
    check_refusal(
        &serve(&["--data", data, "--tick-hz", "0"], &[]).await,
        &["tick_hz", "1 to 240"],
    );
    check_refusal(
        &serve(&["--data", data, "--presence-bytes", "10"], &[]).await,
        &["presence_bytes", "1000 to 10000000"],
    );
    check_refusal(
        &serve(&["--data", data], &[("CHALKBOARD_SHARDS", "many")]).await,
        &["CHALKBOARD_SHARDS", "many"],
    );
    assert!(!Path::new(data).exists(), "nothing was made");
}

#[tokio::test]
async fn other_machines_are_served_with_tls_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let refused = serve(&["--data", text(&data), "--listen", "0.0.0.0"], &[]).await;
    check_refusal(
        &refused,
        &["without TLS", "--tls-cert", "--tls-key", "127.0.0.1"],
    );
    let refused = serve(
        &["--data", text(&data), "--tls-cert", "/nowhere/cert.pem"],
        &[],
    )
    .await;
    check_refusal(&refused, &["--tls-cert", "--tls-key"]);
    let half = [
        "--tls-cert",
        "/nowhere/cert.pem",
        "--tls-key",
        "/nowhere/key.pem",
    ];
    let refused = serve(&[&["--data", text(&data)], &half[..]].concat(), &[]).await;
    check_refusal(&refused, &["/nowhere/cert.pem", "--tls-cert"]);
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let mut server = ServerProcess::start().await;
    let links = server.create_board().await;
    let before = contents(server.folder());
    let refused = serve(&["--data", text(server.folder())], &[]).await;
    check_refusal(
        &refused,
        &[
            "in use by process",
            text(server.folder()),
            "stop that server",
        ],
    );
    assert_eq!(contents(server.folder()), before);
    assert_eq!(
        server
            .inspect(&links)
            .await
            .expect("the first serves on")
            .position,
        0
    );
    assert_eq!(server.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let server = ServerProcess::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = server.port().to_string();
    let data = folder.path().join("data");
    let arguments = [
        "serve",
        "--data",
        text(&data),
        "--port",
        &port,
        "--quic-port",
        "0",
    ];
    let refused = run_to_end(&arguments, &[]).await;
    check_refusal(&refused, &[&port, "--port"]);
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("data");
    std::fs::write(&file, "somebody's letter").expect("a file");
    check_refusal(
        &serve(&["--data", text(&file)], &[]).await,
        &["is a file", text(&file)],
    );
    let below = file.join("deeper");
    check_refusal(
        &serve(&["--data", text(&below)], &[]).await,
        &["is a file", text(&below)],
    );
    let kept = contents(folder.path());
    assert_eq!(
        kept.into_values().collect::<Vec<_>>(),
        [b"somebody's letter"]
    );
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_and_left_alone() {
    let mut server = ServerProcess::start().await;
    server.create_board().await;
    assert_eq!(server.stop().await.code(), Some(0));
    let files = contents(server.folder());
    let database = files
        .keys()
        .find(|path| path.extension().is_some_and(|end| end == "sqlite3"));
    let database = database.expect("a database").clone();
    {
        let connection = rusqlite::Connection::open(&database).expect("a database");
        connection
            .pragma_update(None, "user_version", 999)
            .expect("it can be written");
    }
    let before = contents(server.folder());
    let refused = serve(&["--data", text(server.folder())], &[]).await;
    check_refusal(
        &refused,
        &["version 999", "newer chalkboard", text(&database)],
    );
    assert_eq!(contents(server.folder()), before);

    std::fs::write(&database, "this is no database at all, but somebody's text of more than a hundred bytes, and so must be kept as it is").expect("a file");
    let before = contents(server.folder());
    let refused = serve(&["--data", text(server.folder())], &[]).await;
    check_refusal(&refused, &["not a chalkboard database", text(&database)]);
    assert_eq!(contents(server.folder()), before);
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    /// A user without any rights.
    const NOBODY: u32 = 65_534;

    let mut server = ServerProcess::start().await;
    assert_eq!(server.stop().await.code(), Some(0));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    set(folder.path(), 0o755);
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    for (path, bytes) in contents(server.folder()) {
        let place = data.join(
            path.strip_prefix(server.folder())
                .expect("a file of the folder"),
        );
        std::fs::create_dir_all(place.parent().expect("a file of the folder")).expect("a folder");
        std::fs::write(place, bytes).expect("a file");
    }
    let before = contents(&data);
    set(&data, 0o555);
    // Root may write everywhere, so it becomes somebody else for this; the binary may lie where only root can read.
    let program = folder.path().join("chalkboard");
    std::fs::copy(binary(), &program).expect("a copy of the server");
    set(&program, 0o755);
    let mut command = command(&program);
    command
        .args(["serve", "--port", "0", "--quic-port", "0", "--data"])
        .arg(&data)
        .current_dir("/");
    if rustix::process::geteuid().is_root() {
        for path in before.keys() {
            set(path, 0o444);
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    let refused = within("the server to end by itself", command.output())
        .await
        .expect("it starts");
    set(&data, 0o755);
    check_refusal(&refused, &["can't be written", text(&data)]);
    assert_eq!(contents(&data), before);
}
