//! The threads that serve: one for each core, each with a runtime of its own.
//!
//! A connection stays on the worker that it was given to, and so does everything that its requests wait for: nothing has to
//! wake another thread on the way, which under a shared runtime costs more than the work of a short request. In return a
//! request that computes for long holds up its neighbours, so whatever may do so runs on a blocking thread.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker that calls; 0 elsewhere. For what is kept once for each worker.
pub(crate) fn place() -> usize {
    PLACE.get()
}

/// How many workers there are.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// The workers of a server. They end when this is dropped, with whatever they were doing: finish that first.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<Worker>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// One connection's place at a worker; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts the threads.
    pub(crate) fn start() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let workers = (0..count())
            .map(|place| Worker::start(place, stop.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self { workers, stop })
    }

    /// A place at the worker that has the fewest connections.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let least = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        self.workers.iter().min_by_key(least).map(|worker| {
            worker.connections.fetch_add(1, Ordering::Relaxed);
            Seat {
                runtime: worker.runtime.clone(),
                connections: Arc::clone(&worker.connections),
            }
        })
    }
}

impl Worker {
    fn start(place: usize, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let thread = thread::Builder::new().name(format!("worker-{place}")).spawn(move || {
            PLACE.set(place);
            runtime.block_on(stop.cancelled());
            // An expression that does not end must not keep the process from ending.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            thread: Some(thread),
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        for worker in &mut self.workers {
            if worker.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("a worker panicked");
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_and_places_given_back() {
        let workers = Workers::start().expect("threads");
        let seats: Vec<_> = (0..2 * count()).map(|_| workers.seat().expect("a worker")).collect();
        let taken = |worker: &Worker| worker.connections.load(Ordering::Relaxed);
        assert!(workers.workers.iter().all(|worker| taken(worker) == 2));
        drop(seats);
        assert!(workers.workers.iter().all(|worker| taken(worker) == 0));
    }

    #[test]
    fn what_runs_at_a_seat_knows_its_place() {
        let workers = Workers::start().expect("threads");
        let (tell, told) = std::sync::mpsc::channel();
        for worker in &workers.workers {
            let tell = tell.clone();
            drop(worker.runtime.spawn(async move { tell.send(place()) }));
        }
        drop(tell);
        let mut places: Vec<_> = told.iter().collect();
        places.sort_unstable();
        assert_eq!(places, (0..count()).collect::<Vec<_>>());
    }
}
