//! `chalkboard serve`: the server from its start to its stop, with its help, its ready line and its signals.
//!
//! Standard output carries the ready line alone; everything else goes to standard error.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use super::{BAD_CONFIG, FAILURE, fail};
use crate::bench;
use crate::config::{Config, ConfigError, ServeArguments, merge};
use crate::server::{Server, StartError};
use crate::telemetry;

/// How long a graceful stop may take.
const STOP_WAIT: Duration = Duration::from_secs(20);

// One line a paragraph: clap wraps to the terminal's width.
pub(super) const ABOUT: &str = "\
Serve boards to browsers and other clients.

Open the printed address in a browser and draw; whoever has the board's link draws with you. Everything is kept in one \
data folder, and what the page shows as saved is on disk. Without further options the server is reachable from this \
machine alone.

Browsers connect over WebTransport (QUIC, UDP) and, where that does not get through, over a WebSocket on the HTTP port.

Every option can be given as a flag, as an environment variable, or in a TOML file under its name with underscores \
(quic_port = 8443). A flag counts more than the environment, the environment more than the file. Unknown names are \
refused.";

pub(super) const EXAMPLES: &str = "\
Examples:
  For yourself, on http://localhost:8080/:
      chalkboard serve

  For a network, under a name and certificate of your own (TCP and UDP port 8443 must be open):
      chalkboard serve --listen 0.0.0.0 --port 8443 \\
          --tls-cert fullchain.pem --tls-key privkey.pem

  To try things out, leaving nothing behind:
      chalkboard serve --ephemeral --port 0

  With a file, chalkboard.toml:
      data = \"/var/lib/chalkboard\"
      listen = \"0.0.0.0\"
      tls_cert = \"/etc/chalkboard/fullchain.pem\"
      tls_key = \"/etc/chalkboard/privkey.pem\"

Stop it with Ctrl+C or SIGTERM: it saves everything, tells everybody, and ends within 20 seconds; a second signal ends \
it at once. SIGHUP reads the certificate again.

Exit codes: 0 stopped as asked, 1 failed, 2 the configuration can't be used.";

/// Serves until it is stopped.
pub(super) fn run(arguments: ServeArguments, environment: &[(OsString, OsString)]) -> ExitCode {
    let folder = std::env::current_dir().unwrap_or_default();
    let config = match configure(arguments, environment, &folder) {
        Ok(config) => config,
        Err(error) => return fail(BAD_CONFIG, &error),
    };
    if let Err(error) = telemetry::start(&config) {
        return fail(BAD_CONFIG, &error);
    }
    match serve_until_stopped(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Start(error @ StartError::Tls(_))) => fail(BAD_CONFIG, &error),
        Err(error) => fail(FAILURE, &error),
    }
}

/// Puts together what the server is told to do.
fn configure(
    serve: ServeArguments,
    environment: &[(OsString, OsString)],
    folder: &std::path::Path,
) -> Result<Config, ConfigError> {
    let options = merge(serve, environment.iter().cloned(), folder)?;
    let is_bench = options.bench == Some(true);
    let config = Config::from_options(options)?;
    if is_bench {
        bench::configure(config, environment)
    } else {
        Ok(config)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("signals can't be received: {0}; raise the limits on open files and threads")]
    Signals(std::io::Error),
    #[error(transparent)]
    Stop(#[from] crate::storage::StopError),
    #[error(
        "the stop took longer than {} s and was cut off; everything that was shown as saved is, and whoever drew the \
         rest sends it again when the server is back",
        STOP_WAIT.as_secs()
    )]
    StopTooLong,
    #[error("ended at once by a second signal; everything that was shown as saved is")]
    Forced,
}

fn serve_until_stopped(config: &Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Signals)?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new().map_err(Failure::Signals)?
    };
    let server = Server::start(config)?;
    announce(&server, config);
    runtime.block_on(async {
        loop {
            match signals.next().await {
                Signal::Stop => break,
                Signal::Reload => server.reload_certificate(),
            }
        }
    });
    tracing::info!("stopping: saving everything");
    let (done, stopped) = tokio::sync::oneshot::channel();
    let stopper = std::thread::spawn(move || {
        // Nobody waits any more only where the process ends.
        let _ = done.send(server.stop());
    });
    let ended = runtime.block_on(async {
        tokio::select! {
            stopped = stopped => match stopped {
                Ok(stopped) => stopped.map_err(Failure::Stop),
                Err(_) => Err(Failure::Stop(crate::storage::StopError::Died)),
            },
            () = tokio::time::sleep(STOP_WAIT) => Err(Failure::StopTooLong),
            () = signals.stop() => Err(Failure::Forced),
        }
    });
    if ended.is_ok() && stopper.join().is_ok() {
        tracing::info!("stopped; everything is saved");
    }
    ended
}

/// Says that the server can be used: one line for people, and for programs that wait for it.
#[expect(clippy::print_stdout, reason = "the ready line is the product")]
fn announce(server: &Server, config: &Config) {
    use std::io::Write;

    println!("Chalkboard is ready: {}", server.url());
    if let Some(fill) = config.bench {
        println!("{}", bench::summary(config, fill));
        println!("{}", bench::READY);
    }
    // Nobody may be reading; the server serves all the same.
    let _ = std::io::stdout().flush();
    let quic: Vec<String> = server
        .quic_addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    tracing::info!(http = %server.http_address(), quic = quic.join(" "), data = %data(config), "listening; stop with Ctrl+C");
    if config.ephemeral {
        tracing::warn!(
            "boards live in memory only and are gone when the server stops (--ephemeral)"
        );
    }
    if !crate::assets::is_built() {
        tracing::warn!(
            "this server was built without its page; `cargo xtask run` builds and starts one with it"
        );
    }
}

fn data(config: &Config) -> String {
    if config.ephemeral {
        "in memory".to_owned()
    } else {
        config.data.display().to_string()
    }
}

enum Signal {
    Stop,
    Reload,
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    async fn stop(&mut self) {
        while matches!(self.next().await, Signal::Reload) {}
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        // Without the means to be stopped by Ctrl+C the process is ended from outside.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }

    async fn stop(&mut self) {
        self.next().await;
    }
}
