//! The table of leases: what each event does to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::{
        Kind, Kind6, Learner, Lease, MAX_ADDRESSES, Message, Message6, Mode, Modes, Observation,
        Offered, Outcome, Source,
    },
    SERVER, VM,
};
use crate::model::Parameters;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);

fn learner(ipv4: Mode) -> Learner {
    let modes = Modes {
        ipv4,
        ipv6: Mode::None,
        ..Modes::default()
    };
    Learner::new(modes, [], 0)
}

fn message(kind: Kind) -> Message {
    Message {
        kind,
        transaction: 7,
        client: VM,
        client_address: Ipv4Addr::UNSPECIFIED,
        your_address: Ipv4Addr::UNSPECIFIED,
        requested: None,
        lease_time: None,
        server: Some(SERVER),
    }
}

fn answered(message: Message) -> Observation {
    Observation::Answered {
        server: SERVER,
        message,
    }
}

fn ack(address: Ipv4Addr, time: u32) -> Observation {
    answered(Message {
        your_address: address,
        lease_time: Some(time),
        ..message(Kind::Ack)
    })
}

fn request(address: Ipv4Addr, transaction: u32) -> Observation {
    Observation::Sent(Message {
        requested: Some(address),
        transaction,
        ..message(Kind::Request)
    })
}

fn addresses(learner: &Learner) -> Vec<IpAddr> {
    learner.addresses().collect()
}

const BOTH: Outcome = Outcome {
    addresses: true,
    leases: true,
};
const LEASES: Outcome = Outcome {
    addresses: false,
    leases: true,
};
const NOTHING: Outcome = Outcome {
    addresses: false,
    leases: false,
};

#[test]
fn an_ack_gives_a_lease_and_another_one_renews_it() {
    let mut learner = learner(Mode::Dhcp);
    assert_eq!(learner.observe(&ack(A, 60), 100), BOTH);
    assert_eq!(
        learner.leases(),
        [Lease {
            address: A.into(),
            source: Source::Dhcp {
                server: SERVER.into()
            },
            expires: Some(160),
        }]
    );
    assert_eq!(learner.observe(&ack(A, 60), 130), LEASES);
    assert_eq!(learner.next_expiry(), Some(190));
    assert_eq!(learner.expire(189), NOTHING);
    assert_eq!(learner.expire(190), BOTH);
    assert_eq!(learner.leases(), []);
}

#[test]
fn nothing_but_an_ack_with_an_address_and_a_time_gives_a_lease() {
    let mut learner = learner(Mode::Dhcp);
    let offer = answered(Message {
        your_address: A,
        lease_time: Some(60),
        ..message(Kind::Other)
    });
    let without_time = answered(Message {
        your_address: A,
        ..message(Kind::Ack)
    });
    let unusable = [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]];
    let unusable = unusable.map(|address| ack(address.into(), 60));
    for observation in [offer, without_time, ack(A, 0), request(A, 7)]
        .iter()
        .chain(&unusable)
    {
        assert_eq!(learner.observe(observation, 0), NOTHING, "{observation:?}");
    }
    // Nor what the VM sends.
    assert_eq!(learner.observe(&Observation::Used(A), 0), NOTHING);
    assert_eq!(
        learner.observe(
            &Observation::Sent(Message {
                your_address: A,
                lease_time: Some(60),
                ..message(Kind::Ack)
            }),
            0
        ),
        NOTHING
    );
}

#[test]
fn several_leases_live_side_by_side_each_with_its_time() {
    let mut learner = learner(Mode::Dhcp);
    learner.observe(&ack(A, 60), 0);
    learner.observe(&ack(B, 120), 0);
    // Renewed, it keeps its place.
    assert_eq!(learner.observe(&ack(A, 60), 30), LEASES);
    assert_eq!(addresses(&learner), [IpAddr::from(A), B.into()]);
    assert_eq!(learner.expire(90), BOTH);
    assert_eq!(addresses(&learner), [IpAddr::from(B)]);
}

#[test]
fn an_infinite_lease_stays_until_a_shorter_one_takes_its_place() {
    let mut learner = learner(Mode::Dhcp);
    learner.observe(&ack(A, u32::MAX), 0);
    assert_eq!(learner.next_expiry(), None);
    assert_eq!(learner.expire(u64::MAX), NOTHING);
    learner.observe(&ack(A, u32::MAX - 1), 5);
    assert_eq!(learner.next_expiry(), Some(5 + u64::from(u32::MAX) - 1));
    assert_eq!(learner.observe(&ack(A, 0), 6), BOTH);
}

#[test]
fn what_is_over_counts_for_nothing_also_before_anybody_looked() {
    let mut learner = learner(Mode::Dhcp);
    learner.observe(&ack(A, 10), 0);
    assert_eq!(learner.observe(&request(A, 1), 10), BOTH);
    assert_eq!(addresses(&learner), [] as [IpAddr; 0]);
}

#[test]
fn release_and_decline_end_the_lease_that_they_name() {
    let release = Observation::Sent(Message {
        client_address: A,
        ..message(Kind::Release)
    });
    let decline = Observation::Sent(Message {
        requested: Some(A),
        ..message(Kind::Decline)
    });
    for end in [release, decline] {
        let mut learner = learner(Mode::Dhcp);
        learner.observe(&ack(A, 60), 0);
        learner.observe(&ack(B, 60), 0);
        assert_eq!(learner.observe(&end, 1), BOTH, "{end:?}");
        assert_eq!(addresses(&learner), [IpAddr::from(B)]);
        assert_eq!(learner.observe(&end, 1), NOTHING);
    }
}

#[test]
fn a_nak_ends_the_lease_that_was_asked_for() {
    let mut learner = learner(Mode::Dhcp);
    let nak = |transaction| {
        answered(Message {
            transaction,
            ..message(Kind::Nak)
        })
    };
    learner.observe(&ack(A, 60), 0);
    learner.observe(&ack(B, 60), 0);
    learner.observe(&request(A, 1), 1);
    let renewal = Message {
        client_address: B,
        transaction: 2,
        ..message(Kind::Request)
    };
    learner.observe(&Observation::Sent(renewal), 1);
    assert_eq!(learner.observe(&nak(3), 2), NOTHING);
    assert_eq!(learner.observe(&nak(2), 2), BOTH);
    assert_eq!(addresses(&learner), [IpAddr::from(A)]);
    assert_eq!(learner.observe(&nak(2), 2), NOTHING);
    // One that has been answered otherwise is no longer open.
    learner.observe(&request(A, 7), 3);
    learner.observe(&ack(A, 60), 3);
    assert_eq!(learner.observe(&nak(7), 3), NOTHING);
}

#[test]
fn only_trusted_servers_count() {
    let modes = Modes {
        ipv4: Mode::Dhcp,
        servers: vec![SERVER],
        ..Modes::default()
    };
    let mut learner = Learner::new(modes, [], 0);
    let Observation::Answered { message, .. } = ack(A, 60) else {
        unreachable!()
    };
    let strange = Observation::Answered {
        server: B,
        message: message.clone(),
    };
    assert_eq!(learner.observe(&strange, 0), NOTHING);
    assert_eq!(learner.observe(&answered(message), 0), BOTH);
    let nak = Observation::Answered {
        server: B,
        message: Message {
            transaction: 9,
            ..self::message(Kind::Nak)
        },
    };
    learner.observe(&request(A, 9), 0);
    assert_eq!(learner.observe(&nak, 0), NOTHING);
}

#[test]
fn the_first_address_that_is_used_counts_until_a_server_knows_better() {
    let mut learner = learner(Mode::Any);
    assert_eq!(learner.observe(&Observation::Used(A), 0), BOTH);
    assert_eq!(learner.observe(&Observation::Used(B), 1), NOTHING);
    assert_eq!(learner.next_expiry(), None);
    // What was never leased cannot be given back.
    let release = Observation::Sent(Message {
        client_address: A,
        ..message(Kind::Release)
    });
    assert_eq!(learner.observe(&release, 1), NOTHING);
    assert_eq!(learner.observe(&ack(A, 60), 2), LEASES);
    assert_eq!(learner.observe(&Observation::Used(B), 3), NOTHING);
    assert_eq!(learner.expire(62), BOTH);
    assert_eq!(learner.observe(&Observation::Used(B), 63), BOTH);
    assert_eq!(learner.observe(&ack(A, 60), 64), BOTH);
    assert_eq!(addresses(&learner), [IpAddr::from(A)]);
}

#[test]
fn no_vm_has_more_than_its_share() {
    let mut learner = learner(Mode::Dhcp);
    for last in 1..=MAX_ADDRESSES as u8 + 1 {
        learner.observe(&ack([10, 0, 0, last].into(), 60), 0);
    }
    assert_eq!(learner.leases().len(), MAX_ADDRESSES);
    assert_eq!(addresses(&learner)[0], IpAddr::from([10, 0, 0, 2]));
    for transaction in 0..1000 {
        learner.observe(&request(A, transaction), 0);
    }
    assert!(learner.pending.len() <= super::super::learner::MAX_PENDING);
}

#[test]
fn ipv6_is_learned_only_if_asked_for() {
    let reply = |address, valid| Observation::Answered6 {
        server: SERVER6,
        message: Message6 {
            kind: Kind6::Reply,
            addresses: vec![Offered { address, valid }],
        },
    };
    let claim = Observation::Claimed(B6);
    let with = |ipv6| {
        let modes = Modes {
            ipv4: Mode::Any,
            ipv6,
            ..Modes::default()
        };
        let mut learner = Learner::new(modes, [], 0);
        learner.observe(&reply(A6, 60), 0);
        learner.observe(&claim, 0);
        learner
    };
    assert_eq!(addresses(&with(Mode::None)), [] as [IpAddr; 0]);
    assert_eq!(addresses(&with(Mode::Dhcp)), [IpAddr::from(A6)]);
    let mut learner = with(Mode::Any);
    assert_eq!(addresses(&learner), [IpAddr::from(A6), B6.into()]);
    // Both families have their own share.
    assert_eq!(learner.observe(&Observation::Used(A), 1), BOTH);
    let release = Observation::Sent6(Message6 {
        kind: Kind6::Release,
        addresses: vec![Offered {
            address: A6,
            valid: 60,
        }],
    });
    assert_eq!(learner.observe(&release, 1), BOTH);
    assert_eq!(learner.observe(&reply(A6, u32::MAX), 2), BOTH);
    assert_eq!(learner.next_expiry(), None);
    assert_eq!(learner.observe(&reply(A6, 0), 3), BOTH);
    for last in 10..30 {
        let address = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
        learner.observe(&Observation::Claimed(address), 4);
    }
    // The first ones count; nobody pushes them out.
    assert_eq!(learner.leases().len(), 1 + MAX_ADDRESSES);
    assert_eq!(addresses(&learner)[0], IpAddr::from(B6));
}

#[test]
fn what_was_known_before_is_known_again_if_it_is_still_valid() {
    let lease = |address: Ipv4Addr, expires| Lease {
        address: address.into(),
        source: Source::Dhcp {
            server: SERVER.into(),
        },
        expires,
    };
    let used = Lease {
        source: Source::Traffic,
        ..lease(SERVER, None)
    };
    let known = [lease(A, Some(50)), lease(B, Some(51)), used];
    let with = |ipv4, servers| {
        let modes = Modes {
            ipv4,
            servers,
            ..Modes::default()
        };
        Learner::new(modes, known, 50)
    };
    assert_eq!(with(Mode::Any, vec![]).leases(), &known[1..]);
    assert_eq!(with(Mode::Dhcp, vec![SERVER]).leases(), &known[1..2]);
    assert_eq!(with(Mode::Dhcp, vec![A]).leases(), []);
    assert_eq!(with(Mode::None, vec![]).leases(), []);
}

#[test]
fn parameters_say_how_to_learn() {
    let modes = |parameters: &[(&str, &[&str])]| {
        let parameters = parameters.iter().map(|(name, values)| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            ((*name).to_owned(), values)
        });
        Modes::of(&Parameters(parameters.collect()))
    };
    let default = modes(&[]).unwrap();
    assert_eq!((default.ipv4, default.ipv6), (Mode::Any, Mode::None));
    let all = modes(&[
        ("CTRL_IP_LEARNING", &["DHCP"]),
        ("CTRL_IPV6_LEARNING", &["Any"]),
        ("DHCPSERVER", &["10.0.0.254", "10.0.0.2"]),
        ("DHCPSERVERV6", &["fe80::9"]),
    ])
    .unwrap();
    assert_eq!(
        all,
        Modes {
            ipv4: Mode::Dhcp,
            ipv6: Mode::Any,
            servers: vec![SERVER, B],
            servers6: vec![SERVER6],
        }
    );
    for (name, value) in [
        ("CTRL_IP_LEARNING", "sometimes"),
        ("CTRL_IPV6_LEARNING", ""),
        ("DHCPSERVER", "fe80::9"),
        ("DHCPSERVERV6", "10.0.0.254"),
    ] {
        let error = modes(&[(name, &[value])]).unwrap_err();
        assert_eq!((error.name, error.value.as_str()), (name, value));
    }
}
