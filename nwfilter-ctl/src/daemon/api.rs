//! The language between the daemon and its callers: JSON, one document per line, versioned. The
//! types only; `docs/operating.md` shows what they look like.
//!
//! ```text
//! > {"version":1,"call":"binding-delete","port":"vm1"}
//! < {"version":1,"result":null}
//! > {"version":1,"call":"undefine","filter":"web"}
//! < {"version":1,"error":{"kind":"in-use","message":"filter `web` is used by the binding of vm2"}}
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Version of the language; a daemon refuses any other.
pub const VERSION: u64 = 1;

/// Longest line, in bytes: a filter of the largest size with every byte escaped twice over.
pub const MAX_LINE: usize = 40 << 20;

/// What a caller asks for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "call", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Call {
    /// Add a filter or change one: [`FilterInfo`].
    Define {
        /// The document.
        xml: String,
    },
    /// Remove a filter.
    Undefine {
        /// Its name or UUID.
        filter: String,
    },
    /// All filters: a list of [`FilterInfo`].
    List,
    /// The document of a filter, as a string.
    Dumpxml {
        /// Its name or UUID.
        filter: String,
    },
    /// Filter a port: [`BindingInfo`].
    BindingCreate {
        /// The document.
        xml: String,
        /// In place of the binding that the port has, if it has one.
        #[serde(default)]
        replace: bool,
    },
    /// Filter a port no more.
    BindingDelete {
        /// Its device.
        port: String,
    },
    /// All bindings: a list of [`BindingInfo`].
    BindingList,
    /// The document of a binding, as a string.
    BindingDumpxml {
        /// Its device.
        port: String,
    },
    /// What a port does: [`PortInfo`].
    Show {
        /// Its device.
        port: String,
        /// With the kernel's tables in words.
        #[serde(default)]
        raw: bool,
    },
    /// Make an address set: [`SetInfo`].
    SetCreate {
        /// Its name.
        name: String,
        /// Its elements, as people write them.
        #[serde(default)]
        elements: Vec<String>,
    },
    /// Make or replace address sets: a list of [`SetInfo`].
    SetImport {
        /// Their elements by name.
        sets: BTreeMap<String, Vec<String>>,
    },
    /// Remove an address set.
    SetDestroy {
        /// Its name.
        name: String,
    },
    /// Add elements to a set, all at the same instant: [`SetInfo`].
    SetAdd {
        /// Its name.
        name: String,
        /// The elements.
        elements: Vec<String>,
    },
    /// Remove elements from a set, all at the same instant: [`SetInfo`].
    SetDel {
        /// Its name.
        name: String,
        /// The elements.
        elements: Vec<String>,
    },
    /// All address sets: a list of [`SetInfo`].
    SetList,
    /// The elements of a set: a list of strings.
    SetShow {
        /// Its name.
        name: String,
    },
    /// The connections of a port: [`ConnectionList`].
    Connections {
        /// Its device.
        port: String,
    },
    /// Forget the connections of a port.
    Flush {
        /// Its device.
        port: String,
    },
    /// Desired against observed: [`Status`].
    Status,
    /// Drops as they happen: after the answer, a line of [`Dropped`] for each, until the caller
    /// hangs up.
    Monitor {
        /// Their devices; all if empty.
        #[serde(default)]
        ports: Vec<String>,
    },
}

impl Call {
    /// What it is called in a request.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Define { .. } => "define",
            Self::Undefine { .. } => "undefine",
            Self::List => "list",
            Self::Dumpxml { .. } => "dumpxml",
            Self::BindingCreate { .. } => "binding-create",
            Self::BindingDelete { .. } => "binding-delete",
            Self::BindingList => "binding-list",
            Self::BindingDumpxml { .. } => "binding-dumpxml",
            Self::Show { .. } => "show",
            Self::Connections { .. } => "connections",
            Self::Flush { .. } => "flush",
            Self::SetCreate { .. } => "set-create",
            Self::SetImport { .. } => "set-import",
            Self::SetDestroy { .. } => "set-destroy",
            Self::SetAdd { .. } => "set-add",
            Self::SetDel { .. } => "set-del",
            Self::SetList => "set-list",
            Self::SetShow { .. } => "set-show",
            Self::Status => "status",
            Self::Monitor { .. } => "monitor",
        }
    }

    /// Whether it changes nothing.
    pub const fn is_read_only(&self) -> bool {
        !matches!(
            self,
            Self::Define { .. }
                | Self::Undefine { .. }
                | Self::BindingCreate { .. }
                | Self::BindingDelete { .. }
                | Self::SetCreate { .. }
                | Self::SetImport { .. }
                | Self::SetDestroy { .. }
                | Self::SetAdd { .. }
                | Self::SetDel { .. }
                | Self::Flush { .. }
        )
    }

    /// As a line, without its end.
    pub fn to_line(&self) -> String {
        let mut request = serde_json::to_value(self).unwrap_or_default();
        request["version"] = VERSION.into();
        request.to_string()
    }

    /// From a line.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`], with what was expected.
    pub fn from_line(line: &[u8]) -> Result<Self, ApiError> {
        let wrong = |message: String| ApiError::new(ErrorKind::Protocol, message);
        let request: Value = serde_json::from_slice(line)
            .map_err(|error| wrong(format!("a request is one line of JSON: {error}")))?;
        let Value::Object(mut request) = request else {
            return Err(wrong("a request is a JSON object".into()));
        };
        match request.remove("version").as_ref().map(Value::as_u64) {
            Some(Some(VERSION)) => {}
            None => return Err(wrong(format!("`version` is missing, expected {VERSION}"))),
            Some(_) => {
                return Err(wrong(format!(
                    "this daemon speaks version {VERSION} and no other"
                )));
            }
        }
        serde_json::from_value(Value::Object(request)).map_err(|error| wrong(error.to_string()))
    }
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Not a request that the daemon understands.
    Protocol,
    /// The caller may only read.
    Denied,
    /// The document is wrong, or what it asks for cannot be built.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// There is one already.
    Exists,
    /// Bindings use it.
    InUse,
    /// It could not be saved.
    Storage,
    /// The kernel refused.
    Kernel,
}

/// A finding in the document of a request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// `error` or `warning`.
    pub severity: String,
    /// Code of the registry.
    pub code: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// Why a call was not done. Nothing has changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of error.
    pub kind: ErrorKind,
    /// One line.
    pub message: String,
    /// Where in the document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl ApiError {
    /// Without findings.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            findings: Vec::new(),
        }
    }
}

/// A filter.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FilterInfo {
    /// Its name.
    pub name: String,
    /// Its UUID, if its file can be used.
    pub uuid: Option<String>,
    /// Whether it comes with the program and no file replaces it.
    pub builtin: bool,
    /// Why its file cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// An address set.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SetInfo {
    /// Its name.
    pub name: String,
    /// Number of its elements.
    pub elements: usize,
    /// Why its file cannot be used; what was in force before is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What has become of a binding.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Enforced.
    Enforced,
    /// Addresses that its filter needs are unknown: only what is needed to learn them passes.
    Learning,
    /// There is no device of that name yet.
    Waiting,
    /// Something older than what it asks for is enforced.
    Outdated,
    /// Nothing passes.
    Closed,
    /// The device is there and not filtered: a fault.
    Missing,
    /// Filtered without a binding: a fault.
    Unwanted,
}

impl State {
    /// Whether that is what was asked for.
    pub const fn is_desired(self) -> bool {
        matches!(self, Self::Enforced | Self::Learning | Self::Waiting)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Learning => "learning",
            Self::Waiting => "waiting",
            Self::Outdated => "outdated",
            Self::Closed => "closed",
            Self::Missing => "missing",
            Self::Unwanted => "unwanted",
        }
    }
}

/// A binding.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BindingInfo {
    /// Its device.
    pub port: String,
    /// Its filter, if its file can be used.
    pub filter: Option<String>,
    /// The VM's address, if its file can be used.
    pub mac: Option<String>,
    /// What has become of it.
    pub state: State,
    /// Why it is not enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Addresses that were learned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressInfo>,
}

/// How an address was learned.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressSource {
    /// The VM used it.
    Traffic,
    /// The VM claimed it by neighbour discovery.
    Neighbour,
    /// A DHCP server gave it.
    Dhcp,
}

impl AddressSource {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Neighbour => "neighbour",
            Self::Dhcp => "dhcp",
        }
    }
}

/// An address that was learned.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AddressInfo {
    /// The address.
    pub address: String,
    /// How it was learned.
    pub source: AddressSource,
    /// The DHCP server, or relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Seconds until it counts no more; none for an address that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// Desired against observed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// Version of the daemon.
    pub daemon: String,
    /// All bindings, and ports that are filtered without one.
    pub bindings: Vec<BindingInfo>,
    /// Filters whose files cannot be used.
    pub filters: Vec<FilterInfo>,
    /// Address sets whose files cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<SetInfo>,
    /// Files of leases that cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<String>,
    /// Frames to learn from that were lost because nobody read them in time, or were too many.
    #[serde(default)]
    pub lost_learning: u64,
    /// Drop events that were lost because nobody read them in time.
    pub lost_events: u64,
}

/// What a rule of a port has counted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RuleCounter {
    /// The filter of the rule; none for a default or a fault.
    pub filter: Option<String>,
    /// Line of the rule in the filter's document.
    pub line: Option<u32>,
    /// As a person would call it.
    pub name: String,
    /// Frames that it decided.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a port does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PortInfo {
    /// Its binding.
    pub binding: BindingInfo,
    /// `strict` or `libvirt`.
    pub semantics: String,
    /// How the programs are attached: `tcx` or `clsact`; none if they are not.
    #[serde(default)]
    pub attached: Option<String>,
    /// The tables that decide its frames; none if there are none, and then nothing passes.
    #[serde(default)]
    pub image: Option<ImageInfo>,
    /// Rules, defaults and faults.
    pub rules: Vec<RuleCounter>,
    /// The tables as the kernel has them; none if it is not filtered.
    pub raw: Option<RawPort>,
}

/// Tables, which ports may share.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ImageInfo {
    /// Their number.
    pub number: u32,
    /// Their length in words of 32 bits.
    pub words: usize,
    /// How many ports have them.
    pub ports: usize,
}

/// The connections of a port.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConnectionList {
    /// What was counted; none if the port is not filtered.
    pub tracking: Option<TrackingInfo>,
    /// The connections.
    pub connections: Vec<ConnectionInfo>,
}

/// What connection tracking has counted for a port. See [`nwfilter_common::TrackingCounter`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrackingInfo {
    /// Most connections at a time.
    pub quota: u32,
    /// Connections stored now, expired ones included that are yet to be removed.
    pub entries: u64,
    /// Connections stored ever.
    pub created: u64,
    /// Connections not stored because of the quota.
    pub over_quota: u64,
    /// Connections not stored because the table of all ports was full.
    pub table_full: u64,
    /// Frames of no connection that could not begin one either.
    pub invalid: u64,
    /// Connections removed after they had expired.
    pub expired: u64,
    /// Unanswered connections removed to make room.
    pub evicted: u64,
    /// ICMP errors sent for rejected frames.
    pub answers: u64,
    /// ICMP errors not sent because there were too many.
    pub answers_suppressed: u64,
}

/// A connection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConnectionInfo {
    /// `tcp`, `udp` and the like, or a number.
    pub protocol: String,
    /// Where its first frame went, `in` or `out`, as the VM sees it.
    pub direction: String,
    /// The side that began it.
    pub source: End,
    /// The other side.
    pub destination: End,
    /// State of TCP; of other protocols `answered` or `unanswered`.
    pub state: String,
    /// Seconds until it expires if nothing more is sent.
    pub expires: u64,
}

/// One side of a connection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct End {
    /// IP address.
    pub address: String,
    /// Port, if the protocol has ports.
    pub port: Option<u16>,
}

/// A port as the kernel's tables have it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RawPort {
    /// Interface index.
    pub ifindex: u32,
    /// Number in the tables.
    pub number: u32,
    /// Number of its image.
    pub image: u32,
    /// 32-bit words of the image.
    pub image_words: usize,
    /// Number of its first counter.
    pub counters: u32,
    /// Entries of the image.
    pub entries: u32,
    /// Whether the image may be used.
    pub ready: bool,
    /// Addresses of the VM, as the image numbers them, in hexadecimal.
    pub slots: Vec<String>,
    /// Which of the two records of every port holds now, 0 or 1.
    pub side: u64,
    /// The image as the kernel has it, in words: header, roots, nodes. Only if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
}

/// A dropped frame.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Dropped {
    /// The device; empty if it is gone.
    pub port: String,
    /// `in` or `out`, as the VM sees it.
    pub direction: String,
    /// The rule, default or fault that dropped it.
    pub rule: String,
    /// Length of the frame.
    pub length: u32,
    /// Its first bytes, in hexadecimal.
    pub frame: String,
    /// Events before this one that this caller was too slow for.
    #[serde(default)]
    pub lost: u64,
}

/// An answer as a line, without its end.
pub fn answer(result: &Result<Value, ApiError>) -> String {
    match result {
        Ok(result) => json!({ "version": VERSION, "result": result }),
        Err(error) => json!({ "version": VERSION, "error": error }),
    }
    .to_string()
}

/// What an answer says: the result, or the daemon's error.
///
/// # Errors
///
/// The outer one if it is no answer of this version.
pub fn read_answer<T: DeserializeOwned>(
    line: &str,
) -> Result<Result<T, ApiError>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        result: Value,
        error: Option<ApiError>,
    }
    let answer: Answer = serde_json::from_str(line)?;
    match answer.error {
        Some(error) => Ok(Err(error)),
        None => serde_json::from_value(answer.result).map(Ok),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_survive_the_way() {
        let calls = [
            Call::Define {
                xml: "<filter name='ü'/>\n".into(),
            },
            Call::List,
            Call::BindingCreate {
                xml: String::new(),
                replace: true,
            },
            Call::Monitor {
                ports: vec!["vm1".into()],
            },
        ];
        for call in calls {
            let line = call.to_line();
            assert!(!line.contains('\n'));
            assert!(
                line.contains(&format!("\"call\":\"{}\"", call.name())),
                "{line}"
            );
            assert_eq!(Call::from_line(line.as_bytes()), Ok(call));
        }
    }

    #[test]
    fn what_is_no_call_is_named() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "JSON"),
            (b"\xff\xfe", "JSON"),
            (b"[1]", "object"),
            (b"{\"call\":\"list\"}", "`version` is missing"),
            (b"{\"version\":2,\"call\":\"list\"}", "version 1"),
            (b"{\"version\":1,\"call\":\"frobnicate\"}", "frobnicate"),
            (b"{\"version\":1,\"call\":\"show\"}", "port"),
            (
                b"{\"version\":1,\"call\":\"show\",\"port\":\"a\",\"x\":1}",
                "x",
            ),
        ];
        for (line, part) in cases {
            let error = Call::from_line(line).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol);
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    #[test]
    fn answers_survive_the_way() {
        let error = ApiError::new(ErrorKind::InUse, "used");
        let line = answer(&Err(error.clone()));
        assert_eq!(read_answer::<Value>(&line).unwrap(), Err(error));
        let line = answer(&Ok(json!("text")));
        assert_eq!(read_answer::<String>(&line).unwrap(), Ok("text".into()));
        let line = answer(&Ok(Value::Null));
        assert_eq!(read_answer::<()>(&line).unwrap(), Ok(()));
    }
}
