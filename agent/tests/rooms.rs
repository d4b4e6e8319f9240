//! The rooms of the agent keep their order and their borders.
//!
//! Data flows one way, in the order in which `src/lib.rs` declares the rooms. A room that uses a later
//! one could decide by what has not happened yet, and neither could be read or tested alone.

#![expect(clippy::unwrap_used, reason = "a test program; clippy's exemption covers test functions only")]

use std::fs;
use std::path::{Path, PathBuf};

/// The one room that may hold `unsafe`: it talks to the kernel.
const UNSAFE_ROOM: &str = "kernel";

/// One source file of a room, without its comments.
struct Source {
    path: PathBuf,
    /// How many `super::` lead from the file's top to the crate's root.
    depth: usize,
    text: String,
}

#[test]
fn no_room_uses_a_later_one() {
    let rooms = rooms();
    let mut faults = Vec::new();
    for (position, room) in rooms.iter().enumerate() {
        for source in sources(room) {
            for used in used_rooms(&source) {
                if rooms.iter().position(|name| *name == used) > Some(position) {
                    faults.push(format!("{} uses {used}, which comes after {room}", source.path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn unsafe_stays_in_its_room() {
    let faults: Vec<String> = rooms()
        .iter()
        .filter(|room| *room != UNSAFE_ROOM)
        .flat_map(|room| sources(room))
        .filter(|source| words(&source.text).any(|word| word == "unsafe"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(faults.is_empty(), "unsafe code outside {UNSAFE_ROOM}: {}", faults.join(", "));
}

#[test]
fn every_form_of_use_is_found() {
    let found =
        |depth, text: &str| used_rooms(&Source { path: PathBuf::new(), depth, text: text.to_owned() });
    assert_eq!(found(1, "use crate::tls::TlsFacts;"), ["tls"]);
    assert_eq!(found(1, "fn f(x: crate::tls::Y) -> crate::record::Z"), ["tls", "record"]);
    assert_eq!(
        found(1, "use crate::{event, tls::{self, config::A},\n kernel::B};"),
        ["event", "tls", "kernel"]
    );
    assert_eq!(found(1, "use super::api::Hub;"), ["api"]);
    assert_eq!(found(2, "use super::super::api::Hub;"), ["api"]);
    assert_eq!(found(2, "use super::records;"), [""; 0], "a sibling, no room");
    assert_eq!(found(1, "pub(crate) fn f()"), [""; 0]);
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms, in data-flow order.
fn rooms() -> Vec<String> {
    let text = fs::read_to_string(source_folder().join("lib.rs")).unwrap();
    let rooms: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert!(rooms.len() > 2, "no rooms in lib.rs: {rooms:?}");
    rooms
}

fn sources(room: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let single = source_folder().join(format!("{room}.rs"));
    if single.exists() {
        sources.push(read(single, 1));
    }
    let folder = source_folder().join(room);
    if folder.exists() {
        collect(&folder, 1, &mut sources);
    }
    assert!(!sources.is_empty(), "the room {room} has no source");
    sources
}

fn collect(folder: &Path, depth: usize, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, depth + 1, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_mod = path.file_name().is_some_and(|name| name == "mod.rs");
            sources.push(read(path, if is_mod { depth } else { depth + 1 }));
        }
    }
}

fn read(path: PathBuf, depth: usize) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    // Links in documentation may point forward.
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let text = code.collect::<Vec<_>>().join("\n");
    Source { path, depth, text }
}

/// First segments of all paths from the crate's root.
fn used_rooms(source: &Source) -> Vec<String> {
    let to_root = "super::".repeat(source.depth);
    let mut used = Vec::new();
    for prefix in ["crate::", to_root.as_str()] {
        for (start, _) in source.text.match_indices(prefix) {
            let before = source.text[..start].chars().next_back();
            if !before.is_some_and(|character| is_word(character) || character == ':') {
                used.extend(first_segments(&source.text[start + prefix.len()..]));
            }
        }
    }
    used
}

/// `tls::X…` → tls; `{event, tls::{A, B}}` → event, tls.
fn first_segments(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else {
        return vec![leading_word(text)];
    };
    let mut depth = 0;
    let mut items = vec![String::new()];
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(character);
        }
    }
    items.iter().map(|item| leading_word(item.trim_start())).collect()
}

/// Empty for `*`.
fn leading_word(text: &str) -> String {
    text.chars().take_while(|character| is_word(*character)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character| !is_word(character)).filter(|word| !word.is_empty())
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
