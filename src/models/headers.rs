//! When a provider says that it will serve again.
//!
//! `Retry-After` is seconds or a date (RFC 9110, section 10.2.3). OpenAI's `x-ratelimit-reset-*` are durations (`6m0s`,
//! `120ms`), in other copies of that API seconds or seconds since 1970; Anthropic's `anthropic-ratelimit-*-reset` are RFC
//! 3339. All of it is a stranger's word: nothing beyond a day is believed.

use std::time::Duration;

use jiff::Timestamp;

/// The longest that a provider can put itself off.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// From these headers (names in lower case), how long to wait; `None` where they do not say.
pub(super) fn reset<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    now: Timestamp,
) -> Option<Duration> {
    let mut after = None;
    let mut reset: Option<Duration> = None;
    for (name, value) in headers {
        let value = value.trim();
        if name == "retry-after" {
            after = number(value).or_else(|| date(value, now));
        } else if name == "retry-after-ms" {
            after = after.or_else(|| number(value).map(|millis| millis / 1000));
        } else if name.starts_with("x-ratelimit-reset") || is_anthropic_reset(name) {
            // There is one for requests and one for tokens, and no word which of them is used up.
            reset = reset.max(moment(value, now));
        }
    }
    after.or(reset).map(|wait| wait.min(LONGEST))
}

fn is_anthropic_reset(name: &str) -> bool {
    name.strip_prefix("anthropic-ratelimit-").is_some_and(|rest| rest.ends_with("-reset"))
}

fn moment(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(at) = value.parse::<Timestamp>() {
        return until(at, now);
    }
    match number(value) {
        // A number that large is a moment and no time to wait.
        Some(since) if since > Duration::from_secs(1_000_000_000) => {
            until(Timestamp::from_second(i64::try_from(since.as_secs()).ok()?).ok()?, now)
        }
        Some(seconds) => Some(seconds),
        None => go_duration(value),
    }
}

fn until(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn number(value: &str) -> Option<Duration> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = if plain { value.parse().ok()? } else { return None };
    Duration::try_from_secs_f64(seconds).ok()
}

/// `1h2m3.5s`, `120ms`, as Go prints a duration.
fn go_duration(value: &str) -> Option<Duration> {
    let mut rest = value;
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (count, unit) = rest.split_at(digits);
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, next) = unit.split_at(length);
        let factor = match unit {
            "d" => 86400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "\u{b5}s" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        total += count.parse::<f64>().ok()? * factor;
        rest = next;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that is written today (RFC 9110, section 5.6.7).
fn date(value: &str, now: Timestamp) -> Option<Duration> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = value.split_once(", ")?.1.split(' ');
    let (day, month, year, time, zone) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    if zone != "GMT" || words.next().is_some() {
        return None;
    }
    until(format!("{year}-{month:02}-{day}T{time}Z").parse().ok()?, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_understood_and_none_beyond_a_day() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        type Fields = &'static [(&'static str, &'static str)];
        let cases: &[(Fields, Option<f64>)] = &[
            (&[("retry-after", "7")], Some(7.0)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(37.0)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0.0)),
            (&[("retry-after-ms", "1500")], Some(1.5)),
            (&[("x-ratelimit-reset-requests", "6m0s"), ("x-ratelimit-reset-tokens", "120ms")], Some(360.0)),
            (&[("x-ratelimit-reset-tokens", "1h2m3.5s")], Some(3723.5)),
            (&[("x-ratelimit-reset", "30")], Some(30.0)),
            (&[("anthropic-ratelimit-requests-reset", "1994-11-06T08:50:00Z")], Some(60.0)),
            (&[("anthropic-ratelimit-requests-remaining", "5")], None),
            // What is said for this very answer counts before what is said of limits.
            (&[("x-ratelimit-reset", "30"), ("retry-after", "2")], Some(2.0)),
            (&[("retry-after", "99999999999")], Some(86400.0)),
            (&[("x-ratelimit-reset", "2099-01-01T00:00:00Z")], Some(86400.0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "1e9")], None),
            (&[("x-ratelimit-reset", "5x")], None),
            (&[("x-ratelimit-reset", "")], None),
            (&[], None),
        ];
        for (headers, expected) in cases {
            let got = reset(headers.iter().copied(), now).map(|wait| wait.as_secs_f64());
            assert_eq!(got, *expected, "{headers:?}");
        }
        let later: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let epoch = (later.as_second() + 90).to_string();
        let got = reset([("x-ratelimit-reset", epoch.as_str())].into_iter(), later);
        assert_eq!(got, Some(Duration::from_secs(90)));
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(value in ".{0,40}", name in "(retry-after|x-ratelimit-reset|anthropic-ratelimit-a-reset)") {
            let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
            if let Some(wait) = reset([(name.as_str(), value.as_str())].into_iter(), now) {
                proptest::prop_assert!(wait <= LONGEST);
            }
        }
    }
}
