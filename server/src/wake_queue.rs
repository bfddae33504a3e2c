//! A bounded queue whose one reader goes to sleep at once when nothing is in it.
//!
//! The channels of the library look again and again before they sleep, some 15 us on processors that take their time for
//! a pause; for a thread that waits some milliseconds most of the time that is as much as the wake. Which thread reads is
//! known from its first wait on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// A queue of so many places.
pub(crate) fn wake_queue<T>(places: usize) -> (WakeSender<T>, WakeReceiver<T>) {
    let (sender, receiver) = crossbeam_channel::bounded(places);
    let sleeper = Arc::new(Sleeper::default());
    let sender = WakeSender {
        queue: sender,
        reader: Reader(sleeper.clone()),
    };
    let receiver = WakeReceiver {
        queue: receiver,
        sleeper,
    };
    (sender, receiver)
}

/// Where things are put in. The reader learns when the last one of these is gone.
#[derive(Debug)]
pub(crate) struct WakeSender<T> {
    queue: crossbeam_channel::Sender<T>,
    /// Behind the queue, because it is dropped after it.
    reader: Reader,
}

/// Where one thread takes them out.
#[derive(Debug)]
pub(crate) struct WakeReceiver<T> {
    queue: crossbeam_channel::Receiver<T>,
    sleeper: Arc<Sleeper>,
}

/// The reader, as senders know it: woken when one of them is dropped.
#[derive(Debug, Clone)]
struct Reader(Arc<Sleeper>);

#[derive(Debug, Default)]
struct Sleeper {
    thread: OnceLock<Thread>,
    is_asleep: AtomicBool,
}

impl Sleeper {
    fn wake(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

impl<T> Clone for WakeSender<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            reader: self.reader.clone(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl<T> WakeSender<T> {
    /// Puts something in if there is a place.
    ///
    /// # Errors
    /// There is none, or nobody reads any more.
    pub(crate) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(item)?;
        self.reader.0.wake();
        Ok(())
    }

    /// Puts something in; waits for a place.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.queue.send(item)?;
        self.reader.0.wake();
        Ok(())
    }
}

impl<T> WakeReceiver<T> {
    /// Takes the next out; waits for it until then, or for ever.
    ///
    /// # Errors
    /// It is past that time, or nobody puts anything in any more.
    pub(crate) fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        self.sleeper.thread.get_or_init(std::thread::current);
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            self.sleeper.is_asleep.store(true, Ordering::SeqCst);
            // Whoever puts something in from here on sees that this sleeps; what was put in before is seen here.
            let taken = self.take();
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            match (&taken, left) {
                (Some(_), _) => {}
                (None, None) => std::thread::park(),
                (None, Some(left)) => std::thread::park_timeout(left),
            }
            self.sleeper.is_asleep.store(false, Ordering::SeqCst);
            if let Some(taken) = taken {
                return taken;
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }

    /// How many things are in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// What a wait ends with, if it does.
    fn take(&self) -> Option<Result<T, RecvTimeoutError>> {
        match self.try_recv() {
            Ok(item) => Some(Ok(item)),
            Err(TryRecvError::Disconnected) => Some(Err(RecvTimeoutError::Disconnected)),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Takes the next out if it is there.
    ///
    /// # Errors
    /// It is not, or never will be.
    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.queue.try_recv()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_order_and_wakes_the_reader() {
        let (sender, receiver) = wake_queue(2);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            while let Ok(item) = receiver.recv_until(None) {
                got.push(item);
            }
            got
        });
        for n in 0..1000 {
            sender.send(n).expect("it is read");
        }
        let other = sender.clone();
        drop(sender);
        other.send(1000).expect("it is read");
        // The reader sleeps or is about to; the end wakes it.
        drop(other);
        let got = reader.join().expect("it ends");
        assert_eq!(got, (0..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_wait_ends_at_its_time_or_with_the_senders() {
        let (sender, receiver) = wake_queue::<u8>(1);
        let begun = Instant::now();
        let wait = Duration::from_millis(3);
        let timeout = receiver.recv_until(Some(begun + wait));
        assert_eq!(timeout, Err(RecvTimeoutError::Timeout));
        assert!(begun.elapsed() >= wait);
        sender.try_send(7).expect("there is a place");
        assert!(matches!(sender.try_send(8), Err(TrySendError::Full(8))));
        drop(sender);
        assert_eq!(
            receiver.recv_until(Some(begun)),
            Ok(7),
            "what is there comes first"
        );
        assert_eq!(
            receiver.recv_until(None),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}
