//! The attributes of a rule's protocol elements: which there are, and what their values say.

use super::{
    AttributeSpec, Kind, Support, alias, attributes,
    document::{Reader, quoted},
    fixup, parse_literal, parse_variable,
    value::MAX_COMMENT,
};
use crate::{
    diag::{Code, Diagnostic, closest},
    model::{Attr, Attribute, CtStates, Datum, Family, Protocol, Semantics, Span, Value},
    xml::{self, Element},
};

/// What the elements of one rule have said so far.
pub(super) struct RuleAttributes {
    protocol: Protocol,
    attributes: Vec<Attribute>,
    failed: bool,
    /// The missing protocol has been reported.
    ports_reported: bool,
}

impl RuleAttributes {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            attributes: Vec::new(),
            failed: false,
            ports_reported: false,
        }
    }

    /// Reads one more element of the rule's protocol.
    pub(super) fn element(&mut self, reader: &mut Reader, element: &Element<'_>) {
        let negated = negated(reader, element);
        reader.no_content(element);
        let specs = attributes(self.protocol);
        let known: Vec<_> = element
            .attributes
            .iter()
            .map(|given| (attr_of(self.protocol, given.name), given))
            .collect();
        for spec in specs {
            // A name that only the documentation knows gives way to the real one.
            let of = |by_alias| {
                known
                    .iter()
                    .find(|(attr, _)| *attr == Some((spec.attr, by_alias)))
            };
            if let Some((_, given)) = of(false).or_else(|| of(true)) {
                self.attribute(reader, *spec, given, negated);
            }
        }
        for (attr, given) in &known {
            if attr.is_none() && given.name != "match" {
                let names = specs.iter().map(|spec| spec.attr.as_str()).chain(["match"]);
                reader.unknown_attribute(element, given, names);
            }
        }
        self.check_ports(reader, element);
    }

    /// The attributes in the order of [`Attr`]; `None` after an error.
    pub(super) fn finish(mut self, reader: &mut Reader) -> Option<Vec<Attribute>> {
        if self.failed {
            return None;
        }
        self.attributes.sort_by_key(|attribute| attribute.attr);
        fixup::signs(reader, self.protocol, &mut self.attributes);
        fixup::address_sets(reader, self.protocol, &mut self.attributes);
        self.attributes.sort_by_key(|attribute| attribute.attr);
        Some(self.attributes)
    }

    fn attribute(
        &mut self,
        reader: &mut Reader,
        spec: AttributeSpec,
        given: &xml::Attribute<'_>,
        negated: bool,
    ) {
        let by_alias = given.name != spec.attr.as_str();
        if spec.support == Support::Ignored || by_alias {
            not_read(reader, self.protocol, given);
            if reader.semantics == Semantics::Libvirt {
                return;
            }
        }
        let Some(value) = value(reader, self.protocol, spec, given) else {
            self.failed = true;
            return;
        };
        let attribute = Attribute {
            attr: spec.attr,
            negated,
            value,
            span: given.span,
        };
        if let Some(before) = self
            .attributes
            .iter_mut()
            .find(|before| before.attr == spec.attr)
        {
            let message = format!("attribute `{}` of this rule is given again", spec.attr);
            reader.report(
                Diagnostic::new(Code::AttributeOverwritten, quoted(given.span), message)
                    .label("this value counts")
                    .also(quoted(before.span), "this one is forgotten"),
            );
            *before = attribute;
        } else {
            self.attributes.push(attribute);
        }
    }

    /// Ports of `ip` and `ipv6` need a literal protocol that has ports, in the same or an earlier
    /// element.
    fn check_ports(&mut self, reader: &mut Reader, element: &Element<'_>) {
        const PORTS: [Attr; 4] = [
            Attr::SrcPortStart,
            Attr::SrcPortEnd,
            Attr::DstPortStart,
            Attr::DstPortEnd,
        ];
        /// TCP, UDP, DCCP and SCTP.
        const WITH_PORTS: [u32; 4] = [6, 17, 33, 132];
        if self.ports_reported || !matches!(self.protocol, Protocol::Ip | Protocol::Ipv6) {
            return;
        }
        let find = |attr| self.attributes.iter().find(|given| given.attr == attr);
        let Some(port) = PORTS.iter().find_map(|attr| find(*attr)) else {
            return;
        };
        let protocol = find(Attr::IpProtocol);
        let known = protocol.is_some_and(|protocol| {
            matches!(&protocol.value, Value::Literal { datum: Datum::Number(number), .. }
                if WITH_PORTS.contains(number))
        });
        if known {
            return;
        }
        let message = format!("`{}` needs a protocol that has ports", port.attr);
        let mut found = Diagnostic::new(Code::PortsWithoutProtocol, quoted(port.span), message)
            .expected(
                "`protocol` in the same or an earlier element, one of `tcp`, `udp`, `sctp`, `33`",
            );
        found = match protocol {
            Some(protocol) => found.also(quoted(protocol.span), "this has none"),
            None if element.attribute("protocol").is_some() => return self.failed = true,
            None => found.also(element.name_span, "no protocol is given here"),
        };
        reader.report(found);
        self.failed = true;
        self.ports_reported = true;
    }
}

/// The attribute of a name, and whether only libvirt's documentation knows the name.
fn attr_of(protocol: Protocol, name: &str) -> Option<(Attr, bool)> {
    let known = |attr: Attr| attributes(protocol).iter().any(|spec| spec.attr == attr);
    match Attr::from_name(name).filter(|attr| known(*attr)) {
        Some(attr) => Some((attr, false)),
        None => alias(protocol, name).map(|attr| (attr, true)),
    }
}

fn negated(reader: &mut Reader, element: &Element<'_>) -> bool {
    let Some(attribute) = element.attribute("match") else {
        return false;
    };
    if !matches!(&*attribute.value, "no" | "yes") {
        let message = format!("`match='{}'` does not negate", attribute.value);
        reader.report(
            Diagnostic::new(Code::OddKeyword, quoted(attribute.span), message)
                .label("read as `yes`")
                .expected("`no` or `yes`"),
        );
    }
    attribute.value == "no"
}

fn not_read(reader: &mut Reader, protocol: Protocol, given: &xml::Attribute<'_>) {
    let message = format!("libvirt does not read `{}` of `<{protocol}>`", given.name);
    reader.report(
        Diagnostic::new(Code::NotRead, given.name_span, message).label(match reader.semantics {
            Semantics::Strict => "it applies the rule without this test",
            Semantics::Libvirt => "ignored: the rule applies without this test",
        }),
    );
}

/// Reads a value; `None` after an error.
fn value(
    reader: &mut Reader,
    protocol: Protocol,
    spec: AttributeSpec,
    given: &xml::Attribute<'_>,
) -> Option<Value> {
    let text = &*given.value;
    if let Some(variable) = parse_variable(text) {
        return match variable {
            Ok(access) => {
                variable_remarks(reader, spec, given);
                Some(Value::Variable(access))
            }
            Err(error) => {
                let message = format!("`{text}` is no variable");
                reader.report(
                    Diagnostic::new(Code::MalformedVariable, given.span, message)
                        .label(error.to_string())
                        .expected("`$NAME`, `$NAME[@ITERATOR]` or `$NAME[INDEX]`"),
                );
                None
            }
        };
    }
    if spec.support == Support::ReadAsIpv4 {
        return range_end(reader, protocol, spec, given);
    }
    match parse_literal(protocol, spec.attr, text) {
        Ok(parsed) => {
            literal_remarks(reader, spec, given, &parsed.datum);
            Some(Value::Literal {
                datum: parsed.datum,
                hex: parsed.hex,
            })
        }
        Err(_) => illegal(reader, spec.kind, given),
    }
}

fn illegal(reader: &mut Reader, kind: Kind, given: &xml::Attribute<'_>) -> Option<Value> {
    let message = format!("`{}` has the illegal value `{}`", given.name, given.value);
    let mut found =
        Diagnostic::new(Code::IllegalValue, quoted(given.span), message).expected(kind.expected());
    if let Some(name) = closest(&given.value, kind.names().iter().map(|(name, _)| *name)) {
        found = found.help(format!("did you mean `{name}`?"));
    } else if matches!(kind, Kind::Address(_)) && given.value.contains('/') {
        found = found.help("the mask goes into an attribute of its own");
    } else if kind == Kind::Mac && given.value.contains('-') {
        found = found.help("the groups of a MAC address are separated by `:`");
    }
    reader.report(found);
    None
}

/// `dstipto` of IPv6, which libvirt reads as an IPv4 address.
fn range_end(
    reader: &mut Reader,
    protocol: Protocol,
    spec: AttributeSpec,
    given: &xml::Attribute<'_>,
) -> Option<Value> {
    let strict = reader.semantics == Semantics::Strict;
    // Any element of the family will do to read an address.
    let as_ipv4 = parse_literal(Protocol::All, spec.attr, &given.value);
    let as_ipv6 = parse_literal(protocol, spec.attr, &given.value);
    let message = format!("libvirt takes only IPv4 addresses for `{}`", given.name);
    let found = Diagnostic::new(Code::RangeEndFamily, quoted(given.span), message);
    let parsed = match (strict, as_ipv4, as_ipv6) {
        (true, _, Ok(parsed)) => {
            reader.report(found.label("it refuses this filter"));
            parsed
        }
        (false, Ok(parsed), _) => {
            reader.report(found.label("an IPv4 address in a rule of IPv6 cannot be bound"));
            parsed
        }
        (true, _, Err(_)) => return illegal(reader, spec.kind, given),
        (false, Err(_), _) => {
            let found = illegal(reader, Kind::Address(Family::V4), given);
            if let Some(last) = reader.found.last_mut() {
                last.help = Some(
                    "libvirt reads the end of an IPv6 range as IPv4; \
                                  `--semantics strict` reads it as it is meant"
                        .into(),
                );
            }
            return found;
        }
    };
    Some(Value::Literal {
        datum: parsed.datum,
        hex: parsed.hex,
    })
}

/// Warns of what happens to variables where libvirt does not expect them.
fn variable_remarks(reader: &mut Reader, spec: AttributeSpec, given: &xml::Attribute<'_>) {
    let name = given.name;
    let warn = |code, message| Diagnostic::new(code, given.span, message);
    match spec.kind {
        Kind::States | Kind::TcpFlags | Kind::Bool => reader.report(
            warn(
                Code::VariableVanishes,
                format!("libvirt drops the test of `{name}` because its value is a variable"),
            )
            .label(match reader.semantics {
                Semantics::Strict => "it applies the rule without this test",
                Semantics::Libvirt => "the rule applies without this test",
            }),
        ),
        Kind::Comment | Kind::SetDirections => reader.report(warn(
            Code::CannotBind,
            format!("libvirt cannot bind a rule whose `{name}` is a variable"),
        )),
        _ => {}
    }
    if let Some(at) = given
        .value
        .find(']')
        .filter(|at| at + 1 < given.value.len())
    {
        let start = given.span.start + at + 1;
        let span = Span {
            start,
            end: given.span.end,
        };
        // References to characters make the value shorter than its bytes.
        let span = if span.start < span.end {
            span
        } else {
            given.span
        };
        let message = "text after a variable is ignored";
        reader.report(Diagnostic::new(Code::TextIgnored, span, message));
    }
}

/// Warns of spellings that mean something else than they seem to.
fn literal_remarks(
    reader: &mut Reader,
    spec: AttributeSpec,
    given: &xml::Attribute<'_>,
    datum: &Datum,
) {
    let text = &*given.value;
    let warn = |code, message| Diagnostic::new(code, quoted(given.span), message);
    match datum {
        Datum::Number(number) if text.contains('-') && *number != 0 && !spec.is_name(text) => {
            reader.report(warn(
                Code::NumberWraps,
                format!("`{text}` is read as {number}"),
            ));
        }
        Datum::Mac(mac) | Datum::MacMask(mac)
            if text
                .trim_ascii_end()
                .contains(|c: char| c.is_ascii_whitespace()) =>
        {
            let message = format!("what follows the blank in `{text}` is ignored");
            reader.report(
                Diagnostic::new(Code::TextIgnored, given.span, message)
                    .label(format!("read as {mac}")),
            );
        }
        Datum::Ipv4(address) if address.to_string() != text => {
            reader.report(
                warn(
                    Code::SurprisingAddress,
                    format!("`{text}` is read as {address}"),
                )
                .label("numbers that begin with 0 are octal, and the last one fills the rest")
                .help(format!("write `{address}` if that is what you mean")),
            );
        }
        Datum::Bool(value) if !matches!(text, "true" | "false" | "yes" | "no" | "1" | "0") => {
            reader.report(
                warn(Code::OddKeyword, format!("`{text}` is read as `{value}`"))
                    .expected("`true` or `false`"),
            );
        }
        Datum::States(states)
            if *states == CtStates::empty() && !text.to_ascii_uppercase().contains("NONE") =>
        {
            reader.report(
                warn(Code::EmptyState, "the list of states is empty".into())
                    .label("no state is tested")
                    .help("to test no state, write `state='NONE'`"),
            );
        }
        Datum::Text(_) if spec.kind == Kind::Comment && text.len() > MAX_COMMENT => {
            let message = format!(
                "the comment has {} bytes, {MAX_COMMENT} are kept",
                text.len()
            );
            reader.report(warn(Code::CommentTruncated, message));
        }
        _ => {}
    }
}

impl AttributeSpec {
    /// The text is one of the names of numbers.
    fn is_name(&self, text: &str) -> bool {
        self.kind
            .names()
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(text))
    }
}
