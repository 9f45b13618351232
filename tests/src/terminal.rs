//! A terminal (pty(7)) with a program at one end and the test at the other.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, FromRawFd, OwnedFd},
    ptr,
    time::Instant,
};

use anyhow::{Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::net::PATIENCE;

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Terminal {
    user: File,
    program: OwnedFd,
    /// What was read and not yet expected.
    seen: String,
}

impl Terminal {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If there are no more.
    pub fn open() -> Result<Self> {
        let (mut user, mut program) = (-1, -1);
        // SAFETY: both descriptors can be written to; the other arguments may be null.
        let opened = unsafe {
            libc::openpty(
                &raw mut user,
                &raw mut program,
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
            )
        };
        if opened != 0 {
            return Err(io::Error::last_os_error().into());
        }
        // SAFETY: the call returned two descriptors that nobody else owns.
        let [user, program] = [user, program].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self {
            user: user.into(),
            program,
            seen: String::new(),
        })
    }

    /// The program's end, for its standard input or output.
    ///
    /// # Errors
    ///
    /// If there are too many open files.
    pub fn program(&self) -> io::Result<OwnedFd> {
        self.program.try_clone()
    }

    /// Types something.
    ///
    /// # Errors
    ///
    /// If the terminal does not take it.
    pub fn enter(&mut self, text: &str) -> io::Result<()> {
        self.user.write_all(text.as_bytes())
    }

    /// Waits until the program has printed something, and returns all before it.
    ///
    /// # Errors
    ///
    /// If it does not in time; with what it printed instead.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                let mut before = std::mem::replace(&mut self.seen, rest);
                before.truncate(at);
                return Ok(before);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.user.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::try_from(left)?)? == 0 {
                bail!("no `{text}` in `{}`", self.seen);
            }
            let mut bytes = [0; 4096];
            let length = self.user.read(&mut bytes)?;
            self.seen += &String::from_utf8_lossy(&bytes[..length]);
        }
    }
}
