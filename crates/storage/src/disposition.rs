//! What a bucket's server is to say of a download's name.

/// Writes the header `Content-Disposition` of a download named `file_name`.
pub(crate) fn disposition(file_name: &str) -> String {
    // A quote or a line's end would break out of the header that the server sends.
    let file_name: String = file_name
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ';'))
        .collect();
    format!("attachment; filename=\"{file_name}\"")
}
