use l2sm_controller::tls::subject;

use super::*;

fn authority(previous: Option<&str>) -> Authority {
    let made = make(OffsetDateTime::now_utc()).unwrap();
    Authority::read(&secret("ns", &made, previous, None)).unwrap()
}

fn csr() -> Vec<u8> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(vec!["l2sm-operator".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("l2sm://admin/me".try_into().unwrap()));
    params.serialize_request(&pair).unwrap().der().to_vec()
}

#[test]
fn of_a_request_only_the_key_counts() {
    let pem = authority(None).sign_node(&csr(), "n1", OffsetDateTime::now_utc()).unwrap();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(subject(&der), Ok("l2sm://node/n1".parse().unwrap()));
    let (_, parsed) = parse_x509_certificate(&der).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1, "{names:?}");
    assert!(!parsed.is_ca());
    let validity = parsed.validity();
    let good = validity.not_after.to_datetime() - validity.not_before.to_datetime();
    assert_eq!(good, Duration::hours(25));
}

#[test]
fn what_is_no_request_is_refused() {
    let why = authority(None).sign_node(b"hello", "n1", OffsetDateTime::now_utc()).unwrap_err();
    assert!(why.to_string().starts_with("csr: it is no"), "{why}");
}

#[test]
fn the_next_authority_is_told_long_before_it_signs() {
    let first = authority(None);
    let before = |days| first.ends - Duration::days(days);
    assert!(first.rotated("ns", before(366)).unwrap().is_none());

    let told = Authority::read(&first.rotated("ns", before(364)).unwrap().unwrap()).unwrap();
    assert_eq!(told.certificate, first.certificate);
    assert_eq!(CertificateDer::pem_slice_iter(told.bundle().as_bytes()).count(), 2);
    assert!(told.rotated("ns", before(181)).unwrap().is_none());

    let second = Authority::read(&told.rotated("ns", before(179)).unwrap().unwrap()).unwrap();
    assert_eq!(Some(second.certificate.clone()), told.next.map(|(certificate, _)| certificate));
    assert_eq!(second.previous, Some(first.certificate.clone()));
    assert!(second.rotated("ns", before(170)).unwrap().is_none());
}

#[test]
fn old_and_new_authority_are_told_together() {
    let old = authority(None);
    let new = authority(Some(&old.certificate));
    let found = CertificateDer::pem_slice_iter(new.bundle().as_bytes()).count();
    assert_eq!(found, 2);
    assert!(new.server("ns", None, OffsetDateTime::now_utc()).is_ok());
}

#[test]
fn only_the_holder_of_the_lease_replaces_an_authority_that_ends() {
    let now = OffsetDateTime::now_utc();
    let mut held = secret("ns", &make(now).unwrap(), None, None);
    held.metadata.resource_version = Some("7".to_owned());
    let late = now + AUTHORITY - Duration::days(364);
    let step = |part, now| decide(Some(&held), "ns", now, part).unwrap();
    for part in [Part::Starter, Part::Follower] {
        assert!(matches!(step(part, late), Step::Keep(_)), "{part:?}");
    }
    assert!(matches!(step(Part::Holder, now), Step::Keep(_)), "it is good for long");
    let Step::Replace(new) = step(Part::Holder, late) else { panic!("nothing is prepared") };
    assert_eq!(
        new.metadata.resource_version.as_deref(),
        Some("7"),
        "nobody else's is written over"
    );
    assert!(new.data.unwrap().contains_key(NEXT_CERT));
}

#[test]
fn who_only_follows_makes_no_authority() {
    let now = OffsetDateTime::now_utc();
    for part in [Part::Holder, Part::Starter] {
        assert!(matches!(decide(None, "ns", now, part), Ok(Step::Create(_))), "{part:?}");
    }
    let why = decide(None, "ns", now, Part::Follower).err().unwrap().to_string();
    assert_eq!(why, "there is no Secret l2sm-ca: the holder of the lease makes one");
}
