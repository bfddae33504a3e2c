//! `chalkboard drill`: kills and restores a server of its own, and keeps account of every op.
//!
//! Owns the course of the drill, what is promised, and the report. The server is a process of this same program
//! ([`server_child`]); who draws is [`scribe`]; backups and restores are those of the commands.

mod scribe;
mod server_child;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chalkboard_shared::{BoardId, Position};
use chalkboard_simulation::LogRecord;

use super::backup::{BackupError, backup};
use super::restore::{RestoreError, restore};
use super::{FAILURE, fail, say, say_error};
use crate::examination::Until;
use crate::storage::{Archive, ArchiveError, StorageError};
use scribe::{Scribe, ScribeError};
use server_child::{ChildError, ServerChild};

/// A promise was broken.
const BROKEN: u8 = 3;

/// How long is drawn before a kill: this, and up to as much again.
const ROUND: Duration = Duration::from_millis(1200);
/// Bytes of records that are read at a time.
const PIECE_BYTES: usize = 4 << 20;

pub(super) const ABOUT: &str = "\
Find out whether what is saved survives, on this machine and this disk.

Starts a server of its own on a temporary folder and this machine's own address, draws on a board, makes backups while \
that goes on, kills the server in the middle (SIGKILL), starts it again, and looks whether every change that was told \
to be saved is there, and none twice. At last the folder is destroyed and restored from the backup. Boards that exist \
are not touched.

It measures how long it takes from a crash to the first client that is served (RTO), and how much is lost: nothing that \
was saved by a crash, and by the loss of the folder what was drawn since the last backup (RPO).";

pub(super) const EXAMPLES: &str = "\
Examples:
  Three kills and a restore, some ten seconds:
      chalkboard drill

  Half an hour, on the disk that matters, with a report for the file:
      chalkboard drill --minutes 30 --folder /var/lib/chalkboard-drill --report drill.md

Exit codes: 0 every promise was kept, 3 one was broken, 1 the drill could not be held, 2 the arguments can't be used.";

/// How to drill.
#[derive(Debug, clap::Args)]
pub(super) struct DrillArguments {
    /// Kills. [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: Option<u32>,
    /// Go on for so long, in place of a number of kills. [default: as many rounds as --rounds says]
    #[arg(long, value_name = "M", conflicts_with = "rounds", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    minutes: Option<u32>,
    /// Write a report in Markdown to this file. [default: print the summary alone]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Make the temporary folder in this one, to try its disk. [default: the system's folder for such]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the drill's folder can't be made or written: {0}")]
    Folder(std::io::Error),
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    Scribe(#[from] ScribeError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("a part of the drill died; report the panic that is shown before this")]
    Died,
}

/// What came of one kill.
#[derive(Debug)]
struct Round {
    sent: u32,
    told_saved: u32,
    /// From the start of the process to the first client that was served.
    recovery: Duration,
    backup: Duration,
    backup_bytes: u64,
}

/// What came of the loss of the folder.
#[derive(Debug)]
struct Loss {
    /// From the decision to restore to the first client that was served.
    recovery: Duration,
    /// Ops that were told to be saved and that no backup had.
    ops: u32,
    /// How much earlier than the loss the last backup ended.
    age: Duration,
}

#[derive(Debug, Default)]
struct Account {
    rounds: Vec<Round>,
    loss: Option<Loss>,
    broken: Vec<String>,
}

pub(super) fn run(arguments: &DrillArguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILURE, &error),
    };
    let parent = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = match random().map(|n| parent.join(format!("chalkboard-drill-{n:016x}"))) {
        Ok(folder) => folder,
        Err(error) => return fail(FAILURE, &error),
    };
    if let Err(error) = std::fs::create_dir_all(&folder) {
        return fail(FAILURE, &Failure::Folder(error));
    }
    let account = match runtime.block_on(drill(arguments, &folder)) {
        Ok(account) => account,
        Err(error) => {
            say_error(&format!(
                "what the drill has left is in {}",
                folder.display()
            ));
            return fail(FAILURE, &error);
        }
    };
    let report = report(&account);
    if let Some(path) = &arguments.report
        && let Err(error) = std::fs::write(path, &report)
    {
        return fail(FAILURE, &format!("the report can't be written: {error}"));
    }
    say(report.trim_end());
    if account.broken.is_empty() {
        // What is left of it is of no use to anybody; if it can't be removed, the system will.
        let _ = std::fs::remove_dir_all(&folder);
        ExitCode::SUCCESS
    } else {
        say_error(&format!("kept for a closer look: {}", folder.display()));
        ExitCode::from(BROKEN)
    }
}

fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(Failure::Random)
}

async fn drill(arguments: &DrillArguments, folder: &Path) -> Result<Account, Failure> {
    let (data, file) = (folder.join("data"), folder.join("backup.sqlite3"));
    let rounds = match arguments.minutes {
        Some(_) => u32::MAX,
        None => arguments.rounds.unwrap_or(3),
    };
    let until = arguments
        .minutes
        .map(|minutes| Instant::now() + Duration::from_secs(60 * u64::from(minutes)));
    let mut account = Account::default();

    let mut server = ServerChild::start(&data).await?;
    let board = server.create_board().await?;
    let mut scribe = Scribe::new(board, random()?);
    scribe.enter(&server).await?;
    let mut backed_up = Backed::default();
    for number in 1..=rounds {
        let seconds = ROUND + ROUND.mul_f64(random()? as f64 / u64::MAX as f64);
        scribe.draw_for(seconds / 2).await?;
        let told_before = scribe.told_saved();
        let copying = {
            let (data, file) = (data.clone(), file.clone());
            tokio::task::spawn_blocking(move || {
                let begun = Instant::now();
                backup(&data, &file).map(|made| (made, begun.elapsed(), Instant::now()))
            })
        };
        scribe.draw_for(seconds / 2).await?;
        let (made, took, ended) = copying.await.map_err(|_| Failure::Died)??;
        backed_up = Backed { told_before, ended };
        let sent = scribe.sent();
        server.kill().await?;
        scribe.forget_link().await;

        let restarted = Instant::now();
        server = ServerChild::start(&data).await?;
        scribe.enter(&server).await?;
        let recovery = restarted.elapsed();
        let told_saved = scribe.told_saved();
        let (path, scribe_id) = (data.clone(), scribe.identity());
        let found = tokio::task::spawn_blocking(move || ops_of(&path, board.id, scribe_id))
            .await
            .map_err(|_| Failure::Died)??;
        let broken_before = account.broken.len();
        check(
            &mut account,
            &format!("after kill {number}"),
            &found,
            &scribe,
            told_saved,
        );
        say_error(&format!(
            "kill {number}: {sent} changes sent, {told_saved} told to be saved, {}; served again after {} ms; \
             backup of {} bytes in {} ms",
            if account.broken.len() == broken_before {
                "all there"
            } else {
                "NOT ALL THERE"
            },
            recovery.as_millis(),
            made.copied.bytes,
            took.as_millis()
        ));
        account.rounds.push(Round {
            sent,
            told_saved,
            recovery,
            backup: took,
            backup_bytes: made.copied.bytes,
        });
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
    }

    say_error("destroying the data folder and restoring it from the backup");
    scribe.draw_for(ROUND / 2).await?;
    let told_saved = scribe.told_saved();
    server.kill().await?;
    scribe.forget_link().await;
    std::fs::remove_dir_all(&data).map_err(Failure::Folder)?;
    let lost = Instant::now();
    let restored = folder.join("restored");
    let (from, to) = (file.clone(), restored.clone());
    tokio::task::spawn_blocking(move || restore(&from, &to, None, Until::End))
        .await
        .map_err(|_| Failure::Died)??;
    let server = ServerChild::start(&restored).await?;
    let mut newcomer = Scribe::new(board, random()?);
    newcomer.enter(&server).await?;
    let recovery = lost.elapsed();
    let (path, scribe_id) = (restored, scribe.identity());
    let found = tokio::task::spawn_blocking(move || ops_of(&path, board.id, scribe_id))
        .await
        .map_err(|_| Failure::Died)??;
    check(
        &mut account,
        "after the restore (of what was saved before the backup began)",
        &found,
        &scribe,
        backed_up.told_before,
    );
    let there = found.keys().next_back().copied().unwrap_or(0);
    account.loss = Some(Loss {
        recovery,
        ops: told_saved.saturating_sub(there),
        age: lost.duration_since(backed_up.ended),
    });
    server.kill().await?;
    Ok(account)
}

/// The last backup.
#[derive(Debug, Clone, Copy)]
struct Backed {
    /// What was told to be saved before it began.
    told_before: u32,
    ended: Instant,
}

impl Default for Backed {
    fn default() -> Self {
        Self {
            told_before: 0,
            ended: Instant::now(),
        }
    }
}

/// Numbers of an actor's ops in a store, and how often each is there.
fn ops_of(
    folder: &Path,
    board: BoardId,
    actor: Option<chalkboard_shared::ActorId>,
) -> Result<BTreeMap<u32, u32>, Failure> {
    let mut archive = Archive::of_folder(folder)?;
    let mut found = BTreeMap::new();
    let mut at = Position(0);
    loop {
        let batches = archive.reader().log(board, at, PIECE_BYTES)?;
        let Some(last) = batches.last() else {
            return Ok(found);
        };
        at = last.last;
        for batch in &batches {
            let Ok(record) = LogRecord::decode(&batch.record) else {
                continue;
            };
            for entry in record.entries {
                if Some(entry.id.actor) == actor {
                    *found.entry(entry.id.counter).or_insert(0) += 1;
                }
            }
        }
    }
}

/// Everything that was told to be saved is there, and nothing twice.
fn check(
    account: &mut Account,
    when: &str,
    found: &BTreeMap<u32, u32>,
    scribe: &Scribe,
    told_saved: u32,
) {
    let refused: &BTreeSet<u32> = scribe.refused();
    let missing: Vec<u32> = (1..=told_saved)
        .filter(|counter| !found.contains_key(counter) && !refused.contains(counter))
        .collect();
    if let Some(first) = missing.first() {
        account.broken.push(format!(
            "{when}, {} changes were missing that had been told to be saved, the first of them number {first}",
            missing.len()
        ));
    }
    let twice = found.values().filter(|&&times| times > 1).count();
    if twice > 0 {
        account
            .broken
            .push(format!("{when}, {twice} changes were there more than once"));
    }
}

fn report(account: &Account) -> String {
    let mut text = String::from("# Drill\n\n");
    let millis = |duration: &Duration| duration.as_secs_f64() * 1000.0;
    let rounds = account.rounds.len();
    let verdict = if account.broken.is_empty() {
        "Every promise was kept."
    } else {
        "A PROMISE WAS BROKEN."
    };
    let told = account.rounds.last().map_or(0, |round| round.told_saved);
    let sent = account.rounds.last().map_or(0, |round| round.sent);
    let mut recoveries: Vec<f64> = account
        .rounds
        .iter()
        .map(|round| millis(&round.recovery))
        .collect();
    recoveries.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((recoveries.len() as f64 - 1.0) * share).round() as usize;
        recoveries.get(index).copied().unwrap_or_default()
    };
    // Writing to a string can't fail.
    let _ = writeln!(text, "{verdict}\n");
    for broken in &account.broken {
        let _ = writeln!(text, "- {broken}");
    }
    let _ = writeln!(text, "| what | measured |\n|---|---|");
    let _ = writeln!(text, "| kills (SIGKILL while drawing) | {rounds} |");
    let _ = writeln!(text, "| changes sent, told to be saved | {sent}, {told} |");
    let lost = if account.broken.is_empty() {
        "0"
    } else {
        "see above"
    };
    let _ = writeln!(
        text,
        "| RPO of a crash: changes told to be saved and lost | {lost} |"
    );
    let _ = writeln!(
        text,
        "| RTO of a crash: start of the process to the first client served | median {:.0} ms, worst {:.0} ms |",
        at(0.5),
        at(1.0)
    );
    if let Some(worst) = account.rounds.iter().max_by_key(|round| round.backup) {
        let _ = writeln!(
            text,
            "| backups while drawing | {rounds}, the longest {:.0} ms for {} bytes |",
            millis(&worst.backup),
            worst.backup_bytes
        );
    }
    if let Some(loss) = &account.loss {
        let _ = writeln!(
            text,
            "| RPO of a lost folder: changes since the last backup, which ended {:.1} s before | {} |",
            loss.age.as_secs_f64(),
            loss.ops
        );
        let _ = writeln!(
            text,
            "| RTO of a lost folder: restore, start, first client served | {:.0} ms |",
            millis(&loss.recovery)
        );
    }
    text
}
