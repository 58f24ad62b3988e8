//! Lists: consistent pages of stored values, which stay undecoded unless a selector has to look inside.

use dunlin_api::{Kind, Status};
use dunlin_link::Revision;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    ApiService, User,
    continue_token::ContinueToken,
    options::{At, ListRequest, Selection},
    path::{ResourceRequest, Verb},
    served, store_failed, stored,
};
use crate::store::{KeyValue, ListOptions, PAGE_BYTES_MAX, PART_BYTES_MAX, Page, StoreError};

/// Some or all objects of a collection.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) items: Vec<KeyValue>,
    pub(super) revision: Revision,
    /// Leads to the rest.
    pub(super) token: Option<String>,
    /// How many follow, where that is known.
    pub(super) remaining: Option<u64>,
}

impl ApiService {
    /// All selected objects of a kind, in one namespace or, when it is empty, in all; and the revision from which a watch goes on.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn list(
        &self,
        user: &User,
        kind: &'static Kind,
        namespace: &str,
        selection: Selection,
    ) -> Result<(Vec<Value>, Revision), Status> {
        let request = ResourceRequest::of_collection(Verb::List, kind, namespace);
        self.authorize(user, &request)
            .await?
            .check_list(user, &request, |field| selection.fields.exact(field))?;
        let found = self.find(&request, &ListRequest { selection, at: At::Newest, limit: None }).await?;
        let items = found.items.iter().map(|item| served::decode(kind, &item.value, item.mod_revision));
        let items = items.collect::<Result<_, _>>()?;
        Ok((items, found.revision))
    }

    /// The stored values that a list asks for: with a limit, no more than a client can be expected to take at once.
    pub(super) async fn find(&self, request: &ResourceRequest, list: &ListRequest) -> Result<Found, Status> {
        self.find_to(request, list, Extent::Page).await
    }

    /// The next of them, for whoever goes on reading: fewer, and what follows is not counted.
    pub(super) async fn find_part(
        &self,
        request: &ResourceRequest,
        list: &ListRequest,
    ) -> Result<Found, Status> {
        self.find_to(request, list, Extent::Part).await
    }

    async fn find_to(
        &self,
        request: &ResourceRequest,
        list: &ListRequest,
        extent: Extent,
    ) -> Result<Found, Status> {
        let prefix = stored::prefix(request.kind, &request.namespace);
        let (at, after) = match &list.at {
            At::Newest => (None, None),
            At::NotOlderThan(revision) => {
                self.check_reached(*revision)?;
                (None, None)
            }
            At::Exactly(revision) => (Some(*revision), None),
            At::Continue(token) => (token.revision, Some(token.after.clone())),
        };
        let range = Range::new(request, &list.selection, prefix.clone());
        let searched = self.search(
            request.kind,
            &list.selection,
            &range,
            extent,
            ListOptions { prefix: range.prefix.clone(), after, limit: list.limit, at },
        );
        let (mut page, is_filtered) = match searched.await {
            Ok(found) => found,
            Err(Failure::Refused(status)) => return Err(status),
            Err(Failure::Store(error)) => return Err(explain(error, &list.at, &prefix)),
        };
        page.items.iter_mut().for_each(|item| self.renew_lease(request.kind, item));
        let token = match page.items.last() {
            Some(last) if page.more => {
                let next = ContinueToken { revision: Some(page.revision), after: last.key.clone() };
                Some(next.encode(&prefix))
            }
            _ => None,
        };
        let remaining =
            if is_filtered == Filtered::Yes { None } else { page.remaining.filter(|count| *count > 0) };
        Ok(Found { items: page.items, revision: page.revision, token, remaining })
    }

    /// Refuses what the store has not reached yet.
    pub(super) fn check_reached(&self, revision: Revision) -> Result<(), Status> {
        let newest = self.store().revision();
        if revision <= newest {
            Ok(())
        } else {
            Err(Status::resource_version_too_large(revision.0, newest.0))
        }
    }

    async fn search(
        &self,
        kind: &'static Kind,
        selection: &Selection,
        range: &Range,
        extent: Extent,
        options: ListOptions,
    ) -> Result<(Page, Filtered), Failure> {
        if selection.is_everything() {
            let page = match extent {
                Extent::Page => self.store().list(options).await?,
                Extent::Part => self.store().list_part(options).await?,
            };
            return Ok((page, Filtered::No));
        }
        let (limit, mut after, mut at) = (options.limit, options.after, options.at);
        let mut found: Vec<KeyValue> = Vec::new();
        let mut bytes = 0;
        loop {
            let chunk = if range.is_one { 1 } else { SEARCH_CHUNK };
            let options = ListOptions { prefix: range.prefix.clone(), after, limit: Some(chunk), at };
            let page = self.store().list_part(options).await?;
            at = Some(page.revision);
            let ended = !page.more || range.is_one;
            let count = page.items.len();
            after = page.items.last().map(|item| item.key.clone());
            for (position, item) in page.items.into_iter().enumerate() {
                if selection.matches_stored(kind, &item)? && (!range.is_one || item.key == range.prefix) {
                    bytes += item.value.len();
                    found.push(item);
                }
                if limit.is_some_and(|limit| found.len() == limit || bytes >= extent.bytes_max()) {
                    let more = position + 1 < count || !ended;
                    return Ok((
                        Page { items: found, revision: page.revision, more, remaining: None },
                        Filtered::Yes,
                    ));
                }
            }
            if ended {
                let page = Page { items: found, revision: page.revision, more: false, remaining: None };
                return Ok((page, Filtered::Yes));
            }
        }
    }
}

/// The keys in which to search: all of the collection, or one when the field selector names it.
pub(super) struct Range {
    /// Of the keys, or the one key.
    pub(super) prefix: String,
    pub(super) is_one: bool,
}

impl Range {
    pub(super) fn new(request: &ResourceRequest, selection: &Selection, prefix: String) -> Self {
        let is_placed = !request.kind.namespaced || !request.namespace.is_empty();
        match selection.fields.exact("metadata.name") {
            Some(name) if is_placed && !name.is_empty() => {
                Self { prefix: format!("{prefix}{name}"), is_one: true }
            }
            _ => Self { prefix, is_one: false },
        }
    }
}

/// How much of a list with a limit is taken at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Page,
    Part,
}

impl Extent {
    /// Bytes of objects that a selector lets through, after which it is enough.
    fn bytes_max(self) -> usize {
        match self {
            Self::Page => PAGE_BYTES_MAX,
            Self::Part => PART_BYTES_MAX,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filtered {
    Yes,
    No,
}

enum Failure {
    Refused(Status),
    Store(StoreError),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A list that came too late gets a token with which it can go on, if it can live with the difference.
fn explain(error: StoreError, at: &At, prefix: &str) -> Status {
    match (error, at) {
        (StoreError::Compacted { .. }, At::Continue(token)) => {
            let onward = ContinueToken { revision: None, after: token.after.clone() };
            Status::expired_continue(&onward.encode(prefix))
        }
        (StoreError::Compacted { .. }, _) => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        (error, _) => store_failed(error),
    }
}

impl Selection {
    /// Whether a stored object is meant; decodes no more of it than the selectors look at.
    pub(super) fn matches_stored(&self, kind: &'static Kind, item: &KeyValue) -> Result<bool, Status> {
        self.matches_value(kind, &item.value, item.mod_revision)
    }

    pub(super) fn matches_value(
        &self,
        kind: &'static Kind,
        value: &[u8],
        revision: Revision,
    ) -> Result<bool, Status> {
        if self.is_everything() {
            return Ok(true);
        }
        if !self.fields.is_empty() {
            let object = served::decode(kind, value, revision)?;
            return Ok(self.matches(kind, &object));
        }
        let json = stored::json(value).map_err(Status::internal)?;
        let labelled: Labelled = serde_json::from_slice(json).map_err(Status::internal)?;
        Ok(self.labels.matches(labelled.metadata.labels.as_ref()))
    }
}

/// The one part of an object that a label selector looks at.
#[derive(Deserialize)]
struct Labelled {
    metadata: LabelledMetadata,
}

#[derive(Deserialize)]
struct LabelledMetadata {
    labels: Option<Map<String, Value>>,
}

impl ResourceRequest {
    /// The attributes of a request about a whole collection.
    pub(super) fn of_collection(verb: Verb, kind: &'static Kind, namespace: &str) -> Self {
        Self { verb, kind, namespace: namespace.to_owned(), name: String::new(), subresource: String::new() }
    }
}

/// Objects looked at in one read while searching.
const SEARCH_CHUNK: usize = 500;
