//! Pages of lists: the page that a request selects, and the answer with that page.
//!
//! An invalid `page` or `per_page` is never an error; it means the default.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::client_address::base_url;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::views::application::objects::ObjectList;
use crate::views::objects::{Links, ListMeta, Pagination};

const SIZE_DEFAULT: u32 = 25;
const SIZE_MAX: u32 = 100;
/// The query parameters that filter lists.
const FILTERS: [&str; 6] = ["user", "owner", "server", "kind", "state", "path"];

/// The characters that are percent-encoded in the value of a query parameter.
pub(crate) const QUERY_VALUE: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The page of a list that a request selects, with the URL for the links to other pages.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The number of the page; the first one is 1.
    number: u64,
    /// The largest number of entries on a page.
    size: u32,
    /// The absolute URL of the list, with its filters, up to the parameter `page`.
    url: String,
}

impl FromRequest for Page {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::from_http(request))
    }
}

impl Page {
    fn from_http(request: &HttpRequest) -> Result<Self, ApiError> {
        let state = request
            .app_data::<web::Data<ApiState>>()
            .ok_or(ApiError::Internal)?;
        let base_url = base_url(request, &state.options);
        let url = format!("{base_url}{}", request.path());
        Ok(Self::from_query(&url, request.query_string()))
    }

    /// Returns the page that a query selects of the list at `url`.
    pub(crate) fn from_query(url: &str, query: &str) -> Self {
        let (number, size) = number_and_size(query);
        Self {
            number,
            size,
            url: format!("{url}?{}", filter_parameters(query)),
        }
    }

    /// Returns the largest number of entries on the page.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Returns the number of entries on the pages before this one.
    pub(crate) fn offset(&self) -> u64 {
        offset(self.number, self.size)
    }

    /// Returns the entries of this page from a list that is in memory as a whole.
    pub(crate) fn slice<'a, T>(&self, all: &'a [T]) -> &'a [T] {
        let from = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        let rest = all.get(from..).unwrap_or_default();
        rest.get(..self.size as usize).unwrap_or(rest)
    }

    /// Returns the list object with the entries of this page, out of `total` entries.
    pub(crate) fn list<T>(&self, total: u64, entries: impl Iterator<Item = T>) -> ObjectList<T> {
        let data: Vec<T> = entries.collect();
        let pagination = self.pagination(total, data.len());
        ObjectList {
            object: "list",
            data,
            meta: ListMeta { pagination },
        }
    }

    /// Returns the `pagination` object of this page, which shows `count` out of `total` entries.
    pub(crate) fn pagination(&self, total: u64, count: usize) -> Pagination {
        let pages = total.div_ceil(u64::from(self.size)).max(1);
        let url = |number: u64| format!("{}page={number}&per_page={}", self.url, self.size);
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

/// Reads `page` and `per_page` from a query.
fn number_and_size(query: &str) -> (u64, u32) {
    let (mut number, mut size) = (1, SIZE_DEFAULT);
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    for (name, value) in pairs {
        match name.as_str() {
            "page" => number = digits(&value).unwrap_or(1).max(1),
            "per_page" => {
                let wanted = digits(&value).unwrap_or(u64::from(SIZE_DEFAULT)).max(1);
                size = u32::try_from(wanted).unwrap_or(SIZE_MAX).min(SIZE_MAX);
            }
            _ => {}
        }
    }
    (number, size)
}

fn offset(number: u64, size: u32) -> u64 {
    (number - 1).saturating_mul(u64::from(size))
}

/// Returns the filters of a query, to be repeated in the links to other pages.
fn filter_parameters(query: &str) -> String {
    let mut parameters = String::new();
    for name in FILTERS {
        if let Some(value) = query_value(query, name) {
            let value = percent_encode(&value, &QUERY_VALUE);
            parameters.push_str(&format!("{name}={value}&"));
        }
    }
    parameters
}

/// Returns the decoded bytes of a query parameter. Names of files may not be valid UTF-8.
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

/// Parses decimal digits, with spaces around them. A number that is too large is clamped.
fn digits(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The database counts up to this number.
    let most = i64::MAX.unsigned_abs();
    Some(text.parse().unwrap_or(most).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_values_mean_the_default_and_large_ones_are_clamped() {
        for (query, number, size) in [
            ("", 1, 25),
            ("page=3&per_page=10", 3, 10),
            ("page=0&per_page=0", 1, 1),
            ("page=-1&per_page=-5", 1, 25),
            ("page=x&per_page=1e3", 1, 25),
            ("page=+2&per_page=1000", 2, 100),
            ("page=%202%20&per_page=", 2, 25),
            ("page=99999999999999999999999", i64::MAX.unsigned_abs(), 25),
            ("page=18446744073709551615", i64::MAX.unsigned_abs(), 25),
            ("%%%=&&", 1, 25),
        ] {
            assert_eq!(number_and_size(query), (number, size), "{query}");
        }
        assert_eq!(offset(i64::MAX.unsigned_abs(), 25), u64::MAX);
    }
}
