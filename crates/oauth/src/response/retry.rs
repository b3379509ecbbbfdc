//! `Retry-After` (RFC 9110 section 10.2.3), without a clock.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use valetkey_core::Response;

/// The shortest and the longest wait that a provider can impose.
const RANGE_S: (u64, u64) = (1, 3600);

/// How long to wait: seconds, or a date that is compared with the answer's own `Date`, so that no clock of ours counts.
/// `None` if there is nothing, or nothing that can be read.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let seconds = if is_number {
        text.parse().unwrap_or(u64::MAX)
    } else {
        let wait = http_date(text)?
            .as_second()
            .checked_sub(http_date(response.header("date")?)?.as_second())?;
        u64::try_from(wait).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds.clamp(RANGE_S.0, RANGE_S.1)))
}

/// The one date format that senders may use (RFC 9110 section 5.6.7); it is within RFC 2822.
fn http_date(text: &str) -> Option<Timestamp> {
    text.ends_with(" GMT")
        .then(|| DateTimeParser::new().parse_timestamp(text).ok())
        .flatten()
}
