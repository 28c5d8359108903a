//! The log of this node, newest first, with a filter.

use super::{Ctx, Shell, page};
use crate::error::PageResult;
use crate::words::count;
use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

/// Lines a page shows; the download has them all.
const SHOWN: usize = 300;
/// Lines of a crashed run a page shows.
const LAST: usize = 60;
/// A longer line is cut on the page.
const WIDEST: usize = 2000;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    shell: Shell,
    filter: String,
    last_words: Option<String>,
    lines: LinesPart,
}

#[derive(Template)]
#[template(path = "part_log.html")]
struct LinesPart {
    /// Where newer ones are.
    more: String,
    lines: Vec<Line>,
    summary: String,
    /// Said where there is no line.
    empty: &'static str,
    mark: String,
}

/// A line, coloured by its level.
struct Line {
    class: &'static str,
    text: String,
}

impl Line {
    fn new(line: &str) -> Self {
        let has = |level: &str| line.split_whitespace().take(4).any(|word| word == level);
        let class = match () {
            () if has("ERROR") => "bad",
            () if has("WARN") => "warn",
            () => "",
        };
        Self { class, text: line.chars().take(WIDEST).collect() }
    }
}

/// The last lines of a long text.
fn the_end(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(LAST);
    let kept = lines.get(skipped..).unwrap_or_default().iter();
    let kept: Vec<String> = kept.map(|l| l.chars().take(WIDEST).collect()).collect();
    let before = if skipped > 0 { "(more in the download)\n" } else { "" };
    format!("{before}{}", kept.join("\n"))
}

/// Those of `lines` that have every word of the filter, capital or small.
fn matching<'a>(lines: &'a [String], filter: &str) -> Vec<&'a String> {
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let fits = |line: &&String| {
        let line = line.to_lowercase();
        words.iter().all(|w| line.contains(w.as_str()))
    };
    if words.is_empty() { lines.iter().collect() } else { lines.iter().filter(fits).collect() }
}

fn newest(ctx: &Ctx) -> LinesPart {
    let all = ctx.app.ports.journal.recent();
    let filter: String = ctx.query.first("q").chars().take(200).collect();
    let found = matching(&all, &filter);
    let lines: Vec<Line> = found.iter().rev().take(SHOWN).map(|l| Line::new(l)).collect();
    let mut hasher = blake3::Hasher::new();
    for line in &lines {
        hasher.update(line.text.as_bytes());
        hasher.update(b"\n");
    }
    let mark: String = hasher.finalize().to_hex().chars().take(16).collect();
    let more = format!("/log/lines?q={}&have={mark}", crate::gate::encode(&filter));
    let summary = match (lines.len(), found.len(), all.len()) {
        (shown, fit, _) if shown < fit => {
            format!("{shown} of {}; the download has all.", count(fit, "line"))
        }
        (_, fit, all) if fit < all => format!("{} of {all}.", count(fit, "line")),
        (_, _, all) => format!("{}.", count(all, "line")),
    };
    let empty =
        if all.is_empty() { "Nothing was logged yet." } else { "No line has all of these words." };
    LinesPart { more, lines, summary, empty, mark }
}

pub(crate) async fn show(ctx: Ctx) -> PageResult {
    let lines = newest(&ctx);
    let last_words = ctx.app.ports.journal.last_words().map(|words| the_end(&words));
    let filter = ctx.query.first("q").chars().take(200).collect();
    page(&LogPage { shell: ctx.shell("Log", "more"), filter, last_words, lines })
}

/// The lines alone, for a page that is open; nothing when it has them.
pub(crate) async fn lines(ctx: Ctx) -> PageResult {
    let part = newest(&ctx);
    if ctx.query.first("have") == part.mark {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    page(&part)
}

/// Everything there is, as a file.
pub(crate) async fn text(ctx: Ctx) -> Response {
    let mut text = String::new();
    if let Some(words) = ctx.app.ports.journal.last_words() {
        text.push_str("--- the end of the run before, which crashed ---\n");
        text.push_str(words.trim_end());
        text.push_str("\n--- this run ---\n");
    }
    for line in ctx.app.ports.journal.recent() {
        text.push_str(&line);
        text.push('\n');
    }
    let node = super::node_name(&ctx.snapshot());
    let head = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"bramble-{node}.log.txt\"")),
    ];
    (head, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_be_there() {
        let lines = ["WARN vrrp: backup".to_owned(), "INFO vrrp: master".to_owned()];
        assert_eq!(matching(&lines, "  "), [&lines[0], &lines[1]]);
        assert_eq!(matching(&lines, "Master VRRP"), [&lines[1]]);
        assert!(matching(&lines, "x").is_empty());
    }

    #[test]
    fn the_end_of_a_long_text_is_its_last_lines() {
        assert_eq!(the_end("a\nb\n"), "a\nb");
        let long = (0..1000).map(|n| format!("{n}\n")).collect::<String>();
        let end = the_end(&long);
        assert!(end.starts_with("(more in the download)\n940\n") && end.ends_with("\n999"));
    }
}
