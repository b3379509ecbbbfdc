//! `@uri`, `@urid`, `@base64` and `@base64d`: in jaq they come together with the environment and the clock only.

use jaq_core::native::{Filter, bome, v};
use jaq_core::{Error, RunPtr};
use jaq_json::Val;
use jaq_std::ValT as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::Data;

/// RFC 3986 section 2.3: everything but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn filters() -> Vec<Filter<RunPtr<Data>>> {
    vec![
        ("encode_uri", v(0), |cv| {
            bome(text(&cv.1, |bytes| Ok(percent_encode(bytes, ENCODED).to_string())))
        }),
        ("decode_uri", v(0), |cv| {
            bome(text(&cv.1, |bytes| {
                Ok(percent_decode(bytes).decode_utf8_lossy().into_owned())
            }))
        }),
        ("encode_base64", v(0), |cv| {
            bome(text(&cv.1, |bytes| Ok(valetkey_core::encode::base64(bytes))))
        }),
        ("decode_base64", v(0), |cv| {
            bome(text(&cv.1, |bytes| {
                let decoded = std::str::from_utf8(bytes)
                    .ok()
                    .and_then(valetkey_core::encode::from_base64);
                decoded
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or("is not base64 of a text")
            }))
        }),
    ]
}

fn text(value: &Val, f: impl Fn(&[u8]) -> Result<String, &'static str>) -> Result<Val, Error<Val>> {
    f(value.try_as_utf8_bytes()?).map(Val::from).map_err(Error::str)
}
