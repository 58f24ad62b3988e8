//! Writes what Kubernetes' types say of themselves, for `explain`, from the descriptions that k8s-openapi carries.
//!
//! The repository holds none of these sentences. They are embedded deflated, as `dunlin_api::openapi::Descriptions` reads them.

use std::{collections::BTreeMap, env, fs, io, path::Path};

use k8s_openapi::{
    api, apiextensions_apiserver::pkg::apis::apiextensions, apimachinery::pkg as apimachinery,
    kube_aggregator::pkg::apis::apiregistration, schemars::SchemaGenerator,
};
use serde_json::Value;

/// Adds each type, and all that it refers to, to the generator's definitions.
macro_rules! add {
    ($generator:ident, $($package:path { $($name:ident)+ })+) => {
        $($({
            use $package as package;
            $generator.subschema_for::<package::$name>();
        })+)+
    };
}

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let table = Table::of(&described()).map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("descriptions.bin"), table)
}

/// Every definition of the API by its name.
fn described() -> BTreeMap<String, Value> {
    let mut generator = SchemaGenerator::default();
    add! { generator,
        api::core::v1 {
            Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod
            PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
        }
        api::admissionregistration::v1 {
            MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
            ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
        }
        api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        api::authentication::v1 { SelfSubjectReview TokenRequest TokenReview }
        api::authorization::v1 {
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
        }
        api::autoscaling::v1 { HorizontalPodAutoscaler Scale }
        api::autoscaling::v2 { HorizontalPodAutoscaler }
        api::batch::v1 { CronJob Job }
        api::certificates::v1 { CertificateSigningRequest }
        api::coordination::v1 { Lease }
        api::discovery::v1 { EndpointSlice }
        api::events::v1 { Event }
        api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
        api::networking::v1 { IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR }
        api::node::v1 { RuntimeClass }
        api::policy::v1 { Eviction PodDisruptionBudget }
        api::rbac::v1 { ClusterRole ClusterRoleBinding Role RoleBinding }
        api::resource::v1 { DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice }
        api::scheduling::v1 { PriorityClass }
        api::storage::v1 {
            CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass
        }
        apiextensions::v1 { CustomResourceDefinition }
        apiregistration::v1 { APIService }
        apimachinery::apis::meta::v1 {
            APIGroup APIGroupList APIResourceList APIVersions DeleteOptions Patch Status
        }
        apimachinery::version { Info }
    }
    generator.subschema_for::<apimachinery::apis::meta::v1::WatchEvent<()>>();
    generator.take_definitions(false).into_iter().collect()
}

/// The table that is embedded: deflated blocks of lines, in the order of names.
#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    first: String,
    lines: String,
}

impl Table {
    fn of(definitions: &BTreeMap<String, Value>) -> Result<Vec<u8>, serde_json::Error> {
        let mut table = Self::default();
        for (name, schema) in definitions {
            let line = serde_json::to_string(&(name, text(schema), fields(schema)))?;
            if table.lines.len() + line.len() > BLOCK_BYTES {
                table.end_block();
            }
            if table.lines.is_empty() {
                table.first.clone_from(name);
            }
            table.lines.push_str(&line);
            table.lines.push('\n');
        }
        table.end_block();
        Ok(table.bytes)
    }

    fn end_block(&mut self) {
        let deflated = miniz_oxide::deflate::compress_to_vec(self.lines.as_bytes(), BEST_COMPRESSION);
        let length = u16::try_from(self.first.len()).expect("names of types are short");
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(self.first.as_bytes());
        let length = u32::try_from(deflated.len()).expect("a block is short");
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(deflated);
        self.lines.clear();
    }
}

fn fields(schema: &Value) -> BTreeMap<&str, &str> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, field)| (name.as_str(), text(field)))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

fn text(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// What a reader inflates at once. Twice the window of deflate, so that little is lost by beginning anew.
const BLOCK_BYTES: usize = 64 << 10;

const BEST_COMPRESSION: u8 = 10;
