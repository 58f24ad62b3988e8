"""The round of `clients/README.md` with the official Python client."""

import os
import threading
import time

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

NAMESPACE = os.environ["NAMESPACE"]
DEADLINE_SECONDS = 60


def until(what, attempt):
    """Repeats an attempt until it answers something true."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        answer = attempt()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {DEADLINE_SECONDS} s")


def config_maps(core):
    """Creates, watches, lists, patches, replaces and deletes."""
    seen = []
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version

    def follow():
        events = watch.Watch().stream(
            core.list_namespaced_config_map, NAMESPACE, resource_version=start, label_selector="round=python", timeout_seconds=30
        )
        for event in events:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return

    watcher = threading.Thread(target=follow)
    watcher.start()
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="py", labels={"round": "python"}), data={"a": "1"})
    core.create_namespaced_config_map(NAMESPACE, body)
    try:
        core.create_namespaced_config_map(NAMESPACE, body)
        raise AssertionError("a second object of one name was created")
    except ApiException as error:
        assert (error.status, error.reason) == (409, "Conflict"), error
    patched = core.patch_namespaced_config_map("py", NAMESPACE, {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}, patched.data
    patched.data["c"] = "3"
    replaced = core.replace_namespaced_config_map("py", NAMESPACE, patched)
    assert replaced.data["c"] == "3"
    try:
        core.replace_namespaced_config_map("py", NAMESPACE, patched)
        raise AssertionError("a stale object was written")
    except ApiException as error:
        assert error.status == 409, error
    page = core.list_namespaced_config_map(NAMESPACE, label_selector="round=python", limit=1)
    assert [item.metadata.name for item in page.items] == ["py"]
    core.delete_namespaced_config_map("py", NAMESPACE)
    watcher.join(DEADLINE_SECONDS)
    kinds = [kind for kind, name in seen if name == "py"]
    assert kinds == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], seen


def deployments(apps):
    """Another group, with its scale."""
    labels = {"app": "py"}
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="hello")]),
    )
    spec = client.V1DeploymentSpec(replicas=0, selector=client.V1LabelSelector(match_labels=labels), template=template)
    apps.create_namespaced_deployment(NAMESPACE, client.V1Deployment(metadata=client.V1ObjectMeta(name="py"), spec=spec))
    scale = apps.read_namespaced_deployment_scale("py", NAMESPACE)
    assert (scale.spec.replicas or 0) == 0 and scale.status.selector == "app=py", scale
    apps.patch_namespaced_deployment_scale("py", NAMESPACE, {"spec": {"replicas": 2}})
    assert apps.read_namespaced_deployment("py", NAMESPACE).spec.replicas == 2
    apps.delete_namespaced_deployment("py", NAMESPACE, propagation_policy="Foreground")


def pods(core):
    """Runs a pod, reads its log, runs a command in it."""
    container = client.V1Container(name="c", image="dunlin.local/toolbox", args=["listen"], stdin=True)
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="py"), spec=client.V1PodSpec(containers=[container]))
    core.create_namespaced_pod(NAMESPACE, pod)
    until("running pod", lambda: core.read_namespaced_pod("py", NAMESPACE).status.phase == "Running")
    answer = stream(
        core.connect_get_namespaced_pod_exec,
        "py",
        NAMESPACE,
        command=["toolbox", "echo", "from", "python"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
    )
    assert answer == "from python\n", repr(answer)
    assert isinstance(core.read_namespaced_pod_log("py", NAMESPACE), str)
    core.delete_namespaced_pod("py", NAMESPACE, grace_period_seconds=0)


def forwards(core):
    """Speaks with a web server in a pod, and hears why another port leads nowhere."""
    ports = [client.V1ContainerPort(container_port=80)]
    container = client.V1Container(name="c", image="dunlin.local/http-hello", ports=ports)
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="py-web"), spec=client.V1PodSpec(containers=[container]))
    core.create_namespaced_pod(NAMESPACE, pod)

    def ready():
        conditions = core.read_namespaced_pod("py-web", NAMESPACE).status.conditions or []
        return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)

    until("ready pod", ready)
    forward = portforward(core.connect_get_namespaced_pod_portforward, "py-web", NAMESPACE, ports="80,81")
    server = forward.socket(80)
    server.settimeout(DEADLINE_SECONDS)
    server.sendall(b"GET /at HTTP/1.1\r\nHost: py\r\nConnection: close\r\n\r\n")
    answer = b""
    while part := server.recv(4096):
        answer += part
    assert answer.startswith(b"HTTP/1.1 200") and b"GET /at" in answer, answer
    why = until("refusal", lambda: forward.error(81))
    assert why.startswith("error forwarding port 81 to pod py-web, uid "), why
    forward.close()
    core.delete_namespaced_pod("py-web", NAMESPACE, grace_period_seconds=0)


def main():
    config.load_kube_config()
    assert client.VersionApi().get_code().minor == "36"
    config_maps(client.CoreV1Api())
    deployments(client.AppsV1Api())
    pods(client.CoreV1Api())
    forwards(client.CoreV1Api())
    print("done")


main()
