//! What one watch asks for, and what of all changes that is.

use super::{
    Plan,
    record::{Change, Colour, Sequence, What},
};

/// Which ConfigMaps a watch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    /// Those of all writers.
    All,
    /// All of a namespace.
    Namespace(usize),
    /// Those of a namespace that a label chooses.
    Coloured(usize, Choice),
    /// One.
    Object(usize),
}

/// A choice of colours, in one of the forms of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Choice {
    Equal(Colour),
    NotEqual(Colour),
    /// Two of three.
    In(Colour, Colour),
}

impl Scope {
    /// Path and query parameters.
    pub(super) fn request(self, plan: &Plan) -> (String, Vec<(&'static str, String)>) {
        let within = |namespace| format!("/api/v1/namespaces/{}/configmaps", namespace_name(namespace));
        match self {
            Self::All => ("/api/v1/configmaps".to_owned(), vec![("labelSelector", "colour".to_owned())]),
            Self::Namespace(namespace) => (within(namespace), Vec::new()),
            Self::Coloured(namespace, choice) => {
                (within(namespace), vec![("labelSelector", choice.selector())])
            }
            Self::Object(object) => {
                let selector = format!("metadata.name={}", object_name(object));
                (within(object % plan.namespaces), vec![("fieldSelector", selector)])
            }
        }
    }

    /// What a watch of this scope must tell.
    pub(super) fn expected(self, plan: &Plan, changes: &[Change]) -> Sequence {
        let mut sequence = Sequence::default();
        for change in changes.iter().filter(|change| self.may_hold(plan, change.object)) {
            let chosen = |colour: Option<Colour>| colour.filter(|colour| self.chooses(*colour)).is_some();
            let what = match (chosen(change.before), chosen(change.after)) {
                (false, true) => What::Added,
                (true, true) => What::Modified,
                (true, false) => What::Deleted,
                (false, false) => continue,
            };
            sequence.push(change.revision, what);
        }
        sequence
    }

    fn may_hold(self, plan: &Plan, object: usize) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) | Self::Coloured(namespace, _) => {
                object % plan.namespaces == namespace
            }
            Self::Object(one) => object == one,
        }
    }

    fn chooses(self, colour: Colour) -> bool {
        match self {
            Self::Coloured(_, choice) => choice.holds(colour),
            Self::All | Self::Namespace(_) | Self::Object(_) => true,
        }
    }
}

impl Choice {
    fn selector(self) -> String {
        match self {
            Self::Equal(colour) => format!("colour={}", colour.as_str()),
            Self::NotEqual(colour) => format!("colour!={}", colour.as_str()),
            Self::In(one, other) => format!("colour in ({},{})", one.as_str(), other.as_str()),
        }
    }

    fn holds(self, colour: Colour) -> bool {
        match self {
            Self::Equal(one) => colour == one,
            Self::NotEqual(one) => colour != one,
            Self::In(one, other) => colour == one || colour == other,
        }
    }
}

/// Scopes for ever: of twenty watches ten are of one object, five of a namespace, five by labels. One of a thousand sees everything.
pub(super) fn choices(plan: &Plan) -> impl Iterator<Item = Scope> {
    let (namespaces, objects) = (plan.namespaces, plan.writers * plan.objects);
    (0..).map(move |position: usize| {
        // A round later the same remainder falls onto other namespaces and objects.
        let namespace = (position / 20) % namespaces;
        match position % 20 {
            _ if position % 1000 == 999 => Scope::All,
            0..5 => Scope::Namespace(namespace),
            step @ 5..10 => Scope::Coloured(namespace, choice(step)),
            step => Scope::Object((position / 20 * 10 + step - 10) % objects),
        }
    })
}

fn choice(step: usize) -> Choice {
    match step {
        5 => Choice::Equal(Colour::Red),
        6 => Choice::Equal(Colour::Blue),
        7 => Choice::NotEqual(Colour::Green),
        8 => Choice::In(Colour::Red, Colour::Green),
        _ => Choice::In(Colour::Green, Colour::Blue),
    }
}

pub(super) fn namespace_name(namespace: usize) -> String {
    format!("bench-{namespace}")
}

pub(super) fn object_name(object: usize) -> String {
    format!("object-{object}")
}
