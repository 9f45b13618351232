//! Places at which a test may kill this process. In a release build there are none.
//!
//! `NWFILTER_DIE=define:3` kills it, as `kill -9` would, at the third place that it comes to in its
//! first `define`. `NWFILTER_STOP=define` stops it, as `kill -STOP` would, at the beginning of each.
//! `NWFILTER_GATE=PATH` lets what is done beside the loop wait until a named pipe has been written to.

/// A piece of work begins; places are counted from here.
pub(crate) fn begin(work: &'static str) {
    #[cfg(debug_assertions)]
    imp::begin(work);
    #[cfg(not(debug_assertions))]
    let _ = work;
}

/// A place: what comes before has been done, what comes after has not.
pub(crate) fn point() {
    #[cfg(debug_assertions)]
    imp::point();
}

/// Something is done beside the loop, which goes on meanwhile.
pub(crate) fn gate() {
    #[cfg(debug_assertions)]
    if let Some(path) = std::env::var_os("NWFILTER_GATE") {
        let _ = std::fs::read(path);
    }
}

#[cfg(debug_assertions)]
mod imp {
    use std::{
        env, process,
        sync::{
            LazyLock,
            atomic::{AtomicI64, Ordering},
        },
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    /// The work and the number of the place.
    static WHERE: LazyLock<Option<(String, i64)>> = LazyLock::new(|| {
        let text = env::var("NWFILTER_DIE").ok()?;
        let (work, number) = text.split_once(':')?;
        Some((work.to_owned(), number.parse().ok()?))
    });

    /// The work at whose beginning it stops.
    static STOP: LazyLock<Option<String>> = LazyLock::new(|| env::var("NWFILTER_STOP").ok());

    /// Places to go; negative outside of the work.
    static LEFT: AtomicI64 = AtomicI64::new(-1);

    pub(super) fn begin(work: &str) {
        let left = match &*WHERE {
            Some((wanted, number)) if wanted == work => *number,
            _ => -1,
        };
        LEFT.store(left, Ordering::Relaxed);
        if STOP.as_deref() == Some(work) {
            let own = Pid::from_raw(process::id().cast_signed());
            let _ = kill(own, Signal::SIGSTOP);
        }
    }

    pub(super) fn point() {
        if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
            let own = Pid::from_raw(process::id().cast_signed());
            let _ = kill(own, Signal::SIGKILL);
            // The signal is on its way.
            loop {
                std::thread::park();
            }
        }
    }
}
