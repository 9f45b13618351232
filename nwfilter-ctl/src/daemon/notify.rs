//! What the service manager is told (`sd_notify(3)`). It is not waited for once the loop runs: the
//! library's own call blocks when the manager does not read, and with it would everything else.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tracing::warn;

/// How long the manager may take to make room for what must not be lost. Nothing else is to be done yet.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells the service manager, if there is one and if it listens.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    tell(states, None);
}

/// Tells the service manager what it waits for, and hears only once: also if it is busy.
pub(super) fn notify_ready(states: &[NotifyState<'_>]) {
    tell(states, Some(PATIENCE));
}

fn tell(states: &[NotifyState<'_>], patience: Option<Duration>) {
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    match send(&lines.join("\n"), patience) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // It has more of our messages than it reads.
        }
        Err(error) => warn!("cannot notify the service manager: {error}"),
    }
}

fn send(message: &str, patience: Option<Duration>) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(patience.is_none())?;
    socket.set_write_timeout(patience)?;
    socket.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}
