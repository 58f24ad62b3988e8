//! Pushing modules, and which there are.

use dunlin_api::Status;
use dunlin_link::with_causes;
use serde_json::{Value, json};

use super::{Call, not_served};
use crate::{
    artifacts::{Artifacts, Module, ModuleName, NamedModule, UploadError},
    service::{ApiService, response::Response, store_failed},
};

impl ApiService {
    pub(super) async fn put_module(&self, call: Call<'_>) -> Result<Response, Status> {
        let artifacts = self.artifacts()?;
        let name = ModuleName::parse(call.query.text("name"))
            .map_err(|error| Status::bad_request(format!("name: {error}")))?;
        let expected = match call.query.value("digest") {
            None => None,
            Some(text) => {
                Some(text.parse().map_err(|error| Status::bad_request(format!("digest: {error}")))?)
            }
        };
        let module = artifacts.upload(call.body, expected).await.map_err(|error| refused_upload(&error))?;
        artifacts.tag(&name, &module).await.map_err(store_failed)?;
        Ok(Response::json(201, &described_module(&name, &module)))
    }

    pub(super) async fn list_modules(&self) -> Result<Response, Status> {
        let names = self.artifacts()?.names().await.map_err(|error| Status::internal(with_causes(&error)))?;
        let describe = |named: &NamedModule| described_module(&named.name, &named.module);
        Ok(Response::json(200, &json!({"items": names.iter().map(describe).collect::<Vec<_>>()})))
    }

    fn artifacts(&self) -> Result<&Artifacts, Status> {
        self.inner.attached.artifacts.get().ok_or_else(not_served)
    }
}

fn described_module(name: &ModuleName, module: &Module) -> Value {
    json!({"name": name.to_string(), "digest": module.digest.to_string(), "size": module.bytes})
}

fn refused_upload(error: &UploadError) -> Status {
    match error {
        UploadError::NotWasm { .. } | UploadError::Malformed { .. } | UploadError::OtherDigest { .. } => {
            Status::bad_request(error.to_string())
        }
        UploadError::TooLarge { bytes_max } => {
            Status::too_large(usize::try_from(*bytes_max).unwrap_or(usize::MAX))
        }
        error => Status::internal(with_causes(error)),
    }
}
