//! What libvirt changes after reading a rule (section 2.3 of the semantics reference): signs that
//! follow another attribute's, and address sets that it loses. In `Strict` only what follows from
//! the language itself is done (a mask, or the end of a range, has the sign of its base); all of it
//! is reported.

use super::document::{Reader, quoted};
use crate::{
    diag::{Code, Diagnostic},
    model::{Attr, Attribute, Datum, Protocol, Semantics, SetDirection, Value},
};

/// Masks and range ends, and the attributes that they belong to.
const PARTS: [(Attr, Attr); 25] = [
    (Attr::SrcMacMask, Attr::SrcMacAddr),
    (Attr::DstMacMask, Attr::DstMacAddr),
    (Attr::SrcIpMask, Attr::SrcIpAddr),
    (Attr::DstIpMask, Attr::DstIpAddr),
    (Attr::SrcIpTo, Attr::SrcIpFrom),
    (Attr::DstIpTo, Attr::DstIpFrom),
    (Attr::SrcPortEnd, Attr::SrcPortStart),
    (Attr::DstPortEnd, Attr::DstPortStart),
    (Attr::ArpSrcIpMask, Attr::ArpSrcIpAddr),
    (Attr::ArpDstIpMask, Attr::ArpDstIpAddr),
    (Attr::TypeEnd, Attr::Type),
    (Attr::CodeEnd, Attr::Code),
    (Attr::IpSetFlags, Attr::IpSet),
    (Attr::RootPriorityHi, Attr::RootPriority),
    (Attr::RootAddressMask, Attr::RootAddress),
    (Attr::RootCostHi, Attr::RootCost),
    (Attr::SenderPriorityHi, Attr::SenderPriority),
    (Attr::SenderAddressMask, Attr::SenderAddress),
    (Attr::PortHi, Attr::Port),
    (Attr::AgeHi, Attr::Age),
    (Attr::MaxAgeHi, Attr::MaxAge),
    (Attr::HelloTimeHi, Attr::HelloTime),
    (Attr::ForwardDelayHi, Attr::ForwardDelay),
    (Attr::Code, Attr::Type),
    (Attr::DstPortStart, Attr::SrcPortStart),
];

/// The attribute whose mask, or range end, this one is.
pub fn base(attr: Attr) -> Option<Attr> {
    match attr {
        Attr::Code | Attr::DstPortStart => None,
        _ => PARTS
            .iter()
            .find(|(part, _)| *part == attr)
            .map(|(_, base)| *base),
    }
}

/// The attribute whose sign libvirt gives to this one.
fn sign_in_libvirt(protocol: Protocol, attr: Attr) -> Option<Attr> {
    use Protocol as P;
    match attr {
        Attr::DstPortStart | Attr::DstPortEnd | Attr::SrcPortEnd => match protocol {
            P::Ip | P::Ipv6 => None,
            _ => Some(Attr::SrcPortStart),
        },
        Attr::Code | Attr::CodeEnd | Attr::TypeEnd => Some(Attr::Type),
        Attr::SrcMacMask | Attr::DstMacMask => match protocol {
            P::Mac | P::Vlan | P::Stp => base(attr),
            _ => None,
        },
        Attr::ArpSrcIpMask | Attr::ArpDstIpMask | Attr::IpSetFlags => None,
        _ => base(attr),
    }
}

/// Gives attributes the signs that they have. Sorted by name before and after.
pub(super) fn signs(reader: &mut Reader, protocol: Protocol, attributes: &mut [Attribute]) {
    let before: Vec<(Attr, bool)> = attributes
        .iter()
        .map(|attribute| (attribute.attr, attribute.negated))
        .collect();
    let sign = |attr| {
        before
            .iter()
            .find(|(other, _)| *other == attr)
            .map(|(_, negated)| *negated)
    };
    for attribute in attributes {
        let attr = attribute.attr;
        let written = attribute.negated;
        let libvirt = match sign_in_libvirt(protocol, attr) {
            Some(base) => sign(base).unwrap_or_default(),
            None => written,
        };
        // Without what it belongs to, it does nothing and its sign is nobody's concern.
        let strict = base(attr).map_or(written, |base| sign(base).unwrap_or(libvirt));
        attribute.negated = match reader.semantics {
            Semantics::Strict => strict,
            Semantics::Libvirt => libvirt,
        };
        if attr == Attr::DstPortStart && libvirt != strict {
            reader.report(port_negation(attribute, strict, sign(Attr::SrcPortStart)));
        } else if attr == Attr::DstPortEnd {
            // Said at the start already, and an end without one does nothing.
        } else if libvirt != strict && base(attr).is_none() {
            let what = if libvirt {
                "negates"
            } else {
                "does not negate"
            };
            let message = format!("libvirt {what} `{attr}`");
            reader.report(
                Diagnostic::new(Code::SignChanged, quoted(attribute.span), message)
                    .label(format!("`{attr}` has the sign of another attribute")),
            );
        } else if strict != written && base(attr).is_some_and(|base| sign(base).is_some()) {
            let what = if strict { "negated" } else { "not negated" };
            let message = format!("`{attr}` is {what}, as what it belongs to");
            reader.report(
                Diagnostic::new(Code::SignChanged, quoted(attribute.span), message)
                    .help("put both into the same element"),
            );
        }
    }
}

/// Fact 11 of the semantics reference.
fn port_negation(attribute: &Attribute, negated: bool, source: Option<bool>) -> Diagnostic {
    let message = if negated {
        "libvirt matches this destination port although the rule negates it"
    } else {
        "libvirt negates this destination port although the rule does not"
    };
    let label = match source {
        Some(_) => "libvirt gives it the sign of `srcportstart`",
        None => "libvirt gives it the sign of `srcportstart`, which is not there",
    };
    let found = Diagnostic::new(Code::PortNegation, quoted(attribute.span), message).label(label);
    if negated {
        found.help("to say the same in both readings, accept or drop the other ports in a rule of their own")
    } else {
        found
    }
}

/// Fact 12: libvirt forgets the address set of every protocol but `all`, unless its flags are
/// missing; then it makes some up.
pub(super) fn address_sets(
    reader: &mut Reader,
    protocol: Protocol,
    attributes: &mut Vec<Attribute>,
) {
    if matches!(protocol, Protocol::All | Protocol::AllIpv6) || protocol.family().is_none() {
        return;
    }
    let find = |attr| attributes.iter().find(|attribute| attribute.attr == attr);
    let (set, flags) = (find(Attr::IpSet), find(Attr::IpSetFlags));
    let strict = reader.semantics == Semantics::Strict;
    match (set, flags) {
        (None, None) => {}
        (Some(set), None) => {
            let message = format!("`ipset` of `<{protocol}>` without `ipsetflags`");
            reader.report(
                Diagnostic::new(Code::CannotBind, quoted(set.span), message)
                    .label("libvirt makes up `src`, and then cannot bind the rule"),
            );
            if !strict {
                let made_up = Attribute {
                    attr: Attr::IpSetFlags,
                    negated: false,
                    value: Value::Literal {
                        datum: Datum::SetDirections(vec![SetDirection::Src]),
                        hex: false,
                    },
                    span: set.span,
                };
                attributes.push(made_up);
            }
        }
        (set, Some(flags)) => {
            let span = set.unwrap_or(flags).span;
            let message = format!("libvirt forgets the address set of `<{protocol}>`");
            reader.report(
                Diagnostic::new(Code::IpSetLost, quoted(span), message).label(if strict {
                    "it applies the rule to all addresses"
                } else {
                    "the rule applies to all addresses"
                }),
            );
            if !strict {
                attributes.retain(|given| !matches!(given.attr, Attr::IpSet | Attr::IpSetFlags));
            }
        }
    }
}
