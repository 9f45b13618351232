//! One end of a wire, as frames: what all of them can do, and the one that is a packet socket on a
//! network device.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socket},
};

use super::NetNs;

/// How long to wait for what must come. Not a measure of anything: only what does not come at all
/// takes this long, and a machine that does other things may stop for many seconds anywhere.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The largest frame: a GSO packet with its link header and two tags.
pub(super) const LARGEST: usize = 65_536 + 14 + 8;

/// Something that sends and receives whole frames.
pub trait Endpoint: AsFd + Send + Sync {
    /// Puts a frame on the wire.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it: link down, shorter than a header, larger than the MTU.
    fn send(&self, frame: &[u8]) -> Result<()>;

    /// The next frame that has arrived, if any.
    ///
    /// # Errors
    ///
    /// If the device is gone.
    fn try_receive(&self) -> Result<Option<Vec<u8>>>;

    /// The next frame, waiting for it until the deadline; `None` if there was none until then.
    ///
    /// # Errors
    ///
    /// If the device is gone.
    fn receive(&self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(frame) = self.try_receive()? {
                return Ok(Some(frame));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            wait(self, PollFlags::POLLIN, deadline)?;
        }
    }

    /// The first frame that is `wanted`, within [`PATIENCE`]; what comes before it is dropped.
    ///
    /// # Errors
    ///
    /// If it does not come.
    fn expect(&self, wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        while let Some(frame) = self.receive(deadline)? {
            if wanted(&frame) {
                return Ok(frame);
            }
        }
        anyhow::bail!("the expected frame has not arrived within {PATIENCE:?}")
    }

    /// Everything that has arrived by now.
    ///
    /// # Errors
    ///
    /// If the device is gone.
    fn drain(&self) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.try_receive()? {
            frames.push(frame);
        }
        Ok(frames)
    }
}

/// Does it again when it was interrupted: a socket with a timeout says so when its process was stopped for a while.
///
/// # Errors
///
/// Those of `action`.
pub fn uninterrupted<T>(mut action: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match action() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Waits until something can be done with an end, or until the deadline.
fn wait(end: &(impl AsFd + ?Sized), what: PollFlags, deadline: Instant) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(end.as_fd(), what)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("wait for a frame"),
    }
}

/// A packet socket on one device: sends as if its kernel did, and receives what reaches the device
/// from outside, before any filter of the device sees it and whoever it is for. Tags that the kernel
/// took off are put back.
#[derive(Debug)]
pub struct Wire(OwnedFd);

impl Wire {
    /// On the device `link` of a namespace.
    ///
    /// # Errors
    ///
    /// If there is no such device.
    pub fn open(namespace: &NetNs, link: &str) -> Result<Self> {
        let index = namespace.index(link)?;
        // Protocol 0 receives nothing until it is bound to the one device.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = namespace
            .run(|| socket(AddressFamily::Packet, SockType::Raw, flags, None))
            .context("open a packet socket")?;
        for option in [libc::PACKET_AUXDATA, libc::PACKET_IGNORE_OUTGOING] {
            let on: libc::c_int = 1;
            // SAFETY: the option takes an int, and that is what it is given.
            let result = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_PACKET,
                    option,
                    (&raw const on).cast(),
                    size_of_val(&on) as libc::socklen_t,
                )
            };
            Errno::result(result).context("set an option of the packet socket")?;
        }
        // SAFETY: all zeros is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = i32::try_from(index)?;
        // SAFETY: the address is a sockaddr_ll of the length given.
        let result = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        Errno::result(result).with_context(|| format!("bind a packet socket to {link}"))?;
        Ok(Self(socket))
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Endpoint for Wire {
    fn send(&self, frame: &[u8]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let sent = loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                // What was sent before is still on its way, and takes up the socket's room.
                Err(Errno::EAGAIN) if Instant::now() < deadline => {
                    wait(self, PollFlags::POLLOUT, deadline)?;
                }
                other => {
                    break other
                        .with_context(|| format!("send a frame of {} bytes", frame.len()))?;
                }
            }
        };
        ensure!(sent == frame.len(), "sent {sent} bytes of {}", frame.len());
        Ok(())
    }

    fn try_receive(&self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0_u8; LARGEST];
        let mut part = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // Of u64, because control messages are aligned like one.
        let mut control = [0_u64; 8];
        // SAFETY: all zeros is a valid msghdr.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);

        // SAFETY: the header points to one buffer for data and one for control messages, both
        // writable, of the lengths given and alive during the call.
        let received = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        match Errno::result(received) {
            Ok(length) => frame.truncate(usize::try_from(length)?),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(io::Error::from(error)).context("receive a frame"),
        }
        let cut = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
        ensure!(!cut, "received a frame that is larger than any can be");

        // SAFETY: the kernel has filled in the header that the macro reads.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: null, or a control message that the kernel wrote into `control`.
        if let Some(header) = unsafe { first.as_ref() }
            && (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
        {
            // SAFETY: a message of this type carries a tpacket_auxdata, not necessarily aligned.
            let auxiliary: libc::tpacket_auxdata =
                unsafe { ptr::read_unaligned(libc::CMSG_DATA(first).cast()) };
            put_back_tag(&mut frame, &auxiliary);
        }
        Ok(Some(frame))
    }
}

/// The kernel keeps the outermost tag beside the frame, not in it.
fn put_back_tag(frame: &mut Vec<u8>, auxiliary: &libc::tpacket_auxdata) {
    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID == 0 || frame.len() < 12 {
        return;
    }
    let protocol = match auxiliary.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
        0 => 0x8100,
        _ => auxiliary.tp_vlan_tpid,
    };
    let [a, b] = protocol.to_be_bytes();
    let [c, d] = auxiliary.tp_vlan_tci.to_be_bytes();
    frame.splice(12..12, [a, b, c, d]);
}
