//! Address sets as people write them: lines of networks, or of networks with a protocol and port. Also
//! reads what `ipset save` prints.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use nwfilter_common::{MAX_SET_ELEMENTS, SetKey, SetName};

/// An element: `10.0.0.0/8`, `fd00::1`, `10.0.0.1,tcp:80`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Element {
    network: IpAddr,
    length: u8,
    /// IP protocol and port; with ICMP type and code.
    service: Option<(u8, u16)>,
}

/// A set: its elements, and which of them are exceptions (`nomatch`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AddressSet(BTreeMap<Element, bool>);

/// What is wrong with an element, a name or a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SetError {
    /// No element.
    #[error(
        "`{0}` is no element: expected an address or a network, then perhaps `,PROTOCOL:PORT`, then perhaps ` nomatch`"
    )]
    Element(String),
    /// No name.
    #[error(
        "`{0}` cannot be the name of a set: expected at most 31 of letters, digits and `_.:-+`, no `.` first"
    )]
    Name(String),
    /// Too many elements.
    #[error("a set has at most {MAX_SET_ELEMENTS} elements")]
    TooLarge,
    /// A type of set that cannot be imported.
    #[error(
        "line {line}: sets of type `{kind}` are not supported, only hash:ip, hash:net, bitmap:ip, hash:ip,port and hash:net,port"
    )]
    Kind {
        /// From 1.
        line: usize,
        /// As in the kernel.
        kind: String,
    },
    /// A line that `ipset save` does not print.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

/// Protocols with names (`/etc/protocols`, as `ipset` prints them).
const PROTOCOLS: [(&str, u8); 6] = [
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("sctp", 132),
    ("icmp", 1),
    ("icmpv6", 58),
];

/// The key of a set's name.
///
/// # Errors
///
/// When there can be no such set.
pub fn set_name(name: &str) -> Result<SetName, SetError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-+".contains(c);
    let valid = !name.is_empty() && !name.starts_with('.') && name.chars().all(fits);
    let key = SetName::new(name).filter(|_| valid);
    key.ok_or_else(|| SetError::Name(name.to_owned()))
}

impl FromStr for Element {
    type Err = SetError;

    fn from_str(text: &str) -> Result<Self, SetError> {
        parse_element(text).ok_or_else(|| SetError::Element(text.to_owned()))
    }
}

fn parse_element(text: &str) -> Option<Element> {
    let (network, service) = match text.split_once(',') {
        Some((network, service)) => (network, Some(parse_service(service)?)),
        None => (text, None),
    };
    let (address, length) = match network.split_once('/') {
        Some((address, length)) => (address, Some(length.parse().ok()?)),
        None => (network, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = length.unwrap_or(bits);
    if length > bits {
        return None;
    }
    let host = u32::from(bits - length);
    let network = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    };
    Some(Element {
        network,
        length,
        service,
    })
}

fn parse_service(text: &str) -> Option<(u8, u16)> {
    let Some((protocol, port)) = text.split_once(':') else {
        // As in `ipset`.
        return Some((6, text.parse().ok()?));
    };
    let known = PROTOCOLS.iter().find(|(name, _)| *name == protocol);
    let number = match known {
        Some((_, number)) => *number,
        None => protocol.parse().ok()?,
    };
    let port = match port.split_once('/') {
        Some((kind, code)) => u16::from_be_bytes([kind.parse().ok()?, code.parse().ok()?]),
        None => port.parse().ok()?,
    };
    Some((number, port))
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.network)?;
        let bits = if self.network.is_ipv4() { 32 } else { 128 };
        if self.length < bits {
            write!(f, "/{}", self.length)?;
        }
        let Some((protocol, port)) = self.service else {
            return Ok(());
        };
        match PROTOCOLS.iter().find(|(_, number)| *number == protocol) {
            Some((name, 1 | 58)) => write!(f, ",{name}:{}/{}", port >> 8, port & 0xff),
            Some((name, _)) => write!(f, ",{name}:{port}"),
            None => write!(f, ",{protocol}:{port}"),
        }
    }
}

impl Element {
    /// As the datapath knows it.
    pub fn key(&self) -> SetKey {
        let mut key = SetKey {
            prefix: SetKey::BEFORE_ADDRESS + u32::from(self.length),
            form: if self.network.is_ipv4() { 4 } else { 6 },
            ..SetKey::default()
        };
        match self.network {
            IpAddr::V4(v4) => key.address[..4].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => key.address = v6.octets(),
        }
        if let Some((protocol, port)) = self.service {
            key.form |= SetKey::PORT;
            key.protocol = protocol;
            key.port = port.to_be_bytes();
        }
        key
    }
}

/// An element and whether it is an exception.
///
/// # Errors
///
/// See [`SetError::Element`].
pub fn entry(text: &str) -> Result<(Element, bool), SetError> {
    let text = text.trim();
    match text.strip_suffix("nomatch") {
        Some(element) => Ok((element.trim_end().parse()?, true)),
        None => Ok((text.parse()?, false)),
    }
}

impl AddressSet {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds elements; one that is there changes its kind.
    ///
    /// # Errors
    ///
    /// What is no element, and too many; then some may have been added.
    pub fn add<'a>(&mut self, elements: impl IntoIterator<Item = &'a str>) -> Result<(), SetError> {
        for text in elements {
            let (element, exception) = entry(text)?;
            self.0.insert(element, exception);
        }
        if self.len() > MAX_SET_ELEMENTS as usize {
            return Err(SetError::TooLarge);
        }
        Ok(())
    }

    /// Removes an element; `false` if there is none such.
    pub fn remove(&mut self, element: &Element) -> bool {
        self.0.remove(element).is_some()
    }

    /// The elements as the datapath knows them, with whether each is an exception.
    pub fn keys(&self) -> impl Iterator<Item = (SetKey, bool)> {
        self.0
            .iter()
            .map(|(element, exception)| (element.key(), *exception))
    }

    /// The elements as lines.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(element, exception)| {
            let suffix = if *exception { " nomatch" } else { "" };
            format!("{element}{suffix}")
        })
    }

    /// Reads lines of elements; empty ones and those that begin with `#` are skipped.
    ///
    /// # Errors
    ///
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, SetError> {
        let mut set = Self::default();
        let lines = text.lines().map(str::trim);
        set.add(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))?;
        Ok(set)
    }
}

/// The sets that `ipset save` prints.
///
/// # Errors
///
/// The first line that cannot be imported.
pub fn parse_ipset_save(text: &str) -> Result<BTreeMap<String, AddressSet>, SetError> {
    const KINDS: [&str; 5] = [
        "hash:ip",
        "hash:net",
        "bitmap:ip",
        "hash:ip,port",
        "hash:net,port",
    ];
    let mut sets: BTreeMap<String, AddressSet> = BTreeMap::new();
    for (i, text) in text.lines().enumerate() {
        let line = i + 1;
        let wrong = |what: String| SetError::Line { line, what };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["create", name, kind, ..] => {
                set_name(name).map_err(|error| wrong(error.to_string()))?;
                if !KINDS.contains(&kind) {
                    let kind = kind.to_owned();
                    return Err(SetError::Kind { line, kind });
                }
                sets.insert(name.to_owned(), AddressSet::default());
            }
            ["add", name, element, ref options @ ..] => {
                let set = sets.get_mut(name);
                let set = set.ok_or_else(|| wrong(format!("there is no set `{name}`")))?;
                let element: Element = element
                    .parse()
                    .map_err(|error: SetError| wrong(error.to_string()))?;
                set.0.insert(element, options.contains(&"nomatch"));
            }
            _ => return Err(wrong("expected `create` or `add`".to_owned())),
        }
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_written_as_they_are_read() {
        for text in [
            "10.0.0.0/8",
            "10.0.0.1",
            "0.0.0.0/0",
            "fd00::/8",
            "::1",
            "10.0.0.1,tcp:80",
            "fd00::/64,udp:53",
            "10.0.0.1,icmp:8/0",
            "10.0.0.1,47:0",
        ] {
            assert_eq!(text.parse::<Element>().unwrap().to_string(), text);
        }
        let element: Element = "10.1.2.3/8,80".parse().unwrap();
        assert_eq!(element.to_string(), "10.0.0.0/8,tcp:80");
        for text in [
            "",
            "host",
            "10.0.0.0/33",
            "10.0.0.1,tcp:x",
            "10.0.0.1-10.0.0.9",
        ] {
            assert!(text.parse::<Element>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_of_the_kernel_are_imported() {
        let sets = parse_ipset_save(
            "create blocked hash:net family inet hashsize 1024 maxelem 65536\n\
             add blocked 10.0.0.0/8\n\
             add blocked 10.0.0.1 nomatch\n\
             create web hash:ip,port family inet6 hashsize 1024 maxelem 65536\n\
             add web fd00::1,tcp:80 timeout 30\n",
        )
        .unwrap();
        let lines = |name: &str| sets[name].lines().collect::<Vec<_>>();
        assert_eq!(lines("blocked"), ["10.0.0.0/8", "10.0.0.1 nomatch"]);
        assert_eq!(lines("web"), ["fd00::1,tcp:80"]);
        let error = parse_ipset_save("create x hash:mac hashsize 1024\n").unwrap_err();
        assert!(matches!(error, SetError::Kind { line: 1, .. }), "{error}");
        assert!(parse_ipset_save("add x 10.0.0.1\n").is_err());
    }

    #[test]
    fn names_are_those_of_the_language() {
        assert_eq!(set_name("tck_test").unwrap().to_string(), "tck_test");
        for name in ["", "a/b", ".a", &"x".repeat(32)] {
            assert!(set_name(name).is_err(), "{name}");
        }
    }
}
