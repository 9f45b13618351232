//! What each fuzz target checks of an input. Also run on the corpus, and on damaged copies of it,
//! by an ordinary test of `nwfilter-ctl`.
#![allow(dead_code, reason = "each target uses one of these")]

use std::{collections::BTreeMap, sync::Arc};

use nwfilter_common::{FrameDirection, MacAddr};
use nwfilter_ctl::{
    diag::{Diagnostic, any_error},
    format::{datum, format_binding, format_filter},
    learn::{Learner, MAX_ADDRESSES, Message, Message6, Mode, Modes, observe},
    lint::lint_filter,
    model::{Attr, Protocol, Semantics},
    parse::{Document, parse_binding, parse_document, parse_filter, parse_literal, parse_variable},
    resolve::{Limits, LoadedFilter, resolve_within},
    xml,
};

const BOTH: [Semantics; 2] = [Semantics::Strict, Semantics::Libvirt];

/// Separates the documents of an input of [`resolve`]; the last one is the binding.
const SEPARATOR: &str = "\n---\n";

/// Any bytes: findings point into the text, and what is written is read back.
pub(crate) fn documents(data: &[u8]) {
    let Ok(text) = xml::decode(data) else { return };
    for semantics in BOTH {
        let (document, found) = parse_document(text, semantics);
        assert_eq!(document.is_none(), any_error(&found));
        check_spans(text, &found);
        match document {
            None => {}
            Some(Document::Binding(binding)) => {
                let written = format_binding(&binding);
                assert_eq!(parse_binding(&written).0, Some(binding), "{written}");
            }
            Some(Document::Filter(filter)) => {
                check_spans(text, &lint_filter(&filter, semantics));
                // Libvirt's own reading of address sets is not stable.
                if semantics == Semantics::Libvirt && text.contains("ipset") {
                    continue;
                }
                let written = format_filter(&filter);
                let again = parse_filter(&written, semantics)
                    .0
                    .map(|filter| format_filter(&filter));
                assert_eq!(again, Some(written));
            }
        }
    }
}

fn check_spans(text: &str, found: &[Diagnostic]) {
    for found in found {
        for label in std::iter::once(&found.primary).chain(&found.secondary) {
            assert!(
                text.get(label.span.start..label.span.end).is_some(),
                "{found:?}"
            );
        }
    }
}

/// Two bytes choose an attribute; the rest is its value.
pub(crate) fn values(data: &[u8]) {
    let [protocol, attr, text @ ..] = data else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let _ = parse_variable(text);
    let protocol = Protocol::ALL[usize::from(*protocol) % Protocol::ALL.len()];
    let attr = Attr::ALL[usize::from(*attr) % Attr::ALL.len()];
    let Ok(parsed) = parse_literal(protocol, attr, text) else {
        return;
    };
    let written = datum(protocol, attr, &parsed.datum, parsed.hex);
    assert_eq!(
        parse_literal(protocol, attr, &written),
        Ok(parsed),
        "{written}"
    );
}

/// Filters and a binding: resolving ends, within its limits, and does so again.
pub(crate) fn resolve(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut documents: Vec<&str> = text.split(SEPARATOR).collect();
    let binding = documents.pop().and_then(|text| parse_binding(text).0);
    let Some(binding) = binding else { return };
    // Small ones, for speed; their values do not matter here.
    let limits = Limits {
        depth: 8,
        filters: 50,
        values: 50,
        rules: 500,
        tests: 5_000,
    };
    for semantics in BOTH {
        let filters: BTreeMap<String, Arc<LoadedFilter>> = documents
            .iter()
            .filter_map(|text| Some((parse_filter(text, semantics).0?, *text)))
            .map(|(filter, text)| {
                (
                    filter.name.clone(),
                    Arc::new(LoadedFilter::new(filter, text, None)),
                )
            })
            .collect();
        let first = resolve_within(&binding, &filters, semantics, &limits);
        let second = resolve_within(&binding, &filters, semantics, &limits);
        if let (Ok(first), Ok(second)) = (&first, &second) {
            assert!(first.instances.len() <= limits.rules);
            assert_eq!(first.instances, second.instances);
        }
        assert_eq!(first.is_ok(), second.is_ok());
    }
}

/// Messages of DHCP and DHCPv6, and frames one after the other, which a learner takes in: the first
/// byte is the direction, the next two are the length.
pub(crate) fn learn(data: &[u8]) {
    let _ = Message::parse(data);
    let _ = Message6::parse(data);
    let modes = Modes {
        ipv4: Mode::Any,
        ipv6: Mode::Any,
        ..Modes::default()
    };
    let mut learner = Learner::new(modes, [], 0);
    let mut rest = data;
    let mut now = 0;
    while let [direction, high, low, frame @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(frame.len());
        let (frame, next) = frame.split_at(length);
        rest = next;
        now += 30;
        let direction = match direction & 1 {
            0 => FrameDirection::In,
            _ => FrameDirection::Out,
        };
        if let Some(observation) = observe(frame, direction, VM) {
            let before: Vec<_> = learner.leases().to_vec();
            let outcome = learner.observe(&observation, now);
            assert_eq!(outcome.leases, learner.leases() != before);
            assert!(outcome.leases || !outcome.addresses);
            assert!(learner.next_expiry().is_none_or(|next| next > now));
        }
        assert!(learner.leases().len() <= 2 * MAX_ADDRESSES);
    }
}

/// The VM of the frames of [`learn`].
const VM: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
