//! Whole collections as a stream: page after page of one revision, so that a list of any size takes the memory of one page.

use std::io;

use bytes::Bytes;
use dunlin_api::Status;
use futures_util::stream;

use super::{
    ApiService,
    list::Found,
    options::{At, ListRequest},
    path::ResourceRequest,
    response::{ByteStream, JSON, Response},
    shape::Shaper,
};

/// A list that is being told.
struct Telling {
    service: ApiService,
    request: ResourceRequest,
    list: ListRequest,
    shaper: Shaper,
    next: Next,
}

/// What comes next.
enum Next {
    /// The rest after this page's items, which are told already.
    Page(At),
    /// The end of the list.
    End,
    /// Nothing.
    Nothing,
}

impl ApiService {
    /// Answers a list without a limit as JSON.
    pub(super) async fn list_whole(
        &self,
        request: ResourceRequest,
        list: ListRequest,
        shaper: Shaper,
    ) -> Result<Response, Status> {
        let mut paged = list;
        paged.limit = Some(PAGE_OBJECTS);
        let first = self.find(&request, &paged).await?;
        if first.token.is_none() {
            return shaper.list(&first);
        }
        let next = following(&request, &first)?;
        let mut start = shaper.list_head(&serde_json::json!({"resourceVersion": first.revision.to_string()}));
        shaper.write_items(&first.items, &mut start)?;
        let telling = Telling { service: self.clone(), request, list: paged, shaper, next };
        let parts = stream::unfold((Some(Bytes::from(start)), telling), |(start, mut telling)| async {
            if let Some(start) = start {
                return Some((Ok(start), (None, telling)));
            }
            let part = telling.part().await?;
            Some((part, (None, telling)))
        });
        Ok(Response::parts(JSON, ByteStream::new(parts)))
    }
}

impl Telling {
    async fn part(&mut self) -> Option<io::Result<Bytes>> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => None,
            Next::End => Some(Ok(Bytes::from_static(b"]}"))),
            Next::Page(at) => {
                self.list.at = at;
                // The answer has begun: what fails now can only cut it off.
                Some(self.page().await.map_err(io::Error::other))
            }
        }
    }

    async fn page(&mut self) -> Result<Bytes, Status> {
        let found = self.service.find(&self.request, &self.list).await?;
        let mut part = Vec::new();
        if !found.items.is_empty() {
            part.push(b',');
            self.shaper.write_items(&found.items, &mut part)?;
        }
        self.next = following(&self.request, &found)?;
        Ok(part.into())
    }
}

fn following(request: &ResourceRequest, found: &Found) -> Result<Next, Status> {
    next_page(request, found).map(|next| next.map_or(Next::End, Next::Page))
}

/// Where a list goes on after a page; `None` at its end.
pub(super) fn next_page(request: &ResourceRequest, found: &Found) -> Result<Option<At>, Status> {
    let Some(token) = &found.token else { return Ok(None) };
    let prefix = super::stored::prefix(request.kind, &request.namespace);
    let token = super::continue_token::ContinueToken::decode(token, &prefix);
    token.map(|token| Some(At::Continue(token))).map_err(|error| Status::internal(error.to_string()))
}

/// Objects read and written at once.
pub(super) const PAGE_OBJECTS: usize = 500;
