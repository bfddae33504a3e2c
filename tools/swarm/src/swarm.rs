//! All clients of a process, on a few threads: thin ones by the thousand ([`crate::fleet`]), and those that look
//! ([`crate::observer`]).
//!
//! The thread that commands them speaks to each through a bounded queue and waits for the answers of all.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::mpsc;

use crate::address::{BENCH, BoardLink, Directory, Site};
use crate::clock::Clock;
use crate::counts::{Report, ThreadReport, Window};
use crate::fleet::Fleet;
use crate::observer::Observers;
use crate::role::{Role, roles};
use crate::spec::Spec;

/// From the command to the first updates.
const START_AFTER_NS: i64 = 20_000_000;
/// Commands that wait for a thread.
const COMMANDS_MAX: usize = 8;

/// A running load.
#[derive(Debug)]
pub(crate) struct Swarm {
    threads: Vec<Thread>,
    /// Cores that they share.
    cores: usize,
}

#[derive(Debug)]
struct Thread {
    commands: mpsc::Sender<Command>,
    handle: Option<JoinHandle<()>>,
}

/// What a thread of the load is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// To connect all of its clients, and to say how many joined.
    Connect(SyncSender<Result<usize>>),
    /// To begin to send at this moment of the clock.
    Go(i64),
    /// To zero all counts.
    Mark(SyncSender<()>),
    /// To say what was counted since.
    Report(SyncSender<ThreadReport>),
    /// To say what was counted since the last time, and the bytes that observers have received altogether.
    Window(SyncSender<(Window, u64)>),
}

impl Swarm {
    /// Starts the threads; nothing is connected yet. The first of `rooms` is that of client 0, and so on in turn.
    pub(crate) fn start(
        spec: &Spec,
        clock: Clock,
        site: &Site,
        rooms: &[BoardLink],
    ) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = if spec.threads == 0 {
            cores
        } else {
            spec.threads
        };
        let mut threads = Vec::new();
        for roles in shares(&roles(spec, &spec.thin, rooms), wanted) {
            let number = threads.len() as u64;
            let (site, role_count) = (site.clone(), roles.len());
            let thread = Thread::start(format!("thin-{number}"), move |inbox| {
                Fleet::new(roles, site, clock, number).run(inbox);
            });
            threads.push(thread.with_context(|| format!("{role_count} thin clients"))?);
        }
        for roles in shares(&roles(spec, &spec.observers, rooms), wanted) {
            let number = threads.len() as u64;
            let observers = Observers {
                roles,
                site: site.clone(),
                clock,
                number,
            };
            let name = format!("observers-{number}");
            threads.push(Thread::start(name, move |inbox| observers.run(inbox))?);
        }
        Ok(Self { threads, cores })
    }

    /// Connects all clients; returns when all have joined.
    pub(crate) fn connect(&self) -> Result<usize> {
        let joined = self.ask(Command::Connect)?;
        joined.into_iter().sum()
    }

    /// Begins to send.
    pub(crate) fn go(&self, clock: Clock) -> Result<()> {
        let start_ns = clock.now_ns() + START_AFTER_NS;
        self.threads
            .iter()
            .try_for_each(|thread| thread.send(Command::Go(start_ns)))
    }

    /// Zeroes all counts.
    pub(crate) fn mark(&self) -> Result<()> {
        self.ask(Command::Mark).map(drop)
    }

    /// What was counted since.
    pub(crate) fn report(&self) -> Result<Report> {
        Ok(Report::of(&self.ask(Command::Report)?, self.cores))
    }

    /// What was counted since the last call of this, and the bytes that the observers have received altogether.
    pub(crate) fn window(&self) -> Result<(Window, u64)> {
        let mut all = (Window::new(), 0);
        for (window, observer_bytes) in self.ask(Command::Window)? {
            all.0.add(&window);
            all.1 += observer_bytes;
        }
        Ok(all)
    }

    /// Asks all threads and waits for all answers.
    fn ask<T>(&self, command: impl Fn(SyncSender<T>) -> Command) -> Result<Vec<T>> {
        let answers: Vec<Receiver<T>> = self
            .threads
            .iter()
            .map(|thread| {
                let (answer, answered) = sync_channel(1);
                thread.send(command(answer))?;
                Ok(answered)
            })
            .collect::<Result<_>>()?;
        answers
            .into_iter()
            .map(|answered| answered.recv().context("a thread of the load has died"))
            .collect()
    }
}

/// Deals roles out to at most `count` threads, in turn, so that those who draw are not all in one.
fn shares(roles: &[Role], count: usize) -> impl Iterator<Item = Vec<Role>> {
    let count = count.min(roles.len());
    (0..count).map(move |number| roles.iter().skip(number).step_by(count).copied().collect())
}

impl Thread {
    fn start(
        name: String,
        run: impl FnOnce(mpsc::Receiver<Command>) + Send + 'static,
    ) -> Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || run(inbox))
            .context("no thread")?;
        Ok(Self {
            commands,
            handle: Some(handle),
        })
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands
            .blocking_send(command)
            .map_err(|_| anyhow!("a thread of the load has died"))
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for thread in std::mem::take(&mut self.threads) {
            drop(thread.commands);
            if let Some(handle) = thread.handle {
                // Where it has panicked there is nothing left to end.
                let _ = handle.join();
            }
        }
    }
}

/// Makes the boards of a load: the room `bench` first, further ones anew.
pub(crate) fn make_rooms(site: &Site, count: u32) -> Result<Vec<BoardLink>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut directory = Directory::new(site.clone());
        let mut rooms = vec![BENCH];
        for _ in 1..count {
            rooms.push(directory.create_board().await?);
        }
        Ok(rooms)
    })
}
