//! Values and variables, one by one.

use crate::model::{Attr, Datum, Protocol, Selector, VariableAccess};
use crate::parse::{VariableError, attributes, parse_literal, parse_value, parse_variable};

#[test]
fn the_first_number_that_parses_decides() {
    // 600 is a decimal number, if one below 0x600; it is not tried as hexadecimal.
    assert!(parse_value(Protocol::Mac, Attr::ProtocolId, "600").is_err());
    assert_eq!(
        parse_value(Protocol::Mac, Attr::ProtocolId, "0x600"),
        Ok(Datum::Number(0x600))
    );
}

#[test]
fn hexadecimal_is_remembered_unless_the_value_has_a_name() {
    let hex = |protocol, attr, text| parse_literal(protocol, attr, text).map(|value| value.hex);
    assert_eq!(hex(Protocol::Vlan, Attr::VlanId, "fff"), Ok(true));
    assert_eq!(hex(Protocol::Vlan, Attr::VlanId, "100"), Ok(false));
    assert_eq!(hex(Protocol::Mac, Attr::ProtocolId, "0x806"), Ok(false));
    assert_eq!(hex(Protocol::Arp, Attr::Opcode, "0x10"), Ok(false));
}

#[test]
fn no_element_has_an_attribute_twice() {
    for &protocol in Protocol::ALL {
        let list = attributes(protocol);
        for (index, spec) in list.iter().enumerate() {
            assert!(
                list[..index].iter().all(|other| other.attr != spec.attr),
                "{protocol} {}",
                spec.attr
            );
        }
    }
}

#[test]
fn variables() {
    let access = |name: &str, selector| {
        Some(Ok(VariableAccess {
            name: name.into(),
            selector,
        }))
    };
    let iterator = |id, written| Selector::Iterator { id, written };
    for (text, expected) in [
        ("V", None),
        ("$V", access("V", iterator(0, false))),
        ("$V[@0]", access("V", iterator(0, true))),
        ("$V[@1000]", access("V", iterator(1000, true))),
        ("$V[ @\t1 ]", access("V", iterator(1, true))),
        ("$V[4]", access("V", Selector::Element(4))),
        ("$V[ 01 ]", access("V", Selector::Element(1))),
        ("$V[-1]", access("V", Selector::Element(u32::MAX))),
        ("$V[1]x", access("V", Selector::Element(1))),
        ("$", access("", iterator(0, false))),
        ("$V[@1001]", Some(Err(VariableError::Iterator))),
        ("$V[4294967296]", Some(Err(VariableError::Selector))),
        ("$V[]", Some(Err(VariableError::Selector))),
        ("$V[0x1]", Some(Err(VariableError::Selector))),
        ("$V[1", Some(Err(VariableError::Unclosed))),
        ("$V ", Some(Err(VariableError::Name))),
        ("$V.a", Some(Err(VariableError::Name))),
        ("$$V", Some(Err(VariableError::Name))),
        ("$V [1]", Some(Err(VariableError::Name))),
    ] {
        assert_eq!(parse_variable(text), expected, "{text}");
    }
}
