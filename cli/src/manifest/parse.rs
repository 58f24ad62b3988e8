//! Text to documents: YAML divided by `---` lines, or JSON values one after the other.

use anyhow::{Result, anyhow};
use dunlin_api::decode::{self, DecodeError, Format};
use serde_json::Value;

use super::Source;

/// The documents of a text, each with its place; an error names its own, counted in the file's lines. A malformed YAML document does not spoil the ones after it.
pub(super) fn documents(file: &str, text: &str) -> Vec<(Source, Result<Value>)> {
    // Windows editors leave a mark at the start.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') { json(file, text) } else { yaml(file, text) }
}

fn json(file: &str, text: &str) -> Vec<(Source, Result<Value>)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut documents = Vec::new();
    loop {
        let blanks = text[stream.byte_offset()..].bytes().take_while(u8::is_ascii_whitespace).count();
        let start = stream.byte_offset() + blanks;
        let line = 1 + text[..start].bytes().filter(|byte| *byte == b'\n').count();
        let source = Source { file: file.to_owned(), document: documents.len() + 1, line };
        match stream.next() {
            None => return documents,
            Some(Ok(value)) => documents.push((source, Ok(value))),
            // JSON cannot be resumed after a mistake.
            Some(Err(_)) if documents.is_empty() => {
                // YAML in flow style also starts with a brace.
                return yaml(file, text);
            }
            Some(Err(error)) => {
                let text = error.to_string();
                let bare = text.split(" at line ").next().unwrap_or_default();
                let place = Source { line: error.line(), ..source.clone() };
                let error = anyhow!("error parsing {place}, column {}: invalid JSON: {bare}", error.column());
                documents.push((source, Err(error)));
                return documents;
            }
        }
    }
}

fn yaml(file: &str, text: &str) -> Vec<(Source, Result<Value>)> {
    let mut documents = Vec::new();
    for (first_line, part) in divide(text) {
        let blank = part.lines().take_while(|line| is_blank(line)).count();
        if blank == part.lines().count() {
            continue;
        }
        let source =
            Source { file: file.to_owned(), document: documents.len() + 1, line: first_line + blank };
        let value = yaml_document(part, &source, first_line);
        documents.push((source, value));
    }
    documents
}

/// Parses one document as the server does; nothing of it may be given twice.
fn yaml_document(text: &str, source: &Source, first_line: usize) -> Result<Value> {
    let document = decode::document(text.as_bytes(), Format::Yaml, None).map_err(|error| match error {
        // The parser counts lines from the document's start.
        DecodeError::Syntax { message, line, column } if line > 0 => {
            let bare = message.strip_prefix("yaml: ").unwrap_or(&message);
            let bare = bare.strip_prefix(&format!("line {line}: ")).unwrap_or(bare);
            let place = Source { line: first_line - 1 + line, ..source.clone() };
            // A second place in the message would count from the document's start, too.
            anyhow!(
                "error parsing {place}, column {column}: {}",
                bare.split(", while").next().unwrap_or_default()
            )
        }
        error => anyhow!("error parsing {source}: {error}"),
    })?;
    match document.duplicates.is_empty() {
        true => Ok(document.value),
        false => Err(anyhow!("error parsing {source}: {}", document.duplicates.join(", "))),
    }
}

/// Parts between lines that start with `---`, each with the number of its first line.
fn divide(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let end = offset + line.len();
        if line.starts_with("---") {
            parts.push((first_line, &text[start..offset]));
            // Something may follow the dashes on the same line.
            let inline = line.trim_end().len() > 3;
            (start, first_line) = if inline { (offset, index + 1) } else { (end, index + 2) };
        }
        offset = end;
    }
    parts.push((first_line, &text[start..]));
    parts
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}
