//! Generates the page of settings from `config/default.toml`: its sections, and each key with its
//! default and its comment.

/// Returns the page.
pub(super) fn page(settings: &str) -> String {
    let mut page = Page::default();
    for line in settings.lines() {
        page.take(line);
    }
    page.end_paragraphs();
    page.text
}

struct Page {
    text: String,
    /// The comment lines since the last key.
    comment: Vec<String>,
    section: String,
    is_example: bool,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            text: "<!-- Made of config/default.toml by tests/it/guide.rs: change it there. \
                -->\n\n# Settings\n"
                .to_owned(),
            comment: Vec::new(),
            section: String::new(),
            is_example: false,
        }
    }
}

impl Page {
    fn take(&mut self, line: &str) {
        let commented = line.strip_prefix("# ");
        let line = match commented {
            Some(example) if example.starts_with("[storage.disks.") => {
                self.is_example = true;
                example
            }
            Some(example) if self.is_example => example,
            _ => {
                self.is_example = false;
                line
            }
        };
        if let Some(comment) = line.strip_prefix('#') {
            self.comment.push(comment.trim().to_owned());
        } else if let Some(section) = line.strip_prefix('[') {
            self.section = section.trim_end_matches(']').to_owned();
            let what = if self.is_example { ", for example" } else { "" };
            self.text
                .push_str(&format!("\n## `{}`{what}\n", self.section));
            self.end_paragraphs();
        } else if let Some((key, value)) = line.split_once(" = ") {
            let comment = self.comment.join(" ");
            self.comment.clear();
            if self.text.ends_with("\n\n") || !self.text.ends_with("\n") {
                self.text.pop();
            }
            let section = &self.section;
            self.text.push_str(&format!(
                "\n- **`{section}.{key}`** = `{value}`  \n  {comment}\n"
            ));
        } else if line.is_empty() && self.section.is_empty() {
            self.end_paragraphs();
        }
    }

    /// Writes the comments that belong to no key.
    fn end_paragraphs(&mut self) {
        for paragraph in self.comment.split(String::is_empty) {
            if !paragraph.is_empty() {
                self.text.push_str(&format!("\n{}\n", paragraph.join(" ")));
            }
        }
        self.comment.clear();
    }
}
