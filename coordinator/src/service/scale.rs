//! `scale`: reading and writing how many replicas an object should have, as a Scale.

use dunlin_api::{
    Status,
    admission::pod_security::Around,
    kind::SCALE,
    pipeline::{self, Accepted, Change, FieldValidation, Ownership, Scaling, Target},
    status::OptionsKind,
};
use serde_json::Value;

use super::{
    ApiService, User,
    body::{self, Source},
    change::Decision,
    delete::settle,
    options::{ApplyOptions, DryRun, Owner, WriteOptions},
    patch,
    path::{ResourceRequest, Verb},
    response::Response,
    serve::{Admitted, format_of},
    shape::Shaper,
    size,
    update::{check_version, updated},
};

impl ApiService {
    pub(super) async fn serve_scale(
        &self,
        admitted: &Admitted<'_>,
        request: &ResourceRequest,
        source: Source<'_>,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        let Admitted { user, grant, query, content_type, .. } = *admitted;
        let (object, warnings) = match request.verb {
            Verb::Get => {
                self.check_get_version(query)?;
                (self.get_granted(user, request, grant).await?, Vec::new())
            }
            Verb::Update => {
                let options = WriteOptions::parse(OptionsKind::Update, query)?;
                let format = format_of(content_type)?;
                let body = body::read(source).await?;
                let decoded = pipeline::decode(&SCALE, &body, format, options.validation)?;
                let writing = Writing::new(Scaling::Replace(decoded.object), options);
                let scaled = self.scale_with(user, request, &writing).await?;
                (scaled.object, decoded.warnings)
            }
            Verb::Patch if patch::is_apply(content_type) => {
                let ApplyOptions { manager, force, write } = ApplyOptions::parse(query)?;
                let body = body::read(source).await?;
                let options = WriteOptions { owner: Owner::Manager(manager), ..write };
                let scaled = self
                    .scale_with(user, request, &Writing::new(Scaling::Apply(&body, force), options))
                    .await?;
                (scaled.object, scaled.warnings)
            }
            Verb::Patch => {
                let options = WriteOptions::parse(OptionsKind::Patch, query)?;
                let kind = patch::kind_of(content_type)?;
                let body = body::read(source).await?;
                let scaled = self
                    .scale_with(user, request, &Writing::new(Scaling::Patch(kind, &body), options))
                    .await?;
                (scaled.object, scaled.warnings)
            }
            _ => return Err(Status::method_not_allowed()),
        };
        let object = request.kind.scale_of(&object).ok_or_else(Status::no_such_resource)?;
        // It is shown as what it is, not as what it is a part of.
        Shaper { kind: &SCALE, ..*shaper }.object(200, Accepted { object, warnings })
    }

    /// Writes the Scale of an object; answers the object.
    async fn scale_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        writing: &Writing<'_>,
    ) -> Result<Accepted, Status> {
        let grant = self.authorize(user, request).await?;
        let Writing { scaling, dry_run, validation, manager } = writing;
        let mut warnings = Vec::new();
        let mut numbers = self.numbers(request.kind).await?;
        let decide = |current: &Value| -> Result<Decision, Status> {
            grant.check_current(user, request, current)?;
            let now = self.clock().now();
            let scaled = pipeline::scale(request.kind, current, scaling, *validation, manager, now)?;
            warnings = scaled.warnings;
            check_version(request, current, &scaled.object)?;
            let change = Change {
                target: Target::Object,
                now,
                ownership: Ownership::AsGiven,
                around: &Around::Nothing,
            };
            let updated = updated(request, &grant, &change, (current, scaled.object), &mut numbers)?;
            size::check_change(current, &updated.object)?;
            Ok(settle(request.object(), updated.object, now))
        };
        let object = self.change(request.object(), *dry_run, decide).await?.into_object();
        Ok(Accepted { object, warnings })
    }
}

/// A write of a Scale, with its options.
struct Writing<'a> {
    scaling: Scaling<'a>,
    dry_run: DryRun,
    validation: FieldValidation,
    manager: String,
}

impl<'a> Writing<'a> {
    fn new(scaling: Scaling<'a>, options: WriteOptions) -> Self {
        let manager = match options.owner {
            Owner::Manager(manager) => manager,
            Owner::AsGiven => String::new(),
        };
        Self { scaling, dry_run: options.dry_run, validation: options.validation, manager }
    }
}
