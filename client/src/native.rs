//! Links over real sockets for native programs, on tokio.
//!
//! [`Link`] is one connection: WebTransport over QUIC, or a WebSocket, with frames in and out; tests of bad input use
//! it as it is. [`NativeClient`] is a [`Client`] with a task that keeps it connected: it drives the client's timers,
//! tries WebTransport and then the WebSocket, and connects again by itself. Everything runs on the runtime of the
//! caller, a current-thread one included. The protocol itself is none of its business.

mod driver;
mod link;
mod trust;
mod web_socket;
mod web_transport;

use std::time::Duration;

use chalkboard_shared::DisconnectReason;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use link::{Link, LinkError, LinkMeter, LinkReceiver, LinkSender};
pub use trust::Trust;
pub use web_transport::{
    DATAGRAM_RECEIVE_BYTES_MAX, SharedSocket, stranger_config, transport_config,
};

use crate::client::{Client, ClientOptions, Event};
use driver::{Command, Driver, Waiter};

/// Commands that wait for the client's task; callers wait for room.
const COMMANDS_MAX: usize = 64;

/// Where a server is.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// WebTransport's address as a whole, `https://127.0.0.1:4433/session`; tried first.
    pub web_transport: Option<String>,
    /// The WebSocket's address as a whole, `ws://127.0.0.1:8080/session` or `wss://...`.
    pub web_socket: Option<String>,
    /// Sent as the `Origin` header; native programs have none.
    pub origin: Option<String>,
}

/// What is awaited did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Not in this time.
    #[error("it did not happen within {0:?}")]
    Elapsed(Duration),
    /// The client's task has ended, because the server closed it for good or it was stopped.
    #[error("the client has stopped")]
    Stopped,
}

/// The client's task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has stopped")]
pub struct Stopped;

/// A client that stays connected by itself until it is dropped or stopped.
#[derive(Debug)]
pub struct NativeClient {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<Client>,
}

/// Begins to connect; returns at once. Must be called on a tokio runtime with I/O and time.
pub fn connect(options: ClientOptions, endpoints: Endpoints, trust: Trust) -> NativeClient {
    adopt(Client::new(options), endpoints, trust)
}

/// Begins to connect a client that exists already, as [`NativeClient::stop`] gave it back.
pub fn adopt(client: Client, endpoints: Endpoints, trust: Trust) -> NativeClient {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let driver = Driver::new(client, endpoints, trust, inbox);
    NativeClient {
        commands,
        task: tokio::spawn(driver.run()),
    }
}

impl NativeClient {
    /// Does something with the client, between its frames. The second argument of `act` is the client's `now_ms`.
    ///
    /// # Errors
    /// The client has stopped.
    pub async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Client, f64) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, answered) = oneshot::channel();
        let act = Box::new(move |client: &mut Client, now_ms: f64| {
            // A caller who has gone away wants no answer.
            let _ = answer.send(act(client, now_ms));
        });
        self.command(Command::With(act)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Waits until the client is as `is_so` wants it; asked after every frame and command.
    ///
    /// # Errors
    /// It was not so in time, or the client has stopped.
    pub async fn wait_for(
        &self,
        timeout: Duration,
        is_so: impl FnMut(&Client) -> bool + Send + 'static,
    ) -> Result<(), WaitError> {
        let (done, is_done) = oneshot::channel();
        let is_so = Box::new(is_so);
        let wait = async {
            self.command(Command::Wait(Waiter { is_so, done })).await?;
            is_done.await.map_err(|_| Stopped)
        };
        match tokio::time::timeout(timeout, wait).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Stopped)) => Err(WaitError::Stopped),
            Err(_) => Err(WaitError::Elapsed(timeout)),
        }
    }

    /// The client's events since this was called last: the newest 256 of them.
    ///
    /// # Errors
    /// The client has stopped.
    pub async fn take_events(&self) -> Result<Vec<Event>, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Events(answer)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Why the server has closed this client for good; then it does not connect again.
    ///
    /// # Errors
    /// The client has stopped.
    pub async fn closed(&self) -> Result<Option<DisconnectReason>, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::Closed(answer)).await?;
        answered.await.map_err(|_| Stopped)
    }

    /// Cuts the link and stays without one (false), or connects again at once (true).
    ///
    /// # Errors
    /// The client has stopped.
    pub async fn set_online(&self, online: bool) -> Result<(), Stopped> {
        self.command(Command::Online(online)).await
    }

    /// Closes the link and gives the client back as it is. `None` if its task had panicked.
    pub async fn stop(self) -> Option<Client> {
        drop(self.commands);
        self.task.await.ok()
    }

    async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}

#[cfg(test)]
mod tests;
