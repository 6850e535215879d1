use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::address::{Class, class};
use super::*;
use crate::policy::Allowlist;

fn list(entries: &[&str]) -> Allowlist {
    Allowlist::new(entries.iter().map(|entry| entry.parse().unwrap()).collect())
}

/// Both judgements, as for a name that resolves to a public address.
fn ask(list: &Allowlist, authority: &str) -> Result<(), String> {
    let target = Target::of_tunnel(authority, []).map_err(|error| error.to_string())?;
    super::ask(list, &target).map_err(|refusal| refusal.to_string())?;
    let address = match target.host {
        Host::Address(address) => address,
        Host::Name(_) => Ipv4Addr::new(93, 184, 216, 34).into(),
    };
    dial(list, address, target.port, false).map_err(|refusal| refusal.to_string())
}

#[test]
fn addresses_that_are_not_public_are_known_in_every_wrapping() {
    let inner = [
        ("127.0.0.1", Class::Loopback),
        ("127.255.0.9", Class::Loopback),
        ("0.0.0.0", Class::Unspecified),
        ("0.1.2.3", Class::Unspecified),
        ("10.1.2.3", Class::Private),
        ("172.16.0.1", Class::Private),
        ("172.31.255.255", Class::Private),
        ("192.168.1.1", Class::Private),
        ("100.64.0.1", Class::Shared),
        ("100.127.255.255", Class::Shared),
        ("169.254.1.1", Class::LinkLocal),
        ("169.254.169.254", Class::Metadata),
        ("100.100.100.200", Class::Metadata),
        ("168.63.129.16", Class::Metadata),
        ("192.0.0.192", Class::Metadata),
        ("224.0.0.1", Class::Multicast),
        ("239.255.255.255", Class::Multicast),
        ("255.255.255.255", Class::Reserved),
        ("240.0.0.1", Class::Reserved),
        ("198.18.0.1", Class::Reserved),
        ("192.0.2.1", Class::Reserved),
        ("8.8.8.8", Class::Public),
        ("172.32.0.1", Class::Public),
        ("172.15.0.1", Class::Public),
        ("100.63.0.1", Class::Public),
        ("100.128.0.1", Class::Public),
        ("169.253.0.1", Class::Public),
        ("11.0.0.1", Class::Public),
        ("223.255.255.255", Class::Public),
    ];
    for (text, expected) in inner {
        let v4: Ipv4Addr = text.parse().unwrap();
        assert_eq!(class(v4.into()), expected, "{text}");
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let wrapped = [
            [0, 0, 0, 0, 0, 0, high, low],
            [0, 0, 0, 0, 0, 0xffff, high, low],
            [0, 0, 0, 0, 0xffff, 0, high, low],
            [0x64, 0xff9b, 0, 0, 0, 0, high, low],
            [0x64, 0xff9b, 1, 0, 0, 0, high, low],
            [0x2002, high, low, 0, 0, 0, 0, 1],
            [0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low],
            [0x2a00, 1, 2, 3, 0, 0x5efe, high, low],
            [0x2a00, 1, 2, 3, 0x200, 0x5efe, high, low],
            [0xfe80, 0, 0, 0, 0, 0x5efe, high, low],
        ];
        for segments in wrapped {
            let v6 = Ipv6Addr::from(segments);
            let found = class(v6.into());
            let nat64 = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            if expected == Class::Public && nat64 {
                assert_eq!(found, Class::Public, "{v6}");
            } else {
                assert_ne!(found, Class::Public, "{v6} of {text}");
            }
        }
    }
    let six = [
        ("::", Class::Unspecified),
        ("::1", Class::Loopback),
        ("fe80::1", Class::LinkLocal),
        ("fec0::1", Class::LinkLocal),
        ("fc00::1", Class::Private),
        ("fd12:3456::1", Class::Private),
        ("fd00:ec2::254", Class::Metadata),
        ("fd20:ce::254", Class::Metadata),
        ("ff02::1", Class::Multicast),
        ("2001:db8::1", Class::Reserved),
        ("2001:2::1", Class::Reserved),
        ("2001:20::1", Class::Reserved),
        ("3fff:1::1", Class::Reserved),
        ("100::1", Class::Reserved),
        ("5f00::1", Class::Reserved),
        ("4000::1", Class::Reserved),
        ("2606:4700::1111", Class::Public),
        ("2001:4860:4860::8888", Class::Public),
    ];
    for (text, expected) in six {
        assert_eq!(class(text.parse().unwrap()), expected, "{text}");
    }
}

#[test]
fn a_host_has_one_spelling() {
    for (text, host) in [
        ("GOOD.com", "good.com"),
        ("good.com.", "good.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("93.184.216.34", "93.184.216.34"),
        ("93.184.216.34.", "93.184.216.34"),
        ("[2606:4700:0:0::1111]", "[2606:4700::1111]"),
        ("_dmarc.good.com", "_dmarc.good.com"),
        ("3com.example", "3com.example"),
    ] {
        assert_eq!(Host::parse(text).unwrap().to_string(), host, "{text}");
    }
    for text in [
        "",
        ".",
        "..",
        "good..com",
        "good.com..",
        "127.1",
        "0",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "127.0.0.01",
        "0127.0.0.1",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "256.1.1.1",
        "good.com.1",
        "good.0x",
        "[::1%eth0]",
        "[::1%25lo]",
        "[::1",
        "::1",
        "[127.0.0.1]",
        "good.com\0.evil",
        "evil.com#.good.com",
        "user@good.com",
        "good.com%2eevil",
        "b\u{fc}cher.de",
        "\u{ff47}ood.com",
        "good\u{3002}com",
        "good com",
        "good.com/",
        "good.com\\",
        "\u{2488}27.0.0.1",
        "*.good.com",
    ] {
        assert!(Host::parse(text).is_err(), "{text:?}: {:?}", Host::parse(text));
    }
    assert!(Host::parse(&"a".repeat(64)).is_err());
    assert!(Host::parse(&["a"; 128].join(".")).is_err());
    assert!(Host::parse(&["a"; 127].join(".")).is_ok());
}

#[test]
fn labels_are_matched_whole() {
    let list = list(&["*.good.com:443", "*.good.com:80", "exact.example:443", "ported.example:8443"]);
    for allowed in
        ["a.good.com:443", "a.b.good.com:80", "A.GOOD.COM.:443", "exact.example:443", "ported.example:8443"]
    {
        assert_eq!(ask(&list, allowed), Ok(()), "{allowed}");
    }
    for refused in [
        "good.com:443",
        "evilgood.com:443",
        "good.com.evil.com:443",
        "a.good.com.evil.com:443",
        "a.good.com:22",
        ".good.com:443",
        "sub.exact.example:443",
        "ported.example:443",
        "exact.example:8443",
        "a.good.co:443",
        "evil.com#.good.com:443",
        "user@a.good.com:443",
        "a.good.com:0",
        "a.good.com:+443",
        "a.good.com:99999",
        "a.good.com",
        "a.good.com:443:443",
        "93.184.216.34:443",
    ] {
        assert!(ask(&list, refused).is_err(), "{refused}");
    }
}

#[test]
fn an_empty_list_allows_nothing() {
    let empty = Allowlist::default();
    assert!(empty.is_empty());
    for host in ["good.com:443", "93.184.216.34:443", "localhost:80", "[2606:4700::1111]:443"] {
        assert!(ask(&empty, host).is_err(), "{host}");
    }
}

#[test]
fn no_list_leads_to_this_machine_or_a_metadata_service_by_a_name() {
    let list = list(&[
        "localhost:80",
        "*.localhost.localdomain:80",
        "metadata.google.internal:80",
        "instance-data:80",
        "*.google.internal:80",
    ]);
    for refused in [
        "localhost:80",
        "LOCALHOST.:80",
        "a.localhost:80",
        "a.localhost.:80",
        "metadata.google.internal:80",
        "metadata.google.internal.:80",
        "instance-data:80",
        "127.0.0.1:80",
        "[::1]:80",
        "[::]:80",
        "0.0.0.0:80",
        "169.254.169.254:80",
        "[::ffff:127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
        "[2002:7f00:1::]:80",
        "[fe80::1]:80",
        "[fd00:ec2::254]:80",
        "8.8.8.8:443",
        "[::127.0.0.1]:80",
    ] {
        assert!(ask(&list, refused).is_err(), "{refused}");
    }
}

#[test]
fn what_is_not_public_opens_by_its_own_address_only() {
    let list = list(&[
        "registry.example:8080",
        "10.0.0.5:8080",
        "[fd00::5]:443",
        "127.0.0.1:9000",
        "93.184.216.34:443",
    ]);
    for open in
        ["10.0.0.5:8080", "127.0.0.1:9000", "[fd00:0::5]:443", "93.184.216.34:443", "registry.example:8080"]
    {
        assert_eq!(ask(&list, open), Ok(()), "{open}");
    }
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(dial(&list, address("10.0.0.5"), 8080, false), Ok(()));
    assert_eq!(dial(&list, address("8.8.8.8"), 8080, false), Ok(()));
    assert_eq!(dial(&list, address("8.8.8.8"), 8080, true), Err(Refusal::Own));
    assert_eq!(dial(&list, address("93.184.216.34"), 443, true), Ok(()));
    for (refused, port) in
        [("10.0.0.5", 80), ("10.0.0.6", 8080), ("127.0.0.1", 80), ("::ffff:10.0.0.5", 8080)]
    {
        assert!(dial(&list, address(refused), port, false).is_err(), "{refused}:{port}");
        let authority =
            if refused.contains(':') { format!("[{refused}]:{port}") } else { format!("{refused}:{port}") };
        assert!(ask(&list, &authority).is_err(), "{authority}");
    }
}

#[test]
fn the_host_field_must_agree() {
    let of = |scheme: &str, authority: &str, hosts: &[&str]| {
        Target::of_request(Some(scheme), Some(authority), hosts.iter().map(|it| it.as_bytes()))
    };
    assert_eq!(of("http", "Good.com", &["good.com"]).unwrap().to_string(), "good.com:80");
    assert_eq!(of("HTTP", "good.com:8080", &["good.com:8080"]).unwrap().port, 8080);
    assert_eq!(of("http", "good.com", &["good.com:80"]).unwrap().host_field(), "good.com");
    assert_eq!(of("http", "good.com", &[]).unwrap().port, 80);
    for (scheme, authority, hosts) in [
        ("http", "good.com", &["evil.com"][..]),
        ("http", "good.com", &["good.com", "good.com"]),
        ("http", "good.com:8080", &["good.com"]),
        ("http", "user@good.com", &["good.com"]),
        ("http", "good.com", &["user@good.com"]),
        ("https", "good.com", &["good.com"]),
        ("ftp", "good.com", &["good.com"]),
    ] {
        assert!(of(scheme, authority, hosts).is_err(), "{scheme} {authority} {hosts:?}");
    }
    assert_eq!(Target::of_request(None, Some("good.com"), []), Err(TargetError::Origin));
    assert!(Target::of_tunnel("good.com:443", [&b"good.com"[..]]).is_ok());
    assert!(Target::of_tunnel("good.com:443", [&b"evil.com:443"[..]]).is_err());
}

proptest! {
    /// Whatever is taken for a host, a URL parser of the WHATWG kind takes for the same one.
    #[test]
    fn a_url_parser_reads_the_same_host(text in prop_oneof![
        "[a-zA-Z0-9._-]{1,20}",
        "(0x)?[0-9a-fA-F]{1,4}(\\.(0x)?[0-9a-f]{1,4}){0,4}\\.?",
        "\\[[0-9a-f:.]{2,24}\\]",
        "(xn--)?[a-z0-9-]{1,8}\\.(com|COM|1|0x1)\\.?",
        "\\PC{1,12}",
    ]) {
        let Ok(host) = Host::parse(&text) else { return Ok(()) };
        match (url::Host::parse(&text), &host) {
            (Ok(url::Host::Domain(theirs)), Host::Name(ours)) => {
                prop_assert_eq!(theirs.strip_suffix('.').unwrap_or(&theirs), ours);
            }
            (Ok(url::Host::Ipv4(theirs)), Host::Address(ours)) => prop_assert_eq!(IpAddr::V4(theirs), *ours),
            (Ok(url::Host::Ipv6(theirs)), Host::Address(ours)) => prop_assert_eq!(IpAddr::V6(theirs), *ours),
            // It knows punycode, and that some of it means nothing; a name server answers that there is no such name.
            (Err(_), Host::Name(name)) => prop_assert!(name.contains("xn--"), "{}", name),
            (theirs, ours) => prop_assert!(false, "{:?} and {:?}", theirs, ours),
        }
    }

    #[test]
    fn one_spelling_is_its_own(text in "\\PC{0,30}|[a-z0-9.:\\[\\]x-]{0,30}") {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(&host.to_string()).unwrap(), host);
        }
    }

    /// No address outside 2000::/3 and the well-known NAT64 prefix is ever public, and no IPv4 address that std knows to
    /// be special.
    #[test]
    fn special_addresses_are_never_public(four in any::<u32>(), six in any::<u128>(), low in any::<u32>()) {
        let v4 = Ipv4Addr::from(four);
        if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_documentation() || v4.is_broadcast() {
            prop_assert_ne!(class(v4.into()), Class::Public);
        }
        for bits in [six, u128::from(low), (0xffff << 32) | u128::from(low), (six >> 3) | (1 << 125)] {
            let v6 = Ipv6Addr::from(bits);
            let global = v6.segments()[0] >> 13 == 1 || v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            prop_assert!(global || class(v6.into()) != Class::Public, "{}", v6);
        }
    }

    #[test]
    fn more_labels_in_front_stay_below(front in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,3}", rest in "[a-z]{1,8}") {
        let list = list(&["*.good.com:443"]);
        let below = format!("{front}.good.com:443");
        let beside = format!("{front}good.com:443");
        let above = format!("{front}.good.com.{rest}:443");
        prop_assert!(ask(&list, &below).is_ok());
        prop_assert!(ask(&list, &beside).is_err());
        prop_assert!(ask(&list, &above).is_err());
    }
}
