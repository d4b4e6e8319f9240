//! File formats, compression, and several files as one timeline.

use super::build::*;
use super::*;

fn assert_whole(replayed: &Replayed) {
    assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()), "{:?}", replayed.summary);
    assert_eq!(replayed.problems(), []);
}

fn begins_at(replayed: &Replayed) -> u64 {
    replayed.established()[0].at.0
}

#[test]
fn classic_files_of_both_byte_orders_and_resolutions() {
    let packets = on_ethernet(&connection());
    for (big_endian, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
        let replayed = replay(&Pcap { big_endian, nanoseconds, ..Pcap::default() }.write(&packets));
        assert_whole(&replayed);
        assert_eq!(begins_at(&replayed), 1_000_000_000_000 + if nanoseconds { 1 } else { 1_000 });
    }
}

#[test]
fn block_files_of_both_byte_orders_and_several_sections() {
    let packets = on_ethernet(&connection());
    let mut file = Vec::new();
    // Each packet in a section of its own, with byte orders in turn and an interface that is not used.
    for (index, packet) in packets.iter().enumerate() {
        let big_endian = index % 2 == 0;
        file.extend(section(big_endian));
        file.extend(interface(big_endian, 127, &[]));
        file.extend(interface(big_endian, 1, &[]));
        file.extend(block(big_endian, 5, &[0; 12]));
        file.extend(enhanced(big_endian, 1, 7_000_000 + index as u64, packet));
    }
    let replayed = replay(&file);
    assert_whole(&replayed);
    assert_eq!(begins_at(&replayed), 7_000_001_000);
}

#[test]
fn the_offset_of_an_interface_is_read_in_the_byte_order_of_its_section() {
    let option = [&[0, 14, 0, 8][..], &9_i64.to_be_bytes()].concat();
    let mut file = [section(true), interface(true, 1, &option)].concat();
    for packet in on_ethernet(&connection()) {
        file.extend(enhanced(true, 0, 5_000_001, &packet));
    }
    let replayed = replay(&file);
    assert_whole(&replayed);
    assert_eq!(begins_at(&replayed), 14_000_001_000);
}

#[test]
fn time_resolutions_and_offsets_of_interfaces() {
    // if_tsresol (9) and if_tsoffset (14).
    for (option, ticks, expected) in [
        (&[9, 0, 1, 0, 9, 0, 0, 0][..], 5_000_000_123, 5_000_000_123),
        (&[9, 0, 1, 0, 3, 0, 0, 0], 5_001, 5_001_000_000),
        (&[9, 0, 1, 0, 0x8a, 0, 0, 0], 5 * 1024 + 512, 5_500_000_000),
        (&[9, 0, 1, 0, 12, 0, 0, 0], 5_000_000_001_000, 5_000_000_001),
        (&[9, 0, 1, 0, 0x7f, 0, 0, 0], 5_000_001, 5_000_001_000),
        (&[14, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0], 5_000_001, 14_000_001_000),
        (&[14, 0, 8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 5_000_001, 4_000_001_000),
    ] {
        let mut file = [section(false), interface(false, 1, option)].concat();
        for packet in on_ethernet(&connection()) {
            file.extend(enhanced(false, 0, ticks, &packet));
        }
        let replayed = replay(&file);
        assert_whole(&replayed);
        assert_eq!(begins_at(&replayed), expected, "{option:?}");
    }
}

#[test]
fn simple_and_obsolete_packets() {
    let mut file = [section(false), interface(false, 1, &[])].concat();
    for (index, packet) in on_ethernet(&connection()).iter().enumerate() {
        file.extend(if index % 2 == 0 { simple(packet) } else { obsolete(0, 5_000_000, packet) });
    }
    assert_whole(&replay(&file));
}

#[test]
fn a_damaged_block_is_left_out_and_a_long_one_passed_over() {
    let packets = on_ethernet(&connection());
    let mut file = [section(false), interface(false, 1, &[])].concat();
    file.extend(block(false, 0x0000_000a, &vec![0; 3 << 20]));
    for (index, packet) in packets.iter().enumerate() {
        file.extend(enhanced(false, if index == 7 { 9 } else { 0 }, index as u64, packet));
    }
    let replayed = replay(&file);
    assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()));
    assert_eq!(replayed.problems(), [ProblemKind::Skipped("a packet of an unknown interface")]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn compressed_files_of_several_members_and_frames() {
    let file = capture(&connection());
    let (first, second) = file.split_at(100);
    assert_whole(&replay(&gzip(&file)));
    assert_whole(&replay(&[gzip(first), gzip(second)].concat()));
    assert_whole(&replay(&zstd(&file)));
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    assert_whole(&replay(&[&skippable, &zstd(first)[..], &skippable, &zstd(second)].concat()));
}

#[test]
fn what_follows_the_last_member_of_gzip_is_called_what_it_is() {
    let file = capture(&connection());
    for behind in [&b"\n"[..], b"<html>", b"\x1f\x8c", &[0, 0, 7], &[b'x'; 100_000]] {
        let replayed = replay(&[&gzip(&file), behind].concat());
        assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()));
        let problems = replayed.problems();
        let [ProblemKind::Unreadable(words)] = &problems[..] else { panic!("{problems:?}") };
        assert!(words.contains("no further gzip member"), "{words}");
    }
    for padding in [1, 5, 100_000] {
        assert_whole(&replay(&[gzip(&file), vec![0; padding]].concat()));
    }
    // A member that is cut is one.
    for length in [1, 2, 9, 15] {
        let replayed = replay(&[&gzip(&file)[..], &gzip(b"more")[..length]].concat());
        let problems = replayed.problems();
        let [ProblemKind::Unreadable(words)] = &problems[..] else { panic!("{length}: {problems:?}") };
        assert!(words.contains("ends too early"), "{length}: {words}");
    }
}

#[test]
fn what_is_left_out_again_and_again_is_said_once_with_its_count() {
    let packets = on_ethernet(&connection());
    let mut file = section(false);
    file.extend(interface(false, 1, &[]).repeat(5000));
    for index in [0, 4500, 4999] {
        file.extend(enhanced(false, index, 0, &packets[0]));
    }
    let replayed = replay(&file);
    let said: Vec<String> = replayed.summary.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("(too many interfaces)") && said[0].ends_with("at 903 later places"),
        "{said:?}"
    );
    assert!(said[1].contains("an unknown interface") && said[1].ends_with("at one later place"), "{said:?}");
    assert_eq!((replayed.summary.packets, replayed.summary.further_problems), (1, 0));
}

#[test]
fn damaged_compression_is_said_and_what_came_before_is_read() {
    let mut packets = connection();
    for _ in 0..2000 {
        packets.push(segment(true, 6, 8, ACK, b""));
    }
    for compressed in [gzip(&capture(&packets)), zstd(&capture(&packets))] {
        let cut = replay(&compressed[..compressed.len() - 20]);
        assert_eq!(cut.said().0, b"hello");
        assert!(matches!(cut.problems()[..], [ProblemKind::Unreadable(_)]), "{:?}", cut.problems());
    }
    // A window of 2 GiB, which nobody should have to find memory for.
    let huge = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 1, 0, 0];
    let Err(error) = try_replay(&[&huge]) else { panic!("read") };
    assert!(error.to_string().contains("zstd -d --long=31"), "{error}");
}

#[test]
fn what_is_no_capture_is_refused_with_its_name() {
    for bytes in [&b""[..], b"abc", b"GET / HTTP/1.1", &gzip(b"text")] {
        let Err(error) = try_replay(&[bytes]) else { panic!("{bytes:?} was read") };
        assert!(matches!(error, CaptureError::NotACapture { .. }), "{error}");
        assert!(error.to_string().contains("countersign-capture-"), "{error}");
    }
    let missing = Input::File("/nowhere/at/all.pcap".into());
    let error = CaptureSource::open(&[missing], CaptureOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere/at/all.pcap"), "{error}");
    let many = vec![Input::File("x".into()); 1000];
    let error = CaptureSource::open(&many, CaptureOptions::default()).unwrap_err();
    assert!(matches!(error, CaptureError::TooMany { given: 1000, .. }));
}

#[test]
fn several_files_are_one_timeline() {
    let packets = on_ethernet(&connection());
    let alternate = |parity: usize| {
        let mut file = [section(false), interface(false, 1, &[])].concat();
        for (index, packet) in packets.iter().enumerate().filter(|(index, _)| index % 2 == parity) {
            file.extend(enhanced(false, 0, 1_000_000 + index as u64, packet));
        }
        file
    };
    let (odd, even) = (alternate(1), alternate(0));
    let replayed = try_replay(&[&odd, &even]).unwrap();
    assert_whole(&replayed);
    assert_eq!(replayed.summary.time_went_backwards, 0);
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin)]);
}

#[test]
fn a_step_back_in_time_is_counted_and_order_kept() {
    let packets = on_ethernet(&connection());
    let mut file = [section(false), interface(false, 1, &[])].concat();
    for (index, packet) in packets.iter().enumerate() {
        file.extend(enhanced(false, 0, 1_000_000_000 - index as u64, packet));
    }
    let replayed = replay(&file);
    assert_whole(&replayed);
    assert_eq!(replayed.summary.time_went_backwards, 7);
    assert!(replayed.events.is_sorted_by_key(Event::at));
}

#[test]
fn progress_reaches_the_end() {
    let bytes = gzip(&capture(&connection()));
    let file = Temporary::holding(&bytes);
    let mut source = CaptureSource::open(&[file.input()], CaptureOptions::default()).unwrap();
    while source.drain(&mut |_| {}) {}
    let length = bytes.len() as u64;
    assert_eq!(source.progress(), Progress { read: length, total: Some(length) });
    assert_eq!(source.now(), Timestamp(1_000_000_007_000));
}

#[test]
fn a_file_that_was_not_read_to_its_end_is_not_called_whole() {
    let file = Temporary::holding(&capture(&connection()));
    let options = CaptureOptions::default();
    let mut source = CaptureSource::open(&[file.input()], options.clone()).unwrap();
    options.stop.request();
    let mut events = 0;
    while source.drain(&mut |_| events += 1) {}
    let kinds: Vec<_> = source.summary().problems.iter().map(|problem| problem.kind.clone()).collect();
    assert_eq!((kinds, source.summary().packets), (vec![ProblemKind::Interrupted], 1));
}
