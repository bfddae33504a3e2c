//! One server and its people, from a fresh data folder on: killed again and again, checked after every time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chalkboard_shared::id::Position;
use rustix::process::{Signal, kill_process};
use serde::Serialize;

use super::account::{Account, Folded, cut_tail, written_at};
use super::people::{People, Ways};
use super::victim::Victim;
use crate::address::{BoardLink, Directory};
use crate::sample::Dice;

/// How long people draw before the kill, at the most.
const DRAWING_MS_MAX: u64 = 700;
/// How far into a commit, into the writing of a snapshot, into a stop it is killed, at the most.
const COMMIT_US_MAX: u64 = 5_000;
const SNAPSHOT_US_MAX: u64 = 30_000;
const STOP_US_MAX: u64 = 30_000;
/// How far into its start, as a share of the time that the last whole start took.
const START_SHARE: f64 = 1.1;
/// How long the moment to aim at is waited for; where it does not come, any will do.
const AIM_WAIT: Duration = Duration::from_secs(3);
/// Ops from one snapshot to the next, as the server has them.
const SNAPSHOT_INTERVAL_OPS: u64 = 2000;
/// Pause between two looks for a commit.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// Where in its work the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Aim {
    /// At any moment while people draw.
    Drawing,
    /// Right after a write to its log began.
    Commit,
    /// When a snapshot is due.
    Snapshot,
    /// After it was asked to stop.
    Stop,
    /// While it starts.
    Start,
}

impl Aim {
    const ALL: [Self; 5] = [
        Self::Drawing,
        Self::Commit,
        Self::Snapshot,
        Self::Stop,
        Self::Start,
    ];

    /// One word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Drawing => "drawing",
            Self::Commit => "commit",
            Self::Snapshot => "snapshot",
            Self::Stop => "stop",
            Self::Start => "start",
        }
    }
}

/// What a life is given.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    pub(super) people: u32,
    /// Ops a second of each of them.
    pub(super) rate: u32,
    pub(super) arguments: Vec<String>,
    pub(super) cut_bytes: u64,
}

/// What one kill came to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Round {
    /// Where it was aimed.
    pub(super) aim: Aim,
    /// Ops of this life that people were shown as saved by then; every one was looked for.
    pub(super) saved: usize,
    /// Those that came since the round before.
    pub(super) saved_new: usize,
    /// Ops that had been drawn and not been shown as saved when it was killed.
    pub(super) pending: u32,
    /// Position of the last op in the log.
    pub(super) end: u64,
    /// Position of the newest snapshot.
    pub(super) snapshot_at: u64,
    /// Bytes of the write-ahead log that it left.
    pub(super) wal_bytes: u64,
    /// From the start of the next process until it served.
    pub(super) restart_ms: f64,
    /// From there until everybody had the board and all they had drawn was saved.
    pub(super) back_ms: f64,
}

/// A server's life.
pub(super) struct Life {
    circumstances: Circumstances,
    victim: Victim,
    link: BoardLink,
    people: People,
    account: Account,
    dice: Dice,
    start_ms: f64,
    snapshot_at: Position,
}

impl Life {
    /// Starts a server on a fresh folder, and lets people in.
    pub(super) async fn begin(
        circumstances: Circumstances,
        folder: PathBuf,
        dice: Dice,
    ) -> Result<Self> {
        let mut victim = Victim::new(folder, circumstances.arguments.clone());
        victim.launch()?;
        let start = victim.ready().await?;
        let mut directory = Directory::new(victim.site());
        let link = directory.create_board().await?;
        let session = directory.session(link.board).await?;
        let port = session
            .url
            .trim_end_matches("/session")
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .with_context(|| format!("no port in {}", session.url))?;
        victim.keep_quic_port(port);
        let ways = Ways {
            web_transport: session.url,
            web_socket: victim.site().web_socket(),
            trust: session.trust,
        };
        let people = People::come(circumstances.people, &ways, link)?;
        people.settle().await?;
        Ok(Self {
            circumstances,
            victim,
            link,
            people,
            account: Account::default(),
            dice,
            start_ms: start.as_secs_f64() * 1e3,
            snapshot_at: Position(0),
        })
    }

    /// What the server wrote on standard error.
    pub(super) fn log_file(&self) -> PathBuf {
        self.victim.log_file()
    }

    /// One kill and everything after it, until all is well again.
    ///
    /// # Errors
    /// Something that was shown as saved is lost, or there twice; boards differ; the server does not come back.
    pub(super) async fn round(&mut self) -> Result<Round> {
        let aim = Aim::ALL[self.dice.below(Aim::ALL.len() as u64) as usize];
        self.people.draw(self.circumstances.rate, &mut self.dice);
        self.strike(aim).await?;
        // What was under way to them when the server died counts: they were told.
        let pending = self.people.pending().await?;
        self.people.rest().await?;
        self.people.leave().await?;
        let before = self.account.len();
        self.settle_accounts().await?;
        if self.circumstances.cut_bytes > 0 {
            cut_tail(self.victim.folder(), self.circumstances.cut_bytes)?;
        }
        let mut folded = self.check().await?;
        if aim == Aim::Start {
            // People are away: what it finds is all there is.
            self.victim.launch()?;
            let share = self.dice.below(1000) as f64 / 1000.0;
            tokio::time::sleep(Duration::from_secs_f64(
                self.start_ms / 1e3 * START_SHARE * share,
            ))
            .await;
            self.victim.kill().await?;
            let again = self.check().await?;
            ensure!(
                (again.end, &again.digest) == (folded.end, &folded.digest),
                "a start that was cut short has changed the log: it ended at {}, and now at {}",
                folded.end.0,
                again.end.0
            );
            folded = again;
        }
        self.victim.launch()?;
        let start = self.victim.ready().await?;
        self.start_ms = start.as_secs_f64() * 1e3;
        let came = Instant::now();
        // Before anybody can make up for what it has lost.
        let mut directory = Directory::new(self.victim.site());
        let told = directory.inspect(self.link).await?;
        ensure!(
            told.position == folded.end.0 && told.digest == folded.digest,
            "the server that was started again holds board {} at {}, its log makes {} at {}",
            told.digest,
            told.position,
            folded.digest,
            folded.end.0
        );
        self.people.come_back().await?;
        self.people.settle().await?;
        let told = directory.inspect(self.link).await?;
        self.people.agree(&told.digest).await?;
        let back_ms = came.elapsed().as_secs_f64() * 1e3;
        self.snapshot_at = folded.snapshot_at;
        Ok(Round {
            aim,
            saved: self.account.len(),
            saved_new: self.account.len() - before,
            pending,
            end: folded.end.0,
            snapshot_at: folded.snapshot_at.0,
            wal_bytes: folded.wal_bytes,
            restart_ms: self.start_ms,
            back_ms,
        })
    }

    /// Ends the server by the word, once, and checks once more.
    pub(super) async fn end(mut self) -> Result<()> {
        self.settle_accounts().await?;
        self.people.leave().await?;
        self.victim.kill().await?;
        self.check().await?;
        Ok(())
    }

    /// Kills the server where it is aimed at.
    async fn strike(&mut self, aim: Aim) -> Result<()> {
        let drawing = Duration::from_millis(self.dice.below(DRAWING_MS_MAX));
        tokio::time::sleep(drawing).await;
        let micros = |dice: &mut Dice, max| Duration::from_micros(dice.below(max));
        match aim {
            Aim::Drawing | Aim::Start => {}
            Aim::Commit => {
                let delay = micros(&mut self.dice, COMMIT_US_MAX);
                let (folder, process) = (self.victim.folder().to_owned(), self.victim.process()?);
                tokio::task::spawn_blocking(move || {
                    let (begun, before) = (Instant::now(), written_at(&folder));
                    while written_at(&folder) == before && begun.elapsed() < AIM_WAIT {
                        std::thread::sleep(LOOK_EVERY);
                    }
                    std::thread::sleep(delay);
                    // From here, because every further step would take longer than what is aimed at.
                    kill_process(process, Signal::KILL)
                })
                .await??;
            }
            Aim::Snapshot => {
                let delay = micros(&mut self.dice, SNAPSHOT_US_MAX);
                let due = Position(self.snapshot_at.0 + SNAPSHOT_INTERVAL_OPS);
                let begun = Instant::now();
                while self.people.position().await? < due && begun.elapsed() < AIM_WAIT {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(delay).await;
            }
            Aim::Stop => {
                let delay = micros(&mut self.dice, STOP_US_MAX);
                self.victim.ask_to_stop()?;
                tokio::time::sleep(delay).await;
            }
        }
        self.victim.kill().await
    }

    /// Adds what people were shown as saved to the account.
    async fn settle_accounts(&mut self) -> Result<()> {
        for (actor, op) in self.people.take_saved().await? {
            self.account.add(actor, op.counter, op.through);
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<Folded> {
        let account = std::mem::take(&mut self.account);
        let (folder, board) = (self.victim.folder().to_owned(), self.link.board);
        let checking = tokio::task::spawn_blocking(move || {
            let checked = account.check(&folder, board);
            (account, checked)
        });
        let (account, checked) = checking.await?;
        self.account = account;
        checked
    }
}
