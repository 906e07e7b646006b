//! The header `Content-Disposition` that a bucket's server sends with a download.

/// Returns the header's value for a download named `file_name`.
pub(crate) fn content_disposition(file_name: &str) -> String {
    // A quote or line break would end the value, and could add headers to the server's response.
    let file_name: String = file_name
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ';'))
        .collect();
    format!("attachment; filename=\"{file_name}\"")
}
