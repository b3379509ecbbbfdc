//! A store that fails where a test wants it to, in front of a real one.
//!
//! Every operation of the contract has a rule or none. A fault comes *before* the operation (nothing happened) or *after*
//! it (it happened, and the acknowledgement is lost), fails or hangs, or ends the process that asked. Time that the test
//! owns stands still while the real store works.

mod operations;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use valetkey_store::{Store, StoreError};

use crate::life::Life;

type Result<T> = std::result::Result<T, StoreError>;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing happened.
    Before,
    /// It happened, and the answer is a failure.
    After,
    /// It does not answer until the faults are lifted, and then it happens.
    Hang,
    /// The process ends, and nothing happened.
    DieBefore,
    /// It happened, and the process ends.
    DieAfter,
}

/// When something goes wrong.
#[derive(Clone, Copy, Debug)]
struct Rule {
    fault: Fault,
    /// So many calls pass first.
    skip: usize,
    /// So many calls meet the fault.
    times: usize,
}

/// A decorator of a store.
#[derive(Debug)]
pub(crate) struct Faults {
    /// Taken away when the process ends.
    inner: Mutex<Option<Arc<dyn Store>>>,
    life: Arc<Life>,
    rules: Mutex<BTreeMap<&'static str, Rule>>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
    stalls: Mutex<BTreeMap<&'static str, Duration>>,
    lifted: Notify,
}

/// The operations that write.
const WRITES: [&str; 12] = [
    "put_connection",
    "disconnect",
    "claim_refresh",
    "extend_lease",
    "finish_refresh",
    "release_refresh",
    "postpone",
    "put_job",
    "append_audit",
    "take_limit",
    "touch_connections",
    "probe",
];

/// The operations that read what a token needs.
const READS: [&str; 5] = [
    "get_connection",
    "get_connections",
    "get_connector",
    "get_connectors",
    "get_key",
];

impl Faults {
    pub(crate) fn new(inner: Arc<dyn Store>, life: Arc<Life>) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Some(inner)),
            life,
            rules: Mutex::default(),
            calls: Mutex::default(),
            stalls: Mutex::default(),
            lifted: Notify::new(),
        })
    }

    /// The next call of an operation meets the fault.
    pub(crate) fn once(&self, operation: &'static str, fault: Fault) {
        self.set(operation, fault, 0, 1);
    }

    /// After `skip` calls, `times` calls meet the fault.
    pub(crate) fn set(&self, operation: &'static str, fault: Fault, skip: usize, times: usize) {
        let rule = Rule { fault, skip, times };
        self.rules.lock().expect("not poisoned").insert(operation, rule);
    }

    /// The answer of the next call comes so much later.
    pub(crate) fn stall(&self, operation: &'static str, span: Duration) {
        self.stalls.lock().expect("not poisoned").insert(operation, span);
    }

    /// Every write fails, as with a full disk; reads go on.
    pub(crate) fn refuse_writes(&self) {
        for operation in WRITES {
            self.set(operation, Fault::Before, 0, usize::MAX);
        }
    }

    /// Nothing works.
    pub(crate) fn go_down(&self) {
        self.refuse_writes();
        for operation in READS {
            self.set(operation, Fault::Before, 0, usize::MAX);
        }
    }

    /// Everything works again; what hangs goes on.
    pub(crate) fn lift(&self) {
        self.rules.lock().expect("not poisoned").clear();
        self.lifted.notify_waiters();
    }

    /// How often an operation was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        *self.calls.lock().expect("not poisoned").get(operation).unwrap_or(&0)
    }

    /// Lets go of the real store, so that it can be opened again.
    pub(crate) fn unplug(&self) {
        self.inner.lock().expect("not poisoned").take();
    }

    fn fault(&self, operation: &'static str) -> Option<Fault> {
        *self.calls.lock().expect("not poisoned").entry(operation).or_default() += 1;
        let mut rules = self.rules.lock().expect("not poisoned");
        let rule = rules.get_mut(operation)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times = rule.times.checked_sub(1)?;
        Some(rule.fault)
    }

    async fn begin(&self, operation: &'static str) -> Result<(Arc<dyn Store>, Option<Fault>)> {
        self.life.check().await;
        let fault = self.fault(operation);
        match fault {
            Some(Fault::Before) => return Err(failed(operation)),
            Some(Fault::Hang) => self.lifted.notified().await,
            Some(Fault::DieBefore) => {
                self.life.end();
                self.unplug();
            }
            Some(Fault::After | Fault::DieAfter) | None => {}
        }
        self.life.check().await;
        let inner = self.inner.lock().expect("not poisoned").clone();
        Ok((inner.expect("a process that lives has a store"), fault))
    }

    async fn end<T>(&self, operation: &'static str, fault: Option<Fault>, answer: Result<T>) -> Result<T> {
        let stall = self.stalls.lock().expect("not poisoned").remove(operation);
        if let Some(span) = stall {
            tokio::time::sleep(span).await;
        }
        match fault {
            Some(Fault::After) => return Err(failed(operation)),
            Some(Fault::DieAfter) => {
                self.life.end();
                self.unplug();
            }
            _ => {}
        }
        self.life.check().await;
        answer
    }
}

fn failed(operation: &str) -> StoreError {
    StoreError::Unavailable(format!("the test wants {operation} to fail"))
}

/// Runs a call during which paused time does not move: the real store works on a thread of its own, and a runtime without
/// anything else to do would let all timers pass meanwhile.
async fn in_no_time<T>(call: impl Future<Output = T> + Send) -> T {
    let mut call = pin!(call);
    if let Poll::Ready(at_once) = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
        return at_once;
    }
    let (end, wait) = std::sync::mpsc::channel::<()>();
    // A blocking task holds paused time; it ends with the sender, also when this call is given up.
    drop(tokio::task::spawn_blocking(move || wait.recv().is_err()));
    let answer = call.await;
    drop(end);
    answer
}
