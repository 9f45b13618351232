//! What the daemon is told: where things are, and how filters are read. Command line over
//! configuration file over defaults.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nwfilter_common::{TIMEOUTS, Timeout, Timeouts};
use serde::Deserialize;

use crate::{builtin::Flavour, kernel::AttachMode, model::Semantics};

/// Where things are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Filters, `NAME.xml`.
    pub filter_dir: PathBuf,
    /// Bindings, in `bindings/PORT.xml`. Not meant to outlive the host's reboot, as ports do not.
    pub state_dir: PathBuf,
    /// Where callers connect.
    pub socket: PathBuf,
    /// Where maps, programs and links are pinned: on a BPF file system.
    pub pin_dir: PathBuf,
    /// How programs are attached to ports.
    pub attach: AttachMode,
    /// How filters are read.
    pub semantics: Semantics,
    /// Which filters are built in.
    pub builtins: Flavour,
    /// How connections are tracked.
    pub connections: Connections,
    /// Answers to rejected frames that a port sends per second; `None` for the default, 0 for none.
    pub answers_per_second: Option<u32>,
}

/// How connections are tracked: the table `connections` of the configuration file. Timeouts are in
/// seconds; what is absent is as in Linux.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Connections {
    /// Most connections of a port at a time; 0 for the default.
    pub per_port: u32,
    tcp_syn_sent: u32,
    tcp_syn_received: u32,
    tcp_established: u32,
    tcp_fin_wait: u32,
    tcp_close_wait: u32,
    tcp_last_ack: u32,
    tcp_time_wait: u32,
    tcp_close: u32,
    tcp_unacknowledged: u32,
    udp: u32,
    udp_stream: u32,
    icmp: u32,
    icmpv6: u32,
    sctp: u32,
    sctp_established: u32,
    dccp: u32,
    dccp_open: u32,
    generic: u32,
    fragment: u32,
}

impl Connections {
    /// All timeouts; 0 for the default.
    pub fn timeouts(&self) -> Timeouts {
        let mut timeouts = [0; TIMEOUTS];
        for (timeout, seconds) in [
            (Timeout::TcpSynSent, self.tcp_syn_sent),
            // Linux has one setting for both.
            (Timeout::TcpSynSent2, self.tcp_syn_sent),
            (Timeout::TcpSynReceived, self.tcp_syn_received),
            (Timeout::TcpEstablished, self.tcp_established),
            (Timeout::TcpFinWait, self.tcp_fin_wait),
            (Timeout::TcpCloseWait, self.tcp_close_wait),
            (Timeout::TcpLastAck, self.tcp_last_ack),
            (Timeout::TcpTimeWait, self.tcp_time_wait),
            (Timeout::TcpClose, self.tcp_close),
            (Timeout::TcpUnacknowledged, self.tcp_unacknowledged),
            (Timeout::Udp, self.udp),
            (Timeout::UdpStream, self.udp_stream),
            (Timeout::Icmp, self.icmp),
            (Timeout::Icmpv6, self.icmpv6),
            (Timeout::Sctp, self.sctp),
            (Timeout::SctpEstablished, self.sctp_established),
            (Timeout::Dccp, self.dccp),
            (Timeout::DccpOpen, self.dccp_open),
            (Timeout::Generic, self.generic),
            (Timeout::Fragment, self.fragment),
        ] {
            timeouts[timeout as usize] = seconds;
        }
        timeouts
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            filter_dir: "/etc/nwfilter/filters".into(),
            state_dir: "/run/nwfilter".into(),
            socket: Self::SOCKET.into(),
            pin_dir: Self::PIN_DIR.into(),
            attach: AttachMode::default(),
            semantics: Semantics::default(),
            builtins: Flavour::default(),
            connections: Connections::default(),
            answers_per_second: None,
        }
    }
}

/// The configuration file; what is absent keeps its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    filter_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    socket: Option<PathBuf>,
    pin_dir: Option<PathBuf>,
    attach: Option<AttachName>,
    semantics: Option<SemanticsName>,
    builtins: Option<BuiltinsName>,
    connections: Option<Connections>,
    answers_per_second: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AttachName {
    Auto,
    Tcx,
    Clsact,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SemanticsName {
    Strict,
    Libvirt,
}

/// Releases of libvirt.
#[derive(Clone, Copy, Debug, Deserialize)]
enum BuiltinsName {
    #[serde(rename = "11")]
    V11,
    #[serde(rename = "12.8")]
    V12_8,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration file {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says something that it cannot say; with line and column.
    #[error("the configuration file {path} is wrong")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Where the daemon listens unless told otherwise.
    pub const SOCKET: &str = "/run/nwfilter/nwfilter.sock";
    /// Where the daemon pins unless told otherwise.
    pub const PIN_DIR: &str = "/sys/fs/bpf/nwfilter";
    /// Where the configuration file is unless told otherwise; it need not be there.
    pub const FILE: &str = "/etc/nwfilter/nwfilter.toml";

    /// The defaults, and what a file says.
    ///
    /// # Errors
    ///
    /// A file that is not there is an error too.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        let default = Self::default();
        Ok(Self {
            filter_dir: file.filter_dir.unwrap_or(default.filter_dir),
            state_dir: file.state_dir.unwrap_or(default.state_dir),
            socket: file.socket.unwrap_or(default.socket),
            pin_dir: file.pin_dir.unwrap_or(default.pin_dir),
            attach: match file.attach {
                None => default.attach,
                Some(AttachName::Auto) => AttachMode::Auto,
                Some(AttachName::Tcx) => AttachMode::Tcx,
                Some(AttachName::Clsact) => AttachMode::Clsact,
            },
            semantics: match file.semantics {
                None => default.semantics,
                Some(SemanticsName::Strict) => Semantics::Strict,
                Some(SemanticsName::Libvirt) => Semantics::Libvirt,
            },
            builtins: match file.builtins {
                None => default.builtins,
                Some(BuiltinsName::V11) => Flavour::V11,
                Some(BuiltinsName::V12_8) => Flavour::V12_8,
            },
            connections: file.connections.unwrap_or(default.connections),
            answers_per_second: file.answers_per_second,
        })
    }

    /// Where leases are.
    pub(super) fn leases_dir(&self) -> PathBuf {
        self.state_dir.join("leases")
    }

    /// Where address sets are.
    pub(super) fn sets_dir(&self) -> PathBuf {
        self.filter_dir.join("sets")
    }

    /// Where bindings are.
    pub(super) fn bindings_dir(&self) -> PathBuf {
        self.state_dir.join("bindings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_what_it_names() {
        let text = "pin-dir = '/sys/fs/bpf/x'\nsemantics = 'libvirt'\nbuiltins = '12.8'\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.pin_dir, Path::new("/sys/fs/bpf/x"));
        assert_eq!(config.semantics, Semantics::Libvirt);
        assert_eq!(config.builtins, Flavour::V12_8);
        assert_eq!(config.socket, Path::new(Config::SOCKET));
        assert_eq!(config.answers_per_second, None);
        let config = Config::parse("answers-per-second = 0").unwrap();
        assert_eq!(config.answers_per_second, Some(0));
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place() {
        let error = Config::parse("socket = '/s'\npin_dir = '/p'\n").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains("pin_dir"), "{error}");
    }
}
