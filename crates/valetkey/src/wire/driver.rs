//! The half of a hyper connection that reads and writes the socket, polled by whoever waits for an answer.
//!
//! Usually it becomes a task of its own. Polled by the caller it leaves no task behind when the caller goes away, needs
//! no switch between tasks, and an idle connection is just an open socket in the pool.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Rounds of polling before the runtime gets its turn. An exchange takes two or three; a peer that sends as fast as we
/// read would take all it can get.
const ROUNDS: usize = 8;

/// Drives one connection.
pub(super) struct Driver {
    /// `None` when it has ended. It must go then, because a request that is still queued for it comes back by its drop.
    half: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    gate: Arc<Gate>,
    /// Made of the gate.
    waker: Waker,
}

impl Driver {
    /// Takes hyper's connection future.
    pub(super) fn new(half: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let gate = Arc::new(Gate::default());
        Self {
            half: Some(Box::pin(half)),
            waker: Waker::from(Arc::clone(&gate)),
            gate,
        }
    }

    /// Drives the connection until `future`, which waits for it, is done.
    pub(super) async fn run<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| self.poll(cx, future.as_mut())).await
    }

    /// Lets the connection do what it can without waiting. Whether it is still open.
    pub(super) fn settle(&mut self) -> bool {
        let step = std::future::poll_fn(|cx| self.poll(cx, pin!(std::future::pending::<()>())));
        // Without tokio's budget, or a half that had to pause would look busy. Nobody is to be woken.
        let _ = pin!(tokio::task::unconstrained(step)).poll(&mut Context::from_waker(Waker::noop()));
        self.half.is_some()
    }

    fn poll<F: Future>(&mut self, cx: &mut Context<'_>, mut future: Pin<&mut F>) -> Poll<F::Output> {
        for _ in 0..ROUNDS {
            self.gate.close(cx.waker());
            let mut gated = Context::from_waker(&self.waker);
            // Its error, if any, also reaches `future`.
            if self
                .half
                .as_mut()
                .is_some_and(|half| half.as_mut().poll(&mut gated).is_ready())
            {
                self.half = None;
            }
            if let Poll::Ready(output) = future.as_mut().poll(&mut gated) {
                return Poll::Ready(output);
            }
            if !self.gate.open() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Keeps the two halves from waking the task that is polling them. Each step of one wakes the other, and the runtime
/// would answer by scheduling the task once more and waking a thread to run it; while the gate is closed, a wake is
/// only noted.
struct Gate {
    closed: AtomicBool,
    noted: AtomicBool,
    task: Mutex<Waker>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            closed: AtomicBool::new(true),
            noted: AtomicBool::new(false),
            task: Mutex::new(Waker::noop().clone()),
        }
    }
}

impl Gate {
    /// To be called before polling.
    fn close(&self, task: &Waker) {
        self.closed.store(true, Ordering::SeqCst);
        self.task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(task);
    }

    /// To be called after polling. Whether a wake was noted meanwhile; later ones reach the task.
    fn open(&self) -> bool {
        self.closed.store(false, Ordering::SeqCst);
        self.noted.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.noted.store(true, Ordering::SeqCst);
        if !self.closed.load(Ordering::SeqCst) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.wake();
        }
    }
}
