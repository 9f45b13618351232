//! Callers: each has a task of its own that reads requests and writes answers, so that one who is
//! slow, silent or talks nonsense holds up nobody. The work is done elsewhere, one call at a time.

use std::{
    fs, io,
    os::{fd::FromRawFd, unix::fs::PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    task::yield_now,
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    DaemonError,
    api::{self, ApiError, Call, ErrorKind, MAX_LINE},
    set_change::FilledSets,
};

/// Callers at the same time, of those who may write and again of those who may not; others are
/// turned away.
const MAX_CALLERS: usize = 64;
/// Longest line of a caller who may only read, and so has no documents to send.
const MAX_LINE_READ_ONLY: usize = 64 << 10;
/// How long a caller may take for a request, or to take an answer.
const CALLER_TIMEOUT: Duration = Duration::from_secs(30);
/// Drops that wait for a caller who monitors.
pub(super) const MONITOR_BACKLOG: usize = 1024;

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Request {
    /// What is asked for.
    pub(super) work: Work,
    /// Where the answer goes; a caller may be gone.
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Work {
    /// A call.
    Call(Call),
    /// The rest of a change of sets.
    Sets(FilledSets),
}

/// An answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// One line.
    Once(Result<Value, ApiError>),
    /// Lines as they come.
    Stream(mpsc::Receiver<String>),
}

/// Listens on the socket that the service manager hands over, or else at `path`, where a socket of an
/// earlier daemon may be: the caller has the lock. Everybody may connect; who may do what is decided
/// for each. Returns whether the socket is our own.
pub(super) fn listen(path: &Path, requests: mpsc::Sender<Request>) -> Result<bool, DaemonError> {
    let (listener, own) = match handed_over().map_err(DaemonError::HandedOver)? {
        Some(listener) => (listener, false),
        None => (bind(path)?, true),
    };
    tokio::spawn(accept(listener, requests));
    Ok(own)
}

/// The socket of socket activation, if there is one.
fn handed_over() -> io::Result<Option<UnixListener>> {
    let Some(fd) = sd_notify::listen_fds()?.next() else {
        return Ok(None);
    };
    // SAFETY: the service manager gave us the descriptor, and this is the only place that takes it.
    let listener = unsafe { std::os::unix::net::UnixListener::from_raw_fd(fd) };
    // Of the right kind, or this fails.
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).map(Some)
}

fn bind(path: &Path) -> Result<UnixListener, DaemonError> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(DaemonError::file("create", directory))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(DaemonError::file("remove", path)(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(DaemonError::file("listen at", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
        .map_err(DaemonError::file("open to everybody", path))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, requests: mpsc::Sender<Request>) {
    let writers = Arc::new(Semaphore::new(MAX_CALLERS));
    let readers = Arc::new(Semaphore::new(MAX_CALLERS));
    loop {
        let accepted = listener.accept().await;
        let (stream, may_write) = match accepted.and_then(|(stream, _)| {
            let may_write = stream.peer_cred()?.uid() == 0;
            Ok((stream, may_write))
        }) {
            Ok(caller) => caller,
            Err(error) => {
                // Most likely there are too many open files; some will be closed.
                warn!("cannot accept a caller: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let room = if may_write { &writers } else { &readers };
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
            debug!("too many callers, one is turned away");
            continue;
        };
        let requests = requests.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, may_write, &requests).await {
                debug!("caller: {error}");
            }
            drop(permit);
        });
    }
}

async fn serve(
    mut stream: UnixStream,
    may_write: bool,
    requests: &mpsc::Sender<Request>,
) -> io::Result<()> {
    let limit = if may_write {
        MAX_LINE
    } else {
        MAX_LINE_READ_ONLY
    };
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(limit as u64 + 1);
        let read = timeout(CALLER_TIMEOUT, limited.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        if line.pop_if(|last| *last == b'\n').is_none() {
            let message = if read > limit {
                format!("a request has at most {limit} bytes")
            } else {
                "a request ends with a line feed".into()
            };
            let error = ApiError::new(ErrorKind::Protocol, message);
            // What follows cannot be told from the rest of this one.
            return send(&mut writer, &api::answer(&Err(error))).await;
        }
        let answer = match Call::from_line(&line) {
            Err(error) => Answer::Once(Err(error)),
            Ok(call) if !may_write && !call.is_read_only() => Answer::Once(Err(ApiError::new(
                ErrorKind::Denied,
                "only root may change filters and bindings",
            ))),
            Ok(call) => ask(call, requests).await?,
        };
        drop(line);
        match answer {
            Answer::Once(result) => send(&mut writer, &api::answer(&result)).await?,
            Answer::Stream(lines) => {
                // So that the caller knows that nothing is missed from here on.
                send(&mut writer, &api::answer(&Ok(Value::Null))).await?;
                return stream_to(lines, &mut reader, &mut writer).await;
            }
        }
    }
}

/// Whatever a monitoring caller says, or that it hangs up, is the end.
async fn stream_to(
    mut lines: mpsc::Receiver<String>,
    reader: &mut (impl AsyncBufReadExt + Unpin),
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = reader.fill_buf() => None,
        };
        match line {
            Some(line) => send(writer, &line).await?,
            None => return Ok(()),
        }
    }
}

async fn ask(call: Call, requests: &mpsc::Sender<Request>) -> io::Result<Answer> {
    let work = Work::Call(call);
    // What was announced or signalled before the call comes before it. After one answer, the next request may
    // be read without a look at anything else; this is where the runtime looks.
    yield_now().await;
    let (answer, answered) = oneshot::channel();
    let gone = || io::Error::other("the daemon is stopping");
    requests
        .send(Request { work, answer })
        .await
        .map_err(|_| gone())?;
    answered.await.map_err(|_| gone())
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), line: &str) -> io::Result<()> {
    let write = async {
        writer.write_all(line.as_bytes()).await?;
        writer.write_all(b"\n").await
    };
    timeout(CALLER_TIMEOUT, write).await?
}
