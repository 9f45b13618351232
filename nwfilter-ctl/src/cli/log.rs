//! Where the daemon's messages go: to stderr. If that is systemd's journal, each line begins with its
//! priority (sd-daemon(3)) and leaves the time to the journal.

use std::{env, fmt, io, os::fd::AsFd};

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Starts to log; `RUST_LOG` says what.
pub(super) fn start() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    let installed = if is_journal(env::var("JOURNAL_STREAM").ok().as_deref(), io::stderr()) {
        builder.event_format(Journal).try_init()
    } else {
        builder.try_init()
    };
    // Somebody else's logging is as good.
    drop(installed);
}

/// Whether a descriptor is the stream to the journal that systemd tells of, as `DEVICE:INODE`.
fn is_journal(stream: Option<&str>, fd: impl AsFd) -> bool {
    stream.is_some_and(|stream| {
        fstat(fd).is_ok_and(|own| stream == format!("{}:{}", own.st_dev, own.st_ino))
    })
}

/// Lines for the journal.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = priority(*event.metadata().level());
        write!(writer, "<{priority}>")?;
        context
            .field_format()
            .format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The priority of syslog(3) that a level is.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let file = File::open("/dev/null").unwrap();
        let own = fstat(&file).unwrap();
        let stream = format!("{}:{}", own.st_dev, own.st_ino);
        assert!(is_journal(Some(&stream), &file));
        assert!(!is_journal(Some("1:2"), &file));
        assert!(!is_journal(None, &file));
    }
}
