//! Rules of the house that no compiler checks: which crate may call which, and which syntax the
//! oldest supported compiler would refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken rule is a failed test")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The table of ARCHITECTURE.md: whom of ours a crate may depend on.
const SUBSYSTEMS: [&str; 11] = [
    "store", "init", "network", "vrrp", "proxy", "server", "mirror", "cluster", "firmware",
    "board", "journal",
];

fn allowed(from: &str, to: &str, kind: &str) -> bool {
    if to == "noise" {
        return kind == "dev";
    }
    match from {
        "bramble" => !["bench", "lab", "emulator"].contains(&to) || kind == "dev",
        "model" | "noise" => false,
        "imagetool" => to == "firmware" || to == "model",
        "emulator" => to == "lab" || (to == "firmware" && kind == "dev"),
        "replica" | "lab" => to == "model",
        "control" => to == "model" || to == "replica",
        "webui" => to == "model" || to == "control",
        "bench" => ["model", "control", "proxy"].contains(&to),
        subsystem if SUBSYSTEMS.contains(&subsystem) => to == "model" || to == "control",
        // A crate nobody has drawn into the table yet.
        _ => false,
    }
}

/// Outside crates that would undo what a room is for.
fn allowed_outside(from: &str, to: &str, kind: &str) -> bool {
    match from {
        // Pure: no I/O, no threads, no runtime.
        "model" => !["tokio", "nix", "libc", "rustix", "socket2"].contains(&to) || kind == "dev",
        "bramble" | "lab" | "imagetool" | "emulator" => true,
        // Errors have types everywhere but in the composition root.
        _ => to != "anyhow" && to != "openssl" && (from == "store" || to != "rusqlite"),
    }
}

fn dependencies() -> BTreeMap<String, BTreeSet<(String, String)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |v: &Value| v.as_str().map(str::to_owned);
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let uses = package["dependencies"].as_array().unwrap().iter().map(|d| {
                (text(&d["name"]).unwrap(), text(&d["kind"]).unwrap_or_else(|| "normal".into()))
            });
            (text(&package["name"]).unwrap(), uses.collect())
        })
        .collect()
}

#[test]
fn crates_call_downwards_only() {
    let all = dependencies();
    let ours: BTreeSet<&String> = all.keys().collect();
    for name in ["bramble", "model", "replica", "control", "webui", "lab"].iter().chain(&SUBSYSTEMS)
    {
        assert!(all.contains_key(*name), "{name} is in the table and not in the workspace");
    }
    let mut wrong = Vec::new();
    for (from, uses) in &all {
        for (to, kind) in uses {
            let good = if ours.contains(to) {
                allowed(from, to, kind)
            } else {
                allowed_outside(from, to, kind)
            };
            if !good {
                wrong.push(format!("{from} -> {to} ({kind})"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that ARCHITECTURE.md does not draw:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_refuses_what_it_is_there_for() {
    for (from, to) in
        [("proxy", "vrrp"), ("webui", "store"), ("model", "control"), ("new", "model")]
    {
        assert!(!allowed(from, to, "normal"), "{from} -> {to}");
    }
    assert!(!allowed("bramble", "lab", "normal"));
    assert!(allowed("bramble", "lab", "dev"));
    assert!(!allowed("proxy", "noise", "normal"));
    assert!(allowed("proxy", "noise", "dev"));
}

/// Where `source` chains `let` with `&&`, which Rust 1.85 refuses in this edition too.
fn let_chains(source: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let text = blank_literals(source);
    let line_of = |at: usize| text.get(..at).map_or(0, |t| t.matches('\n').count() + 1);
    for keyword in ["if let ", "while let "] {
        for (start, _) in text.match_indices(keyword) {
            let mut depth = 0_i32;
            for (offset, c) in text.get(start..).unwrap_or_default().char_indices() {
                match c {
                    '(' | '[' => depth += 1,
                    ')' | ']' => depth -= 1,
                    '{' if depth == 0 && !in_pattern(&text, start, start + offset) => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    '&' if depth == 0 => {
                        let here = start + offset;
                        if text.get(here..here + 3) == Some("&& ") {
                            found.push(line_of(here));
                            break;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    for (at, _) in text.match_indices("&& let ") {
        found.push(line_of(at));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Before the `=` of an `if let`, braces belong to the pattern.
fn in_pattern(text: &str, start: usize, here: usize) -> bool {
    !text.get(start..here).is_some_and(|t| t.contains(" = ") || t.contains(" =\n"))
}

/// The same text with strings, characters and line comments blanked, byte for byte.
fn blank_literals(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if byte == b'"' {
            let mut end = 1;
            while let Some(b) = rest.get(end) {
                end += if *b == b'\\' { 2 } else { 1 };
                if *b == b'"' {
                    break;
                }
            }
            end.min(rest.len())
        } else if byte == b'\'' && rest.get(2) == Some(&b'\'') {
            3
        } else if rest.starts_with(b"'\\") {
            rest.iter().skip(2).position(|b| *b == b'\'').map_or(rest.len(), |p| p + 3)
        } else {
            0
        };
        if length == 0 {
            out.push(byte);
            at += 1;
        } else {
            let blank = rest.iter().take(length).map(|b| if *b == b'\n' { b'\n' } else { b'_' });
            out.extend(blank);
            at += length;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|x| x == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_let_chains() {
    let mut files = Vec::new();
    for part in ["appliance", "webui", "tests"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &mut files);
    }
    assert!(files.len() > 30, "only {} source files found", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        wrong.extend(let_chains(&source).iter().map(|line| format!("{}:{line}", file.display())));
    }
    assert!(wrong.is_empty(), "Rust 1.85 has no let chains:\n{}", wrong.join("\n"));
}

#[test]
fn let_chains_are_recognised() {
    for chained in [
        "fn f() { if let Some(x) = a && x > 1 { } }",
        "fn f() { if a && let Some(x) = b { } }",
        "fn f() { while let Some(x) = it.next()\n        && x { } }",
        "fn f() { if let S { a, .. } = s && a { } }",
    ] {
        assert_eq!(let_chains(chained).len(), 1, "{chained}");
    }
    for plain in [
        "fn f() { if let Some(x) = l.iter().find(|x| x.a && x.b) { } }",
        "fn f() { if let Some(x) = a { if b && c { } } }",
        "fn f() { if let Some(x) = s.strip_prefix(\"{ && \") { a && b; } }",
        "fn f() { if let S { a: '{', .. } = s { x && y; } } // if let Some(x) = a && b {",
    ] {
        assert_eq!(let_chains(plain), [0_usize; 0], "{plain}");
    }
}
