//! Parses one line of an ignore list, as git parses a line of `.gitignore`.

use super::glob::{Token, tokens, write_name};
use super::{MAX_PATTERN_BYTES, MAX_WILDCARDS};

/// A parsed pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Whether it starts with `!` and includes entries again.
    pub(super) negated: bool,
    /// Whether it has a slash at its start or inside, and so matches from the root.
    pub(super) anchored: bool,
    /// Whether its last part is `*` or `**`.
    pub(super) ends_in_star: bool,
    /// Whether it ends in a slash, and so matches folders only.
    pub(super) folders_only: bool,
    /// The paths that it matches; none if git matches nothing.
    pub(super) paths: Vec<Vec<Step>>,
}

/// A folder or the entry at the end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Whether any number of other folders may come before it.
    pub(super) after_folders: bool,
    /// The glob of its name; `None` matches every name.
    pub(super) glob: Option<String>,
}

impl Pattern {
    /// Parses a line. Returns `None` for blank lines and comments.
    ///
    /// # Errors
    /// The limit that the pattern exceeds.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let mut text = trim_trailing_spaces(line);
        let negated = text.starts_with('!');
        if negated {
            text = &text[1..];
        }
        check_limits(text)?;
        let folders_only = text.ends_with('/');
        text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(None);
        }
        let anchored = text.contains('/');
        let last = text.rsplit('/').next().unwrap_or(text);
        let ends_in_star = last.bytes().all(|byte| byte == b'*');
        let relative = text.strip_prefix('/').unwrap_or(text);
        let paths = match tokens(relative, anchored) {
            Some(tokens) => paths(tokens, anchored),
            None => Vec::new(),
        };
        Ok(Some(Self {
            negated,
            anchored,
            ends_in_star,
            folders_only,
            paths,
        }))
    }
}

/// Splits a pattern at its slashes. The result has two paths if `**` follows the start of a name,
/// as in `a**/b`: there it is a star in that name, or that star and folders.
fn paths(tokens: Vec<Token>, anchored: bool) -> Vec<Vec<Step>> {
    let mut open = vec![Path::new(!anchored)];
    for token in tokens {
        match token {
            Token::Slash => open.iter_mut().for_each(Path::end_name),
            Token::Folders | Token::Everything => {
                let mut through_folders = Vec::new();
                for path in &mut open {
                    let mut longer = path.clone();
                    if !longer.name.is_empty() {
                        longer.name.push(Token::Star);
                        longer.end_name();
                    }
                    longer.after_folders = true;
                    if token == Token::Everything {
                        longer.name.push(Token::Star);
                    }
                    if path.name.is_empty() {
                        *path = longer;
                        continue;
                    }
                    if !through_folders.contains(&longer) {
                        through_folders.push(longer);
                    }
                    if token == Token::Everything {
                        path.name.push(Token::Star);
                    }
                }
                through_folders.retain(|path| !open.contains(path));
                open.append(&mut through_folders);
            }
            other => {
                for path in &mut open {
                    path.name.push(other.clone());
                }
            }
        }
    }
    open.iter_mut().for_each(Path::end_name);
    open.retain(|path| !path.is_dead);
    open.into_iter().map(|path| path.steps).collect()
}

/// A path that is being read.
#[derive(Clone, PartialEq, Eq)]
struct Path {
    steps: Vec<Step>,
    after_folders: bool,
    name: Vec<Token>,
    /// Whether a name is empty, as in `a//b`. No path has such a name.
    is_dead: bool,
}

impl Path {
    fn new(after_folders: bool) -> Self {
        Self {
            steps: Vec::new(),
            after_folders,
            name: Vec::new(),
            is_dead: false,
        }
    }

    fn end_name(&mut self) {
        let name = std::mem::take(&mut self.name);
        self.is_dead |= name.is_empty();
        let matches_all = name.iter().all(|token| *token == Token::Star);
        self.steps.push(Step {
            after_folders: std::mem::take(&mut self.after_folders),
            glob: (!matches_all).then(|| write_name(&name)),
        });
    }
}

fn check_limits(text: &str) -> Result<(), String> {
    let is_wildcard = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    if text.len() > MAX_PATTERN_BYTES {
        Err(format!("it is longer than {MAX_PATTERN_BYTES} bytes"))
    } else if text.bytes().filter(is_wildcard).count() > MAX_WILDCARDS {
        Err(format!("it has more than {MAX_WILDCARDS} wildcards"))
    } else if text.contains('\0') {
        Err("it holds a NUL byte".to_owned())
    } else {
        Ok(())
    }
}

/// Removes trailing spaces that are not escaped, as git does.
fn trim_trailing_spaces(line: &str) -> &str {
    let mut end = None;
    let mut bytes = line.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b' ' => {
                end.get_or_insert(at);
            }
            b'\\' => {
                if bytes.next().is_none() {
                    return line;
                }
                end = None;
            }
            _ => end = None,
        }
    }
    &line[..end.unwrap_or(line.len())]
}
