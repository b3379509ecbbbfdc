//! The real clock and the real random source.

pub(crate) mod clock;

use valetkey_core::Rng;

pub(crate) use clock::SystemClock;

/// The operating system's random generator.
#[derive(Debug)]
pub(crate) struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // There is no second-best source for keys: ending here is the only safe answer.
            std::process::abort();
        }
    }
}

/// Asks the kernel for small pages only: with huge ones, what an idle server holds grows by half, and it is no faster.
/// Nothing is lost where the kernel does not know the wish.
pub(crate) fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages cannot be turned off");
    }
}

/// Keeps secrets out of core files and away from debuggers of the same user. Where the system does not know how, the
/// service runs all the same.
pub(crate) fn harden() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core files cannot be turned off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process cannot be made undumpable");
    }
}

/// Lets the process have as many descriptors as it may, and says how many those are. What a shell gives it at first is
/// meant for programs that still use `select`.
pub(crate) fn take_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let taken = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors cannot be raised");
            limit.current
        }
    };
    taken.unwrap_or(u64::MAX)
}
