//! The daemon is killed at every place of its work, and started again.

use std::{
    cell::RefCell, collections::BTreeSet, fs, os::unix::process::ExitStatusExt, time::Instant,
};

use nix::sys::signal::Signal;
use nwfilter_ctl::daemon::api::Call;
use nwfilter_tests::{
    daemon::Daemon,
    frame::{Dhcp, Ethernet, Ipv4, Udp, dhcp},
    learning, need,
    net::{Direction, Lan, PATIENCE},
    traffic::{MAC, OTHER, frame, is_filtered},
};
use serde_json::{Value, json};

use crate::{Host, NEEDS, bind_other, shared, unbind_other};
/// Has the daemon die at every place of a call, the last time at none. After each death `check` gets
/// whether the call was acknowledged.
fn die_everywhere(
    host: &Host,
    prepare: impl Fn(usize) -> Option<Call> + Sync,
    call: impl Fn(usize) -> Call + Sync,
    check: impl Fn(usize, bool),
) -> usize {
    let name = call(1).name();
    for place in 1.. {
        let daemon = host.under_traffic(|| host.start_to_die(name, place).unwrap());
        if let Some(call) = prepare(place) {
            host.call(&call).unwrap();
        }
        let answer = host.under_traffic(|| host.call(&call(place)));
        let acknowledged = answer.is_ok();
        if acknowledged {
            // No place is left: it is alive.
            check(place, true);
            daemon.end(Signal::SIGTERM).unwrap();
            return place - 1;
        }
        let status = daemon.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{answer:?}");
        assert!(is_filtered(&host.lan, &host.vm).unwrap(), "{name} {place}");
        let again = host.under_traffic(|| host.start());
        check(place, acknowledged);
        again.end(Signal::SIGTERM).unwrap();
    }
    unreachable!()
}

#[test]
fn dying_anywhere_in_a_binding_leaves_it_whole_or_not_at_all() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let mut outcomes = BTreeSet::new();
    let bound = |state: Option<String>| match state.as_deref() {
        Some("enforced") => true,
        None => false,
        other => panic!("{other:?}"),
    };
    let places = RefCell::new(&mut outcomes);
    let create = die_everywhere(
        &host,
        |_| None,
        |_| bind_other("shared", "10.0.0.2"),
        |_, acknowledged| {
            let bound = bound(host.state("vm2"));
            assert!(bound || !acknowledged);
            assert_eq!(host.other_may_spoof(), !bound);
            places.borrow_mut().insert(bound);
            if bound {
                host.call(&unbind_other()).unwrap();
            }
        },
    );
    assert!(create >= 6, "{create} places");
    let delete = die_everywhere(
        &host,
        |_| Some(bind_other("shared", "10.0.0.2")),
        |_| unbind_other(),
        |_, acknowledged| {
            let bound = bound(host.state("vm2"));
            assert!(!bound || !acknowledged);
            assert_eq!(host.other_may_spoof(), !bound);
        },
    );
    assert!(delete >= 4, "{delete} places");
    assert_eq!(outcomes.len(), 2, "before and after");
}

#[test]
fn dying_anywhere_in_a_change_leaves_what_was_or_what_is_to_be() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let version = |place: usize| place as u16 + 1;
    let defined = |place: usize, acknowledged: bool| {
        let filter = "shared".into();
        let text = host.call(&Call::Dumpxml { filter }).unwrap();
        let has = |version: u16| text.as_str().unwrap().contains(&format!("'{version}'"));
        assert!(
            has(version(place)) || !acknowledged && has(version(place) - 1),
            "{text}"
        );
        assert_eq!(host.state("vm1").as_deref(), Some("enforced"));
        if !has(version(place)) {
            host.call(&Call::Define {
                xml: shared(version(place)),
            })
            .unwrap();
        }
    };
    let places = die_everywhere(
        &host,
        |_| None,
        |place| Call::Define {
            xml: shared(version(place)),
        },
        defined,
    );
    assert!(places >= 6, "{places} places");
    // A binding that takes the place of another one.
    let daemon = host.start();
    host.call(&bind_other("shared", "10.0.0.2")).unwrap();
    daemon.end(Signal::SIGTERM).unwrap();
    let replaced = die_everywhere(
        &host,
        |_| None,
        |place| bind_other("shared", ["10.0.0.2", "10.0.0.3"][place % 2]),
        |_, _| assert!(!host.other_may_spoof()),
    );
    assert!(replaced >= 5, "{replaced} places");
}

#[test]
fn dying_anywhere_at_the_start_loses_nothing() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.leave_bound(&["vm2"]);
    for place in 1.. {
        // Every start has something to change: the filter, and the names of both devices.
        let filter = shared(place as u16 + 1);
        fs::write(host.site.filters().join("shared.xml"), filter).unwrap();
        let started = host.under_traffic(|| host.start_to_die("start", place));
        assert!(!host.other_may_spoof(), "{place}");
        if let Ok(daemon) = started {
            assert!(place > 4, "{place} places");
            assert!(host.states().iter().all(|(_, state)| state == "enforced"));
            daemon.end(Signal::SIGTERM).unwrap();
            break;
        }
        assert!(is_filtered(&host.lan, &host.vm).unwrap());
    }
}

/// What a server answers to the second VM: it may have an address for so many seconds.
fn lease(last: u8, seconds: u32) -> Vec<u8> {
    let server = [10, 0, 0, 254];
    let message = Dhcp {
        your_address: [10, 0, 0, last].into(),
        lease: Some(seconds),
        server: Some(server.into()),
        ..Dhcp::new(dhcp::ACK, OTHER)
    };
    Ethernet::new(Lan::OUTSIDE, OTHER).ipv4(
        &Ipv4::new(server, [255; 4]),
        &Udp::new(dhcp::SERVER, dhcp::CLIENT, message.bytes()),
    )
}

#[test]
fn dying_anywhere_while_learning_loses_no_lease_and_gives_none() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let (kept, changing) = ("10.0.0.20", "10.0.0.21");
    let outside = |frame: &[u8]| host.lan.outside().send(frame).unwrap();
    let known = |expected: &[&str]| {
        let binding = learning::wait(&host.site, &host.lan, "vm2", expected).unwrap();
        assert_eq!(binding["state"], "enforced");
    };
    let may_send = |last| {
        let mut probe = host.lan.probe(&host.other, Direction::Out);
        probe.arrives(&frame(OTHER, [10, 0, 0, last], 0)).unwrap()
    };
    let daemon = host.start();
    let dhcp = [("CTRL_IP_LEARNING", "dhcp")];
    learning::bind(&host.site, &host.lan, "vm2", OTHER, "shared", &dhcp).unwrap();
    outside(&lease(20, u32::MAX));
    known(&[kept]);
    daemon.end(Signal::SIGTERM).unwrap();
    let mut died = 0;
    for place in 1.. {
        let mut daemon = host.under_traffic(|| host.start_to_die("learn", place).unwrap());
        // Given and taken in turn.
        let (seconds, before, after) = if place % 2 == 1 {
            (3600, &[kept][..], &[kept, changing][..])
        } else {
            (0, &[kept, changing][..], &[kept][..])
        };
        known(before);
        host.under_traffic(|| {
            outside(&lease(21, seconds));
            let sent = Instant::now();
            let done = |daemon: &mut Daemon| {
                let shown = learning::show(&host.site, &host.lan, "vm2");
                daemon.has_ended().unwrap()
                    || shown.is_ok_and(|binding| learning::addresses(&binding) == after)
            };
            while !done(&mut daemon) {
                assert!(sent.elapsed() < PATIENCE, "place {place}");
            }
        });
        let alive = !daemon.has_ended().unwrap();
        // What is in force counts as acknowledged: the VM may have sent something since.
        let in_force = may_send(21);
        assert!(may_send(20) && !host.other_may_spoof(), "place {place}");
        assert!(is_filtered(&host.lan, &host.vm).unwrap());
        if alive {
            daemon.end(Signal::SIGKILL).unwrap();
        }
        let again = host.under_traffic(|| host.start());
        let expected = in_force == (seconds > 0);
        let shown = learning::show(&host.site, &host.lan, "vm2").unwrap();
        let shown = learning::addresses(&shown);
        assert!(
            shown == after || !expected && shown == before,
            "place {place}: {shown:?}"
        );
        assert_eq!(may_send(21), shown.contains(&changing), "place {place}");
        assert!(may_send(20) && !host.other_may_spoof(), "place {place}");
        if alive {
            assert_eq!(shown, after);
            break;
        }
        died += 1;
        // A server says it again, if it is asked again.
        outside(&lease(21, seconds));
        known(after);
        again.end(Signal::SIGTERM).unwrap();
    }
    assert!(died >= 6, "{died} places");
}

#[test]
fn dying_anywhere_while_guessing_takes_no_address_for_another() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let passes = |mac, last| {
        let mut probe = host.lan.probe(&host.other, Direction::Out);
        probe.arrives(&frame(mac, [10, 0, 0, last], 0)).unwrap()
    };
    let show = || learning::show(&host.site, &host.lan, "vm2");
    let any = [("CTRL_IP_LEARNING", "any")];
    let mut outcomes = BTreeSet::new();
    for place in 1.. {
        let daemon = host.start();
        // So that nothing is known of it.
        if host.state("vm2").is_some() {
            host.call(&unbind_other()).unwrap();
        }
        learning::bind(&host.site, &host.lan, "vm2", OTHER, "shared", &any).unwrap();
        assert_eq!(learning::addresses(&show().unwrap()), [] as [&str; 0]);
        daemon.end(Signal::SIGTERM).unwrap();

        let mut daemon = host.under_traffic(|| host.start_to_die("learn", place).unwrap());
        assert!(passes(OTHER, 20), "the first address is its own");
        let sent = Instant::now();
        let alive = loop {
            if daemon.has_ended().unwrap() {
                break false;
            }
            if show().is_ok_and(|binding| learning::addresses(&binding) == ["10.0.0.20"]) {
                break true;
            }
            assert!(sent.elapsed() < PATIENCE, "place {place}");
        };
        // Never another one's hardware address, and no other address any more once this is in force.
        let in_force = !passes(OTHER, 77);
        assert!(in_force || !alive, "place {place}");
        assert!(!passes(MAC, 20) && passes(OTHER, 20), "place {place}");
        if alive {
            daemon.end(Signal::SIGKILL).unwrap();
        }
        let again = host.under_traffic(|| host.start());
        assert!(!passes(MAC, 20), "place {place}");
        if in_force {
            assert!(!passes(OTHER, 77) && passes(OTHER, 20), "place {place}");
        } else {
            // Whichever it uses first now.
            passes(OTHER, 20);
            let known = |binding: &Value| learning::addresses(binding).len() == 1;
            learning::wait_until(&host.site, &host.lan, "vm2", known).unwrap();
            let own = [20, 77].map(|last| passes(OTHER, last));
            assert!(own[0] != own[1], "place {place}: {own:?}");
        }
        assert!(is_filtered(&host.lan, &host.vm).unwrap());
        again.end(Signal::SIGTERM).unwrap();
        outcomes.insert(in_force);
        if alive {
            assert!(place > 4, "{place} places");
            break;
        }
    }
    assert_eq!(outcomes.len(), 2, "before and after");
}

#[test]
fn dying_anywhere_in_an_import_changes_all_sets_or_none() {
    if !need::met(&NEEDS) {
        return;
    }
    let host = Host::new();
    let import = |place: usize| Call::SetImport {
        sets: ["a", "b"]
            .map(|name| (name.to_owned(), vec![format!("10.1.0.{place}")]))
            .into(),
    };
    let daemon = host.start();
    host.call(&import(0)).unwrap();
    daemon.end(Signal::SIGTERM).unwrap();
    let outcomes = RefCell::new(BTreeSet::new());
    let places = die_everywhere(
        &host,
        |_| None,
        import,
        |place, acknowledged| {
            let elements = ["a", "b"].map(|name| {
                let name = name.into();
                host.call(&Call::SetShow { name }).unwrap()
            });
            let is =
                |place: usize| elements == [(); 2].map(|()| json!([format!("10.1.0.{place}")]));
            assert!(
                is(place) || !acknowledged && is(place - 1),
                "place {place}: {elements:?}"
            );
            outcomes.borrow_mut().insert(is(place));
            if !is(place) {
                host.call(&import(place)).unwrap();
            }
            let left = fs::read_dir(host.site.filters().join("sets")).unwrap();
            assert_eq!(left.count(), 2);
        },
    );
    assert!(places >= 10, "{places} places");
    assert_eq!(outcomes.into_inner().len(), 2, "before and after");
}
