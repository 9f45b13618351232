//! Rules that libvirt's two backends, ebtables with iptables and since 12.x nftables, read
//! differently (section 9.2 of the semantics reference).

use super::view::{get, icmp_type, is_inet, literal, rules};
use crate::{
    diag::{Code, Diagnostic},
    model::{Action, Attr, CtStates, Datum, Direction, Family, Filter, Protocol, Rule, TcpFlags},
};

/// At most so many rules are pointed at.
const MAX_LABELS: usize = 8;

/// One warning for the filter, with a reason for each of its first few rules.
pub(super) fn differ(filter: &Filter) -> Option<Diagnostic> {
    let concerned: Vec<_> = rules(filter)
        .filter_map(|rule| Some((rule.span, reasons(rule)?)))
        .collect();
    let ((span, reason), others) = concerned.split_first()?;
    let message = match concerned.len() {
        1 => "libvirt's two backends read a rule of this filter differently".to_owned(),
        count => format!("libvirt's two backends read {count} rules of this filter differently"),
    };
    let mut found = Diagnostic::new(Code::BackendsDiffer, *span, message)
        .label(reason)
        .help("the meaning here is that of the classic backend, ebtables and iptables");
    for (span, reason) in others.iter().take(MAX_LABELS - 1) {
        found = found.also(*span, reason);
    }
    Some(found)
}

fn reasons(rule: &Rule) -> Option<String> {
    let reasons = if is_inet(rule) {
        inet(rule)
    } else {
        ethernet(rule)
    };
    (!reasons.is_empty()).then(|| format!("nftables: {}", reasons.join("; ")))
}

fn ethernet(rule: &Rule) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    match rule.protocol {
        Protocol::Ip if get(rule, Attr::Dscp).is_some() => {
            reasons.push("`dscp` is the DSCP, not the TOS byte");
        }
        Protocol::Vlan if get(rule, Attr::EncapProtocol).is_some() => {
            reasons.push("`encap-protocol` works");
        }
        Protocol::Rarp if get(rule, Attr::ProtocolType).is_some() => {
            reasons.push("`protocoltype` looks at another place");
        }
        Protocol::Stp
            if rule
                .attributes
                .iter()
                .any(|a| a.attr.as_str().ends_with("-hi")) =>
        {
            reasons.push("the sense of ranges is inverted");
        }
        _ => {}
    }
    reasons
}

fn inet(rule: &Rule) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let state = get(rule, Attr::State);
    let limit = get(rule, Attr::ConnlimitAbove);
    let plain = state.is_none() && limit.is_none() && icmp_type(rule).is_none();
    let both = rule.direction == Direction::InOut;
    let accepts = rule.action == Action::Accept;
    if rule.action == Action::Reject {
        reasons.push("`reject` is silent");
    }
    if !accepts && plain && !both {
        reasons.push("acts only in the direction that is written");
    }
    if accepts && plain && both && rule.statematch {
        reasons.push("answers do not match `inout`");
    } else if both
        && rule
            .attributes
            .iter()
            .any(|a| super::view::is_directional(a.attr))
    {
        reasons.push("source and destination are not exchanged");
    }
    if accepts && plain && rule.statematch && get(rule, Attr::SrcMacAddr).is_some() {
        reasons.push("answers do not match `srcmacaddr`");
    }
    if literal(rule, Attr::State) == Some(&Datum::States(CtStates::empty())) {
        reasons.push("`state='NONE'` is the default state match");
    }
    let negatable = [Attr::Dscp, Attr::TcpOption, Attr::ConnlimitAbove];
    if negatable
        .into_iter()
        .any(|attr| get(rule, attr).is_some_and(|a| a.negated))
    {
        reasons.push("a negated `dscp`, `option` or `connlimit-above` cannot be bound");
    }
    let addresses = [
        Attr::SrcIpAddr,
        Attr::DstIpAddr,
        Attr::SrcIpFrom,
        Attr::DstIpFrom,
    ];
    let no_address = addresses.into_iter().all(|attr| get(rule, attr).is_none());
    if rule.protocol.family() == Some(Family::V6) && get(rule, Attr::Dscp).is_some() && no_address {
        reasons.push("`dscp` of IPv6 without an address cannot be bound");
    }
    if let Some(Datum::TcpFlags(TcpFlags { flags, .. })) = literal(rule, Attr::Flags)
        && flags.count_ones() > 1
    {
        reasons.push("one of several `flags` is enough");
    }
    if get(rule, Attr::IpSet).is_some() {
        reasons.push("address sets are not supported");
    }
    reasons
}
