//! `kill -9` at any moment costs nothing that was shown as saved; and the check that says so can tell.
//!
//! The load clients do the killing, here for a few rounds; `chalkboard-swarm kills --rounds 1000` does it at length.

use std::process::Output;

use chalkboard_tests::server_process::{binary, command, swarm_binary};
use serde_json::Value;

/// Runs `chalkboard-swarm kills` to its end.
async fn kill(arguments: &[&str]) -> Output {
    let mut kills = command(&swarm_binary());
    kills
        .arg("kills")
        .args(arguments)
        .env("CHALKBOARD_BIN", binary());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(300), kills.output()).await;
    ended
        .expect("it ends by itself")
        .expect("the binary of the load clients starts")
}

#[tokio::test]
async fn kills_at_any_moment_lose_nothing_that_was_shown_as_saved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (disk, json) = (folder.path(), folder.path().join("kills.json"));
    let (disk, json) = (disk.to_str(), json.to_str());
    let (disk, json) = (disk.expect("a plain name"), json.expect("a plain name"));
    let ended = kill(&[
        "--rounds=8",
        "--servers=2",
        "--rounds-per-board=3",
        "--seed=4",
        "--disk",
        disk,
        "--json",
        json,
    ])
    .await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let lines = std::fs::read_to_string(json).expect("it writes what it finds");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let (last, rounds) = lines.split_last().expect("there are lines");
    assert_eq!(rounds.len(), 8);
    assert_eq!(last["summary"]["kills"], 8, "{last}");
    assert!(
        last["summary"]["saved"].as_u64() > Some(100),
        "under load: {last}"
    );
    assert!(
        last["summary"]["under_load"].as_u64() > Some(0),
        "in the middle of it: {last}"
    );
}

#[tokio::test]
async fn the_check_finds_what_is_lost() {
    for (sabotage, found) in [
        // The last commits.
        ("--cut-tail=65536", "are lost"),
        ("--server=--ephemeral", "nothing of what was shown as saved"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = folder.path().to_str().expect("a plain name");
        let ended = kill(&["--rounds=8", "--disk", disk, sabotage]).await;
        assert!(!ended.status.success(), "{sabotage} went unnoticed");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains(found), "{sabotage}: {said}");
        assert!(
            said.contains("round 0") && said.contains("seed 1"),
            "{said}"
        );
    }
}
