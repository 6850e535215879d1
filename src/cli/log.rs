//! What a daemon says of itself while it goes on, on its standard error.

use std::fmt;
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

/// In which form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// A line of text for each, with the time; for systemd's journal without it, and with the priority.
    #[default]
    Text,
    /// A JSON object on a line for each: `timestamp`, `level`, `fields` with `message` in them.
    Json,
}

/// Begins. What is said before goes nowhere.
pub(super) fn begin(format: LogFormat, level: Level) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    // One that has begun stays.
    let _ = match format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text if is_journal(std::io::stderr(), std::env::var("JOURNAL_STREAM").ok().as_deref()) => {
            log.with_ansi(false)
                .event_format(Prioritized(Format::default().with_target(false).without_time()))
                .try_init()
        }
        LogFormat::Text => log.try_init(),
    };
}

/// Whether a descriptor is the stream of which systemd says that it leads to the journal: systemd.exec(5), `JOURNAL_STREAM`.
fn is_journal(stream: impl AsFd, variable: Option<&str>) -> bool {
    let Some((dev, ino)) = variable.and_then(|variable| variable.split_once(':')) else { return false };
    fstat(stream).is_ok_and(|stat| dev.parse() == Ok(stat.st_dev) && ino.parse() == Ok(stat.st_ino))
}

/// Lines that begin with their priority, as the journal takes it off: sd-daemon(3).
struct Prioritized(Format<tracing_subscriber::fmt::format::Full, ()>);

impl<S> FormatEvent<S, DefaultFields> for Prioritized
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_journal_is_what_systemd_says_it_is_and_nothing_else() {
        let file = tempfile::tempfile().expect("a file");
        let about = file.metadata().expect("it is ours");
        let name = format!("{}:{}", about.dev(), about.ino());
        assert!(is_journal(&file, Some(&name)));
        for other in [None, Some(""), Some("1"), Some("0:0"), Some("a:b"), Some(&*format!("{name}0"))] {
            assert!(!is_journal(&file, other), "{other:?}");
        }
    }
}
