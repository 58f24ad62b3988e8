//! Rules of ownership, held against what any sequence of small configurations and changes does.

use std::collections::BTreeSet;

use dunlin_api::{
    Kind, Status, kind,
    managed::{Element, FieldSet, Force, Literal, applied_by},
    pipeline::{self, Applying, FieldValidation, Target},
};
use jiff::Timestamp;
use proptest::{
    collection, option,
    prelude::{
        BoxedStrategy, Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
    },
    sample::subsequence,
};
use serde_json::{Map, Value, json};

/// What a configuration says: labels, data and containers, each by its key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Config {
    labels: Vec<(&'static str, u8)>,
    replicas: Option<u8>,
    containers: Vec<Container>,
}

#[derive(Clone, Debug, PartialEq)]
struct Container {
    name: &'static str,
    image: Option<u8>,
    env: Vec<(&'static str, u8)>,
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn named<T>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Vec<(&'static str, T)>>
where
    T: std::fmt::Debug + 'static,
{
    let value = value.boxed();
    let some = subsequence(KEYS.to_vec(), 0..=KEYS.len());
    let with_values = move |keys: Vec<&'static str>| {
        let values = collection::vec(value.clone(), keys.len());
        values.prop_map(move |values| keys.iter().copied().zip(values).collect())
    };
    some.prop_flat_map(with_values).boxed()
}

fn config() -> impl Strategy<Value = Config> {
    let value = 0..3_u8;
    let container = (option::of(value.clone()), named(value.clone()));
    (named(value.clone()), option::of(value), named(container)).prop_map(|(labels, replicas, containers)| {
        let containers =
            containers.into_iter().map(|(name, (image, env))| Container { name, image, env }).collect();
        Config { labels, replicas, containers }
    })
}

impl Config {
    fn to_value(&self) -> Value {
        let labels: Map<_, _> =
            self.labels.iter().map(|(key, value)| ((*key).to_owned(), value.to_string().into())).collect();
        let containers = self.containers.iter().map(|Container { name, image, env }| {
            let mut container = json!({ "name": name });
            if let Some(image) = image {
                container["image"] = image.to_string().into();
            }
            if !env.is_empty() {
                let entry = |(name, value): &(&str, u8)| json!({"name": name, "value": value.to_string()});
                container["env"] = env.iter().map(entry).collect();
            }
            container
        });
        let containers: Vec<Value> = containers.collect();
        let mut value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
        if !labels.is_empty() {
            value["metadata"]["labels"] = labels.into();
        }
        if let Some(replicas) = self.replicas {
            value["spec"]["replicas"] = replicas.into();
        }
        if !containers.is_empty() {
            value["spec"]["template"]["spec"]["containers"] = containers.into();
        }
        value
    }

    /// Everything it says that has an owner, one line each.
    fn facts(&self) -> BTreeSet<String> {
        facts(&self.to_value())
    }

    /// The same without what `other` says in any way.
    fn without(&self, other: &Self) -> Self {
        let has = |key: &str| other.containers.iter().any(|container| container.name == key);
        Self {
            labels: self
                .labels
                .iter()
                .filter(|(key, _)| !other.labels.iter().any(|(other, _)| other == key))
                .copied()
                .collect(),
            replicas: self.replicas.filter(|_| other.replicas.is_none()),
            containers: self.containers.iter().filter(|container| !has(container.name)).cloned().collect(),
        }
    }
}

/// The labels, replicas, containers and their parts that an object has, one line each.
fn facts(object: &Value) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        facts.insert(format!("label {key} {value}"));
    }
    if let Some(replicas) = object["spec"]["replicas"].as_i64() {
        facts.insert(format!("replicas {replicas}"));
    }
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    for container in containers.into_iter().flatten() {
        let name = &container["name"];
        facts.insert(format!("container {name}"));
        if let Some(image) = container["image"].as_str() {
            facts.insert(format!("container {name} image {image}"));
        }
        for entry in container["env"].as_array().into_iter().flatten() {
            facts.insert(format!("container {name} env {} {}", entry["name"], entry["value"]));
        }
    }
    facts
}

fn deployments() -> &'static Kind {
    kind::by_kind("apps/v1", "Deployment").expect("Deployments are served")
}

fn apply(current: Option<&Value>, manager: &str, config: &Config, force: Force) -> Result<Value, Status> {
    let applying = Applying {
        target: Target::Object,
        name: "d",
        manager,
        force,
        validation: FieldValidation::Warn,
        now: Timestamp::UNIX_EPOCH,
    };
    let body = config.to_value().to_string();
    pipeline::apply(deployments(), current, body.as_bytes(), &applying).map(|applied| applied.object)
}

/// Changes the object to say what `config` says, whoever owned it.
fn update(current: &Value, manager: &str, config: &Config) -> Value {
    let mut object = current.clone();
    let value = config.to_value();
    for pointer in ["/metadata/labels", "/spec/replicas", "/spec/template/spec/containers"] {
        let (holder, key) = pointer.rsplit_once('/').expect("it starts with a slash");
        let Some(holder) = object.pointer_mut(holder).and_then(Value::as_object_mut) else { continue };
        match value.pointer(pointer) {
            Some(value) => holder.insert(key.to_owned(), value.clone()),
            None => holder.remove(key),
        };
    }
    pipeline::track(deployments(), "", current, &mut object, manager, Timestamp::UNIX_EPOCH);
    object
}

/// The fields of a manager.
fn owned(object: &Value, manager: &str) -> FieldSet {
    let entries = object["metadata"]["managedFields"].as_array();
    let own = entries.into_iter().flatten().find(|entry| entry["manager"] == manager);
    own.map_or_else(FieldSet::default, |entry| {
        FieldSet::from_fields_v1(&entry["fieldsV1"]).expect("it is ours")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Applying what is applied changes nothing, not even when it was.
    #[test]
    fn applying_twice_is_applying_once(first in config(), other in config(), changed in config()) {
        let object = apply(None, "m1", &first, Force::No).unwrap();
        let object = update(&object, "u", &changed);
        let object = apply(Some(&object), "m2", &other, Force::Yes).unwrap();
        let again = apply(Some(&object), "m2", &other, Force::No).unwrap();
        prop_assert_eq!(&again, &object);
    }

    /// What was applied is there, and its manager owns it.
    #[test]
    fn what_is_applied_is_there(first in config(), second in config(), changed in config()) {
        let object = apply(None, "m1", &first, Force::No).unwrap();
        let object = update(&object, "u", &changed);
        let object = apply(Some(&object), "m2", &second, Force::Yes).unwrap();
        prop_assert!(second.facts().is_subset(&facts(&object)), "{object}");
        prop_assert_eq!(applied_by(deployments(), &object, "m2", "").unwrap_or_else(|| Config::default().to_value()),
            second.to_value());
    }

    /// What a manager applies no longer goes, unless another who applies wants it too.
    #[test]
    fn what_is_applied_no_longer_goes(before in config(), after in config(), other in config()) {
        let object = apply(None, "m1", &before, Force::No).unwrap();
        let object = apply(Some(&object), "m2", &other, Force::Yes).unwrap();
        let object = apply(Some(&object), "m1", &after, Force::Yes).unwrap();
        let mut expected = after.facts();
        // What both say is as the last of them said it.
        let kept = other.without(&after);
        expected.extend(kept.facts());
        let found = facts(&object);
        prop_assert!(expected.is_subset(&found), "{object}");
        let both: BTreeSet<String> = before.facts().union(&after.facts()).cloned().chain(other.facts()).collect();
        prop_assert!(found.is_subset(&both), "{object}");
        for gone in before.without(&after).without(&other).facts() {
            prop_assert!(!found.contains(&gone), "{gone} in {object}");
        }
    }

    /// Two who want different things get the same object, whoever is first.
    #[test]
    fn disjoint_configurations_commute(first in config(), second in config()) {
        let second = second.without(&first);
        let one = apply(None, "m1", &first, Force::No).unwrap();
        let one = apply(Some(&one), "m2", &second, Force::No).unwrap();
        let two = apply(None, "m2", &second, Force::No).unwrap();
        let two = apply(Some(&two), "m1", &first, Force::No).unwrap();
        prop_assert_eq!(facts(&one), facts(&two));
        for manager in ["m1", "m2"] {
            prop_assert_eq!(owned(&one, manager), owned(&two, manager));
        }
    }

    /// A change takes from others what it changes or removes, and nothing else.
    #[test]
    fn changes_leave_others_what_they_do_not_touch(first in config(), changed in config()) {
        let object = apply(None, "m1", &first, Force::No).unwrap();
        let updated = update(&object, "u", &changed);
        let (before, after) = (owned(&object, "m1"), owned(&updated, "m1"));
        prop_assert!(after.difference(&before).is_empty());
        let untouched = facts(&object).intersection(&facts(&updated)).count();
        let lost = before.difference(&after);
        // Every fact that stayed as it was is still the first manager's.
        let left = applied_by(deployments(), &updated, "m1", "").map_or(0, |config| facts(&config).len());
        prop_assert!(left >= untouched, "{untouched} facts stayed, {left} are left to m1; lost {lost:?} in {updated}");
        // The writer owns what is new, unless nobody's fields are tracked.
        let new = facts(&updated).difference(&facts(&object)).count();
        let is_tracked = !object["metadata"]["managedFields"].is_null();
        prop_assert_eq!(is_tracked && new > 0, is_tracked && !owned(&updated, "u").is_empty());
    }

    /// An apply that is not forced takes nothing that another's value contradicts.
    #[test]
    fn conflicts_change_nothing(first in config(), second in config()) {
        let object = apply(None, "m1", &first, Force::No).unwrap();
        match apply(Some(&object), "m2", &second, Force::No) {
            Ok(applied) => prop_assert!(facts(&object).is_subset(&facts(&applied)), "{object} {applied}"),
            Err(status) => {
                prop_assert_eq!((status.code(), status.reason()), (409, "Conflict"));
                prop_assert!(apply(Some(&object), "m2", &second, Force::Yes).is_ok());
            }
        }
    }

    #[test]
    fn sets_survive_fields_v1(paths in collection::vec(path(), 0..12)) {
        let set = set_of(&paths);
        prop_assert_eq!(&FieldSet::from_fields_v1(&set.to_fields_v1()).unwrap(), &set);
    }

    /// Sets of paths, and nothing more.
    #[test]
    fn sets_are_sets(left in collection::vec(path(), 0..12), right in collection::vec(path(), 0..12)) {
        let (left_set, right_set) = (set_of(&left), set_of(&right));
        let paths = |paths: &[Vec<Element>]| paths.iter().cloned().collect::<BTreeSet<_>>();
        let (left, right) = (paths(&left), paths(&right));
        let check = |set: &FieldSet, expected: Vec<Vec<Element>>| {
            assert_eq!(paths(&set.paths()), expected.into_iter().collect());
        };
        check(&left_set.union(&right_set), left.union(&right).cloned().collect());
        check(&left_set.intersection(&right_set), left.intersection(&right).cloned().collect());
        check(&left_set.difference(&right_set), left.difference(&right).cloned().collect());
        let is_below = |path: &[Element], other: &Vec<Element>| path.starts_with(other);
        let without = left.iter().filter(|path| !right.iter().any(|other| is_below(path, other)));
        check(&left_set.without(&right_set), without.cloned().collect());
        let leaves = left.iter().filter(|path| !left.iter().any(|other| other != *path && is_below(other, path)));
        check(&left_set.leaves(), leaves.cloned().collect());
        for path in left.union(&right) {
            assert_eq!(left_set.contains(path), left.contains(path));
        }
    }

    /// Nothing that is sent makes the server fail.
    #[test]
    fn any_configuration_is_answered(noise in json_value(), first in config()) {
        let object = apply(None, "m1", &first, Force::No).unwrap();
        let mut config = first.to_value();
        merge_noise(&mut config, noise);
        let applying = Applying {
            target: Target::Object,
            name: "d",
            manager: "m2",
            force: Force::Yes,
            validation: FieldValidation::Strict,
            now: Timestamp::UNIX_EPOCH,
        };
        for current in [None, Some(&object)] {
            if let Err(status) = pipeline::apply(deployments(), current, config.to_string().as_bytes(), &applying) {
                prop_assert!([400, 409, 500].contains(&status.code()), "{status}");
            }
        }
    }
}

fn element() -> impl Strategy<Value = Element> {
    let literal = prop_oneof![
        (0..3_i64).prop_map(|number| json!(number)),
        "[a-c<]{0,2}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    let literal = literal.prop_map(Literal);
    prop_oneof![
        "[a-c.:]{0,2}".prop_map(Element::Field),
        literal.clone().prop_map(|value| Element::Key(vec![("k".to_owned(), value)])),
        literal.prop_map(Element::Value),
        (0..3_u64).prop_map(Element::Index),
    ]
}

fn path() -> impl Strategy<Value = Vec<Element>> {
    collection::vec(element(), 1..4)
}

fn set_of(paths: &[Vec<Element>]) -> FieldSet {
    let mut set = FieldSet::default();
    paths.iter().for_each(|path| set.insert(path));
    set
}

/// JSON with the names of real fields in it, so that it gets anywhere.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("spec"),
        Just("template"),
        Just("metadata"),
        Just("containers"),
        Just("name"),
        Just("labels"),
        Just("env"),
        Just("ports"),
        Just("containerPort"),
        Just("managedFields"),
        Just("finalizers"),
        Just("resources"),
    ];
    leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn merge_noise(config: &mut Value, noise: Value) {
    match (config, noise) {
        (Value::Object(config), Value::Object(noise)) => {
            for (key, value) in noise {
                merge_noise(config.entry(key).or_insert(Value::Null), value);
            }
        }
        (config, noise) => *config = noise,
    }
}
