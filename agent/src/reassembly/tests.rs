use proptest::prelude::*;

use super::*;
use crate::event::Withheld;

/// Inserts a run, and gives what can be read now.
fn put(stream: &mut Stream, sequence: u32, bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    if let Inserted::Next(next) = stream.insert(sequence, bytes, 0) {
        all.extend_from_slice(next);
        stream.remember(next);
    }
    while let Some(chunk) = stream.read() {
        all.extend_from_slice(&chunk.bytes);
        stream.remember(&chunk.bytes);
    }
    all
}

#[test]
fn segments_in_order_are_read_at_once() {
    let mut stream = Stream::starting_at(100);
    assert_eq!(put(&mut stream, 100, b"ab"), b"ab");
    assert_eq!(put(&mut stream, 102, b"cd"), b"cd");
    assert_eq!(stream.position(), 4);
}

#[test]
fn a_hole_holds_back_what_follows_until_it_is_filled() {
    let mut stream = Stream::starting_at(100);
    assert_eq!(put(&mut stream, 104, b"ef"), b"");
    assert_eq!(put(&mut stream, 102, b"cd"), b"");
    assert_eq!(stream.missing(), 2);
    assert_eq!(put(&mut stream, 100, b"ab"), b"abcdef");
    assert_eq!(stream.missing(), 0);
}

#[test]
fn a_retransmission_is_a_duplicate() {
    let mut stream = Stream::starting_at(0);
    assert_eq!(stream.insert(0, b"abcd", 0), Inserted::Next(b"abcd"));
    assert_eq!(stream.insert(0, b"abcd", 0), Inserted::Duplicate);
    assert_eq!(stream.insert(2, b"cd", 0), Inserted::Duplicate);
    assert_eq!(stream.insert(2, b"cdef", 0), Inserted::Next(b"ef"));
}

#[test]
fn where_runs_overlap_the_first_copy_wins() {
    let mut stream = Stream::starting_at(0);
    put(&mut stream, 2, b"cd");
    put(&mut stream, 2, b"XXef");
    assert_eq!(put(&mut stream, 0, b"ab"), b"abcdef");

    let mut stream = Stream::starting_at(0);
    assert_eq!(put(&mut stream, 0, b"ab"), b"ab");
    assert_eq!(put(&mut stream, 0, b"XXcd"), b"cd");
    assert!(stream.is_conflicting());
}

#[test]
fn copies_that_differ_are_noticed_wherever_the_first_one_is() {
    // Read already, and held.
    for first in [0, 4] {
        for (second, bytes, conflicts) in [
            (first, &b"abcd"[..], false),
            (first, b"abXd", true),
            (first + 1, b"bcd", false),
            (first + 2, b"Xd", true),
            (first + 3, b"dXX", false),
        ] {
            let mut stream = Stream::starting_at(0);
            put(&mut stream, first, b"abcd");
            put(&mut stream, second, bytes);
            assert_eq!(stream.is_conflicting(), conflicts, "{first} {second} {bytes:?}");
        }
    }
}

#[test]
fn a_keep_alive_probe_is_no_conflict() {
    let mut stream = Stream::starting_at(0);
    put(&mut stream, 0, b"abcd");
    assert_eq!(stream.insert(3, b"\0", 0), Inserted::Duplicate);
    assert!(!stream.is_conflicting());
}

#[test]
fn sequence_numbers_wrap() {
    let mut stream = Stream::starting_at(u32::MAX - 1);
    put(&mut stream, 2, b"ef");
    assert_eq!(put(&mut stream, u32::MAX - 1, b"abcd"), b"abcdef");
    assert_eq!(stream.offset_of(4), 6);
}

#[test]
fn bytes_before_the_beginning_are_not_part_of_the_stream() {
    let mut stream = Stream::starting_at(100);
    assert_eq!(put(&mut stream, 98, b"xxab"), b"ab");
    assert_eq!(stream.offset_of(90), 0);
}

#[test]
fn a_mid_stream_start_begins_with_what_comes_first() {
    let mut stream = Stream::default();
    assert_eq!(put(&mut stream, 5000, b"ab"), b"ab");
}

#[test]
fn withheld_bytes_are_said_to_be_missing_and_can_be_passed_over() {
    let mut stream = Stream::starting_at(0);
    assert_eq!(put(&mut stream, 0, b"ab"), b"ab");
    stream.withhold(2, 10, Withheld::Budget);
    assert_eq!(stream.withheld_for(), Some(Withheld::Budget));
    assert_eq!(stream.missing(), 10);
    stream.skip(10);
    assert_eq!(stream.withheld_for(), None);
    assert_eq!(put(&mut stream, 12, b"mn"), b"mn");
}

#[test]
fn withheld_bytes_behind_others_that_were_passed_over_are_missing_too() {
    let mut stream = Stream::starting_at(0);
    stream.withhold(0, 4, Withheld::Budget);
    stream.skip(4);
    assert_eq!(put(&mut stream, 4, b"ef"), b"ef");
    stream.withhold(6, 3, Withheld::Cut);
    assert_eq!((stream.missing(), stream.withheld_for()), (3, Some(Withheld::Cut)));
}

#[test]
fn a_hostile_sender_cannot_make_it_hold_more_than_its_bounds() {
    let mut stream = Stream::starting_at(0);
    for run in 0..10_000u32 {
        stream.insert(2 + run * 2, b"x", 0);
    }
    assert!(stream.held.len() <= MAX_HELD_RUNS);
    assert_eq!(stream.refused(), 10_000 - MAX_HELD_RUNS as u64);

    let mut stream = Stream::starting_at(0);
    let large = [0u8; 60_000];
    for run in 1..10u32 {
        stream.insert(run * 60_000, &large, 0);
    }
    assert!(stream.held_bytes <= MAX_HELD_BYTES);
    assert!(stream.refused() > 0);
}

proptest! {
    /// Any cutting, order and repetition of a text gives the text.
    #[test]
    fn any_order_of_any_pieces_gives_the_text(
        base in any::<u32>(),
        length in 1usize..400,
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 1usize..80), 1..60),
    ) {
        let all: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let mut stream = Stream::starting_at(base);
        let mut seen = Vec::new();
        for (start, size) in pieces {
            let start = start.index(length);
            let end = (start + size).min(length);
            seen.extend(put(&mut stream, base.wrapping_add(start as u32), &all[start..end]));
        }
        prop_assert_eq!(&seen[..], &all[..seen.len()]);
        for start in 0..length {
            seen.extend(put(&mut stream, base.wrapping_add(start as u32), &all[start..=start]));
        }
        prop_assert_eq!(seen, all);
        prop_assert!(!stream.is_conflicting());
        prop_assert_eq!(stream.held_bytes, stream.held.values().map(|chunk| chunk.bytes.len()).sum::<usize>());
    }
}

#[test]
fn who_says_next_to_nothing_takes_next_to_no_memory() {
    let mut stream = Stream::starting_at(0);
    put(&mut stream, 0, b"a few bytes");
    assert!(stream.remembered.bytes.capacity() < 64, "{}", stream.remembered.bytes.capacity());
    put(&mut stream, 11, b"and more");
    assert_eq!(stream.remembered.bytes.capacity(), REMEMBERED_FIRST);
}
