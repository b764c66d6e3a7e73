//! What fields usually hold, by the name of the type and the field, by that of the field, or by kind.
//!
//! Good values stand before the `|`, those on the edge of what Kubernetes takes, or beyond it, behind.

/// What a field may hold: values that are fine, and others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    pub good: Vec<&'static str>,
    pub edge: Vec<&'static str>,
}

/// The pool of a field; `None` when only its kind is known.
pub(crate) fn pool(of: &str, field: &str) -> Option<Pool> {
    let full = format!("{of}.{field}");
    let row = POOLS.lines().find_map(|line| {
        let (name, values) = line.trim().split_once(": ")?;
        (name == full || name == field).then_some(values)
    })?;
    let (good, edge) = row.split_once('|').unwrap_or((row, ""));
    let values = |text: &'static str| text.split_whitespace().collect();
    Some(Pool { good: values(good), edge: values(edge) })
}

/// Rows with a type come before those without one. A space within a value is written `\x20`.
const POOLS: &str = r#"
Pod.apiVersion: v1 | /v1 v2 apps/v1 "" V1 core/v1 __internal /
Pod.kind: Pod | pod PodList List Deployment ConfigMap PodTemplate Namespace Secret Node "" Service
OwnerReference.apiVersion: v1 apps/v1 | "" a/b/c / /v1 apps/ 1
OwnerReference.kind: ReplicaSet | Event "" Pod
OwnerReference.name: a | "" A
OwnerReference.uid: a | "" A
ObjectMeta.name: a web a.b | a-b A a_b a- a.- -a 1a "" web.
ObjectMeta.generateName: a- a | A- - a. a-- aA- -a .
ObjectMeta.namespace: default kube-system a | a.b A "" a- -a a_b
ObjectMeta.uid: "0123" abc | a/b a_b "" A
ObjectMeta.resourceVersion: "1" a
ObjectMeta.selfLink: /a
ObjectMeta.generation: 1 0 | -1
ObjectMeta.deletionGracePeriodSeconds: 1 0 | -1
ObjectMeta.creationTimestamp: null 2001-01-01T00:00:00Z | 2001-01-01 a "" 2001-01-01T00:00:00.123Z 2001-01-01T00:00:00+25:00 2001-1-1T00:00:00Z 2001-01-01T24:00:00Z
ObjectMeta.finalizers: kubernetes a.b/c orphan foregroundDeletion | a A/b a/B a.b/ ""
ManagedFieldsEntry.operation: Apply Update | "" apply
ManagedFieldsEntry.fieldsType: FieldsV1 "" | V1
ManagedFieldsEntry.manager: a | "a\nb"
ManagedFieldsEntry.subresource: status ""
PodSpec.restartPolicy: Always OnFailure Never "" | always
PodSpec.terminationGracePeriodSeconds: 30 0 1 | -1 9223372036854775807
PodSpec.activeDeadlineSeconds: 1 100 | 0 -1 2147483647 2147483648
PodSpec.dnsPolicy: ClusterFirst Default ClusterFirstWithHostNet None "" | none
PodSpec.serviceAccountName: "" | default a A a.b a_b
PodSpec.serviceAccount: "" | default a A
PodSpec.nodeName: "" | node A a.b -
PodSpec.hostname: a "" | a.b A a- a_b
PodSpec.subdomain: a "" | a.b A a-
PodSpec.schedulerName: default-scheduler "" a | A_b
PodSpec.priorityClassName: system-node-critical a "" | A a_b a.b
PodSpec.runtimeClassName: "" a | A a_b
PodSpec.preemptionPolicy: PreemptLowerPriority Never | "" never
PodSpec.hostnameOverride: a a.b | "" A aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbb
PodSpec.setHostnameAsFQDN: false true
PodSpec.priority: 0 1000 2000001000 | -1 2147483647 -2147483648
PodSpec.nodeSelector: linux amd64 a "" | a\x20b
PodOS.name: linux | windows "" Linux darwin
PodSchedulingGate.name: a a.b/c | "" A/b
PodSchedulingGroup.podGroupName: a | "" A
PodReadinessGate.conditionType: a a.b/c Ready | "" A/b
PodResourceClaim.name: a b | "" A
PodResourceClaim.resourceClaimName: a | A ""
PodResourceClaim.resourceClaimTemplateName: a | A ""
HostAlias.ip: 1.2.3.4 ::1 | "" a 01.2.3.4 ::ffff:1.2.3.4 1.2.3 fe80::1%eth0 1.2.3.4/24
HostAlias.hostnames: a a.b | A a_b "" *.a a.
PodDNSConfig.nameservers: 1.1.1.1 ::1 | a "" 01.1.1.1 ::ffff:1.2.3.4
PodDNSConfig.searches: a a.b . a._tcp.b | A a_b "" a. .. _a a- _ a.b. -a
PodDNSConfigOption.name: ndots | "" a\x20b
PodDNSConfigOption.value: "5" ""
Volume.name: a b c d | "" A a.b a_b
KeyToPath.key: a a.b | "" . .. ..a a/b
HostPathVolumeSource.path: /a /etc /dev/null /tmp / | "" a ../a /a/../b /a/.. ./a
HostPathVolumeSource.type: "" Directory DirectoryOrCreate File FileOrCreate Socket CharDevice BlockDevice | directory a
EmptyDirVolumeSource.medium: "" Memory HugePages HugePages-2Mi | memory Disk HugePages-a HugePages- hugepages
EmptyDirVolumeSource.sizeLimit: 1Mi 0 1 | -1 -1Mi 1m
NFSVolumeSource.server: a | ""
NFSVolumeSource.path: /a | a ""
ISCSIVolumeSource.targetPortal: 1.2.3.4:3260 | ""
ISCSIVolumeSource.iqn: iqn.2001-04.com.example:a eui.0123456789abcdef naa.0123456789abcdef0123456789abcdef | "" iqn.2001-4.com.example:a iqn a iqn.2001-04.com.example eui.0 naa.0123456789abcdef iqn.2001-04.com.example:a,b eui:0123456789abcdef naa iqn.2001-04.:a iqn.2001-04.a:: eui.0123456789ABCDEF
ISCSIVolumeSource.initiatorName: iqn.2001-04.com.example:a "" | a eui naa.
ISCSIVolumeSource.lun: 0 255 | 256 -1
FCVolumeSource.lun: 0 255 | 256 -1
partition: 0 1 255 | 256 -1
GitRepoVolumeSource.repository: a | ""
GitRepoVolumeSource.directory: a "" . | /a ../a a/../b
AzureDiskVolumeSource.diskName: a | ""
AzureDiskVolumeSource.diskURI: https://a /subscriptions/a http://a.blob.core.windows.net/a | "" a /Subscriptions/a https:// /subscription/a
AzureDiskVolumeSource.cachingMode: None ReadOnly ReadWrite | none ""
AzureDiskVolumeSource.kind: Shared Dedicated Managed | a ""
fsType: ext4 xfs ""
CSIVolumeSource.driver: a.b | "" A a_b a
CSIVolumeSource.volumeAttributes: a
PersistentVolumeClaimVolumeSource.claimName: a | ""
PersistentVolumeClaimSpec.accessModes: ReadWriteOnce ReadOnlyMany ReadWriteMany ReadWriteOncePod | a ""
PersistentVolumeClaimSpec.volumeMode: Filesystem Block | "" a
PersistentVolumeClaimSpec.storageClassName: a "" | A
VolumeResourceRequirements.requests: 1Gi | 0 -1
CephFSVolumeSource.monitors: a | ""
RBDVolumeSource.monitors: a | ""
RBDVolumeSource.image: a | ""
QuobyteVolumeSource.registry: a:1 a:1,b:2 | a "" :1 a: a:1:2 a:1,b
QuobyteVolumeSource.volume: a | ""
QuobyteVolumeSource.tenant: a | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
FlockerVolumeSource.datasetName: a | "" a/b
FlockerVolumeSource.datasetUUID: a ""
GlusterfsVolumeSource.endpoints: a | ""
GlusterfsVolumeSource.path: a | ""
ScaleIOVolumeSource.gateway: a | ""
ScaleIOVolumeSource.system: a | ""
ScaleIOVolumeSource.volumeName: a | ""
StorageOSVolumeSource.volumeName: a | "" A a_b
StorageOSVolumeSource.volumeNamespace: a "" | A a_b
FlexVolumeSource.driver: a/b | "" a a\x20b
FlexVolumeSource.options: a
PortworxVolumeSource.volumeID: a | ""
ImageVolumeSource.reference: a a:1 a.example/b:1 | "" A {{a}} a:b:c
pullPolicy: Always IfNotPresent Never "" | always
imagePullPolicy: Always IfNotPresent Never "" | always
ServiceAccountTokenProjection.path: a | "" /a ../a
ServiceAccountTokenProjection.expirationSeconds: 3600 600 4294967296 | 599 4294967297
ClusterTrustBundleProjection.path: a | "" /a
ClusterTrustBundleProjection.name: a | "" A
ClusterTrustBundleProjection.signerName: a.b/c | "" A a
PodCertificateProjection.keyType: RSA3072 RSA4096 ECDSAP256 ECDSAP384 ECDSAP521 ED25519 | RSA ""
PodCertificateProjection.signerName: a.b/c | a "" A/b
PodCertificateProjection.credentialBundlePath: a | /a ..
PodCertificateProjection.keyPath: b | /a
PodCertificateProjection.certificateChainPath: c | /a
PodCertificateProjection.maxExpirationSeconds: 3600 | 3599 7862400 7862401
DownwardAPIVolumeFile.path: a a/b | "" /a ../a ..a a/../b ..
mode: 0644 0 0777 | 01000 -1 644 0o600
defaultMode: 0644 0 0777 | 01000 -1 644
ObjectFieldSelector.apiVersion: v1 "" | v2 apps/v1
ObjectFieldSelector.fieldPath: metadata.name metadata.namespace metadata.uid spec.nodeName spec.serviceAccountName status.hostIP status.hostIPs status.podIP status.podIPs metadata.labels['a'] metadata.annotations['a'] metadata.labels metadata.annotations | spec.host "" metadata.labels['A/b'] metadata.annotations['A/b'] metadata.labels[''] metadata.labels['a metadata.name['a'] spec.restartPolicy spec.schedulerName status.phase metadata.labels["a"] metadata metadata.generateName metadata.labels['a']['b'] status.podIPs[0]
ResourceFieldSelector.containerName: main side init | "" other
ResourceFieldSelector.resource: limits.cpu limits.memory requests.cpu requests.memory limits.ephemeral-storage requests.ephemeral-storage limits.hugepages-2Mi requests.hugepages-2Mi | "" cpu limits.gpu limits.hugepages- requests.example.com/a limits.CPU
ResourceFieldSelector.divisor: 1 1m 0 1Mi 1k 1Ki 1M | 2 10 1u 1000 1024 1Ei 1E -1 1n 1e3 1e6 100m 0.001 1000m 0m
Container.name: main side init | "" A a.b a_b
EphemeralContainer.name: eph | "" main
EphemeralContainer.targetContainerName: main | other
image: a a:1 a.example/b:1 | "" A a:b:c "\x20a" {{a}} a@sha256:0
Container.workingDir: /a "" | a
Container.restartPolicy: Always | Never OnFailure "" always
EphemeralContainer.restartPolicy: Always
ContainerRestartRule.action: Restart RestartAllContainers | "" restart
ContainerRestartRuleOnExitCodes.operator: In NotIn | "" in
ContainerRestartRuleOnExitCodes.values: 0 1 42 255 | -1 256 2147483647
ContainerPort.name: http a1 "" | HTTP 1 a--b -a a- abcdefghijklmnop a_b
ContainerPort.containerPort: 80 443 65535 1 | 0 -1 65536
ContainerPort.hostPort: 80 443 0 8080 | -1 65536
ContainerPort.protocol: TCP UDP SCTP "" | tcp HTTP
ContainerPort.hostIP: 127.0.0.1 0.0.0.0 ::1 "" | a ::ffff:1.2.3.4 01.2.3.4
EnvVar.name: A B a-b a.b 1A | "" A=B a\x20b ä .. . ..a
EnvVar.value: a "" $(A) | null
EnvFromSource.prefix: A "" a- | A=B ä
SecretEnvSource.name: a | ""
ConfigMapEnvSource.name: a | ""
FileKeySelector.volumeName: a b c d | "" other
FileKeySelector.path: a a/b | "" /a ../a a/../b
FileKeySelector.key: A B | "" a=b a\x20b ä
ContainerResizePolicy.resourceName: cpu memory | "" a ephemeral-storage
ContainerResizePolicy.restartPolicy: NotRequired RestartContainer | "" Always
ResourceClaim.name: a b | ""
VolumeMount.name: a b c d | "" other
VolumeMount.mountPath: /a /b /c/d a /a/ | "" / /a:b C:\a /proc . .. /a/../b /proc/stat //
VolumeMount.subPath: a a/b "" | /a ../a a/../b
VolumeMount.subPathExpr: a $(A) "" | /a ../a $(X)
VolumeMount.mountPropagation: None HostToContainer | Bidirectional "" a
VolumeMount.recursiveReadOnly: Disabled Enabled IfPossible | "" a
VolumeDevice.name: a b | "" other
VolumeDevice.devicePath: /dev/a | "" ../a /dev/../a
HTTPGetAction.path: / /a "" a | "\x20"
HTTPGetAction.host: a 127.0.0.1 ""
HTTPGetAction.scheme: HTTP HTTPS "" | http
HTTPHeader.name: A X-A Host | "" a\x20b A_b ä a:b
GRPCAction.port: 80 65535 1 | 0 -1 65536
GRPCAction.service: a ""
ExecAction.command: a /bin/true ""
timeoutSeconds: 1 0 | -1
initialDelaySeconds: 1 0 | -1
periodSeconds: 1 0 | -1
successThreshold: 1 0 | 2 -1
failureThreshold: 1 0 3 | -1
Probe.terminationGracePeriodSeconds: 1 30 | 0 -1
SleepAction.seconds: 1 0 30 | -1 31 100
Lifecycle.stopSignal: SIGTERM SIGKILL SIGRTMIN+1 SIGRTMAX | TERM SIGFOO "" 15 SIGRTMIN+16 SIGRTMAX-15 sigterm
terminationMessagePath: /dev/termination-log "" /a | a /
terminationMessagePolicy: File FallbackToLogsOnError "" | file
runAsUser: 0 1000 2147483647 | -1 2147483648
runAsGroup: 0 1000 2147483647 | -1 2147483648
fsGroup: 0 1000 2147483647 | -1 2147483648
supplementalGroups: 0 1000 2147483647 | -1 2147483648
supplementalGroupsPolicy: Merge Strict | "" merge
fsGroupChangePolicy: OnRootMismatch Always | "" always
seLinuxChangePolicy: Recursive MountOption | "" recursive
procMount: Default Unmasked | "" default
SeccompProfile.type: RuntimeDefault Unconfined Localhost | "" a runtime/default
AppArmorProfile.type: RuntimeDefault Unconfined Localhost | "" a
SeccompProfile.localhostProfile: a a/b.json | "" /a ../a
AppArmorProfile.localhostProfile: a | "" "\x20a"
Capabilities.add: NET_ADMIN ALL SYS_ADMIN net_raw | CAP_SYS_ADMIN FOO "" CAP_NET_ADMIN
Capabilities.drop: ALL NET_RAW all | FOO "" CAP_NET_RAW
Sysctl.name: kernel.shm_rmid_forced net.ipv4.tcp_syncookies net/ipv4/tcp_syncookies net.ipv4.ip_local_port_range | "" net.core.somaxconn kernel.msgmax vm.swappiness A a..b net.ipv4.conf.eth0/1.a fs.mqueue.a kernel/shm_rmid_forced kernel.shm_rmid_forced/ net.ipv4/tcp_syncookies
Sysctl.value: "1" ""
WindowsSecurityContextOptions.runAsUserName: a A\B "" | "\x20" a\b\c
WindowsSecurityContextOptions.gmsaCredentialSpecName: a | A ""
WindowsSecurityContextOptions.gmsaCredentialSpec: a | ""
SELinuxOptions.type: a
SELinuxOptions.level: s0
NodeSelectorRequirement.key: kubernetes.io/os kubernetes.io/arch a metadata.name | "" A/b
operator: In NotIn Exists DoesNotExist Gt Lt Equal "" | in = Is
NodeSelectorRequirement.values: linux amd64 1 node | "" a\x20b A/b -1 "\x20"
LabelSelectorRequirement.key: a a.b/c b | "" A/b
LabelSelectorRequirement.values: a "" b | a\x20b -
weight: 1 100 | 0 101 -1
namespaces: a default | A a.b ""
topologyKey: kubernetes.io/hostname a | "" A/b
matchLabelKeys: a b c | "" A/b
mismatchLabelKeys: a b c | "" A/b
matchLabels: a "" b | a\x20b -
Toleration.key: a a.b/c "" | A/b
Toleration.operator: Exists Equal "" | Gt Lt exists
Toleration.value: a "" | a\x20b - 1
Toleration.effect: NoSchedule PreferNoSchedule NoExecute "" | noexecute
Toleration.tolerationSeconds: 1 0 -1
maxSkew: 1 2 | 0 -1
minDomains: 1 2 | 0 -1
whenUnsatisfiable: DoNotSchedule ScheduleAnyway | "" a
nodeAffinityPolicy: Honor Ignore | "" a
nodeTaintsPolicy: Honor Ignore | "" a
LocalObjectReference.name: a "" | A
labels: a "" b-c_d.e | a\x20b - ä -a
annotations: a "" ä | null
port: 80 "80" http 65535 1 | 0 -1 65536 "" HTTP a1 a--b "65536" null abcdefghijklmnop
"#;

/// Keys of maps whose keys are data.
pub(crate) fn keys(of: &str, field: &str) -> &'static [&'static str] {
    match (of, field) {
        ("ResourceRequirements", _) | ("PodSpec", "overhead") => &[
            "cpu",
            "memory",
            "ephemeral-storage",
            "hugepages-2Mi",
            "hugepages-1Gi",
            "example.com/gpu",
            "hugepages-",
            "hugepages-a",
            "storage",
            "gpu",
            "CPU",
            "kubernetes.io/a",
            "a.kubernetes.io/b",
            "requests.example.com/a",
            "requests.cpu",
            "attachable-volumes-a",
            "example.com/",
            "pods",
            "a/b/c",
            "hugepages-0",
        ],
        ("VolumeResourceRequirements", _) => &["storage", "cpu"],
        ("PodSpec", "nodeSelector") => {
            &["kubernetes.io/os", "kubernetes.io/arch", "a", "beta.kubernetes.io/os", "A/b", "a b"]
        }
        ("ObjectMeta", "annotations") => &[
            "a",
            "A.b/c",
            "container.apparmor.security.beta.kubernetes.io/main",
            "controller.kubernetes.io/pod-deletion-cost",
            "a b",
            "seccomp.security.alpha.kubernetes.io/pod",
            "container.seccomp.security.alpha.kubernetes.io/main",
            "container.apparmor.security.beta.kubernetes.io/main",
            "container.apparmor.security.beta.kubernetes.io/other",
            "kubernetes.io/config.mirror",
            "kubernetes.io/config.source",
            "kubernetes.io/config.hash",
            "kubernetes.io/psp",
            "scheduler.alpha.kubernetes.io/tolerations",
            "scheduler.alpha.kubernetes.io/preferAvoidPods",
            "controller.kubernetes.io/pod-deletion-cost",
            "pod.beta.kubernetes.io/init-containers",
            "kubernetes.io/limit-ranger",
        ],
        ("ObjectMeta", "labels") => {
            &["a", "app", "a/b", "a/B", "kubernetes.io/os", "A/b", "a b", "-", ""]
        }
        _ => &["a", "b", "a.b/c", "c", "A/b", "a b", ""],
    }
}

/// What annotations hold that are read.
pub(crate) const ANNOTATIONS: &[&str] = &[
    "runtime/default",
    "docker/default",
    "unconfined",
    "localhost/a",
    "localhost/../a",
    "localhost/",
    "\"\"",
    "\"1\"",
    "\"-1\"",
    "\"+1\"",
    "\"01\"",
    "\"2147483648\"",
    "'[]'",
    "'[{\"key\": \"a\", \"operator\": \"Exists\"}]'",
    "'[{\"key\": \"a b\"}]'",
    "'[{\"operator\": 1}]'",
    "'{}'",
    "a",
    "api",
];
