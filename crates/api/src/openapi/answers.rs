//! The error answers that many endpoints have in common.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

/// The error answers of endpoints that need a key.
pub(crate) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_responses(&[
            (
                "400",
                "The request is malformed, or the state of the backup does not allow it",
            ),
            ("401", "The key is missing or invalid"),
            ("403", "The key does not permit this"),
            (
                "404",
                "There is no such object, or the key has no access to it",
            ),
            ("405", "The path does not support this method"),
            (
                "409",
                "The state of the server or of a related object does not allow this",
            ),
            ("413", "The body is too large"),
            (
                "422",
                "Fields are invalid; one error for each violated rule",
            ),
            (
                "429",
                "Too many requests, or too many backups, in a short time",
            ),
            ("500", "An internal error of the service"),
            (
                "503",
                "The database or a disk is unavailable; `Retry-After` says when to try again",
            ),
            (
                "507",
                "Not enough space for a backup, on its disk or in the server's quota",
            ),
        ])
    }
}

/// The error answers of downloads by link.
pub(crate) struct LinkRefusals;

impl IntoResponses for LinkRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_responses(&[
            (
                "403",
                "The link is invalid or has expired, or its key was revoked",
            ),
            ("404", "The backup no longer exists"),
            ("405", "The path does not support this method"),
            ("412", "The condition of an `If-…` header is not met"),
            ("416", "The range is outside the archive"),
            ("500", "An internal error of the service"),
            ("503", "The database or the disk is unavailable"),
        ])
    }
}

fn error_responses(list: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let content = || {
        ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Errors")))
            .build()
    };
    list.iter()
        .map(|(status, description)| {
            let response = ResponseBuilder::new()
                .description(*description)
                .content("application/json", content())
                .build();
            ((*status).to_owned(), RefOr::T(response))
        })
        .collect()
}
