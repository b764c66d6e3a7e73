use expect_test::expect;
use serde_json::Value;

use super::*;

fn parsed(text: &str) -> Vec<Value> {
    objects("a.yaml", text.as_bytes()).unwrap().into_iter().map(Value::Object).collect()
}

fn rbac(text: &str) -> String {
    let documents = Rights::of(&parsed(text)).unwrap().documents();
    documents.iter().map(yaml).collect::<Vec<_>>().join("---\n")
}

const DEFINITION: &str = "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: greetings.hello.example}
spec:
  group: hello.example
  scope: Namespaced
  names: {kind: Greeting, plural: greetings}
---
apiVersion: v1
kind: Namespace
metadata: {name: hello}
---
apiVersion: hello.example/v1
kind: Greeting
metadata: {name: first, namespace: hello}
";

#[test]
fn what_applying_takes_and_no_more() {
    expect![[r#"
        apiVersion: v1
        kind: Namespace
        metadata:
          name: hello
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: basalt:bundle-applier
        rules:
        - apiGroups:
          - ''
          resources:
          - namespaces
          verbs:
          - create
          - list
        - apiGroups:
          - ''
          resources:
          - namespaces
          verbs:
          - get
          - patch
          resourceNames:
          - hello
        - apiGroups:
          - apiextensions.k8s.io
          resources:
          - customresourcedefinitions
          verbs:
          - create
          - list
        - apiGroups:
          - apiextensions.k8s.io
          resources:
          - customresourcedefinitions
          verbs:
          - get
          - patch
          resourceNames:
          - greetings.hello.example
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: basalt:bundle-applier
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: basalt:bundle-applier
        subjects:
        - apiGroup: rbac.authorization.k8s.io
          kind: Group
          name: basalt:bundle-appliers
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: basalt:bundle-applier
          namespace: hello
        rules:
        - apiGroups:
          - ''
          resources:
          - events
          verbs:
          - list
        - apiGroups:
          - ''
          resources:
          - pods
          verbs:
          - list
        - apiGroups:
          - ''
          resources:
          - pods/log
          verbs:
          - get
        - apiGroups:
          - hello.example
          resources:
          - greetings
          verbs:
          - create
          - delete
          - get
          - list
          - patch
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: basalt:bundle-applier
          namespace: hello
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: basalt:bundle-applier
        subjects:
        - apiGroup: rbac.authorization.k8s.io
          kind: Group
          name: basalt:bundle-appliers
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: basalt:bundle-applier
          namespace: kube-system
        rules:
        - apiGroups:
          - ''
          resources:
          - configmaps
          verbs:
          - create
        - apiGroups:
          - ''
          resources:
          - configmaps
          verbs:
          - get
          - patch
          - update
          resourceNames:
          - basalt-bundle
        - apiGroups:
          - coordination.k8s.io
          resources:
          - leases
          verbs:
          - create
        - apiGroups:
          - coordination.k8s.io
          resources:
          - leases
          verbs:
          - get
          - update
          resourceNames:
          - basalt-bundle
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: basalt:bundle-applier
          namespace: kube-system
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: basalt:bundle-applier
        subjects:
        - apiGroup: rbac.authorization.k8s.io
          kind: Group
          name: basalt:bundle-appliers
    "#]]
    .assert_eq(&rbac(DEFINITION));
}

const ROLES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: hello}
rules: [{apiGroups: [hello.example], resources: [greetings], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: gathered}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: hello}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: hello}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: hello, namespace: hello}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: other, namespace: hello}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: hello}
";

#[test]
fn what_roles_give_to_others_is_held() {
    let rights = Rights::of(&parsed(ROLES)).unwrap();
    let cluster = rights.cluster.list();
    let has = |rules: &[Value], rule: Value| assert!(rules.contains(&rule), "{rule}: {rules:#?}");
    has(
        &cluster,
        json!({"apiGroups": ["hello.example"], "resources": ["greetings"], "verbs": ["get"]}),
    );
    has(
        &cluster,
        json!({"apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": ["gathered"], "verbs": ["delete", "escalate", "get", "patch"]}),
    );
    // It is bound in the rehearsal already, when there is no such role yet whose rules could be held against the agent's.
    has(
        &cluster,
        json!({"apiGroups": [RBAC], "resources": ["clusterroles"], "resourceNames": ["hello"], "verbs": ["bind", "delete", "get", "patch"]}),
    );
    let inside = rights.namespaces["hello"].list();
    for (resource, name) in [("clusterroles", "view"), ("roles", "hello")] {
        has(
            &inside,
            json!({"apiGroups": [RBAC], "resources": [resource], "resourceNames": [name], "verbs": ["bind"]}),
        );
    }
}

#[test]
fn kinds_of_nobody_are_refused() {
    let text = "apiVersion: other.example/v1\nkind: Thing\nmetadata: {name: a}\n";
    let error = Rights::of(&parsed(text)).unwrap_err().to_string();
    assert!(error.contains("other.example/v1 Thing"), "{error}");
}
