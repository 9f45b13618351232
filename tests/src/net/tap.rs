//! A tap device whose far end is this process, as a VM's is QEMU.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    mem,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;

use super::{
    NetNs,
    wire::{Endpoint, LARGEST, PATIENCE},
};

nix::ioctl_write_ptr_bad!(
    /// Turns an open `/dev/net/tun` into a device (`linux/if_tun.h`).
    tun_set_iff,
    libc::TUNSETIFF,
    libc::ifreq
);

/// Length of `struct virtio_net_hdr`.
const GSO_HEADER: usize = 10;

/// How a frame that is larger than the MTU is to be cut: the fields of `struct virtio_net_hdr`
/// (`linux/virtio_net.h`). The checksum at the place given must hold the sum of the pseudo header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gso {
    /// `VIRTIO_NET_HDR_GSO_*`: 1 TCP over IPv4, 4 TCP over IPv6, 5 UDP.
    pub kind: u8,
    /// Length of all headers, Ethernet's included.
    pub headers: u16,
    /// Payload per segment.
    pub segment: u16,
    /// Where the checksummed part begins.
    pub checksum_start: u16,
    /// Where, from there, the checksum is.
    pub checksum_offset: u16,
}

/// The VM's side of a tap.
#[derive(Debug)]
pub struct Tap {
    file: File,
    with_gso: bool,
}

impl Tap {
    /// Makes the device `name` in a namespace, up. It goes away with this value.
    ///
    /// # Errors
    ///
    /// Where the kernel has no taps, or one of that name.
    pub fn new(namespace: &NetNs, name: &str) -> Result<Self> {
        Self::open(namespace, name, false)
    }

    /// The same with a GSO header before each frame, so that [`Tap::send_gso`] works.
    ///
    /// # Errors
    ///
    /// As for [`Tap::new`].
    pub fn with_gso(namespace: &NetNs, name: &str) -> Result<Self> {
        Self::open(namespace, name, true)
    }

    fn open(namespace: &NetNs, name: &str, with_gso: bool) -> Result<Self> {
        // The device belongs to the namespace in which the file was opened.
        let file = namespace
            .run(|| attach(name, with_gso))
            .with_context(|| format!("make the tap {name}"))?;
        namespace.ip(&format!("link set dev {name} up"))?;
        Ok(Self { file, with_gso })
    }

    /// Puts a frame on the wire of which only the first `linear` bytes are to be in one piece: larger
    /// than a page, the kernel keeps the rest in page fragments.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`], and if the tap was made without GSO.
    pub fn send_split(&self, frame: &[u8], linear: u16) -> Result<()> {
        ensure!(self.with_gso, "this tap was made without GSO");
        let mut bytes = vec![0, 0];
        bytes.extend(linear.to_ne_bytes());
        bytes.extend([0; GSO_HEADER - 4]);
        bytes.extend(frame);
        self.write(&bytes)
    }

    /// Puts a frame on the wire that the kernel must cut, now or later.
    ///
    /// # Errors
    ///
    /// As for [`Endpoint::send`], and if the tap was made without GSO.
    pub fn send_gso(&self, gso: Gso, frame: &[u8]) -> Result<()> {
        ensure!(self.with_gso, "this tap was made without GSO");
        // 1: the checksum is still to be made.
        let mut bytes = vec![1, gso.kind];
        for field in [
            gso.headers,
            gso.segment,
            gso.checksum_start,
            gso.checksum_offset,
        ] {
            bytes.extend(field.to_ne_bytes());
        }
        bytes.extend(frame);
        self.write(&bytes)
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let sent = (&self.file)
            .write(bytes)
            .with_context(|| format!("send {} bytes", bytes.len()))?;
        ensure!(sent == bytes.len(), "sent {sent} bytes of {}", bytes.len());
        Ok(())
    }
}

fn attach(name: &str, with_gso: bool) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("open /dev/net/tun")?;
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    ensure!(
        name.len() < request.ifr_name.len(),
        "device name {name:?} is too long"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let gso = if with_gso { libc::IFF_VNET_HDR } else { 0 };
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | gso) as i16;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // SAFETY: the descriptor is open, and the request is an ifreq with name and flags.
        match unsafe { tun_set_iff(file.as_raw_fd(), &raw const request) } {
            // One of that name that was closed goes when no process has it any more: one that another
            // thread starts has it until it runs its program.
            Err(Errno::EBUSY) if Instant::now() < deadline => thread::yield_now(),
            other => return Ok(other.map(|_| file)?),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Endpoint for Tap {
    fn send(&self, frame: &[u8]) -> Result<()> {
        if self.with_gso {
            self.write(&[&[0; GSO_HEADER], frame].concat())
        } else {
            self.write(frame)
        }
    }

    fn try_receive(&self) -> Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; GSO_HEADER + LARGEST];
        match (&self.file).read(&mut bytes) {
            Ok(length) => bytes.truncate(length),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context("receive a frame"),
        }
        if self.with_gso {
            bytes.drain(..GSO_HEADER);
        }
        Ok(Some(bytes))
    }
}
