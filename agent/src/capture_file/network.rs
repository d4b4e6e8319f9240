//! IP: headers, extension headers, fragments and tunnels → the transport header inside.

use etherparse::{IpNumber, LaxIpSlice, TcpHeaderSlice, UdpHeaderSlice, ip_number};

use super::fragments::{Fragment, Fragments, Whole};
use super::link::{self, Carried};
use super::packet::{Endpoint, Flags, TcpPacket, Transport, UdpPacket, VirtualNetwork, mapped};
use super::plain;
use super::summary::Summary;
use super::tunnel;

/// Tunnels that are looked into: what a network device wraps once.
const DEPTH_MAX: u8 = 1;
/// Bytes of a TCP header (RFC 9293 section 3.1) without options, and with all there can be.
const TCP_HEADER_MIN: usize = 20;
const TCP_HEADER_MAX: usize = 60;

/// What is known about a packet beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Nanoseconds on the capture's clock.
    pub at: u64,
    /// Bytes at the end of the packet that the capture does not hold.
    pub cut: usize,
}

/// The same, and how it came to light.
#[derive(Debug, Clone, Copy)]
struct Inner {
    at: u64,
    cut: usize,
    network: VirtualNetwork,
    /// How many tunnels it was taken out of.
    depth: u8,
}

/// Takes packets apart.
#[derive(Default)]
pub struct Network {
    fragments: Fragments,
}

impl Network {
    /// Hands the transport packet of a frame to `each`, if there is one; else it is counted why.
    pub fn frame(
        &mut self,
        link: u32,
        frame: &[u8],
        context: Context,
        summary: &mut Summary,
        each: &mut dyn FnMut(Transport<'_>, &mut Summary),
    ) {
        let Context { at, cut } = context;
        let context = Inner { at, cut, network: VirtualNetwork::default(), depth: 0 };
        match link::carried(link, frame) {
            Carried::Unsupported => summary.unsupported_link(link),
            carried => self.carried(carried, context, summary, each),
        }
    }

    /// How many fragments were dropped.
    pub fn fragments_dropped(&self) -> u64 {
        self.fragments.dropped()
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        self.fragments.clear();
    }

    /// Takes an IP packet apart without the short way for plain ones, to hold that against it.
    #[cfg(test)]
    pub fn by_library(
        &mut self,
        packet: &[u8],
        context: Context,
        summary: &mut Summary,
        each: &mut dyn FnMut(Transport<'_>, &mut Summary),
    ) {
        let Context { at, cut } = context;
        let context = Inner { at, cut, network: VirtualNetwork::default(), depth: 0 };
        self.ip_of_any_kind(packet, context, summary, each);
    }

    fn carried(
        &mut self,
        carried: Carried<'_>,
        context: Inner,
        summary: &mut Summary,
        each: &mut dyn FnMut(Transport<'_>, &mut Summary),
    ) {
        match carried {
            Carried::Ip(packet, network) => {
                let context = Inner { network: network.within(context.network), ..context };
                self.ip(packet, context, summary, each);
            }
            Carried::NotIp | Carried::Unsupported => summary.not_ip += 1,
            Carried::Cut => unreadable(context, summary),
        }
    }

    fn ip(
        &mut self,
        packet: &[u8],
        context: Inner,
        summary: &mut Summary,
        each: &mut dyn FnMut(Transport<'_>, &mut Summary),
    ) {
        match plain::tcp(packet, context.network) {
            Some(packet) => each(Transport::Tcp(&packet), summary),
            None => self.ip_of_any_kind(packet, context, summary, each),
        }
    }

    fn ip_of_any_kind(
        &mut self,
        packet: &[u8],
        context: Inner,
        summary: &mut Summary,
        each: &mut dyn FnMut(Transport<'_>, &mut Summary),
    ) {
        let Ok((ip, stopped)) = LaxIpSlice::from_slice(packet) else { return unreadable(context, summary) };
        if stopped.is_some() {
            return unreadable(context, summary);
        }
        let claimed = match &ip {
            LaxIpSlice::Ipv4(ip) => usize::from(ip.header().total_len()),
            LaxIpSlice::Ipv6(ip) => match ip.header().payload_length() {
                0 => 0,
                length => ip.header().slice().len() + usize::from(length),
            },
        };
        // The length is 0 where the network card was to cut the packet up (segmentation offload) and in jumbograms.
        let cut = if claimed == 0 { context.cut } else { claimed.saturating_sub(packet.len()) };
        let header = match &ip {
            LaxIpSlice::Ipv4(ip) => ip.header().slice().len(),
            LaxIpSlice::Ipv6(ip) => ip.header().slice().len(),
        };
        if claimed != 0 && claimed < header {
            summary.malformed += 1;
            return;
        }
        let context = Inner { cut, ..context };
        let (source, destination) = (mapped(ip.source_addr()), mapped(ip.destination_addr()));
        let payload = ip.payload();
        if !payload.fragmented {
            let kind = payload.ip_number;
            return self.transport((source, destination), kind, payload.payload, context, summary, each);
        }
        summary.fragments += 1;
        let Some(fragment) = Fragment::of(&ip, (source, destination), context.network) else {
            return unreadable(context, summary);
        };
        if let Some(Whole { protocol, bytes }) = self.fragments.take(fragment, cut > 0, context.at) {
            let context = Inner { cut: 0, ..context };
            self.transport((source, destination), protocol, &bytes, context, summary, each);
            self.fragments.give_back(bytes);
        }
    }

    fn transport(
        &mut self,
        (source, destination): (u128, u128),
        protocol: IpNumber,
        payload: &[u8],
        context: Inner,
        summary: &mut Summary,
        each: &mut dyn FnMut(Transport<'_>, &mut Summary),
    ) {
        match protocol {
            ip_number::TCP => {
                let mut whole = [0; TCP_HEADER_MAX];
                let Some((header, missing)) = tcp_header(payload, context.cut, &mut whole) else {
                    return unreadable(context, summary);
                };
                let bytes = payload.get(header.slice().len()..).unwrap_or_default();
                summary.cut_by_snap_length += u64::from(context.cut > 0);
                each(
                    Transport::Tcp(&TcpPacket {
                        network: context.network,
                        source: Endpoint { address: source, port: header.source_port() },
                        destination: Endpoint { address: destination, port: header.destination_port() },
                        sequence: header.sequence_number(),
                        acknowledged: header.acknowledgment_number(),
                        flags: Flags {
                            syn: header.syn(),
                            ack: header.ack(),
                            fin: header.fin(),
                            reset: header.rst(),
                        },
                        payload: bytes,
                        missing: u32::try_from(missing).unwrap_or(u32::MAX),
                    }),
                    summary,
                );
            }
            ip_number::UDP => {
                let Ok(header) = UdpHeaderSlice::from_slice(payload) else {
                    return unreadable(context, summary);
                };
                let (from, to) = (header.source_port(), header.destination_port());
                // 0: as with IP, the network card was to fill it in.
                let end = match usize::from(header.length()) {
                    0 => payload.len(),
                    length => length.min(payload.len()),
                };
                let bytes = payload.get(header.slice().len()..end).unwrap_or_default();
                if let Some(inner) = tunnel::of_udp(to, bytes) {
                    return self.inner(inner, context, summary, each);
                }
                each(
                    Transport::Udp(UdpPacket {
                        source: Endpoint { address: source, port: from },
                        destination: Endpoint { address: destination, port: to },
                        payload: bytes,
                    }),
                    summary,
                );
            }
            ip_number::IPV4 | ip_number::IPV6 => {
                self.inner(Carried::Ip(payload, VirtualNetwork::default()), context, summary, each)
            }
            ip_number::GRE => self.inner(tunnel::gre(payload), context, summary, each),
            _ => {}
        }
    }

    fn inner(
        &mut self,
        carried: Carried<'_>,
        context: Inner,
        summary: &mut Summary,
        each: &mut dyn FnMut(Transport<'_>, &mut Summary),
    ) {
        if context.depth >= DEPTH_MAX {
            summary.tunnelled_deeper += 1;
            return;
        }
        summary.tunnelled += 1;
        self.carried(carried, Inner { depth: context.depth + 1, ..context }, summary, each);
    }
}

/// Headers that do not parse: because the capture does not hold them, or because they are wrong.
/// The header of a TCP packet of which `cut` bytes are not there, and how many of those are payload. Where the end of its options
/// is cut off, as a snap length of 64 does, they count as ended: nobody reads them.
fn tcp_header<'a>(
    segment: &'a [u8],
    cut: usize,
    whole: &'a mut [u8; TCP_HEADER_MAX],
) -> Option<(TcpHeaderSlice<'a>, usize)> {
    if let Ok(header) = TcpHeaderSlice::from_slice(segment) {
        return Some((header, cut));
    }
    let lacking = (usize::from(segment.get(12)? >> 4) * 4).checked_sub(segment.len())?;
    let missing = cut.checked_sub(lacking)?;
    if segment.len() < TCP_HEADER_MIN {
        return None;
    }
    whole.get_mut(..segment.len())?.copy_from_slice(segment);
    TcpHeaderSlice::from_slice(whole).ok().map(|header| (header, missing))
}

fn unreadable(context: Inner, summary: &mut Summary) {
    if context.cut > 0 {
        summary.headers_cut += 1;
    } else {
        summary.malformed += 1;
    }
}
