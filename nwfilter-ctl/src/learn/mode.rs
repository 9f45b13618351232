//! How the addresses of a VM are learned, from the parameters of its binding (section 5 of the
//! semantics reference; IPv6 is our own addition).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Parameters;

/// A way to learn.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Not at all.
    #[default]
    None,
    /// From the answers of DHCP servers.
    Dhcp,
    /// From those, and from what the VM itself uses while nothing is known.
    Any,
}

impl Mode {
    /// As in a parameter; in any case.
    fn from_text(text: &str) -> Option<Self> {
        [
            ("none", Self::None),
            ("dhcp", Self::Dhcp),
            ("any", Self::Any),
        ]
        .into_iter()
        .find_map(|(name, mode)| text.eq_ignore_ascii_case(name).then_some(mode))
    }
}

/// What a binding asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Modes {
    /// `CTRL_IP_LEARNING`, `any` unless given.
    pub ipv4: Mode,
    /// `CTRL_IPV6_LEARNING`, `none` unless given.
    pub ipv6: Mode,
    /// `DHCPSERVER`: source addresses of answers that count; all if there are none.
    pub servers: Vec<Ipv4Addr>,
    /// `DHCPSERVERV6`, likewise.
    pub servers6: Vec<Ipv6Addr>,
}

/// A parameter that says how to learn cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("parameter `{name}` is `{value}`, expected {expected}")]
pub struct ModeError {
    /// The parameter.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What it could be.
    pub expected: &'static str,
}

impl Modes {
    /// The parameter that says how IPv4 addresses are learned.
    pub const PARAMETER: &str = "CTRL_IP_LEARNING";
    /// The parameter that says how IPv6 addresses are learned.
    pub const PARAMETER6: &str = "CTRL_IPV6_LEARNING";

    /// From the parameters of a binding.
    ///
    /// # Errors
    ///
    /// A value that cannot be understood.
    pub fn of(parameters: &Parameters) -> Result<Self, ModeError> {
        let mode = |name, default| match parameters.0.get(name).and_then(|values| values.first()) {
            None => Ok(default),
            Some(value) => Mode::from_text(value).ok_or_else(|| ModeError {
                name,
                value: value.clone(),
                expected: "`any`, `dhcp` or `none`",
            }),
        };
        Ok(Self {
            ipv4: mode(Self::PARAMETER, Mode::Any)?,
            ipv6: mode(Self::PARAMETER6, Mode::None)?,
            servers: addresses(parameters, "DHCPSERVER", "an IPv4 address")?,
            servers6: addresses(parameters, "DHCPSERVERV6", "an IPv6 address")?,
        })
    }

    /// Whether answers from this address count.
    pub(super) fn trusts(&self, server: IpAddr) -> bool {
        match server {
            IpAddr::V4(server) => self.servers.is_empty() || self.servers.contains(&server),
            IpAddr::V6(server) => self.servers6.is_empty() || self.servers6.contains(&server),
        }
    }
}

fn addresses<T: std::str::FromStr>(
    parameters: &Parameters,
    name: &'static str,
    expected: &'static str,
) -> Result<Vec<T>, ModeError> {
    let values = parameters.0.get(name).into_iter().flatten();
    values
        .map(|value| {
            value.parse().map_err(|_| ModeError {
                name,
                value: value.clone(),
                expected,
            })
        })
        .collect()
}
