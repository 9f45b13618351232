//! Talking to the daemon: one call, one answer.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CliError, Global, Outcome};
use crate::daemon::{
    Config,
    api::{self, ApiError, Call, ErrorKind},
};

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach the daemon at {}; is `nwfilter-ctl daemon` running?", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It hung up, or nearly.
    #[error("the daemon does not answer")]
    Broken(#[source] io::Error),
    /// It says something else.
    #[error("the daemon's answer makes no sense")]
    Nonsense(#[source] serde_json::Error),
    /// It refuses.
    #[error(transparent)]
    Refused(#[from] ApiError),
}

impl ClientError {
    /// How a command ends that failed for this: a document that is wrong is a finding.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(ApiError {
                kind: ErrorKind::Invalid,
                ..
            }) => Outcome::Findings,
            _ => Outcome::Failed,
        }
    }
}

/// Asks the daemon.
pub(super) fn call<T: DeserializeOwned>(global: &Global, call: &Call) -> Result<T, ClientError> {
    let mut lines = ask(global, call)?;
    let mut line = String::new();
    lines.read_line(&mut line).map_err(ClientError::Broken)?;
    read(&line)
}

/// Asks the daemon for lines without end, and, once it agrees, hands each on until that fails.
pub(super) fn stream(
    global: &Global,
    call: &Call,
    mut each: impl FnMut(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut lines = ask(global, call)?;
    let mut line = String::new();
    lines.read_line(&mut line).map_err(ClientError::Broken)?;
    read::<Value>(&line)?;
    for line in lines.lines() {
        each(&line.map_err(ClientError::Broken)?)?;
    }
    let gone = io::Error::new(io::ErrorKind::UnexpectedEof, "it has stopped");
    Err(ClientError::Broken(gone).into())
}

fn ask(global: &Global, call: &Call) -> Result<BufReader<UnixStream>, ClientError> {
    let path = global.socket.as_deref();
    let path = path.unwrap_or(Path::new(Config::SOCKET));
    let mut stream = UnixStream::connect(path).map_err(|source| ClientError::Unreachable {
        path: path.to_owned(),
        source,
    })?;
    let line = call.to_line() + "\n";
    stream
        .write_all(line.as_bytes())
        .map_err(ClientError::Broken)?;
    Ok(BufReader::new(stream))
}

fn read<T: DeserializeOwned>(line: &str) -> Result<T, ClientError> {
    if line.is_empty() {
        let gone = io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up");
        return Err(ClientError::Broken(gone));
    }
    Ok(api::read_answer(line).map_err(ClientError::Nonsense)??)
}
