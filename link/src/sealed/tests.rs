//! What is sealed opens at its own place with its own key, and nowhere else.

use rand::{SeedableRng, rngs::StdRng};

use super::*;

fn place(cluster: &str, node: &str) -> SealingPlace {
    SealingPlace { cluster_id: cluster.into(), node: NodeName::new(node) }
}

fn secret(value: &str) -> ConfigObject {
    ConfigObject { kind: ConfigKind::Secret, data: vec![("password".into(), value.into())] }
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

#[test]
fn sealed_content_opens_at_its_own_place_only() {
    let mut rng = rng();
    let (key, other) = (SealingKey::generate(&mut rng), SealingKey::generate(&mut rng));
    let (id, here) = (Digest::of(b"id"), place("c", "n"));
    let object = secret("hunter2");
    let sealed = key.public().seal(&object, &id, &here, &mut rng).unwrap();
    let text = String::from_utf8_lossy(&sealed.bytes).into_owned();
    assert!(!text.contains("hunter2") && !text.contains("password"));
    assert_eq!(key.open(&sealed, &id, &here), Ok(object.clone()));
    let kept = SealingKey::from_bytes(&key.reveal()).unwrap();
    assert_eq!(kept.open(&sealed, &id, &here), Ok(object.clone()));

    assert_eq!(key.open(&sealed, &Digest::of(b"other"), &here), Err(UnsealError::Damaged));
    for elsewhere in [place("c", "n2"), place("c2", "n"), place("c\0n", "")] {
        assert_eq!(key.open(&sealed, &id, &elsewhere), Err(UnsealError::Damaged), "{elsewhere:?}");
    }
    assert_eq!(other.open(&sealed, &id, &here), Err(UnsealError::OtherKey));
    let stolen = Sealed { recipient: other.public(), ..sealed.clone() };
    assert_eq!(other.open(&stolen, &id, &here), Err(UnsealError::Damaged));
    for length in 0..sealed.bytes.len() {
        let cut = Sealed { bytes: sealed.bytes[..length].to_vec(), ..sealed.clone() };
        assert_eq!(key.open(&cut, &id, &here), Err(UnsealError::Damaged), "{length} bytes");
    }
    for at in 0..sealed.bytes.len() {
        let mut changed = sealed.clone();
        changed.bytes[at] ^= 1;
        assert_eq!(key.open(&changed, &id, &here), Err(UnsealError::Damaged), "byte {at}");
    }
}

#[test]
fn each_sealing_is_another() {
    let mut rng = rng();
    let key = SealingKey::generate(&mut rng).public();
    let mut seal = || key.seal(&secret("x"), &Digest::of(b"id"), &place("c", "n"), &mut rng).unwrap();
    assert_ne!(seal().bytes, seal().bytes);
}

#[test]
fn a_key_that_agrees_with_everyone_is_refused() {
    let zero = SealingPublicKey::from_bytes(&[0; 32]).unwrap();
    assert!(zero.seal(&secret("x"), &Digest::of(b"id"), &place("c", "n"), &mut rng()).is_err());
    assert_eq!(SealingPublicKey::from_bytes(&[1; 31]), None);
    assert!(SealingKey::from_bytes(&[1; 33]).is_none());
}

#[test]
fn the_id_of_a_secret_is_keyed_and_that_of_a_config_map_is_not() {
    let (one, two) = (ContentKey::from_bytes([1; 32]), ContentKey::from_bytes([2; 32]));
    let object = secret("1234");
    assert_ne!(one.id(&object), two.id(&object));
    assert_ne!(one.id(&object), Digest::of(&codec::encode(&object)));
    assert_eq!(one.id(&object), one.id(&object));
    let map = ConfigObject { kind: ConfigKind::ConfigMap, ..object };
    assert_eq!((one.id(&map), two.id(&map)), (Digest::of(&codec::encode(&map)), one.id(&map)));
}

#[test]
fn secrets_do_not_show() {
    let mut rng = rng();
    let key = SealingKey::generate(&mut rng);
    let object = secret("hunter2");
    let shown = format!(
        "{key:?} {object:?} {:?} {:?}",
        Content::from(object.clone()),
        ContentKey::from_bytes([0x77; 32])
    );
    assert!(!shown.contains("hunter2") && !shown.contains("119"), "{shown}");
    let private: Vec<String> = key.reveal().iter().map(u8::to_string).collect();
    assert!(!shown.contains(&private.join(", ")), "{shown}");
}
