//! Reads Rust source as far as it takes to see which paths it names.

use std::iter::Peekable;
use std::str::Chars;

/// A path in the text: `crate::tensor::Tensor`, or a single word.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) line: usize,
    pub(super) path: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Other(char),
}

/// All paths, those of `use a::{b, c::d}` written out; comments, texts and characters are none.
pub(super) fn scan(text: &str) -> Vec<Found> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at].1 {
            Token::Word(_) => at = path(&tokens, at, &[], &mut found),
            _ => at += 1,
        }
    }
    found
}

/// Reads the path that begins at `at`, behind `prefix`; gives where it is over.
fn path(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Found>,
) -> usize {
    let mut path = prefix.to_vec();
    let line = tokens[at].0;
    while let Some((_, Token::Word(word))) = tokens.get(at) {
        path.push(word.clone());
        at += 1;
        if tokens.get(at).map(|(_, token)| token) != Some(&Token::Path) {
            break;
        }
        at += 1;
        if tokens.get(at).map(|(_, token)| token) == Some(&Token::Other('{')) {
            return list(tokens, at + 1, &path, found);
        }
    }
    found.push(Found { line, path });
    at
}

/// Reads the rest of `{a, b::c}`; gives where it is over.
fn list(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Found>,
) -> usize {
    while let Some((_, token)) = tokens.get(at) {
        match token {
            // The new name is none of a module's.
            Token::Word(word) if word == "as" => at += 2,
            Token::Word(_) => at = path(tokens, at, prefix, found),
            Token::Other('}') => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// Words and punctuation with their lines.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut reader = Reader { chars: text.chars().peekable(), line: 1 };
    while let Some(c) = reader.next() {
        let line = reader.line;
        let token = match c {
            '/' if reader.chars.peek() == Some(&'/') => {
                while reader.chars.peek().is_some_and(|&c| c != '\n') {
                    reader.next();
                }
                continue;
            }
            '/' if reader.chars.peek() == Some(&'*') => {
                reader.block_comment();
                continue;
            }
            '"' => {
                reader.text();
                continue;
            }
            '\'' => {
                reader.character();
                continue;
            }
            ':' if reader.chars.peek() == Some(&':') => {
                reader.next();
                Token::Path
            }
            c if is_word(c) => match reader.word(c) {
                Some(word) => Token::Word(word),
                None => continue,
            },
            c if c.is_whitespace() => continue,
            c => Token::Other(c),
        };
        tokens.push((line, token));
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Comments nest.
    fn block_comment(&mut self) {
        let (mut depth, mut last) = (0, '/');
        while let Some(c) = self.next() {
            match (last, c) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    last = c;
                    continue;
                }
            }
            if depth == 0 {
                return;
            }
            last = ' ';
        }
    }

    /// The rest of a text, its quote read.
    fn text(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => drop(self.next()),
                '"' => return,
                _ => {}
            }
        }
    }

    /// The rest of a raw text with so many `#`, its quote read.
    fn raw_text(&mut self, hashes: usize) {
        let mut n = None;
        while let Some(c) = self.next() {
            n = match (c, n) {
                ('"', _) => Some(0),
                ('#', Some(n)) => Some(n + 1),
                _ => None,
            };
            if n == Some(hashes) {
                return;
            }
        }
    }

    /// The rest of a character or of a lifetime, its quote read.
    fn character(&mut self) {
        match self.next() {
            Some('\\') => {
                self.next();
                while self.next().is_some_and(|c| c != '\'') {}
            }
            Some(_) if self.chars.peek() == Some(&'\'') => drop(self.next()),
            _ => {
                while self.chars.peek().copied().is_some_and(is_word) {
                    self.next();
                }
            }
        }
    }

    /// A word that begins with `first`; `None` if it was the prefix of a text.
    fn word(&mut self, first: char) -> Option<String> {
        let mut word = String::from(first);
        while let Some(&c) = self.chars.peek().filter(|c| is_word(**c)) {
            word.push(c);
            self.next();
        }
        let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
        match self.chars.peek() {
            Some('#') if is_raw => {
                let mut hashes = 0;
                while self.chars.peek() == Some(&'#') {
                    self.next();
                    hashes += 1;
                }
                // `r#type` is a word.
                if self.chars.peek() != Some(&'"') {
                    return Some(word);
                }
                self.next();
                self.raw_text(hashes);
                None
            }
            Some('"') if is_raw => {
                self.next();
                self.raw_text(0);
                None
            }
            Some('"') if matches!(word.as_str(), "b" | "c") => {
                self.next();
                self.text();
                None
            }
            _ => Some(word),
        }
    }
}
