use super::image::{BASE, Part, file, offset};
use super::*;

/// `cmp rsp, [r14+16]`, and a jump.
const CODE: [u8; 16] =
    [0x49, 0x3b, 0x66, 0x10, 0x76, 1, 0xc3, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc];

const NAMES: [&str; 4] = [
    "runtime.main",
    "crypto/tls.(*Conn).verifyServerCertificate",
    "crypto/tls.(*certificateMsgTLS13).marshal",
    "crypto/tls.(*Conn).verifyServerCertificate.func1",
];

/// A program of this version with the functions above, each 16 bytes behind the one before; `text` is what the table says
/// of the address that they are relative to.
pub fn program(version: &str, text: u64) -> Vec<u8> {
    build(version, text, ".gopclntab", &NAMES, &CODE)
}

fn build(version: &str, text: u64, table: &'static str, names: &[&str], code: &[u8; 16]) -> Vec<u8> {
    let mut information = b"\xff Go buildinf:\x08\x02".to_vec();
    information.resize(32, 0);
    information.push(version.len() as u8);
    information.extend(version.as_bytes());

    let mut strings = vec![0_u8];
    let mut list = Vec::new();
    let mut details = Vec::new();
    for (number, name) in names.iter().enumerate() {
        list.extend((16 * number as u32).to_le_bytes());
        list.extend((8 * (names.len() + 1 + number) as u32).to_le_bytes());
        details.extend((16 * number as u32).to_le_bytes());
        details.extend((strings.len() as u32).to_le_bytes());
        strings.extend(name.as_bytes());
        strings.push(0);
    }
    list.extend([0; 8]);
    list.extend(details);
    let mut functions = vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    let behind = 72 + strings.len() as u64;
    for word in [names.len() as u64, 0, text, 72, behind, behind, behind, behind] {
        functions.extend(word.to_le_bytes());
    }
    functions.extend(strings);
    functions.extend(list);

    let mut parts = vec![
        Part::new(".text", code.repeat(names.len())),
        Part::new(".go.buildinfo", information),
        Part::new(table, functions),
        Part::new(".rodata", "CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
    ];
    let mut module = vec![0; 176];
    module.extend((BASE + offset(&parts, ".text")).to_le_bytes());
    parts.push(Part::new(".go.module", module));
    file(&parts)
}

/// Where [`program`] has its code.
const TEXT: u64 = 120;

fn points(own: Hook) -> Vec<(Library, Vec<(Hook, u64)>)> {
    vec![(Library::Go, vec![(Hook::GoPeerOfClient, TEXT + 16), (own, TEXT + 32)])]
}

#[test]
fn functions_are_found_by_the_table_that_stripping_leaves() {
    assert_eq!(found(&program("go1.27.1", 0)), points(Hook::GoOwnAt0));
    assert_eq!(found(&program("go1.25.5", BASE + TEXT)), points(Hook::GoOwnAt0));
    assert_eq!(found(&program("devel go1.23-abcdef", BASE + TEXT)), points(Hook::GoOwnAt0));
    assert_eq!(found(&program("go1.22.8 X:boringcrypto", BASE + TEXT)), points(Hook::GoOwnAt24));
    let version = examined(&program("go1.22.8 X:boringcrypto", BASE + TEXT)).libraries.remove(0).version;
    assert_eq!(version.as_deref(), Some("1.22.8"));
}

#[test]
fn a_table_among_relocated_data_is_found() {
    for table in [".data.rel.ro", ".data.rel.ro.gopclntab"] {
        let file = build("go1.21.3", BASE + TEXT, table, &NAMES, &CODE);
        assert_eq!(found(&file), points(Hook::GoOwnAt24), "{table}");
    }
}

#[test]
fn versions_that_nobody_measured_are_refused() {
    for version in ["1.16", "1.28", "1.x", "2.0"] {
        let file = program(&format!("go{version}"), BASE + TEXT);
        assert_eq!(found(&file), []);
        assert_eq!(reasons(&file), [(Some(Library::Go), Reason::UnknownVersion(version.to_owned()))]);
    }
}

#[test]
fn a_program_without_tls_is_not_probed() {
    let names = ["runtime.main", "crypto/x509.(*Certificate).Verify"];
    let file = build("go1.25.5", BASE + TEXT, ".gopclntab", &names, &CODE);
    assert_eq!(found(&file), []);
}

#[test]
fn what_does_not_begin_as_a_function_is_not_probed() {
    let mut shifted = CODE;
    shifted.rotate_right(1);
    let file = build("go1.25.5", BASE + TEXT, ".gopclntab", &NAMES, &shifted);
    assert_eq!(found(&file), []);
    assert_eq!(
        reasons(&file),
        [(Some(Library::Go), Reason::Damaged("a function of Go does not begin as one"))]
    );
}
