//! Whole collections in protobuf, for who takes nothing else. A list's length stands before its items, so that all of them are
//! encoded before the first is sent; they are read part after part, and only one part of them is in memory as it is stored.

use dunlin_api::Status;

use super::{
    ApiService,
    encode::protobuf_list,
    list::Found,
    list_stream::{PART_OBJECTS, next_part},
    options::ListRequest,
    path::ResourceRequest,
    response::Response,
    shape::{Shaper, list_metadata},
};

impl ApiService {
    /// Answers a list without a limit in protobuf.
    pub(super) async fn list_whole_protobuf(
        &self,
        request: &ResourceRequest,
        mut list: ListRequest,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        list.limit = Some(PART_OBJECTS);
        let mut items = shaper.protobuf_list()?;
        loop {
            let found = self.find_part(request, &list).await?;
            shaper.add_items(&found.items, &mut items)?;
            match next_part(request, &found)? {
                Some(at) => list.at = at,
                None => {
                    let whole = Found { items: Vec::new(), token: None, remaining: None, ..found };
                    return protobuf_list(items, &list_metadata(&whole));
                }
            }
        }
    }
}
