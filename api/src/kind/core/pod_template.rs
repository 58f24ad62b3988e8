//! PodTemplate.

use crate::{
    field::Path,
    kind::{
        Column, Generation, Kind, Removed, Warns,
        pod::template,
        workload::{container_cells, labels_cell, name_cell},
    },
    value::object_mut,
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    schema: "io.k8s.api.core.v1.PodTemplate",
    removed: Removed::LastState,
    columns: &[
        Column::NAME,
        Column::shown("Containers", "Names of its containers."),
        Column::shown("Images", "Images of its containers."),
        Column::shown("Pod Labels", "Labels of pods made of it."),
    ],
    generation: Generation::CountsTemplateChanges,
    default: |object| template::default(object_mut(object, "template")),
    validate: |object, errors| template::check(&object["template"], &Path::new("template"), errors),
    warnings: |object| template::warnings(&object["template"], &Path::new("template")),
    warns: Warns::OnNewGenerations,
    row: |object, _| {
        let [containers, images] = container_cells(&object["template"]);
        vec![name_cell(object), containers, images, labels_cell(&object["template"]["metadata"], "labels")]
    },
    ..Kind::BASE
};

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::field::messages;

    #[test]
    fn rules() {
        let check = |template: Value, expected: &[&str]| {
            let mut object = json!({"template": template});
            (KIND.default)(&mut object);
            assert_eq!(messages(|errors| (KIND.validate)(&object, errors)), expected);
        };
        let containers = json!([{"name": "c", "image": "i"}]);
        check(json!({"spec": {"containers": containers}}), &[]);
        check(json!({}), &["template.spec.containers: Required value"]);
        check(
            json!({"metadata": {"labels": {"a": "b!"}}, "spec": {"containers": containers, "ephemeralContainers": containers}}),
            &[
                "template.labels: Invalid value: \"b!\": a valid label must be an empty string or consist of alphanumeric \
                 characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
                 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                "template.spec.ephemeralContainers[0].name: Duplicate value: \"c\"",
                "template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
            ],
        );
    }

    #[test]
    fn a_template_does_not_say_what_depends_on_the_time_a_pod_is_made() {
        let limits = json!({"limits": {"cpu": "1"}});
        let containers =
            json!([{"name": "c", "image": "i", "resources": limits, "ports": [{"containerPort": 80}]}]);
        let mut object = json!({"template": {"spec": {"hostNetwork": true, "containers": containers}}});
        (KIND.default)(&mut object);
        let spec = &object["template"]["spec"];
        assert_eq!(spec["dnsPolicy"], "ClusterFirst");
        assert_eq!(spec["containers"][0]["resources"], limits);
        assert_eq!(spec["containers"][0]["ports"], json!([{"containerPort": 80, "protocol": "TCP"}]));
        assert!(spec["enableServiceLinks"].is_null());
    }

    #[test]
    fn rows_show_the_template() {
        let template = json!({"metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}});
        let object = json!({"metadata": {"name": "t"}, "template": template});
        assert_eq!(json!((KIND.row)(&object, Timestamp::UNIX_EPOCH)), json!(["t", "c,d", "i,j", "app=a"]));
    }
}
