//! Whole collections as a stream: part after part of one revision, so that a list of any size takes the memory of one part.

use std::io;

use bytes::Bytes;
use dunlin_api::Status;
use futures_util::stream;

use super::{
    ApiService,
    list::Found,
    list_text::ListText,
    options::{At, ListRequest},
    path::ResourceRequest,
    response::{ByteStream, Response},
    shape::Shaper,
};

/// A list that is being told.
struct Telling {
    service: ApiService,
    request: ResourceRequest,
    list: ListRequest,
    text: ListText,
    next: Next,
}

/// What comes next.
enum Next {
    /// The rest after this part's items, which are told already.
    Part(At),
    /// The end of the list.
    End,
    /// Nothing.
    Nothing,
}

impl ApiService {
    /// Answers a list without a limit as text.
    pub(super) async fn list_whole(
        &self,
        request: ResourceRequest,
        mut list: ListRequest,
        shaper: Shaper,
    ) -> Result<Response, Status> {
        list.limit = Some(PART_OBJECTS);
        let first = self.find_part(&request, &list).await?;
        if first.token.is_none() {
            return shaper.list(&first);
        }
        let next = following(&request, &first)?;
        let mut start = Vec::new();
        let metadata = serde_json::json!({"resourceVersion": first.revision.to_string()});
        let mut text = ListText::start(shaper, &metadata, &mut start)?;
        text.items(&first.items, &mut start)?;
        let telling = Telling { service: self.clone(), request, list, text, next };
        let parts = stream::unfold((Some(Bytes::from(start)), telling), |(start, mut telling)| async {
            if let Some(start) = start {
                return Some((Ok(start), (None, telling)));
            }
            let part = telling.part().await?;
            Some((part, (None, telling)))
        });
        Ok(Response::parts(shaper.accepted.encoding.media_type(), ByteStream::new(parts)))
    }
}

impl Telling {
    async fn part(&mut self) -> Option<io::Result<Bytes>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => None,
            Next::End => {
                let mut end = Vec::new();
                self.text.end(&mut end);
                (!end.is_empty()).then(|| Ok(end.into()))
            }
            Next::Part(at) => {
                self.list.at = at;
                // The answer has begun: what fails now can only cut it off.
                Some(self.items().await.map_err(io::Error::other))
            }
        }
    }

    async fn items(&mut self) -> Result<Bytes, Status> {
        let found = self.service.find_part(&self.request, &self.list).await?;
        let mut part = Vec::new();
        self.text.items(&found.items, &mut part)?;
        self.next = following(&self.request, &found)?;
        Ok(part.into())
    }
}

fn following(request: &ResourceRequest, found: &Found) -> Result<Next, Status> {
    next_part(request, found).map(|next| next.map_or(Next::End, Next::Part))
}

/// Where a list goes on after a part; `None` at its end.
pub(super) fn next_part(request: &ResourceRequest, found: &Found) -> Result<Option<At>, Status> {
    let Some(token) = &found.token else { return Ok(None) };
    let prefix = super::stored::prefix(request.kind, &request.namespace);
    let token = super::continue_token::ContinueToken::decode(token, &prefix);
    token.map(|token| Some(At::Continue(token))).map_err(|error| Status::internal(error.to_string()))
}

/// Objects read and written at once, if they are small.
pub(super) const PART_OBJECTS: usize = 500;
