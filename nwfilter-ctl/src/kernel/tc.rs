//! Asks the kernel for one filter of a queueing discipline (rtnetlink), which aya does not.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nwfilter_common::FrameDirection;

/// Lengths of `struct nlmsghdr` (`linux/netlink.h`) and `struct tcmsg` (`linux/rtnetlink.h`).
const HEADER: usize = 16;
const MESSAGE: usize = 20;
/// Attributes of a filter, and of one of kind `bpf`: `linux/rtnetlink.h`, `linux/pkt_cls.h`.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
/// The hooks of clsact: `TC_H_CLSACT` with `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS` (`linux/pkt_sched.h`).
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// Where clsact itself is, or in its place the older `ingress`.
const CLSACT: u32 = 0xffff_fff1;

/// Number of the program in a filter; `None` if there is no such filter, or it has no program.
pub(super) fn program(
    ifindex: u32,
    direction: FrameDirection,
    priority: u16,
    handle: u32,
) -> io::Result<Option<u32>> {
    let parent = match direction {
        FrameDirection::In => EGRESS,
        FrameDirection::Out => INGRESS,
    };
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    let info = u32::from(priority) << 16 | u32::from(protocol);
    let filter = request(libc::RTM_GETTFILTER, [ifindex, handle, parent, info]);
    Ok(ask(&filter)?.and_then(|answer| read(&answer)))
}

/// Whether a device has clsact, and not another discipline in its place, which knows one direction only.
pub(super) fn has_clsact(ifindex: u32) -> io::Result<bool> {
    let discipline = request(libc::RTM_GETQDISC, [ifindex, 0, CLSACT, 0]);
    let answer = ask(&discipline)?;
    let attributes = answer
        .as_ref()
        .and_then(|answer| answer.get(HEADER + MESSAGE..));
    Ok(attributes.and_then(|list| attribute(list, TCA_KIND)) == Some(b"clsact\0"))
}

/// A request for one thing: the words of `struct tcmsg` are device, handle, parent and what else there is.
fn request(kind: u16, message: [u32; 4]) -> Vec<u8> {
    // The kernel answers some only if asked for an echo.
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ECHO;
    let mut request = Vec::new();
    request.extend(((HEADER + MESSAGE) as u32).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend((flags.cast_unsigned() as u16).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_UNSPEC as u8, 0, 0, 0]);
    request.extend(message.into_iter().flat_map(u32::to_ne_bytes));
    request
}

/// Sends a request for one thing, and returns the kernel's only answer; `None` if there is no such thing.
fn ask(request: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: plain data, for which all zero bytes are valid: the address of the kernel.
    let mut address: libc::sockaddr_nl = unsafe { MaybeUninit::zeroed().assume_init() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    // SAFETY: the request and the address are as long as given.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = vec![0; 16 << 10];
    // The kernel answers before it returns from sending.
    // SAFETY: the buffer is writable and as long as given.
    let length = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            answer.as_mut_ptr().cast(),
            answer.len(),
            libc::MSG_DONTWAIT,
        )
    };
    let Ok(length) = usize::try_from(length) else {
        return Err(io::Error::last_os_error());
    };
    answer.truncate(length);
    if answer.get(4..6) == Some((libc::NLMSG_ERROR as u16).to_ne_bytes().as_slice())
        && let Some(code) = answer.get(HEADER..).and_then(word)
    {
        let error = io::Error::from_raw_os_error(code.cast_signed().wrapping_neg());
        return match error.raw_os_error() {
            // No such filter, no queueing discipline, no device.
            Some(libc::ENOENT | libc::EINVAL | libc::EOPNOTSUPP | libc::ENODEV) => Ok(None),
            _ => Err(error),
        };
    }
    Ok(Some(answer))
}

/// The program in an answer that describes a filter.
fn read(answer: &[u8]) -> Option<u32> {
    let attributes = answer.get(HEADER + MESSAGE..)?;
    if attribute(attributes, TCA_KIND)? != b"bpf\0" {
        return None;
    }
    word(attribute(attribute(attributes, TCA_OPTIONS)?, TCA_BPF_ID)?)
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The value of an attribute (`struct rtattr` of `linux/rtnetlink.h`) in a list of them.
fn attribute(mut list: &[u8], wanted: u16) -> Option<&[u8]> {
    /// Marks lists in lists.
    const NLA_TYPE_MASK: u16 = 0x3fff;
    while let [a, b, c, d, rest @ ..] = list {
        let length = usize::from(u16::from_ne_bytes([*a, *b])).checked_sub(4)?;
        if u16::from_ne_bytes([*c, *d]) & NLA_TYPE_MASK == wanted {
            return rest.get(..length);
        }
        list = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn the_program_of_a_filter_is_found() {
        let filter = |kind: &[u8], options: &[u8]| {
            let mut bytes = vec![0; HEADER + MESSAGE];
            bytes.extend(attribute_bytes(TCA_KIND, kind));
            bytes.extend(attribute_bytes(TCA_OPTIONS | 0x8000, options));
            bytes
        };
        let mut options = attribute_bytes(7, b"name of 3+ words\0");
        assert_eq!(read(&filter(b"bpf\0", &options)), None);
        options.extend(attribute_bytes(TCA_BPF_ID, &77_u32.to_ne_bytes()));
        let whole = filter(b"bpf\0", &options);
        assert_eq!(read(&whole), Some(77));
        assert_eq!(read(&filter(b"u32\0", &options)), None);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_device_without_filters_has_none() {
        let none = program(1, FrameDirection::Out, 1, 0x6e77);
        assert_eq!(none.unwrap(), None, "loopback");
        assert!(!has_clsact(1).unwrap());
    }
}
