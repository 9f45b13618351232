//! The compact text form of resolved rules, one line each, for golden tests and `compile`'s output:
//!
//! ```text
//! no-ip-spoofing:8 ipv4-ip(-710) 500 out return ip srcipaddr=192.0.2.1($IP[0])
//! ```
//!
//! A negated test has `!=`; one for several values has them in braces. Not XML: see `format`.

use std::fmt;

use crate::model::{Action, Attr, Datum, Direction, SetDirection, TCP_FLAG_NAMES};

use super::{Instance, Origin, Test, VariableElement};

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Accept => "accept",
            Action::Drop => "drop",
            Action::Reject => "reject",
            Action::Return => "return",
            Action::Continue => "continue",
        };
        let direction = match self.direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::InOut => "inout",
        };
        write!(f, "{} {}", self.origin, self.chain)?;
        if self.chain_priority != 0 {
            write!(f, "({})", self.chain_priority)?;
        }
        write!(
            f,
            " {} {direction} {action} {}",
            self.priority, self.protocol
        )?;
        if !self.statematch {
            f.write_str(" statematch=false")?;
        }
        for test in &self.tests {
            write!(f, " {test}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Origin {
    /// `FILTER:LINE`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.filter, self.line)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negated { "!=" } else { "=" };
        write!(f, "{}{sign}", self.attr)?;
        let is_set = self.values.len() != 1;
        if is_set {
            f.write_str("{")?;
        }
        for (nth, value) in self.values.iter().enumerate() {
            if nth > 0 {
                f.write_str(",")?;
            }
            match (self.attr, value) {
                (
                    Attr::ProtocolId | Attr::EncapProtocol | Attr::ProtocolType,
                    Datum::Number(number),
                ) => write!(f, "{number:#06x}")?,
                _ => write!(f, "{value}")?,
            }
        }
        if is_set {
            f.write_str("}")?;
        }
        match &self.variable {
            Some(variable) if is_set => write!(f, "(${})", variable.name),
            Some(variable) => write!(f, "({variable})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for VariableElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}[{}]", self.name, self.index)
    }
}

impl fmt::Display for Datum {
    /// In one of the spellings of XML, numbers in decimal; text in quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Mac(mac) | Self::MacMask(mac) => write!(f, "{mac}"),
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::Ipv6(address) => write!(f, "{address}"),
            Self::Prefix(bits) => write!(f, "{bits}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::States(states) => f.write_str(&list(states.iter_names().map(|(name, _)| name))),
            Self::TcpFlags(value) => {
                write!(f, "{}/{}", tcp_flags(value.mask), tcp_flags(value.flags))
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::SetDirections(directions) => {
                f.write_str(&list(directions.iter().map(|direction| match direction {
                    SetDirection::Src => "src",
                    SetDirection::Dst => "dst",
                })))
            }
        }
    }
}

/// One side of the `flags` attribute.
fn tcp_flags(bits: u8) -> String {
    if bits == 0x3f {
        return "ALL".into();
    }
    let names = TCP_FLAG_NAMES.iter().enumerate();
    list(
        names
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .map(|(_, name)| *name),
    )
}

/// Names separated by commas, `NONE` if there are none.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return "NONE".into();
    }
    names.join(",")
}
