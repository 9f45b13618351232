//! The few frames that the tests of the command line need, octet by octet.

/// The VM's addresses.
pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
pub(crate) const IP: [u8; 4] = [10, 0, 0, 1];
/// Somebody else's.
pub(crate) const OTHER_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];
pub(crate) const OTHER_IP: [u8; 4] = [10, 0, 0, 2];

pub(crate) fn ethernet(
    source: [u8; 6],
    destination: [u8; 6],
    kind: u16,
    payload: &[u8],
) -> Vec<u8> {
    [&destination[..], &source, &kind.to_be_bytes(), payload].concat()
}

/// An ARP request of a sender.
pub(crate) fn arp(mac: [u8; 6], ip: [u8; 4]) -> Vec<u8> {
    let fixed = [0, 1, 8, 0, 6, 4, 0, 1];
    let payload = [&fixed[..], &mac, &ip, &[0; 6], &[10, 0, 0, 254]].concat();
    ethernet(mac, [0xff; 6], 0x0806, &payload)
}

/// A UDP datagram without payload.
pub(crate) fn udp(
    source: ([u8; 6], [u8; 4]),
    destination: ([u8; 6], [u8; 4]),
    port: u16,
) -> Vec<u8> {
    let ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    let ports = [40000u16.to_be_bytes(), port.to_be_bytes(), [0, 8], [0, 0]].concat();
    let payload = [&ip[..], &source.1, &destination.1, &ports].concat();
    ethernet(source.0, destination.0, 0x0800, &payload)
}

pub(crate) fn hex(frame: &[u8]) -> String {
    use std::fmt::Write as _;
    frame.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}
