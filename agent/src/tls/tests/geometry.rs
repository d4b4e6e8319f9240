//! Each row of TLS13_INFERENCE, as numbers.

use super::super::inference::{Geometry, Inference, Rest, ends_early_data, infer};
use super::*;
use ClientAuthentication::{NotRequested, Presented, RequestedNoneSent, Unknown};
use Sight::{InferredHigh, InferredMedium};

const SHA256: u16 = 0x1301;
const SHA384: u16 = 0x1302;
const CCM_8: u16 = 0x1305;
/// EncryptedExtensions, CertificateRequest, Certificate, CertificateVerify, Finished of OpenSSL.
const ASKED: &[u16] = &[23, 66, 900, 96, 69];
const NOT_ASKED: &[u16] = &[23, 900, 96, 69];
const ONE_RECORD: &[u16] = &[1200];

fn geometry<'a>(suite: u16, client: &'a [u16], server: &'a [u16]) -> Geometry<'a> {
    Geometry { suite, client, server_flight: Some(server), rest: Rest::Open, early_data: false }
}

fn decided(authentication: ClientAuthentication, records: usize) -> Inference {
    Inference::Decided { authentication, records }
}

#[test]
fn every_measured_client_is_recognised() {
    let none = [
        (SHA384, &[69][..], 1),
        (SHA256, &[53], 1),
        // Java pads each record by 16.
        (SHA384, &[85], 1),
        (CCM_8, &[45], 1),
    ];
    for (suite, client, records) in none {
        assert_eq!(
            infer(geometry(suite, client, ONE_RECORD)),
            decided(NotRequested(InferredMedium), records)
        );
    }
    let empty = [
        (SHA384, &[25, 69][..], 2),
        (SHA256, &[25, 53], 2),
        (SHA384, &[77], 1),
        (SHA256, &[61], 1),
        (SHA384, &[41, 85], 2),
        (SHA384, &[93], 1),
    ];
    for (suite, client, records) in empty {
        let expected = decided(RequestedNoneSent(InferredMedium), records);
        assert_eq!(infer(geometry(suite, client, ONE_RECORD)), expected, "{client:?}");
    }
    let certificates = [
        // OpenSSL EC chain of 2, RSA, with certificate compression, Ed25519
        (SHA384, &[857, 95, 69][..]),
        (SHA384, &[857, 97, 69]),
        (SHA384, &[1655, 281, 69]),
        (SHA384, &[652, 96, 69]),
        (SHA384, &[1469, 281, 69]),
        (SHA384, &[729, 89, 69]),
        // Go, GnuTLS, rustls 0.21
        (SHA256, &[475, 96, 53]),
        (SHA256, &[875, 281, 53]),
        (SHA384, &[475, 97, 69]),
        (SHA384, &[475, 95, 69]),
        // Java
        (SHA384, &[873, 111, 85]),
        // P-384 and larger RSA (computed)
        (SHA384, &[900, 127, 69]),
        (SHA384, &[1900, 409, 69]),
        (SHA384, &[2100, 537, 69]),
    ];
    for (suite, client) in certificates {
        let expected = decided(Presented(InferredMedium), 3);
        assert_eq!(infer(geometry(suite, client, ONE_RECORD)), expected, "{client:?}");
        // Application data in the same segment changes nothing.
        let longer = [client, &[1000, 69]].concat();
        assert_eq!(infer(geometry(suite, &longer, ONE_RECORD)), expected, "{client:?} and data");
    }
    // A 25 kB chain.
    let large = infer(geometry(SHA384, &[16401, 9039, 96, 69], ONE_RECORD));
    assert_eq!(large, decided(Presented(InferredMedium), 4));
}

#[test]
fn clients_that_coalesce_are_recognised_once_their_flight_is_over() {
    // rustls 0.23, BoringSSL and NSS
    for (suite, size) in [(SHA384, 607), (SHA256, 590)] {
        let client = [size];
        let alone = geometry(suite, &client, ONE_RECORD);
        assert_eq!(infer(alone), Inference::Wait);
        for rest in [Rest::Answered, Rest::Closed] {
            assert_eq!(infer(Geometry { rest, ..alone }), decided(Presented(InferredMedium), 1), "{size}");
        }
        assert_eq!(infer(geometry(suite, &[size, 120], ONE_RECORD)), decided(Presented(InferredMedium), 1));
        assert_eq!(
            infer(geometry(suite, &[size, size], ONE_RECORD)),
            unknown(UnknownReason::PaddingOrUnrecognised)
        );
    }
    // A round size alone may be padding: 528 = 512 + 16.
    let padded = geometry(SHA256, &[528], ONE_RECORD);
    assert_eq!(infer(Geometry { rest: Rest::Answered, ..padded }), Inference::Wait);
    assert_eq!(
        infer(Geometry { rest: Rest::Closed, ..padded }),
        unknown(UnknownReason::PaddingOrUnrecognised)
    );
}

fn unknown(reason: UnknownReason) -> Inference {
    decided(Unknown(reason), 1)
}

#[test]
fn only_what_the_client_cannot_write_gives_high_confidence() {
    assert_eq!(infer(geometry(SHA384, &[857, 96, 69], ASKED)), decided(Presented(InferredHigh), 3));
    assert_eq!(infer(geometry(SHA384, &[25, 69], ASKED)), decided(RequestedNoneSent(InferredHigh), 2));
    assert_eq!(infer(geometry(SHA384, &[69], NOT_ASKED)), decided(NotRequested(InferredHigh), 1));
    // The server's chain may be large, and Java's server pads.
    let large = [23, 66, 16401, 9039, 281, 69];
    assert_eq!(infer(geometry(SHA384, &[69], &large[..1])), decided(NotRequested(InferredMedium), 1));
    assert_eq!(infer(geometry(SHA384, &[25, 69], &large)), decided(RequestedNoneSent(InferredHigh), 2));
    let java = [39, 100, 900, 111, 85];
    assert_eq!(infer(geometry(SHA384, &[857, 96, 69], &java)), decided(Presented(InferredHigh), 3));
    // Not all of the flight was seen.
    let blind = Geometry { server_flight: None, ..geometry(SHA384, &[857, 96, 69], ASKED) };
    assert_eq!(infer(blind), decided(Presented(InferredMedium), 3));
    // Five records that do not fit: data of a server that speaks early.
    let early = [23, 900, 96, 69, 69];
    assert_eq!(infer(geometry(SHA384, &[857, 96, 69], &early)), decided(Presented(InferredMedium), 3));
}

#[test]
fn a_client_that_imitates_a_certificate_is_contradicted_by_the_server() {
    for client in [&[474, 96, 69][..], &[25, 69], &[77], &[607, 30]] {
        assert!(
            matches!(
                infer(geometry(SHA384, client, NOT_ASKED)),
                Inference::Decided { authentication: Unknown(UnknownReason::Contradiction), .. }
            ),
            "{client:?}"
        );
    }
    assert_eq!(infer(geometry(SHA384, &[69], ASKED)), unknown(UnknownReason::Contradiction));
    assert_eq!(infer(geometry(SHA384, &[474, 96, 69], ONE_RECORD)), decided(Presented(InferredMedium), 3));
}

#[test]
fn nothing_is_decided_before_it_can_be() {
    for client in [&[][..], &[25], &[41], &[857], &[857, 96], &[16401], &[16401, 9039, 96], &[19], &[35]] {
        assert_eq!(infer(geometry(SHA384, client, ASKED)), Inference::Wait, "{client:?}");
    }
    for client in [&[25][..], &[16401]] {
        let closed = Geometry { rest: Rest::Closed, ..geometry(SHA384, client, ASKED) };
        assert_eq!(infer(closed), unknown(UnknownReason::PaddingOrUnrecognised), "{client:?}");
    }
    let nothing = Geometry { rest: Rest::Closed, ..geometry(SHA384, &[], ASKED) };
    assert_eq!(infer(nothing), unknown(UnknownReason::Incomplete));
}

#[test]
fn an_alert_alone_means_that_the_client_gave_up() {
    for alert in [19, 35] {
        let client = [alert];
        let closed = Geometry { rest: Rest::Closed, ..geometry(SHA384, &client, NOT_ASKED) };
        assert_eq!(infer(closed), Inference::Aborted);
        assert_eq!(
            infer(geometry(SHA384, &[alert, 69], NOT_ASKED)),
            unknown(UnknownReason::PaddingOrUnrecognised)
        );
    }
}

#[test]
fn padding_and_unknown_sizes_stay_unknown() {
    for client in [&[528, 528, 528][..], &[528, 528], &[100], &[53], &[25, 25], &[200, 96, 70], &[300, 20]] {
        let seen = infer(geometry(SHA384, client, ONE_RECORD));
        assert_eq!(seen, unknown(UnknownReason::PaddingOrUnrecognised), "{client:?}");
    }
    assert_eq!(infer(geometry(0x1306, &[69], ONE_RECORD)), unknown(UnknownReason::UnknownSuite));
}

#[test]
fn refused_early_data_is_not_taken_for_a_certificate() {
    let early = |client| infer(Geometry { early_data: true, ..geometry(SHA384, client, ONE_RECORD) });
    assert_eq!(early(&[600, 69]), unknown(UnknownReason::EarlyData));
    assert_eq!(early(&[600, 857, 96, 69]), unknown(UnknownReason::EarlyData));
    assert_eq!(early(&[857, 96, 69]), decided(Presented(InferredMedium), 3));
    assert_eq!(early(&[69]), decided(NotRequested(InferredMedium), 1));
    assert_eq!(ends_early_data(SHA256, &[21, 53]), Some(true));
    assert_eq!(ends_early_data(SHA256, &[700, 21, 53, 90]), Some(true));
    assert_eq!(ends_early_data(SHA384, &[37, 85]), Some(true));
    assert_eq!(ends_early_data(SHA384, &[69]), Some(true));
    assert_eq!(ends_early_data(SHA384, &[700, 21]), None);
}
