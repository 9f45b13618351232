//! Bindings.

use std::collections::BTreeMap;

use nwfilter_common::MacAddr;

use crate::{
    diag::{Code, any_error},
    format::format_binding,
    model::{Binding, Parameters},
    parse::parse_binding,
};

const OWNER: &str = "<owner><name>vm &amp; 1</name>\
                     <uuid>11111111-2222-3333-4444-555555555555</uuid></owner>";
const PORT: &str = "<portdev name='vnet0'/>";
const MAC: &str = "<mac address='52:54:0:1:2:3'/>";
const FILTER: &str = "<filterref filter='clean-traffic'/>";

fn codes(content: &str) -> Vec<Code> {
    let (binding, found) = parse_binding(&format!("<filterbinding>{content}</filterbinding>"));
    assert_eq!(binding.is_none(), any_error(&found), "{content}");
    found.iter().map(|found| found.code).collect()
}

/// Recorded from libvirt 9.0.0.
const WRITTEN: &str = "\
<filterbinding>
  <owner>
    <name>vm &amp; 1</name>
    <uuid>11111111-2222-3333-4444-555555555555</uuid>
  </owner>
  <portdev name='vnet0'/>
  <linkdev name='eth0'/>
  <mac address='52:54:00:01:02:03'/>
  <filterref filter='f'>
    <parameter name='A' value='x'/>
    <parameter name='IP' value='1.1.1.1'/>
    <parameter name='IP' value='2.1.1.1'/>
  </filterref>
</filterbinding>
";

#[test]
fn all_parts_in_any_order() {
    let text = format!(
        "<filterbinding><filterref filter='f'><parameter name='IP' value='1.1.1.1'/>\
         <parameter name='A' value='x'/><parameter name='IP' value='2.1.1.1'/></filterref>\
         {MAC}<linkdev name='eth0'/>{PORT}{OWNER}</filterbinding>"
    );
    let values = |list: &[&str]| list.iter().map(|value| (*value).to_owned()).collect();
    let binding = Binding {
        owner_name: "vm & 1".into(),
        owner_uuid: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        port: "vnet0".into(),
        link: Some("eth0".into()),
        mac: MacAddr([0x52, 0x54, 0, 1, 2, 3]),
        filter: "f".into(),
        parameters: Parameters(BTreeMap::from([
            ("A".to_owned(), values(&["x"])),
            ("IP".to_owned(), values(&["1.1.1.1", "2.1.1.1"])),
        ])),
    };
    assert_eq!(parse_binding(&text), (Some(binding.clone()), vec![]));
    assert_eq!(format_binding(&binding), WRITTEN);
    assert_eq!(parse_binding(WRITTEN), (Some(binding.clone()), vec![]));
    // As libvirt stores it.
    let status = format!("<filterbindingstatus>\n{WRITTEN}</filterbindingstatus>");
    assert_eq!(parse_binding(&status), (Some(binding), vec![]));
}

#[test]
fn a_small_one_is_written_without_the_rest() {
    let text = format!("<filterbinding>{OWNER}{PORT}{MAC}{FILTER}</filterbinding>");
    let binding = parse_binding(&text).0.unwrap();
    let written = format_binding(&binding);
    assert!(
        written.contains("  <filterref filter='clean-traffic'/>\n"),
        "{written}"
    );
    assert!(!written.contains("linkdev"), "{written}");
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    use Code as C;
    let uuid = "<uuid>11111111-2222-3333-4444-555555555555</uuid>";
    let cases: &[(String, &[Code])] = &[
        (format!("{OWNER}{PORT}{MAC}{FILTER}"), &[]),
        (format!("{PORT}{MAC}{FILTER}"), &[C::IncompleteBinding]),
        (String::new(), &[C::IncompleteBinding; 4]),
        (
            format!("<owner>{uuid}</owner>{PORT}{MAC}{FILTER}"),
            &[C::IncompleteBinding],
        ),
        (
            format!("<owner><name/>{uuid}</owner>{PORT}{MAC}{FILTER}"),
            &[C::IncompleteBinding],
        ),
        (
            format!("<owner><name>x</name></owner>{PORT}{MAC}{FILTER}"),
            &[C::IncompleteBinding],
        ),
        (
            format!("<owner><name>x</name><uuid>zz</uuid></owner>{PORT}{MAC}{FILTER}"),
            &[C::MalformedUuid],
        ),
        (format!("{OWNER}{MAC}{FILTER}"), &[C::IncompleteBinding]),
        (
            format!("{OWNER}<portdev/>{MAC}{FILTER}"),
            &[C::MissingAttribute],
        ),
        (
            format!("{OWNER}<portdev name=''/>{MAC}{FILTER}"),
            &[C::MissingAttribute],
        ),
        (
            format!("{OWNER}<portdev name='../x'/>{MAC}{FILTER}"),
            &[C::IllegalValue],
        ),
        (
            format!("{OWNER}{PORT}<linkdev/>{MAC}{FILTER}"),
            &[C::MissingAttribute],
        ),
        (format!("{OWNER}{PORT}{FILTER}"), &[C::IncompleteBinding]),
        (
            format!("{OWNER}{PORT}<mac/>{FILTER}"),
            &[C::MissingAttribute],
        ),
        (
            format!("{OWNER}{PORT}<mac address='52-54-0-1-2-3'/>{FILTER}"),
            &[C::IllegalValue],
        ),
        (format!("{OWNER}{PORT}{MAC}"), &[C::IncompleteBinding]),
        (
            format!("{OWNER}{PORT}{MAC}<filterref/>"),
            &[C::MissingAttribute],
        ),
        (
            format!("{OWNER}{PORT}{PORT}{MAC}{FILTER}<foo/>"),
            &[C::ElementIgnored, C::UnknownElement],
        ),
        (
            format!(
                "{OWNER}{PORT}{MAC}<filterref filter='f'><parameter name='I P' value='1'/></filterref>"
            ),
            &[C::ParameterDropped],
        ),
    ];
    for (content, expected) in cases {
        assert_eq!(codes(content), *expected, "{content}");
    }
    let (binding, found) = parse_binding("<filterbindingstatus/>");
    assert_eq!((binding, found[0].code), (None, C::IncompleteBinding));
    let (binding, found) = parse_binding("<filter name='f'/>");
    assert_eq!((binding, found[0].code), (None, C::WrongRoot));
}
