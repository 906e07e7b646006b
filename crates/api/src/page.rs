//! Pages of a list: what was asked for, and what is said about it.

use actix_web::HttpRequest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::views::objects::{Links, Pagination};

const PER_PAGE_DEFAULT: u64 = 25;
const PER_PAGE_MAX: u64 = 100;
/// The fields of a query by which lists choose.
const CHOICES: [&str; 6] = ["user", "owner", "server", "kind", "state", "path"];

/// What stands for itself in the value of a query.
pub(crate) const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The page that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) number: u64,
    pub(crate) size: u32,
}

impl Page {
    /// Reads `page` and `per_page`. Rubbish means the default, never an error.
    pub(crate) fn read(query: &str) -> Self {
        let mut page = Self {
            number: 1,
            size: 25,
        };
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        for (name, value) in pairs {
            match name.as_str() {
                "page" => page.number = digits(&value).unwrap_or(1).max(1),
                "per_page" => {
                    let size = digits(&value)
                        .unwrap_or(PER_PAGE_DEFAULT)
                        .clamp(1, PER_PAGE_MAX);
                    page.size = u32::try_from(size).unwrap_or(25);
                }
                _ => {}
            }
        }
        page
    }

    pub(crate) fn offset(self) -> u64 {
        (self.number - 1).saturating_mul(u64::from(self.size))
    }

    /// Cuts the page out of a list that is small enough to be there as a whole.
    pub(crate) fn cut<T>(self, all: &[T]) -> &[T] {
        let from = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        let rest = all.get(from..).unwrap_or_default();
        rest.get(..self.size as usize).unwrap_or(rest)
    }

    /// Returns the `pagination` object of a list with `total` entries, of which `count` are shown.
    /// `links` holds absolute URLs of the pages beside this one, or nothing.
    pub(crate) fn describe(
        self,
        total: u64,
        count: usize,
        request: &HttpRequest,
        base_url: &str,
    ) -> Pagination {
        let pages = total.div_ceil(u64::from(self.size)).max(1);
        let filter = filter(request.query_string());
        let url = |number: u64| {
            format!(
                "{base_url}{}?{filter}page={number}&per_page={}",
                request.path(),
                self.size
            )
        };
        Pagination {
            total,
            count,
            per_page: self.size,
            current_page: self.number,
            total_pages: pages,
            links: Links {
                previous: (self.number > 1).then(|| url((self.number - 1).min(pages))),
                next: (self.number < pages).then(|| url(self.number + 1)),
            },
        }
    }
}

/// Returns what a query chooses, so that the pages of a choice are pages of the same choice.
fn filter(query: &str) -> String {
    let mut choice = String::new();
    for name in CHOICES {
        if let Some(value) = query_value(query, name) {
            choice.push_str(&format!("{name}={}&", percent_encode(&value, &PLAIN)));
        }
    }
    choice
}

/// Returns a field of a query as the bytes that were encoded: names of files need not be UTF-8.
pub(crate) fn query_value(query: &str, name: &str) -> Option<Vec<u8>> {
    let decode = |text: &str| -> Vec<u8> {
        let spaces = text.replace('+', " ");
        percent_decode(spaces.as_bytes()).collect()
    };
    query
        .split('&')
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key) == name.as_bytes()).then(|| decode(value))
        })
        .next_back()
}

/// Reads decimal digits, blanks around them trimmed; more than fit are as many as fit.
fn digits(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(i64::MAX.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_means_the_default_and_sizes_are_clamped() {
        for (query, number, size) in [
            ("", 1, 25),
            ("page=3&per_page=10", 3, 10),
            ("page=0&per_page=0", 1, 1),
            ("page=-1&per_page=-5", 1, 25),
            ("page=x&per_page=1e3", 1, 25),
            ("page=+2&per_page=1000", 2, 100),
            ("page=%202%20&per_page=", 2, 25),
            ("page=99999999999999999999999", i64::MAX.unsigned_abs(), 25),
            ("%%%=&&", 1, 25),
        ] {
            assert_eq!(Page::read(query), Page { number, size }, "{query}");
        }
        assert_eq!(
            Page::read("page=99999999999999999999999").offset(),
            u64::MAX
        );
    }
}
