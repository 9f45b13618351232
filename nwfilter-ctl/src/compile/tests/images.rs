//! Images: the same for the same rules, shared by ports, small.

use super::*;

#[test]
fn the_same_input_gives_the_same_bytes() {
    let image = || builtin("clean-traffic", MAC, &[("IP", "10.0.0.1")]).image;
    assert_eq!(image(), image());
}

#[test]
fn ports_that_differ_in_their_addresses_share_an_image() {
    let one = builtin("clean-traffic", MAC, &[("IP", "10.0.0.1")]);
    let other = builtin("clean-traffic", "52:54:00:00:00:02", &[("IP", "10.9.8.7")]);
    assert_eq!(one.image, other.image);
    assert_eq!(one.entries, other.entries);
    assert_ne!(one.slots, other.slots);
    let two = builtin(
        "clean-traffic",
        MAC,
        &[("IP", "10.0.0.1"), ("IP", "10.0.0.2")],
    );
    assert_ne!(one.image, two.image, "another number of addresses");
}

#[test]
fn clean_traffic_is_small() {
    let compiled = builtin("clean-traffic", MAC, &[("IP", "10.0.0.1")]);
    assert!(
        compiled.image.used_words() < 600,
        "{}",
        compiled.image.used_words()
    );
    assert_eq!(compiled.image.pages().len(), 1);
}

/// Two references give the same variable other values; each rule must be tested with its own.
#[test]
fn values_of_one_variable_in_two_scopes_have_slots_of_their_own() {
    let rules = instances(
        "<rule action='accept' direction='in'><ip srcipaddr='$IP'/></rule>\
         <rule action='accept' direction='in'><ip dstipaddr='$IP'/></rule>",
    );
    let same = compile(&rules, Semantics::Strict).unwrap();
    assert_eq!(same.slots.len(), 1, "one value, one slot");

    let mut rules = rules;
    rules[1].tests[0].values = vec![crate::model::Datum::Ipv4([10, 0, 0, 2].into())];
    let different = compile(&rules, Semantics::Strict).unwrap();
    let values: Vec<u64> = different.slots.iter().map(|slot| slot.value).collect();
    assert_eq!(values, [0x0a00_0001, 0x0a00_0002]);
}

#[test]
fn a_run_of_slots_is_no_longer_than_a_node_can_compare() {
    let rule = &instances("<rule action='accept' direction='in'><ip srcipaddr='$IP'/></rule>")[0];
    let rules: Vec<Instance> = (0..12_u8)
        .map(|i| {
            let mut rule = rule.clone();
            let test = &mut rule.tests[0];
            test.values = vec![crate::model::Datum::Ipv4([10, 0, 0, i].into())];
            // As two references with six values each make them.
            test.variable.as_mut().unwrap().index = u32::from(i % 6);
            rule
        })
        .collect();
    let compiled = compile(&rules, Semantics::Strict).unwrap();
    let runs: Vec<usize> = compiled.lists[&(FrameDirection::In, TableLayer::Ethernet)]
        .iter()
        .flat_map(|rule| &rule.conditions)
        .filter_map(|condition| match condition {
            Condition::Slots(test, _) => Some(usize::from(test.count)),
            _ => None,
        })
        .collect();
    assert_eq!(runs.iter().sum::<usize>(), 12);
    assert!(
        runs.iter().all(|&run| run <= nwfilter_common::MAX_SLOT_RUN),
        "{runs:?}"
    );
}

#[test]
fn a_filter_with_more_limits_than_a_frame_may_meet_is_refused() {
    let filter = |count| {
        let rule = "<rule action='drop' direction='in'><tcp connlimit-above='3'/></rule>";
        instances(&rule.repeat(count))
    };
    let most = nwfilter_common::MAX_LOOKED;
    assert!(compile(&filter(most), Semantics::Strict).is_ok());
    let error = compile(&filter(most + 1), Semantics::Strict).unwrap_err();
    assert!(
        matches!(error, CompileError::TooManyLimits { .. }),
        "{error}"
    );
}

#[test]
fn only_images_that_ask_for_tcp_options_have_them_looked_for() {
    use nwfilter_common::{WORD_FLAGS, flag};
    let asks = |entries| compiled(entries).image.words()[WORD_FLAGS] & flag::TCP_OPTIONS != 0;
    assert!(!asks(
        "<rule action='drop' direction='in'><tcp flags='SYN/SYN'/></rule>"
    ));
    assert!(asks(
        "<rule action='drop' direction='in'><tcp option='3'/></rule>"
    ));
}
