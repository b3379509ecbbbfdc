//! How many token requests go to one host at the same time, and whose turn is next: callers before background work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Who wants to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Somebody waits for it.
    Caller,
    /// Nobody waits for it.
    Background,
}

/// Lets so many through at once.
#[derive(Debug)]
pub(super) struct Gate(Mutex<Line>);

#[derive(Debug)]
struct Line {
    free: usize,
    callers: VecDeque<oneshot::Sender<Pass>>,
    background: VecDeque<oneshot::Sender<Pass>>,
}

/// The right to send. The next in line gets it when it is dropped.
#[derive(Debug)]
pub(super) struct Pass(Option<Arc<Gate>>);

impl Gate {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Line {
            free: places,
            callers: VecDeque::new(),
            background: VecDeque::new(),
        })))
    }

    /// Waits for a turn. Whoever stops waiting leaves the line.
    pub(super) async fn enter(self: &Arc<Self>, rank: Rank) -> Pass {
        loop {
            let turn = {
                let mut line = self.lock();
                if line.free > 0 {
                    line.free -= 1;
                    return Pass(Some(Arc::clone(self)));
                }
                let (call, turn) = oneshot::channel();
                match rank {
                    Rank::Caller => line.callers.push_back(call),
                    Rank::Background => line.background.push_back(call),
                }
                turn
            };
            // A place in line is given up only with a pass; the loop is for the compiler.
            if let Ok(pass) = turn.await {
                return pass;
            }
        }
    }

    /// Gives the place to the next who still waits.
    fn hand_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut line = self.lock();
                let caller = line.callers.pop_front();
                let Some(next) = caller.or_else(|| line.background.pop_front()) else {
                    line.free += 1;
                    return;
                };
                next
            };
            match next.send(Pass(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // This one is gone; its pass must not hand on a second time.
                Err(mut unused) => drop(unused.0.take()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.hand_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        future.poll(&mut context).is_pending()
    }

    #[tokio::test]
    async fn callers_pass_before_background_work_that_came_first() {
        let gate = Gate::new(1);
        let first = gate.enter(Rank::Background).await;
        let mut background = std::pin::pin!(gate.enter(Rank::Background));
        let mut caller = std::pin::pin!(gate.enter(Rank::Caller));
        assert!(waits(background.as_mut()) && waits(caller.as_mut()));
        drop(first);
        assert!(waits(background.as_mut()));
        drop(caller.await);
        drop(background.await);
        drop(gate.enter(Rank::Background).await);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_costs_no_place() {
        let gate = Gate::new(2);
        let (one, two) = (gate.enter(Rank::Caller).await, gate.enter(Rank::Caller).await);
        {
            let mut never_called = std::pin::pin!(gate.enter(Rank::Caller));
            assert!(waits(never_called.as_mut()));
            let mut called = Box::pin(gate.enter(Rank::Caller));
            assert!(waits(called.as_mut()));
            drop(one);
            drop(two);
            // Both got their turn and never looked.
        }
        let again = (gate.enter(Rank::Background).await, gate.enter(Rank::Background).await);
        let mut third = std::pin::pin!(gate.enter(Rank::Background));
        assert!(waits(third.as_mut()), "two places, not more");
        drop(again);
        drop(third.await);
    }
}
