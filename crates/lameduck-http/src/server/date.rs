//! The `Date` field (RFC 9110 §6.6.1) of responses that hyper does not write.
//!
//! Owns one rendered value per thread, made anew when the second has changed.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

thread_local! {
    static RENDERED: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The date now, to the second.
pub(crate) fn now() -> HeaderValue {
    let second = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    RENDERED.with_borrow_mut(|rendered| match rendered {
        Some((at, value)) if *at == second => value.clone(),
        _ => {
            let value = render(second);
            *rendered = Some((second, value.clone()));
            value
        }
    })
}

fn render(second: u64) -> HeaderValue {
    let at = UNIX_EPOCH + Duration::from_secs(second);
    HeaderValue::from_str(&httpdate::fmt_http_date(at)).expect("a date is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_rendered_as_rfc_9110_has_it() {
        assert_eq!(render(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn the_date_is_the_present_one() {
        let text = now();
        let read = httpdate::parse_http_date(text.to_str().expect("ASCII")).expect("a date");
        let age = SystemTime::now().duration_since(read).expect("not ahead");
        assert!(age < Duration::from_secs(60), "{age:?}");
    }
}
