//! `/metrics`: the figures of all parts.

use crate::{
    metrics::{Collect as _, Text, Type, process::Process},
    service::{ApiService, response::Response},
};

impl ApiService {
    #[expect(clippy::unused_async, reason = "all endpoints have one shape")]
    pub(super) async fn metrics(&self) -> Result<Response, dunlin_api::Status> {
        let mut text = Text::default();
        let (name, version) = ("dunlin_build_info", env!("CARGO_PKG_VERSION"));
        text.family(name, Type::Gauge, "Always 1; its label says which release this is.");
        text.sample(name, &[("version", version)], 1);
        self.inner.figures.collect(&self.inner.seats, &mut text);
        for part in self.collectors() {
            part.collect(&mut text);
        }
        Process.collect(&mut text);
        Ok(Response::bytes(200, Text::MEDIA_TYPE, text.into_string()))
    }
}
