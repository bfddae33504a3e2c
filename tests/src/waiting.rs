//! Waiting for something to become true, for tests on real sockets and processes: no sleeps that hope, no results that
//! depend on how fast the machine is.

use std::time::Duration;

/// How long anything may take before a test gives up: far more than it ever does, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks again and again until there is something to see, and returns it.
///
/// # Panics
/// After [`PATIENCE`], naming `what` was waited for.
pub async fn wait_until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    seen_in_time(look)
        .await
        .unwrap_or_else(|| panic!("waited {} s for {what}", PATIENCE.as_secs()))
}

/// The same for callers who can say more about what is wrong: `None` after [`PATIENCE`].
pub async fn seen_in_time<T>(mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.ok()
}

/// Waits for something that comes to an end by itself.
///
/// # Panics
/// After [`PATIENCE`], naming `what` was waited for.
pub async fn within<T>(what: &str, doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, doing)
        .await
        .unwrap_or_else(|_| panic!("waited {} s for {what}", PATIENCE.as_secs()))
}
